"""A text for a text: batches by hand, nothing sees its neighbours, the reference's loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples import bpe
from task_cases import HERE, RNG, apart, config_of, learned, sentence
from torch import nn

from ownlm.data.encoded import Encoded, EncodedLoader, examples
from ownlm.data.packing import packed_pairs
from ownlm.data.tasks.predictions import Writing
from ownlm.data.tasks.records import Parallel
from ownlm.errors import ConfigError
from ownlm.evaluation.parity import sharpened
from ownlm.inference.batch import generate
from ownlm.models.families import family_named
from ownlm.models.load import build_any, save_model, set_tokens
from ownlm.objectives.objective import IGNORE
from ownlm.objectives.tasks.config import TaskOptions
from ownlm.objectives.tasks.make import make_task
from ownlm.objectives.tasks.task import encode_all
from ownlm.objectives.tasks.write import Rewrite, Translate, Wanted, Writes

END = bpe().eos_id
PAD = bpe().pad_id or 0
PAIRS, DECODERS = ("t5", "bart", "marian"), ("gpt2", "llama")


def parallel(sizes: list[int]) -> list[Parallel]:
    return [
        Parallel(origin=HERE, source=sentence(size), target=sentence(14 - size, 1))
        for size in sizes
    ]


def made(family: str, **options: Any) -> tuple[Writes, nn.Module]:
    model = sharpened(build_any(config_of(family, "", 2), seed=1)).double()
    t = bpe()
    set_tokens(model, bos=t.bos_id, eos=t.eos_id, pad=t.pad_id)
    task = make_task("seq2seq", TaskOptions(**options), t, model.config, generate=generate)
    assert isinstance(task, Writes)
    return task, model


def sequence(*sides: list[int]) -> Encoded:
    source, target = (np.array(side, np.int64) for side in sides)
    return Encoded(source, 0, decoder_ids=target)


def test_a_batch_of_both_sides_by_hand() -> None:
    """Rows of 5 and 4, of the longest sides; the short pairs share one."""
    task, _ = made("marian")
    pairs = [
        sequence([1, 2, 3, 4, END], [11, END]),
        sequence([5, END], [12, END]),
        sequence([6, 7, END], [13, END]),
        sequence([8, END], [14, 15, 16, END]),
    ]
    batch = task.collate(examples(pairs), RNG)
    assert batch["inputs"].tolist() == [[1, 2, 3, 4, END], [8, END, PAD, PAD, PAD],
                                        [6, 7, END, 5, END]]  # fmt: skip
    assert batch["mask"].tolist() == [[1] * 5, [1, 1, 0, 0, 0], [1, 1, 1, 2, 2]]
    assert batch["decoder_inputs"].tolist() == [[PAD, 11, PAD, PAD], [PAD, 14, 15, 16],
                                                [PAD, 13, PAD, 12]]  # fmt: skip
    assert batch["decoder_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 2, 2]]
    assert batch["targets"].tolist() == [[11, END, IGNORE, IGNORE], [14, 15, 16, END],
                                         [13, END, 12, END]]  # fmt: skip


def test_sequences_of_a_decoder_by_hand() -> None:
    """<source> <newline> <target> <end>: what is learned is predicted from the token before."""
    task, _ = made("gpt2", separator=":", prefix="say ")
    t = bpe()
    record = Parallel(origin=HERE, source="sang", target="slept")
    (found,) = task.encode(record, 3)
    read, written = [*t.encode("say sang"), *t.encode(":")], [*t.encode("slept"), END]
    assert found.ids.tolist() == read + written
    assert found.target.tolist() == [False] * len(read) + [True] * len(written)
    assert (found.record, found.extra) == (3, len(read))
    batch = task.collate(examples([found]), RNG)
    assert batch["inputs"].tolist() == [(read + written)[:-1]]
    assert batch["targets"].tolist() == [[IGNORE] * (len(read) - 1) + written]
    assert "prefix" not in batch
    both, _ = made("gpt2", both_ways=True, separator=":", prefix="say ")
    batch = both.collate(examples([found]), RNG)
    assert batch["prefix"].tolist() == [[True] * len(read) + [False] * (len(written) - 1)]


@pytest.mark.parametrize("family", [*PAIRS, *DECODERS])
@pytest.mark.parametrize("both_ways", [False, True])
def test_packed_is_what_each_is_alone(family: str, both_ways: bool) -> None:
    """Loss and gradients; with neighbours that are seen (the control) they are others."""
    task, model = made(family, smoothing=0.1, both_ways=both_ways)
    sizes = [(3, 2), (12, 11), (5, 4), (2, 3), (4, 5), (6, 4)]
    texts = [(sentence(read), sentence(write, 1)) for read, write in sizes]
    encoded = encode_all(task, [Parallel(origin=HERE, source=a, target=b) for a, b in texts])
    whole, gradients = learned(task, model.train(), encoded)
    alone = [learned(task, model, [item]) for item in encoded]
    assert int(whole.count) == sum(int(loss.count) for loss, _ in alone)
    assert float(whole.total) == pytest.approx(sum(float(x.total) for x, _ in alone), rel=1e-6)
    summed = [sum(parts[1:], parts[0]) for parts in zip(*(found for _, found in alone))]
    assert apart(gradients, summed) < 1e-4
    batch = task.collate(examples(encoded), RNG)
    assert len(batch["inputs"]) < 6
    masks = {name: batch[name].clamp(max=1) for name in ("mask", "decoder_mask") if name in batch}
    seen = task.loss(model, batch | masks)
    assert float(seen.total) != pytest.approx(float(whole.total), rel=1e-4)


@pytest.mark.parametrize("family", ["t5", "gpt2"])
def test_smoothing_is_for_training_only(family: str) -> None:
    smooth, model = made(family, smoothing=0.2)
    plain, _ = made(family)
    batch = plain.collate(examples(encode_all(plain, parallel([4, 6]))), RNG)
    with torch.no_grad():
        costs = [task.loss(model.train(mode), batch) for task in (smooth, plain)
                 for mode in (True, False)]  # fmt: skip
    totals = [float(cost.total) for cost in costs]
    assert totals[1] == pytest.approx(totals[3]) and totals[2] == pytest.approx(totals[3])
    assert totals[0] != pytest.approx(totals[1], rel=1e-3)


@pytest.mark.parametrize("family", PAIRS)
def test_the_smoothed_loss_is_that_of_transformers(family: str, tmp_path: Path) -> None:
    """Each pair alone in the reference, with its trainer's smoother; the plain loss differs."""
    transformers = pytest.importorskip("transformers")
    from transformers.trainer_pt_utils import LabelSmoother

    task, model = made(family, smoothing=0.1)
    save_model(model.float(), tmp_path)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    encoded = encode_all(task, parallel([3, 9, 5, 12]))
    found = task.loss(model.train(), task.collate(examples(encoded), RNG))
    total = plain = 0.0
    for item in encoded:
        labels = torch.from_numpy(item.decoder_ids)[None]
        assert isinstance(task, Translate)
        begun = torch.cat((torch.tensor([[task.frame.start]]), labels[:, :-1]), dim=1)
        with torch.no_grad():
            out = theirs(input_ids=torch.from_numpy(item.ids)[None], decoder_input_ids=begun)
        smoother = LabelSmoother(epsilon=0.1)
        total += float(smoother({"logits": out.logits, "loss": None}, labels)) * labels.numel()
        plain += float(LabelSmoother(epsilon=0.0)({"logits": out.logits}, labels)) * labels.numel()
    found = found._replace(total=found.total.detach())
    assert float(found.total) == pytest.approx(total, rel=1e-5)
    assert int(found.count) == sum(len(item.decoder_ids) for item in encoded)
    assert float(found.total) != pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("family", PAIRS)
