"""Evaluators that train nothing: an untrained network, one mini-batch, one number, higher better.

Some agree well with accuracy in one space and not at all in the next: look at their rank
correlation first (`convnas fidelity` prints it), and use them to leave out the worst, not to crown
a winner. SNIP: Lee et al. (ICLR 2019); grad-norm, synflow as scores of architectures: Abdelfattah
et al. (ICLR 2021), after Tanaka et al. (NeurIPS 2020); NASWOT: Mellor et al. (ICML 2021).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ..search_space import Architecture, build_network, cost
from .base import Evaluation, EvaluationError, Report, keep_going
from .data.dataset import SearchData
from .device import out_of_memory, seeded
from .settings import Settings, integer


@dataclass(frozen=True)
class ZeroCostSettings(Settings):
    """`batch_size`: training examples in the one mini-batch, drawn by the evaluation's seed."""

    batch_size: int = integer(64, at_least=2)


Measure = Callable[[nn.Module, Tensor, Tensor], float]
"""(fresh network, images, labels) -> score"""


def snip(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Sum over the weights of |weight x gradient|: how much the loss would feel their loss."""
    pairs = _weights_and_gradients(net, images, labels)
    return sum(float((weight * gradient).abs().sum()) for weight, gradient in pairs)


def grad_norm(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Sum over the layers of the Euclidean norm of the weights' gradient."""
    pairs = _weights_and_gradients(net, images, labels)
    return sum(float(gradient.norm()) for _, gradient in pairs)


def synflow(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Logarithm of the sum over the weights of weight x gradient, all weights made positive, for an
    input of ones and the sum of the outputs: how much flows through the network. No data in it.

    In evaluation mode a fresh batch normalisation leaves its input as it is. Sums over paths grow
    beyond float32 in deep networks, hence double precision, and the logarithm.
    """
    net = net.double().eval()
    weights = _weights(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    total = net(torch.ones_like(images[:1], dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(total, weights)
    pairs = zip(weights, gradients, strict=True)
    return math.log(sum(float((weight.detach() * gradient).sum()) for weight, gradient in pairs))


def naswot(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Log-determinant of the examples' likeness: how many ReLUs are on or off for both of two.

    An architecture whose ReLUs tell the examples apart before training has a larger one.
    """
    seen = _Relus()
    with torch.no_grad(), seen:
        # Training mode: a fresh norm's running statistics say nothing of the data.
        net.train()(images)
    kernel = torch.zeros(len(images), len(images), device=images.device)
    for on in seen.on:
        # The number of ReLUs less the Hamming distance (the K_H of Mellor et al.), (N, N).
        kernel += on @ on.T + (1 - on) @ (1 - on).T
    return float(torch.linalg.slogdet(kernel.double()).logabsdet)


class _Relus(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which outputs of every ReLU are on, wherever in the network it is called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.on: list[Tensor] = []
        """(examples, outputs) each, 1 where on and 0 where off."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.relu.default, torch.ops.aten.relu_.default):
            self.on.append((result.flatten(1) > 0).float())
        return result


MEASURES: dict[str, Measure] = {
    "snip": snip,
    "grad-norm": grad_norm,
    "synflow": synflow,
    "naswot": naswot,
}


class ZeroCost:
    """Builds the network from the seed, draws the batch, measures. Metrics: `seconds`."""

    def __init__(
        self, measure: Measure, settings: ZeroCostSettings, data: SearchData, device: torch.device
    ) -> None:
        self._measure, self._settings, self._device = measure, settings, device
        self._data = data.to(device)

    def evaluate(self, arch: Architecture, *, seed: int, report: Report = keep_going) -> Evaluation:
        self._data.check_fits(arch.input, arch.classes)
        start = time.perf_counter()
        train = self._data.train
        # Drawn on the CPU: the same batch on every device.
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(train), generator=generator)[: self._settings.batch_size]
        chosen = chosen.to(self._device)
        try:
            with seeded(seed, self._device):
                net = build_network(arch).to(self._device)
                score = self._measure(net, train.batch(chosen), train.labels[chosen])
        except (RuntimeError, MemoryError) as error:
            reason = out_of_memory(error)
            if reason is None:
                raise
            raise EvaluationError(reason) from None
        if not math.isfinite(score):
            raise EvaluationError(f"its score is {score}")
        return Evaluation(score, {"seconds": time.perf_counter() - start})


class ByCost:
    """The evaluators `flops` and `params`: the larger the network, the better. Nothing is built."""

    def __init__(self, name: str, data: SearchData) -> None:
        self._name, self._data = name, data

    def evaluate(self, arch: Architecture, *, seed: int, report: Report = keep_going) -> Evaluation:
        self._data.check_fits(arch.input, arch.classes)
        return Evaluation(float(getattr(cost(arch), self._name)), {})


ZERO_COST = (*MEASURES, "flops", "params")


def _weights(net: nn.Module) -> list[nn.Parameter]:
    """Of convolutions and linear layers: what has more than one dimension."""
    return [parameter for parameter in net.parameters() if parameter.ndim > 1]


def _weights_and_gradients(
    net: nn.Module, images: Tensor, labels: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Of the cross-entropy in training mode; nothing is left in the `grad` of the weights."""
    net.train()
    weights = _weights(net)
    gradients = torch.autograd.grad(F.cross_entropy(net(images), labels), weights)
    return list(zip([w.detach() for w in weights], gradients, strict=True))
