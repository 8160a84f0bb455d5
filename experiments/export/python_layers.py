"""The layers around the operators, as an exported Python module has them: short, on torch alone.

`python_module.py` copies from here what one network needs, word for word, as it copies what the
operators themselves bring (`search_space/layers/standalone/`). The parameters have the names and
shapes of convnas's own layers, so that the same weights fit. A feature map is a tensor, or a pair
(high, low) whose `low` has half the height and width.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def each(function, x):
    """`function` of a tensor, or of both parts of a pair."""
    return (function(x[0]), function(x[1])) if isinstance(x, tuple) else function(x)


class Residual(nn.Module):
    """relu(path(x) + shortcut(x)); without a shortcut module it is the identity."""

    def __init__(self, path, shortcut=None):
        super().__init__()
        self.path, self.shortcut = path, shortcut

    def forward(self, x):
        y, x = self.path(x), x if self.shortcut is None else self.shortcut(x)
        if isinstance(y, tuple):
            return F.relu(y[0] + x[0]), F.relu(y[1] + x[1])
        return F.relu(y + x)


class PaddedShortcut(nn.Module):
    """Every stride-th pixel, new channels zero; `extra` channels, of a pair (high, low)."""

    def __init__(self, extra, stride):
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x):
        if isinstance(x, tuple):
            return self.pad(x[0], self.extra[0]), self.pad(x[1], self.extra[1])
        return self.pad(x, self.extra)

    def pad(self, x, extra):
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, extra))


class PairReLU(nn.Module):
    def forward(self, x):
        return each(F.relu, x)


class PairNorm(nn.Module):
    """A separate batch norm for each frequency."""

    def __init__(self, high, low):
        super().__init__()
        self.high = nn.BatchNorm2d(high) if high else nn.Identity()
        self.low = nn.BatchNorm2d(low)

    def forward(self, x):
        return self.high(x[0]), self.low(x[1])


class MaxPool(nn.Module):
    """Max pooling of a tensor or of both frequencies; the output size is ceil(size / stride)."""

    def __init__(self, kernel, stride):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        return each(self.pool, x)

    def pool(self, x):
        if x.shape[1] == 0:
            return x[:, :, :: self.stride, :: self.stride]
        even = self.kernel % 2 == 0
        return F.max_pool2d(x, self.kernel, self.stride, (self.kernel - 1) // 2, ceil_mode=even)


class GlobalPool(nn.Module):
    """(N, C) means over height and width, the high channels before the low ones."""

    def forward(self, x):
        parts = x if isinstance(x, tuple) else (x,)
        return torch.cat([part.mean((2, 3)) for part in parts], dim=1)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation (Hu et al., CVPR 2018); of a pair, both frequencies together."""

    def __init__(self, channels, hidden, high):
        super().__init__()
        self.pool = GlobalPool()
        self.reduce, self.expand = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.high = high

    def forward(self, x):
        gate = torch.sigmoid(self.expand(F.relu(self.reduce(self.pool(x)))))[:, :, None, None]
        if isinstance(x, tuple):
            return x[0] * gate[:, : self.high], x[1] * gate[:, self.high :]
        return x * gate
