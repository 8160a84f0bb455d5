"""Warm worker processes, supervised: what a worker says, and how it ended, come back as events.

A worker that crashes, is killed or hangs past its time costs the one trial it held, with the reason
in words, and is replaced. Leaving the pool's `with` block leaves no process behind.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..search_space.errors import InputError
from .errors import RunError
from .messages import Channel, Message

if TYPE_CHECKING:
    from typing_extensions import Self


_START_LIMIT = 300.0
"""Seconds a worker may take to import, load its data and say ready."""


@dataclass(frozen=True)
class Reported:
    """Epoch `epoch` of `trial` is over. The worker waits for `Pool.verdict` if verdicts are on."""

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


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: Channel
    since: float = field(default_factory=time.monotonic)
    trial: int | None = None
    ready: bool = False


class Pool:
    """`count` worker processes that all hold the evaluator described by `setup`.

    `setup` is JSON-able: evaluator, data, input, classes, device, seed. What workers print goes to
    the file `log`. `timeout` is the limit of one evaluation in seconds, None for no limit.
    """

    def __init__(
        self, count: int, setup: Mapping[str, Any], *, log: Path, timeout: float | None = None
    ) -> None:
        self._count, self._setup, self._log, self._timeout = count, dict(setup), log, timeout
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.push(self.__exit__)
            for _ in range(self._count):
                self._start()
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in list(self._workers):
            self._end(worker, kill=True)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers]

    @property
    def idle(self) -> int:
        """Workers that could take an evaluation now."""
        return sum(worker.ready and worker.trial is None for worker in self._workers)

    @property
    def busy(self) -> int:
        return sum(worker.trial is not None for worker in self._workers)

    def submit(
        self, trial: int, architecture: Mapping[str, Any], *, seed: int, verdicts: bool
    ) -> None:
        """Hand `architecture` to an idle worker; what becomes of it comes back from `wait`."""
        worker = next(w for w in self._workers if w.ready and w.trial is None)
        worker.trial, worker.since = trial, time.monotonic()
        with suppress(OSError):  # a worker that just died is noticed, with its reason, in `wait`
            worker.channel.send(
                "evaluate",
                architecture=dict(architecture),
                seed=seed,
                verdicts=verdicts,
            )

    def verdict(self, trial: int, *, stop: bool) -> None:
        for worker in self._workers:
            if worker.trial == trial:
                with suppress(OSError):
                    worker.channel.send("verdict", stop=stop)

    def wake(self) -> None:
        """Make a `wait` in progress return; safe in a signal handler."""
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    def wait(self, seconds: float) -> list[Event]:
        """What happened, waiting up to `seconds` for something to.

        Raises InputError when a worker cannot use its setup, RunError when workers do not start.
        """
        events: list[Event] = []
        for key, _ in self._selector.select(self._until_deadline(seconds)):
            worker = key.data
            if worker is None:
                os.read(self._wake_read, 4096)
                continue
            messages = worker.channel.receive()
            if messages is None:
                events += self._replace(worker, self._death(worker))
            else:
                events += [event for m in messages for event in self._heard(worker, m)]
        events += self._overdue()
        return events

    def _heard(self, worker: _Worker, message: Message) -> list[Event]:
        kind = message.pop("kind")
        if kind == "ready":
            worker.ready = True
            return []
        if kind == "unusable":
            raise InputError(message["key"], message["value"], message["allowed"])
        assert worker.trial is not None
        if kind == "report":
            return [Reported(worker.trial, **message)]
        trial, worker.trial = worker.trial, None
        if kind == "failed":
            if message["unexpected"] and self._setup["device"] != "cpu":
                # After such an error a GPU context may be unusable.
                self._end(worker, kill=True)
                self._start()
            return [Failed(trial, message["reason"])]
        return [Scored(trial, **{**message, "curve": tuple(message["curve"])})]

    def _until_deadline(self, seconds: float) -> float:
        limits = [
            w.since + self._limit(w) for w in self._workers if not w.ready or w.trial is not None
        ]
        return max(0.0, min([seconds, *(limit - time.monotonic() for limit in limits)]))

    def _limit(self, worker: _Worker) -> float:
        if not worker.ready:
            return _START_LIMIT
        return float("inf") if self._timeout is None else self._timeout

    def _overdue(self) -> list[Event]:
        now = time.monotonic()
        late = [
            worker
            for worker in self._workers
            if (not worker.ready or worker.trial is not None)
            and now - worker.since >= self._limit(worker)
        ]
        events: list[Event] = []
        for worker in late:
            what = f"trial_timeout, {self._timeout:g} s" if worker.ready else f"{_START_LIMIT:g} s"
            events += self._replace(worker, f"took longer than {what}, and was stopped")
        return events

    def _replace(self, worker: _Worker, reason: str) -> list[Event]:
        was_ready, trial = worker.ready, worker.trial
        self._end(worker, kill=True)
        if not was_ready:
            raise RunError(f"workers do not start: {reason}; see {self._log}")
        self._start()
        return [] if trial is None else [Failed(trial, reason)]

    def _death(self, worker: _Worker) -> str:
        self._end(worker, kill=False)
        code = worker.process.returncode
        if code == -signal.SIGKILL:
            return "worker was killed by signal 9 (out of memory?)"
        if code < 0:
            return f"worker was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"worker ended with exit status {code}"

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        # Ctrl-C reaches the whole group; the parent decides what it means, so workers inherit it
        # blocked. Blocked here, it is delivered to the parent just after, never lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with theirs, self._log.open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", f"{__package__}.worker", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **one_thread},
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        worker = _Worker(process, Channel(ours))
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        with suppress(OSError):
            worker.channel.send("setup", **self._setup)

    def _end(self, worker: _Worker, *, kill: bool) -> None:
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        self._selector.unregister(worker.channel)
        if kill:
            worker.process.kill()
        try:
            worker.process.wait(timeout=10)  # it closed its socket, so it is on its way out
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        worker.channel.close()
