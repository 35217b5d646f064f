"""`ownlm merge ADAPTER --out FOLDER`: an adapter and its base as one plain model, checked."""

import json
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from ownlm import log
from ownlm.cli.options import parse
from ownlm.config import Config
from ownlm.errors import ConfigError


class MergeOptions(Config):
    """Add an adapter to its base. The merged model must answer as the two did, or nothing is
    written."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ADAPTER")]
    """Adapter folder, ours or PEFT's, or the run that made it."""
    out: str
    """Folder for the merged model."""
    base: str = ""
    """The model that the adapter was trained on; empty: the one that it names."""
    tolerance: float = Field(default=0.0, ge=0)
    """Largest difference of an answer, as a share of the largest one; 0: that of the number
    format, 1e-5 in float32."""
    json_output: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False
    """Print what was found, or the error, as one line of JSON."""


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(MergeOptions, args, prog="ownlm merge", description=__doc__)
    import torch

    from ownlm.files import require_writable
    from ownlm.inference.find import find_model
    from ownlm.inference.language_model import load_tokenizer_of
    from ownlm.models.adapters import is_adapter
    from ownlm.models.load import save_model
    from ownlm.models.merge import merge
    from ownlm.models.with_adapter import load_with_adapter

    folder = find_model(Path(options.model))
    if not is_adapter(folder):
        raise ConfigError(
            "no adapter: this model is whole already",
            where=options.model,
            next_command="name the run or folder of a --adapt.kind lora, dora or qlora",
        )
    out = Path(options.out)
    require_writable(out)
    model = load_with_adapter(folder, options.base, dtype=torch.float32)
    found = merge(model, tolerance=options.tolerance or None)
    save_model(model, out)
    load_tokenizer_of(options.model).save(out)
    if options.json_output:
        print(json.dumps({"out": str(out), **found._asdict()}))
    else:
        log.say(f"{out}: {found.report}")
    return 0
