"""What a text must look like: JSON schemas, expressions, choices, grammars, through llguidance.

Before every token llguidance says which ones can still lead to a text that fits; the others are
not drawn. Descriptions come from strangers: their size and depth, and what it may take to
compile and to follow them, are bounded, and a refusal is a ConfigError.

Shapes: V vocabulary.
"""

import functools
import json
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ownlm.errors import ConfigError
from ownlm.inference.request import Constraint
from ownlm.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

BYTES = 1 << 16
"""Of a description."""
DEPTH = 32
"""Brackets in brackets of a description."""
CHOICES = 1024
LIMITS = {
    "max_items_in_row": 1000,
    "initial_lexer_fuel": 500_000,
    "step_lexer_fuel": 200_000,
    "step_max_items": 20_000,
    "max_lexer_states": 20_000,
    "max_grammar_size": 50_000,
    "verbose_errors": False,
}
"""What a grammar may take, in llguidance's units: about 10 ms to begin, 15 ms a token, 40 MB."""

SPACES = {"whitespace_pattern": "( |\\n {0,16})?"}
"""Between the parts of JSON, a space or a new line with its indent: a model that falls into writing
blanks must get on."""


class Grammars:
    """Constraints over the tokens of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._tokens: LLTokenizer | None = None
        self._lock = threading.Lock()

    def matcher(self, constraint: Constraint) -> "GrammarMatcher":
        """One that has seen nothing. ConfigError for a constraint that is none, or too large."""
        llguidance, grammar = _library(), grammar_of(constraint)
        limits = llguidance.LLParserLimits(**LIMITS)
        found = llguidance.LLMatcher(self.open(), grammar, log_level=0, limits=limits)
        if found.is_error():
            raise refused(constraint, found.get_error())
        return GrammarMatcher(found, self.tokenizer.vocab_size)

    def open(self) -> "LLTokenizer":
        """The vocabulary as llguidance keeps it: made once, in a second for 150,000 tokens."""
        llguidance = _library()
        with self._lock:
            if self._tokens is None:
                wrapper = llguidance.TokenizerWrapper(self.vocabulary)
                self._tokens = llguidance.LLTokenizer(wrapper, n_vocab=self.tokenizer.vocab_size)
            return self._tokens

    @functools.cached_property
    def vocabulary(self) -> "Vocabulary":
        """The tokens, as llguidance asks for them."""
        return Vocabulary(self.tokenizer)


class GrammarMatcher:
    """What a constraint has seen of one text."""

    def __init__(self, matcher: "LLMatcher", vocab: int) -> None:
        self.matcher, self.vocab = matcher, vocab

    def allowed(self) -> Tensor:
        """Which tokens may come next, booleans (V,)."""
        bits = bytearray(self.matcher.compute_bitmask())
        self._check()
        places = torch.frombuffer(bits, dtype=torch.uint8)[:, None] >> torch.arange(8)
        return (places & 1).flatten()[: self.vocab].bool()

    def take(self, token: int) -> None:
        """One came."""
        self.matcher.consume_token(token)
        self._check()

    @property
    def complete(self) -> bool:
        """Whether nothing may follow."""
        return self.matcher.is_stopped()

    def _check(self) -> None:
        if self.matcher.is_error():
            raise ConfigError(f"cannot be followed: {_short(self.matcher.get_error())}",
                              where="constraint")  # fmt: skip


class Vocabulary:
    """A tokenizer as llguidance asks for one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = tokenizer.eos_id, tokenizer.bos_id
        self.special_token_ids = sorted({*tokenizer.special.values()})
        names = {id: name for name, id in tokenizer.special.items()}
        self.tokens = [
            names[id].encode() if id in names else tokenizer.pieces[id]
            for id in range(tokenizer.vocab_size)
        ]

    def __call__(self, text: bytes | str) -> list[int]:
        """Ids whose pieces are exactly `text`: what must come next is cut into tokens so.

        Many tokenizers put a space before a text; behind an anchor they do not.
        """
        text = text if isinstance(text, str) else text.decode("utf-8", "replace")
        for anchor in ("", "\n", "."):
            before = self._tokenizer.encode(anchor)
            ids = self._tokenizer.encode(anchor + text)
            rest = ids[len(before) :]
            if ids[: len(before)] == before and self._join(rest) == text.encode():
                return rest
        return self._longest(text.encode())

    def _join(self, ids: list[int]) -> bytes:
        return b"".join([self.tokens[id] for id in ids])

    def _longest(self, data: bytes) -> list[int]:
        """The longest token, again and again; nothing from where none begins what is left."""
        ids, at = [], 0
        while at < len(data):
            lengths = range(min(self._most, len(data) - at), 0, -1)
            found = (self._ids.get(data[at : at + length]) for length in lengths)
            id = next((id for id in found if id is not None), None)
            if id is None:
                break
            ids.append(id)
            at += len(self.tokens[id])
        return ids

    @functools.cached_property
    def _ids(self) -> dict[bytes, int]:
        special = {*self.special_token_ids}
        return {t: id for id, t in enumerate(self.tokens) if t and id not in special}

    @functools.cached_property
    def _most(self) -> int:
        return max(map(len, self._ids))


