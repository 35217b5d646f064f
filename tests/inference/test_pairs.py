"""Encoder-decoders as one object with their tokenizer: what they read, what they write."""

import json
from pathlib import Path

import pytest
import torch

import ownlm
from ownlm.cli.main import main
from ownlm.data.tasks.predictions import Writing
from ownlm.errors import ConfigError
from ownlm.inference.config import SamplingConfig, WritingConfig
from ownlm.inference.language_model import LM, load
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

TEXTS = ["we read", "hé", "another, longer one that says more", "x", ""]


def made(family: str, **values: object) -> LM:
    config = TokenizerConfig(kind="byte", controls=("<|begin|>", "<|mask|>"))
    tokenizer = train_tokenizer(["héllo wörld"], config)
    shape = {"vocab": tokenizer.vocab_size, "dim": 16, "heads": 4, "layers": 2, "context": 60}
    model = build_any(ModelConfig(family=family, **shape | values), seed=3)
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, 0.4)
            elif parameter.ndim == 1:
                parameter.mul_(torch.randint(0, 2, parameter.shape) * 2 - 1)
    return LM(model, tokenizer)


@pytest.fixture(scope="module", params=["t5", "bart", "marian"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp(request.param)
    made(request.param).save(place)
    return place


def test_a_folder_is_opened_and_says_the_same(folder: Path, tmp_path: Path) -> None:
    lm = ownlm.load(str(folder), device="cpu")
    assert lm.answers
    said = [lm.generate(text, 30) for text in TEXTS]
    assert len({*said}) > 1
    lm.save(tmp_path)
    assert [load(tmp_path, "cpu").generate(text, 30) for text in TEXTS] == said


def test_streaming_and_batches_say_the_same(folder: Path) -> None:
    lm = load(folder, "cpu")
    lm.stop_ids |= {*lm.tokenizer.encode("e")}
    streamed = ["".join(lm.stream(text, 20)) for text in TEXTS]
    written = lm.write(TEXTS, WritingConfig(max_tokens=20))
    assert [one.text for one in written] == streamed
    beams = lm.write(TEXTS, WritingConfig(max_tokens=20, beams=4))
    assert beams != written
    assert all(isinstance(one, Writing) for one in beams)
    assert lm.write(TEXTS[:1], WritingConfig(max_tokens=20, beams=4)) == beams[:1]


def test_what_is_read_has_the_marks_of_training() -> None:
    """T5: text and end, from padding; BART: begin, text, end, from end and begin."""
    t5, bart = made("t5"), made("bart")
    end, control = t5.tokenizer.eos_id, t5.tokenizer.special
    ids = t5.tokenizer.encode("hé")
    assert t5.prompt_ids("hé") == [*ids, end]
    assert t5.frame.opening == [t5.tokenizer.pad_id]
    assert bart.prompt_ids("hé") == [control["<|begin|>"], *ids, end]
    assert bart.frame.opening == [end, control["<|begin|>"]]


def test_a_source_is_cut_to_the_context_with_its_end() -> None:
    lm = made("marian")
    ids = lm.prompt_ids("é" * 100)
    assert len(ids) == 60
    assert ids[-1] == lm.tokenizer.eos_id
    assert lm.generate("é" * 100, 5) is not None


def test_transformers_writes_the_same(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    lm = load(folder, "cpu")
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    pad, forced = lm.tokenizer.pad_id, [*lm.frame.begin]
    options = transformers.GenerationConfig(
        num_beams=3, max_new_tokens=12 + len(forced), eos_token_id=lm.tokenizer.eos_id,
        pad_token_id=pad, suppress_tokens=[pad], decoder_start_token_id=lm.frame.start,
        forced_bos_token_id=forced[0] if forced else None,
        length_penalty=0.0,
    )  # fmt: skip
    theirs.generation_config = options
    found = lm.write(TEXTS, WritingConfig(beams=3, max_tokens=12, length_penalty=0.0))
    for text, one in zip(TEXTS, found, strict=True):
        ids = torch.tensor([lm.prompt_ids(text)])
        (said,) = theirs.generate(input_ids=ids, generation_config=options).tolist()
        assert lm.tokenizer.decode(said) == one.text


def test_sampling_is_seeded(folder: Path) -> None:
    lm = load(folder, "cpu")
    one, two = (SamplingConfig(temperature=1.0, seed=seed) for seed in (3, 4))
    first = "".join(lm.stream("a", 30, one))
    assert first == "".join(lm.stream("a", 30, one))
    assert first != "".join(lm.stream("a", 30, two))


def test_it_continues_no_text_and_a_bare_model_writes_none() -> None:
    lm = made("t5")
    with pytest.raises(ConfigError, match="t5 is an encoder-decoder"):
        lm.require_writer()
    bare = made("bart", head="Model")
    assert not bare.answers
    with pytest.raises(ConfigError, match="made for another task"):
        bare.generate("a")
    with pytest.raises(ConfigError, match="made for another task"):
        bare.write(["a"])


def test_generate_writes_for_a_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The likeliest text unless a temperature is given, and not the source before it."""
    lm, words = load(folder, "cpu"), ["generate", str(folder), "we read", "--max-tokens", "20"]
    assert main(words) == 0
    assert capsys.readouterr().out == lm.generate("we read", 20) + "\n"
    assert main([*words, "--temperature", "0.9", "--seed", "3"]) == 0
    assert capsys.readouterr().out == lm.generate("we read", 20, 0.9, seed=3) + "\n"
    assert main([*words, "--beams", "4", "--json"]) == 0
    (found,) = lm.write(["we read"], WritingConfig(beams=4, max_tokens=20))
    assert json.loads(capsys.readouterr().out)["text"] == found.text


def test_beams_of_a_decoder(tiny: LM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.save(tmp_path)
    assert main(["generate", str(tmp_path), "hé", "--beams", "2", "--max-tokens", "9"]) == 0
    (found,) = tiny.write(["hé"], WritingConfig(beams=2, max_tokens=9))
    assert capsys.readouterr().out == f"hé{found.text}\n"
    assert tiny.write(["hé"], WritingConfig(max_tokens=9))[0].text == tiny.generate("hé", 9)
