"""How accurate a network would be in 8-bit integers, simulated in torch.

Weights are rounded to 255 steps around zero, a scale for each output channel; what enters a layer
with weights to 256 steps between the least and the greatest value that training images showed
(Jacob et al., CVPR 2018, arXiv 1712.05877): what integer kernels compute, up to their own rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..search_space import fold_batch_norm
from .data.split import Split

_CALIBRATION = 256
_BATCH = 128
_STEPS = 255


def int8_accuracy(network: nn.Module, train: Split, split: Split) -> float:
    """On `split`, of a copy of `network` (in evaluation mode) with its norms folded into its
    convolutions, calibrated on the first training images; all on one device."""
    folded = fold_batch_norm(network)
    layers = [_Rounded(layer) for layer in folded.modules() if _weights(layer)]
    with torch.inference_mode():
        for start in range(0, min(_CALIBRATION, len(train)), _BATCH):
            folded(train.batch(slice(start, start + _BATCH)))
        for layer in layers:
            layer.calibrated()
        correct = 0
        for start in range(0, len(split), _BATCH):
            chosen = slice(start, start + _BATCH)
            correct += int((folded(split.batch(chosen)).argmax(1) == split.labels[chosen]).sum())
    return correct / len(split)


def _weights(layer: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in layer.parameters(recurse=False) if weight.ndim > 1]


class _Rounded:
    """A layer whose input is watched, then, once calibrated, rounded; its weights then are too."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        self._seen: dict[int, tuple[float, float]] = {}
        self._rounds = False
        layer.register_forward_pre_hook(self._before)

    def calibrated(self) -> None:
        self._rounds = True
        for weight in _weights(self._layer):
            # (out,), then (out, 1, ...). The floor is for a channel of zeros, which stays one.
            greatest = weight.abs().flatten(1).amax(1).clamp(min=1e-12)
            # 127 steps on each side of zero: -128 has no counterpart and is not used.
            scale = (greatest / (_STEPS // 2)).view(-1, *[1] * (weight.ndim - 1))
            weight.copy_((weight / scale).round() * scale)

    def _before(self, layer: nn.Module, args: tuple[object, ...]) -> tuple[object, ...]:
        """Inputs are tensors, or pairs of an octave convolution's two frequencies."""
        (x,) = args
        if isinstance(x, Tensor):
            return (self._part(0, x),)
        assert isinstance(x, tuple)
        return (tuple(self._part(i, part) for i, part in enumerate(x)),)

    def _part(self, number: int, x: Tensor) -> Tensor:
        # A frequency may be empty, and then it has no least value.
        if not x.numel():
            return x
        low, high = self._seen.get(number, (0.0, 0.0))  # zero itself is always exact
        if not self._rounds:
            self._seen[number] = min(low, float(x.min())), max(high, float(x.max()))
            return x
        scale = max((high - low) / _STEPS, 1e-12)
        # As low <= 0 <= high, this is one of the numbers 0 to 255, and 0 comes back as 0.
        zero = round(-low / scale)
        return ((x / scale).round() + zero).clamp(0, _STEPS).sub(zero).mul(scale)
