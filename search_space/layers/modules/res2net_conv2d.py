"""Res2Net: a 3x3 convolution split into a hierarchy of smaller ones.

Source: Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", TPAMI 2019, arXiv
1904.01169, equation 1:  y1 = x1;  y2 = K2(x2);  yi = Ki(xi + y(i-1)) for 2 < i <= s.
In the first block of a stage ("stage block") the splits are not added and x1 goes through a 3x3
average pool with the block's stride, as in the authors' code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fold import absorb
from ..forms import call
from ..frequency import SqueezeExcite
from ..residual import ResidualBlock


class Res2NetConv2d(nn.Module):
    """The hierarchy of equation 1, in place of a bottleneck's 3x3 convolution.

    (N, channels, H, W) to (N, channels, ceil(H/stride), ceil(W/stride)); `channels` is split in
    `scales` equal parts. Every convolution has its own BatchNorm and ReLU, so none follows this
    module. At scales = 1 there is one split, which is convolved: a plain convolution.

    Raises ValueError where the scales or groups do not divide the channels, and for a stride in any
    but a stage block: equation 1 hands x1 on and adds y(i-1) to xi, so all must have one size.
    """

    def __init__(
        self,
        channels: int,
        scales: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        stage_block: bool = False,
    ) -> None:
        super().__init__()
        width = split_width(channels, scales, groups)
        if stride != 1 and scales > 1 and not stage_block:
            raise ValueError(f"stage_block must be True where the stride is {stride}, not 1")
        self.scales, self.stride, self.kernel_size = scales, stride, kernel_size
        self.stage_block = stage_block
        count = max(1, scales - 1)
        self.convs = nn.ModuleList(
            nn.Conv2d(
                width, width, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
            )
            for _ in range(count)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        if self.scales == 1:
            return F.relu_(self.norms[0](self.convs[0](x)))
        first, *splits = torch.chunk(x, self.scales, dim=1)
        # Padding is counted: a blur where the stride is 1.
        outputs = [F.avg_pool2d(first, 3, self.stride, 1) if self.stage_block else first]
        for i, (split, conv, norm) in enumerate(zip(splits, self.convs, self.norms, strict=True)):
            # i = 0 is x2, which K2 reads alone. A new sum: `split` is a view of x.
            if i > 0 and not self.stage_block:
                split = split + outputs[-1]
            outputs.append(F.relu_(norm(conv(split))))
        return torch.cat(outputs, dim=1)

    def for_inference(self, overwrites: bool) -> nn.Module:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            if absorb(conv, norm):
                self.norms[i] = nn.Identity()
        if not all(isinstance(norm, nn.Identity) for norm in self.norms):
            return self
        return FoldedRes2NetConv2d(
            self.convs, self.scales, self.stride, self.stage_block, overwrites=overwrites
        )

    def standalone(self) -> str:
        return _call(self, folded=False)


class FoldedRes2NetConv2d(nn.Module):
    """Equation 1's hierarchy. With `overwrites` it works inside its input, which nobody else may
    read: each part is replaced by what it becomes, and nothing is concatenated."""

    def __init__(
        self, convs: nn.ModuleList, scales: int, stride: int, stage_block: bool, *, overwrites: bool
    ) -> None:
        super().__init__()
        self.convs = convs
        self.scales, self.stride, self.stage_block = scales, stride, stage_block
        self.overwrites = overwrites and stride == 1 and not stage_block and scales > 1

    def forward(self, x: Tensor) -> Tensor:
        if self.scales == 1:
            return F.relu_(self.convs[0](x))
        if self.overwrites and not (torch.is_grad_enabled() and x.requires_grad):
            return self._inside(x)
        first, *splits = torch.chunk(x, self.scales, dim=1)
        outputs = [F.avg_pool2d(first, 3, self.stride, 1) if self.stage_block else first]
        for i, (split, conv) in enumerate(zip(splits, self.convs, strict=True)):
            if i > 0 and not self.stage_block:
                split = split + outputs[-1]
            outputs.append(F.relu_(conv(split)))
        return torch.cat(outputs, dim=1)

    def standalone(self) -> str:
        return _call(self, folded=True)

    def _inside(self, x: Tensor) -> Tensor:
        # In ascending order: y(i) reads y(i-1), which by then lies where x(i-1) was (y1 is x1).
        # `out=` has no backward, so this is for maps without gradients alone.
        width = x.shape[1] // self.scales
        for i, conv in enumerate(self.convs, 1):
            part = x.narrow(1, i * width, width)
            if i > 1:
                part += x.narrow(1, (i - 1) * width, width)
            torch.clamp_min(conv(part), 0, out=part)
        return x


def _call(layer: Any, *, folded: bool) -> str:
    conv = layer.convs[0]
    return call(
        "Res2NetConv2d",
        *(conv.in_channels * layer.scales, layer.scales, conv.kernel_size[0], layer.stride),
        groups=conv.groups,
        stage_block=layer.stage_block,
        folded=folded,
    )


def split_width(channels: int, scales: int, groups: int = 1) -> int:
    """Channels of one split. Raises ValueError where they do not come out even."""
    if scales < 1 or channels % scales:
        raise ValueError(f"scales must divide the channels: {scales} does not divide {channels}")
    if (channels // scales) % groups:
        raise ValueError(
            f"{groups} groups do not divide the {channels // scales} channels of each of {scales}"
            " scales"
        )
    return channels // scales


def hierarchy_channels(planes: int, scales: int, base_width: int | None, groups: int = 1) -> int:
    """Channels between a Res2Net bottleneck's 1x1 convolutions.

    With `base_width`: scales times floor(planes * base_width / 64) * groups. Without: planes.
    """
    if base_width is None:
        return planes
    return scales * (planes * base_width // 64) * groups


class Res2NetBottleneck(ResidualBlock):
    """1x1 convolution, hierarchy of 3x3 convolutions, 1x1 convolution, plus the shortcut.

    (N, in_channels, H, W) to (N, 4 * planes, ceil(H/stride), ceil(W/stride)). With `base_width` the
    hierarchy has floor(planes * base_width / 64) * groups channels a scale (the paper's 26w x 4s is
    base_width=26, scales=4); without, planes / scales. `stage_block` says whether this is the first
    block of a stage (None: where stride or channels change), which it has to be where the stride is
    not 1: ValueError. `se` adds squeeze-and-excitation.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int = 1,
        scales: int = 4,
        base_width: int | None = None,
        groups: int = 1,
        se: bool = False,
        kernel_size: int = 3,
        stage_block: bool | None = None,
    ) -> None:
        channels = hierarchy_channels(planes, scales, base_width, groups)
        out_channels = planes * self.expansion
        changes = stride != 1 or in_channels != out_channels
        path: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            Res2NetConv2d(
                channels,
                scales,
                kernel_size,
                stride,
                groups,
                changes if stage_block is None else stage_block,
            ),
            nn.Conv2d(channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        if se:
            path.append(SqueezeExcite(out_channels))
        shortcut = None
        if changes:
            shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        super().__init__(nn.Sequential(*path), shortcut)
