"""Time and memory to load a model, beside transformers.

python benchmarks/loading.py MODEL [--rounds 5]

MODEL is a model folder or a GGUF file; copies of it in float32 and bfloat16 are written to a
temporary folder first and read once, so that all contestants find them in the page cache. Then
each contestant loads each copy in a process of its own, in turn, `--rounds` times; medians are
printed. "loaded" is the call alone, "first logits" the call and one pass over 32 tokens (which
touches every weight, also those that were only mapped), "peak" the most memory that the process
ever had resident, "of it import" what it had before the call.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTESTANTS = ("ownlm", "transformers")
TYPES = ("float32", "bfloat16")
KEYS = ("loaded", "first logits", "peak", "of it import")


def with_ownlm(folder: str) -> Callable[[str], Any]:
    from ownlm.models.load import load_model

    return lambda folder: load_model(folder)[0]


def with_transformers(folder: str) -> Callable[[str], Any]:
    """Its classes import their code when first named: before the clock starts, here."""
    import transformers

    named = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    model = getattr(transformers, named)
    return lambda folder: model.from_pretrained(folder, dtype="auto")


def contestant(name: str, folder: str) -> dict[str, float]:
    """One process's figures: seconds and megabytes."""
    import torch

    load = {"ownlm": with_ownlm, "transformers": with_transformers}[name](folder)
    before = peak()
    ids = torch.arange(32)[None]
    start = time.perf_counter()
    model = load(folder)
    loaded = time.perf_counter() - start
    with torch.inference_mode():
        logits = model(ids).logits[0, -1].float()
    figures = (loaded, time.perf_counter() - start, peak(), before)
    return dict(zip(KEYS, figures)) | {"check": float(logits.abs().max())}


def peak() -> float:
    """Most megabytes ever resident. Where Linux counts them by process image, that is asked:
    getrusage remembers the parent's from before the exec."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def copies(model: Path, folder: Path) -> dict[str, Path]:
    """The model in each type, written by us and read once."""
    from ownlm.models.load import load_model, save_model

    places = {}
    for name in TYPES:
        import torch

        loaded, _ = load_model(model, dtype=getattr(torch, name))
        places[name] = folder / name
        save_model(loaded, places[name])
        (places[name] / "model.safetensors").read_bytes()
    return places


def measure(name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--contestant", name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Print a table, or, in a contestant's process, its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contestant", choices=CONTESTANTS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(contestant(options.contestant, str(options.model))))
        return
    folder = Path(tempfile.mkdtemp())
    try:
        places = copies(options.model, folder)
        runs: dict[tuple[str, str], list[dict[str, float]]] = {}
        for _ in range(options.rounds):
            for kind, place in places.items():
                for name in CONTESTANTS:
                    runs.setdefault((kind, name), []).append(measure(name, place))
    finally:
        shutil.rmtree(folder)
    show(runs)


def show(runs: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    print(f"{'':24}" + "".join(f"{key:>16}" for key in KEYS))
    for (kind, name), found in runs.items():
        medians = [statistics.median(run[key] for run in found) for key in KEYS]
        cells = [
            f"{value:.3f} s" if i < 2 else f"{value:.0f} MB" for i, value in enumerate(medians)
        ]
        print(f"{name + ', ' + kind:24}" + "".join(f"{cell:>16}" for cell in cells))
    for kind in TYPES:
        a, b = (statistics.median(r["check"] for r in runs[kind, name]) for name in CONTESTANTS)
        print(f"largest last logit in {kind}: {a:.4f} and {b:.4f}")


if __name__ == "__main__":
    main()
