"""What moves when a model is adapted, and that merging changes no answer."""

import pytest
import torch
from torch import Tensor, nn

from ownlm.errors import ConfigError
from ownlm.models.adapt import adapt, adapted, trainable
from ownlm.models.adapt_config import AdaptConfig
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any, load_any, save_model
from ownlm.models.merge import answers, distance, merge, random_ids
from ownlm.models.model import Model

TINY = ModelConfig(vocab=61, dim=32, heads=4, layers=3, context=48)
FAMILIES = ["gpt2", "llama", "bert", "t5", "gpt-neox", "phi3", "modernbert", "mixtral", "gemma3"]


def model(family: str, **values: object) -> Model:
    return build_any(TINY.with_values({"family": family, **values}), seed=1).eval()


def trained(model: nn.Module, size: float = 0.05) -> None:
    """As if the additions had learned: B is zero at first."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora." in name:
                parameter += size * torch.empty(parameter.shape).normal_(generator=generator)


def copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_at_first_the_answers_are_those_of_the_pretrained_model(family: str, kind: str) -> None:
    made = model(family)
    before = answers(made, random_ids(made))
    adapt(made, AdaptConfig(kind=kind, rank=4), seed=1)
    assert distance(answers(made, random_ids(made)), before) < 1e-6
    names = trainable(made)
    heads = ("task.",)  # BERT is pretrained with one
    assert any(".lora." in n for n in names)
    assert all(".lora." in name or name.startswith(heads) for name in names)
    trained(made)
    assert distance(answers(made, random_ids(made)), before) > 1e-3


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_merged_answers_are_the_same_and_the_folder_is_whole(
    family: str, kind: str, tmp_path
) -> None:
    made = model(family)
    adapt(made, AdaptConfig(kind=kind, rank=4), seed=1)
    trained(made, 0.02)
    ids = random_ids(made, seed=9)
    before = answers(made, ids)
    found = merge(made)
    assert 0 < found.error <= 1e-5 < 1e-3 < found.effect
    assert not adapted(made) and distance(answers(made, ids), before) <= 1e-5
    save_model(made, tmp_path)
    again, _ = load_any(tmp_path)
    assert distance(answers(again, ids), before) <= 1e-5


def test_targets_are_named_as_people_know_them() -> None:
    made = model("llama", kv_heads=2)
    adapt(made, AdaptConfig(kind="lora", targets=("q", "v", "up"), rank=4), seed=1)
    layers = adapted(made)
    assert len(layers) == 2 * 3
    qkv = layers["stack.blocks.0.attn.body.qkv"].lora
    assert [tuple(part) for part in qkv.parts] == [(0, 32), (48, 64)]  # k is left out
    assert qkv.a.shape == (8, 32) and qkv.b.shape == (48, 4)
    assert [tuple(p) for p in layers["stack.blocks.2.ffn.body.gate_up"].lora.parts] == [
        (made.architecture.stack.hidden, 2 * made.architecture.stack.hidden)
    ]


def test_what_a_family_keeps_in_one_matrix_gets_one_addition() -> None:
    made = model("gpt2")
    adapt(made, AdaptConfig(kind="lora", targets=("q",), rank=4), seed=1)
    lora = adapted(made)["stack.blocks.0.attn.body.qkv"].lora
    assert [tuple(part) for part in lora.parts] == [(0, 96)]


def test_additions_follow_from_seed_and_name_alone() -> None:
    one, same, other = (model("llama") for _ in range(3))
    adapt(one, AdaptConfig(kind="lora"), seed=1)
    adapt(same, AdaptConfig(kind="lora", targets=("v", "q", "k")), seed=1)
    adapt(other, AdaptConfig(kind="lora"), seed=2)
    first, second, third = (dict(m.named_parameters()) for m in (one, same, other))
    name = "stack.blocks.1.attn.body.qkv.lora.a"
    assert torch.equal(first[name], second[name]) and not torch.equal(first[name], third[name])
    assert not first[name.replace("lora.a", "lora.b")].any()
    bound = 32**-0.5
    assert 0.9 * bound < first[name].abs().max() <= bound


def test_all_moves_everything_and_last_the_end() -> None:
    made = model("llama", tied=False)
    adapt(made, AdaptConfig(kind="all"), seed=1)
    assert len(trainable(made)) == len(list(made.parameters()))
    adapt(made, AdaptConfig(kind="last", layers=1), seed=1)
    names = trainable(made)
    assert "head.weight" in names and "stack.norm.weight" in names
    assert {name.split(".")[2] for name in names if ".blocks." in name} == {"2"}
    assert "embed.tokens.weight" not in names
    adapt(made, AdaptConfig(kind="head"), seed=1)
    assert trainable(made) == ["head.weight"]


def test_a_tied_table_stays_and_alone_is_no_head() -> None:
    made = model("gpt2")
    adapt(made, AdaptConfig(kind="last", layers=3), seed=1)
    assert "embed.tokens.weight" not in trainable(made)
    with pytest.raises(ConfigError, match="token table"):
        adapt(made, AdaptConfig(kind="head"), seed=1)


@pytest.mark.parametrize("kind", ["last", "head", "lora", "dora"])
def test_a_head_over_classes_always_trains(kind: str) -> None:
    made = model("bert", head="ForSequenceClassification")
    adapt(made, AdaptConfig(kind=kind), seed=1)
    names = trainable(made)
    assert {"task.out.weight", "task.out.bias", "task.dense.weight"} <= set(names)
    assert kind != "head" or all(name.startswith("task.") for name in names)


def test_refusals_say_what_to_do() -> None:
    made = model("gpt2")
    with pytest.raises(ConfigError, match="no gate") as caught:
        adapt(made, AdaptConfig(kind="lora", targets=("gate", "q")), seed=1)
    assert "down, k, o, q, up, v" in str(caught.value)
    with pytest.raises(ConfigError, match="has 3"):
        adapt(made, AdaptConfig(kind="last", layers=4), seed=1)
    with pytest.raises(ConfigError, match="no low-rank additions"):
        merge(made)
    with pytest.raises(ConfigError, match="no matrices"):
        adapt(model("lstm", heads=1), AdaptConfig(kind="lora"), seed=1)
    adapt(made, AdaptConfig(kind="lora"), seed=1)
    with pytest.raises(ConfigError, match="already"):
        adapt(made, AdaptConfig(kind="lora"), seed=1)
    with pytest.raises(ConfigError, match="low-rank additions"):
        save_model(made, "nowhere")


def test_a_merge_that_would_change_answers_is_refused_and_undone() -> None:
    made = model("llama")
    adapt(made, AdaptConfig(kind="lora", rank=4), seed=1)
    trained(made)
    ids = random_ids(made)
    before, names = answers(made, ids), set(copies(made))
    with pytest.raises(ConfigError, match="merged answers differ") as caught:
        merge(made, tolerance=1e-9)
    assert caught.value.next_command
    assert set(copies(made)) == names
    assert distance(answers(made, ids), before) == 0


def test_in_bfloat16_what_is_rounded_away_must_be_less_than_what_is_added() -> None:
    made = model("llama", layers=2, dim=64).bfloat16()
    adapt(made, AdaptConfig(kind="lora", rank=4), seed=1)
    trained(made, 1e-4)
    with pytest.raises(ConfigError, match="rounded away") as caught:
        merge(made)
    assert "float32" in caught.value.next_command
    trained(made, 0.01)
    found = merge(made)
    assert 1e-4 < found.error < found.tolerance == 5e-2 < found.effect


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantized_base_is_made_plain_before_it_is_merged(bits: int) -> None:
    made = model("llama", dim=64)
    plain = answers(made, random_ids(made))
    adapt(made, AdaptConfig(kind="qlora", rank=4, targets=("q", "v"), bits=bits), seed=1)
    quantized = answers(made, random_ids(made))
    assert 1e-3 * (bits == 4) < distance(quantized, plain) < (0.5 if bits == 4 else 0.05)
    assert all(".lora." in name for name in trainable(made))
    held = {name for name, _ in made.named_parameters()}
    assert not any(".blocks." in name and name.endswith(".weight") and "norm" not in name
                   for name in held)  # fmt: skip
    trained(made)
    before = answers(made, random_ids(made))
    found = merge(made)
    assert found.layers == 4 * 3 and found.error <= 1e-5 < 1e-3 < found.effect
    assert distance(answers(made, random_ids(made)), before) <= 1e-5
    assert distance(answers(made, random_ids(made)), plain) > 1e-3
