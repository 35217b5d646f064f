"""What is learned at equal budgets, on real text, three seeds each: one command a question.

    python benchmarks/learning.py NAME --data TEXT [--out FOLDER] [--json]

rates       the loss of a family's tiny recipe at several learning rates
nanogpt     bits per byte after equal time beside nanoGPT (--nanogpt CHECKOUT)
muon        Muon beside AdamW at equal updates, each at the better of its rates
bert        accuracy on next sentences and hidden words, beside guessing by frequency
electra     ELECTRA beside BERT at equal FLOPs, judged by a probe (--labelled TEXTS)
memory      Transformer-XL beside Transformers of its size (GPT-1, GPT-2), bits per byte
denoising   losses of T5, BART and XLNet below the entropy of single tokens

Every training is a process of its own: `ownlm pretrain RECIPE`, or the peer's script. Runs stay in
--out and are not repeated, so that a benchmark goes on where it was stopped, and `ownlm compare`
can read them. Printed: mean +- standard deviation over the seeds.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from learning_nanogpt import CONTESTANTS, SETTINGS, beside_nanogpt
from learning_probe import probe
from learning_runs import Bench, Finding, evaluation, paged, short

from ownlm.data.shards import open_prepared
from ownlm.evaluation.flops import flops_per_token
from ownlm.evaluation.likelihood import likelihood
from ownlm.models.load import load_any
from ownlm.objectives.causal import Causal
from ownlm.recipes.named import recipe as named
from ownlm.recipes.sized import LEARNERS, SIZES
from ownlm.recipes.task import with_objective


def loss_of(found: dict[str, Any]) -> float:
    """Nats a target; of BERT without the question about pairs, of ELECTRA with its generator."""
    name = next(n for n in ("masked_loss", "loss", "validation_loss") if n in found)
    return float(found[name])


def best_rate(bench: Bench, recipe: str, name: str, *words: str) -> tuple[float, list[Finding]]:
    """The rate with the lowest loss of the first seed, and the loss at each."""
    steps, found = bench.options.steps or 250, []
    for rate in bench.options.rates:
        run = bench.pretrain(recipe, f"{name}-{rate:g}", 1, *short(steps, rate), *words)
        title = f"{name} at {rate:g}, first seed"
        found.append(Finding(title, "validation loss", [loss_of(evaluation(run))]))
    lowest = min(found, key=lambda finding: finding.mean)
    return bench.options.rates[found.index(lowest)], found


def rates(bench: Bench) -> list[Finding]:
    """Each family at each rate, then the best rate with the other seeds."""
    found = []
    for family in bench.options.families:
        batch = SIZES[bench.options.size].batch // LEARNERS[family].segments
        kind = ["--optimizer.kind", bench.options.optimizer, "--train.batch", str(batch)]
        rate, tried = best_rate(bench, f"{family}-{bench.options.size}", family, *kind)
        words = [*short(bench.options.steps or 250, rate), *kind]
        runs = bench.evaluations(f"{family}-{bench.options.size}", f"{family}-{rate:g}", *words)
        losses = [loss_of(run) for run in runs]
        found += [*tried, Finding(f"{family} at {rate:g}", "validation loss", losses)]
    return found


def muon(bench: Bench) -> list[Finding]:
    """The tiny GPT by both optimizers."""
    found = []
    for kind in ("adamw", "muon"):
        words = ["--optimizer.kind", kind]
        rate, tried = best_rate(bench, "gpt-tiny", kind, *words)
        words += short(bench.options.steps or 250, rate)
        runs = bench.evaluations("gpt-tiny", f"{kind}-{rate:g}", *words)
        bits = [run["bits_per_byte"] for run in runs]
        found += [*tried, Finding(f"{kind} at {rate:g}", "bits per byte", bits)]
    return found


def bert(bench: Bench) -> list[Finding]:
    """Both of BERT's tasks on held-out pages, a page being a document: the second segment goes on
    with the page or is from anywhere in the held-out text."""
    bench.data = paged(bench.data, bench.folder / "pages.jsonl")
    words = short(bench.options.steps or 12_000)
    runs = bench.evaluations(f"bert-{bench.options.size}", "bert", *words)
    figures = {
        "pair_accuracy": "next sentence",
        "masked_accuracy": "hidden words",
        "unigram_accuracy": "by frequency alone",
        "masked_loss": "loss of hidden words",
        "unigram_loss": "loss by frequency alone",
    }
    return [Finding("bert", title, [run[key] for run in runs]) for key, title in figures.items()]


def electra(bench: Bench) -> list[Finding]:
    """Linear probes on frozen mean-pooled features, after equal FLOPs; and on no training."""
    steps = bench.options.steps or 1000
    costs = {name: cost(name, bench.options.vocab) for name in ("electra", "bert")}
    more = {
        "bert": round(steps * costs["electra"] / costs["bert"]),
        "electra": steps,
    }
    found = []
    for name in ("electra", "bert"):
        words = [*short(more[name]), "--train.batch", str(named("electra-tiny").train.batch)]
        words += ["--objective.pairs", "none"] if name == "bert" else []
        runs = [bench.pretrain(f"{name}-tiny", name, seed, *words) for seed in bench.seeds]
        for texts in bench.options.labelled:
            scores = [probe(run / "model", texts) for run in runs]
            found.append(Finding(f"{name}, {more[name]} updates", f"probe {texts.name}", scores))
    return found


def cost(name: str, vocab: int) -> float:
    """FLOPs a token of a family's tiny recipe with so many ids (0: its own)."""
    run = with_objective(named(f"{name}-tiny"))
    ids = vocab or run.tokenizer.vocab_size
    return flops_per_token(run.model.model_copy(update={"vocab": ids}), run.objective)


