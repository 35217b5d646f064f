"""Prepared data on disk: token files that are mapped into memory, and the facts about them.

    DATA/dataset.json             format, tokenizer, sizes of both splits
    DATA/train-00000.bin ...      token ids, uint16 below 65,536 ids, otherwise uint32
    DATA/train.documents.bin      int64, where each document starts in the stream of tokens
    DATA/validation-00000.bin ... the same for the text kept out of training
    DATA/tokenizer/               the tokenizer that made the ids
    DATA/report.json              what was found in the corpus and what was left out
    DATA/manifest.json            size and SHA-256 of every file; written last

All numbers are little-endian. Each document is followed by the end-of-text id. Documents with
control codes begin with theirs; of pairs the source too is followed by the end-of-text id.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ownlm import files
from ownlm.errors import DataError

FACTS = "dataset.json"
REPORT = "report.json"
TOKENIZER = "tokenizer"
SPLITS = ("train", "validation")
FORMAT = 1

Int64s = npt.NDArray[np.int64]


def id_type(vocab_size: int) -> str:
    """The smallest type on disk that holds every token id."""
    return "<u2" if vocab_size <= 1 << 16 else "<u4"


class SplitWriter:
    """Writes the stream of one split: shards of a fixed number of tokens, and document starts."""

    def __init__(self, folder: Path, name: str, kind: str, shard_tokens: int, eos: int) -> None:
        self._folder, self._name, self._kind = folder, name, kind
        self._shard_tokens, self._eos = shard_tokens, eos
        self.shards: list[int] = []  # tokens of each shard
        self.tokens = self.text_bytes = self.documents = 0
        self._starts = open(folder / f"{name}.documents.bin", "wb")  # noqa: SIM115 (closed by finish)
        self._shard: BinaryIO | None = None

    def start_document(self, code: int | None = None) -> None:
        """End the document before, if any, and begin another, with its control code."""
        if self.documents:
            self._append(np.array([self._eos], self._kind))
        self._starts.write(np.array([self.tokens], "<i8").tobytes())
        self.documents += 1
        if code is not None:
            self._append(np.array([code], self._kind))

    def add(self, ids: list[int], text_bytes: int) -> None:
        """Append tokens to the current document."""
        self._append(np.array(ids, self._kind))
        self.text_bytes += text_bytes

    def finish(self) -> dict[str, Any]:
        """Close all files; returns the facts for `dataset.json`."""
        if self.documents:
            self._append(np.array([self._eos], self._kind))
        self._starts.close()
        if self._shard:
            self._shard.close()
        names = ("tokens", "text_bytes", "documents", "shards")
        return {name: getattr(self, name) for name in names}

    def _append(self, ids: npt.NDArray[Any]) -> None:
        while len(ids):
            if self._shard is None or self.shards[-1] == self._shard_tokens:
                self._open_shard()
            room = self._shard_tokens - self.shards[-1]
            assert self._shard
            self._shard.write(ids[:room].tobytes())
            written = min(room, len(ids))
            self.shards[-1] += written
            self.tokens += written
            ids = ids[room:]

    def _open_shard(self) -> None:
        if self._shard:
            self._shard.close()
        path = self._folder / shard_name(self._name, len(self.shards))
        self._shard = open(path, "wb")  # noqa: SIM115 (closed by finish)
        self.shards.append(0)


def shard_name(split: str, number: int) -> str:
    """'train', 3 -> 'train-00003.bin'."""
    return f"{split}-{number:05d}.bin"


class TokenStream:
    """One split as one long array of token ids, mapped from its shards."""

    def __init__(
        self,
        folder: Path,
        name: str,
        facts: dict[str, Any],
        kind: str,
        bounds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.tokens, self.text_bytes = int(facts["tokens"]), int(facts["text_bytes"])
        counts = [int(count) for count in facts["shards"]]
        paths = [folder / shard_name(name, number) for number in range(len(counts))]
        self._shards = [_mapped(path, kind, count) for path, count in zip(paths, counts)]
        self._ends = np.cumsum([0, *counts])[1:]
        self.starts: Int64s = _mapped(folder / f"{name}.documents.bin", "<i8", facts["documents"])
        # Where parts end that came from several corpora; of a single one, the end of all.
        self.bounds: Int64s = np.array(bounds or [self.tokens], np.int64)
        if sum(counts) != self.tokens:
            raise DataError(f"shards hold {sum(counts):,} tokens, {self.tokens:,} are stated")

    def gather(self, begins: npt.ArrayLike, length: int) -> Int64s:
        """Windows of the stream: (N,) offsets -> (N, length) token ids."""
        begins = np.asarray(begins, np.int64)
        self._require_inside(begins, length)
        shard = np.searchsorted(self._ends, begins, side="right")
        whole = begins + length <= self._ends[shard]
        windows = np.empty((len(begins), length), np.int64)
        for number in np.unique(shard[whole]):
            rows = np.flatnonzero(whole & (shard == number))
            first = self._ends[number] - len(self._shards[number])
            # One gather over a view of all windows of the shard, none of which is copied before.
            view = np.lib.stride_tricks.sliding_window_view(self._shards[number], length)
            windows[rows] = view[begins[rows] - first]
        for row in np.flatnonzero(~whole):
            windows[row] = self._across(int(begins[row]), length)
        return windows

    def documents(self, begins: npt.ArrayLike, length: int) -> npt.NDArray[np.int32]:
        """The document of each token of the same windows, counted from 1 within each window.

        The end-of-text token belongs to the document it ends.
        """
        begins = np.asarray(begins, np.int64)
        self._require_inside(begins, length)
        first = np.searchsorted(self.starts, begins, side="right")
        counts = np.searchsorted(self.starts, begins + length, side="left") - first
        rows = np.repeat(np.arange(len(begins)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        marks = np.zeros((len(begins), length), np.int32)
        marks[:, 0] = 1
        marks[rows, self.starts[first[rows] + within] - begins[rows]] = 1
        return np.cumsum(marks, axis=1, dtype=np.int32)

    def heads(self, begins: npt.ArrayLike) -> Int64s:
        """The first token of the document that each of the places is in: (N,)."""
        documents = np.searchsorted(self.starts, np.asarray(begins, np.int64), side="right") - 1
        firsts = (self._across(int(start), 1)[0] for start in self.starts[documents])
        return np.fromiter(firsts, np.int64, len(documents))

    def _across(self, begin: int, length: int) -> npt.NDArray[Any]:
        """A window that lies in more than one shard."""
        parts = []
        while length:
            number = int(np.searchsorted(self._ends, begin, side="right"))
            at = begin - int(self._ends[number]) + len(self._shards[number])
            parts.append(self._shards[number][at : at + length])
            begin, length = begin + len(parts[-1]), length - len(parts[-1])
        return np.concatenate(parts)

    def _require_inside(self, begins: Int64s, length: int) -> None:
        inside = length > 0 and (
            not len(begins) or (begins.min() >= 0 and begins.max() + length <= self.tokens)
        )
        assert inside, f"window outside the {self.tokens} tokens of {self.name}"


@dataclass(frozen=True)
class PreparedData:
    """A folder of prepared data, opened."""

    folder: Path
    manifest: dict[str, Any]  # dataset.json
    train: TokenStream
    validation: TokenStream
    tokenizer_digest: str
    digest: str  # SHA-256 over the token files and the tokenizer: equal data, equal digest

    @property
    def holds(self) -> str:
        """What the documents are: "text", text behind "codes", or "pairs"; of several corpora
        that of each, "text + pairs"."""
        parts = self.manifest.get("parts", [self.manifest])
        return " + ".join(str(part.get("holds", "text")) for part in parts)

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer that made the tokens lies."""
        return self.folder / TOKENIZER

    @property
    def report(self) -> dict[str, Any]:
        """What was found in the corpus (`CorpusReport.as_dict`)."""
        found: dict[str, Any] = json.loads((self.folder / REPORT).read_text(encoding="utf-8"))
        return found


