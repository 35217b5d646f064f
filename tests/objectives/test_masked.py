"""Masked language modelling: what is hidden, what is asked, and what a row may depend on."""

from pathlib import Path

import examples
import numpy as np
import pytest
import torch

from ownlm.data.loader import Loader
from ownlm.data.shards import SplitWriter, TokenStream
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.objectives.masked import Corruption, Masked, cut
from ownlm.objectives.mixture import order
from ownlm.objectives.objective import IGNORE

HIDE_ALL = Corruption(rate=0.999, masked=1.0, random=0.0)


def masked(corruption: Corruption | None = None, **options) -> Masked:
    vocab = examples.facts(examples.wordpiece())
    return Masked(vocab, corruption or Corruption(), **options)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def names(ids: torch.Tensor) -> list[str]:
    return [examples.wordpiece().token(int(id)) for id in ids]


def test_a_row_by_hand() -> None:
    """Two documents of 5 and 6 tokens, everything hidden: marks, segments, targets."""
    given = examples.rows(examples.wordpiece(), count=1, length=10, borders=(5,))
    text = given.tokens[0]
    batch = masked(HIDE_ALL).collate(given, rng())
    marks = ["[CLS]", *["[MASK]"] * 5, "[SEP]", "[CLS]", "[MASK]", "[SEP]"]
    assert names(batch["inputs"][0]) == marks
    learned = [IGNORE, *text[:5], IGNORE, IGNORE, text[5], IGNORE]
    assert batch["targets"][0].tolist() == learned
    assert batch["mask"][0].tolist() == [1] * 7 + [2] * 3
    assert batch["types"][0].tolist() == [0] * 10


def test_shares_of_a_long_text() -> None:
    given = examples.rows(examples.wordpiece(), count=6, length=256)
    objective = masked()
    batch = objective.collate(given, rng())
    plain = masked(Corruption(rate=1e-9, masked=0.0, random=0.0)).collate(given, rng())["inputs"]
    hidden = batch["targets"] != IGNORE
    text = torch.from_numpy(~objective.vocab.is_control[plain])
    assert not (hidden & ~text).any()
    assert torch.equal(batch["targets"][hidden], plain[hidden])
    assert torch.equal(batch["inputs"][~hidden], plain[~hidden])
    shown = batch["inputs"][hidden]
    share = hidden.sum() / text.sum()
    assert 0.145 < share < 0.155
    assert 0.7 < (shown == objective.mask).float().mean() < 0.9
    kept = (shown == batch["targets"][hidden]).float().mean()
    assert 0.03 < kept < 0.2


def test_whole_words_are_hidden_whole() -> None:
    given = examples.rows(examples.small_bpe(), count=6, length=128)
    vocab = examples.facts(examples.small_bpe())

    def torn(unit: str) -> int:
        """Words of several pieces of which some are hidden and some are not."""
        corruption = Corruption(masked=0.0, random=0.0, unit=unit)
        batch = Masked(vocab, corruption).collate(given, rng())
        count = 0
        for ids, targets in zip(batch["inputs"].numpy(), batch["targets"].numpy(), strict=True):
            word = np.cumsum(vocab.begins_word[ids] | vocab.is_control[ids])
            for number in np.unique(word):
                hidden = targets[word == number] != IGNORE
                count += hidden.any() and not hidden.all()
        return count

    assert torn("word") == 0
    assert torn("token") > 5


def test_a_row_depends_on_itself_only() -> None:
    given, objective = examples.rows(examples.wordpiece()), masked(pairs="next")
    whole = objective.collate(given, rng(7))
    halves = [objective.collate(examples.part(given, *p), rng(7)) for p in ((0, 2), (2, 4))]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([half[name] for half in halves]))
    assert not torch.equal(whole["inputs"], objective.collate(given, rng(8))["inputs"])


def test_static_masking_does_not_change() -> None:
    given, objective = examples.rows(examples.wordpiece()), masked(dynamic=False)
    one, two = (objective.collate(given, rng(seed))["inputs"] for seed in (1, 2))
    assert torch.equal(one, two)


def test_next_sentence_pairs_come_from_the_text_or_from_elsewhere() -> None:
    given = examples.rows(examples.wordpiece(), count=40, length=48)
    nothing = Corruption(rate=1e-9, masked=0.0, random=0.0)
    batch = masked(nothing, pairs="next").collate(given, rng())
    labels = []
    for row in range(40):
        ids, types = batch["inputs"][row].numpy(), batch["types"][row].numpy()
        own, other = (" ".join(map(str, x[row])) for x in (given.tokens, given.partners))
        for place in np.flatnonzero(batch["pair_labels"][row] != IGNORE):
            number = batch["mask"][row, place]
            second = ids[(batch["mask"][row] == number).numpy() & (types == 1)][:-1]
            label = int(batch["pair_labels"][row, place])
            assert " ".join(map(str, second)) in (own, other)[label]
            assert batch["pair_weights"][row, place] >= 1
            labels.append(label)
    assert 0.3 < np.mean(labels) < 0.7


