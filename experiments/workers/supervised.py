"""A worker as the pool knows it: its process, what it holds, and how long it may take."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from .channel import Channel

START_LIMIT = 300.0
"""Seconds a worker may take to import, load its data and say ready."""


@dataclass(eq=False)
class Worker:
    """`trial`: the one it holds. `since`: when it was started or given that. `stopped`: why it was
    told to end, if it was."""

    number: int
    channel: Channel
    device: str
    pid: int | None = None
    since: float = field(default_factory=time.monotonic)
    trial: int | None = None
    ready: bool = False
    stopped: str = ""

    @property
    def waited_for(self) -> bool:
        return not self.ready or self.trial is not None

    def deadline(self, timeout: float | None) -> float:
        """When what it does has to be over, by the monotonic clock; `timeout`: seconds that an
        evaluation may take, None for no limit."""
        # Killed already: a deadline in the past would make every wait return at once.
        if self.stopped or not self.waited_for:
            return math.inf
        if not self.ready:
            return self.since + START_LIMIT
        return math.inf if timeout is None else self.since + timeout

    def too_late(self, timeout: float | None) -> str:
        limit = f"trial_timeout, {timeout:g} s" if self.ready else f"{START_LIMIT:g} s"
        return f"took longer than {limit}, and was stopped"
