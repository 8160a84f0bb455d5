"""Timing that compares: every candidate in turn, many rounds, medians and spread of the ratios."""

from __future__ import annotations

import ctypes
import datetime
import os
import platform
import re
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import convnas
from convnas.search_space.layers.modules.graph_replay import replayed

Step = Callable[[], object]


def as_graphs(steps: Mapping[str, Step], device: str) -> dict[str, Step]:
    """On a GPU each step as the replay of a CUDA graph, one launch whatever it launches itself."""
    return {name: replayed(step, torch.device(device)) for name, step in steps.items()}


def interleaved(
    steps: Mapping[str, Step], *, rounds: int, seconds: float = 0.01, device: str = "cpu"
) -> dict[str, list[float]]:
    """Milliseconds of each step, once a round, the steps in turn; `seconds`: of one measurement.

    On the CPU it is the processor time of the one thread that computes, which other processes do
    not lengthen as they do the wall clock. On a GPU it is the time between two events.
    """
    repeats = {name: _repeats(step, seconds, device) for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(_measure(step, repeats[name], device))
    return times


def _repeats(step: Step, seconds: float, device: str) -> int:
    for _ in range(3):
        step()
    return max(1, round(seconds * 1e3 / _measure(step, 2, device)))


def _measure(step: Step, repeats: int, device: str) -> float:
    if device == "cuda":
        start, end = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        torch.cuda.synchronize()
        start.record()
        for _ in range(repeats):
            step()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / repeats
    # Results are kept for a while, as in a network: else a candidate that allocates nothing beside
    # its output would get the same memory each time, still in the cache, and look faster.
    kept: deque[object] = deque(maxlen=4)
    began = time.thread_time()
    for _ in range(repeats):
        kept.append(step())
    return (time.thread_time() - began) * 1e3 / repeats


def ratio(times: Mapping[str, list[float]], name: str, base: str) -> dict[str, float]:
    """How many times faster `name` is than `base`: the median over rounds, and its quartiles."""
    ratios = [b / t for t, b in zip(times[name], times[base], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"median": round(middle, 3), "low": round(low, 3), "high": round(high, 3)}


def forward(module: Callable[[Any], Any], x: Any) -> Step:
    def step() -> object:
        with torch.no_grad():
            return module(x)

    return step


def forward_backward(module: torch.nn.Module, x: Tensor | tuple[Tensor, ...]) -> Step:
    """Gradients of input and parameters, the upstream gradient being ones."""
    leaf = tuple(t.detach().requires_grad_() for t in (x if isinstance(x, tuple) else (x,)))
    wanted = [*leaf, *module.parameters()]

    def step() -> object:
        out = module(leaf if isinstance(x, tuple) else leaf[0])
        outs = out if isinstance(out, tuple) else (out,)
        return torch.autograd.grad(outs, wanted, [torch.ones_like(y) for y in outs])

    return step


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep what is freed, as a training process should: returned to the
    system, every large feature map is fetched page by page again. False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    trim_threshold, mmap_max = -1, -4
    return bool(mallopt(trim_threshold, 2**31 - 1) and mallopt(mmap_max, 0))


def conditions(device: str) -> dict[str, Any]:
    """The machine in general words (no host names), the versions, the date, how busy it was."""
    found = {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "convnas": convnas.__version__,
    }
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return found


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    name = re.search(r"model name\s*:\s*(.*)", text)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16") if f" {flag}" in text]
    return f"{name[1] if name else platform.machine()} ({' '.join(flags)})"
