"""Blocks and rows tell what the model tells that reads a text whole; neighbours change nothing."""

from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from ownlm.inference.runner import RowRunner, Runner, TorchRunner, Work, make_runner, pageable
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.models.model import Model
from ownlm.nn.config import RopeScaling
from ownlm.nn.paged import PagedLayer
from ownlm.nn.pieces import Group

SIZE = 4
PAGED: dict[str, dict[str, Any]] = {
    "gpt1": {}, "gpt2": {}, "gpt3": {"window": 5, "layers": 4}, "ctrl": {}, "gpt-neox": {"dim": 32},
    "llama": {"kv_heads": 2}, "mistral": {"kv_heads": 2, "window": 6}, "qwen2": {}, "qwen3": {},
    "olmo2": {}, "smollm3": {"layers": 4}, "gemma": {}, "gemma2": {"window": 6},
    "gemma3": {"window": 6}, "mixtral": {"experts": 4}, "qwen3-moe": {"experts": 16}, "phi3": {},
    "strided": {"family": "gpt2", "pattern": "strided"},
    "fixed": {"family": "llama", "pattern": "fixed"},
    "longformer": {"family": "llama", "pattern": "longformer"},
    "bigbird": {"family": "llama", "pattern": "bigbird", "pattern_size": 2},
}  # fmt: skip
PAIRS = ["t5", "mt5", "bart", "marian"]
ROWS: dict[str, dict[str, Any]] = {
    "transformer-xl": {}, "xlnet": {}, "lstm": {"bias": True, "hidden": 24},
}  # fmt: skip


def made(name: str, **values: Any) -> Model:
    shape = {"vocab": 60, "dim": 16, "heads": 4, "layers": 2, "context": 40, "family": name}
    config = ModelConfig(**shape | (PAGED | ROWS).get(name, {}) | values)
    model = build_any(config, seed=2).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0.0, 0.3)
            else:
                parameter.add_(torch.rand_like(parameter) * 0.2)
    return model


def text(length: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 60, (length,), generator=generator).tolist()


TEXTS = [text(33, 1), text(7, 2), text(20, 3), text(1, 4)]
TABLES = [[3, 1, 4, 5, 9, 2, 6, 0, 7], [8, 10], [11, 13, 12, 15, 14], [16]]


class Source(NamedTuple):
    """What an encoder-decoder reads, and where it lies."""

    source: list[int]
    source_blocks: list[int]


SOURCES = [
    Source(text(21, 5), [20, 17, 19, 18, 22, 21]),
    Source(text(3, 6), [23]),
    Source(text(40, 7), [*range(24, 34)]),
    Source(text(9, 8), [39, 38, 37]),
]


def reserved(model: Model) -> Runner:
    runner = make_runner(model)
    runner.reserve(40, SIZE)
    return runner


def whole(model: Model, ids: list[int]) -> Tensor:
    with torch.inference_mode():
        return model.writer(torch.tensor([ids])).logits[0].float()


def in_pieces(
    runner: Runner,
    tables: list[list[int]],
    cuts: list[list[int]],
    sources: list[Source] | None = None,
) -> list[Tensor]:
    """All texts beside each other, each cut where `cuts` say; all logits of each."""
    found: list[list[Tensor]] = [[] for _ in TEXTS]
    for step in range(max(map(len, cuts))):
        here = [n for n, places in enumerate(cuts) if step + 1 < len(places)]
        works = []
        for n in here:
            begin, end = cuts[n][step : step + 2]
            work = Work(TEXTS[n][begin:end], begin, tables[n], every=True)
            heard = sources[n]._asdict() if sources else {}
            works.append(work._replace(**heard, hears=bool(sources) and step == 0))
        if works:
            logits = runner.read(works).split([len(work.ids) for work in works])
            for n, one in zip(here, logits):
                found[n].append(one)
    return [torch.cat(one) for one in found]


CUTS = [[0, 9, 20, 31, 32, 33], [0, 1, 2, 3, 4, 7], [0, 20], [0, 1]]


@pytest.mark.parametrize("name", PAGED)
def test_pieces_in_blocks_beside_others_are_the_whole(name: str) -> None:
    model = made(name)
    assert isinstance(make_runner(model), TorchRunner)
    found = in_pieces(reserved(model), TABLES, CUTS)
    for ids, logits in zip(TEXTS, found):
        alone = whole(model, ids)
        assert (logits - alone).abs().max() < 1e-5 * max(1.0, float(alone.abs().max()))
        assert torch.equal(logits.argmax(dim=-1), alone.argmax(dim=-1))


