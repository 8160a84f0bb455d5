"""The exponential moving average of a network's weights, which is what gets measured and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Of every weight and statistic of batch normalisation: average += (1 - d) (value - average).

    d grows with the number of updates n as (1 + n) / (10 + n) until it is `decay`, so that a short
    training is not held back by its first steps (TensorFlow's ExponentialMovingAverage, timm's
    ModelEmaV3). Counters, which have no mean, stay the network's own.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self._decay = decay
        # These share the network's memory: what is read here is always the weights of now.
        self._live = {
            name: tensor for name, tensor in net.state_dict().items() if tensor.is_floating_point()
        }
        self._mean = {name: tensor.clone() for name, tensor in self._live.items()}
        device = next(iter(self._live.values())).device
        # Counted on the device: a recorded step counts there as well.
        self._updates = torch.zeros((), dtype=torch.float64, device=device)

    @property
    def updates(self) -> int:
        """How often it was updated; asking waits for the device."""
        return int(self._updates)

    @torch.no_grad()
    def update(self) -> None:
        """After a step; nothing waits for the device."""
        rising = (1 + self._updates) / (10 + self._updates)
        weight = 1 - rising.clamp(max=self._decay)
        # lerp takes its weight in the type of the tensor.
        weights = {tensor.dtype: weight.to(tensor.dtype) for tensor in self._live.values()}
        # On a GPU one launch a tensor, which inside a recorded step costs little.
        torch._foreach_lerp_(
            list(self._mean.values()),
            list(self._live.values()),
            [weights[tensor.dtype] for tensor in self._live.values()],
        )
        self._updates += 1

    def changing(self) -> list[Tensor]:
        """Every tensor that an update writes to."""
        return [*self._mean.values(), self._updates]

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
        """Back to what `tensors` and `updates` gave, in the places that recordings write to."""
        for name, tensor in self._mean.items():
            tensor.copy_(tensors[name])
        self._updates.fill_(updates)
