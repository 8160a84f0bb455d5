"""Which device, its random state, its peak of memory, and what running out of it looks like."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import torch

from ..search_space import InputError


def check_device(name: str) -> None:
    """InputError for what names no device, whether or not this machine has one."""
    if not isinstance(name, str) or not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", name):
        raise InputError("device", name, "choose from: auto, cpu, cuda, cuda:<index>")


def resolve_device(name: str) -> torch.device:
    """ "auto" (a GPU where there is one), "cpu", "cuda", "cuda:<index>" as a device that exists."""
    check_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = f"cuda:0 to cuda:{count - 1}" if count else "no CUDA device"
            raise InputError("device", name, f"this machine has cpu and {there}")
        # With its index spelled out, the device can be compared and its random state found.
        device = torch.device("cuda", device.index or 0)
    return device


def resolve_devices(name: str) -> list[torch.device]:
    """Every device that a config's `device` stands for: of "auto" and "cuda" all GPUs there are."""
    first = resolve_device(name)
    if first.type == "cpu" or name not in ("auto", "cuda"):
        return [first]
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def select_device(device: torch.device, share: float = 1.0) -> None:
    """Make a GPU this process's current one, of whose memory it takes this share at most.

    For a process that works on one device alone. Without it, whatever asks for "the" GPU (streams,
    captures, libraries' handles) gets the first one. A CPU needs none of it.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        if share < 1:
            # So that a worker that wants too much fails itself, and not its neighbours.
            torch.cuda.set_per_process_memory_fraction(share, device)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within it, the device is torch's current one and torch's global generators are seeded;
    afterwards all is as it was before."""
    gpus = [device.index] if device.type == "cuda" else []
    with torch.cuda.device(device) if gpus else nullcontext(), torch.random.fork_rng(devices=gpus):
        # Not torch.manual_seed: it would also seed the GPUs that are not forked here.
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed(seed)
        yield


def cpu_name() -> str:
    """The processor as its maker calls it, or at least its architecture."""
    with suppress(OSError):
        named = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if named:
            return named[1].strip()
    return platform.processor() or platform.machine()


class PeakMemory:
    """The most memory held since this was made: on a GPU by torch, else by the whole process."""

    # Both counters are the process's: a second one of these sets the first one's back as well.
    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known = True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is now what is held
        except OSError:
            self._known = False

    def mebibytes(self) -> float | None:
        """None where the system does not tell."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        if not self._known:
            return None
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) / 2**10 if found else None


def out_of_memory(error: BaseException) -> str | None:
    """The reason in a few words if `error` says that memory ran out, else None."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f"out of memory on the GPU{_wanted(error)}"
    if isinstance(error, MemoryError):
        return "out of memory"
    if not isinstance(error, RuntimeError):
        return None
    if said := re.search(_GPU_SAYS, str(error)):
        return f"out of memory on the GPU: {said[0]}"
    return f"out of memory{_wanted(error)}" if re.search(_CPU_SAYS, str(error)) else None


_GPU_SAYS = (
    r"CUDA error: out of memory|CU(DNN|BLAS)_STATUS_ALLOC_FAILED"
    # cuDNN's, where no plan's workspace can be had (or, rarely, where there is no plan at all).
    r"|(?i:unable to find an engine)"
)
"""What comes from beneath torch's allocator: the driver, and the libraries' own allocations."""

_CPU_SAYS = r"can't allocate memory|out of memory|could not create a (memory object|primitive)"
"""torch's CPU allocator, and oneDNN when it cannot have its scratchpad."""


def _wanted(error: BaseException) -> str:
    found = re.search(r"tried to allocate ([\d.]+) ?(\w+)", str(error), re.IGNORECASE)
    if not found:
        return ""
    size, unit = found[1], found[2]
    if unit == "bytes":
        size, unit = f"{int(size) / 2**20:.0f}", "MiB"
    return f": tried to allocate {size} {unit}"