def test_a_table_that_is_mixed_up_is_noticed() -> None:
    model = made("llama")
    mixed = [TABLES[0][::-1], *TABLES[1:]]
    runner = reserved(model)
    in_pieces(runner, TABLES, CUTS)
    right = runner.read([Work(TEXTS[0][-1:], 32, TABLES[0])])
    wrong = runner.read([Work(TEXTS[0][-1:], 32, mixed[0])])
    assert (right - wrong).abs().max() > 0.1


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_the_whole(name: str) -> None:
    model = made(name)
    assert isinstance(make_runner(model), RowRunner)
    found = in_pieces(reserved(model), [[n] for n in range(4)], CUTS)
    for ids, logits in zip(TEXTS, found):
        assert (logits - whole(model, ids)).abs().max() < 1e-4


def test_rows_that_are_done_give_their_memory_back() -> None:
    runner = reserved(made("lstm"))
    assert isinstance(runner, RowRunner)
    runner.read([Work(TEXTS[1], 0, [3]), Work(TEXTS[3], 0, [1])])
    runner.forget([3, 2])
    assert [*runner.rows] == [1]


def test_only_wanted_logits_come_in_order() -> None:
    model = made("gpt2")
    works = [Work(ids, 0, table) for ids, table in zip(TEXTS, TABLES)]
    works[1] = works[1]._replace(every=True)
    found = reserved(model).read(works)
    wanted = [whole(model, TEXTS[0])[-1:], whole(model, TEXTS[1])]
    wanted += [whole(model, ids)[-1:] for ids in TEXTS[2:]]
    assert (found - torch.cat(wanted)).abs().max() < 1e-4
    assert found.shape == (10, 60)


def test_what_another_text_left_in_a_block_is_not_read() -> None:
    """Infinite values, as half precision may leave them."""
    model = made("llama")
    runner = reserved(model)
    runner.read([Work(TEXTS[0], 0, TABLES[0])])
    assert isinstance(runner, TorchRunner)
    for layer in runner.cache.layers:
        with torch.inference_mode():
            layer._values[:20] = torch.nan  # type: ignore[index]
    found = runner.read([Work(TEXTS[1], 0, [5, 9], every=True)])
    assert (found - whole(model, TEXTS[1])).abs().max() < 1e-4


def test_copied_blocks_go_on_alone() -> None:
    model = made("llama")
    runner = reserved(model)
    runner.read([Work(TEXTS[1][:6], 0, [1, 2])])
    runner.copy([(2, 3)])
    runner.read([Work([9], 6, [1, 2])])
    found = runner.read([Work(TEXTS[1][6:], 6, [1, 3])])
    assert (found - whole(model, TEXTS[1])[-1:]).abs().max() < 1e-4


def test_half_precision_reads_the_same_ranges() -> None:
    """bfloat16 may take another kernel, which is told from where to where."""
    model = made("mistral", dim=64).to(torch.bfloat16)
    found = in_pieces(reserved(model), TABLES, CUTS)
    for ids, logits in zip(TEXTS, found):
        alone = whole(model, ids)
        assert (logits - alone).abs().max() < 0.05 * float(alone.abs().max())


def test_models_that_read_prompts_whole_get_rows() -> None:
    model = made("llama")
    assert pageable(model)
    model.config["prefix_lm"] = True
    runner = make_runner(model)
    assert isinstance(runner, RowRunner)
    ids = torch.tensor([TEXTS[1]])
    both = model(ids, prefix=torch.ones_like(ids)).logits[0, -1:]
    assert (runner.read([Work(TEXTS[1], 0, [0])]) - both).abs().max() < 1e-5
    assert runner.bytes_per_token == 2 * 2 * 2 * 4 * 4


def test_positions_that_turn_by_the_length_of_a_text_are_kept_apart() -> None:
    """LongRoPE: one text that grows long must not turn the tokens of another."""
    model = made("phi3")
    assert pageable(model)
    scaling = RopeScaling(
        kind="longrope", factor=2.0, original=8, short_factors=(1.0, 1.0), long_factors=(2.0, 2.0)
    )
    kinds = tuple(
        replace(kind, rope=replace(kind.rope, scaling=scaling))
        for kind in model.architecture.stack.kinds
        if kind.rope is not None
    )
    stack = replace(model.architecture.stack, kinds=kinds)
    model.architecture = replace(model.architecture, stack=stack)
    assert not pageable(model)


