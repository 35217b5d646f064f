"""Sparse patterns as an option of any family: folders, caches, packing, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ownlm.errors import CheckpointError, ConfigError
from ownlm.models.config import ModelConfig
from ownlm.models.families import FAMILIES
from ownlm.models.load import build_any, build_model, hf_values, load_model, save_model
from ownlm.models.model import SingleStack
from ownlm.nn.cache import WindowCache

TINY = ModelConfig(vocab=50, dim=32, heads=4, layers=2, context=64)
PATTERNS: dict[str, dict[str, Any]] = {
    "window": {"pattern_size": 6},
    "strided": {},
    "fixed": {"pattern_size": 7, "pattern_globals": 2},
    "longformer": {"pattern_size": 5},
    "bigbird": {"pattern_size": 3, "pattern_random": 2},
}
DECODERS = ("gpt2", "gpt1", "ctrl", "llama", "mistral", "gemma2", "gemma3", "gpt-neox", "mixtral")
ENCODERS = ("bert", "roberta", "modernbert", "electra")


def sparse(family: str, kind: str, **values: Any) -> SingleStack:
    """A tiny model of the family with large weights, so that a mask shows."""
    chosen = {"family": family, "pattern": kind, **PATTERNS.get(kind, {}), **values}
    if family in ("gpt-neox", "mixtral"):
        chosen["tied"] = False
    model = build_model(TINY.with_values(chosen), seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3, generator=generator)
    return model


def tokens(*shape: int) -> Tensor:
    return torch.randint(3, 50, shape, generator=torch.Generator().manual_seed(1))


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
@pytest.mark.parametrize("kind", PATTERNS)
@pytest.mark.parametrize("family", DECODERS)
def test_decoders_read_packed_cached_and_saved_texts_alike(
    family: str, kind: str, tmp_path: Path
) -> None:
    model, ids = sparse(family, kind), tokens(2, 60)
    whole, cache = model(ids).logits, model.new_cache(2)
    parts = [model(part, cache=cache).logits for part in ids.split((20, 1, 1, 17, 21), dim=1)]
    assert apart(torch.cat(parts, dim=1), whole) < 1e-5
    assert all(isinstance(c, WindowCache) == (kind == "window") for c in cache.layers)
    mask = torch.cat([torch.full((2, n), i) for i, n in enumerate((4, 21, 35))], dim=1)
    packed = model(ids, mask).logits
    for part in (slice(4, 25), slice(25, 60)):
        assert apart(packed[:, part], model(ids[:, part]).logits) < 1e-5
    save_model(model, tmp_path)
    again, values = load_model(tmp_path)
    assert torch.equal(again(ids).logits, whole)
    assert values["model_type"].startswith("sparse-")
    assert apart(sparse(family, "")(ids).logits, whole) > 1e-3, "control: all are seen"


@torch.no_grad()
@pytest.mark.parametrize("kind", PATTERNS)
@pytest.mark.parametrize("family", ENCODERS)
def test_encoders_read_packed_and_padded_texts_alike(family: str, kind: str) -> None:
    model, ids = sparse(family, kind), tokens(2, 60)
    mask = torch.cat([torch.full((2, n), i) for i, n in enumerate((4, 21, 35))], dim=1)
    packed = model(ids, mask).logits
    for part in (slice(4, 25), slice(25, 60)):
        assert apart(packed[:, part], model(ids[:, part]).logits) < 1e-5
    assert apart(sparse(family, "")(ids).logits, model(ids).logits) > 1e-3


@torch.no_grad()
def test_an_encoder_decoder_is_sparse_where_it_reads() -> None:
    values = {"family": "t5", "pattern": "longformer", "pattern_size": 4}
    model = build_any(TINY.with_values(values), seed=1)
    assert model.architecture.encoder is not None
    assert model.architecture.encoder.kinds[0].pattern is not None
    assert model.architecture.stack.kinds[0].pattern is None
    ids = tokens(1, 40)
    dense = build_any(TINY.with_values({"family": "t5"}), seed=1)
    assert apart(dense(ids, ids[:, :9]).logits, model(ids, ids[:, :9]).logits) > 1e-6


WITHOUT = ("transformer-xl", "xlnet", "lstm")
"""Families whose attention is their own."""


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in WITHOUT])
def test_every_family_of_plain_attention_takes_a_pattern(family: str) -> None:
    chosen = {"family": family, "pattern": "strided", "tied": family not in ("gpt-neox", "mixtral")}
    model = build_any(TINY.with_values(chosen), seed=1)
    stack = model.architecture.encoder or model.architecture.stack
    assert {kind.pattern.stride for kind in stack.kinds if kind.pattern} == {8}  # root of 64
    assert all(kind.pattern and not kind.window for kind in stack.kinds)


@pytest.mark.parametrize("family", WITHOUT)
def test_the_others_say_no(family: str) -> None:
    with pytest.raises(ConfigError, match="has no choice of pattern"):
        build_any(TINY.with_values({"family": family, "pattern": "strided"}), seed=1)


def test_numbers_that_were_left_open_are_written() -> None:
    def written(**values: Any) -> Any:
        return hf_values(TINY.with_values({"context": 1024, **values}))["ownlm"]["pattern"]

    assert written(pattern="strided") == {"kind": "strided", "size": 32}
    assert written(pattern="fixed") == {"kind": "fixed", "size": 32, "globals": 2}
    assert written(pattern="window") == {"kind": "window", "size": 128}
    assert written(pattern="longformer") == {"kind": "longformer", "size": 128, "globals": 8}
    assert written(pattern="bigbird") == {"kind": "bigbird", "size": 64, "random": 3}


def test_random_blocks_differ_from_layer_to_layer() -> None:
    kinds = sparse("bert", "bigbird").architecture.stack.kinds
    assert len({kind.pattern for kind in kinds}) == 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pattern_size": 3}, "has no choice of size"),
        ({"pattern": "strided", "pattern_globals": 3}, "choose model.pattern among fixed, long"),
        ({"pattern": "fixed", "pattern_random": 3}, "choose model.pattern among bigbird"),
        ({"pattern": "stride"}, "pattern"),
    ],
)
def test_choices_that_mean_nothing(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_model(TINY.with_values(values), seed=1)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (None, "the pattern that model_type promises is missing"),
        ([], "ownlm: pattern: expected an object"),
        ({"size": 4}, "kind: missing"),
        ({"kind": "star", "size": 4}, "'star' is not supported"),
        ({"kind": "strided"}, "size: missing"),
        ({"kind": "strided", "size": 0}, "expected 1 to"),
        ({"kind": "fixed", "size": 4, "globals": 5}, "5 are more than a block of 4"),
        ({"kind": "bigbird", "size": 4, "random": 10**6}, "expected 1 to"),
    ],
)
def test_patterns_in_a_folder_that_cannot_be(pattern: Any, words: str, tmp_path: Path) -> None:
    save_model(sparse("gpt2", "strided"), tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["ownlm"]["pattern"] = pattern
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=words.replace("[", r"\[")):
        load_model(tmp_path)
