"""A corpus: any mixture of files as one stream of documents, the same at every reading.

It is scanned before it is read: the scan checks every record, so that by the time a document
is handed out it is known to be sound, together with its hash and its length. Memory stays
bounded whatever the files hold, since a long document comes in pieces.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ownlm.data import streams
from ownlm.data.config import DataConfig
from ownlm.data.document import PIECE, Document, Whole, cut
from ownlm.data.faults import Bad, Fault
from ownlm.data.fields import sound_code
from ownlm.data.hub import find_dataset, looks_like_dataset
from ownlm.data.pairs import ALIGNED, PAIR_KINDS, find_aligned, read_aligned, read_tsv, require_fit
from ownlm.data.readers import READERS
from ownlm.data.report import CorpusReport, Kind, identify_languages
from ownlm.data.sources import KINDS, TEXT_KINDS, Found, Source, discover, shown
from ownlm.errors import DataError

PAIR_READERS = {".tsv": read_tsv, ".txt": read_tsv, ALIGNED: read_aligned}
_FAULTS_SHOWN, _FAULTS_COUNTED = 20, 1000  # before a corpus that must be sound is given up


class Corpus:
    """The documents below a path, or of a dataset of the hub when the configuration is online.

    >>> corpus = Corpus("books/", DataConfig(bad="skip"))
    >>> corpus.report.documents
    >>> for document in corpus: ...

    Raises DataError with path and line for what cannot be used (`bad="fail"`), for too much of
    it (`bad="skip"`), and for a corpus without any text.
    """

    def __init__(self, path: str, config: DataConfig) -> None:
        require_fit(config)
        self.path, self.config = path, config
        self._found = _find(path, config)
        self._report: CorpusReport | None = None

    @property
    def report(self) -> CorpusReport:
        """What the corpus holds; scans it on first use."""
        return self._report or self.scan()

    @property
    def size(self) -> int:
        """Bytes of all its files as they lie on disk."""
        return sum(source.size for source in self._found.sources)

    def scan(self, progress: Callable[[int], None] | None = None) -> CorpusReport:
        """Read and check everything once; `progress` gets the bytes of files done so far."""
        report, done = CorpusReport(ignored=self._found.ignored), 0
        for fault in self._found.faults:
            report.fault(fault)
        for source in self._found.sources:
            report.merge(self._scan_file(source, done, progress))
            done += source.size
            if self.config.bad == "fail" and len(report.skipped) >= _FAULTS_SHOWN:
                break
        _judge(report, self._found.base, shown(self.path), self.config)
        report.languages = identify_languages([text for _, text in sorted(report.sample)])
        self._report = report
        return report

    def __iter__(self) -> Iterator[Document]:
        """Sound documents with text, in the order of the names of their files."""
        if self._report is None:
            self.scan()
        for source in self._found.sources:
            if source.refused:
                continue
            try:
                for item in self._read(source):
                    if isinstance(item, Document) and item.text:
                        yield item
            except Bad as bad:
                if bad.kind == "changed":
                    raise _changed(bad.at(self._found.base + source.name)) from None

    def _scan_file(
        self, source: Source, done: int, progress: Callable[[int], None] | None
    ) -> CorpusReport:
        """The counts of one file; a file that changes meanwhile counts as one fault."""
        part = CorpusReport()
        try:
            for item in self._read(source):
                if isinstance(item, Fault):
                    part.fault(item)
                else:
                    self._count(item, part)
                if progress:
                    progress(done + min(source.size, part.bytes))
                if part.bad >= _FAULTS_COUNTED and self.config.bad == "fail":
                    break
        except Bad as bad:
            if bad.kind == "changed":
                source.refused, part = True, CorpusReport()
            part.fault(bad.at(source.name))
        part.kinds[source.kind + source.compression] = Kind(1, part.documents, part.bytes)
        return part

    def _count(self, piece: Document, report: CorpusReport) -> None:
        if not piece.text:
            report.empty += 1
            return
        if piece.part == 0:
            held_out = piece.held_out(self.config.validation)
            report.document(piece.where, piece.whole.bytes, piece.key, held_out, piece.code)
        report.piece(piece.text, len(piece.text.encode("utf-8")), piece.sample_key)

    def _read(self, source: Source) -> Iterator[Document | Fault]:
        """The pieces of one file; Bad when the file as a whole cannot be read on."""
        try:
            yield from (
                self._read_text(source)
                if source.kind in TEXT_KINDS and not self.config.pairs
                else self._read_rows(source)
            )
        except OSError as error:
            raise Bad("unreadable", f"cannot be read: {error.strerror}") from None

    def _read_rows(self, source: Source) -> Iterator[Document | Fault]:
        with source.open() as file:
            readers = READERS | PAIR_READERS if self.config.pairs else READERS
            for row in readers[source.kind](file, source, self.config):
                if isinstance(row, Fault):
                    yield row
                    continue
                code = row.code or self._code(source)
                whole = measure([row.text])
                if len(row.text) <= PIECE:
                    yield Document(row.text, source.name, row.line, 0, whole, code)
                else:
                    yield from _pieces([row.text], source.name, row.line, whole, code)

    def _read_text(self, source: Source) -> Iterator[Document]:
        """A file that is one document: measured on its first reading, then cut into pieces."""
        if source.whole is None:
            with source.open() as file:
                source.whole = measure(self._text(file, source))
        with source.open() as file:
            text = self._text(file, source)
            yield from _pieces(text, source.name, 0, source.whole, self._code(source))

    def _code(self, source: Source) -> str:
        """The control code that the place of a file gives to what it holds."""
        wanted, (folder, slash, _) = self.config.codes, source.name.partition("/")
        if wanted in ("auto", "folder") and slash:
            return sound_code(folder, "folder")
        if wanted in ("auto", "file"):
            return sound_code(os.path.basename(source.name).split(".")[0], "file")
        if wanted == "folder":
            raise Bad("no-code", "lies in no folder below the path, which would be its code")
        return ""

    def _text(self, file: BinaryIO, source: Source) -> Iterator[str]:
        parts = streams.chunks(file, source.compression, self.config.max_expansion)
        return streams.text(parts, self.config.max_record_bytes)


def measure(parts: Iterable[str]) -> Whole:
    """Hash and lengths of a text that comes in parts."""
    digest, characters, size = hashlib.sha256(), 0, 0
    for part in parts:
        data = part.encode("utf-8")
        digest.update(data)
        characters, size = characters + len(part), size + len(data)
    return Whole(digest.digest(), characters, size)


def _pieces(
    parts: Iterable[str], path: str, line: int, whole: Whole, code: str
) -> Iterator[Document]:
    for part, text in enumerate(cut(parts)):
        yield Document(text, path, line, part, whole, code)


def _find(path: str, config: DataConfig) -> Found:
    """The files that `path` stands for; DataError when there is nothing to read."""
    if not path:
        raise DataError("no text given", next_command="name a file or folder of text")
    if config.pairs and config.target_path:
        return find_aligned(path, config.target_path)
    if not os.path.exists(path) and looks_like_dataset(path):
        return find_dataset(path, config)
    if not os.path.lexists(path):
        raise DataError(
            "no such file or folder", where=path, next_command="name a file or folder of text"
        )
    kinds = PAIR_KINDS if config.pairs else KINDS
    found = discover(Path(path), config.files, kinds)
    if not found.sources and not found.faults:
        others = (
            ", ".join(f"{n} {ending}" for ending, n in found.ignored.most_common(5)) or "nothing"
        )
        raise DataError(
            f"no file that is read here (found: {others})",
            where=path,
            next_command=f"give {' '.join(kinds)}, also as .gz or .zst"
            + ("; .tsv is for pairs: --objective.kind seq2seq" if others == "1 .tsv" else ""),
        )
    return found


def _judge(report: CorpusReport, base: str, place: str, config: DataConfig) -> None:
    """Refuse a corpus with faults (or with too many, when they are skipped), and an empty one."""
    faults = list(report.skipped.values())
    if report.bad and config.bad == "fail":
        where = base + faults[0][1].where
        listed = [f"  {base}{f.where}: {f.reason}" + f" ({n} such)" * (n > 1) for n, f in faults]
        raise DataError(
            "\n".join(listed[:_FAULTS_SHOWN]).removeprefix(f"  {where}: "),
            where=where,
            next_command="mend this, or leave such records out and count them: --data.bad skip",
        )
    if report.bad_fraction() > config.max_bad_fraction:
        raise DataError(
            f"{report.bad:,} of {report.bad + report.documents + report.empty:,} records are bad "
            f"({report.bad_fraction():.1%}, allowed {config.max_bad_fraction:.1%}), "
            f"the first: {base}{faults[0][1].where}: {faults[0][1].reason}",
            where=place,
            next_command="mend them, or allow more: --data.max-bad-fraction",
        )
    if not report.documents:
        raise DataError(
            f"no text: {report.empty:,} empty files or rows, {report.bad:,} bad", where=place
        )


def _changed(fault: Fault) -> DataError:
    return DataError(
        fault.reason,
        where=fault.where,
        kept="nothing was published from this run",
        next_command="let its writer finish, or copy the file, then run again",
    )
