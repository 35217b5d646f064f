"""Finetuning beside a transformers loop: same records, steps, batch, rate and schedule, by turns.

    python benchmarks/finetuning.py classify MODEL --data SMS.tsv --seeds 3 -- --data.test 0.2
    python benchmarks/finetuning.py tag MODEL --data wnut17 --seeds 3 -- --epochs 5

Whatever stands behind `--` goes to `ownlm finetune`; the peer takes its steps, batch, rate and
data options from the recipe.yaml that this leaves. Both are whole processes, from the imports to
the predictions; judged by the same code. Quoted: each figure's mean and standard deviation over
the seeds, seconds of the whole process, and of the training loop alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from ownlm import runtime
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.load import TaskData, load_task


def ours(options: argparse.Namespace, seed: int, run: Path) -> dict[str, Any]:
    """The figures of `ownlm finetune`, and its seconds."""
    words = [sys.executable, "-m", "ownlm", "finetune", options.task, options.model, "--data",
             options.data, "--out", str(run), "--train.seed", str(seed), "--json",
             *options.more]  # fmt: skip
    begun = time.perf_counter()
    text = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(text)["evaluation"]
    return flat(found) | {"seconds": time.perf_counter() - begun}


def peer(options: argparse.Namespace, seed: int, run: Path) -> dict[str, Any]:
    """The figures of the loop with the same settings."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    out = run / "peer.json"
    words = [sys.executable, __file__, options.task, options.model, "--data", options.data,
             "--worker", str(out), "--seed", str(seed), "--precision", options.precision,
             "--steps", str(recipe["train"]["steps"]), "--batch", str(recipe["train"]["batch"]),
             "--lr", str(recipe["optimizer"]["lr"])]  # fmt: skip
    begun = time.perf_counter()
    subprocess.run(words, check=True, env=os.environ | {"RECIPE": str(run / "recipe.yaml")})
    took = time.perf_counter() - begun
    return judged(options, run, out) | {"seconds": took}


def judged(options: argparse.Namespace, run: Path, out: Path) -> dict[str, Any]:
    """The peer's predictions by the judge of ours."""
    from ownlm.data.tasks import predictions as kinds
    from ownlm.evaluation.tasks.judge import judge

    made = {"classify": kinds.Classified, "pair": kinds.Classified, "regress": kinds.Estimate,
            "tag": kinds.Tagging, "span": kinds.Extract}[options.task]  # fmt: skip
    seconds, rows = json.loads(out.read_text())
    found = [made(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()})
             for row in rows]  # fmt: skip
    data = records(options, run / "recipe.yaml")
    return flat(judge(options.task, data.test, found, data.labels).as_dict()) | {
        "training": seconds
    }


def records(options: argparse.Namespace, recipe: Path) -> TaskData:
    """The data as ownlm's run divided them."""
    values = yaml.safe_load(recipe.read_text())["data"]
    return load_task(TaskDataConfig.parse(values, str(recipe)), options.task)


def flat(found: dict[str, Any]) -> dict[str, float]:
    """Figures by name, without their intervals."""
    return {name: float(one["value"]) for name, one in found["figures"].items()}


def parse() -> argparse.Namespace:
    """The command line."""
    own, _, more = "\0".join(sys.argv[1:]).partition("\0--\0")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=("classify", "pair", "regress", "tag", "span"))
    parser.add_argument("model", help="a folder that transformers opens too")
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=("fp32", "bf16"),
        help="the peer's; bf16 is torch's autocast",
    )
    parser.add_argument("--threads", type=int, default=runtime.core_count())
    parser.add_argument("--out", type=Path, help="where runs stay")
    parser.add_argument("--alone", action="store_true", help="no peer")
    for name, kind in {"worker": str, "seed": int, "steps": int, "batch": int, "lr": float}.items():
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args(own.split("\0"))
    options.more = more.split("\0") if more else []
    return options


def main() -> None:
    """All seeds, then a table."""
    options = parse()
    if options.worker:
        import finetuning_peers

        recipe = Path(os.environ["RECIPE"])
        return finetuning_peers.main(
            options, lambda: records(options, recipe), Path(options.worker)
        )
    found: dict[str, list[dict[str, Any]]] = {"ownlm": [], "transformers": []}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(1, options.seeds + 1):
            run = (options.out or Path(scratch)) / f"{options.task}-{seed}"
            found["ownlm"].append(ours(options, seed, run))
            if not options.alone:
                found["transformers"].append(peer(options, seed, run))
    for name, rows in found.items():
        for key in rows[0] if rows else ():
            values = [row[key] for row in rows]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"{name:14}{key:24}{statistics.fmean(values):10.4f} +- {spread:.4f}")
    return None


if __name__ == "__main__":
    main()
