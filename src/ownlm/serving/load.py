"""Models from disk, ready to be served."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ownlm.errors import ConfigError
from ownlm.inference.config import EngineConfig
from ownlm.inference.engine import Engine
from ownlm.inference.language_model import LM, load
from ownlm.inference.service import Service
from ownlm.serving.served import Load, Served, task_of

Make = Callable[[LM], Engine]


def load_served(
    table: Mapping[str, Path],
    make: Make,
    device: str = "",
    dtype: str = "",
) -> dict[str, Served]:
    """Every model by its name; `make` gives those that write an engine. CheckpointError for
    weights that are no numbers; ConfigError for a model that neither writes nor does a task."""
    models = {
        name: load(path, device or None, dtype or None, "refuse") for name, path in table.items()
    }
    return {name: served(name, lm, make) for name, lm in models.items()}


def served(name: str, lm: LM, make: Make) -> Served:
    """One model."""
    tuned = task_of(lm)
    place, kind = lm.model.device.type, str(next(lm.model.parameters()).dtype).split(".")[-1]
    if tuned is None and (lm.answers or lm.writer is not None):
        return writing(name, lm, make(lm), place)
    if tuned is None:
        raise ConfigError(
            f"{lm.model.family.name} neither writes texts nor was it taught a task",
            where=str(lm.folder),
            next_command="teach it one: ownlm finetune TASK MODEL --data PATH",
        )
    return Served(name, lm, tuned=tuned, about=f"{place}, {kind}")


def writing(name: str, lm: LM, engine: Engine, place: str = "cpu") -> Served:
    """A model that writes with this engine."""

    def now() -> Load:
        stats = engine.stats
        used = 1 - stats.free_blocks / max(1, stats.blocks)
        cached, read = stats.cached_tokens, stats.prompt_tokens
        return Load(stats.running, stats.waiting, used, cached, read)

    return Served(
        name,
        lm,
        Service(engine),
        load=now,
        check=engine.prepare,
        rows=engine.config.rows,
        context=engine.context,
        about=f"{place}, {chosen(engine)}, {engine.config.rows} texts at once",
    )


def chosen(engine: Engine) -> str:
    """With what an engine computes."""
    told = getattr(engine.runner, "about", "")
    return str(told) or type(engine.runner).__name__.removesuffix("Runner").lower() + " runner"


def engines(config: EngineConfig) -> Make:
    """Engines of one configuration."""
    return lambda lm: Engine(lm, config)
