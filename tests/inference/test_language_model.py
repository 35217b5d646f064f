"""A model that reads and writes text: loading, streaming, stopping, saving; known stories."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import ownlm
from ownlm.errors import CheckpointError, ConfigError, DataError, OwnlmError
from ownlm.inference.config import SamplingConfig
from ownlm.inference.find import find_model
from ownlm.inference.language_model import LM, load
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model


@pytest.fixture
def folder(tiny: LM, tmp_path: Path) -> Path:
    tiny.save(tmp_path / "model")
    return tmp_path / "model"


def scripted(lm: LM, script: Any, ids: list[int]) -> LM:
    """The same tokenizer with a model that says `ids`, which end with the end of text."""
    said = LM(lm.model, lm.tokenizer)
    said.writer = script(ids, lm.model.vocab)
    return said


def test_the_package_offers_load_and_nothing_unknown(folder: Path) -> None:
    assert ownlm.load is load
    assert ownlm.LM is LM
    assert isinstance(ownlm.load(str(folder)), LM)
    with pytest.raises(AttributeError):
        ownlm.lode  # noqa: B018


def test_a_saved_model_says_the_same(tiny: LM, folder: Path) -> None:
    again = load(folder)
    assert again.folder == folder
    assert again.generate("hé", 60) == tiny.generate("hé", 60)
    again.save(folder.with_name("twice"))
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        assert (folder / name).read_bytes() == (folder.with_name("twice") / name).read_bytes()
    one, two = (load_file(f / "model.safetensors") for f in (folder, folder.with_name("twice")))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_encoder_is_not_asked_to_write(tiny: LM) -> None:
    vocab = tiny.tokenizer.vocab_size
    config = ModelConfig(family="bert", vocab=vocab, dim=8, heads=2, layers=1, context=16)
    with pytest.raises(ConfigError, match="bert is an encoder"):
        LM(build_model(config, seed=1), tiny.tokenizer).generate("a")


def test_transformers_opens_the_folder_with_its_tokenizer(folder: Path, tiny: LM) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert theirs.config.eos_token_id == tiny.tokenizer.eos_id == tokenizer.eos_token_id
    ids = tiny.tokenizer.encode("héllo wörld, the same logits")
    assert tokenizer("héllo wörld, the same logits")["input_ids"] == ids
    with torch.no_grad():
        difference = theirs(torch.tensor([ids])).logits - tiny.model(torch.tensor([ids])).logits
    assert difference.abs().max() < 1e-4


def test_same_seed_same_text_and_streaming_is_the_same(tiny: LM) -> None:
    first = tiny.generate("a", 80, temperature=1.0, seed=3)
    assert first == tiny.generate("a", 80, temperature=1.0, seed=3)
    assert first != tiny.generate("a", 80, temperature=1.0, seed=4)
    sampling = SamplingConfig(temperature=1.0, seed=3)
    assert "".join(tiny.stream("a", 80, sampling)) == first


def test_streaming_never_splits_a_character(tiny: LM, script: Any) -> None:
    text = "aé漢😀z"
    ids = [*tiny.tokenizer.encode(text), tiny.tokenizer.eos_id]
    assert len(ids) == 12  # bytes, and the end
    assert list(scripted(tiny, script, ids).stream("")) == list(text)


def test_half_a_character_at_the_end_is_said(tiny: LM, script: Any) -> None:
    ids = [*tiny.tokenizer.encode("a漢")[:-1]]
    assert scripted(tiny, script, ids).generate("", len(ids)) == "a\ufffd"


def test_ends_at_the_end_of_text_at_max_tokens_or_at_a_stop(tiny: LM, script: Any) -> None:
    ids = [*tiny.tokenizer.encode("one two three"), tiny.tokenizer.eos_id, 5, 6]
    assert scripted(tiny, script, ids).generate("") == "one two three"
    assert scripted(tiny, script, ids).generate("", 5) == "one t"
    assert scripted(tiny, script, ids).generate("", 0) == ""
    assert scripted(tiny, script, ids).generate("", stop=["thr", "o t"]) == "one tw"
    assert scripted(tiny, script, ids).generate("", stop="two") == "one "


def test_ids_beyond_the_tokenizer_are_never_chosen(tiny: LM, script: Any) -> None:
    """The model's table has three rows that no token owns."""
    said = scripted(tiny, script, [tiny.model.vocab - 1] * 3)
    assert len(said.generate("", 3)) <= 3  # some byte, not an error


