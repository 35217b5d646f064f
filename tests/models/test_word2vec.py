"""word2vec: its pairs and its step against the papers' formulas, and that it finds structure."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ownlm.errors import CheckpointError, ConfigError, DataError
from ownlm.models.config import Word2VecConfig
from ownlm.models.word2vec import (
    Pairs,
    WordVectors,
    batches,
    keep_probability,
    noise_table,
    train_word2vec,
    update,
    window_pairs,
)

V, D, N, K = 12, 6, 30, 3


def material() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    vectors, outputs = (torch.randn(V, D, generator=g, dtype=torch.float64) for _ in range(2))
    ids = (torch.randint(0, V, shape, generator=g) for shape in ((N,), (N,), (N, K)))
    return vectors, outputs, *ids  # type: ignore[return-value]


def slow_loss(vectors: Tensor, outputs: Tensor, c: Tensor, o: Tensor, drawn: Tensor) -> Tensor:
    """Mikolov et al. 2013b, equation 4, pair by pair and word by word; to be minimised."""
    total = torch.zeros((), dtype=torch.float64)
    for pair in range(N):
        v = vectors[c[pair]]
        total = total - torch.log(1 / (1 + torch.exp(-(outputs[o[pair]] @ v))))
        for word in drawn[pair].tolist():
            if word != int(o[pair]):
                total = total - torch.log(1 / (1 + torch.exp(outputs[word] @ v)))
    return total


def test_a_step_goes_down_the_gradient_of_the_papers_loss() -> None:
    vectors, outputs, c, o, drawn = material()
    assert (drawn == o[:, None]).any(), "a drawn word that is the context itself"
    leaves = [t.clone().requires_grad_() for t in (vectors, outputs)]
    gradients = torch.autograd.grad(slow_loss(*leaves, c, o, drawn), leaves)  # type: ignore[arg-type]
    before = vectors.clone(), outputs.clone()
    update(vectors, outputs, Pairs(c, o, drawn), 0.5)
    for after, start, gradient in zip((vectors, outputs), before, gradients, strict=True):
        assert torch.allclose(after, start - 0.5 * gradient, atol=1e-12)
    vectors, outputs, *_ = material()
    update(vectors, outputs, Pairs(o, c, drawn), 0.5)
    assert not torch.allclose(vectors, before[0] - 0.5 * gradients[0], atol=1e-3), "control"


def test_pairs_are_all_neighbours_within_reach_and_document() -> None:
    rng = np.random.default_rng(3)
    text, documents = rng.permutation(200), np.repeat((0, 1, 2), (90, 1, 109))
    centres, contexts = window_pairs(text, documents, 20, 150, 4, np.random.default_rng(5))
    reach = np.random.default_rng(5).integers(1, 5, 130)
    expected = {
        (int(text[i]), int(text[j]))
        for i in range(20, 150)
        for j in range(200)
        if 0 < abs(i - j) <= reach[i - 20] and documents[i] == documents[j]
    }
    found = list(zip(centres.tolist(), contexts.tolist(), strict=True))
    assert len(found) == len(set(found)) == len(expected)
    assert set(found) == expected
    assert set(reach) == {1, 2, 3, 4}


def test_batches_hold_every_pair_once() -> None:
    a, b = np.arange(100), np.arange(100) + 1000
    parts = list(batches(a, b, 32, np.random.default_rng(1)))
    assert [len(x) for x, _ in parts] == [32, 32, 32, 4]
    assert all((y - x == 1000).all() for x, y in parts)
    assert sorted(np.concatenate([x for x, _ in parts])) == list(range(100))


def test_noise_is_drawn_by_count_to_the_three_quarters() -> None:
    table = noise_table(np.array([16, 0, 81, 1]))
    assert np.bincount(table, minlength=4) / len(table) == pytest.approx(
        np.array([8, 0, 27, 1]) / 36, abs=1e-5
    )
    rare = noise_table(np.array([10**12, 1, 0]))
    assert np.bincount(rare, minlength=3)[1:].tolist() == [1, 0], "rare, but not never"


def test_frequent_words_are_left_out_by_the_papers_share() -> None:
    keep = keep_probability(np.array([900, 99, 1, 0]), 0.01)
    assert keep == pytest.approx([math.sqrt(0.01 / 0.9), math.sqrt(0.01 / 0.099), 1, 1])
    assert keep_probability(np.array([900, 99]), 0.0).tolist() == [1, 1]


def clusters(seed: int = 1) -> tuple[np.ndarray, int]:
    """Sentences of ten words, each of one of 5 topics of 20 words, and words that all share."""
    rng, sentences = np.random.default_rng(seed), []
    for _ in range(3_000):
        topic, common = rng.integers(5), rng.random(10) < 0.3
        words = np.where(common, rng.integers(100, 110, 10), topic * 20 + rng.integers(0, 20, 10))
        sentences.append(np.append(words, 110))
    return np.concatenate(sentences), 111


def neighbours_in_topic(vectors: WordVectors) -> float:
    """Share of the ten nearest of each topic word that are of its topic; 0.17 by chance."""
    hits = [n // 20 == w // 20 for w in range(100) for n, _ in vectors.nearest(w) if n != 110]
    return sum(hits) / len(hits)


SMALL = Word2VecConfig(dim=16, window=4, epochs=2, subsample=0.0)


def test_words_of_one_topic_become_neighbours() -> None:
    ids, vocab = clusters()
    assert neighbours_in_topic(train_word2vec(ids, vocab, SMALL, separator=110)) > 0.95
    shuffled = ids.copy()
    np.random.default_rng(2).shuffle(shuffled)
    assert neighbours_in_topic(train_word2vec(shuffled, vocab, SMALL, separator=110)) < 0.4


def test_analogies_of_two_crossed_traits() -> None:
    """Word 4 a + b stands beside words of trait a and words of trait b."""
    rng, rows = np.random.default_rng(4), []
    for _ in range(6_000):
        a, b = rng.integers(4), rng.integers(4)
        company = np.where(rng.random(8) < 0.5, 16 + 5 * a, 36 + 5 * b) + rng.integers(0, 5, 8)
        rows.append(np.concatenate((company[:4], [4 * a + b], company[4:], [56])))
    config = Word2VecConfig(dim=12, window=4, epochs=3, subsample=0.0)
    asked = [
        (4 * a + b, 4 * c + b, 4 * a + d, 4 * c + d)
        for a in range(4) for c in range(4) for b in range(4) for d in range(4)
        if a != c and b != d
    ]  # fmt: skip

    def right(ids: np.ndarray) -> float:
        vectors = train_word2vec(ids, 57, config, separator=56)
        return sum(vectors.analogy(x, y, z, 1)[0][0] == w for x, y, z, w in asked) / len(asked)

    ids = np.concatenate(rows)
    assert right(ids) > 0.8
    rng.shuffle(ids)
    assert right(ids) < 0.2, "control: the same words in any order"


def test_the_same_seed_gives_the_same_vectors_and_another_others() -> None:
    ids, vocab = clusters()
    made = [
        train_word2vec(ids[:3_000], vocab, SMALL.with_values({"seed": seed})).table
        for seed in (1, 1, 2)
    ]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_a_folder_holds_the_vectors(tmp_path: Path) -> None:
    vectors = WordVectors(torch.randn(7, 3), {"epochs": 2})
    vectors.save(tmp_path)
    again = WordVectors.load(tmp_path)
    assert torch.equal(again.table, vectors.table)
    assert again.config == {"epochs": 2}
    assert [n for n, _ in again.nearest(2, 100)] == [n for n, _ in vectors.nearest(2, 6)]
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(CheckpointError, match="model_type: 'gpt2' is not supported"):
        WordVectors.load(tmp_path)


@pytest.mark.parametrize("ids", [[], [3], [9, 9, 3, 9]])
def test_a_text_without_neighbours_is_refused(ids: list[int]) -> None:
    with pytest.raises(DataError, match="no neighbours"):
        train_word2vec(np.array(ids, np.int64), 10, SMALL, separator=9)


def test_configurations_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="negatives"):
        Word2VecConfig.parse({"negatives": 0})
