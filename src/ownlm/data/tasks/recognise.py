"""Which files there are, what each is, and which split its name tells: before any task."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ownlm.data.faults import Fault
from ownlm.data.sources import Source, discover, shown
from ownlm.data.tasks.columns import read_conll, read_conllu
from ownlm.data.tasks.config import Task, TaskDataConfig
from ownlm.data.tasks.folders import (
    SPLITS,
    classes,
    read_class,
    read_document,
    read_two_files,
    split_of,
)
from ownlm.data.tasks.objects import read_json
from ownlm.data.tasks.rows import Reading, read_lines
from ownlm.data.tasks.tables import is_even, read_table
from ownlm.errors import ConfigError, DataError

COLUMNS = (".conll", ".bio", ".iob", ".iob2", ".annotated")
KINDS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".conllu", *COLUMNS)
_BY_ENDING: dict[str, str] = {".csv": "table", ".tsv": "table", ".json": "json",
    ".jsonl": "json", ".conllu": "conllu"} | dict.fromkeys(COLUMNS, "conll")  # fmt: skip
_READERS: dict[str, Callable[[Source, str, TaskDataConfig], Reading]] = {
    "table": read_table, "json": read_json, "conll": read_conll, "conllu": read_conllu,
    "folders": read_document,
}  # fmt: skip


class Part(NamedTuple):
    """One file: how people know it, the split it is stated to be, and what it held."""

    name: str
    split: str
    reading: Reading


class _File(NamedTuple):
    source: Source
    name: str
    split: str


def read_parts(config: TaskDataConfig, task: Task) -> tuple[list[Part], list[Fault]]:
    """Every file read, and the faults of files that cannot be.

    Raises DataError where there is nothing, where formats are mixed, and where a format or a
    split cannot be told.
    """
    if config.target_path:
        if task != "seq2seq" or config.validation_path or config.test_path:
            raise ConfigError(
                "two files are parallel text, divided by seed",
                where="data.target_path",
                next_command="--task seq2seq, without validation and test paths",
            )
        reading = read_two_files(config)
        return [Part(shown(config.path), "", reading)], []
    files, faults = _find(config)
    formats = {file.name: _format(file, files, task, config) for file in files}
    first = {kind: name for name, kind in reversed(formats.items())}
    if len(first) > 1:
        listed = ", ".join(f"{name} ({kind})" for kind, name in first.items())
        raise DataError(
            f"several formats: {listed}",
            where=shown(config.path),
            next_command="name one file, or some of them: --data.files 'PATTERN'",
        )
    labels = classes([file.source.name for file in files])
    parts = []
    for file, label in zip(files, labels, strict=True):
        if formats[file.name] == "lines":
            reading = read_class(file.source, file.name, label, config)
        else:
            reading = _READERS[formats[file.name]](file.source, file.name, config)
        parts.append(Part(file.name, file.split, reading))
    return parts, faults


def _find(config: TaskDataConfig) -> tuple[list[_File], list[Fault]]:
    """All files of the three paths, with the splits that paths and names state."""
    stated = {"validation": config.validation_path, "test": config.test_path}
    given = {split: path for split, path in stated.items() if path}
    files, faults = _below(config.path, config)
    named = [file._replace(split="train") for file in files]
    files = named if given else _by_names(files, config)
    for split, path in given.items():
        more, wrong = _below(path, config)
        files += [file._replace(split=split) for file in more]
        faults += wrong
    return files, faults


def _below(path: str, config: TaskDataConfig) -> tuple[list[_File], list[Fault]]:
    if not path or not os.path.lexists(path):
        what = "no such file or folder" if path else "no data given"
        raise DataError(what, where=shown(path), next_command="name a file or folder of examples")
    found = discover(Path(path), config.files, KINDS)
    faults = [fault._replace(path=found.base + fault.path) for fault in found.faults]
    if not found.sources and not faults:
        others = ", ".join(f"{n} {ending}" for ending, n in found.ignored.most_common(5))
        raise DataError(
            f"no file that is read here (found: {others or 'nothing'})",
            where=shown(path),
            next_command=f"give {' '.join(KINDS)}, also as .gz or .zst",
        )
    return [_File(one, found.base + one.name, "") for one in found.sources], faults


def _by_names(files: list[_File], config: TaskDataConfig) -> list[_File]:
    """Files with the splits of their names, where one is train and the configuration allows."""
    told = [split_of(file.source.name) for file in files]
    if config.split == "random" or len(files) < 2 or "train" not in told:
        if config.split == "names":
            raise DataError("no file is named train", where=shown(config.path),
                            next_command="name one so, or --data.split random")  # fmt: skip
        return files
    if without := [file.name for file, split in zip(files, told) if not split]:
        raise DataError(
            f"some files are named train, dev or test, others not: {', '.join(without[:5])}",
            where=shown(config.path),
            next_command="rename these, choose with --data.files, or --data.split random",
        )
    return [file._replace(split=split) for file, split in zip(files, told)]


def _format(file: _File, files: list[_File], task: Task, config: TaskDataConfig) -> str:
    """What a file is: as stated, by its ending, and of plain text by where it lies and tabs."""
    kind = file.source.kind
    if config.format != "auto":
        return config.format
    if task == "tag" and kind in (".txt", ".tsv"):
        return "conll"
    if kind != ".txt":
        return _BY_ENDING[kind]
    folders = [part for part in os.path.dirname(file.source.name).split("/") if part]
    if any(part.lower() not in SPLITS for part in folders):
        return "folders"
    beginning = read_lines(file.source, file.name, config, [])[:500]
    if is_even(beginning, "tab"):
        return "table"
    if task == "classify" and sum(other.source.kind == ".txt" for other in files) > 1:
        return "lines"
    raise DataError(
        "plain text that holds no labels: neither columns between tabs nor a file a class",
        where=file.name,
        next_command="state what it is: --data.format table, conll, lines or json",
    )
