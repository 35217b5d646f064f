"""Writing that survives a crash: whole files or none, hashed, on disk before they are named.

Everything ownlm must not lose goes through here. The rules: write beside the target, flush
to the device, then rename; a folder gets its manifest last and its final name after that.
So a reader sees the old state or the new one, never a mixture.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ownlm.errors import DiskError

MANIFEST = "manifest.json"


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` at once; a crash leaves the old file or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    with disk_errors(path):
        make_folder(path.parent)
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by UTF-8 `text` at once.

    A path that is no UTF-8 may be part of `text`; its odd bytes come out as escapes, which in
    JSON and YAML are read back as the same path.
    """
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by indented JSON at once."""
    write_text(path, _json_text(value))


def _json_text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def make_folder(path: Path) -> None:
    """Create a folder and those above it that are missing; their names are durable."""
    missing = []
    place = path
    while not os.path.isdir(place):
        missing.append(place)
        place = place.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Make a file that another library wrote durable."""
    with disk_errors(path), open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable; where the system has no such call, do nothing."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    """Make every file below `folder`, and every name, durable."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            sync_file(path)
    sync_folder(folder)


def _hidden(path: Path, role: str) -> Path:
    return path.with_name(f".{path.name}.{role}")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish_folder(final: Path, fill: Callable[[Path], None]) -> None:
    """Create folder `final` in one step: `fill` writes into a hidden sibling, which is renamed.

    A manifest with the size and SHA-256 of every file is written last. A folder without a
    valid manifest was never finished. An older `final` is moved aside, not deleted, until the
    new one has its name: after a crash between the two renames `recover_folder` puts it back.
    """
    partial, aside = _hidden(final, "partial"), _hidden(final, "replaced")
    with disk_errors(final):
        make_folder(final.parent)
        recover_folder(final)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        fill(partial)
        _sync_tree(partial)
        write_json(partial / MANIFEST, folder_manifest(partial))
        if final.exists():
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(final, aside)
        os.replace(partial, final)
        sync_folder(final.parent)
        shutil.rmtree(aside, ignore_errors=True)


def recover_folder(final: Path) -> None:
    """Give `final` its name back if a crash fell between the two renames of its replacement."""
    aside = _hidden(final, "replaced")
    if aside.is_dir() and not final.exists():
        with disk_errors(final):
            os.replace(aside, final)
            sync_folder(final.parent)


def remove_folder(folder: Path) -> None:
    """Delete a published folder: hidden first, so that a crash never leaves half of one."""
    doomed = _hidden(folder, "removed")
    with disk_errors(folder):
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(folder, doomed)
        sync_folder(folder.parent)
        shutil.rmtree(doomed, ignore_errors=True)


def sweep_folder(parent: Path) -> None:
    """Clear what crashes left hidden in `parent`: unfinished folders and half-deleted ones."""
    for left in sorted(parent.glob(".*")):
        if left.suffix == ".replaced":
            recover_folder(left.with_name(left.stem[1:]))
        if left.suffix in {".partial", ".replaced", ".removed"}:
            shutil.rmtree(left, ignore_errors=True)


def folder_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file below `folder`, by relative name."""
    return {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def folder_faults(folder: Path) -> list[str]:
    """What is wrong with a published folder, one sentence a file; empty when all is well.

    Every bit counts, the manifest's own too: its values are compared with the files, and the
    rest of its text follows from its values. Files it does not name are left alone.
    """
    manifest = folder / MANIFEST
    try:
        text = manifest.read_text(encoding="utf-8")
        expected = json.loads(text)
        entries = {name: (int(e["bytes"]), str(e["sha256"])) for name, e in expected.items()}
    except FileNotFoundError:
        return [f"{manifest}: missing, the folder was never finished"]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        return [f"{manifest}: cannot be read ({type(error).__name__})"]
    faults = [] if text == _json_text(expected) else [f"{manifest}: changed since it was written"]
    for name, (size, digest) in entries.items():
        path = folder / name
        if not _inside(name):
            faults.append(f"{manifest}: names a file outside the folder, {name!r:.80}")
        elif not path.is_file():
            faults.append(f"{path}: missing")
        elif path.stat().st_size != size:
            faults.append(f"{path}: {path.stat().st_size} bytes, expected {size}")
        elif (found := sha256(path)) != digest:
            faults.append(f"{path}: sha256 {found[:16]}…, expected {digest[:16]}…")
    return faults


def _inside(name: str) -> bool:
    """Whether a name of a manifest stays in its folder: a run may come from anyone."""
    return not (os.path.isabs(name) or os.path.splitdrive(name)[0]) and (
        ".." not in name.replace("\\", "/").split("/")
    )


def require_space(folder: Path, needed: int) -> None:
    """Refuse early when `needed` bytes will not fit; DiskError states both numbers."""
    free = free_bytes(folder)
    if free < needed:
        raise DiskError(
            f"needs {_exact(needed)}, {_exact(free)} free",
            where=str(folder),
            next_command="free some room, or choose another place with --out",
        )


def free_bytes(path: Path) -> int:
    """Room where `path` is or will be."""
    # os.path, since Path.is_dir raises where a folder above may not be searched.
    place = next((p for p in (path, *path.parents) if os.path.isdir(p)), Path("/"))
    return shutil.disk_usage(place).free


def require_writable(folder: Path) -> None:
    """Create `folder` and prove that a file can be written there, before any work is done."""
    try:
        with disk_errors(folder):
            make_folder(folder)
            probe = folder / f".write-test-{os.getpid()}"  # its own: another may try just now
            probe.write_bytes(b"")
            probe.unlink()
    except FileNotFoundError as error:  # a place that takes no files, such as /proc
        what = "no file can be made here"
        raise DiskError(what, where=str(folder), next_command=_ELSEWHERE) from error


def readable(count: float) -> str:
    """Bytes for people: 1536 -> '1.5 KB'."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def _exact(count: int) -> str:
    return f"{count:,} bytes ({readable(count)})"


_ELSEWHERE = "choose another place with --out"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_TROUBLE = _FULL | {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.EIO,
}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals to write into a DiskError with the free space.

    Libraries written in Rust (safetensors, tokenizers) raise classes of their own that carry
    the system's number in the text, as in "No space left on device (os error 28)".
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else _system_number(error)
        if number not in _DISK_TROUBLE:
            raise
        full = number in _FULL
        free = f" ({_exact(free_bytes(path))} free)" if full else ""
        raise DiskError(
            f"cannot write: {os.strerror(number)}{free}",
            where=str(getattr(error, "filename", None) or path),
            kept="what was published before this write",
            next_command="free some room, then --resume" if full else _ELSEWHERE,
        ) from error


def _system_number(error: Exception) -> int | None:
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found.group(1)) if found else None
