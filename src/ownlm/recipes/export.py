"""A model written for other programs, read again and compared; what fails is removed."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from ownlm.errors import ConfigError, OwnlmError
from ownlm.evaluation.exported import check_gguf
from ownlm.evaluation.exported_onnx import check_onnx
from ownlm.evaluation.finding import Finding, broke
from ownlm.files import disk_errors, publish_folder, require_writable, sync_folder, write_json
from ownlm.inference.find import find_model
from ownlm.inference.language_model import LM, load
from ownlm.models.adapters import is_adapter
from ownlm.models.gguf_write import Numbers, metadata_of, tensors_of, write_gguf
from ownlm.models.load import saved_config
from ownlm.models.onnx_write import FILE, write_onnx
from ownlm.tokenization.to_gguf import to_gguf


def whole_model(name: str) -> LM:
    """The model to export, in float32 on the CPU; ConfigError for an adapter."""
    if is_adapter(find_model(Path(name))):
        raise ConfigError(
            "an adapter is no whole model",
            where=name,
            next_command=f"ownlm merge {name} --out FOLDER, and then export that folder",
        )
    return load(name, device="cpu", dtype=torch.float32)


def export_gguf(lm: LM, out: Path, numbers: Numbers) -> list[Finding]:
    """Write `out` and compare it; the file stands there only if every check passed."""
    if out.suffix != ".gguf":
        raise ConfigError("a GGUF file is named so", where=str(out), next_command=f"{out}.gguf")
    metadata = {
        "general.name": lm.folder.name if lm.folder else lm.model.family.name,
        **metadata_of(lm.model, numbers),
        **to_gguf(lm.tokenizer, lm.model.vocab, lm.turn_ids),
    }
    require_writable(out.parent)
    partial = out.with_name(f".partial-{out.name}")
    try:
        write_gguf(partial, metadata, list(tensors_of(lm.model, numbers)))
        findings = _tried(lambda: check_gguf(lm, partial, numbers))
        if passed(findings):
            with disk_errors(out):
                partial.replace(out)
                sync_folder(out.parent)
    finally:
        partial.unlink(missing_ok=True)
    return findings


class _Unlike(Exception):
    """A folder that is not to be published."""


def export_onnx(lm: LM, out: Path) -> list[Finding]:
    """The same as a folder: the model in ONNX, beside it its tokenizer, and its configuration,
    which names the classes of a classifier."""
    if out.exists() and not (out / FILE).is_file():
        raise ConfigError(
            "is there already, and no folder that was exported",
            where=str(out),
            next_command="name another folder with --out",
        )
    found: list[Finding] = []

    def fill(folder: Path) -> None:
        write_onnx(lm.model, folder / FILE)
        write_json(folder / "config.json", saved_config(lm.model))
        lm.tokenizer.save(folder)
        found.extend(_tried(lambda: check_onnx(lm, folder)))
        if not passed(found):
            shutil.rmtree(folder)
            raise _Unlike

    with contextlib.suppress(_Unlike):
        publish_folder(out, fill)
    return found


def passed(findings: list[Finding]) -> bool:
    """Whether nothing failed."""
    return all(finding.passed is not False for finding in findings)


def _tried(check: Callable[[], list[Finding]]) -> list[Finding]:
    """What the checks found; a file that cannot even be opened has failed."""
    try:
        return check()
    except OwnlmError as error:
        return [broke("opened again", error)]