def is_prepared(folder: Path) -> bool:
    """Whether `folder` was written by `ownlm prepare` (not whether it is undamaged)."""
    return (folder / FACTS).is_file()


def open_prepared(folder: Path, *, verify: bool = False) -> PreparedData:
    """Open prepared data; sizes are always compared with the manifest, hashes with `verify`.

    Raises DataError that names every damaged file with what was expected and what is there.
    """
    if not is_prepared(folder):
        raise DataError(
            "no prepared data here",
            where=str(folder),
            next_command=f"ownlm prepare TEXT --out {folder}",
        )
    faults = (files.folder_faults(folder) if verify else []) or _size_faults(folder)
    if faults:
        raise DataError(
            "prepared data is damaged:\n  " + "\n  ".join(faults),
            where=str(folder),
            next_command=f"prepare it again: ownlm prepare TEXT --out {folder}",
        )
    facts, kind = _read_facts(folder / FACTS)
    train, validation = (
        TokenStream(
            folder, name, facts[name], kind, [part[name] for part in facts.get("parts", [])]
        )
        for name in SPLITS
    )
    return PreparedData(
        folder, facts, train, validation, facts["tokenizer_digest"], _digest(folder, facts)
    )


def _read_facts(path: Path) -> tuple[dict[str, Any], str]:
    """`dataset.json` and the type of its token ids; DataError when it is not as we write it."""
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, kind = facts["format"], id_type(int(facts["vocab_size"]))
        str(facts["tokenizer_digest"])
        for split in (facts[name] for name in SPLITS):
            if (
                min([split["tokens"], split["text_bytes"], split["documents"], *split["shards"]])
                < 0
            ):
                raise ValueError("a negative size")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"not a description of prepared data ({type(error).__name__}: {error})"
        raise DataError(what, where=str(path)) from None
    if version != FORMAT:
        raise DataError(f"format {version}; this ownlm reads {FORMAT}", where=str(path))
    return facts, kind


