"""Span corruption and infilling: nothing of the text is lost, and what is learned is the text."""

import examples
import numpy as np
import pytest
import torch
from examples import Draws, shown, texts, told

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.objectives.denoise import Denoise, Infilling, Spans, divided
from ownlm.objectives.objective import IGNORE


def spans(**options) -> Spans:
    vocab = examples.facts(examples.bpe())
    return Spans(vocab, vocab.need("pad"), **options)


def infilling(**options) -> Infilling:
    vocab = examples.facts(examples.bpe())
    return Infilling(vocab, vocab.need("end"), **options)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(20))
def test_source_and_target_together_are_the_text(seed: int) -> None:
    objective = spans()
    text = np.array(examples.bpe().encode(examples.TEXT))[seed : seed + 37 + 5 * seed]
    source, target = objective.exchange(text, rng(seed))
    sentinels = set(objective.vocab.sentinels)
    lost: dict[int, list[int]] = {}
    for id in target[:-1]:
        if id in sentinels:
            lost[int(id)] = []
        else:
            lost[list(lost)[-1]].append(int(id))
    mended = [i for id in source[:-1] for i in lost.get(int(id), [int(id)])]
    assert mended == text.tolist()
    assert source[-1] == target[-1] == objective.end
    assert (len(source), len(target)) == objective.lengths(len(text))
    noise, count = objective.parts(len(text))
    assert noise == round(0.15 * len(text)) and count == len(lost) == round(noise / 3)
    assert min(map(len, lost.values())) >= 1


def test_the_papers_lengths() -> None:
    """512 tokens of source are made from 568 of text and give 114 of target (T5, appendix)."""
    vocab = examples.facts(examples.bpe())
    objective = Spans(
        type(vocab)(**(vars(vocab) | {"sentinels": tuple(range(100))})), vocab.need("pad")
    )
    assert objective.window(512) == 568
    assert objective.lengths(568) == (512, 114)


def test_a_row_by_hand() -> None:
    """The decoder reads its target one place later, after the start; documents are numbered."""
    objective = spans()
    given = examples.rows(examples.bpe(), count=2, length=objective.window(48), borders=(20,))
    batch = objective.collate(given, rng())
    assert batch["inputs"].shape == (2, 48)
    for row in range(2):
        numbers = batch["decoder_mask"][row]
        for number in (1, 2):
            here = numbers == number
            inputs, targets = batch["decoder_inputs"][row][here], batch["targets"][row][here]
            assert inputs[0] == objective.pad
            assert inputs[1:].tolist() == targets[:-1].tolist()
            assert (batch["mask"][row] == number).any()
        assert (batch["targets"][row][numbers == 0] == IGNORE).all()


def test_spans_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's sentence: 0.3 of 10 tokens are 3, in spans of 1.5 two. What stays, 7, is cut
    behind its second token and what goes, 3, behind its second (borders are drawn less one):

    thank you (for inviting) me to your party last (week)
    """
    told(monkeypatch, Draws([1], [1]))
    objective, text = spans(rate=0.3, mean=1.5), list(range(10, 20))
    x, y, *_ = objective.vocab.sentinels
    pad, end = objective.pad, objective.end
    given = examples.Rows(np.array([[*text, 9]]), None, np.zeros(1, np.int64), None)
    batch = objective.collate(given, Draws(5))
    assert batch["inputs"].tolist() == [[10, 11, x, 14, 15, 16, 17, 18, y, end]]
    assert batch["decoder_inputs"].tolist() == [[pad, x, 12, 13, y, 19]]
    assert batch["targets"].tolist() == [[x, 12, 13, y, 19, end]]
    assert batch["mask"].tolist() == [[1] * 10] and batch["decoder_mask"].tolist() == [[1] * 6]


def test_infilling_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sentences in the order 2 0 1: five . | one . | two three four . (places 0 to 7). Half
    of 8 tokens, 4, may go: three four (2 at 5); 1 at 4 or 7 would touch them and is drawn again;
    none at 2 is a mask more and counts as one; of 9 at 0 but one is left to go, five. A document
    of one sentence loses one of two tokens. Of 15 places 10 and 4 are filled; a third document
    has no room."""
    hidden = [2, 5], [1, 4], [1, 7], [0, 2], [9, 0]
    first = [[2, 0, 1], *(draw for span in hidden for draw in span)]
    told(monkeypatch, Draws(*first, [0], 1, 1))
    vocab = examples.facts(examples.known())
    objective = Infilling(vocab, vocab.need("end"), rate=0.5)
    given = texts("one . two three four . five . [SEP] | two one [SEP] | four five")
    batch = objective.collate(given, Draws(5))
    assert shown(batch["inputs"]) == [
        "[CLS] [MASK] . [MASK] one . two [MASK] . [SEP] [CLS] two [MASK] [SEP] [PAD]"
    ]
    assert shown(batch["decoder_inputs"]) == [
        "[SEP] [CLS] one . two three four . five . [SEP] [CLS] two one [PAD]"
    ]
    assert shown(batch["targets"]) == [
        "[CLS] one . two three four . five . [SEP] [CLS] two one [SEP] -"
    ]
    assert batch["mask"].tolist() == batch["decoder_mask"].tolist() == [[1] * 10 + [2] * 4 + [0]]


