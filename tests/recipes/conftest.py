"""A run that takes a second: tiny model, a few updates, text made up here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ownlm.recipes.config import RunConfig
from ownlm.recipes.named import recipe

WORDS = "the cat sat on a mat and saw one red bird fly over old grey stones in cold rain".split()

TINY: dict[str, Any] = {
    "tokenizer": {"kind": "byte"},
    "model": {"layers": 1, "dim": 16, "heads": 2, "kv_heads": 0, "context": 16},
    "train": {
        "steps": 6, "batch": 4, "evaluate_every": 2, "save_every": 2, "log_every": 1, "threads": 1,
        "sample_every": 3,
    },
    "optimizer": {"kind": "adamw", "lr": 0},
    "schedule": {"warmup": 50},
    "sample": {"tokens": 8},
}  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file of some three thousand characters of made-up sentences."""
    path = tmp_path / "some text.txt"
    words = [WORDS[(i * i + i // 7) % len(WORDS)] for i in range(700)]
    path.write_text(" ".join(words) + ".\n", encoding="utf-8")
    return path


@pytest.fixture
def tiny(text: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """Makes a tiny run over the text, in a folder `out`; sections as keywords lie over it."""

    def make(out: str = "run", **values: Any) -> RunConfig:
        places = {"out": str(tmp_path / out), "data": {"path": str(text)}}
        return recipe("llama-mini").with_values(TINY).with_values(places).with_values(values)

    return make
