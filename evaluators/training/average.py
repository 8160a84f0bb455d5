"""The exponential moving average of a network's weights, which is what gets measured and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Of every weight and every statistic of batch normalisation: average += (1 - d) (value - average).

    d grows with the number of updates n as (1 + n) / (10 + n) until it is `decay`, so that a short
    training is not held back by its first steps (TensorFlow's ExponentialMovingAverage, timm's
    ModelEmaV3). Counters, which have no mean, stay the network's own.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self._decay, self.updates = decay, 0
        self._live = {
            name: tensor for name, tensor in net.state_dict().items() if tensor.is_floating_point()
        }
        self._mean = {name: tensor.clone() for name, tensor in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """After a step; nothing waits for the device."""
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self._mean.values()), list(self._live.values()), 1 - decay)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the network is the average one; its tensors keep their places in memory."""
        before = [tensor.clone() for tensor in self._live.values()]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(list(self._live.values()), before)

    @torch.no_grad()
    def apply(self) -> None:
        """Make the network the average one, for good."""
        torch._foreach_copy_(list(self._live.values()), list(self._mean.values()))

    def tensors(self) -> dict[str, Tensor]:
        """The average itself, by the names of the network's state_dict."""
        return self._mean

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        for name, tensor in self._mean.items():
            tensor.copy_(tensors[name])
        self.updates = updates
