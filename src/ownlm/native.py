"""Small C++ files built on first use with the compiler at hand; PyTorch does the work without one.

A library is compiled for exactly this processor and kept in the user's cache folder under a
name that hashes source, compiler, flags and processor. Nothing is downloaded, and a failed
build is never an error: callers ask, get None, and take their plain path.
"""

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = ("-O3", "-std=c++17", "-march=native", "-fPIC", "-fopenmp", "-fno-math-errno")

_reasons: dict[str, str] = {}


@functools.cache
def library(source: Path, extra_flags: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The compiled `source`, or None when it cannot be built or loaded (see `why_not`).

    OpenMP is left unlinked on purpose: the symbols resolve to the runtime that torch has
    loaded, so both share one pool of threads. Import torch before calling.
    """
    if sys.platform != "linux":
        _reasons[source.name] = f"native code is built on Linux only, this is {sys.platform}"
        return None
    compiler = _compiler()
    if compiler is None:
        _reasons[source.name] = "no C++ compiler (g++ or clang++) found"
        return None
    target = cache_folder() / f"{source.stem}-{_fingerprint(source, compiler, extra_flags)}.so"
    try:
        if not target.exists():
            _build(compiler, source, extra_flags, target)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        _reasons[source.name] = str(detail).strip().splitlines()[0] if detail else "build failed"
        return None


def why_not(source: Path) -> str:
    """Why `library(source)` is None, for the line that says which path was chosen."""
    return _reasons.get(source.name, "")


def _compiler() -> str | None:
    names = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def cache_folder() -> Path:
    """Where things made once for this user and machine are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "ownlm" / "native"


def _fingerprint(source: Path, compiler: str, extra_flags: tuple[str, ...]) -> str:
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    texts = (file.read_text() for file in _with_included(source))
    parts = (*texts, version, *FLAGS, *extra_flags, platform.machine(), _processor())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _with_included(source: Path) -> list[Path]:
    """A source and what it includes from its own folder, each once."""
    found = [source]
    for file in found:  # grows
        names = re.findall(r'^#include "(.+)"$', file.read_text(), re.M)
        found += [path for name in names if (path := source.parent / name) not in found]
    return found


def _processor() -> str:
    """The instruction sets of this processor: a cache on a shared disk serves unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _build(compiler: str, source: Path, extra_flags: tuple[str, ...], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        part, built = Path(folder) / "part.o", Path(folder) / "built.so"
        compile_line = [compiler, *FLAGS, *extra_flags, "-c", str(source), "-o", str(part)]
        for line in (compile_line, [compiler, "-shared", str(part), "-o", str(built)]):
            subprocess.run(line, capture_output=True, text=True, check=True, timeout=300)
        os.replace(built, target)  # at once, so that a second process never loads half a file
