"""nanoGPT's CPU run against the same run of ownlm: wall time of the whole process, and the loss.

    python benchmarks/char_tiny.py --nanogpt PATH_OF_A_CHECKOUT --text tinyshakespeare.txt

4 layers, 4 heads, 128 wide, context 64, batch 12, 2,000 updates, no dropout, as nanoGPT's README
runs it on a CPU (its data script needs `pip install requests`). Both start from the raw text file;
both processes count from start to end, imports, data preparation, evaluations, samples and report
included. Turns are interleaved.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NANOGPT = (
    "config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 "
    "--log_interval=1 --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 "
    "--max_iters=2000 --lr_decay_iters=2000 --dropout=0.0"
).split()


def run_nanogpt(checkout: Path, text: Path) -> tuple[float, float]:
    """(seconds, best validation loss) in a copy of the checkout."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(checkout, Path(folder) / "nanoGPT"))
        shutil.copy(text, copy / "data/shakespeare_char/input.txt")
        prepare = [sys.executable, "data/shakespeare_char/prepare.py"]
        start = time.perf_counter()
        subprocess.run(prepare, cwd=copy, check=True, capture_output=True)
        done = subprocess.run(
            [sys.executable, "train.py", *NANOGPT],
            cwd=copy, check=True, capture_output=True, text=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    return seconds, min(float(x) for x in re.findall(r"val loss ([\d.]+)", done.stdout))


def run_ownlm(text: Path) -> tuple[float, float]:
    """(seconds, validation loss of the finished model over all of the validation text)."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = [sys.executable, "-m", "ownlm", "pretrain", "char-tiny", "--data", str(text)]
        start = time.perf_counter()
        subprocess.run([*words, "--out", str(out)], check=True, capture_output=True)
        seconds = time.perf_counter() - start
        return seconds, float(json.loads((out / "evaluation.json").read_text())["loss"])


def main() -> None:
    """Interleave the two and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, required=True, help="a nanoGPT checkout")
    parser.add_argument("--text", type=Path, required=True, help="tinyshakespeare.txt")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    theirs, ours = [], []
    for number in range(options.rounds):
        theirs.append(run_nanogpt(options.nanogpt, options.text))
        ours.append(run_ownlm(options.text))
        print(f"round {number + 1}: nanoGPT {theirs[-1]}, ownlm {ours[-1]}", file=sys.stderr)
    ratio = statistics.median(a[0] / b[0] for a, b in zip(theirs, ours, strict=True))
    for name, found in (("nanoGPT", theirs), ("ownlm", ours)):
        seconds, loss = (statistics.median(x) for x in zip(*found, strict=True))
        print(f"{name:8} {seconds:6.1f} s   validation loss {loss:.4f}")
    print(f"ownlm is {ratio:.2f} times as fast, medians of {options.rounds} interleaved rounds")


if __name__ == "__main__":
    main()
