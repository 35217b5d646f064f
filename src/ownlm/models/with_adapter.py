"""An adapter folder opened: the model that it was made for, its head, and the additions on top."""

from pathlib import Path
from typing import Any

import torch

from ownlm.errors import CheckpointError
from ownlm.models.adapters import BITS, CONFIG, PREFIX, TASKS, WEIGHTS, load_adapter
from ownlm.models.gguf import is_gguf
from ownlm.models.hf_config import Reader, read_config
from ownlm.models.load import empty_model, load_any, sketched
from ownlm.models.model import Model
from ownlm.models.rehead import load_with_head, under_head
from ownlm.models.tensors import read_header
from ownlm.models.weights import plan


def load_with_adapter(
    folder: Path | str,
    base: Path | str = "",
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Model:
    """The model in an adapter folder, in evaluation mode.

    `base` is the model that the adapter was trained on, by default the one that the folder names.
    Raises CheckpointError where that is not there, or the adapter does not fit it.
    """
    folder = Path(folder)
    source = base_of(folder, base)
    values, bare = sketched(source)
    wanted = _wanted(folder, bare)
    target = empty_model(bare.family, wanted or values, str(folder / "config.json"))
    if target.architecture == bare.architecture:
        model, _ = load_any(source, device, dtype)
    else:
        head, labels = target.architecture.form, _labels(target)
        model = load_with_head(
            source, head, seed=0, labels=labels, device=device, dtype=dtype
        ).model
    bits = wanted.get(BITS, 0)
    if wanted:
        model.config = {key: value for key, value in wanted.items() if key != BITS}
    load_adapter(model, folder, bits if bits in (4, 8) else 0)
    return model.eval()


def base_of(folder: Path, base: Path | str = "") -> Path:
    """The model folder or GGUF file below an adapter; CheckpointError says how to name it.

    A relative path counts from where the program runs, or else from the adapter's folder.
    """
    named = str(base) or read_config(folder, CONFIG).get("base_model_name_or_path")
    places = [Path(named), folder / named] if isinstance(named, str) and named else []
    for place in places:
        if is_gguf(place) or (place / "config.json").is_file():
            return place
    raise CheckpointError(
        f"the adapter's base model is not here: {named!r:.200}",
        where=str(base) or str(folder / CONFIG),
        next_command="--base FOLDER, the model that the adapter was trained on",
    )


def _wanted(folder: Path, bare: Model) -> dict[str, Any]:
    """config.json of the adapted model: as the folder has it, or, in a folder of PEFT's, the base's
    under the head that its task needs; empty: the base's own."""
    if (folder / "config.json").is_file():
        return read_config(folder)
    task = Reader(read_config(folder, CONFIG), str(folder / CONFIG)).values.get("task_type")
    head = next((head for head, name in TASKS.items() if name == task), "")
    if not head or head == bare.architecture.form:
        return {}
    made = empty_model(bare.family, under_head(bare, head, 2), str(folder))
    stored = read_header(folder / WEIGHTS)
    for item in plan(made, made.family.names(made.architecture)):
        entry = stored.get(PREFIX + item.pieces[0].theirs)
        if item.ours == "task.out.weight" and entry is not None:
            return under_head(bare, head, entry.shape[0])
    return made.config


def _labels(model: Model) -> list[str]:
    named = model.config.get("id2label")
    return [str(label) for label in named.values()] if isinstance(named, dict) else []
