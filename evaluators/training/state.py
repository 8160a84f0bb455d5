"""Everything that changes while a network trains, and the best of it so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .average import MovingAverage
from .checkpoint import State

Metrics = dict[str, float]


class TrainingState:
    """Weights, optimizer, moving average, random generators, and the metrics of every epoch.

    `generators` are those the training draws from, beside torch's global ones. `keep_best`: the
    network with the most of this metric is remembered, with the less loss of equal ones.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: MovingAverage | None,
        generators: Mapping[str, torch.Generator],
        device: torch.device,
        *,
        keep_best: str | None,
    ) -> None:
        self._net, self._optimizer, self._average = net, optimizer, average
        self._generators, self._device, self._keep_best = generators, device, keep_best
        self.history: list[Metrics] = []
        self.best_epoch = 0
        self._best: dict[str, Tensor] | None = None

    def add(self, metrics: Metrics) -> None:
        """After an epoch, while the network is as it was measured."""
        self.history.append(metrics)
        by = self._keep_best
        if by is not None and by in metrics:
            before = self.history[self.best_epoch - 1] if self.best_epoch else None
            if before is None or _rank(metrics, by) > _rank(before, by):
                self.best_epoch = len(self.history)
                # Copies: state_dict's tensors are the weights themselves, which go on changing.
                self._best = {n: t.clone() for n, t in self._net.state_dict().items()}

    def finish(self) -> None:
        """Make the network what is to be kept: the best one measured, else the last average."""
        if self._best is not None:
            self._net.load_state_dict(self._best)
        elif self._average is not None:
            self._average.apply()

    def to_dict(self) -> State:
        """Tensors (no copies) and plain data: all that the rest of the training depends on."""
        state: State = {
            "net": self._net.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generators": {name: each.get_state() for name, each in self._generators.items()},
            "global": torch.get_rng_state(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best": self._best,
        }
        if self._average is not None:
            state["average"] = self._average.tensors()
            state["updates"] = self._average.updates
        if self._device.type == "cuda":
            state["global_cuda"] = torch.cuda.get_rng_state(self._device)
        return state

    def restore(self, state: State) -> None:
        """Go on from what `to_dict` gave, for the same network, optimizer and settings."""
        self._net.load_state_dict(state["net"])
        self._optimizer.load_state_dict(state["optimizer"])
        for name, generator in self._generators.items():
            generator.set_state(state["generators"][name])
        torch.set_rng_state(state["global"])
        self.history = [dict(metrics) for metrics in state["history"]]
        self.best_epoch, self._best = state["best_epoch"], state["best"]
        if self._average is not None:
            self._average.restore(state["average"], state["updates"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state["global_cuda"], self._device)


def _rank(metrics: Mapping[str, Any], by: str) -> tuple[float, float]:
    return metrics[by], -metrics["loss"]
