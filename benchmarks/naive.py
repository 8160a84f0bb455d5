"""The operators as the source document writes them, where it is wrong made right, never faster.

HetConv is one convolution object for every kernel of every filter. OctConv's and Res2Net's sums and
ReLUs allocate. All run in the layout a network has by default (not channels_last).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NaiveHetConv(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, p: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(1, 1, 3, padding=1, bias=False)
                if (i - n) % p == 0
                else nn.Conv2d(1, 1, 1, bias=False)
                for i in range(in_channels)
            )
            for n in range(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for filters in self.blocks:
            assert isinstance(filters, nn.ModuleList)
            total = filters[0](x[:, 0:1])
            for j, kernel in enumerate(list(filters)[1:], 1):
                total = total + kernel(x[:, j : j + 1])
            outputs.append(total)
        return torch.cat(outputs, 1)


class NaiveOctConv(nn.Module):
    """The source's "normal" type at stride 1: four convolutions."""

    def __init__(self, in_channels: int, out_channels: int, alpha: float) -> None:
        super().__init__()
        low_in, low_out = int(alpha * in_channels), int(alpha * out_channels)
        high_in, high_out = in_channels - low_in, out_channels - low_out
        self.l2l = nn.Conv2d(low_in, low_out, 3, padding=1, bias=False)
        self.l2h = nn.Conv2d(low_in, high_out, 3, padding=1, bias=False)
        self.h2l = nn.Conv2d(high_in, low_out, 3, padding=1, bias=False)
        self.h2h = nn.Conv2d(high_in, high_out, 3, padding=1, bias=False)

    def forward(self, x: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        high, low = x
        up = F.interpolate(self.l2h(low), scale_factor=2, mode="nearest")
        return self.h2h(high) + up, self.l2l(low) + self.h2l(F.avg_pool2d(high, 2, 2))


class Bottleneck(nn.Module):
    """1x1, norm, ReLU, `middle`, 1x1, norm, plus the input, ReLU."""

    def __init__(self, channels: int, width: int, middle: nn.Module, *, inplace: bool) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=inplace),
            middle,
            nn.Conv2d(width, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.path(x) + x)
        return out


class NaiveHierarchy(nn.Module):
    def __init__(self, width: int, scales: int) -> None:
        super().__init__()
        part = width // scales
        self.scales = scales
        self.convs = nn.ModuleList(
            nn.Conv2d(part, part, 3, padding=1, bias=False) for _ in range(scales - 1)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(part) for _ in range(scales - 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.chunk(x, self.scales, 1)
        outputs = [parts[0]]
        for i in range(1, self.scales):
            read = parts[i] if i == 1 else parts[i] + outputs[-1]
            outputs.append(F.relu(self.norms[i - 1](self.convs[i - 1](read))))
        return torch.cat(outputs, 1)


def plain_bottleneck(channels: int, width: int) -> nn.Module:
    middle = nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
    return Bottleneck(channels, width, middle, inplace=True)
