"""The files of a corpus: found in a fixed order, opened safely, noticed when they change."""

import contextlib
import errno
import fnmatch
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ownlm.data.document import Whole
from ownlm.data.faults import Bad, Fault

TEXT_KINDS = (".txt", ".md", ".py")  # one document a file
ROW_KINDS = (".jsonl", ".csv", ".parquet")  # one document a row
KINDS = TEXT_KINDS + ROW_KINDS
COMPRESSIONS = (".gz", ".zst")


@dataclass(slots=True)
class Source:
    """One file that will be read, and its state when it was found."""

    path: str  # the real place; may hold bytes that are not UTF-8
    name: str  # relative to the corpus, as shown to people and written into reports
    kind: str  # one of KINDS, or of pairs.PAIR_KINDS
    compression: str  # one of COMPRESSIONS or empty
    number: int  # of the file on its disk (inode)
    size: int
    modified: int  # nanoseconds
    refused: bool = False  # set when the scan saw it change
    whole: Whole | None = None  # of a file that is one document, once it has been measured
    other: "Source | None" = None  # of two aligned files, the one that holds the targets

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file, read from its start; Bad when it is no plain file or changes meanwhile."""
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
        with _removal_is_a_change():
            handle = os.open(self.path, flags | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            self._require_unchanged(os.fstat(handle))
            yield file
        with _removal_is_a_change():
            self._require_unchanged(os.lstat(self.path))

    def _require_unchanged(self, now: os.stat_result) -> None:
        if not stat.S_ISREG(now.st_mode) or _state(now) != (self.number, self.size, self.modified):
            raise Bad("changed", f"changed while it was read ({self.size} -> {now.st_size} bytes)")


def _state(now: os.stat_result) -> tuple[int, int, int]:
    """What must stay the same: number on the disk, size, time of the last change."""
    return now.st_ino, now.st_size, now.st_mtime_ns


@contextlib.contextmanager
def _removal_is_a_change() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Bad("changed", "was removed after it had been listed") from None
    except OSError as error:
        raise Bad("unreadable", f"cannot be opened: {error.strerror}") from None


@dataclass
class Found:
    """What a folder held: files to read, refusals, and how many others by their ending."""

    base: str = ""  # what to put before a relative name so that it can be opened
    sources: list[Source] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def discover(root: Path, pattern: str = "", kinds: tuple[str, ...] = KINDS) -> Found:
    """Every file of some kinds at or below `root`, in the order of the bytes of its relative name.

    Hidden files are passed over. Links to folders are never followed; a link to a file is,
    when it stays inside `root` and its target is not read under its own name anyway.
    """
    real = Path(os.path.realpath(root))
    found = Found(shown(os.path.join(root if real.is_dir() else root.parent, "")))
    if not real.is_dir():
        _admit(found, real, str(real), root.name, kinds)
    for path in _walk(real, found) if real.is_dir() else ():
        relative = os.path.relpath(path, real).replace(os.sep, "/")
        if not pattern or fnmatch.fnmatch(relative, pattern):
            _admit(found, real, path, relative, kinds)
    found.sources.sort(key=lambda one: os.fsencode(one.name))
    found.faults.sort()
    for one in found.sources:
        one.name = shown(one.name)
    return found


def kind_of(name: str, kinds: tuple[str, ...] = KINDS) -> tuple[str, str] | None:
    """'a.jsonl.gz' -> ('.jsonl', '.gz'); None for a file that is not read."""
    stem, ending = os.path.splitext(name.lower())
    compression = ending if ending in COMPRESSIONS else ""
    kind = os.path.splitext(stem)[1] if compression else ending
    if kind not in kinds or (compression and kind == ".parquet"):
        return None
    return kind, compression


def shown(path: str) -> str:
    """A path as printable text: bytes that are not UTF-8, and line ends, become escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _walk(root: Path, found: Found) -> Iterator[str]:
    """Paths of all files and links below `root` that are not hidden, without recursion."""
    folders = [str(root)]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            name = shown(os.path.relpath(folder, root))
            found.faults.append(
                Fault("unreadable", name, "", f"cannot be listed: {error.strerror}")
            )
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                yield entry.path


def _admit(found: Found, root: Path, path: str, relative: str, kinds: tuple[str, ...]) -> None:
    """Add one path to what was found: as a source, as a fault, or as ignored."""
    kind, ending = kind_of(relative, kinds), os.path.splitext(relative)[1].lower()
    link = os.path.islink(path)
    dangling = link and not ending and not os.path.exists(path)
    if kind or dangling or (link and os.path.isdir(path)):
        try:
            state = os.stat(path)
            if link:
                path = _follow(root, path, stat.S_ISDIR(state.st_mode), kinds)
            if kind and path:
                found.sources.append(source(path, relative, kind, state))
                return
        except OSError as error:
            fault = Bad("link" if link else "unreadable", _link_trouble(error))
            found.faults.append(fault.at(shown(relative)))
            return
        except Bad as bad:
            found.faults.append(bad.at(shown(relative)))
            return
    found.ignored[ending or "no ending"] += 1


def source(path: str, name: str, kind: tuple[str, str], state: os.stat_result) -> Source:
    """A plain file as a source; Bad names what it is instead."""
    if not stat.S_ISREG(state.st_mode):
        special = _SPECIAL.get(stat.S_IFMT(state.st_mode), "a special file")
        raise Bad("not-a-file", f"{special}, not a plain file")
    return Source(path, name, *kind, *_state(state))


def _follow(root: Path, link: str, folder: bool, kinds: tuple[str, ...]) -> str:
    """The real path of a link's target; empty when the target is read under its own name."""
    target = Path(os.path.realpath(link))
    if folder and target in Path(link).parents:
        raise Bad("link", "symbolic link in a loop: it points to a folder above itself")
    if not target.is_relative_to(root):
        raise Bad("link", "symbolic link out of the corpus: copy the text into it")
    hidden = any(part.startswith(".") for part in target.relative_to(root).parts)
    return str(target) if not folder and (hidden or not kind_of(target.name, kinds)) else ""


def _link_trouble(error: OSError) -> str:
    reasons = {errno.ENOENT: "dangling symbolic link", errno.ELOOP: "symbolic link in a loop"}
    return reasons.get(error.errno or 0) or f"cannot be read: {error.strerror}"


_SPECIAL = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