def test_infilling_by_parts() -> None:
    objective = infilling()
    text = np.arange(50, 90)
    free, before = np.ones(40, bool), np.zeros(41, bool)
    free[3:6], before[3], before[10] = False, True, True
    made = objective.replaced(text, free, before)
    m = objective.mask
    assert made.tolist() == [50, 51, 52, m, *range(56, 60), m, *range(60, 90)]


@pytest.mark.parametrize("seed", range(10))
def test_infilling_hides_its_share_and_keeps_the_rest_in_order(seed: int) -> None:
    objective = infilling()
    text = np.array(examples.bpe().encode(examples.TEXT))[:200]
    made = objective.infilled(text, rng(seed))
    left = made[made != objective.mask]
    assert 0.6 < len(left) / len(text) < 0.85
    places = iter(text.tolist())
    assert all(id in places for id in left.tolist())  # a subsequence of the text
    assert not ((made[1:] == objective.mask) & (made[:-1] == objective.mask)).any()


def test_sentences_change_places_and_none_is_lost() -> None:
    objective = infilling()
    text = np.array(examples.bpe().encode(examples.TEXT))[:120]
    moved = objective.permuted(text, rng(3))
    assert sorted(moved.tolist()) == sorted(text.tolist())
    assert moved.tolist() != text.tolist()


def test_infilling_teaches_the_text_itself() -> None:
    objective = infilling()
    given = examples.rows(examples.bpe(), count=1, length=objective.window(40))
    batch = objective.collate(given, rng())
    text = given.tokens[0, :-1]
    assert batch["targets"][0].tolist() == [objective.begin, *text, objective.end]
    assert batch["decoder_inputs"][0].tolist() == [objective.end, objective.begin, *text]


@pytest.mark.parametrize("make", [spans, infilling])
def test_a_row_depends_on_itself_only(make) -> None:
    objective: Denoise = make()
    given = examples.rows(examples.bpe(), length=objective.window(48))
    whole = objective.collate(given, rng(7))
    halves = [objective.collate(examples.part(given, *p), rng(7)) for p in ((0, 2), (2, 4))]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([half[name] for half in halves]))
    assert not torch.equal(whole["inputs"], objective.collate(given, rng(8))["inputs"])


@pytest.mark.parametrize(("make", "family"), [(spans, "t5"), (infilling, "bart")])
def test_packed_documents_give_the_loss_of_separate_ones(make, family: str) -> None:
    objective: Denoise = make()
    config = ModelConfig(family=family, layers=2, dim=32, heads=4, context=64, vocab=400)
    model = build_any(config.model_copy(update={"bias": family == "bart"}), seed=1).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    given = examples.rows(examples.bpe(), count=1, length=objective.window(60), borders=(22, 40))
    batch = objective.collate(given, rng())
    packed = objective.loss(model, batch)
    total, count = 0.0, 0
    for number in batch["mask"].unique().tolist():
        if number == 0:
            continue
        here, there = batch["mask"] == number, batch["decoder_mask"] == number
        single = {
            "inputs": batch["inputs"][here][None],
            "mask": batch["mask"][here][None] * 0 + 1,
            "decoder_inputs": batch["decoder_inputs"][there][None],
            "decoder_mask": batch["decoder_mask"][there][None] * 0 + 1,
            "targets": batch["targets"][there][None],
        }
        alone = objective.loss(model, single)
        total, count = total + float(alone.total), count + int(alone.count)
    assert float(packed.total) == pytest.approx(total, rel=1e-5)
    assert int(packed.count) == count
    leaking = batch | {"mask": (batch["mask"] > 0).long(), "decoder_mask": batch["targets"] * 0 + 1}
    assert float(objective.loss(model, leaking).total) != pytest.approx(total, rel=1e-4)


def test_divided_gives_each_part_something() -> None:
    for seed in range(30):
        parts = divided(17, 5, rng(seed))
        assert parts.sum() == 17 and parts.min() >= 1 and len(parts) == 5
    assert divided(3, 3, rng()).tolist() == [1, 1, 1]
