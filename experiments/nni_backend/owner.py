"""Whom the tuner reports to: the process that launched the run."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..asking import Proposal
from ..config import ExperimentConfig, read_config
from ..run_dir import RunDirectory
from .variables import CURRENT_FOLDER, SOCKET


class Launcher:
    """`convnas launch`, over its socket. This process ends when that one does."""

    def __init__(self, path: str) -> None:
        self._link = socket.socket(socket.AF_UNIX)
        self._link.connect(path)
        self._send("tuner")
        threading.Thread(target=self._listen, daemon=True).start()

    @classmethod
    def here(cls) -> Launcher:
        """The launcher of this run."""
        return cls(os.environ[SOCKET])

    def given(self, proposal: Proposal) -> None:
        self._send("given", number=proposal.trial.number)

    def nothing_left(self, exhausted: bool) -> None:
        self._send("nothing_left", exhausted=exhausted)

    def result(self, number: int, value: Any) -> None:
        self._send("result", number=number, value=value)

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
        with suppress(OSError):
            while self._link.recv(4096):
                pass
        os._exit(0)


def run_of(config: str) -> tuple[RunDirectory, ExperimentConfig]:
    """The run whose own config the tuner is given, and its settings. Raises InputError."""
    path = Path(config)
    os.chdir(os.environ[CURRENT_FOLDER])
    return RunDirectory(path.parent), read_config(path)
