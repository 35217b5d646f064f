"""Mixtures: each row is what its own objective makes of it, and the loss is of all targets."""

import examples
import numpy as np
import pytest
import torch
from examples import Rows

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.objectives.causal import Causal
from ownlm.objectives.denoise import Spans
from ownlm.objectives.masked import Masked
from ownlm.objectives.mixture import Mixture, Task
from ownlm.objectives.objective import IGNORE, Batch
from ownlm.objectives.prefix import Prefix
from ownlm.objectives.seq2seq import Seq2Seq

END, LEAD = examples.bpe().eos_id, np.array([7, 8])
CONTEXT = 40


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def mixture() -> Mixture:
    vocab = examples.facts(examples.bpe())
    spans, pairs = Spans(vocab, vocab.need("pad")), Seq2Seq(vocab, vocab.need("pad"), END)
    pairs.lead = LEAD
    return Mixture([Task("spans", spans, 0.5), Task("pairs", pairs, 0.5)])


def rows(mixture: Mixture) -> Rows:
    """Four rows: text, pairs, text, and pairs that end with their corpus."""
    length = mixture.window(CONTEXT) + 1
    text = examples.rows(examples.bpe(), count=4, length=length - 1)
    pair = np.array([1, 2, 3, END, 11, 12, END, 4, END, 13, END])
    tokens, documents = text.tokens.copy(), np.ones_like(text.tokens)
    for row in (1, 3):
        tokens[row] = [*pair, *np.resize([5, END, 14, END], length - len(pair))]
        tokens[row, 11:] = -1 if row == 3 else tokens[row, 11:]
        documents[row, 7:] = 2
        documents[row, 11:] = 3 if row == 3 else 3 + np.arange(length - 11) // 4
    parts = np.array([0, 1, 0, 1])
    return Rows(tokens, documents, np.arange(4) * 1000, None, None, parts)


def model() -> torch.nn.Module:
    config = ModelConfig(family="t5", layers=1, dim=16, heads=2, context=CONTEXT, vocab=400)
    made = build_any(config, seed=1).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def test_rows_by_hand() -> None:
    """Pairs of three and one, with the words of their task before each source."""
    mixed = mixture()
    batch = mixed.collate(rows(mixed), rng())
    assert batch["tasks"][:, 0].tolist() == [0, 1, 0, 1]
    source = [7, 8, 1, 2, 3, END, 7, 8, 4, END]
    assert batch["inputs"][3, :10].tolist() == source
    assert (batch["mask"][3, 10:] == 0).all() and batch["inputs"].shape == (4, CONTEXT)
    target = [11, 12, END, 13, END]
    assert batch["targets"][3].tolist() == target + [IGNORE] * (batch["targets"].shape[1] - 5)
    assert batch["inputs"][1, :10].tolist() == source  # and more pairs after them
    assert batch["inputs"][1, 10:14].tolist() == [7, 8, 5, END]


def test_a_row_is_what_its_objective_makes_of_it() -> None:
    mixed = mixture()
    given = rows(mixed)
    batch = mixed.collate(given, rng(4))
    spans = mixed.tasks[0].objective
    length = mixed.lengths(given.tokens.shape[1] - 1)[0] + 1
    assert length == spans.window(CONTEXT) + 1 < given.tokens.shape[1]
    inputs = batch["inputs"][0]
    assert (inputs == examples.facts(examples.bpe()).sentinels[0]).sum() == 1
    kept = [id for id in inputs.tolist() if id in given.tokens[0, :length].tolist()]
    assert len(kept) > CONTEXT // 2


def test_a_row_depends_on_itself_only() -> None:
    mixed = mixture()
    given = rows(mixed)
    whole = mixed.collate(given, rng(7))
    halves = [mixed.collate(examples.part(given, *p), rng(7)) for p in ((0, 1), (1, 4))]
    for row, (half, place) in enumerate([(0, 0), (1, 0), (1, 1), (1, 2)]):
        for name, tensor in whole.items():
            part = halves[half][name][place]
            assert torch.equal(tensor[row, : len(part)], part)
    assert not torch.equal(whole["inputs"], mixed.collate(given, rng(8))["inputs"])


@torch.no_grad()
def test_the_loss_is_of_all_targets_and_told_by_task() -> None:
    mixed, reader = mixture(), model()
    batch = mixed.collate(rows(mixed), rng())
    loss = mixed.loss(reader, batch)
    sides = [batch[n] for n in ("inputs", "decoder_inputs", "mask", "decoder_mask")]
    said = reader(*sides).logits.log_softmax(-1)
    nats = torch.zeros(4)
    for row, place in (batch["targets"] != IGNORE).nonzero().tolist():
        nats[row] -= said[row, place, batch["targets"][row, place]]
    assert float(loss.total) == pytest.approx(float(nats.sum()), rel=1e-5)
    assert int(loss.count) == int((batch["targets"] != IGNORE).sum())
    pairs, count = loss.metrics["loss_pairs"].tolist()
    assert pairs == pytest.approx(float(nats[1] + nats[3]), rel=1e-5)
    assert count == int((batch["targets"][[1, 3]] != IGNORE).sum())
    alone = {name: tensor[:1] for name, tensor in batch.items()}
    found = mixed.loss(reader, alone)  # a micro-batch without any pair
    assert found.metrics["loss_pairs"].tolist() == [0, 0]
    assert float(found.total) == pytest.approx(float(nats[0]), rel=1e-5)


@pytest.mark.parametrize(("family", "kinds"), [
    ("gpt2", [Causal(), Prefix()]), ("bert", [Masked(examples.facts(examples.wordpiece()))] * 2),
])  # fmt: skip
@torch.no_grad()
def test_decoders_and_encoders_mix_too(family: str, kinds: list) -> None:
    config = ModelConfig(
        family=family, layers=1, dim=16, heads=2, context=32, vocab=400, bias=True, dropout=0.0
    )
    reader = build_any(config, seed=1).eval()
    mixed = Mixture([Task(str(n), objective) for n, objective in enumerate(kinds)])
    tokenizer = examples.bpe() if family == "gpt2" else examples.wordpiece()
    given = examples.rows(tokenizer, count=4, length=32)
    given = given._replace(parts=np.array([0, 1, 1, 0]), partners=None)
    batch = mixed.collate(given, rng())
    loss = mixed.loss(reader, batch)
    total, count = 0.0, 0
    for row, number in enumerate(given.parts):
        one: Batch = {n: t[row : row + 1] for n, t in batch.items()}
        if number == 0:
            one.pop("prefix", None)
        alone = kinds[number].loss(reader, one)
        total, count = total + float(alone.total), count + int(alone.count)
    assert float(loss.total) == pytest.approx(total, rel=1e-5) and int(loss.count) == count


@pytest.mark.parametrize(("temperature", "limit", "expected"), [
    (1.0, 0, [0.8, 0.2]), (2.0, 0, [2 / 3, 1 / 3]), (1.0, 100, [0.5, 0.5]),
    (1.0, 200, [2 / 3, 1 / 3]),
])  # fmt: skip
def test_shares_by_size(temperature: float, limit: int, expected: list[float]) -> None:
    """400 and 100 windows: as they are; by their square roots; at most 100, 200 of each."""
    vocab = examples.facts(examples.bpe())
    tasks = [Task(str(n), Spans(vocab, vocab.need("pad"))) for n in range(2)]
    mixed = Mixture(tasks, temperature=temperature, limit=limit)
    assert mixed.shares([400, 100]) == pytest.approx(expected)
    assert mixture().shares([400, 100]) == [0.5, 0.5]  # weights win over sizes
