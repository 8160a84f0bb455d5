"""Warm worker processes, supervised: what a worker says, and how it ended, come back as events.

A worker that crashes, is killed or hangs past its time costs the one trial it held, with the reason
in words, and is replaced. Leaving the pool's `with` block leaves no process behind. The processes
are forked by one of their own, `fork_server.py`, which tells how each ended.
"""

from __future__ import annotations

import itertools
import os
import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...search_space.errors import InputError
from .channel import Channel, Message
from .events import Event, Failed, Reported, Scored, Starts, in_words
from .fork_server_client import ForkServer
from .supervised import Worker

if TYPE_CHECKING:
    from typing_extensions import Self


_PRELOAD = {"proxy": ("torch._dynamo",)}
"""An evaluator's name -> modules that it imports late and slowly: torch's optimizers need this one,
which would take every worker two seconds and 80 MB of its own."""


class WorkerPool:
    """Worker processes that all hold the evaluator described by `setup`.

    `workers` is their number, or the device of each; with none of them it only waits. `setup` is
    JSON-able: evaluator, data, input, classes, device, seed. What workers print goes to the file
    `log`. `timeout` is the limit of one evaluation in seconds, None for no limit.
    """

    def __init__(
        self,
        workers: int | Sequence[str],
        setup: Mapping[str, Any],
        *,
        log: Path,
        timeout: float | None = None,
    ) -> None:
        own_device = [str(setup["device"])]
        self._devices = own_device * workers if isinstance(workers, int) else list(workers)
        self._setup, self._log, self._timeout = dict(setup), log, timeout
        self._workers: dict[int, Worker] = {}
        self._numbers = itertools.count()
        self._starts = Starts(log)
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        # A signal handler writes to it and must never wait; a pipe that is full wakes all the same.
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        if self._devices:
            self._open_server()
        return self

    def __exit__(self, *error: object) -> None:
        if self._devices:
            self._close_server()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    @property
    def pids(self) -> list[int]:
        """Of the workers that the fork server has said it started."""
        return [worker.pid for worker in self._workers.values() if worker.pid is not None]

    @property
    def idle(self) -> int:
        """Workers that could take an evaluation now."""
        return sum(not worker.waited_for for worker in self._workers.values())

    def submit(
        self, trial: int, architecture: Mapping[str, Any], *, seed: int, verdicts: bool
    ) -> None:
        """Hand `architecture` to an idle worker; what becomes of it comes back from `wait`.

        There must be an idle one. With `verdicts` it waits for `verdict` after each of its reports.
        """
        worker = next(w for w in self._workers.values() if not w.waited_for)
        worker.trial, worker.since = trial, time.monotonic()
        with suppress(OSError):  # a worker that just died is noticed, with its reason, in `wait`
            worker.channel.send(
                "evaluate", architecture=dict(architecture), seed=seed, verdicts=verdicts
            )

    def verdict(self, trial: int, *, stop: bool) -> None:
        """The answer to a report that the worker waits for; nothing where the trial is over."""
        for worker in self._workers.values():
            if worker.trial == trial:
                with suppress(OSError):
                    worker.channel.send("verdict", stop=stop)

    def cancel(self, trial: int, reason: str) -> None:
        """End the evaluation of `trial`; it comes back from `wait` as failed for this reason."""
        for worker in self._workers.values():
            if worker.trial == trial:
                self._stop(worker, reason)

    def wake(self) -> None:
        """Make a `wait` in progress return; safe in a signal handler."""
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    def wait(self, seconds: float) -> list[Event]:
        """What happened, waiting up to `seconds` for something to.

        Raises InputError when a worker cannot use its setup, RunError when workers do not start.
        """
        events: list[Event] = []
        # Workers' words before the server's: what a worker said before it ended still counts.
        ready = sorted(self._selector.select(self._until_deadline(seconds)), key=_workers_first)
        for key, _ in ready:
            if isinstance(key.data, Worker):
                if self._holds(key.data):
                    events += self._listen(key.data)
            elif key.fd == self._wake_read:
                os.read(self._wake_read, 4096)
            else:
                events += self._hear_server()
        self._stop_the_late()
        return events

    def _listen(self, worker: Worker) -> list[Event]:
        messages = worker.channel.receive()
        if messages is None:
            # It is ending; the fork server will say how.
            self._selector.unregister(worker.channel)
            return []
        return [event for message in messages for event in self._heard(worker, message)]

    def _heard(self, worker: Worker, message: Message) -> list[Event]:
        kind = message.pop("kind")
        if kind == "ready":
            worker.ready = True
            self._starts.ready()
            return []
        if kind == "broken":
            raise self._starts.error(message["reason"])
        if kind == "unusable":
            raise InputError(message["key"], message["value"], message["allowed"])
        # Once ready, a worker speaks only of the one trial it holds.
        assert worker.trial is not None
        if kind == "report":
            return [Reported(worker.trial, **message)]
        trial, worker.trial = worker.trial, None
        if message.pop("retire"):
            self._replace(worker)
        if kind == "failed":
            return [Failed(trial, message["reason"])]
        return [Scored(trial, **{**message, "curve": tuple(message["curve"])})]

    def _hear_server(self) -> list[Event]:
        messages = self._server.receive()
        if messages is None:
            return self._replace_server()
        events: list[Event] = []
        for message in messages:
            worker = self._workers.get(message["worker"])
            if worker is None:
                continue  # it was replaced, and has now ended
            if message["kind"] == "started":
                worker.pid = message["pid"]
            else:
                events += self._ended(worker, message["code"])
        return events

    def _ended(self, worker: Worker, code: int) -> list[Event]:
        events: list[Event] = []
        # Its last words, a score perhaps, count before the way it ended.
        while self._holds(worker) and worker.channel in self._selector.get_map():
            events += self._listen(worker)
        if not self._holds(worker):
            return events  # they had it replaced, as it has nothing more to do
        reason = worker.stopped or in_words(code)
        if not worker.ready:
            self._starts.cut_short(code, reason)
        if worker.trial is not None:
            events.append(Failed(worker.trial, reason))
        self._replace(worker)
        return events

    def _until_deadline(self, seconds: float) -> float:
        now = time.monotonic()
        left = [worker.deadline(self._timeout) - now for worker in self._workers.values()]
        return max(0.0, min([seconds, *left]))

    def _stop_the_late(self) -> None:
        now = time.monotonic()
        for worker in self._workers.values():
            if now >= worker.deadline(self._timeout):
                self._stop(worker, worker.too_late(self._timeout))

    def _stop(self, worker: Worker, reason: str) -> None:
        worker.stopped = reason
        self._server.kill(worker.number)

    def _replace(self, worker: Worker) -> None:
        # After its own end too: the server then knows no such worker, and does nothing.
        self._forget(worker)
        self._server.kill(worker.number)
        self._start(worker.device)

    def _holds(self, worker: Worker) -> bool:
        return worker.number in self._workers

    def _forget(self, worker: Worker) -> None:
        del self._workers[worker.number]
        if worker.channel in self._selector.get_map():
            self._selector.unregister(worker.channel)
        worker.channel.close()

    def _start(self, device: str) -> None:
        ours, theirs = socket.socketpair()
        worker = Worker(next(self._numbers), Channel(ours), device)
        self._workers[worker.number] = worker
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)
        # Our copy is closed once it is sent: with it open, the worker's end would not show here.
        with theirs:
            self._server.start(worker.number, theirs.fileno())
        # Where the server has just gone, `wait` will hear of it and replace it.
        with suppress(OSError):
            told = {"device": device, "memory_share": self._memory_share(device)}
            worker.channel.send("setup", **{**self._setup, **told})

    def _memory_share(self, device: str) -> float:
        """Of a device's memory, for each worker on it. Their contexts take some besides."""
        sharing = self._devices.count(device)
        return 1.0 if sharing == 1 else 0.95 / sharing

    def _open_server(self) -> None:
        preload = _PRELOAD.get(self._setup["evaluator"]["name"], ())
        self._server = ForkServer(self._log, preload)
        self._selector.register(self._server, selectors.EVENT_READ)
        for device in self._devices:
            self._start(device)

    def _close_server(self) -> int:
        """End it and all its workers; its exit code."""
        for worker in list(self._workers.values()):
            self._forget(worker)
        try:
            self._selector.unregister(self._server)
        except (KeyError, ValueError):
            return 0  # it was closed, and its successor could not be started
        return self._server.close()

    def _replace_server(self) -> list[Event]:
        workers = list(self._workers.values())
        code = self._close_server()
        reason = in_words(code)
        # Dying before any worker is ready counts as a start cut short, so that a server which can
        # never start is not replaced for ever.
        if not any(worker.ready for worker in workers):
            self._starts.cut_short(code, reason)
        self._open_server()
        return [Failed(w.trial, reason) for w in workers if w.trial is not None]


def _workers_first(ready: tuple[selectors.SelectorKey, int]) -> bool:
    return not isinstance(ready[0].data, Worker)
