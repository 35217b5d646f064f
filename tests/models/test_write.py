"""Weights in shards: what transformers reads and writes, and what an interrupted save leaves."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ownlm.errors import ConfigError
from ownlm.models import write
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model, load_model, save_model
from ownlm.models.write import INDEX, SINGLE, shards, write_tensors

LLAMA = ModelConfig(family="llama", vocab=97, dim=32, heads=4, layers=3, context=64, tied=False)


def same(a: Any, b: Any) -> bool:
    pairs = zip(a.named_parameters(), b.named_parameters(), strict=True)
    return all(n == m and p.dtype == q.dtype and torch.equal(p, q) for (n, p), (m, q) in pairs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_saved_in_shards_and_loaded_again(dtype: torch.dtype, tmp_path: Path) -> None:
    model = build_model(LLAMA, seed=1, dtype=dtype)
    save_model(model, tmp_path, max_shard_bytes=20_000)
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(files) >= 3
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    assert not (tmp_path / SINGLE).exists()
    assert same(load_model(tmp_path)[0], model)


def test_the_index_is_the_one_transformers_writes(tmp_path: Path) -> None:
    """The same tensors, byte for byte, in the same files, through load and save."""
    transformers = pytest.importorskip("transformers")
    model = build_model(LLAMA, seed=1)
    save_model(model, tmp_path / "single")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "single")
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=20_000)
    loaded, _ = load_model(tmp_path / "theirs")
    save_model(loaded, tmp_path / "ours", max_shard_bytes=20_000)
    indexes = [json.loads((tmp_path / name / INDEX).read_text()) for name in ("theirs", "ours")]
    assert indexes[0]["metadata"]["total_size"] == indexes[1]["metadata"]["total_size"]
    assert indexes[0]["weight_map"].keys() == indexes[1]["weight_map"].keys()
    for name in indexes[0]["weight_map"]:
        a, b = (
            load_file(tmp_path / folder / index["weight_map"][name])[name]
            for folder, index in zip(("theirs", "ours"), indexes)
        )
        assert a.dtype == b.dtype and torch.equal(a, b)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert same(again, theirs)


def test_no_shard_passes_the_limit_but_for_one_tensor_alone() -> None:
    tensors = {str(n): torch.zeros(n) for n in (3, 4, 100, 1, 2, 5, 0, 9)}
    groups = shards(tensors, 40)
    assert [name for group in groups for name in group] == list(tensors)
    assert [list(group) for group in groups] == [["3", "4"], ["100"], ["1", "2", "5", "0"], ["9"]]


def test_few_weights_stay_in_one_file(tmp_path: Path) -> None:
    save_model(build_model(LLAMA, seed=1), tmp_path, max_shard_bytes=10**9)
    assert [path.name for path in tmp_path.glob("*.safetensors*")] == [SINGLE]


@pytest.mark.parametrize("limits", [(None, 20_000), (20_000, None), (20_000, 60_000)])
def test_the_other_form_of_an_earlier_save_goes(
    limits: tuple[int | None, int | None], tmp_path: Path
) -> None:
    for seed, limit in enumerate(limits):
        model = build_model(LLAMA, seed=seed)
        save_model(model, tmp_path, max_shard_bytes=limit)
    assert same(load_model(tmp_path)[0], model)
    assert (tmp_path / SINGLE).exists() is (limits[1] is None)
    assert (tmp_path / INDEX).exists() is (limits[1] is not None)
    listed = len(list(tmp_path.glob("model-*.safetensors")))
    assert listed == (
        0 if limits[1] is None else int(sorted(tmp_path.glob("model-*"))[0].stem[-5:])
    )


@pytest.mark.parametrize("before", [None, 20_000])
def test_a_crash_between_the_two_forms_leaves_one_whole_model(
    before: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every file that is written or removed: the old weights or the new ones."""
    old, new = build_model(LLAMA, seed=1), build_model(LLAMA, seed=2)
    after = 20_000 if before is None else None
    for step in range(1, 12):
        folder = tmp_path / str(step)
        save_model(old, folder, max_shard_bytes=before)
        left = step

        def crash(*args: Any, **kwargs: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(write, "sync_folder", crash)
            patch.setattr(write, "sync_file", crash)
            try:
                save_model(new, folder, max_shard_bytes=after)
            except KeyboardInterrupt:
                pass
            else:
                break
        found, _ = load_model(folder)
        assert same(found, old) or same(found, new)
    assert step > 2


def test_a_limit_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_shard_bytes: expected 1 or more, found 0"):
        write_tensors({"a": torch.ones(1)}, tmp_path, 0)
