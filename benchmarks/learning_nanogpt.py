"""nanoGPT's part of learning.py: bits per byte of the same held-out bytes after equal time.

Three contestants of one shape (4 layers, 128 wide): nanoGPT over characters, as its data script
makes them; nanoGPT over the tokens of ownlm's tokenizer; ownlm. Time is the processor time of the
whole process: with OMP_NUM_THREADS=1, on a core of its own, that is wall time, and what else the
machine does cannot favour anyone. ownlm's includes reading the text, training the tokenizer, the
evaluation and the report; nanoGPT gets its token files for nothing, and is measured afterwards.
Two short runs say how many updates fit.

The only edit of the checkout's copy is the seed, which its train.py fixes at 1337.
"""

import json
import math
import pickle  # noqa: TID251  # the format of nanoGPT's data scripts
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ownlm.data.shards import PreparedData, TokenStream, open_prepared
from ownlm.tokenization.load import load_tokenizer

if TYPE_CHECKING:
    from learning_runs import Bench

SHORT, LONG = 20, 120
"""Updates of the two runs that tell what an update and the rest of a process cost."""

NANOGPT = (
    "--device=cpu --compile=False --eval_iters=1 --log_interval=1000 --n_layer=4 --n_head=4 "
    "--n_embd=128 --dropout=0.0 --always_save_checkpoint=True --gradient_accumulation_steps=1 "
    "--beta2=0.99 --wandb_log=False"
).split()
OWNLM = (
    "gpt-tiny --model.layers 4 --model.heads 4 --model.act gelu --train.evaluate-every 0 "
    "--train.save-every 0 --train.compile off"
).split()

OWN = {"ownlm": list[str](), "ownlm, AdamW": "--optimizer.kind adamw --optimizer.lr 3e-3".split()}
"""As the recipe is, with Muon; and with nanoGPT's optimizer."""

SCORE = """
import sys, numpy as np, torch
from model import GPT, GPTConfig
saved = torch.load("out/ckpt.pt", weights_only=False)
model = GPT(GPTConfig(**saved["model_args"])).eval()
model.load_state_dict(saved["model"])
ids = torch.from_numpy(np.fromfile("data/text/val.bin", np.uint16).astype(np.int64))
size, nats = model.config.block_size, 0.0
with torch.no_grad():
    for begin in range(0, len(ids) - 1, size):
        part = ids[None, begin : begin + size + 1]
        nats += float(model(part[:, :-1], part[:, 1:])[1]) * (part.shape[1] - 1)
print(nats)
"""
"""Every token of the held-out text but the first is predicted once, in windows of the context."""


class Setting(NamedTuple):
    """What nanoGPT is given beside the shape."""

    rate: float
    batch: int
    context: int

    @classmethod
    def read(cls, text: str) -> "Setting":
        """From "rate,batch,context"."""
        rate, batch, context = text.split(",")
        return cls(float(rate), int(batch), int(context))

    @property
    def words(self) -> list[str]:
        return [
            f"--learning_rate={self.rate}", f"--min_lr={self.rate / 10}",
            f"--batch_size={self.batch}", f"--block_size={self.context}",
        ]  # fmt: skip

    @property
    def title(self) -> str:
        return f"rate {self.rate:g}, {self.batch} x {self.context}"


SETTINGS = ("1e-3,12,64", "3e-3,12,64", "3e-3,16,128")
"""Rate, batch and context that are compared for nanoGPT; the first is what its README gives for a
CPU."""

Row = tuple[str, str, list[float]]
"""Contestant, figure, a value a seed."""


class NanoGPT:
    """A copy of the checkout with the text in one kind of tokens."""

    def __init__(self, name: str, checkout: Path, folder: Path, train: bytes, held: bytes) -> None:
        self.name, self.folder = name, folder
        if not folder.exists():
            shutil.copytree(checkout, folder)
        text = folder / "data/text"
        text.mkdir(exist_ok=True)
        (text / "train.bin").write_bytes(train)
        (text / "val.bin").write_bytes(held)
        ids = np.frombuffer(train + held, np.uint16)
        (text / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": int(ids.max()) + 1}))

    def seconds(self, setting: Setting, seed: int, steps: int) -> float:
        """What a training took."""
        script = (self.folder / "train.py").read_text(encoding="utf-8")
        seeded = script.replace("torch.manual_seed(1337 +", f"torch.manual_seed({seed} +")
        assert seeded != script, "train.py of another version"
        (self.folder / "seeded.py").write_text(seeded, encoding="utf-8")
        counts = [f"--{n}={steps}" for n in ("max_iters", "lr_decay_iters", "eval_interval")]
        words = [*NANOGPT, *setting.words, *counts, f"--warmup_iters={steps // 10}"]
        return timed([sys.executable, "seeded.py", "--dataset=text", *words], self.folder)

    def nats(self) -> float:
        """Of the held-out text, by the model trained last."""
        command = [sys.executable, "-c", SCORE]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True)
        return float(done.stdout.split()[-1])


