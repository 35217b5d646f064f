"""Translation from scratch beside transformers' Marian of equal size, with the same time to learn.

    python benchmarks/translation.py --data tatoeba_cmn_eng.tsv -- --epochs 30

First `ownlm finetune seq2seq transformer-mini` (whatever stands behind `--` goes to it), whole
process; then a plain loop over a MarianMTModel of the same shape, dropout, tokenizer and training
pairs, in batches of like length under bf16 autocast, for as many processor seconds as ownlm's
whole process took (its evaluation included). Both translate the same held-out pairs with four
beams; judged by the same code.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from finetuning import flat, records

from ownlm import runtime
from ownlm.data.tasks.predictions import Writing
from ownlm.data.tasks.records import Parallel
from ownlm.evaluation.tasks.judge import judge
from ownlm.tokenization.load import load_tokenizer


class Marian:
    """A MarianMTModel of the shape that ownlm's run had, and its training."""

    def __init__(self, run: Path, seed: int) -> None:
        from transformers import MarianConfig, MarianMTModel

        torch.manual_seed(seed)
        self.tokenizer = load_tokenizer(run / "model")
        values = json.loads((run / "model" / "config.json").read_text())
        kept = {
            k: v for k, v in values.items() if k not in ("architectures", "ownlm_task", "dtype")
        }
        self.model = MarianMTModel(MarianConfig(**kept))
        self.pad, self.end = kept["pad_token_id"], kept["eos_token_id"]
        self.start = kept["decoder_start_token_id"]

    def train(self, pairs: list[Parallel], seconds: float, batch: int, lr: float) -> int:
        """As many updates as fit; the rate rises over 400 and falls by a cosine of the time."""
        rows = [(self.ids(p.source), self.ids(p.target)) for p in pairs]
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr, betas=(0.9, 0.98), fused=True)
        rng, begun, step = np.random.default_rng(0), time.process_time(), 0
        self.model.train()
        while True:
            for chosen in like_length(rows, batch, rng):
                share = (time.process_time() - begun) / seconds
                if share >= 1:
                    return step
                for group in optimizer.param_groups:
                    group["lr"] = lr * min(1, (step + 1) / 400) * 0.5 * (1 + np.cos(np.pi * share))
                with torch.autocast("cpu", torch.bfloat16):
                    loss = self.loss([rows[n] for n in chosen])
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                step += 1

    def ids(self, text: str) -> list[int]:
        return [*self.tokenizer.encode(text), self.end]

    def loss(self, rows: list[tuple[list[int], list[int]]]) -> torch.Tensor:
        """Cross entropy with 0.1 of label smoothing."""
        source, target = padded([s for s, _ in rows], self.pad), padded([t for _, t in rows], -100)
        begun = padded([[self.start, *t[:-1]] for _, t in rows], self.pad)
        logits = self.model(
            input_ids=source, attention_mask=(source != self.pad).long(), decoder_input_ids=begun
        ).logits
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), target.flatten(), label_smoothing=0.1
        )

    def translate(self, texts: list[str]) -> list[Writing]:
        """Four beams, in batches of like length."""
        self.model.eval()
        rows, found = [self.ids(text) for text in texts], dict[int, str]()
        order = sorted(range(len(rows)), key=lambda n: len(rows[n]))
        for first in range(0, len(order), 64):
            numbers = order[first : first + 64]
            source = padded([rows[n] for n in numbers], self.pad)
            made = self.model.generate(
                source, attention_mask=(source != self.pad).long(), num_beams=4, max_new_tokens=64
            )
            for number, row in zip(numbers, made.tolist()):
                kept = [i for i in row[1:] if i not in (self.pad, self.end)]
                found[number] = self.tokenizer.decode(kept)
        return [Writing(found[n]) for n in range(len(texts))]


def padded(rows: list[list[int]], pad: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])


def like_length(rows: list[Any], batch: int, rng: np.random.Generator) -> list[list[int]]:
    """Batches of pairs of like length, in random order."""
    noisy = sorted(range(len(rows)), key=lambda n: len(rows[n][0]) + rng.random())
    batches = [noisy[first : first + batch] for first in range(0, len(noisy), batch)]
    return [batches[n] for n in rng.permutation(len(batches))]


def main() -> None:
    """Ours, the peer, a table."""
    own, _, more = "\0".join(sys.argv[1:]).partition("\0--\0")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", default="transformer-mini")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rates", type=float, nargs="+", default=[7e-4], help="the peer's")
    parser.add_argument("--threads", type=int, default=runtime.core_count())
    parser.add_argument("--out", type=Path, help="where ownlm's run stays; one there is taken")
    options = parser.parse_args(own.split("\0"))
    options.task = "seq2seq"
    with tempfile.TemporaryDirectory() as scratch:
        run = options.out or Path(scratch) / "run"
        if not (run / "evaluation.json").exists():
            words = ["finetune", "seq2seq", options.recipe, "--data", options.data, "--out",
                     str(run), "--train.seed", str(options.seed), "--data.test", "0.0506",
                     *(more.split("\0") if more else [])]  # fmt: skip
            subprocess.run([sys.executable, "-m", "ownlm", *words], check=True)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            (run / "seconds").write_text(str(used.ru_utime + used.ru_stime))
        seconds = float((run / "seconds").read_text())
        report("ownlm", flat(json.loads((run / "evaluation.json").read_text())), seconds)
        torch.set_num_threads(options.threads)
        data = records(options, run / "recipe.yaml")
        size = yaml.safe_load((run / "recipe.yaml").read_text())["train"]["batch"]
        test = [one for one in data.test if isinstance(one, Parallel)]
        for lr in options.rates:
            marian = Marian(run, options.seed)
            steps = marian.train(data.train, seconds, size, lr)  # type: ignore[arg-type]
            said = marian.translate([one.source for one in test])
            figures = flat(judge("seq2seq", test, said).as_dict())
            report(f"Marian, {lr:g}, {steps} updates", figures, seconds)


def report(name: str, figures: dict[str, float], seconds: float) -> None:
    """A line."""
    told = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
    print(f"{name}: {told}; {seconds:.0f} processor seconds", flush=True)


if __name__ == "__main__":
    main()
