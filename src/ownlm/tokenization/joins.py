"""Merges recovered from a vocabulary that has none.

SentencePiece and tiktoken join whatever neighbours give the best token. So every way to cut a
token into two others is a merge, and the order is the tokens' own.
"""

from collections.abc import Mapping
from typing import TypeVar

from ownlm.errors import DataError

T = TypeVar("T", str, bytes)
LARGEST = 1 << 30
"""Characters to be compared; published vocabularies need up to 50 million."""


def joins(ids: Mapping[T, int], order: Mapping[T, float]) -> list[tuple[T, T]]:
    """Pairs of tokens that join into a token, by `order` of that token, lowest first.

    Raises DataError for tokens so long that finding them would take hours.
    """
    work = sum(len(token) ** 2 for token in ids)
    if work > LARGEST:
        longest = max(ids, key=len)
        raise DataError(f"tokens are too long, up to {len(longest):,} characters")
    found = [
        (order[token], id, ids[token[:cut]], ids[token[cut:]], cut)
        for token, id in ids.items()
        for cut in range(1, len(token))
        if token[:cut] in ids and token[cut:] in ids
    ]
    tokens = {id: token for token, id in ids.items()}
    return [(tokens[id][:cut], tokens[id][cut:]) for _, id, _, _, cut in sorted(found)]
