"""What of this machine, or of the container that this is, may be used."""

import ctypes
import os
import sys
from pathlib import Path

MEMORY_A_WORKER = 1_500_000_000
"""Bytes that a process takes: the models and a photo of 12 megapixels."""

CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores that this process may use; of a container with a share of them, as many as it is worth."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = _numbers_in("cpu.max") or _numbers_in("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
    if len(share) != 2 or min(share) <= 0:
        return cores
    return max(1, min(cores, round(share[0] / share[1])))


def usable_memory() -> int:
    """Half of this machine's memory, or of what the container may have, in bytes; plenty where nothing tells."""
    limits = [number for name in ("memory.max", "memory/memory.limit_in_bytes") for number in _numbers_in(name)]
    try:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        limits.append(_memory_of_windows() or 2**41)
    return min(limits) // 2


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("physical", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 6),
    )


def _memory_of_windows() -> int:
    """Bytes of memory; 0 on other systems."""
    if sys.platform != "win32":
        return 0
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    known = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.physical) if known else 0


def _numbers_in(*names: str) -> list[int]:
    """The numbers in files of the control group; none where there is no such file, or no limit."""
    found = []
    for name in names:
        try:
            words = (CGROUP / name).read_text().split()
        except (OSError, ValueError):
            return []
        if not words or not all(word.lstrip("-").isdecimal() for word in words):
            return []
        found += [int(word) for word in words]
    return found
