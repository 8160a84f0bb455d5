"""One process that takes part: its name, the trials that are its own, and its heartbeat."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from .ledger import Ledger, Lost, Taken

if TYPE_CHECKING:
    from typing_extensions import Self


class Node:
    """Takes trials and keeps them alive from a thread of its own until they are let go.

    The thread goes on while the process does something long, and stops with the process. Leaving
    the `with` block gives up what is still held, for others to take over at once.
    """

    def __init__(self, ledger: Ledger, *, heartbeat: float, log: Callable[[str], None]) -> None:
        self.ledger, self._heartbeat, self._log = ledger, heartbeat, log
        # Random at its end: host name and pid may come again, in a container started anew, and the
        # ledger takes equal names for one node.
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._held: set[int] = set()
        self._lost: set[int] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        # Not after an Exception: the ledger itself may be what failed. What is held is then taken
        # over when the grace is over.
        if self._held and (kind is None or not issubclass(kind, Exception)):
            self.ledger.release(self.name, self._held)

    def take(self, wanted: int, points: int | None) -> Taken:
        """As `Ledger.take`; what is taken is kept alive from here on."""
        taken = self.ledger.take(self.name, wanted, points)
        if taken.trial_id is not None:
            with self._lock:
                self._held.add(taken.trial_id)
        return taken

    def claim(self, trial_id: int, key: str) -> bool:
        """Raises Lost."""
        return self.ledger.claim(self.name, trial_id, key)

    def ours(self, trial_id: int) -> bool:
        """Whether the trial is still this node's; if so, nobody takes it for a while from now."""
        if self.ledger.keep(self.name, [trial_id]):
            return True
        self.let_go(trial_id)
        return False

    def let_go(self, trial_id: int) -> None:
        """Keep the trial alive no longer. The ledger is not told."""
        with self._lock:
            self._held.discard(trial_id)
            self._lost.discard(trial_id)

    def lost(self) -> set[int]:
        """Trials that have been taken over since the last call."""
        with self._lock:
            lost, self._lost = self._lost, set()
            return lost

    def _beat(self) -> None:
        silent_since = None
        while not self._end.wait(self._heartbeat):
            with self._lock:
                # A copy: the lock is not held while the ledger answers, which may take long.
                held = set(self._held)
            if not held:
                continue
            try:
                kept = self.ledger.keep(self.name, held)
            except Exception as e:  # noqa: BLE001  (the main thread meets it too, and ends)
                if silent_since is None:
                    silent_since = time.monotonic()
                    self._log(f"heartbeat failed, trying again: {type(e).__name__}")
                continue
            silent_since = None
            with self._lock:
                # A trial that was let go while the ledger answered is not lost.
                lost = (held - kept) & self._held
                self._held -= lost
                self._lost |= lost


__all__ = ["Lost", "Node"]
