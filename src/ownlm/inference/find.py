"""Which folder or file is meant by the name of a model or of a run."""

import re
from pathlib import Path

from ownlm.errors import CheckpointError
from ownlm.models.adapters import is_adapter
from ownlm.models.gguf import is_gguf

_STEP = re.compile(r"step-(\d+)$")


def find_model(path: Path) -> Path:
    """The model folder or GGUF file that `path` means; CheckpointError says what was looked for."""
    if is_gguf(path):
        return path
    if (path / "config.json").is_file() or is_adapter(path):
        return path
    if (path / "model" / "config.json").is_file():
        return path / "model"
    checkpoints = [c for c in path.glob("checkpoints/step-*") if (c / "config.json").is_file()]
    if checkpoints:
        return max(checkpoints, key=_step)
    if not path.exists():
        what = "no such folder"
    elif path.is_file():
        what = "a file, but no GGUF file (.gguf)"
    elif (path / "checkpoints").is_dir() or (path / "recipe.yaml").is_file():
        what = "this run has no model/ and no checkpoint yet"
    else:
        what = "neither a model folder (config.json) nor a run folder (model/, checkpoints/)"
    raise CheckpointError(
        what,
        where=str(path),
        next_command="name a folder that `ownlm pretrain` or transformers' save_pretrained wrote",
    )


def _step(checkpoint: Path) -> int:
    found = _STEP.search(checkpoint.name)
    return int(found.group(1)) if found else -1
