"""Sparse patterns against their papers' definitions, written out key by key."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ownlm.nn import pattern as module
from ownlm.nn.config import PatternConfig
from ownlm.nn.mask import Mask, Span, first_span
from ownlm.nn.pattern import drawn, reached

Sees = Callable[[int, int], bool]
"""Whether query i sees key j, in a document of N tokens."""
N = 60

STRIDED = PatternConfig(near=7, stride=7)
FIXED = PatternConfig(block=8, summary=3)
LONGFORMER = PatternConfig(near=4, first=2)
BIGBIRD = PatternConfig(block=4, near=1, first=1, last=1, random=2, seed=3)


def strided(i: int, j: int) -> bool:
    """Child et al. 2019, 4.2: {max(0, i - l), ..., i} and {j : (i - j) mod l = 0}."""
    return i - 7 <= j <= i or (i - j) % 7 == 0


def fixed(i: int, j: int) -> bool:
    """The same: {j : floor(j / l) = floor(i / l)} and {j : j mod l in {l - c, ..., l - 1}}."""
    return j // 8 == i // 8 or j % 8 in (5, 6, 7)


def longformer(i: int, j: int) -> bool:
    """Beltagy et al. 2020, 3.1: half a window to each side; global tokens, symmetrically."""
    return abs(i - j) <= 4 or i < 2 or j < 2


CASES = [(STRIDED, strided, True), (FIXED, fixed, True), (LONGFORMER, longformer, False),
         (LONGFORMER, longformer, True)]  # fmt: skip


def brute(sees: Sees, causal: bool, length: int = N) -> Tensor:
    return torch.tensor(
        [[sees(i, j) and (j <= i or not causal) for j in range(length)] for i in range(length)]
    )


def made(p: PatternConfig, causal: bool, segments: Tensor | None = None, length: int = N) -> Tensor:
    ids = torch.zeros(1 if segments is None else len(segments), length, dtype=torch.long)
    tensor = Mask(first_span(ids, segments), causal=causal, pattern=p).tensor
    assert tensor is not None
    return tensor


@pytest.mark.parametrize(("p", "sees", "causal"), CASES)
def test_a_pattern_is_what_its_paper_defines(p: PatternConfig, sees: Sees, causal: bool) -> None:
    assert torch.equal(made(p, causal), brute(sees, causal))


@pytest.mark.parametrize(
    ("p", "sees"),
    [
        (PatternConfig(near=7, stride=8), strided),
        (PatternConfig(block=8, summary=2), fixed),
        (PatternConfig(near=5, first=2), longformer),
        (PatternConfig(near=4, first=3), longformer),
    ],
)
def test_control_another_pattern_is_not(p: PatternConfig, sees: Sees) -> None:
    assert not torch.equal(made(p, causal=True), brute(sees, causal=True))


def test_bigbird_has_its_blocks_and_as_many_random_ones() -> None:
    seen = made(BIGBIRD, causal=False)
    blocks = seen.unflatten(0, (-1, 4)).unflatten(2, (-1, 4)).transpose(1, 2)
    assert torch.equal(blocks.any(-1).any(-1), blocks.all(-1).all(-1)), "whole blocks"
    table, last = blocks[..., 0, 0], N // 4 - 1
    for i in range(N // 4):
        near = {j for j in (i - 1, i, i + 1) if 0 <= j <= last} | {0, last}
        found = {j for j in range(last + 1) if table[i, j]}
        assert near <= found
        if i in (0, last):
            assert len(found) == last + 1
        else:
            assert len(found - near) == 2


def test_random_blocks_differ_between_queries_and_layers_and_stay() -> None:
    tables = [
        made(PatternConfig(block=4, near=1, first=1, random=2, seed=seed), causal=False)
        for seed in (0, 1, 0)
    ]
    assert torch.equal(tables[0], tables[2])
    assert not torch.equal(tables[0], tables[1])
    query = torch.arange(2000)[:, None]
    p = PatternConfig(near=1, first=1, last=1, random=3, seed=5)
    found = torch.cat([drawn(p, query, torch.full_like(query, 1999), m) for m in range(3)], dim=1)
    assert all(len(set(row)) == 3 for row in found.tolist()), "no block twice"
    begin, end = found.min(), found.max()
    assert (int(begin), int(end)) == (1, 1998), "all of the document is drawn from, no global one"
    assert bool(((found - query).abs() > 1).all()), "none of the window"
    counts = torch.histc(found[:, 1].float(), bins=4, min=found[:, 1].min(), max=found[:, 1].max())
    assert bool((counts > 400).all()), counts


@pytest.mark.parametrize("length", range(1, 30))
def test_short_documents_draw_what_there_is(length: int) -> None:
    p = PatternConfig(near=1, first=1, last=1, random=3, seed=2)
    seen = made(p, causal=False, length=length)
    for i in range(1, length - 1):
        others = length - len({0, length - 1, i - 1, i, i + 1} & set(range(length)))
        extra = int(seen[i].sum()) - (length - others)
        assert extra == min(3, others)


PATTERNS = [STRIDED, FIXED, LONGFORMER, BIGBIRD]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("p", PATTERNS)
def test_documents_of_a_row_are_masked_as_if_alone(p: PatternConfig, causal: bool) -> None:
    """Padding before, between and after them changes nothing, and sees itself."""
    p = PatternConfig(**vars(p) | {"last": 0 if causal else p.last})
    lengths, numbers = (5, 23, 3, 17, 12), (0, 1, 0, 2, 0)
    row = torch.cat([torch.full((n,), k) for n, k in zip(lengths, numbers, strict=True)])
    seen = made(p, causal, row[None])[0, 0]
    for number in (1, 2):
        place = (row == number).nonzero()[:, 0]
        alone = made(p, causal, length=len(place))
        assert torch.equal(seen[place][:, place], alone)
        assert not seen[place][:, row != number].any()
    assert bool(seen.diagonal().all())


@pytest.mark.parametrize("p", PATTERNS)
def test_cached_queries_see_what_they_saw_in_one_pass(p: PatternConfig) -> None:
    p, whole = PatternConfig(**vars(p) | {"last": 0}), None
    whole = made(p, causal=True)
    for begin, end in pairwise((0, 9, 10, 11, 40, N)):
        span = Span(begin, end - begin, torch.arange(begin, end))
        part = Mask(span, causal=True, pattern=p).tensor
        assert part is not None
        assert torch.equal(part, whole[begin:end, :end])


def test_the_drawing_is_what_is_computed() -> None:
    lines = (module.__doc__ or "").splitlines()
    (top,) = (n for n, line in enumerate(lines) if line.split()[:1] == ["strided"])
    columns = [lines[top].index(name) for name in ("strided", "fixed", "longformer")]
    places = torch.arange(8)
    drawn_as = [
        (PatternConfig(near=3, stride=3), True),
        (PatternConfig(block=4, summary=1), True),
        (PatternConfig(near=1, first=1), False),
    ]
    for column, (p, causal) in zip(columns, drawn_as, strict=True):
        seen = reached(p, places, places, torch.full((8,), 7))
        seen = seen.tril() if causal else seen
        for line, row in zip(lines[top + 1 : top + 9], seen.tolist(), strict=True):
            assert line[column : column + 15] == " ".join("x" if x else "." for x in row)
