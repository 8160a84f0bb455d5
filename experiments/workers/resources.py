"""How many workers fit this machine, and on which device each: containers' limits included."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_WORKER_BYTES = 500 * 2**20
"""A worker on a CPU, beside its data and its training: torch, allocators, some to spare."""

_GPU_WORKER_BYTES = 700 * 2**20
"""What a process takes on a GPU before it has done anything: context, kernels, workspaces."""

_MOST_ON_A_GPU = 4
"""More processes than this on one GPU hardly keep it busier."""

_COPIES = 3
"""Of the data, while a worker reads, divides and fits it."""


@dataclass(frozen=True)
class Need:
    """Bytes that an evaluation takes, beside the process: in training, and for the data."""

    training: int = 0
    data: int = 0

    @property
    def on_cpu(self) -> int:
        return _WORKER_BYTES + self.training + _COPIES * self.data

    @property
    def on_gpu(self) -> int:
        return _GPU_WORKER_BYTES + self.training + self.data

    @property
    def beside_gpu(self) -> int:
        """In main memory, for a worker on a GPU."""
        return 2 * _WORKER_BYTES + _COPIES * self.data


def worker_slots(
    setting: int | str, *, trials: int, devices: Sequence[str], need: Need | None = None
) -> list[str]:
    """The device of every worker. `setting` is their number, or "auto": as many as fit.

    On a CPU one a core, as memory allows; on GPUs as many on each as its free memory, main memory
    and cores allow. Never more than trials, and always one. Workers take turns over the devices.
    """
    need = need or Need()
    if isinstance(setting, int):
        return [devices[i % len(devices)] for i in range(min(setting, trials))]
    if devices[0] == "cpu":
        fit = min(_cores(), _free_memory() // need.on_cpu, trials)
        return ["cpu"] * max(1, fit)
    free = gpu_memory(devices)
    beside = min(_cores(), _free_memory() // need.beside_gpu)
    return spread(devices, [space // need.on_gpu for space in free], min(beside, trials))


def spread(devices: Sequence[str], fit: Sequence[int], most: int) -> list[str]:
    """One device after another, each as often as it has room, in all `most` at most, and one."""
    # In round i every device with room for more than i workers gets one.
    rounds = range(min(_MOST_ON_A_GPU, max(fit, default=0)))
    slots = [device for i in rounds for device, room in zip(devices, fit, strict=True) if i < room]
    return slots[: max(1, most)] or [devices[0]]


def gpu_memory(devices: Sequence[str]) -> list[int]:
    """Free bytes on each. Asked in a process of its own: whoever asks takes some of it."""
    code = (
        "import sys, torch\n"
        "for name in sys.argv[1:]: print(torch.cuda.mem_get_info(torch.device(name))[0])"
    )
    argv = [sys.executable, "-c", code, *devices]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
        return [int(line) for line in done.stdout.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        # Nothing is known: a guess with room for a small worker or two.
        return [2 * _GPU_WORKER_BYTES] * len(devices)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    # A container's limit on processor time (cgroup v2), which affinity does not show.
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
        # The page cache counts as used: we accept that this may give too few workers.
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        if limit != "max":
            free = min(free, int(limit) - used)
    return max(free, 0)
