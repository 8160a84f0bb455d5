"""Who keeps the study that the tuner asks: the process that launched the run, or the tuner itself.

The second is `standalone.py`.
"""

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
    from .study import TunerStudy


class StudyHost(Protocol):
    """Keeps the study of a run up to date with what NNI says; numbers are those of its trials."""

    def open(self, config: str, run_dir: str | None) -> TunerStudy:
        """The study that the tuner is to ask. Raises InputError."""

    def room(self, asked: int) -> int:
        """How many of the trials that NNI asks for it will really start."""

    def given(self, proposal: Proposal) -> None: ...

    # NNI asks for more than there is: no architecture (`exhausted`), or no trial inside the limit.
    def nothing_left(self, exhausted: bool) -> None: ...

    def result(self, number: int, value: Any, job: str) -> None:
        """A trial's final result; `job` is NNI's name for it."""

    def ended(self, number: int, success: bool) -> None:
        """A trial's process has ended a while ago."""

    def fatal(self, reason: str) -> None:
        """The tuner cannot go on."""

    def close(self) -> None: ...


def host_here(stop: Callable[[str], None]) -> StudyHost:
    """`stop` has NNI end a trial early; it is called from another thread."""
    if SOCKET in os.environ:
        return LaunchHost(os.environ[SOCKET], stop)
    from .standalone import StandaloneHost

    return StandaloneHost(os.environ["NNI_TUNER_COMMAND_CHANNEL"])


class LaunchHost:
    """`convnas launch`, over its socket. This process ends when that one does."""

    def __init__(self, path: str, stop: Callable[[str], None]) -> None:
        self._stop = stop
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._send("tuner")
        threading.Thread(target=self._listen, daemon=True).start()

    def open(self, config: str, run_dir: str | None) -> TunerStudy:
        from ...run.directory import RunDirectory
        from ...search.prepare import prepare
        from .study import TunerStudy

        path = Path(config)
        # NNI starts its tuner in a folder of its own.
        os.chdir(os.environ[CURRENT_FOLDER])
        run = RunDirectory.existing(path.parent)
        prepared = prepare(run.read_config())
        return TunerStudy(run, prepared, limit=prepared.config.trials)

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
            self._socket.sendall(json.dumps({"kind": kind, **content}).encode() + b"\n")

    def _listen(self) -> None:
        with suppress(OSError), self._socket.makefile("r") as lines:
            for line in lines:
                self._stop(json.loads(line)["job"])
        os._exit(0)
