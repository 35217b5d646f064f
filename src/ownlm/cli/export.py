"""`ownlm export MODEL --to gguf|onnx --out PATH`: a model for other programs, checked.

What was written is opened again and compared with the model: logits, tokens, chat template, the
ids that end a text. A file that fails is removed.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ownlm.cli.options import parse
from ownlm.config import Config

if TYPE_CHECKING:
    from ownlm.evaluation.finding import Finding

MARKS = {True: ("pass", "green"), False: ("FAIL", "bold red"), None: ("-", "dim")}


class ExportOptions(Config):
    """Write a model for llama.cpp or ONNX runtimes, and compare what was written with it."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Model folder, run folder or GGUF file; merge an adapter first (`ownlm merge`)."""
    out: str
    """The file, NAME.gguf, or the folder for ONNX."""
    to: Literal["gguf", "onnx"] = "gguf"
    """gguf: one file for llama.cpp. onnx: a folder with model.onnx (tokens to logits or hidden
    states, without a cache) and its tokenizer, of encoders and classifiers too."""
    numbers: Literal["F16", "Q8_0", "F32"] = "F16"
    """Of a GGUF file's matrices: 16 bits, 8 bits in blocks of 32, or 32 bits. ONNX has 32."""
    json_output: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False
    """Print what was found, or the error, as one line of JSON."""


def run(args: list[str]) -> int:
    """The command; returns the exit code, 1 where a check failed."""
    options = parse(ExportOptions, args, prog="ownlm export", description=__doc__)
    from ownlm.recipes.export import export_gguf, export_onnx, passed, whole_model

    lm, out = whole_model(options.model), Path(options.out)
    to_gguf = options.to == "gguf"
    findings = export_gguf(lm, out, options.numbers) if to_gguf else export_onnx(lm, out)
    good = passed(findings)
    if options.json_output:
        rows = [finding.as_dict() for finding in findings]
        kept = str(out) if good else None
        print(json.dumps({"out": kept, "passed": good, "checks": rows}, ensure_ascii=False))
    else:
        _show(findings, out, good)
    return 0 if good else 1


def _show(findings: "list[Finding]", out: Path, good: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table("check", "measured", "allowed", "", "", box=None, pad_edge=False)
    for finding in findings:
        mark, style = MARKS[finding.passed]
        below = ": ".join(text for text in (finding.unit, finding.detail) if text)
        grid.add_row(
            Text(finding.name), _number(finding.measured), _number(finding.allowed),
            Text(mark, style), Text(below, "dim"),
        )  # fmt: skip
    Console(highlight=False).print(grid)
    if good:
        print(f"\n{out}: written, and as the model in every check.")
    else:
        failed = sum(finding.passed is False for finding in findings)
        print(f"\n{failed} of {len(findings)} checks failed: {out} was not kept.")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
