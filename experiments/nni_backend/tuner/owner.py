"""Whom the tuner works for: the process that launched the run, or nobody, see `alone.py`."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..variables import CURRENT_FOLDER, SOCKET

if TYPE_CHECKING:
    from ...search.propose import Proposal
    from .proposing import Proposing


class Owner(Protocol):
    """Keeps the study of a run up to date with what NNI says; numbers are those of its trials."""

    def open(self, config: str, run_dir: str | None) -> Proposing:
        """The study that the tuner is to ask. Raises InputError."""

    def room(self, asked: int) -> int:
        """How many of the trials that NNI asks for it will really start."""

    def given(self, proposal: Proposal) -> None: ...

    def nothing_left(self, exhausted: bool) -> None: ...

    def result(self, number: int, value: Any, job: str) -> None:
        """A trial's final result; `job` is NNI's name for it."""

    def ended(self, number: int, success: bool) -> None:
        """A trial's process has ended a while ago."""

    def fatal(self, reason: str) -> None:
        """The tuner cannot go on."""

    def close(self) -> None: ...


def owner_here(stop: Callable[[str], None]) -> Owner:
    """`stop` has NNI end a trial early; it is called from another thread."""
    if SOCKET in os.environ:
        return Launcher(os.environ[SOCKET], stop)
    from .alone import Alone

    return Alone(os.environ["NNI_TUNER_COMMAND_CHANNEL"])


class Launcher:
    """`convnas launch`, over its socket. This process ends when that one does."""

    def __init__(self, path: str, stop: Callable[[str], None]) -> None:
        self._stop = stop
        self._link = socket.socket(socket.AF_UNIX)
        self._link.connect(path)
        self._send("tuner")
        threading.Thread(target=self._listen, daemon=True).start()

    def open(self, config: str, run_dir: str | None) -> Proposing:
        from ...config.schema import read_config
        from ...run.directory import RunDirectory
        from .proposing import Proposing

        path = Path(config)
        os.chdir(os.environ[CURRENT_FOLDER])
        settings = read_config(path)
        return Proposing(RunDirectory(path.parent), settings, limit=settings.trials)

    def room(self, asked: int) -> int:
        return asked  # the study's own number of trials is the limit

    def given(self, proposal: Proposal) -> None:
        self._send("given", number=proposal.trial.number)

    def nothing_left(self, exhausted: bool) -> None:
        self._send("nothing_left", exhausted=exhausted)

    def result(self, number: int, value: Any, job: str) -> None:
        self._send("result", number=number, value=value, job=job)

    def ended(self, number: int, success: bool) -> None:
        self._send("ended", number=number, success=success)

    def fatal(self, reason: str) -> None:
        self._send("fatal", reason=reason)

    def close(self) -> None:
        self._send("bye")

    def _send(self, kind: str, **content: Any) -> None:
        with suppress(OSError):
            self._link.sendall(json.dumps({"kind": kind, **content}).encode() + b"\n")

    def _listen(self) -> None:
        with suppress(OSError), self._link.makefile("r") as lines:
            for line in lines:
                self._stop(json.loads(line)["job"])
        os._exit(0)
