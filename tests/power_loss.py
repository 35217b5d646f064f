"""A disk that loses power: it fails before the n-th operation, and forgets what was not synced.

Inside `with FragileDisk(root, crash_at=n)` every operation that changes something below `root`
is counted; before number n `PowerLoss` is raised, and from then on every further operation, so
that no `finally` can tidy up what a dead process would have left. With `forget=True` the state
is then made as bad as the rules of POSIX allow: bytes after the last fsync of a file are torn
off half way, and names that were made or changed since the last fsync of their folder go back.
"""

import builtins
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = set("wax+")


class PowerLoss(BaseException):
    """The machine is off; nothing may catch this."""


class FragileDisk:
    def __init__(
        self, root: Path, crash_at: int | None = None, *, forget: bool = False, armed: bool = True
    ) -> None:
        self.root, self.crash_at, self.forget, self.armed = root, crash_at, forget, armed
        self.operations: list[str] = []
        self.dead = False
        self.synced: dict[str, int] = {}  # file -> bytes that are surely on the device
        self.names: list[tuple[str, Callable[[], None]]] = []  # parent folder -> how to undo
        self._originals: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> "FragileDisk":
        real = self.real = {
            name: getattr(os, name)
            for name in "fsync replace rename unlink remove rmdir mkdir truncate ftruncate".split()
        }
        self.real_open = builtins.open
        self._patch(builtins, "open", self._open)
        self._patch(io, "open", self._open)
        self._patch(os, "fsync", self._fsync)
        self._patch(os, "mkdir", self._mkdir)
        for name in ("replace", "rename"):
            self._patch(os, name, self._renamer(real[name]))
        for name in ("unlink", "remove", "rmdir", "truncate", "ftruncate"):
            self._patch(os, name, self._plain(name))
        return self

    def __exit__(self, *error: object) -> None:
        for owner, name, original in reversed(self._originals):
            setattr(owner, name, original)

    def wrap_writer(self, owner: Any, name: str) -> None:
        """Count `owner.name(data, path, ...)`, a library's own way to write a file."""
        original = getattr(owner, name)

        def write(data: Any, path: Any, *args: Any, **more: Any) -> None:
            self._before(f"{name} {path}")
            original(data, path, *args, **more)
            self._touch(str(path), new=True)
            self.synced[str(path)] = 0
            self._before(f"{name} {path}, written")

        self._patch(owner, name, write)

    def _patch(self, owner: Any, name: str, new: Any) -> None:
        self._originals.append((owner, name, getattr(owner, name)))
        setattr(owner, name, new)

    def _before(self, operation: str) -> None:
        if not self.armed:
            return
        if self.dead:
            raise PowerLoss(operation)
        if len(self.operations) == self.crash_at:
            if self.forget:
                self.armed = False  # what the device forgets is no operation of the program
                self._forget()
                self.armed = True
            self.dead = True
            raise PowerLoss(operation)
        self.operations.append(operation)

    def _forget(self) -> None:
        for path, size in self.synced.items():
            if os.path.isfile(path) and os.path.getsize(path) > size:
                self.real["truncate"](path, (size + os.path.getsize(path)) // 2)
        for _, undo in reversed(self.names):
            undo()

    def _inside(self, path: Any) -> str:
        """The absolute path when it lies below the root, else ''."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        text = os.path.abspath(os.fsdecode(path))
        return text if text.startswith(str(self.root)) else ""

    def _touch(self, path: str, new: bool) -> None:
        if new and path != str(self.root):
            self.names.append((os.path.dirname(path), lambda: self._gone(path)))

    def _gone(self, path: str) -> None:
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            self.real["unlink"](path)

    def _open(self, path: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
        inside = "" if isinstance(path, int) else self._inside(path)
        if not inside or not WRITING & set(mode):
            return self.real_open(path, mode, *args, **more)
        self._before(f"open {inside}")
        new = not os.path.exists(inside)
        keeps = "a" in mode or "+" in mode
        self._touch(inside, new)
        self.synced.setdefault(inside, os.path.getsize(inside) if keeps and not new else 0)
        assert "b" in mode, "text files would need a shim of their own"
        # Without a buffer, so that closing writes nothing behind our back.
        return _File(self, inside, self.real_open(path, mode, buffering=0))

    def _fsync(self, file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        path = self._inside(number)
        self._before(f"fsync {path}")  # and nothing else: no real plug is pulled
        if os.path.isdir(path):
            self.names = [(parent, undo) for parent, undo in self.names if parent != path]
        elif path:
            self.synced[path] = os.path.getsize(path)

    def _mkdir(self, path: Any, *args: Any, **more: Any) -> None:
        inside = self._inside(path)
        if inside:
            self._before(f"mkdir {inside}")
        self.real["mkdir"](path, *args, **more)
        if inside:
            self._touch(inside, new=True)

    def _renamer(self, real: Callable[..., None]) -> Callable[..., None]:
        def rename(source: Any, target: Any, **more: Any) -> None:
            old, new = self._inside(source), self._inside(target)
            self._before(f"rename {old} {new}")
            replaced = self.real_open(new, "rb").read() if os.path.isfile(new) else None
            real(source, target, **more)
            self._rekey(old, new)

            def undo() -> None:
                real(new, old)
                if replaced is not None:
                    with self.real_open(new, "wb") as file:
                        file.write(replaced)

            self.names.append((os.path.dirname(new), undo))

        return rename

    def _rekey(self, old: str, new: str) -> None:
        for path in [p for p in self.synced if p == old or p.startswith(old + "/")]:
            self.synced[new + path[len(old) :]] = self.synced.pop(path)

        def moved(parent: str) -> str:
            return new + parent[len(old) :] if (parent + "/").startswith(old + "/") else parent

        # A pending name inside a moved folder is undone after the move itself was undone, so
        # its closure keeps the old path; only what an fsync of the folder settles is renamed.
        self.names = [(moved(parent), undo) for parent, undo in self.names]

    def _plain(self, name: str) -> Callable[..., None]:
        def call(path: Any, *args: Any, **more: Any) -> None:
            folder = more.get("dir_fd")
            target = path if folder is None else os.path.join(_folder_of(folder), path)
            if self._inside(target):
                self._before(f"{name} {target}")
            self.real[name](path, *args, **more)

        return call


class _File:
    """An unbuffered file whose writes can fail half way."""

    def __init__(self, disk: FragileDisk, path: str, file: Any) -> None:
        self._disk, self._path, self._file = disk, path, file

    def write(self, data: Any) -> int:
        data = bytes(data)
        half = len(data) // 2
        self._disk._before(f"write {self._path}")
        self._file.write(data[:half])
        self._disk._before(f"write {self._path}, second half")
        self._file.write(data[half:])
        return len(data)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _folder_of(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")
