"""Accuracy and loss of a network on a split, batch by batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.feed import Feed
from ..data.split import Split
from .capture import Recorder, Run, recorded
from .metrics import ClassMetrics
from .recipe import TrainingSettings

_NOBODY = -100
"""The label of what only fills a batch up: cross_entropy's own number for it, and no class."""


class Validation:
    """Called, it gives accuracy and mean cross-entropy (no smoothing) of `net` as it is then.
    `metrics` counts the same pass, and has its values afterwards.

    Where it is recorded all batches have one size, the last one filled up, so that one recording
    serves them, and libraries choose kernels for one shape alone.
    """

    def __init__(
        self,
        net: nn.Module,
        split: Split,
        settings: TrainingSettings,
        *,
        recorder: Recorder | None = None,
        micro_batch: int | None = None,
        metrics: ClassMetrics | None = None,
    ) -> None:
        self._net, self._split, self._settings = net, split, settings
        self._metrics = metrics
        device = self._device = split.labels.device
        count = len(split)
        size = micro_batch or settings.batch_size
        if recorder is not None:
            size = math.ceil(count / math.ceil(count / size))
        # Unrecorded, the last batch is as small as it comes, and goes through as `_rest`.
        full = math.ceil(count / size) if recorder is not None else count // size
        # (batches, size). Past the end come the first images again, with labels that do not count.
        self._chosen = torch.arange(full * size, device=device).view(full, size) % count
        labels = torch.full((full * size,), _NOBODY, device=device)
        labels[: min(count, full * size)] = split.labels[: full * size]
        self._labels = labels.view(full, size)
        self._rest = slice(full * size, count)
        self._feed = Feed(split, size, device) if split.streams else None
        self._next = torch.zeros(1, dtype=torch.int64, device=device)
        # Right answers and summed loss; float32 counts exactly up to 2**24 images.
        self._totals = torch.zeros(2, device=device)
        self._recorder, self._run = recorder, self._batch

    @torch.inference_mode()
    def __call__(self) -> tuple[float, float]:
        self._net.eval()
        if self._recorder is not None:
            # Tried once: where it fails, later epochs do not try again.
            recorder, self._recorder = self._recorder, None
            self._run = self._captured(recorder) or self._batch
        self._restart()
        for _ in range(len(self._chosen)):
            self._fetch()
            self._run()
        if self._rest.start < self._rest.stop:
            self._add(self._split.batch(self._rest), self._split.labels[self._rest])
        # Both in one copy, so that the device is waited for once.
        correct, loss_sum = self._totals.tolist()
        return correct / len(self._split), loss_sum / len(self._split)

    def _captured(self, recorder: Recorder) -> Run | None:
        return recorded(
            self._batch,
            recorder,
            begin=self._restart,
            fetch=self._fetch,
            # A pass changes the counter and the totals (and counts), and `begin` clears them.
            rewind=lambda: None,
            loss=self._totals[1],
            differs=len(self._chosen) > 1,
        )

    def _restart(self) -> None:
        self._next.zero_()
        self._totals.zero_()
        if self._metrics is not None:
            self._metrics.reset()
        if self._feed is not None:
            self._feed.begin(self._chosen)

    def _fetch(self) -> None:
        if self._feed is not None:
            self._feed.fetch()

    def _batch(self) -> None:
        if self._feed is None:
            images = self._split.batch(self._chosen.index_select(0, self._next)[0])
        else:
            images = self._split.normalised(self._feed.place)
        self._add(images, self._labels.index_select(0, self._next)[0])
        self._next += 1

    def _add(self, images: Tensor, labels: Tensor) -> None:
        half = self._settings.autocasts(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            logits = self._net(images.contiguous(memory_format=self._settings.layout))
        loss = F.cross_entropy(logits.float(), labels, reduction="sum", ignore_index=_NOBODY)
        self._totals += torch.stack([(logits.argmax(1) == labels).sum(), loss])
        if self._metrics is not None:
            self._metrics.add(logits, labels)


def measure(
    net: nn.Module,
    split: Split,
    settings: TrainingSettings,
    micro_batch: int | None = None,
    metrics: ClassMetrics | None = None,
) -> tuple[float, float]:
    """Accuracy and mean cross-entropy (no smoothing) of `net` on `split`, both on one device.

    The network is left in evaluation mode. `micro_batch`: images at once, else `batch_size`.
    `metrics`: made for this split; has its values afterwards.
    """
    return Validation(net, split, settings, micro_batch=micro_batch, metrics=metrics)()
