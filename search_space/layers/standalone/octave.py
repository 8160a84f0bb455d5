"""Octave convolution, as an exported Python module has it: short, on torch alone."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def pooled(x):
    """2x2 average that keeps an odd last row and column; a map without channels just shrinks."""
    return F.avg_pool2d(x, 2, ceil_mode=True) if x.shape[1] else x[:, :, ::2, ::2]


def upsampled(low, high):
    """Every pixel four times, cropped to `high`. By size torch divides in float32, which is wrong
    by a row for some large odd sizes."""
    height, width = high.shape[-2:]
    if max(height, width) <= 4096:
        return F.interpolate(low, size=(height, width), mode="nearest")
    return F.interpolate(low, scale_factor=2, mode="nearest")[..., :height, :width]


class OctConv2d(nn.Module):
    """Octave convolution (Chen et al., ICCV 2019, arXiv 1904.05049), padded to keep the size.

    `inputs` and `outputs` are channels (high, low); `groups` of each path that is there. Stride 2
    pools first; high to low pools once more, low to high then needs no upsampling.
    """

    def __init__(self, inputs, outputs, kernel, stride=1, bias=False, **groups):
        super().__init__()
        self.outputs, self.stride, self.padding = outputs, stride, kernel // 2
        self.groups = groups
        for path, count in groups.items():
            source, target = path.split("_to_")
            n_in, n_out = inputs[source == "low"], outputs[target == "low"]
            weight = torch.empty(n_out, n_in // count, kernel, kernel)
            self.register_parameter(path, nn.Parameter(nn.init.kaiming_uniform_(weight)))
        self.bias = nn.Parameter(torch.zeros(sum(outputs))) if bias else None

    def forward(self, x):
        high, low = x if isinstance(x, tuple) else (x, None)
        low_read = low
        if self.stride == 2:
            high = pooled(high)
            low_read = None if low is None else pooled(low)
        up = None if low is None else self.path("low_to_high", low)
        if up is not None and self.stride == 1:
            up = upsampled(up, high)
        out_high = self.sum(self.path("high_to_high", high), up)
        if self.outputs[1] == 0:
            return self.biased(out_high, 0)
        down = self.path("high_to_low", pooled(high))
        out_low = self.sum(self.path("low_to_low", low_read), down)
        if out_high is None:
            out_high = high.new_zeros((high.shape[0], 0, *high.shape[-2:]))
        return self.biased(out_high, 0), self.biased(out_low, self.outputs[0])

    def path(self, name, x):
        if name not in self.groups:
            return None
        return F.conv2d(x, getattr(self, name), None, 1, self.padding, 1, self.groups[name])

    def sum(self, one, other):
        if one is None or other is None:
            return other if one is None else one
        return one + other

    def biased(self, x, start):
        if self.bias is None:
            return x
        return x + self.bias[start : start + x.shape[1], None, None]


class PlainOctConv2d(nn.Module):
    """An octave convolution without a low frequency: a plain one under the octave weight's name."""

    def __init__(self, inputs, outputs, kernel, stride, padding, groups, bias):
        super().__init__()
        weight = torch.empty(outputs, inputs // groups, kernel, kernel)
        self.high_to_high = nn.Parameter(nn.init.kaiming_uniform_(weight))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.stride, self.padding, self.groups = stride, padding, groups

    def forward(self, x):
        weight = self.high_to_high
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, groups=self.groups)


class FoldedOctConv2d(nn.Module):
    """An octave convolution of pairs for inference: the low map is one convolution over
    cat[pool(high), low]. Channels are (high, low)."""

    def __init__(self, inputs, outputs, kernel, stride=1):
        super().__init__()
        size = (kernel, kernel)
        self.high_to_high = nn.Parameter(torch.zeros(outputs[0], inputs[0], *size))
        self.low_to_high = nn.Parameter(torch.zeros(outputs[0], inputs[1], *size))
        self.to_low = nn.Parameter(torch.zeros(outputs[1], sum(inputs), *size))
        self.bias_high = nn.Parameter(torch.zeros(outputs[0]))
        self.bias_low = nn.Parameter(torch.zeros(outputs[1]))
        self.stride, self.padding = stride, kernel // 2

    def forward(self, x):
        high, low = x
        if self.stride == 2:
            high = pooled(high)
        out_high = F.conv2d(high, self.high_to_high, self.bias_high, padding=self.padding)
        up = F.conv2d(low, self.low_to_high, padding=self.padding)
        if self.stride == 1:
            up = upsampled(up, high)
        else:
            low = pooled(low)
        both = torch.cat([pooled(high), low], dim=1)
        return out_high + up, F.conv2d(both, self.to_low, self.bias_low, padding=self.padding)