def _size_faults(folder: Path) -> list[str]:
    """Files that are not as large as the manifest says; quick, since no file is read."""
    try:
        manifest = json.loads((folder / files.MANIFEST).read_text(encoding="utf-8"))
        expected = {folder / name: int(entry["bytes"]) for name, entry in manifest.items()}
        expected[folder / FACTS]  # a manifest without it is none of ours
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        what = "missing, or no list of the files of prepared data"
        return files.folder_faults(folder) or [f"{folder / files.MANIFEST}: {what}"]
    found = {path: path.stat().st_size if path.is_file() else None for path in expected}
    return [
        f"{path}: {'missing' if found[path] is None else f'{found[path]:,} bytes'}, "
        f"expected {size:,} bytes"
        for path, size in expected.items()
        if found[path] != size
    ]


def _digest(folder: Path, facts: dict[str, Any]) -> str:
    manifest = json.loads((folder / files.MANIFEST).read_text(encoding="utf-8"))
    hashes = {name: entry["sha256"] for name, entry in manifest.items() if name.endswith(".bin")}
    text = json.dumps([facts["tokenizer_digest"], hashes], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _mapped(path: Path, kind: str, count: int) -> npt.NDArray[Any]:
    """`count` numbers of a file; an empty file cannot be mapped and is an empty array."""
    if count == 0:
        return np.empty(0, kind)
    if path.stat().st_size != count * np.dtype(kind).itemsize:
        raise DataError(
            f"{path.stat().st_size:,} bytes do not hold {count:,} numbers", where=str(path)
        )
    return np.memmap(path, kind, mode="r", shape=(count,))
