"""Several corpora in one stream, and the order in which their windows are drawn."""

from pathlib import Path

import numpy as np
import pytest

from ownlm.data.config import DataConfig
from ownlm.data.mixing import BLOCK, Chosen, Mixed, Part, counts_of
from ownlm.data.prepare import prepare, prepare_all
from ownlm.data.reach import part_of, read
from ownlm.errors import DataError
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.load import load_tokenizer

BYTES = TokenizerConfig(kind="byte")


def mixed(seed: int = 0, counts: tuple[int, ...] = (500, 300, 200)) -> Mixed:
    orders = [Chosen(np.arange(size) * 10, seed) for size in (700, 40, 90)]
    return Mixed(orders, [0, 10_000, 20_000], counts, seed)


def test_every_block_has_the_shares_exactly() -> None:
    begins = mixed().begins(0, 3 * BLOCK)
    for block in begins.reshape(3, BLOCK):
        assert np.bincount(block // 10_000).tolist() == [500, 300, 200]
    corpora = begins // 10_000
    assert len(set(corpora[:12].tolist())) > 1  # not one corpus after another
    first = [np.bincount(corpora[at : at + 100], minlength=3)[0] for at in range(0, 1000, 100)]
    assert min(first) > 30 and max(first) < 70


def test_each_corpus_is_read_once_an_epoch() -> None:
    """700 windows of the first come in 1,400 rows, as many of the second in 7.5 epochs."""
    begins = mixed().begins(0, 7 * BLOCK)
    one = begins[begins < 10_000]
    assert len(one) == 3500 and np.bincount(one // 10).tolist() == [5] * 700
    two = begins[(begins >= 10_000) & (begins < 20_000)] - 10_000
    counts = np.bincount(two // 10)
    assert len(counts) == 40 and counts.max() - counts.min() <= 1


def test_the_order_is_a_pure_function() -> None:
    whole = mixed().begins(0, 2500)
    parts = [mixed().begins(at, 7) for at in range(0, 2500, 7)]
    assert np.concatenate(parts)[:2500].tolist() == whole.tolist()
    assert mixed(1).begins(0, 50).tolist() != whole[:50].tolist()


def test_counts_of_shares() -> None:
    assert counts_of([0.5, 0.3, 0.2]) == [500, 300, 200]
    assert counts_of([1, 1, 1]) in ([334, 333, 333], [333, 334, 333], [333, 333, 334])
    assert counts_of([1e-9, 1.0]) == [1, 999]
    assert sum(counts_of([0.1234, 0.5, 0.3766, 1e-5])) == BLOCK


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to learn from"):
        Chosen(np.zeros(0, np.int64), 0)


def test_corpora_lie_one_after_another(write, tmp_path: Path) -> None:
    one = write("one.txt", "abcde" * 8)
    two = write("two.tsv", "".join(f"{n}\t{n + 1}\n" for n in range(60)))
    configs = {
        "text": DataConfig(path=str(one), validation=0.2),
        "pairs": DataConfig(path=str(two), pairs=True, validation=0.2),
    }
    data = prepare_all(configs, tmp_path / "data", BYTES)
    assert data.holds == "text + pairs" and data.report["documents"] == 61
    singles = [prepare(config, tmp_path / name, BYTES) for name, config in configs.items()]
    for side in ("train", "validation"):
        stream = getattr(data, side)
        parts = [getattr(single, side) for single in singles]
        assert stream.bounds.tolist() == np.cumsum([part.tokens for part in parts]).tolist()
        for number, own in enumerate(parts):
            part = Part(stream, number)
            assert part.tokens == own.tokens and part.starts.tolist() == own.starts.tolist()
            whole = part.gather([0], part.tokens)
            assert whole.tolist() == own.gather([0], own.tokens).tolist()
    tokenizer = load_tokenizer(data.tokenizer_folder)
    border = int(data.train.bounds[0])
    begins = np.array([0, border - 3, border, data.train.tokens - 2])
    assert part_of(data.train, begins).tolist() == [0, 0, 1, 1]
    tokens, documents = read(data.train, begins, 5, documents=True)
    assert tokens[1].tolist() == [*tokenizer.encode("bc")[-2:], tokenizer.eos_id, -1, -1] or (
        tokens[1, 2] == tokenizer.eos_id and (tokens[1, 3:] == -1).all()
    )
    assert documents[1].tolist() == [1, 1, 1, 2, 2]
    assert (tokens[3, 2:] == -1).all() and (tokens[[0, 2]] >= 0).all()
