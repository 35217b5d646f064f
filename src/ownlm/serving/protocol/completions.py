"""/v1/completions."""

from typing import Annotated

from pydantic import Field

from ownlm.serving.protocol.body import Sampled, Text, Token, Tokens

PROMPTS = 512
"""Prompts of one request."""
Ids = Annotated[list[Token], Field(min_length=1)]
Prompt = Annotated[str, Field(min_length=1, max_length=1 << 24)]


class CompletionBody(Sampled):
    """Texts that are to be continued, as text or as ids."""

    prompt: (
        Prompt
        | Ids
        | Annotated[list[Prompt], Field(min_length=1, max_length=PROMPTS)]
        | Annotated[list[Ids], Field(min_length=1, max_length=PROMPTS)]
    )
    max_tokens: Tokens | None = None
    """16 where it is left out; 0 with `echo` reads the prompt only."""
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    """Alternatives to tell for each token."""
    echo: bool | None = None
    """Give the prompt too."""
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None
    """Write so many and give the `n` likeliest."""
    suffix: Text | None = None
    """Not supported."""

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """Always a list of them."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt
