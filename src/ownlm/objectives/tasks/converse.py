"""Conversations: the assistant's words are learned, each with the token that ends its turn.

What is written around the turns, and so what is learned, is the chat template's business
(tokenization/chat.py); an answer is written from where the template lets the assistant begin.
"""

from collections.abc import Sequence

import numpy as np

from ownlm.data.encoded import Encoded
from ownlm.data.faults import Bad
from ownlm.data.tasks.records import Conversation, Record
from ownlm.errors import DataError
from ownlm.objectives.tasks.write import Continue
from ownlm.tokenization.messages import ASSISTANT
from ownlm.tokenization.tokenizer import Tokenizer


class Converse(Continue):
    """The assistant's turns of conversations."""

    def __init__(
        self, tokenizer: Tokenizer, *, longest: int, beams: int = 1, smoothing: float = 0.0
    ) -> None:
        """ConfigError where the tokenizer has no chat template."""
        super().__init__(tokenizer, longest=longest, beams=beams, smoothing=smoothing)
        self.chat = tokenizer.need_chat()

    def encode(self, record: Record, number: int) -> list[Encoded]:
        """As few sequences as hold every answer as generation would meet it; mostly one. What is
        longer than `longest` loses its end, and what then has no answer is left out. Bad for
        what the template refuses."""
        assert isinstance(record, Conversation), "records of conversations"
        messages = [message.as_dict() for message in record.messages]
        try:
            found = self.chat.examples(messages, record.tools)
        except DataError as error:
            raise Bad("chat-template", error.what) from None
        made = []
        for ids, learned in found:
            marks = np.array(learned[: self.longest], np.bool_)
            if marks[1:].any():
                made.append(Encoded(np.array(ids[: self.longest], np.int64), number, target=marks))
        return made

    def prompts(self, encoded: Sequence[Encoded], records: Sequence[Record]) -> list[Sequence[int]]:
        """Each conversation up to its last answer, from where the assistant begins."""
        return [self.prompt(record) for record in records]

    def prompt(self, record: Record) -> list[int]:
        """The same for one."""
        assert isinstance(record, Conversation), "records of conversations"
        messages = record.messages
        asked = messages[:-1] if messages[-1].role == ASSISTANT else messages
        return self.chat.prompt([message.as_dict() for message in asked], record.tools)

    @property
    def ends(self) -> frozenset[int]:
        """What ends texts, and what the template ends turns with."""
        return self.chat.stop_ids | {self.tokenizer.eos_id}
