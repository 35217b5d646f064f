"""What this machine offers and how a process settles on it: device, number format, memory.

Nothing here runs at import. Commands call `settle_memory` before they allocate tensors and
`describe` to say what they found.
"""

import ctypes
import functools
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ownlm.errors import ConfigError

if TYPE_CHECKING:
    import torch

_HUGE_PAGE = 2 << 20
_MADV_HUGEPAGE = 14
# glibc's mallopt parameters (malloc.h)
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


@functools.cache
def settle_memory(reserve_bytes: int = 0) -> str:
    """Keep big tensors on the heap, and the heap on huge pages; returns what was done.

    glibc maps every tensor above 32 MB anew and pays its page faults each time, which costs a
    training step 10 to 40 %. Three settings make it reuse memory instead. `reserve_bytes` of
    heap are then marked for 2 MB pages (address space only, no memory is taken).
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return "allocator of the system"
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 256 << 20))
    if not all(libc.mallopt(*setting) for setting in settings):
        return "allocator of the system"
    if reserve_bytes and _mark_huge(libc, reserve_bytes):
        return "heap reused, 2 MB pages"
    return "heap reused"


def _mark_huge(libc: ctypes.CDLL, size: int) -> bool:
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    block = libc.malloc(size)
    if not block:
        return False
    start = -(-block // _HUGE_PAGE) * _HUGE_PAGE
    marked = libc.madvise(start, size - _HUGE_PAGE, _MADV_HUGEPAGE) == 0
    libc.free(block)
    return bool(marked)


def pick_device(wanted: str = "") -> "torch.device":
    """The device asked for, else CUDA, else Apple's GPU, else the CPU.

    ConfigError, before any work is done, for one that this machine or this torch cannot use.
    """
    import torch

    if wanted:
        return _usable(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _usable(wanted: str) -> "torch.device":
    import torch

    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0].partition(" device type at start of")[0]
        raise ConfigError(
            f"{wanted} cannot be used: {reason}",
            where="device",
            next_command="use cpu, or leave the device open",
        ) from None
    return device


def pick_dtype(wanted: "str | torch.dtype | None") -> "torch.dtype | None":
    """The number format of a name; None stays open. ConfigError for a name that is unknown."""
    import torch

    names = {
        "float32": torch.float32, "fp32": torch.float32, "bfloat16": torch.bfloat16,
        "bf16": torch.bfloat16, "float16": torch.float16, "fp16": torch.float16,
    }  # fmt: skip
    if wanted is None or isinstance(wanted, torch.dtype):
        return wanted
    if wanted not in names:
        raise ConfigError(
            f"{wanted!r} is unknown", where="dtype", next_command=f"one of {', '.join(names)}"
        )
    return names[wanted]


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets of the processor as Linux names them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    line = next((x for x in lines if x.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].split())


def fast_bf16(device: "torch.device") -> bool:
    """Whether products in bf16 run on hardware made for them."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(cpu_flags() & {"amx_bf16", "avx512_bf16", "bf16"})


def core_count() -> int:
    """Cores this process may use (containers and taskset respected)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Physical memory, or the container's limit when that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return total
    return min(total, limit)


def free_memory() -> int:
    """Bytes that can be had without pushing anything out; 0 where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(x for x in lines if x.startswith("MemAvailable:"))
        free = int(line.split()[1]) << 10
    except (OSError, ValueError, StopIteration):
        return 0
    try:
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, max(0, memory_bytes() - used))


@dataclass(frozen=True)
class Machine:
    """The line that reports and benchmarks print about where a figure was measured."""

    system: str
    processor: str
    cores: int
    memory: int
    device: str
    torch: str

    def __str__(self) -> str:
        return (
            f"{self.device}, {self.processor}, {self.cores} cores, "
            f"{self.memory / 2**30:.0f} GiB, {self.system}, torch {self.torch}"
        )


def describe(device: "torch.device") -> Machine:
    """This machine, in words."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    system = f"{platform.system()} {platform.release()}"
    return Machine(system, model, core_count(), memory_bytes(), name, torch.__version__)
