"""Sequence to sequence: what lies in a row, and that every pair is in one."""

from typing import NamedTuple

import examples
import numpy as np
import pytest
import torch

from ownlm.data.reach import read
from ownlm.errors import DataError
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.objectives.objective import IGNORE
from ownlm.objectives.seq2seq import Seq2Seq, firsts

END = examples.bpe().eos_id


class Stream(NamedTuple):
    ids: np.ndarray
    starts: np.ndarray

    @property
    def tokens(self) -> int:
        return len(self.ids)

    @property
    def bounds(self) -> np.ndarray:
        return np.array([len(self.ids)])

    def gather(self, begins, length):
        return self.ids[np.asarray(begins)[:, None] + np.arange(length)]

    def documents(self, begins, length):
        owners = np.searchsorted(self.starts, begins[:, None] + np.arange(length), side="right")
        return (owners - owners[:, :1] + 1).astype(np.int32)


def stream(*pairs: tuple[list[int], list[int]]) -> Stream:
    sides = [[*source, END, *target, END] for source, target in pairs]
    starts = np.cumsum([0, *map(len, sides)])[:-1]
    return Stream(np.concatenate(sides), starts)


def seq2seq(start: str = "pad", **options) -> Seq2Seq:
    vocab = examples.facts(examples.bpe())
    return Seq2Seq(vocab, vocab.need(start), END, **options)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def collated(objective: Seq2Seq, source: Stream, begins: list[int], context: int):
    length = objective.window(context)
    tokens, documents = read(source, np.array(begins), length + 1, documents=True)
    given = examples.Rows(tokens, documents, np.array(begins), None)
    return objective.collate(given, rng())


def some_pairs(count: int = 40) -> Stream:
    draw = rng(5)
    return stream(*(
        (draw.integers(1, 200, draw.integers(1, 9)).tolist(),
         draw.integers(1, 200, draw.integers(1, 9)).tolist())
        for _ in range(count)
    ))  # fmt: skip


def test_a_row_by_hand() -> None:
    """Two pairs fit into 8 and 8 places; the third begins the next row."""
    pairs = stream(([1, 2, 3], [11, 12]), ([4, 5], [13, 14, 15]), ([6], [16]))
    objective = seq2seq()
    batch, pad = collated(objective, pairs, [0], 8), objective.pad
    assert batch["inputs"].tolist() == [[1, 2, 3, END, 4, 5, END, pad]]
    assert batch["mask"].tolist() == [[1, 1, 1, 1, 2, 2, 2, 0]]
    assert batch["decoder_inputs"].tolist() == [[pad, 11, 12, pad, 13, 14, 15, pad]]
    assert batch["decoder_mask"].tolist() == [[1, 1, 1, 2, 2, 2, 2, 0]]
    assert batch["targets"].tolist() == [[11, 12, END, 13, 14, 15, END, IGNORE]]
    begins = objective.begins(pairs, objective.window(8))
    assert begins.tolist() == [0, pairs.starts[2]]
    last = collated(objective, pairs, [begins[1]], 8)
    assert last["inputs"][0, :3].tolist() == [6, END, pad]
    assert last["targets"][0, :3].tolist() == [16, END, IGNORE]


def test_a_decoder_that_starts_with_the_end_has_begins_too() -> None:
    objective = seq2seq("end")
    batch = collated(objective, stream(([1, 2], [11])), [0], 5)
    begin = objective.vocab.need("begin")
    assert batch["inputs"][0].tolist() == [begin, 1, 2, END, objective.pad]
    assert batch["decoder_inputs"][0, :3].tolist() == [END, begin, 11]
    assert batch["targets"][0].tolist() == [begin, 11, END, IGNORE, IGNORE]