def test_marks_prefix_and_what_is_too_long(family: str) -> None:
    task, _ = made(family, prefix="say: ", longest=8)
    assert isinstance(task, Translate)
    short, long = task.encode(Parallel(origin=HERE, source="a", target="b"), 0)[0], task.encode(
        parallel([13])[0], 1
    )[0]  # fmt: skip
    t, begin = bpe(), [bpe().special["<|begin|>"]] if family == "bart" else []
    assert short.ids.tolist() == [*begin, *t.encode("say: a"), END]
    assert short.decoder_ids is not None and long.decoder_ids is not None
    assert short.decoder_ids.tolist() == [*begin, *t.encode("b"), END]
    assert len(long.ids) == 8 and long.ids[-1] == END
    cut = task.encode(parallel([1])[0], 1)[0].decoder_ids
    assert cut is not None and len(cut) == 8 and cut[-1] != END


def test_a_long_source_leaves_room_for_what_is_written() -> None:
    task, _ = made("gpt2", longest=32)
    t = bpe()
    (found,) = task.encode(Parallel(origin=HERE, source=sentence(60), target=sentence(40)), 0)
    assert len(found.ids) == 32
    assert found.extra == int((32 - 1) * 0.75) + 1
    assert found.ids[found.extra - 1] == t.encode("\n")[0]
    (other,) = task.encode(Parallel(origin=HERE, source=sentence(60), target=""), 0)
    assert task.prompts([found], []) == task.prompts([other], [])


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", [*PAIRS, *DECODERS])
def test_predictions_are_texts_in_order(family: str, beams: int) -> None:
    task, model = made(family, beams=beams, both_ways=family == "llama")
    model.train()
    records = parallel([3, 9, 5, 2])
    found = task.predict(model, encode_all(task, records), records)
    assert model.training
    one = [task.predict(model, encode_all(task, [record]), [record])[0] for record in records]
    assert found == one
    assert len({*found}) > 1
    assert all(isinstance(text, Writing) for text in found)


