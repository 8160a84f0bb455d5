"""How many workers fit this machine, containers' limits included."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_WORKER_BYTES = 600 * 2**20
"""Room for one worker: torch, small data and a small network in training, with some to spare."""

_GPU_WORKERS = 2
"""Two processes keep one GPU busier than one does, while both fit the memory of small proxies."""


def worker_count(setting: int | str, *, trials: int, device: str) -> int:
    """`setting` is a number or "auto": one a core on CPU as memory allows; never more than trials."""
    if isinstance(setting, int):
        return min(setting, trials)
    if device != "cpu":
        return min(_GPU_WORKERS, trials)
    return max(1, min(_cores(), _free_memory() // _WORKER_BYTES, trials))


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _free_memory() -> int:
    """Bytes; where nothing is known, plenty."""
    free = 2**62
    with suppress(OSError, StopIteration, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        free = int(available.split()[1]) * 1024
    with suppress(OSError, ValueError):
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        if limit != "max":
            free = min(free, int(limit) - used)
    return max(free, 0)
