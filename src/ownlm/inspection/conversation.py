"""A conversation, token by token: what the model reads and what it learns to say."""

from typing import NamedTuple

from ownlm.tokenization.messages import Messages, Tools
from ownlm.tokenization.tokenizer import Tokenizer


class Said(NamedTuple):
    """One token."""

    text: str
    learned: bool
    control: bool


def said(tokenizer: Tokenizer, messages: Messages, tools: Tools = ()) -> list[list[Said]]:
    """The sequences that are learned of a conversation, mostly one.

    Raises ConfigError for a tokenizer without a chat template, DataError for a conversation
    that its template does not take.
    """
    controls = {*tokenizer.special.values()}
    return [
        [
            Said(tokenizer.readable(id), learned, id in controls)
            for id, learned in zip(one.ids, one.learned, strict=True)
        ]
        for one in tokenizer.need_chat().examples(messages, tools)
    ]
