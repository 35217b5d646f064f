"""A pretrained body under another head: the body to the byte, the head by seed, all of it told."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ownlm.errors import CheckpointError, ConfigError
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any, load_any, save_model
from ownlm.models.rehead import Reheaded, load_with_head

TINY = ModelConfig(vocab=31, dim=16, heads=2, layers=2, context=32)


def folder(tmp_path: Path, family: str, **values: object) -> Path:
    save_model(build_any(TINY.with_values({"family": family, **values}), seed=1), tmp_path / "old")
    return tmp_path / "old"


def tensors(made: Reheaded, tmp_path: Path) -> dict[str, torch.Tensor]:
    save_model(made.model, tmp_path / "new")
    return load_file(tmp_path / "new" / "model.safetensors")


LLAMA_HEADS = [("ForSequenceClassification", ["score.weight"]),
               ("ForTokenClassification", ["score.weight", "score.bias"]),
               ("ForQuestionAnswering", ["qa_outputs.weight", "qa_outputs.bias"])]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("head", "new"), LLAMA_HEADS)
def test_the_body_is_byte_equal_and_the_head_follows_the_seed(
    head: str, new: list[str], dtype: torch.dtype, tmp_path: Path
) -> None:
    old = folder(tmp_path, "llama", tied=False)
    model, _ = load_any(old, dtype=dtype)
    save_model(model, old)
    before = load_file(old / "model.safetensors")
    made = [load_with_head(old, head, seed=seed, labels=3) for seed in (5, 5, 6)]
    one, same, other = (tensors(m, tmp_path / str(i)) for i, m in enumerate(made))
    assert list(made[0].new) == new and made[0].dropped == ("lm_head.weight",)
    body = before.keys() - {"lm_head.weight"}
    moved = {name: name for name in body}
    if head == "ForQuestionAnswering":  # the reference calls the body otherwise here
        moved = {name: "transformer." + name.removeprefix("model.") for name in body}
    assert one.keys() == {*moved.values(), *new}
    assert all(torch.equal(before[name], one[moved[name]]) for name in body)
    assert {tensor.dtype for tensor in one.values()} == {dtype}
    weight = new[0]
    assert torch.equal(one[weight], same[weight]) and not torch.equal(one[weight], other[weight])
    assert 0.005 < float(one[weight].float().std()) < 0.05
    assert all(not one[name].any() for name in new[1:])
    assert "new, not trained: " + new[0] in made[0].report


def test_what_the_new_head_shares_with_the_old_one_is_read(tmp_path: Path) -> None:
    old = folder(tmp_path, "bert", head="ForPreTraining")
    made = load_with_head(old, "ForSequenceClassification", seed=1, labels=["no", "yes"])
    before, after = load_file(old / "model.safetensors"), tensors(made, tmp_path)
    assert torch.equal(before["bert.pooler.dense.weight"], after["bert.pooler.dense.weight"])
    assert made.new == ("classifier.weight", "classifier.bias")
    assert all(name.startswith("cls.") for name in made.dropped) and len(made.dropped) == 7
    assert made.config["id2label"] == {"0": "no", "1": "yes"}
    assert json.loads((tmp_path / "new/config.json").read_text())["architectures"] == [
        "BertForSequenceClassification"
    ]


def test_classes_of_another_kind_are_not_taken_over(tmp_path: Path) -> None:
    """Same name, same shape, other meaning: a tagger's matrix does not classify texts."""
    old = folder(tmp_path, "bert", head="ForTokenClassification", labels=2)
    made = load_with_head(old, "ForSequenceClassification", seed=1)
    assert "classifier.weight" in made.new and "classifier.weight" in made.dropped
    same = load_with_head(old, "ForTokenClassification", seed=1)
    assert (same.new, same.dropped) == ((), ())
    more = load_with_head(old, "ForTokenClassification", seed=1, labels=5)
    assert set(more.new) == set(more.dropped) == {"classifier.bias", "classifier.weight"}


def test_labels_stay_where_none_are_given(tmp_path: Path) -> None:
    old = folder(tmp_path, "gpt2", head="ForTokenClassification", labels=4)
    made = load_with_head(old, "ForSequenceClassification", seed=1)
    assert len(made.config["id2label"]) == 4
    assert made.new == ("score.weight",) and set(made.dropped) == {
        "classifier.weight", "classifier.bias",
    }  # fmt: skip


def test_a_reward_is_one_number(tmp_path: Path) -> None:
    made = load_with_head(folder(tmp_path, "llama"), "ForSequenceClassification", seed=1, labels=1)
    assert made.dropped == ()  # the token table was the output matrix
    assert made.model(torch.tensor([[1, 2, 3], [4, 5, 0]])).logits.shape == (2, 1)


def test_the_encoder_of_a_pair_alone_and_back(tmp_path: Path) -> None:
    old = folder(tmp_path, "t5", tied=False)
    made = load_with_head(old, "EncoderModel", seed=1)
    before, after = load_file(old / "model.safetensors"), tensors(made, tmp_path)
    assert all(torch.equal(before[name], after[name]) for name in after)
    assert not any("decoder" in name for name in after) and made.new == ()
    assert "lm_head.weight" in made.dropped
    with pytest.raises(CheckpointError, match=r"body .* larger") as caught:
        load_with_head(tmp_path / "new", "ForConditionalGeneration", seed=1)
    assert "missing decoder.block.0" in str(caught.value)


def test_unknown_heads_are_refused_with_the_nearest(tmp_path: Path) -> None:
    old = folder(tmp_path, "llama")
    with pytest.raises(ConfigError, match="nearest is ForSequenceClassification"):
        load_with_head(old, "ForSequenceClasification", seed=1)
    with pytest.raises(ConfigError, match="has no head"):
        load_with_head(old, "ForMaskedLM", seed=1)


def test_a_folder_that_does_not_fit_its_own_config_is_refused(tmp_path: Path) -> None:
    old = folder(tmp_path, "llama")
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(CheckpointError, match="wrong shape"):
        load_with_head(old, "ForSequenceClassification", seed=1)


def test_transformers_opens_it(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    made = load_with_head(
        folder(tmp_path, "qwen3", head_dim=8), "ForSequenceClassification", seed=1, labels=3
    )
    tensors(made, tmp_path)
    other, told = transformers.Qwen3ForSequenceClassification.from_pretrained(
        tmp_path / "new", output_loading_info=True
    )
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.arange(1, 30)[None]
    with torch.no_grad():
        assert torch.allclose(made.model(ids).logits, other(ids).logits, atol=1e-5)
