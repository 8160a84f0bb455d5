"""Feature maps in two frequencies, and the layers that act on each frequency alone.

An octave feature map is a pair (high, low): `high` is (N, C - low, H, W), `low` is
(N, low, ceil(H/2), ceil(W/2)). A plain tensor is a map with no low part. At alpha = 1 `high` has no
channels but keeps its size, so that upsampling can give back exactly H.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FeatureMap = Tensor | tuple[Tensor, Tensor]


def low_channels(channels: int, alpha: float) -> int:
    """int(alpha * channels), safe from 0.29 * 100 = 28.999...: the low-frequency channels."""
    return int(alpha * channels + 1e-6)


def each_frequency(function: Callable[[Tensor], Tensor], x: FeatureMap) -> FeatureMap:
    """`function` of a tensor, or of both parts of a pair."""
    if isinstance(x, Tensor):
        return function(x)
    return function(x[0]), function(x[1])


def add_(x: FeatureMap, y: FeatureMap) -> FeatureMap:
    """The sum of two maps of the same shape and alpha, written over the first."""
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        assert isinstance(x, Tensor)
        assert isinstance(y, Tensor)
        return x.add_(y)
    return x[0].add_(y[0]), x[1].add_(y[1])


class FrequencyReLU(nn.Module):
    """ReLU on each frequency, in place."""

    def forward(self, x: FeatureMap) -> FeatureMap:
        return each_frequency(F.relu_, x)


class FrequencyNorm(nn.Module):
    """A separate BatchNorm2d for each frequency (OctConv paper, section 3)."""

    def __init__(self, channels: int, alpha: float) -> None:
        super().__init__()
        low = low_channels(channels, alpha)
        self.high = nn.BatchNorm2d(channels - low) if low < channels else nn.Identity()
        self.low = nn.BatchNorm2d(low)

    def forward(self, x: tuple[Tensor, Tensor]) -> FeatureMap:
        return self.high(x[0]), self.low(x[1])


class FrequencyMaxPool(nn.Module):
    """Max pooling of each frequency; the output size is ceil(size / stride)."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: FeatureMap) -> FeatureMap:
        return each_frequency(self._pool, x)

    def _pool(self, x: Tensor) -> Tensor:
        if x.shape[1] == 0:
            # torch pools no map without channels; the slice has the size that pooling would give.
            return x[:, :, :: self.stride, :: self.stride]
        # An odd kernel is centred by padding; an even one keeps the last odd row by ceil_mode.
        padding = (self.kernel - 1) // 2
        return F.max_pool2d(x, self.kernel, self.stride, padding, ceil_mode=self.kernel % 2 == 0)


class GlobalPool(nn.Module):
    """(N, C) means over height and width; a pair gives high's channels, then low's."""

    def forward(self, x: FeatureMap) -> Tensor:
        if isinstance(x, Tensor):
            return x.mean((2, 3))
        return torch.cat([x[0].mean((2, 3)), x[1].mean((2, 3))], dim=1)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: both frequencies are squeezed into one vector, each is scaled.

    Source: Hu et al., CVPR 2018; the pair's form as OctConv section 4.2 combines them. The
    parameters do not depend on alpha.
    """

    def __init__(self, channels: int, alpha: float = 0.0, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.pool = GlobalPool()
        self.reduce = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, channels)
        self.high = channels - low_channels(channels, alpha)

    def forward(self, x: FeatureMap) -> FeatureMap:
        # (N, C, 1, 1), high's channels first.
        gate = torch.sigmoid(self.expand(F.relu(self.reduce(self.pool(x)))))[:, :, None, None]
        if isinstance(x, Tensor):
            return x * gate
        return x[0] * gate[:, : self.high], x[1] * gate[:, self.high :]
