"""`ownlm show`: folders, runs and names of sizes, in a tree and as JSON."""

import json
from pathlib import Path

import pytest

from ownlm.cli.main import main
from ownlm.models.config import ModelConfig
from ownlm.models.families import FAMILIES
from ownlm.models.load import build_model, save_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = ModelConfig(family="llama", layers=3, dim=32, heads=4, kv_heads=2, vocab=100)
    save_model(build_model(config, seed=0), tmp_path / "run" / "model")
    return tmp_path / "run" / "model"


def test_a_size_without_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "gpt2-124m"]) == 0
    out = capsys.readouterr().out
    for expected in (
        "124,439,808",
        "0-11 12 x Block",
        "weight 50257 x 768",
        "tied",
        "1,024 tokens",
    ):
        assert expected in out


@pytest.mark.parametrize("inner", ["", ".."])
def test_a_folder_and_the_run_around_it(
    folder: Path, inner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(folder / inner), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["layers"], found["kv_heads"], found["vocab"]) == (3, 2, 100)
    assert found["memory"]["fp32"]["weights"] == 4 * found["parameters"]


def test_the_tree_names_every_repeated_block(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "0-2 3 x Block" in out and "2 for keys and values" in out and "RMSNorm" in out


def test_weights_are_not_needed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.safetensors").unlink()
    assert main(["show", str(folder)]) == 0
    assert "parameters" in capsys.readouterr().out


def test_an_unknown_name_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "gpt2-124n"]) == 4
    assert "nearest is gpt2-124m" in capsys.readouterr().err


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(tmp_path), "--json"]) == 4
    assert "neither a model folder" in json.loads(capsys.readouterr().err)["what"]


def test_a_damaged_configuration_names_the_key(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"num_hidden_layers": -3}))
    assert main(["show", str(folder)]) == 4
    assert "num_hidden_layers" in capsys.readouterr().err


def test_names_are_shown_as_they_are(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = folder.rename(tmp_path / "[red]x 🦙")
    assert main(["show", str(odd)]) == 0
    assert "[red]x" in capsys.readouterr().out.replace("\n", "")


def test_papers_and_what_differs_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "qwen3-0.6b"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Qwen3 Technical Report (Yang et al. 2025, arXiv:2505.09388)" in out
    assert "against qwen2" in out and "normalised head by head" in out
    assert main(["show", "qwen3-0.6b", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["after"], found["compared"]) == ("qwen2", "qwen2.5-0.5b")
    assert {"trait": "biases", "here": "none", "before": "queries, keys and values"} in found[
        "differences"
    ]
    assert found["papers"][0]["arxiv"] == "2505.09388"
    assert found["traits"]["norm"] == "RMSNorm before each branch"


def test_a_drawing_in_place_of_the_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "t5-small", "--drawing"]) == 0
    out = capsys.readouterr().out
    assert "attention to the encoder" in out and out.count("├ 6 layers") == 2
    assert "paper" in out and "Block" not in out


@pytest.mark.parametrize("name", [next(iter(family.sizes)) for family in FAMILIES.values()])
def test_every_family_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", name]) == 0
    out = capsys.readouterr().out
    assert "paper" in out and "training, one sequence" in out


def test_a_folder_of_an_unknown_family_names_the_known_ones(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    for kind, near in (("lama", "llama"), ("something-else", "by its keys llama")):
        path.write_text(json.dumps(values | {"model_type": kind}))
        assert main(["show", str(folder)]) == 4
        err = capsys.readouterr().err
        assert f"{kind!r} is unknown, nearest is {near}; known: openai-gpt, gpt2" in err
