"""Named complete runs. Pick one, point it at text, override what you like."""

from collections.abc import Callable

from ownlm.config import nearest
from ownlm.data.config import DataConfig
from ownlm.errors import ConfigError
from ownlm.models import gpt, llama  # not families: their table would slow every --help
from ownlm.models.config import ModelConfig
from ownlm.recipes.config import RunConfig, SampleConfig
from ownlm.recipes.sized import LEARNERS, SIZES, USUAL, sized
from ownlm.tokenization.config import TokenizerConfig
from ownlm.training.config import OptimizerConfig, ScheduleConfig, TrainConfig


def demo() -> RunConfig:
    """A small LLaMA on the built-in text, sized for about four minutes on two cores."""
    return RunConfig(
        recipe="demo",
        data=DataConfig(validation=0.05),
        tokenizer=TokenizerConfig(kind="bpe", vocab_size=2048),
        model=ModelConfig(family="llama", layers=4, dim=256, heads=4, context=256, tied=True),
        optimizer=OptimizerConfig(kind="muon", lr=6e-3),
        schedule=ScheduleConfig(kind="cosine", warmup=40),
        train=TrainConfig(
            steps=700,
            batch=16,
            compile="off",  # a minute of compiling is a fifth of the run
            evaluate_every=175,
            save_every=175,
            sample_every=175,
        ),
        sample=SampleConfig(prompt="def ", tokens=150, temperature=0.6),
    )


def char_tiny() -> RunConfig:
    """nanoGPT's CPU run: 0.8 M parameters over characters, little more than a minute on a laptop.

    Rates compared at this size: 1e-3, 2e-3, 4e-3 and 6e-3 end at validation losses of 1.883, 1.812,
    1.767 and 1.778 (one seed; a second seed 1.755 at 4e-3, 1.770 at 6e-3).
    """
    return RunConfig(
        recipe="char-tiny",
        data=DataConfig(),
        tokenizer=TokenizerConfig(kind="char"),
        model=_char_gpt(layers=4, heads=4, dim=128, context=64, dropout=0.0),
        optimizer=OptimizerConfig(lr=4e-3, betas=(0.9, 0.99), weight_decay=0.1),
        schedule=ScheduleConfig(kind="cosine", warmup=100, final=0.1),
        train=TrainConfig(steps=2000, batch=12, documents=False, sample_every=500),
        sample=SampleConfig(tokens=300),
    )


def char_mini() -> RunConfig:
    """nanoGPT's run over characters: 10.7 M parameters, 1,600 updates.

    Its 5,000 updates overfit 1 MB of text, so the rate comes down within 1,600.
    """
    return RunConfig(
        recipe="char-mini",
        data=DataConfig(),
        tokenizer=TokenizerConfig(kind="char"),
        model=_char_gpt(layers=6, heads=6, dim=384, context=256, dropout=0.2),
        optimizer=OptimizerConfig(lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1),
        schedule=ScheduleConfig(kind="cosine", warmup=100, final=0.05),
        train=TrainConfig(
            steps=1600,
            batch=64,
            evaluate_every=200,
            save_every=200,
            documents=False,
            sample_every=400,
        ),
        sample=SampleConfig(tokens=500),
    )


def llama_mini() -> RunConfig:
    """A small LLaMA for a file or folder of your text: some 7 M parameters, four passes."""
    return RunConfig(
        recipe="llama-mini",
        epochs=4.0,
        data=DataConfig(),
        tokenizer=TokenizerConfig(kind="bpe", vocab_size=8192),
        model=ModelConfig(family="llama", layers=6, dim=256, heads=8, kv_heads=4, context=256),
        optimizer=OptimizerConfig(kind="muon", lr=LEARNERS["llama"].rate_of_mini),
        schedule=ScheduleConfig(kind="cosine", warmup=100),
        train=TrainConfig(steps=0, batch=32, sample_every=500),
    )


def llama_15m() -> RunConfig:
    """llama2.c's 15 M model: 20 tokens a parameter (Hoffmann et al. 2022); a GPU, or a night."""
    return RunConfig(
        recipe="llama-15m",
        data=DataConfig(validation=0.01),
        tokenizer=TokenizerConfig(kind="bpe", vocab_size=32_000),
        model=_open(llama.SIZES["llama-15m"]),
        optimizer=OptimizerConfig(lr=0.0),
        schedule=ScheduleConfig(kind="cosine", warmup=300),
        train=TrainConfig(
            steps=9300, batch=128, micro_batch=32, evaluate_every=1000, save_every=500
        ),
    )


def gpt2_124m() -> RunConfig:
    """GPT-2 small: 20 tokens a parameter in batches of half a million; needs a GPU."""
    return RunConfig(
        recipe="gpt2-124m",
        data=DataConfig(validation=0.005),
        tokenizer=TokenizerConfig(kind="bpe", vocab_size=50_257),
        model=_open(gpt.SIZES["gpt2-124m"]),
        optimizer=OptimizerConfig(lr=0.0),
        schedule=ScheduleConfig(kind="cosine", warmup=250),
        train=TrainConfig(steps=4750, batch=512, micro_batch=8, evaluate_every=500, save_every=250),
    )


OTHERS: dict[str, Callable[[], RunConfig]] = {
    "demo": demo,
    "char-tiny": char_tiny,
    "char-mini": char_mini,
    "llama-mini": llama_mini,
    "llama-15m": llama_15m,
    "gpt2-124m": gpt2_124m,
}
"""Recipes with a purpose of their own."""

SIZED = {f"{name}-{size}": sized(name, size) for name in LEARNERS for size in SIZES}
USUALLY = {name: (SIZED | OTHERS)[f"{name}-{USUAL}"] for name in LEARNERS}
RECIPES = OTHERS | USUALLY | {name: make for name, make in SIZED.items() if name not in OTHERS}


def recipe(name: str) -> RunConfig:
    """The configuration of a named run; ConfigError names the nearest."""
    if name in RECIPES:
        return RECIPES[name]().model_copy(update={"recipe": name})
    guess = nearest(name, list(RECIPES))
    raise ConfigError(
        f"no recipe is called {name!r}" + (f", nearest is {guess}" if guess else ""),
        next_command=f"ownlm pretrain {guess}" if guess else "ownlm pretrain --help lists them",
    )


def table() -> str:
    """Every recipe and its purpose, for help texts: one line a family, then the sizes."""
    named = OTHERS | USUALLY
    width = max(map(len, named))
    lines = [f"{name:<{width}}  {_purpose(make)}" for name, make in named.items()]
    sizes = [
        f"  -{name:<6} {s.layers} x {s.dim}, context {s.context}: {s.meant}"
        for name, s in SIZES.items()
    ]
    more = f"The last {len(USUALLY)} also by size, such as bert-tiny; without one, {USUAL}:"
    return "\n".join([*lines, "", more, *sizes])


def _purpose(make: Callable[[], RunConfig]) -> str:
    return (make.__doc__ or "").strip().splitlines()[0]


def _char_gpt(layers: int, heads: int, dim: int, context: int, dropout: float) -> ModelConfig:
    return ModelConfig(
        family="gpt2", layers=layers, heads=heads, dim=dim, context=context, dropout=dropout,
        tied=True, bias=False, act="gelu",
    )  # fmt: skip


def _open(size: ModelConfig) -> ModelConfig:
    """A named size whose vocabulary is left to the tokenizer."""
    return size.model_copy(update={"vocab": 0})
