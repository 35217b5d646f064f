"""What sets families apart: read off their architectures, as the papers have it."""

import json
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from ownlm.inspection.architecture import sketch
from ownlm.inspection.drawing import draw
from ownlm.inspection.traits import TRAITS, lineage, traits, typical_model
from ownlm.models.families import FAMILIES, SIZES, size_named
from ownlm.models.load import hf_values
from ownlm.models.model import Model

# What the papers say is new, as far as an architecture shows it.
NEW = {
    "gpt1": {"shape", "positions", "feed-forward"},
    "gpt2": {"norm", "new weights"},
    "gpt3": {"a token sees"},
    "ctrl": {"positions", "feed-forward", "token vectors", "output"},
    "gpt-neox": {"positions", "feed-forward", "output"},
    "llama": {"positions", "norm", "keys and values", "feed-forward", "biases", "output"},
    "mistral": {"a token sees"},
    "mixtral": {"feed-forward"},
    "qwen2": {"biases"},
    "qwen3": {"biases", "queries and keys", "width of a head"},
    "qwen3-moe": {"feed-forward"},
    "olmo2": {"norm", "queries and keys"},
    "smollm3": {"positions"},
    "gemma": {"norm", "feed-forward", "token vectors", "output", "keys and values"},
    "gemma2": {"norm", "a token sees", "scores", "output"},
    "gemma3": {"positions", "queries and keys", "scores", "a token sees", "output"},
    "phi3": {"a token sees"},
    "transformer-xl": {"positions", "a token sees"},
    "xlnet": {"shape"},
    "bert": {"shape", "token vectors", "output", "classes"},
    "roberta": {"positions", "token vectors", "classes"},
    "distilbert": {"token vectors", "classes"},
    "electra": {"output", "classes"},
    "modernbert": {"positions", "a token sees", "norm", "feed-forward", "biases"},
    "t5": {"positions", "norm", "scores", "biases"},
    "mt5": {"feed-forward", "output"},
    "bart": {"positions", "token vectors", "feed-forward"},
}

FIRST = ("marian", "lstm")
"""Told against nothing."""


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_says_where_it_comes_from(name: str) -> None:
    family = FAMILIES[name]
    kin = lineage(typical_model(family))
    assert family.papers and all(p.title and p.authors and p.year >= 1997 for p in family.papers)
    assert all(paper.arxiv or paper.place for paper in family.papers)
    assert (kin.after in FAMILIES and kin.compared in SIZES) or name in FIRST
    assert json.loads(json.dumps(kin.as_dict()))["papers"][0]["title"] == family.papers[0].title


@pytest.mark.parametrize("name", NEW)
def test_what_is_new_is_told(name: str) -> None:
    found = {difference.trait for difference in lineage(typical_model(FAMILIES[name])).differences}
    assert NEW[name] <= found


def test_forebears_end_at_the_first_transformer() -> None:
    for family in FAMILIES.values():
        seen = [family.name]
        while after := FAMILIES[seen[-1]].after:
            assert after not in seen
            seen.append(after)
        assert seen[-1] in FIRST


def changed(model: Model, **stack: object) -> Model:
    values = {field: stack[field] for field in stack}
    model.architecture = replace(
        model.architecture,
        stack=replace(model.architecture.stack, **values),  # type: ignore[arg-type]
    )
    return model


def test_a_trait_follows_the_architecture() -> None:
    """The control: another architecture, another text."""
    plain = traits(typical_model(FAMILIES["llama"]))
    for change, trait in (
        ({"norm_at": "branch"}, "norm"),
        ({"qk_norm": "full"}, "queries and keys"),
        ({"kv_heads": 1}, "keys and values"),
        ({"bias_qkv": True}, "biases"),
        ({"scale": 1.0}, "scores"),
        ({"parallel": True}, "feed-forward"),
        ({"causal": False}, "shape"),
    ):
        other = traits(changed(typical_model(FAMILIES["llama"]), **change))
        assert {t for t in TRAITS if other.get(t) != plain.get(t)} == {trait}, change


def test_parts_that_only_one_family_has_are_seen() -> None:
    assert traits(typical_model(FAMILIES["gemma2"]))["scores"] == "capped at 50 by tanh"
    model = typical_model(FAMILIES["gemma2"])
    with torch.device("meta"):
        model.stack.blocks[0].attn.body = nn.Identity()  # type: ignore[union-attr]
    assert "scores" not in traits(model)
    assert "first attention has none" in traits(typical_model(FAMILIES["modernbert"]))["norm"]


def test_the_same_family_differs_in_nothing_from_itself() -> None:
    """LLaMA's typical size stands for it in front of its relatives."""
    family = FAMILIES["llama"]
    assert traits(typical_model(family)) == traits(sketch(hf_values(size_named("llama3-8b"))))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_drawn(name: str) -> None:
    model = typical_model(FAMILIES[name])
    stack, lines = model.architecture.stack, draw(model).splitlines()
    assert max(map(len, lines)) <= 144 and 8 <= len(lines) <= 40
    sums = sum(line.count("⊕") for line in lines)
    branches = 0 if name == "lstm" else 1 if stack.parallel else 3 + 2 if stack.cross else 2
    assert sums == branches
    assert any(f"├ {stack.layers} layers" in line for line in lines)
    assert any(str(stack.hidden) in line for line in lines)


def test_a_drawing_shows_where_norms_stand() -> None:
    def lines(name: str) -> list[str]:
        drawn = draw(typical_model(FAMILIES[name])).splitlines()
        return [re.sub(r" +(│|╮|╯|├ .*)$", "", line) for line in drawn]

    post, branch = lines("gpt1"), lines("olmo2")
    assert post[post.index("╰─⊕") + 1] == "  LayerNorm"
    assert branch[branch.index("╰─⊕") - 1].startswith("│ RMSNorm")
    assert branch[branch.index("╭─┤") + 1].startswith("│ attention")
