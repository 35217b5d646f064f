"""Bodies for models that read: vectors, labels, scores, tags, answers, translations; and for
tokens."""

from typing import Annotated, Literal

from pydantic import Field

from ownlm.serving.protocol.body import Named, Text, Token
from ownlm.serving.protocol.chat import Message, TemplateValues
from ownlm.serving.protocol.completions import Ids, Prompt

INPUTS = 2048
"""Texts of one request."""
Several = Annotated[list[Prompt], Field(min_length=1, max_length=INPUTS)]


class EmbeddingBody(Named):
    """/v1/embeddings: texts, or their ids, that become vectors."""

    input: Prompt | Ids | Several | Annotated[list[Ids], Field(min_length=1, max_length=INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """Only the model's own number."""

    @property
    def inputs(self) -> list[str] | list[list[int]]:
        """Always a list of them."""
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [self.input]
        return self.input


class TextsBody(Named):
    """One text or several."""

    input: Prompt | Several

    @property
    def texts(self) -> list[str]:
        """Always a list of them."""
        return [self.input] if isinstance(self.input, str) else self.input


class ScoreBody(Named):
    """/score: how well texts go together; one first text goes with each of the second ones."""

    text_1: Prompt | Several
    text_2: Prompt | Several

    @property
    def sides(self) -> tuple[list[str], list[str]]:
        """Both as lists."""
        first, second = (
            [side] if isinstance(side, str) else side for side in (self.text_1, self.text_2)
        )
        return first * len(second) if len(first) == 1 else first, second


class AnswerBody(Named):
    """/v1/answer: a question and the text that answers it."""

    question: Prompt
    context: Prompt


class TokenizeBody(Named):
    """/tokenize: a text, or a conversation as the model would read it."""

    prompt: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)] | None = None
    add_special_tokens: bool | None = None
    """The tokens that begin a text, too; they are unless this is false."""
    add_generation_prompt: Literal[True] | None = None
    return_token_strs: bool | None = None
    chat_template_kwargs: TemplateValues | None = None


class DetokenizeBody(Named):
    """/detokenize: ids that become text."""

    tokens: Annotated[list[Token], Field(max_length=1 << 20)]