def test_more_than_the_context(tiny: LM) -> None:
    assert len(tiny.generate("word " * 40, 60).encode("utf-8", "replace")) >= 30


@pytest.mark.parametrize(
    ("key", "value"), [("temperature", -1.0), ("top_p", 0.0), ("seed", -3), ("max_tokens", -1)]
)
def test_values_out_of_range_name_the_key(tiny: LM, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        tiny.generate("a", **{key: value})  # type: ignore[arg-type]


def test_a_run_folder_means_its_model_or_newest_checkpoint(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for step in (2, 10, 9):
        shutil.copytree(folder, run / "checkpoints" / f"step-{step:08d}")
    (run / "checkpoints" / ".step-00000011.partial").mkdir()
    (run / "checkpoints" / "step-00000012").mkdir()  # without a config.json: never finished
    assert find_model(run).name == "step-00000010"
    assert load(run).folder == run / "checkpoints" / "step-00000010"
    shutil.copytree(folder, run / "model")
    assert find_model(run) == run / "model"


def test_what_is_no_model_is_explained(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder") as caught:
        load(tmp_path / "nowhere")
    assert isinstance(caught.value, ValueError)
    assert str(tmp_path / "nowhere") in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="neither a model folder"):
        load(tmp_path / "empty")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        load(tmp_path / "run")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        load(folder)


def test_a_tokenizer_that_is_too_large_is_refused(tiny: LM, folder: Path) -> None:
    text = (folder / "config.json").read_text()
    vocab = tiny.model.vocab
    (folder / "config.json").write_text(text.replace(f'"vocab_size": {vocab}', '"vocab_size": 9'))
    with pytest.raises(OwnlmError, match="wrong shape"):
        load(folder)
    with pytest.raises(CheckpointError, match="the model only 9"):
        LM(type("Small", (), {"vocab": 9})(), tiny.tokenizer)


def test_it_says_what_it_is(folder: Path) -> None:
    shown = repr(load(folder, "cpu"))
    assert shown.startswith("LM(") and "parameters" in shown and str(folder) in shown


def test_types_and_devices(folder: Path) -> None:
    assert load(folder, device="cpu", dtype="bf16").model.dtype == torch.bfloat16
    assert load(folder, dtype=torch.float16).model.dtype == torch.float16
    load(folder, dtype="bf16").save(folder.with_name("half"))
    assert load(folder.with_name("half"), device="cpu").model.dtype == torch.float32
    with pytest.raises(ConfigError, match="'fp17' is unknown"):
        load(folder, dtype="fp17")
    with pytest.raises(ConfigError, match="device"):
        load(folder, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="cuda cannot be used"):
            load(folder, device="cuda")


def test_a_prompt_begins_as_in_training(tiny: LM) -> None:
    assert tiny.prompt_ids("") == [tiny.tokenizer.eos_id]
    assert tiny.prompt_ids("a") == tiny.tokenizer.encode("a")


@pytest.fixture(scope="module", params=["stories15M", "stories260K"])
def told(request: pytest.FixtureRequest, shared_data: Path) -> tuple[LM, Any, Any]:
    """A model that others trained, here and in transformers, and their tokenizer."""
    transformers = pytest.importorskip("transformers")
    source = shared_data / "weights" / request.param
    theirs = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    return load(source, "cpu"), theirs, transformers.AutoTokenizer.from_pretrained(source)


@pytest.mark.parametrize("prompt", ["Once upon a time", ""])
def test_known_stories_token_for_token(prompt: str, told: tuple[LM, Any, Any]) -> None:
    """200 greedy tokens, as transformers tells them."""
    lm, theirs, tokenizer = told
    asked = tokenizer(prompt, return_tensors="pt")
    assert lm.prompt_ids(prompt) == asked["input_ids"][0].tolist()
    with torch.no_grad():
        ids = theirs.generate(**asked, max_new_tokens=200, do_sample=False)[0].tolist()
    story = lm.generate(prompt, 200)
    assert len(story) > 400
    assert lm.tokenizer.decode(ids) == prompt + story
    assert tokenizer.decode(ids, skip_special_tokens=True).lstrip() == (prompt + story).lstrip()