def memory(bench: Bench) -> list[Finding]:
    """All read contexts of 128 tokens; Transformer-XL remembers the 128 before each, in the
    evaluation through 8,192 tokens at a time."""
    words, found = short(bench.options.steps or 500), []
    kinds = {
        "transformer_xl": [],
        "gpt1": ["--model.family", "gpt1"],
        "gpt": list[str](),
    }
    for name, more in kinds.items():
        recipe = "transformer_xl-tiny" if name == "transformer_xl" else "gpt-tiny"
        runs = [bench.pretrain(recipe, name, seed, *words, *more) for seed in bench.seeds]
        bits = [evaluation(run)["bits_per_byte"] for run in runs]
        if name == "transformer_xl":
            found.append(Finding(name, "bits per byte, 512 at a time", bits))
            bits = [carried(run, bench.prepared("gpt-tiny")) for run in runs]
        found.append(Finding(name, "bits per byte", bits))
    return found


def carried(run: Path, shards: Path, segments: int = 64) -> float:
    """Bits per byte of the held-out text with a memory that lasts for so many contexts."""
    model, _ = load_any(run / "model", torch.device("cpu"), torch.float32)
    window = named("transformer_xl-tiny").model.context * segments
    stream, objective = open_prepared(shards).validation, Causal(segments=segments)
    found = likelihood(model, objective, stream, context=window, batch=2)
    assert found.bits_per_byte is not None
    return found.bits_per_byte


def denoising(bench: Bench) -> list[Finding]:
    """Losses below what frequencies alone reach, where control tokens cost nothing."""
    words, found = short(bench.options.steps or 500), []
    for name in bench.options.families:
        runs = bench.evaluations(f"{name}-tiny", name, *words)
        for key, title in (("loss", "loss"), ("unigram_loss", "loss by frequency alone")):
            found.append(Finding(name, title, [run[key] for run in runs]))
        margins = [run["unigram_loss"] - run["loss"] for run in runs]
        found.append(Finding(name, "margin", margins))
    return found


def nanogpt(bench: Bench) -> list[Finding]:
    """See learning_nanogpt.py."""
    tables = beside_nanogpt(bench)
    return [Finding(*row) for row in tables]


NAMES: dict[str, Callable[[Bench], list[Finding]]] = {
    f.__name__: f for f in (rates, nanogpt, muon, bert, electra, memory, denoising)
}


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--data", type=Path, required=True, help="a file or a folder of text")
    parser.add_argument("--out", type=Path, help="where runs stay; else they are removed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="updates; 0: the benchmark's own")
    parser.add_argument("--size", default="tiny", help="of the recipes (rates, bert)")
    parser.add_argument("--vocab", type=int, default=0, help="ids; 0: the recipe's")
    parser.add_argument("--optimizer", default="muon", choices=("muon", "adamw"))
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3, 6e-3])
    parser.add_argument("--families", nargs="+", default=[], choices=list(LEARNERS))
    parser.add_argument("--labelled", type=Path, nargs="+", default=[], help="texts of a probe")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--seconds", type=float, default=45.0, help="of the processor (nanogpt)")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), help="of nanoGPT")
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Run one benchmark and print what it found."""
    options = read_options()
    usual = {"denoising": ["t5", "bart", "xlnet"]}
    options.families = options.families or usual.get(options.name, list(LEARNERS))
    with tempfile.TemporaryDirectory() as scratch:
        found = NAMES[options.name](Bench(options, options.out or Path(scratch)))
    if options.json:
        print(json.dumps([vars(f) | {"mean": f.mean, "spread": f.spread} for f in found]))
    else:
        print(*found, sep="\n")


if __name__ == "__main__":
    main()