def test_what_was_learned_by_heart_is_written() -> None:
    """Four pairs, seen until they are known; the untaught model says otherwise."""
    for family in ("marian", "llama"):
        model = build_any(config_of(family, "", 2).with_values({"dropout": 0.0}), seed=1)
        set_tokens(model, bos=None, eos=END, pad=bpe().pad_id)
        task = make_task("seq2seq", TaskOptions(), bpe(), model.config, generate=generate)
        records = parallel([3, 9, 5, 2])
        encoded = encode_all(task, records)
        loader = EncodedLoader(encoded, 4, seed=1)
        wanted = [Writing(record.target, True) for record in records]
        assert task.predict(model, encoded, records) != wanted
        moves = torch.optim.Adam(model.parameters(), lr=3e-3)
        for step in range(150):
            loss = task.loss(model.train(), task.collate(loader.batch(step), RNG))
            moves.zero_grad()
            (loss.total / loss.count).backward()
            moves.step()
        assert task.predict(model, encoded, records) == wanted, family


def test_a_model_that_does_not_write_is_refused() -> None:
    family = family_named("bert")
    config = family.to_hf(config_of("bert", "", 2))
    for kind in ("seq2seq", "chat"):
        with pytest.raises(ConfigError, match="needs a model that writes"):
            make_task(kind, TaskOptions(), bpe(), config)


def test_a_family_with_a_memory_reads_no_prefix() -> None:
    assert made("lstm")[0].packs
    with pytest.raises(ConfigError, match="lstm reads in one direction only"):
        made("lstm", both_ways=True)


def test_how_texts_are_asked_for() -> None:
    """A translation may have 50 tokens more than its source, a decoder what training had."""
    asked: list[Wanted] = []

    def remember(model: nn.Module, prompts: Any, wanted: Wanted) -> Any:
        asked.append(wanted)
        return generate(model, prompts, wanted)

    records = parallel([3, 9])
    for family in ("marian", "gpt2"):
        task, model = made(family, longest=100, beams=2)
        task.generate = remember
        encoded = encode_all(task, records)
        task.predict(model, encoded, records)
        lengths = [len(prompt) for prompt in task.prompts(encoded, records)]
        more = [n + 50 for n in lengths] if family == "marian" else [100 - n for n in lengths]
        assert asked[-1].limits == more
        assert asked[-1].ends == {END} and asked[-1].beams == 2
    assert asked[0].opening == [PAD] and asked[1].opening == ()


def test_pairs_fill_rows_on_both_sides() -> None:
    assert packed_pairs([(2, 5), (6, 1), (3, 3), (1, 2)], (6, 8)) == [[1], [0, 2], [3]]
    sizes = np.random.default_rng(1).integers(2, 20, (300, 2))
    rows = packed_pairs([(int(a), int(b)) for a, b in sizes], (40, 40))
    assert sorted(number for row in rows for number in row) == list(range(300))
    assert all((sizes[row].sum(axis=0) <= 40).all() for row in rows)
    assert sizes.sum(axis=0).max() / (40 * len(rows)) > 0.85


def test_a_tokenizer_without_the_separator_ends_the_source() -> None:
    task = Rewrite(bpe(), longest=20, separator="")
    assert task.separator == [END]
