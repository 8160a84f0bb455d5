"""What a pool of workers tells the search: an epoch is over, a score, a failure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import RunError


@dataclass(frozen=True)
class Reported:
    """Epoch `epoch` of `trial` is over. The worker may wait for `WorkerPool.verdict`."""

    trial: int
    epoch: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Scored:
    """The evaluation has ended with a score; `pruned`: a verdict has ended it before its time.

    `curve`: the score after each epoch, empty where the evaluator has none.
    """

    trial: int
    score: float
    metrics: Mapping[str, float]
    curve: tuple[float, ...]
    pruned: bool


@dataclass(frozen=True)
class Failed:
    """The evaluation has given no score; `reason` says why, in one line."""

    trial: int
    reason: str


Event = Reported | Scored | Failed


_MOST_STARTS = 4
"""Starts in a row that a signal may cut short before a worker is ready: more are no accident."""


class Starts:
    """How workers start: one that is killed on the way is replaced, until it is plainly no use."""

    def __init__(self, log: Path) -> None:
        self._log, self._cut_short = log, 0

    def ready(self) -> None:
        """One is ready, so they can start."""
        self._cut_short = 0

    def cut_short(self, code: int, reason: str) -> None:
        """One has ended with the exit code `code` before. RunError where another would too."""
        self._cut_short += 1
        if code >= 0 or self._cut_short >= _MOST_STARTS:
            raise self.error(reason)

    def error(self, reason: str) -> RunError:
        return RunError(f"workers do not start: {reason}; see {self._log}")


def in_words(code: int) -> str:
    """How a process ended, from its exit code (below 0: the signal that ended it)."""
    if code == -signal.SIGKILL:
        return "worker was killed by signal 9 (out of memory?)"
    if code < 0:
        return f"worker was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"worker ended with exit status {code}"
