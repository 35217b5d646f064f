"""Tokens and their probabilities as OpenAI's two older interfaces tell them."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ownlm.inference.request import Alternative, Chosen
from ownlm.tokenization.tokenizer import Tokenizer

LOWEST = -9999.0
"""In place of minus infinity, which JSON lacks."""


def finite(logprob: float) -> float:
    """A log-probability that JSON can hold."""
    return float(logprob) if math.isfinite(logprob) else LOWEST


def chat_logprobs(tokenizer: Tokenizer, tokens: Iterable[Chosen]) -> list[dict[str, Any]]:
    """Of chat completions and responses: each token with its bytes and alternatives."""
    return [
        _entry(tokenizer, one.token, one.logprob)
        | {"top_logprobs": [_entry(tokenizer, *other) for other in one.top]}
        for one in tokens
    ]


def completion_logprobs(
    tokenizer: Tokenizer, tokens: Sequence[Chosen | None], ids: Sequence[int], offset: int
) -> dict[str, Any]:
    """Of completions: lists of equal length; `offset` is where the first token begins.

    `ids` are those of all tokens; the first token of a prompt has no probability (None).
    """
    stream, offsets = tokenizer.stream(skip_special=False), []
    for id in ids:
        offsets.append(offset)
        offset += len(stream.push(id))
    return {
        "tokens": [tokenizer.readable(id) for id in ids],
        "token_logprobs": [None if one is None else finite(one.logprob) for one in tokens],
        "top_logprobs": [None if one is None else _likely(tokenizer, one) for one in tokens],
        "text_offset": offsets,
    }


def _entry(tokenizer: Tokenizer, token: int, logprob: float) -> dict[str, Any]:
    piece = tokenizer.pieces[token]
    return {
        "token": piece.decode("utf-8", "backslashreplace"),
        "logprob": finite(logprob),
        "bytes": [*piece],
    }


def _likely(tokenizer: Tokenizer, one: Chosen) -> dict[str, float]:
    """Alternatives and the token itself; of two that read alike the likelier."""
    found: dict[str, float] = {}
    for token, logprob in (*one.top, Alternative(one.token, one.logprob)):
        name = tokenizer.pieces[token].decode("utf-8", "backslashreplace")
        found[name] = max(found.get(name, -math.inf), finite(logprob))
    return found