def grammar_of(constraint: Constraint) -> str:
    """A constraint in llguidance's own form; ConfigError for one that is too large."""
    matcher = _library().LLMatcher
    _check_size(constraint)
    if constraint.kind == "choice":
        return str(matcher.grammar_from_regex("|".join(map(_literal, constraint.choices))))
    make: dict[str, Callable[[str], str]] = {
        "json": lambda text: matcher.grammar_from_json_schema(text, overrides=SPACES),
        "regex": matcher.grammar_from_regex,
        "grammar": matcher.grammar_from_lark,
    }
    if constraint.kind not in make:
        raise ConfigError(f"{constraint.kind!r:.80} is unknown", where="constraint")
    try:
        return make[constraint.kind](constraint.text)
    except ValueError as error:
        raise refused(constraint, str(error)) from None


def _literal(text: str) -> str:
    """A regular expression that matches only `text`."""
    return "".join(f"\\{c}" if re.match(r"[\\.+*?()|\[\]{}^$#&\-~/]", c) else c for c in text)


def _check_size(constraint: Constraint) -> None:
    texts = [constraint.text, *constraint.choices]
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    if size > BYTES:
        raise refused(constraint, f"{size:,} bytes are more than {BYTES:,}")
    if constraint.kind == "choice" and not 0 < len(constraint.choices) <= CHOICES:
        count = len(constraint.choices)
        raise refused(constraint, f"1 to {CHOICES} choices are possible, found {count}")
    if constraint.kind != "choice" and (depth := _depth(constraint.text)) > DEPTH:
        raise refused(constraint, f"nested {depth} deep, {DEPTH} is the limit")
    if constraint.kind == "json":
        try:
            json.loads(constraint.text)
        except (ValueError, RecursionError) as error:
            raise refused(constraint, f"the schema is no JSON: {error}") from None


def _depth(text: str) -> int:
    """The most brackets that are open at once, strings and escapes not told apart."""
    depth = most = 0
    for character in text:
        if character in "([{":
            depth += 1
            most = max(most, depth)
        elif character in ")]}":
            depth = max(0, depth - 1)
    return most


def refused(constraint: Constraint, why: str) -> ConfigError:
    """What is said of a constraint that is none."""
    return ConfigError(f"{constraint.kind}: {_short(why)}", where="constraint")


def _short(text: str) -> str:
    return " ".join(text.split())[:400]


def _library() -> Any:
    try:
        import llguidance
    except ImportError:
        raise ConfigError(
            "constrained output needs llguidance",
            where="constraint",
            next_command="pip install 'ownlm[serve]'",
        ) from None
    return llguidance
