"""Adapter folders: PEFT's names and numbers, opened again by us, and by PEFT with equal answers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ownlm.errors import CheckpointError, ConfigError
from ownlm.models.adapt import adapt, adapted, trainable
from ownlm.models.adapt_config import AdaptConfig
from ownlm.models.adapters import endings, roofs, save_adapter
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any, load_any, save_model
from ownlm.models.merge import answers, distance, merge, random_ids
from ownlm.models.model import Model
from ownlm.models.rehead import load_with_head
from ownlm.models.with_adapter import load_with_adapter

TINY = ModelConfig(vocab=61, dim=32, heads=4, layers=2, context=48)
FAMILIES = ["gpt2", "llama", "bert", "t5", "gpt-neox", "phi3"]
Q = "base_model.model.model.layers.1.self_attn.q_proj."


def base(tmp_path: Path, family: str, **values: object) -> Path:
    save_model(build_any(TINY.with_values({"family": family, **values}), seed=1), tmp_path / "base")
    return tmp_path / "base"


def opened(folder: Path, head: str = "") -> Model:
    if head:
        return load_with_head(folder, head, seed=3, labels=["a", "b", "c"]).model
    return load_any(folder)[0]


def learned(model: Model, config: AdaptConfig) -> Model:
    """Adapted, and trained for five updates, so that nothing is as it began."""
    adapt(model, config, seed=1)
    live = [p for p in model.parameters() if p.requires_grad]
    optimizer, ids = torch.optim.AdamW(live, lr=0.03), random_ids(model, seed=2)
    for _ in range(5):
        inputs = (ids, ids) if hasattr(model, "encoder") else (ids,)
        output = model(*inputs)
        output = output if output.task is None else output.task
        loss = output.logits.float().square().sum(dim=-1).sub(3).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def same(one: Model, other: Model, ids: Tensor | None = None) -> float:
    ids = random_ids(one) if ids is None else ids
    return distance(answers(one, ids), answers(other, ids))


@pytest.mark.parametrize("kind", ["lora", "dora", "qlora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_adapter_opens_again(family: str, kind: str, tmp_path: Path) -> None:
    source = base(tmp_path, family)
    model = learned(opened(source), AdaptConfig(kind=kind, rank=4, alpha=6, dropout=0.1))
    save_adapter(model, tmp_path / "adapter", str(source))
    again = load_with_adapter(tmp_path / "adapter")
    assert same(model, again) == 0
    assert same(model, opened(source)) > 1e-3  # the control
    assert trainable(again) == trainable(model) and not again.training
    assert {n: str(part.lora) for n, part in adapted(again).items()} == {
        n: str(part.lora) for n, part in adapted(model).items()
    }


def test_tensors_are_named_and_cut_as_peft_does(tmp_path: Path) -> None:
    model = opened(base(tmp_path, "llama", kv_heads=2))
    learned(model, AdaptConfig(kind="dora", rank=4, targets=("q", "v", "down")))
    save_adapter(model, tmp_path / "a", "somewhere")
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    assert {name.split(".")[-2] for name in tensors if name.endswith("weight")} == {
        "lora_A", "lora_B",
    }  # fmt: skip
    assert len(tensors) == 2 * 3 * 3
    assert tensors[Q + "lora_A.weight"].shape == (4, 32)
    assert tensors[Q.replace("q_proj", "v_proj") + "lora_B.weight"].shape == (16, 4)
    assert tensors[Q + "lora_magnitude_vector"].shape == (32,)
    told = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert told["target_modules"] == ["down_proj", "q_proj", "v_proj"]
    assert (told["r"], told["lora_alpha"], told["use_dora"]) == (4, 32, True)
    assert told["base_model_name_or_path"] == "somewhere" and told["task_type"] == "CAUSAL_LM"
    assert told["modules_to_save"] is None and told["fan_in_fan_out"] is False


def test_short_names_mean_no_other_module() -> None:
    layer = {"l.0.attention.output.dense", "l.0.output.dense", "l.0.attention.self.q"}
    bert = layer | {"pooler.dense"}
    assert endings(layer, bert) == ["output.dense", "q"]
    assert endings({"l.0.output.dense"}, bert) == ["0.output.dense"]
    assert roofs({"head.a", "head.b"}, {"head.a", "head.b", "body.a"}) == ["head"]
    assert roofs({"body.pooler"}, {"body.pooler", "body.a"}) == ["body.pooler"]


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "llama"])
def test_a_head_is_saved_beside_the_additions(family: str, tmp_path: Path) -> None:
    source = base(tmp_path, family)
    model = learned(opened(source, "ForSequenceClassification"), AdaptConfig(kind="lora", rank=4))
    save_adapter(model, tmp_path / "a", "base")  # relative to the adapter's folder
    (tmp_path / "a").rename(tmp_path / "base" / "a")
    model.config["checked"] = True
    again = load_with_adapter(tmp_path / "base" / "a", base=source)
    assert same(model, again) == 0
    assert list(again.config["id2label"].values()) == ["a", "b", "c"]
    told = json.loads((source / "a" / "adapter_config.json").read_text())
    assert told["task_type"] == "SEQ_CLS"
    assert told["modules_to_save"] == {
        "bert": ["bert.pooler", "classifier"], "roberta": ["classifier"],
        "gpt2": ["score"], "llama": ["score"],
    }[family]  # fmt: skip


def test_the_base_is_found_from_here_or_from_the_adapters_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = base(tmp_path, "llama")
    model = learned(opened(source), AdaptConfig(kind="lora", rank=4))
    save_adapter(model, tmp_path / "a", "../base")
    assert same(model, load_with_adapter(tmp_path / "a")) == 0
    save_adapter(model, tmp_path / "a", "base")
    with pytest.raises(CheckpointError, match="not here") as caught:
        load_with_adapter(tmp_path / "a")
    assert "--base" in caught.value.next_command
    assert same(model, load_with_adapter(tmp_path / "a", source)) == 0
    monkeypatch.chdir(tmp_path)
    assert same(model, load_with_adapter(tmp_path / "a")) == 0


def test_what_does_not_fit_is_told_all_at_once(tmp_path: Path) -> None:
    source = base(tmp_path, "llama")
    model = learned(opened(source), AdaptConfig(kind="lora", rank=4))
    save_adapter(model, tmp_path / "a", str(source))
    weights = tmp_path / "a" / "adapter_model.safetensors"
    tensors = load_file(weights)
    tensors["base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 32)
    tensors[Q + "lora_B.weight"] = torch.zeros(31, 4)
    del tensors[Q + "lora_A.weight"]
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match="3 tensors do not fit") as caught:
        load_with_adapter(tmp_path / "a")
    said = str(caught.value)
    assert "layers.7" in said and "missing layers.1" in said and "[31, 4]" in said


@pytest.mark.parametrize(
    ("key", "value"),
    [("peft_type", "LOHA"), ("bias", "all"), ("rank_pattern", {"q_proj": 8}), ("r", 0),
     ("init_lora_weights", "pissa"), ("lora_alpha", "much"), ("use_qalora", True)],
)  # fmt: skip
def test_options_that_would_change_the_result_are_refused(
    key: str, value: Any, tmp_path: Path
) -> None:
    source = base(tmp_path, "llama")
    save_adapter(learned(opened(source), AdaptConfig(kind="lora")), tmp_path / "a", str(source))
    path = tmp_path / "a" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=key):
        load_with_adapter(tmp_path / "a")


def test_rank_stabilised_scales_are_read(tmp_path: Path) -> None:
    source = base(tmp_path, "llama")
    model = learned(opened(source), AdaptConfig(kind="lora", rank=4, alpha=6))
    save_adapter(model, tmp_path / "a", str(source))
    path = tmp_path / "a" / "adapter_config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"use_rslora": True, "lora_alpha": 3})
    )
    assert same(model, load_with_adapter(tmp_path / "a")) < 1e-6  # 3 / sqrt(4) = 6 / 4


def test_a_model_without_additions_is_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no low-rank additions"):
        save_adapter(opened(base(tmp_path, "llama")), tmp_path / "a", "base")


# ---- beside PEFT ------------------------------------------------------------------------------

CLASSES = {"llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel", "bert": "BertForMaskedLM",
           "gpt-neox": "GPTNeoXForCausalLM", "t5": "T5ForConditionalGeneration",
           "phi3": "Phi3ForCausalLM"}  # fmt: skip
HEADED = {"llama": "LlamaForSequenceClassification", "gpt2": "GPT2ForSequenceClassification",
          "bert": "BertForSequenceClassification",
          "roberta": "RobertaForSequenceClassification"}  # fmt: skip


def theirs_of(source: Path, name: str, **values: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    return getattr(transformers, name).from_pretrained(source, **values).eval()


@torch.no_grad()
def logits(model: Any, ids: Tensor) -> Tensor:
    """Of a model of transformers or PEFT."""
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), **more).logits


def close(ours: Model, theirs: Any) -> float:
    ids = random_ids(ours).clamp(min=2)  # padding is told by attention_mask alone
    return distance(answers(ours, ids), [logits(theirs, ids)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("family", CLASSES)
def test_peft_opens_ours_with_equal_answers(family: str, kind: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    source = base(tmp_path, family, **({"head": "ForMaskedLM"} if family == "bert" else {}))
    model = learned(opened(source), AdaptConfig(kind=kind, rank=4, alpha=6))
    save_adapter(model, tmp_path / "a", str(source))
    bare = theirs_of(source, CLASSES[family])
    assert close(model, bare) > 1e-3  # the control: without the adapter
    theirs = peft.PeftModel.from_pretrained(bare, tmp_path / "a").eval()
    assert close(model, theirs) < 1e-5
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    assert peft.get_peft_model_state_dict(theirs).keys() == tensors.keys()
    merge(model)
    save_model(model, tmp_path / "merged")
    assert close(model, theirs) < 2e-5
    assert close(model, theirs_of(tmp_path / "merged", CLASSES[family])) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("family", CLASSES)
def test_a_wrong_scale_is_seen(family: str, tmp_path: Path) -> None:
    """The control of the test above."""
    peft = pytest.importorskip("peft")
    source = base(tmp_path, family, **({"head": "ForMaskedLM"} if family == "bert" else {}))
    model = learned(opened(source), AdaptConfig(kind="lora", rank=4, alpha=6))
    save_adapter(model, tmp_path / "a", str(source))
    path = tmp_path / "a" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 7}))
    theirs = peft.PeftModel.from_pretrained(theirs_of(source, CLASSES[family]), tmp_path / "a")
    assert close(model, theirs.eval()) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("family", HEADED)
def test_peft_opens_a_head_that_trained_too(family: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    source = base(tmp_path, family)
    model = learned(opened(source, "ForSequenceClassification"), AdaptConfig(kind="lora", rank=4))
    save_adapter(model, tmp_path / "a", str(source))
    bare = theirs_of(source, HEADED[family], num_labels=3)
    bare.config.pad_token_id = 0 if bare.config.pad_token_id is None else bare.config.pad_token_id
    theirs = peft.PeftModel.from_pretrained(bare, tmp_path / "a").eval()
    assert close(model, theirs) < 1e-5
    model.task.out.weight.data.mul_(1.01)
    assert close(model, theirs) > 1e-3  # the control


TARGETS = {"llama": ["q_proj", "v_proj", "up_proj"], "gpt2": ["c_attn", "c_proj"],
           "bert": ["query", "intermediate.dense"], "gpt-neox": ["query_key_value"],
           "t5": ["q", "v", "wo"], "phi3": "all-linear"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("family", CLASSES)
def test_we_open_pefts_with_equal_answers(family: str, dora: bool, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    source = base(tmp_path, family, **({"head": "ForMaskedLM"} if family == "bert" else {}))
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=TARGETS[family], use_dora=dora, init_lora_weights=False,
        fan_in_fan_out=family == "gpt2",
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = peft.get_peft_model(theirs_of(source, CLASSES[family]), config).eval()
    theirs.save_pretrained(tmp_path / "a")
    ours = load_with_adapter(tmp_path / "a")
    assert close(ours, theirs) < 1e-5
    assert close(opened(source), theirs) > 1e-3  # the control


@pytest.mark.slow
@pytest.mark.parametrize("family", HEADED)
def test_we_open_pefts_classifiers(family: str, tmp_path: Path) -> None:
    """The head and the number of its classes follow from the adapter alone."""
    peft = pytest.importorskip("peft")
    source = base(tmp_path, family)
    bare = theirs_of(source, HEADED[family], num_labels=3)
    bare.config.pad_token_id = 0 if bare.config.pad_token_id is None else bare.config.pad_token_id
    pooler = ["bert.pooler"] if family == "bert" else []
    config = peft.LoraConfig(
        r=4, task_type="SEQ_CLS", init_lora_weights=False, modules_to_save=pooler,
        target_modules=TARGETS.get(family, TARGETS["bert"]), fan_in_fan_out=family == "gpt2",
    )  # fmt: skip
    theirs = peft.get_peft_model(bare, config).eval()
    theirs.save_pretrained(tmp_path / "a")
    ours = load_with_adapter(tmp_path / "a")
    assert len(ours.config["id2label"]) == 3
    assert close(ours, theirs) < 1e-5
    with torch.no_grad():
        next(p for n, p in theirs.named_parameters() if "modules_to_save" in n).mul_(1.05)
    assert close(ours, theirs) > 1e-4  # the control
