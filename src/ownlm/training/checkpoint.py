"""Checkpoints: folders that a person can read and a crash cannot tear.

    checkpoints/step-00001000/
        config.json, model.safetensors, tokenizer.json, ...   a model folder, loadable as such
        optimizer.safetensors     float32: master.NAME, first.NAME, second.NAME
        state.json                the step, what was chosen, what the run was told
        manifest.json             size and SHA-256 of each of these

The masters are kept under the names of this program although the model folder holds the same
numbers: to resume exactly, no conversion may stand in between, and a bf16 run has rounded the
others. No random state: all that is random follows from the seed and the step.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ownlm import files
from ownlm.config import Config
from ownlm.errors import CheckpointError
from ownlm.models.adapt import adapted
from ownlm.training.config import Choices

TENSORS, STATE, PIN = "optimizer.safetensors", "state.json", "keep"


class State(Config):
    """All of a run that is not a tensor."""

    format: int = 1
    step: int
    """Updates done."""
    sequences: int
    """Position in the data: sequences read."""
    tokens: int
    """Tokens read."""
    samples_digest: str
    """Chained SHA-256 over the ids of all samples in their order."""
    seed: int
    choices: Choices
    identity: dict[str, str]
    """Digests of the data and the tokenizer that the run is bound to."""
    run: dict[str, Any]
    """The complete configuration."""


def name_of(step: int) -> str:
    """Names sort by step, whatever the clock did."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """The step in a checkpoint's name."""
    return int(folder.name.removeprefix("step-"))


def checkpoints(parent: Path) -> list[Path]:
    """Published checkpoints, oldest step first; whether they are whole is not looked at."""
    found = [p for p in parent.glob("step-*") if p.name[5:].isdecimal() and p.is_dir()]
    return sorted(found, key=step_of)


def write(
    folder: Path,
    state: State,
    tensors: dict[str, Tensor],
    save_model: Callable[[Path], None],
) -> None:
    """Publish a checkpoint and read it back; `save_model` writes the model folder's files.

    Raises DiskError, with the earlier checkpoints as they were, and CheckpointError when the
    disk does not give back what was written.
    """

    def fill(partial: Path) -> None:
        save_model(partial)
        save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, partial / TENSORS)
        files.write_json(partial / STATE, state.model_dump(mode="json"))

    files.publish_folder(folder, fill)
    require_whole(folder)


def require_whole(folder: Path) -> None:
    """CheckpointError that lists every file which is not as it was written."""
    faults = files.folder_faults(folder)
    if faults:
        raise CheckpointError(
            "damaged checkpoint: " + "; ".join(faults),
            where=str(folder),
            kept="every file, as it is",
            next_command="--resume auto, which goes on from the newest checkpoint that is whole",
        )


def read_state(folder: Path) -> State:
    """The state of a checkpoint; CheckpointError when it cannot be this checkpoint's."""
    path = folder / STATE
    try:
        state = State.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"cannot be read: {reason}", where=str(path)) from None
    if state.step != step_of(folder):
        raise CheckpointError(
            f"is of step {state.step}, the folder's name says {step_of(folder)}", where=str(path)
        )
    return state


def restore(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Fill `tensors` in place from a checkpoint; CheckpointError lists all that do not fit."""
    path = folder / TENSORS
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            faults = _mismatches({n: tuple(t.shape) for n, t in tensors.items()}, found)
            if faults:
                raise CheckpointError("another model: " + "; ".join(faults), where=str(path))
            for name, tensor in tensors.items():
                tensor.copy_(file.get_tensor(name))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(path)) from None


def _mismatches(
    expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]
) -> list[str]:
    names = sorted(expected.keys() | found.keys())
    return [
        f"{name}: expected {expected.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in names
        if expected.get(name) != found.get(name)
    ]


def retire(parent: Path, keep: int, best: int | None) -> None:
    """Delete what is not among the newest `keep`, not the `best` step, and not pinned.

    Call it after the newest one was read back whole. A checkpoint is pinned by a file named
    `keep` in it.
    """
    for folder in checkpoints(parent)[:-keep]:
        if step_of(folder) != best and not (folder / PIN).exists():
            files.remove_folder(folder)


def model_bytes(model: nn.Module) -> int:
    """What the model folder in a checkpoint takes: of adapters only what trains is written."""
    every = not adapted(model)
    return sum(p.nbytes for p in model.parameters() if every or p.requires_grad)


def export_model(folder: Path, final: Path) -> None:
    """Publish the model folder inside a checkpoint as `final`, unless it is there already."""
    manifest = json.loads((folder / files.MANIFEST).read_text(encoding="utf-8"))
    wanted = {name: entry for name, entry in manifest.items() if name not in {TENSORS, STATE}}
    there = final / files.MANIFEST
    if there.exists() and json.loads(there.read_text(encoding="utf-8")) == wanted:
        return

    def fill(partial: Path) -> None:
        for name in wanted:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, partial / name)

    files.publish_folder(final, fill)
