"""What a pool of workers tells the search: an epoch is over, a score, a failure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """Epoch `epoch` of `trial` is over. The worker may wait for `WorkerPool.verdict`."""

    trial: int
    epoch: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Scored:
    trial: int
    score: float
    metrics: Mapping[str, float]
    curve: tuple[float, ...]
    pruned: bool


@dataclass(frozen=True)
class Failed:
    trial: int
    reason: str


Event = Reported | Scored | Failed


def in_words(code: int) -> str:
    """How a process ended, from its exit code (below 0: the signal that ended it)."""
    if code == -signal.SIGKILL:
        return "worker was killed by signal 9 (out of memory?)"
    if code < 0:
        return f"worker was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"worker ended with exit status {code}"