def timed(command: list[str], folder: Path | None = None) -> float:
    """Seconds of processor time that a process took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def updates(seconds: float, short: float, long: float) -> int:
    """How many fit, when SHORT updates took `short` seconds and LONG ones `long`."""
    each = (long - short) / (LONG - SHORT)
    return max(LONG, int((seconds - short) / each) + SHORT)


def texts(stream: TokenStream, data: PreparedData) -> list[str]:
    """The documents of one side of the split."""
    tokenizer = load_tokenizer(data.tokenizer_folder)
    ends = [*stream.starts[1:], stream.tokens]
    return [
        tokenizer.decode(stream.gather(np.array([begin]), int(end - begin))[0].tolist())
        for begin, end in zip(stream.starts, ends, strict=True)
    ]


def by_characters(data: PreparedData) -> tuple[bytes, bytes]:
    """Both sides as nanoGPT's data script numbers characters: all that occur, sorted."""
    sides = ["\n".join(texts(stream, data)) for stream in (data.train, data.validation)]
    numbers = {character: number for number, character in enumerate(sorted(set("".join(sides))))}
    train, held = (np.array([numbers[c] for c in side], np.uint16).tobytes() for side in sides)
    return train, held


def by_tokens(data: PreparedData) -> tuple[bytes, bytes]:
    """Both sides in ownlm's tokens."""
    train, held = (
        stream.gather(np.array([0]), stream.tokens)[0].astype(np.uint16).tobytes()
        for stream in (data.train, data.validation)
    )
    return train, held


PEERS: dict[str, Callable[[PreparedData], tuple[bytes, bytes]]] = {
    "characters": by_characters,
    "our tokens": by_tokens,
}
"""What nanoGPT reads."""
CONTESTANTS = (*OWN, *PEERS)


def beside_nanogpt(bench: "Bench") -> list[Row]:
    """Every contestant with every seed."""
    data = open_prepared(bench.prepared("gpt-tiny"))
    asked = bench.options.contestants
    found = [row for name, words in OWN.items() if name in asked
             for row in own_rows(bench, name, words)]  # fmt: skip
    for kind, sides in PEERS.items():
        if kind not in asked:
            continue
        folder = bench.folder / f"nanogpt-{kind[:3]}"
        peer = NanoGPT(f"nanoGPT, {kind}", bench.options.nanogpt, folder, *sides(data))
        found += peers_rows(peer, math.log(2) * data.validation.text_bytes, bench)
    return found


def peers_rows(peer: NanoGPT, bits: float, bench: "Bench") -> list[Row]:
    """The best setting by a third of the time and the first seed, then all seeds."""
    limit, found = bench.options.seconds, list[Row]()
    settings = [Setting.read(text) for text in bench.options.settings]

    def trained(setting: Setting, seed: int, seconds: float) -> list[float]:
        steps = updates(seconds, *costs[setting])
        taken = peer.seconds(setting, seed, steps)
        return [steps, taken, peer.nats() / bits]

    def both(setting: Setting) -> list[float]:
        return [peer.seconds(setting, 1, steps) for steps in (SHORT, LONG)]

    costs = {}
    for setting in settings:
        name = f"{peer.name}, {setting.title}"
        costs[setting] = bench.once(f"{name}, costs", partial(both, setting))
        if len(settings) > 1:
            third = bench.once(f"{name}, a third", partial(trained, setting, 1, limit / 3))
            found.append((f"{name}, a third", "bits per byte", third[2:]))
    best = settings[min(range(len(found)), key=lambda n: found[n][2], default=0)]
    rows = [
        bench.once(f"{peer.name}, seed {seed}", partial(trained, best, seed, limit))
        for seed in bench.seeds
    ]
    return [*found, *summed(f"{peer.name}, {best.title}", rows)]


def summed(name: str, rows: list[list[float]]) -> list[Row]:
    """Rows of (updates, seconds, bits per byte), a seed each, as findings."""
    _, seconds, reached = (list(column) for column in zip(*rows, strict=True))
    title = f"{name}, {rows[0][0]:.0f} updates"
    return [(title, "bits per byte", reached), (title, "processor seconds", seconds)]


def own_rows(bench: "Bench", name: str, words: list[str]) -> list[Row]:
    """The recipe, with some options; each run prepares the text for itself."""
    run, text = bench.folder / "ownlm-timed", ["--data", str(bench.data)]

    def train(steps: int, seed: int) -> float:
        shutil.rmtree(run, ignore_errors=True)
        counts = ["--train.steps", str(steps), "--schedule.warmup", str(steps // 10)]
        more = ["--train.seed", str(seed), "--out", str(run)]
        return timed(
            [sys.executable, "-m", "ownlm", "pretrain", *OWNLM, *text, *counts, *more, *words]
        )

    def finished(seed: int) -> list[float]:
        taken = train(steps, seed)
        found = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
        return [steps, taken, found["bits_per_byte"]]

    costs = bench.once(f"{name}, costs", lambda: [train(n, 1) for n in (SHORT, LONG)])
    steps = updates(bench.options.seconds, *costs)
    rows = [bench.once(f"{name}, seed {seed}", partial(finished, seed)) for seed in bench.seeds]
    return summed(name, rows)
