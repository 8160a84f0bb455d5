"""Ctrl-C and a termination request ask the run to stop; they never tear it in the middle."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class StopRequest:
    """Within it, the first SIGINT or SIGTERM sets `asked` and calls `wake`.

    A second one acts as usual, so an impatient user is not locked out. Outside the main thread
    signals cannot be caught, and nothing is changed.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.asked = False
        self._wake = wake
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._wake()
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __exit__(self, *error: object) -> None:
        self._restore()
