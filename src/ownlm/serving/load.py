"""Models from disk, ready to be served."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from ownlm.inference.config import EngineConfig
from ownlm.inference.engine import Engine
from ownlm.inference.language_model import LM, load
from ownlm.inference.pick import Weights, make_engine
from ownlm.inference.request import Request
from ownlm.inference.service import Service
from ownlm.inference.trial import Trial
from ownlm.serving.served import Load, Served, task_of, vectors_of

Make = Callable[[LM], tuple[Engine, str]]
"""An engine for a model, and with what it computes, for people."""


def load_served(
    table: Mapping[str, Path],
    make: Make,
    device: str = "",
    dtype: str = "",
) -> dict[str, Served]:
    """Every model by its name; `make` gives those that write an engine. CheckpointError for
    weights that are no numbers."""
    models = {
        name: load(path, device or None, dtype or None, "refuse") for name, path in table.items()
    }
    return {name: served(name, lm, make) for name, lm in models.items()}


def served(name: str, lm: LM, make: Make) -> Served:
    """One model: it does the task that it was taught, else it writes, else it gives vectors; what
    does none of these can still be looked into."""
    tuned = task_of(lm)
    place, kind = lm.model.device.type, str(next(lm.model.parameters()).dtype).split(".")[-1]
    if tuned is None and (lm.answers or lm.writer is not None):
        engine, what = make(lm)
        return writing(name, lm, engine, f"{place}, {what}")
    about = f"{place}, {kind}"
    if tuned is None and (tuned := vectors_of(lm)) is not None:
        about += ", not taught: means of its last layer"
    return Served(name, lm, tuned=tuned, about=about)


def writing(name: str, lm: LM, engine: Engine, about: str = "") -> Served:
    """A model that writes with this engine."""
    trial = Trial(engine.grammars)

    def now() -> Load:
        stats = engine.stats
        used = 1 - stats.free_blocks / max(1, stats.blocks)
        cached, read = stats.cached_tokens, stats.prompt_tokens
        return Load(stats.running, stats.waiting, used, cached, read)

    def check(request: Request) -> None:
        engine.prepare(dataclasses.replace(request, constraint=None))
        if request.constraint is not None:
            trial(request.constraint)

    return Served(
        name,
        lm,
        Service(engine),
        load=now,
        check=check,
        rows=engine.config.rows,
        context=engine.context,
        about=about,
    )


def engines(config: EngineConfig, weights: Weights = "auto") -> Make:
    """Engines of one configuration, with the runner that is asked for or that a probe picks."""

    def make(lm: LM) -> tuple[Engine, str]:
        told: list[str] = []
        engine = make_engine(lm, config, weights, tell=told.append)
        return engine, " ".join(told).removeprefix("decoding: ")

    return make
