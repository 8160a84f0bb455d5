"""The parent's end of the fork server: start it, have it fork and kill workers, and end it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .channel import Channel, Message


class ForkServer:
    """A running fork server; what it and its workers print goes to the file `log`.

    `preload`: modules that every worker will need, imported once, before the first fork.

    Its end, whenever it comes, shows in `receive`; asking it for something raises nothing.
    """

    def __init__(self, log: Path, preload: Sequence[str] = ()) -> None:
        ours, theirs = socket.socketpair()
        # These go before the user's own values: workers are counted as one core each.
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        # Ctrl-C reaches the whole group; the parent decides what it means, so the others inherit it
        # blocked. Blocked here, it is delivered to the parent just after, never lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with theirs, log.open("ab") as output:
                words = theirs.fileno(), *preload
                self._process = subprocess.Popen(
                    [sys.executable, "-m", f"{__package__}.fork_server", *map(str, words)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[theirs.fileno()],
                    # cuBLAS reads it once, and torch refuses to be deterministic without it.
                    env={"CUBLAS_WORKSPACE_CONFIG": ":4096:8", **os.environ, **one_thread},
                )
        except BaseException:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._channel = Channel(ours)

    def fileno(self) -> int:
        return self._channel.fileno()

    def start(self, worker: int, end: int) -> None:
        """Fork a worker that talks over the socket `end`, and call it by the number `worker`."""
        with suppress(OSError):
            self._channel.send("start", worker=worker, files=[end])

    def kill(self, worker: int) -> None:
        """It knows whether that process still exists, so no other can be hit."""
        with suppress(OSError):
            self._channel.send("kill", worker=worker)

    def receive(self) -> list[Message] | None:
        """`started` (worker, pid) and `ended` (worker, code); None when it is gone."""
        return self._channel.receive()

    def close(self) -> int:
        """End it and all its workers, and return its exit code."""
        # The closing tells it to kill its workers and end.
        self._channel.close()
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            # Its workers die with it, see `die_with_parent`.
            self._process.kill()
            return self._process.wait()
