"""An octave convolution with its batch norm folded in, as inference runs it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fold import parameter
from ..forms import call
from ..frequency import FeatureMap
from .octave_paths import pooled, upsampled


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

    def standalone(self) -> str:
        (high_out, high_in, kernel, _), (low_out, both, *_) = (
            self.high_to_high.shape,
            self.to_low.shape,
        )
        inputs, outputs = (high_in, both - high_in), (high_out, low_out)
        return call("FoldedOctConv2d", inputs, outputs, kernel, stride=self.stride)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, 1, self.padding, self.dilation)
