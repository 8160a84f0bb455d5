"""The operators as they run when nothing trains: norms folded in, weights laid out once.

Made by `fold_batch_norm`; each gives what the layers it stands for give in evaluation mode. Their
own state dicts are loaded into networks folded in the same way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .frequency import FeatureMap
from .hetconv import grouped_convolution, shuffled
from .hetconv_execution import HetShape
from .octave import pooled, upsampled


def parameter(tensor: Tensor | None) -> Any:
    """A parameter of its own: it is saved and moved, never trained. None stays None."""
    return None if tensor is None else nn.Parameter(tensor.detach().clone(), requires_grad=False)


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


class FoldedOctConv2d(nn.Module):
    """An octave convolution between pairs, whose low map is one convolution over cat[pool(high),
    low]: `to_low` holds the weights of both paths side by side. Without groups."""

    def __init__(
        self,
        high_to_high: Tensor,
        low_to_high: Tensor,
        to_low: Tensor,
        bias_high: Tensor,
        bias_low: Tensor,
        *,
        stride: int,
        padding: int,
        dilation: int,
    ) -> None:
        super().__init__()
        self.high_to_high, self.low_to_high = parameter(high_to_high), parameter(low_to_high)
        self.to_low = parameter(to_low)
        self.bias_high, self.bias_low = parameter(bias_high), parameter(bias_low)
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def forward(self, x: tuple[Tensor, Tensor]) -> FeatureMap:
        high, low = x
        if self.stride == 2:
            high = pooled(high)
        out_high = self._convolve(high, self.high_to_high, self.bias_high)
        from_low = self._convolve(low, self.low_to_high, None)
        if self.stride == 1:
            from_low = upsampled(from_low, high)
        else:
            low = pooled(low)
        both = torch.cat([pooled(high), low], dim=1)
        return out_high.add_(from_low), self._convolve(both, self.to_low, self.bias_low)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, 1, self.padding, self.dilation)


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

    def _inside(self, x: Tensor) -> Tensor:
        width = x.shape[1] // self.scales
        for i, conv in enumerate(self.convs, 1):
            part = x.narrow(1, i * width, width)
            if i > 1:
                part += x.narrow(1, (i - 1) * width, width)
            torch.clamp_min(conv(part), 0, out=part)
        return x