def test_a_pair_that_is_too_long_is_cut_and_alone() -> None:
    """The source keeps its end; a target without its end does not teach to end there."""
    pairs = stream(([1, 2, 3, 4, 5, 6], [11]), ([7], [12, 13, 14, 15, 16, 17]), ([8], [18]))
    objective = seq2seq()
    begins = objective.begins(pairs, objective.window(4))
    assert begins.tolist() == pairs.starts.tolist()
    batch = collated(objective, pairs, begins, 4)
    assert batch["inputs"][0].tolist() == [1, 2, 3, END]
    assert batch["targets"][0].tolist() == [11, END, IGNORE, IGNORE]
    assert batch["inputs"][1].tolist() == [7, END, objective.pad, objective.pad]
    assert batch["targets"][1].tolist() == [12, 13, 14, 15]


@pytest.mark.parametrize("context", [9, 12, 30])
@pytest.mark.parametrize("start", ["pad", "end"])
def test_every_pair_is_in_one_row(context: int, start: str) -> None:
    """Read back from the rows, all sources and targets, each once, in order."""
    pairs, objective = some_pairs(), seq2seq(start)
    begins = objective.begins(pairs, objective.window(context))
    batch = collated(objective, pairs, begins, context)
    found = []
    for row in range(len(begins)):
        for number in range(1, int(batch["mask"][row].max()) + 1):
            source = batch["inputs"][row][batch["mask"][row] == number]
            target = batch["targets"][row][batch["decoder_mask"][row] == number]
            marks = {objective.vocab.control["begin"]}
            found += [id for id in (*source.tolist(), *target.tolist()) if id not in marks]
    if context == 9 and start == "end":
        assert len(found) < len(pairs.ids)  # a pair of 8 tokens and 2 marks is cut
    else:
        assert found == pairs.ids.tolist()
    assert len(begins) < 40 or context == 9


def test_where_rows_begin() -> None:
    """Room for 5 and 4; sums of sources 3 5 | 4, of targets 2 3 | 4."""
    sizes = np.array([[3, 2, 4, 9, 1], [2, 1, 4, 1, 1]])
    assert firsts(sizes, (5, 4)).tolist() == [0, 2, 3, 4]
    assert firsts(sizes[:, :0], (5, 4)).tolist() == []


def test_plain_text_is_no_pair() -> None:
    plain = Stream(np.array([1, 2, END, 3, END]), np.array([0, 3]))
    with pytest.raises(DataError, match="2 documents with 2 ends are no pairs") as caught:
        seq2seq().begins(plain, 8)
    assert "--data.pairs" in caught.value.next_command


def test_a_row_depends_on_itself_only() -> None:
    pairs, objective = some_pairs(), seq2seq()
    begins = objective.begins(pairs, objective.window(20))[:4]
    whole = collated(objective, pairs, begins, 20)
    halves = [collated(objective, pairs, begins[part], 20) for part in (slice(2), slice(2, 4))]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([half[name] for half in halves]))


@torch.no_grad()
def test_the_smoothed_loss_by_hand() -> None:
    """In training (1 - e) of each target's nats and e of the mean over all words; in evaluation
    the nats of the targets."""
    config = ModelConfig(
        family="marian", layers=1, dim=16, heads=2, context=32, vocab=400, bias=True, dropout=0.0
    )
    model, objective = build_any(config, seed=1), seq2seq(smoothing=0.1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    batch = collated(objective, some_pairs(), [0], 20)
    sides = (batch["inputs"], batch["decoder_inputs"], batch["mask"], batch["decoder_mask"])
    said = model(*sides).logits.log_softmax(-1)[0]
    targets = batch["targets"][0]
    nats = [-float(said[i, t]) for i, t in enumerate(targets.tolist()) if t != IGNORE]
    spread = [-float(said[i].mean()) for i, t in enumerate(targets.tolist()) if t != IGNORE]
    smoothed = objective.loss(model.train(), batch)
    assert float(smoothed.total) == pytest.approx(0.9 * sum(nats) + 0.1 * sum(spread), rel=1e-5)
    plain = objective.loss(model.eval(), batch)
    assert float(plain.total) == pytest.approx(sum(nats), rel=1e-5)
    assert int(plain.count) == int(smoothed.count) == len(nats)
    assert float(smoothed.total) != pytest.approx(float(plain.total), rel=1e-3)