def answered(model: Model, source: list[int], ids: list[int]) -> Tensor:
    with torch.inference_mode():
        return model(torch.tensor([source]), torch.tensor([ids])).logits[0].float()


@pytest.mark.parametrize("name", PAIRS)
def test_encoder_decoders_read_unlike_sources_and_texts_in_one_forward(name: str) -> None:
    model = made(name)
    runner = reserved(model)
    assert isinstance(runner, TorchRunner)
    found = in_pieces(runner, TABLES, CUTS, SOURCES)
    for heard, ids, logits in zip(SOURCES, TEXTS, found):
        alone = answered(model, heard.source, ids)
        assert (logits - alone).abs().max() < 1e-5 * max(1.0, float(alone.abs().max()))
        assert torch.equal(logits.argmax(dim=-1), alone.argmax(dim=-1))


@pytest.mark.parametrize("name", PAIRS)
def test_sources_that_are_mixed_up_are_noticed(name: str) -> None:
    """The control: another's source, and a place of one's own that another text has taken."""
    model = made(name)
    runner = reserved(model)
    in_pieces(runner, TABLES, CUTS, SOURCES)
    last = Work(TEXTS[0][-1:], 32, TABLES[0], False, *SOURCES[0])
    right = runner.read([last])
    other = runner.read([last._replace(**SOURCES[2]._asdict())])
    runner.read([Work(TEXTS[3], 0, [0], False, text(4, 9), [19], True)])
    taken = runner.read([last])
    assert min((other - right).abs().max(), (taken - right).abs().max()) > 1e-3


def test_texts_of_one_source_read_it_together() -> None:
    model = made("t5")
    runner = reserved(model)
    heard = SOURCES[0]
    runner.read([Work([7], 0, [0], False, *heard, True)])
    runner.copy([(0, 1)])
    works = [Work([n], 1, [block], False, *heard) for n, block in ((3, 0), (4, 1))]
    works.insert(1, Work(TEXTS[1], 0, [2, 3], False, *SOURCES[1], True))
    found = runner.read(works)
    alone = [answered(model, heard.source, [7, 3]), answered(model, SOURCES[1].source, TEXTS[1]),
             answered(model, heard.source, [7, 4])]  # fmt: skip
    assert (found - torch.cat([one[-1:] for one in alone])).abs().max() < 1e-4


def test_a_pack_of_sources_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("bart")
    lengths: list[int] = []
    encode = model.encode

    def watched(ids: Tensor, mask: Tensor | None = None) -> Any:
        lengths.append(ids.shape[1])
        return encode(ids, mask)

    monkeypatch.setattr(model, "encode", watched)
    monkeypatch.setattr("ownlm.inference.runner.PACK", 24)
    found = in_pieces(reserved(model), TABLES, CUTS, SOURCES)
    assert lengths == [24, 40, 9]
    for heard, ids, logits in zip(SOURCES, TEXTS, found):
        assert (logits - answered(model, heard.source, ids)).abs().max() < 1e-4


def test_sources_are_gathered_once_for_as_long_as_the_same_texts_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = made("bart")
    runner = reserved(model)
    gathered, count = PagedLayer._gathered, [0]

    def counted(layer: PagedLayer, group: Group) -> Any:
        count[0] += 1
        return gathered(layer, group)

    monkeypatch.setattr(PagedLayer, "_gathered", counted)
    works = [Work([n], 0, [n], False, *SOURCES[n], True) for n in (0, 3)]
    steps = [works]
    steps += [[one._replace(ids=[7], start=n, hears=False) for one in works] for n in (1, 2)]
    steps += [steps[2][:1], [Work([5], 0, [9], False, text(5, 3), SOURCES[3].source_blocks, True)]]
    counts = []
    for step in steps:
        count[0] = 0
        found = runner.read(step)
        counts.append(count[0] // 2)  # two layers
    assert counts == [2, 1, 1, 2, 2]  # each time the texts themselves
    assert (found - answered(model, text(5, 3), [5])).abs().max() < 1e-4
