"""What the benchmarks of learning.py share: runs that are made once, texts, findings."""

import argparse
import gzip
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.objectives.make import SENTINELS
from ownlm.recipes.named import recipe as named

CONTROLS = ("<|begin|>", "<|mask|>", *SENTINELS)
"""Of every tokenizer, so that all objectives of one kind of tokenizer share their shards."""

QUICK = "--train.compile off --train.evaluate-every 0 --train.save-every 0".split()
"""Seconds matter at this size: nothing is compiled, saved or measured on the way."""


PAGE = 4_000
"""Bytes of a page: about a chapter of the Bible."""


@dataclass(frozen=True)
class Finding:
    """One contestant's figure, a value a seed."""

    name: str
    figure: str
    values: Sequence[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float:
        """Standard deviation; 0 for a single seed, which says nothing."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def __str__(self) -> str:
        return f"{self.name:<34} {self.figure:<28} {self.mean:9.4f} +- {self.spread:.4f}"


class Bench:
    """The options of a benchmark, and runs that are made once."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder, self.data = options, folder, options.data
        self.seeds = range(1, options.seeds + 1)

    def prepared(self, recipe: str) -> Path:
        """The text as shards of the recipe's tokenizer, which all runs share."""
        tokenizer = named(recipe).tokenizer
        ids = self.options.vocab or tokenizer.vocab_size
        shards = self.folder / f"{tokenizer.kind}-{ids}"
        if not (shards / "manifest.json").exists():
            kind = ["--tokenizer.kind", tokenizer.kind]
            size = ["--tokenizer.vocab-size", str(ids)]
            controls = ["--tokenizer.controls", *CONTROLS]
            ownlm("prepare", str(self.data), "--out", str(shards), *kind, *size, *controls)
        return shards

    def pretrain(self, recipe: str, name: str, seed: int, *words: str) -> Path:
        """The folder of a finished run of `ownlm pretrain`."""
        run = self.folder / f"{name}-{seed}"
        if (run / "report.html").exists():
            return run
        text = ["--data", str(self.prepared(recipe))]
        asked = [recipe, *text, "--out", str(run), "--train.seed", str(seed)]
        ownlm("pretrain", *asked, "--resume", "auto", *QUICK, *words)
        return run

    def once(self, name: str, measure: Callable[[], list[float]]) -> list[float]:
        """What was measured before under this name, or now."""
        path = self.folder / "measured.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if name not in known:
            known[name] = measure()
            path.write_text(json.dumps(known, indent=1), encoding="utf-8")
        found: list[float] = known[name]
        return found

    def evaluations(self, recipe: str, name: str, *words: str) -> list[dict[str, Any]]:
        """evaluation.json of a run a seed."""
        runs = [self.pretrain(recipe, name, seed, *words) for seed in self.seeds]
        return [evaluation(run) for run in runs]


def ownlm(*words: str) -> str:
    """What a command prints; its own messages go to the terminal."""
    command = [sys.executable, "-m", "ownlm", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def evaluation(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    return found


def short(steps: int, rate: float | None = None) -> list[str]:
    """Options of a run of so many updates."""
    words = ["--train.steps", str(steps), "--schedule.warmup", str(steps // 10)]
    return words if rate is None else [*words, "--optimizer.lr", f"{rate:g}"]


def paged(data: Path, out: Path) -> Path:
    """A text, or all of a folder, cut into documents of some lines, PAGE bytes or a little more."""
    files = sorted(p for p in data.rglob("*") if p.is_file()) if data.is_dir() else [data]
    rows, page = list[str](), ""
    for file in files:
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8")
        for line in [*text.splitlines(keepends=True), ""]:
            page += line
            if page and (not line or len(page.encode("utf-8")) >= PAGE):
                rows.append(json.dumps({"text": page}, ensure_ascii=False))
                page = ""
    out.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return out
