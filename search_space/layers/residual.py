"""The residual block: a path, a shortcut, their sum, a ReLU; on plain maps and on pairs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .frequency import FeatureMap, add_, each_frequency


class ResidualBlock(nn.Module):
    """relu(path(x) + shortcut(x)); no shortcut module means the identity.

    The sum is written over what the path gives, so the path must end in a layer whose backward does
    not look at its output, as a norm, a convolution or a product, and not in an in-place layer.
    """

    def __init__(self, path: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.path, self.shortcut = path, shortcut

    def forward(self, x: FeatureMap) -> FeatureMap:
        y = x if self.shortcut is None else self.shortcut(x)
        return each_frequency(F.relu_, add_(self.path(x), y))


class PaddedShortcut(nn.Module):
    """Option A of He et al. (CVPR 2016): every stride-th pixel, new channels 0, no parameters."""

    def __init__(self, extra_channels: int | tuple[int, int], stride: int) -> None:
        super().__init__()
        self.extra_channels, self.stride = extra_channels, stride

    def forward(self, x: FeatureMap) -> FeatureMap:
        if isinstance(x, Tensor):
            assert isinstance(self.extra_channels, int)
            return self._pad(x, self.extra_channels)
        assert isinstance(self.extra_channels, tuple)
        return self._pad(x[0], self.extra_channels[0]), self._pad(x[1], self.extra_channels[1])

    def _pad(self, x: Tensor, extra: int) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, extra))
