"""Octave convolution: part of the channels live at half resolution.

Source: Chen et al., "Drop an Octave: Reducing Spatial Redundancy in Convolutional Neural Networks
with Octave Convolution", ICCV 2019, arXiv 1904.05049, equations 2 to 4:

    Y_high = conv(X_high) + upsample(conv(X_low))
    Y_low  = conv(X_low)  + conv(pool(X_high))

Upsampling is nearest by 2, pooling is 2x2 average. Stride 2 pools first, then convolves: high to
low pools once more, low to high needs no upsampling. Parameters do not depend on alpha.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fold import convolution, parameter
from ..forms import call
from ..frequency import FeatureMap, low_channels
from .conv_arguments import Size, conv_numbers, has_bias
from .octave_folded import FoldedOctConv2d
from .octave_paths import octave_paths, pooled, upsampled


class OctConv2d(nn.Module):
    """`nn.Conv2d` over two frequencies; drop-in at alpha_in = alpha_out = 0.

    Takes a tensor (N, C_in, H, W) where `alpha_in` is 0, else the pair (high, low) with
    int(alpha_in * C_in) low channels of size (ceil(H/2), ceil(W/2)); gives a tensor where
    `alpha_out` is 0, else a pair. At alpha 1 the pair's high part has no channels but keeps its
    size. Weights are one (C_out, C_in/groups, k, k) tensor's worth whatever the alphas.

    `groups` applies to all four paths, at most as many as a path has outputs; a depthwise
    convolution (groups = C_in = C_out) drops the two cross paths (paper, section 3.3).

    The arguments may have any form that nn.Conv2d takes or stores. Raises ValueError, naming the
    argument, where height and width differ or padding_mode is not "zeros", for alphas outside 0..1
    or so small that no channel is low, strides above 2 or paddings that change the size where there
    is a low part, and groups that do not divide a path's channels.
    """

    high_to_high: nn.Parameter | None
    high_to_low: nn.Parameter | None
    low_to_high: nn.Parameter | None
    low_to_low: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool | Tensor | None = False,
        alpha_in: float = 0.25,
        alpha_out: float = 0.25,
        *,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        numbers = conv_numbers(kernel_size, stride, padding, dilation, padding_mode)
        kernel_size, stride, padding, dilation = numbers
        sides = (("alpha_in", alpha_in, in_channels), ("alpha_out", alpha_out, out_channels))
        for name, alpha, channels in sides:
            if not 0 <= alpha <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {alpha}")
            if alpha > 0 and low_channels(channels, alpha) == 0:
                raise ValueError(
                    f"{name} must be 0 or at least 1/{channels}, not {alpha}, which makes none of"
                    f" the {channels} channels a low one"
                )
        self.alpha_in, self.alpha_out = alpha_in, alpha_out
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.groups = dilation, groups
        self.plain = alpha_in == 0 and alpha_out == 0
        if not self.plain and stride not in (1, 2):
            raise ValueError(f"an octave convolution has stride 1 or 2, not {stride}")
        if not self.plain and 2 * padding != dilation * (kernel_size - 1):
            raise ValueError(
                f"padding must be {dilation * (kernel_size - 1) / 2:g}, keeping the size, not"
                f" {padding}: the frequencies would no longer lie on each other"
            )
        paths = octave_paths(in_channels, out_channels, alpha_in, alpha_out, groups)
        self.groups_of = {name: path.groups for name, path in paths.items()}
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        for name in ("high_to_high", "high_to_low", "low_to_high", "low_to_low"):
            path = paths.get(name)
            shape = path and (path.outputs, path.inputs // path.groups, kernel_size, kernel_size)
            weight = nn.Parameter(torch.empty(shape, **made)) if shape else None
            self.register_parameter(name, weight)
        self.bias = nn.Parameter(torch.empty(out_channels, **made)) if has_bias(bias) else None
        self.high_in = in_channels - low_channels(in_channels, alpha_in)
        self.high_out = out_channels - low_channels(out_channels, alpha_out)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """nn.Conv2d's own initialisation, with the fan-in of all paths that meet in an output."""
        for side in ("high", "low"):
            weights = [getattr(self, f"{source}_to_{side}") for source in ("high", "low")]
            fan_in = sum(weight[0].numel() for weight in weights if weight is not None)
            for weight in weights:
                if weight is not None:
                    nn.init.uniform_(weight, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_channels // self.groups * self.kernel_size**2)
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: FeatureMap) -> FeatureMap:
        if self.plain:
            assert isinstance(x, Tensor)
            return self._convolve(x, "high_to_high", self.bias, stride=self.stride)
        high, low = (x, None) if isinstance(x, Tensor) else x
        # torch pools no map without channels; the slice has the same size.
        if self.stride == 2:
            high = pooled(high) if self.high_in else high[:, :, ::2, ::2]
        bias_high = None if self.bias is None else self.bias[: self.high_out]
        bias_low = None if self.bias is None else self.bias[self.high_out :]

        # Each side's bias goes with the first path that gives to it, so it is added once.
        # Upsampling repeats pixels, so before it is as good as after.
        out_high = None
        if self.high_to_high is not None:
            out_high = self._convolve(high, "high_to_high", bias_high)
        if self.low_to_high is not None:
            assert low is not None
            from_low = self._convolve(
                low, "low_to_high", None if out_high is not None else bias_high
            )
            # At stride 2 the low map already has the output's size.
            if self.stride == 1:
                from_low = upsampled(from_low, high)
            out_high = from_low if out_high is None else out_high.add_(from_low)
        if self.alpha_out == 0:
            assert out_high is not None
            return out_high

        out_low = None
        if self.low_to_low is not None:
            assert low is not None
            read = pooled(low) if self.stride == 2 else low
            out_low = self._convolve(read, "low_to_low", bias_low)
        if self.high_to_low is not None:
            from_high = self._convolve(
                pooled(high), "high_to_low", None if out_low is not None else bias_low
            )
            # In place: a convolution's backward does not look at what it gave.
            out_low = from_high if out_low is None else out_low.add_(from_high)
        assert out_low is not None
        if out_high is None:
            out_high = high.new_zeros((high.shape[0], 0, *high.shape[-2:]))
        return out_high, out_low

    def _convolve(self, x: Tensor, path: str, bias: Tensor | None, stride: int = 1) -> Tensor:
        weight = getattr(self, path)
        return F.conv2d(x, weight, bias, stride, self.padding, self.dilation, self.groups_of[path])

    def absorb_norm(self, scale: Tensor, shift: Tensor) -> None:
        scales = {"high": scale[: self.high_out], "low": scale[self.high_out :]}
        for path in self.groups_of:
            rows = scales[path.partition("_to_")[2]].view(-1, 1, 1, 1)
            setattr(self, path, parameter(getattr(self, path) * rows))
        self.bias = parameter(shift if self.bias is None else self.bias * scale + shift)

    def for_inference(self, overwrites: bool) -> nn.Module:
        if self.plain:
            assert self.high_to_high is not None
            return convolution(
                self.high_to_high,
                self.bias,
                self.stride,
                self.padding,
                dilation=self.dilation,
                groups=self.groups,
            )
        four = (self.high_to_high, self.high_to_low, self.low_to_high, self.low_to_low)
        # With groups, a convolution over both maps would put other channels together.
        if self.groups > 1 or any(weight is None for weight in four):
            return self
        hh, hl, lh, ll = (weight for weight in four if weight is not None)
        bias = hh.new_zeros(self.out_channels) if self.bias is None else self.bias
        return FoldedOctConv2d(
            hh,
            lh,
            torch.cat([hl, ll], dim=1),
            bias[: self.high_out],
            bias[self.high_out :],
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    def standalone(self) -> str:
        bias = self.bias is not None
        if self.plain:
            sizes = (self.in_channels, self.out_channels, self.kernel_size, self.stride)
            return call("PlainOctConv2d", *sizes, self.padding, self.groups, bias)
        inputs = (self.high_in, self.in_channels - self.high_in)
        outputs = (self.high_out, self.out_channels - self.high_out)
        more = {"stride": self.stride, "bias": bias, **self.groups_of}
        return call("OctConv2d", inputs, outputs, self.kernel_size, **more)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size},"
            f" stride={self.stride}, alpha_in={self.alpha_in}, alpha_out={self.alpha_out}"
        )