def test_sentence_order_swaps_neighbours() -> None:
    given = examples.rows(examples.wordpiece(), count=20, length=40)
    nothing = Corruption(rate=1e-9, masked=0.0, random=0.0)
    batch = masked(nothing, pairs="order").collate(given, rng())
    for row in range(20):
        text = given.tokens[row][: len(given.tokens[row])]
        ids, types = batch["inputs"][row].numpy(), batch["types"][row].numpy()
        one, two = ids[types == 0][1:-1], ids[types == 1][:-1]
        if batch["pair_labels"][row, 0] == 1:
            one, two = two, one
        shortest = min(len(one), 5)
        assert one[:shortest].tolist() == text[:shortest].tolist()
        assert two[0] in text


def test_the_loss_by_hand() -> None:
    """Sums over hidden tokens; a pair weighs as many nats as its sequence has hidden tokens."""
    tokenizer, objective = examples.wordpiece(), masked(pairs="next")
    config = ModelConfig(
        family="bert", layers=1, dim=16, heads=2, context=48, vocab=300, bias=True, dropout=0.0
    )
    model = build_any(config, seed=1).eval()
    batch = objective.collate(examples.rows(tokenizer), rng())
    loss = objective.loss(model, batch)
    output = model(batch["inputs"], mask=batch["mask"], types=batch["types"])
    said = output.logits.log_softmax(-1)
    expected, at = 0.0, batch["targets"] != IGNORE
    for row, place in at.nonzero().tolist():
        expected -= float(said[row, place, batch["targets"][row, place]])
    for row, place in (batch["pair_labels"] != IGNORE).nonzero().tolist():
        number = batch["mask"][row, place]
        hidden = int((at[row] & (batch["mask"][row] == number)).sum())
        first = output.hidden[row, place]
        scores = model.task.out(torch.tanh(model.task.dense(first))).log_softmax(-1)
        expected -= hidden * float(scores[batch["pair_labels"][row, place]])
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)
    assert int(loss.count) == int(at.sum())
    pairs = int((batch["pair_labels"] != IGNORE).sum())
    assert loss.metrics["pair_accuracy"][1] == pairs > 0
    right = (said.argmax(-1) == batch["targets"])[at].sum()
    assert loss.metrics["masked_accuracy"].tolist() == [right, at.sum()]
    assert "masked_accuracy" not in objective.loss(model.train(), batch).metrics, "costs time"


def test_the_longer_segment_is_cut() -> None:
    long, short = np.arange(10), np.arange(3)
    assert [len(s) for s in cut([long, short], 9)] == [6, 3]
    assert [len(s) for s in cut([short, long], 9)] == [3, 6]
    assert [len(s) for s in cut([long, long], 9)] == [4, 5] or [
        len(s) for s in cut([long, long], 9)
    ] == [5, 4]
    assert [len(s) for s in cut([long], 4)] == [4]


def test_text_without_anything_to_hide_is_no_fault() -> None:
    given = examples.rows(examples.wordpiece(), count=1, length=2)
    batch = masked().collate(given, rng())
    assert batch["inputs"].shape == (1, 2)
    config = ModelConfig(family="bert", layers=1, dim=16, heads=2, context=48, vocab=300, bias=True)
    batch["targets"].fill_(IGNORE)
    loss = masked().loss(build_any(config, seed=1), batch)
    assert (float(loss.total), int(loss.count)) == (0.0, 0)


@pytest.mark.parametrize("pairs", ["none", "next"])
def test_what_is_static_is_so_in_every_epoch_of_a_training(pairs: str, tmp_path: Path) -> None:
    """The control hides anew: dynamic masking."""
    text = examples.rows(examples.wordpiece(), count=4, length=99).tokens.ravel()
    writer = SplitWriter(tmp_path, "train", "<u2", 1000, 999)
    writer.start_document()
    writer.add(text.tolist(), len(text))
    stream = TokenStream(tmp_path, "train", writer.finish(), "<u2")
    for dynamic in (False, True):
        objective = masked(pairs=pairs, dynamic=dynamic)
        windows = order(objective, stream, 32, seed=1)
        size = windows.per_epoch
        with Loader(stream, 32, size, 1, True, partners=objective.partners, order=windows) as read:
            given = [read.batch(epoch) for epoch in range(3)]
        batches = [objective.collate(e, rng(number)) for number, e in enumerate(given)]
        epochs = [
            dict(zip(e.sample_ids.tolist(), zip(*(b[k].tolist() for k in ("inputs", "targets")))))
            for e, b in zip(given, batches, strict=True)
        ]
        assert (epochs[0] == epochs[1] == epochs[2]) is not dynamic
