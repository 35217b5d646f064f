"""The demonstration's text: what every Python installation carries, so nothing is downloaded.

Two kinds of documents, in an order that depends on names only: the language reference's
topics (`pydoc_data.topics`, what `help("yield")` shows) and the standard library's own
source with its docstrings. About 8 MB on CPython 3.11.
"""

import json
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ownlm import files
from ownlm.errors import DataError

CORPUS = "python.jsonl"
"""Name of the file that `write_corpus` makes."""

SMALLEST = 500_000
"""Bytes of text below which a demonstration would show nothing."""

OMITTED = frozenset(
    "site-packages dist-packages test tests idlelib_test __pycache__ "  # not the library itself
    "encodings idlelib distutils lib2to3 turtledemo ensurepip "  # tables, programs, removed parts
    "pydoc_data entities.py".split()
)
"""Folders and files of the standard library that are left out, by the name of any part."""


class Document(NamedTuple):
    """One text and where it came from: `topic/yield` or `lib/json/decoder.py`."""

    name: str
    text: str


class CorpusSummary(NamedTuple):
    """What was written: the file, its documents by kind, and the UTF-8 bytes of their text."""

    path: Path
    topics: int
    sources: int
    text_bytes: int


def write_corpus(folder: Path, library: Path | None = None) -> CorpusSummary:
    """Write the text as `folder`/python.jsonl, one row {"text", "name"} a document.

    The same installation always gives the same bytes. `library` stands in for the standard
    library's folder. Raises DataError where the installation carries too little text, as
    embedded Pythons do that ship neither `pydoc_data` nor source files.
    """
    topics = list(topic_documents())
    sources = list(source_documents(library or Path(sysconfig.get_path("stdlib"))))
    text_bytes = sum(len(document.text.encode()) for document in topics + sources)
    if text_bytes < SMALLEST:
        raise DataError(
            f"this Python carries {files.readable(text_bytes)} of text "
            f"({len(topics)} help topics, {len(sources)} source files of its library), "
            f"the demonstration needs {files.readable(SMALLEST)}",
            where=sysconfig.get_path("stdlib") if library is None else str(library),
            next_command="use a full Python from python.org or your system's python3 packages, "
            "or train on your own text: ownlm pretrain demo --data FOLDER",
        )
    rows = (json.dumps({"text": d.text, "name": d.name}) for d in topics + sources)
    path = folder / CORPUS
    files.write_text(path, "".join(row + "\n" for row in rows))
    return CorpusSummary(path, len(topics), len(sources), text_bytes)


def topic_documents() -> Iterator[Document]:
    """The language reference's help topics, sorted by name; none where they are not installed."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return
    for name in sorted(topics):
        yield Document(f"topic/{name}", topics[name].strip() + "\n")


def source_documents(library: Path) -> Iterator[Document]:
    """The library's readable, non-empty source files, sorted by path."""
    for path in sorted(library.rglob("*.py"), key=lambda p: p.relative_to(library).as_posix()):
        name = path.relative_to(library)
        if not OMITTED.isdisjoint(name.parts) or name.name.startswith("_sysconfigdata"):
            continue  # the latter holds this machine's compiler flags
        if (text := _source(path)).strip():
            yield Document(f"lib/{name.as_posix()}", text)


def _source(path: Path) -> str:
    """A source file's text by its own coding line; empty where it is none (PEP 263)."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""
