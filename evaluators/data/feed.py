"""Batches of a split that stays in main memory, gathered ahead of the training that reads them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from .split import Split

_AHEAD = 3
"""Batches gathered before they are asked for."""


class Feed:
    """Copies one batch after another to `place`, (N, C, H, W) bytes at a fixed place on the device.

    A thread gathers the next ones meanwhile (pages may have to come from the disk), for a GPU into
    pinned memory, from where a copy runs beside the host.
    """

    def __init__(self, split: Split, size: int, device: torch.device) -> None:
        self._split, self._gpu = split, device.type == "cuda"
        shape, kind = (size, *split.pixels.shape[1:]), split.pixels.dtype
        self.place = torch.empty(shape, dtype=kind, device=device)
        # One more than are waiting: the one that is being copied.
        self._buffers = [
            torch.empty(shape, dtype=kind, pin_memory=self._gpu) for _ in range(_AHEAD + 1)
        ]
        self._copied: list[torch.cuda.Event | None] = [None] * len(self._buffers)
        # One thread, so that batches come in the order in which they were asked for.
        self._thread = ThreadPoolExecutor(1)
        self._coming: deque[Future[int]] = deque()
        self._order: Iterator[Tensor] = iter(())
        self._given = 0

    def begin(self, order: Tensor) -> None:
        """From now on these batches: (batches, size) numbers of the split's examples."""
        # One that is being gathered cannot be cancelled; the next ones queue behind it.
        for future in self._coming:
            future.cancel()
        self._coming.clear()
        self._order = iter(order.cpu())
        for _ in range(_AHEAD):
            self._ask()

    def fetch(self) -> None:
        """The next batch to `place`; the host waits only if it is not gathered yet."""
        number = self._coming.popleft().result()
        self.place.copy_(self._buffers[number], non_blocking=True)
        if self._gpu:
            event = self._copied[number] = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._ask()

    def _ask(self) -> None:
        chosen = next(self._order, None)
        if chosen is not None:
            number, self._given = self._given % len(self._buffers), self._given + 1
            self._coming.append(self._thread.submit(self._gather, chosen, number))

    def _gather(self, chosen: Tensor, number: int) -> int:
        event = self._copied[number]
        if event is not None:
            event.synchronize()  # its last content is on its way
        torch.index_select(
            self._split.pixels, 0, self._split.rows_of(chosen), out=self._buffers[number]
        )
        return number
