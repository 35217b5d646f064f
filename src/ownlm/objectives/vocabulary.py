"""What objectives that corrupt text need to know of a tokenizer: control ids, words, sentences."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ownlm.config import nearest
from ownlm.errors import ConfigError
from ownlm.tokenization.tokenizer import Tokenizer

# fmt: off
CUSTOMARY = {
    "begin": ("[CLS]", "<s>", "<|begin|>"),
    "end":   ("[SEP]", "</s>", "<|endoftext|>"),
    "pad":   ("[PAD]", "<pad>", "<|pad|>"),
    "mask":  ("[MASK]", "<mask>", "<|mask|>"),
}
# fmt: on
"""Names of the control tokens by role, first those of BERT, then RoBERTa and T5, then ours."""

SENTINEL = re.compile(r"<\|?extra_id_(\d+)\|?>")
CONTINUES, LEADS = "##", ("Ġ", "▁", " ")
"""WordPiece marks what goes on with a word; byte-level BPE and SentencePiece what begins one."""
SENTENCE_END = re.compile(r".*[.!?。！？…\n][\"'”’」』)\]]*\s*", re.DOTALL)


@dataclass(frozen=True)
class Vocabulary:
    """Facts about ids 0..size-1."""

    size: int
    control: dict[str, int]
    """Ids by role: begin, end, pad, mask, as far as there are such tokens."""
    named: dict[str, int]
    """Ids of all control tokens by name."""
    sentinels: tuple[int, ...]
    """T5's <extra_id_0>, <extra_id_1>, ... in this order."""
    ordinary: npt.NDArray[np.int64]
    """Ids that stand for text: what a random token is drawn from."""
    begins_word: npt.NDArray[np.bool_]
    """(size,)"""
    ends_sentence: npt.NDArray[np.bool_]
    """(size,)"""
    is_control: npt.NDArray[np.bool_]
    """(size,)"""

    def need(self, role: str) -> int:
        """The id that plays a role; ConfigError names what the tokenizer lacks."""
        if role in self.control:
            return self.control[role]
        names = CUSTOMARY[role]
        close = nearest(names[-1], list(self.named))
        raise ConfigError(
            f"the tokenizer has no {role} token ({', '.join(names)})"
            + (f"; nearest is {close}" if close else ""),
            where="tokenizer",
            next_command=f"--tokenizer.controls '{names[-1]}', or --tokenizer.kind wordpiece",
        )

    def name(self, token: str) -> int:
        """The id of a control token by its name; ConfigError when there is none."""
        if token in self.named:
            return self.named[token]
        raise ConfigError(
            f"the tokenizer has no token {token!r}",
            where="tokenizer",
            next_command=f"--tokenizer.controls '{token}'",
        )


@functools.lru_cache(maxsize=8)
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """The facts about a tokenizer."""
    names, size = tokenizer.special, tokenizer.vocab_size
    is_control = np.zeros(size, np.bool_)
    is_control[list(names.values())] = True
    tokens = [tokenizer.token(id) for id in range(size)]
    readable = [tokenizer.readable(id) for id in range(size)]
    sentinels = {
        int(match[1]): id for name, id in names.items() if (match := SENTINEL.fullmatch(name))
    }
    return Vocabulary(
        size=size,
        control=roles(names),
        named=dict(names),
        sentinels=tuple(sentinels[number] for number in sorted(sentinels)),
        ordinary=np.flatnonzero(~is_control),
        begins_word=_begins_word(tokens, readable) | is_control,
        ends_sentence=np.array([bool(SENTENCE_END.fullmatch(text)) for text in readable]),
        is_control=is_control,
    )


def roles(named: Mapping[str, int]) -> dict[str, int]:
    """The ids of control tokens by role, from those by name."""
    return {
        role: named[found]
        for role, customary in CUSTOMARY.items()
        if (found := next((name for name in customary if name in named), None))
    }


def _begins_word(tokens: list[str], readable: list[str]) -> npt.NDArray[np.bool_]:
    """Which tokens are the first of a word, by the marks that the vocabulary uses."""
    if any(token.startswith(CONTINUES) and len(token) > 2 for token in tokens):
        return np.array([not token.startswith(CONTINUES) for token in tokens])
    joins = [text[:1].isalnum() and not _ideograph(text[:1]) for text in readable]
    return np.array(
        [token.startswith(LEADS) or not join for token, join in zip(tokens, joins, strict=True)]
    )


def _ideograph(character: str) -> bool:
    return "\u2e80" <= character <= "\u9fff" or "\uf900" <= character <= "\ufaff"
