"""HetConv's grouped execution: a KxK convolution with p groups plus a 1x1 convolution.

Both work on channels ordered by their residue modulo p, which channel shuffles bring into that
order and back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fold import is_plain, parameter
from ..forms import call
from ..hetconv_execution import HetShape


def grouped_convolution(
    x: Tensor,
    grouped: Tensor,
    pointwise: Tensor,
    bias: Tensor | None,
    shape: HetShape,
    padding: int,
) -> Tensor:
    """The KxK convolution with p groups plus the 1x1 convolution at the centre of its windows."""
    y = F.conv2d(x, grouped, bias, shape.stride, padding, 1, shape.p)
    # A window's centre lies kernel // 2 inside it: with less padding the outermost pixels are no
    # window's centre and are cropped, with more the 1x1 convolution is padded too.
    around = padding - shape.kernel // 2
    if around < 0:
        x = F.pad(x, (around,) * 4)
    return y.add_(F.conv2d(x, pointwise, None, shape.stride, max(around, 0)))


def shuffled(x: Tensor, groups: int) -> Tensor:
    """`F.channel_shuffle` in the layout of `x`: (N, C, H, W) to the same."""
    if x.device.type == "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
        return F.channel_shuffle(x, groups)
    # torch's kernel for it on a GPU gives NCHW whatever it reads.
    return shuffled_channels_last(x, groups)


def shuffled_channels_last(x: Tensor, groups: int) -> Tensor:
    """The same for maps that lie as channels_last, as one copy of rows of channels."""
    count, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).view(count, height, width, groups, channels // groups)
    return rows.transpose(3, 4).reshape(count, height, width, channels).permute(0, 3, 1, 2)


class GroupedHetConv2d(nn.Module):
    """A HetConv in its grouped execution, on channels ordered by residue between two shuffles.

    A shuffle can be left out where a neighbouring layer gives or takes the channels in that order.
    """

    def __init__(
        self,
        grouped: Tensor,
        pointwise: Tensor,
        bias: Tensor | None,
        shape: HetShape,
        padding: int,
    ) -> None:
        super().__init__()
        self.grouped, self.pointwise = parameter(grouped), parameter(pointwise)
        self.bias = parameter(bias)
        self.shape, self.padding = shape, padding
        self.shuffles_input = self.shuffles_output = True

    def forward(self, x: Tensor) -> Tensor:
        if self.shuffles_input:
            x = shuffled(x, self.shape.in_channels // self.shape.p)
        y = grouped_convolution(
            x, self.grouped, self.pointwise, self.bias, self.shape, self.padding
        )
        return shuffled(y, self.shape.p) if self.shuffles_output else y

    def meet(self, before: nn.Module, after: nn.Module) -> None:
        """Drop the shuffles between two layers where the other can take or give this order."""
        if isinstance(before, GroupedHetConv2d) and isinstance(after, GroupedHetConv2d):
            # With the same p the one gives the order that the other takes.
            before.shuffles_output = after.shuffles_input = before.shape.p != after.shape.p
        elif self is after and is_plain(before):
            _reorder(before, 0, self.shape.p)
            self.shuffles_input = False
        elif self is before and is_plain(after):
            _reorder(after, 1, self.shape.p)
            self.shuffles_output = False

    def standalone(self) -> str:
        shape = self.shape
        sizes = (shape.in_channels, shape.out_channels, shape.kernel, shape.stride, self.padding)
        shuffles = {"shuffle_in": self.shuffles_input, "shuffle_out": self.shuffles_output}
        return call("GroupedHetConv2d", *sizes, p=shape.p, **shuffles)


def residue_order(channels: int, p: int) -> Tensor:
    """0, p, 2p, ..., 1, p + 1, ...: the channels in the order of a grouped HetConv."""
    return torch.arange(channels).view(-1, p).t().flatten()


def _reorder(conv: Any, dim: int, p: int) -> None:
    weight = conv.weight
    last = weight.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    order = residue_order(weight.shape[dim], p).to(weight.device)
    conv.weight = parameter(weight.index_select(dim, order).contiguous(memory_format=layout))
    if dim == 0 and conv.bias is not None:
        conv.bias = parameter(conv.bias[order])
