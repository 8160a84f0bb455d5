"""One training step: forward, loss, backward, optimizer; on CUDA as a captured graph where possible."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..device import out_of_memory
from .recipe import TrainingSettings

_log = logging.getLogger(__name__)
_WARM_UP = 3
"""Eager passes on the side before a capture, so that libraries have made their choices."""


class Step:
    """Called with a batch, it changes the network's weights once and gives the batch's mean loss.

    Labels are (N,) classes or (N, classes) probabilities.

    With `micro_batch` the batch goes through in pieces of at most that size and the gradients are
    added up: the same batch in less memory. Batch normalisation then sees each piece on its own, so
    the result is close to that of the whole batch, not equal.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: TrainingSettings,
        device: torch.device,
        micro_batch: int | None = None,
    ) -> None:
        self._net, self._optimizer = net, optimizer
        self._smoothing, self._device = settings.label_smoothing, device
        self._half = settings.autocasts(device)
        self._micro_batch = micro_batch
        self._capture = settings.cuda_graph and device.type == "cuda" and micro_batch is None
        self._replay: Callable[[Tensor, Tensor], Tensor] | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        if self._capture and self._replay is None:
            self._capture = False
            self._replay = self._captured(images, labels)
        if self._replay is not None:
            loss = self._replay(images, labels)
        else:
            self._optimizer.zero_grad()
            loss = self._gradients(images, labels)
        self._optimizer.step()
        return loss

    def _gradients(self, images: Tensor, labels: Tensor) -> Tensor:
        """Add the batch's gradients to those there are, and return its loss."""
        size = self._micro_batch or len(labels)
        total = torch.zeros((), device=self._device)
        for some, theirs in zip(torch.split(images, size), torch.split(labels, size), strict=True):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
                logits = self._net(some)
            loss = F.cross_entropy(logits.float(), theirs, label_smoothing=self._smoothing)
            loss = loss * (len(theirs) / len(labels)) if len(theirs) < len(labels) else loss
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        return total

    def _captured(
        self, images: Tensor, labels: Tensor
    ) -> Callable[[Tensor, Tensor], Tensor] | None:
        """The passes over a batch of this shape as one CUDA graph; None where none can be made.

        The optimizer's step stays outside: fused, it is few launches, and its learning rate
        changes. Warming up moves the statistics of batch normalisation, which are put back.
        """
        kept = [(buffer, buffer.clone()) for buffer in self._net.buffers()]
        fixed = images.clone(), labels.clone()
        graph = torch.cuda.CUDAGraph()
        try:
            side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    self._optimizer.zero_grad()
                    self._gradients(*fixed)
            torch.cuda.current_stream(self._device).wait_stream(side)
            # Freed here, the gradients are made inside the graph, where replays overwrite them.
            self._optimizer.zero_grad()
            with torch.cuda.graph(graph):
                loss = self._gradients(*fixed)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            _log.warning("no CUDA graph, the steps are launched one by one: %s", error)
            return None
        finally:
            with torch.no_grad():
                for buffer, value in kept:
                    buffer.copy_(value)

        def replay(images: Tensor, labels: Tensor) -> Tensor:
            fixed[0].copy_(images)
            fixed[1].copy_(labels)
            graph.replay()
            return loss

        return replay
