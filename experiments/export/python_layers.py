"""The layers of an exported Python module, written as short as they can be, on torch alone.

`standalone.py` copies from here what one network needs, word for word; nothing else imports it. The
parameters have the names and shapes of convnas's own layers, so that the same weights fit. A feature
map is a tensor, or a pair (high, low) whose `low` has half the height and width.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def pooled(x):
    """2x2 average that keeps an odd last row and column; a map without channels just shrinks."""
    return F.avg_pool2d(x, 2, ceil_mode=True) if x.shape[1] else x[:, :, ::2, ::2]


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


class HetConv2d(nn.Module):
    """Filter n has a KxK kernel on input channel i where (i - n) % p == 0, a 1x1 kernel elsewhere.

    Singh et al., CVPR 2019, arXiv 1903.04120. A row of `weight` holds one filter: its KxK kernels,
    then its 1x1 kernels. It runs as one convolution with the kernels scattered among zeros.
    """

    def __init__(self, inputs, outputs, kernel, stride=1, padding=1, p=2, bias=False):
        super().__init__()
        self.inputs, self.kernel, self.stride, self.padding = inputs, kernel, stride, padding
        own = inputs // p
        numbers = own * kernel**2 + inputs - own
        self.weight = nn.Parameter(torch.empty(outputs, numbers).uniform_(-1, 1) / numbers**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        spatial = (torch.arange(inputs) - torch.arange(outputs)[:, None]) % p == 0
        window = torch.zeros(outputs, inputs, kernel, kernel, dtype=torch.bool)
        window[:, :, kernel // 2, kernel // 2] = True
        whole = window | spatial[:, :, None, None]
        # Where each filter's numbers go: its KxK kernels, then its 1x1 kernels, channels ascending.
        place = torch.arange(inputs * kernel**2).view(inputs, kernel, kernel)
        rows = [
            torch.cat([place[spatial[n]].flatten(), place[whole[n] & ~spatial[n][:, None, None]]])
            for n in range(outputs)
        ]
        self.register_buffer("place", torch.stack(rows), persistent=False)

    def forward(self, x):
        zeros = self.weight.new_zeros(len(self.weight), self.inputs * self.kernel**2)
        dense = zeros.scatter(1, self.place, self.weight)
        dense = dense.view(-1, self.inputs, self.kernel, self.kernel)
        return F.conv2d(x, dense, self.bias, self.stride, self.padding)


class GroupedHetConv2d(nn.Module):
    """A HetConv for inference: a KxK convolution with p groups plus a 1x1 convolution, on channels
    ordered by their remainder modulo p; the shuffles bring them into that order and back."""

    def __init__(self, inputs, outputs, kernel, stride, padding, p, shuffle_in, shuffle_out):
        super().__init__()
        self.grouped = nn.Parameter(torch.zeros(outputs, inputs // p, kernel, kernel))
        self.pointwise = nn.Parameter(torch.zeros(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.p, self.stride, self.padding = p, stride, padding
        self.shuffle_in, self.shuffle_out = shuffle_in, shuffle_out

    def forward(self, x):
        if self.shuffle_in:
            x = shuffled(x, x.shape[1] // self.p)
        y = F.conv2d(x, self.grouped, self.bias, self.stride, self.padding, groups=self.p)
        y = y + F.conv2d(x, self.pointwise, None, self.stride)
        return shuffled(y, self.p) if self.shuffle_out else y


def shuffled(x, groups):
    """Channel 0 of each of the groups, then channel 1 of each, and so on."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


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
            up = F.interpolate(up, size=high.shape[-2:], mode="nearest")
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
            up = F.interpolate(up, size=high.shape[-2:], mode="nearest")
        else:
            low = pooled(low)
        both = torch.cat([pooled(high), low], dim=1)
        return out_high + up, F.conv2d(both, self.to_low, self.bias_low, padding=self.padding)


class Res2NetConv2d(nn.Module):
    """Res2Net's hierarchy (Gao et al., TPAMI 2019, arXiv 1904.01169, equation 1).

    The channels are split in `scales`; the first split passes (in a stage's first block through an
    average pool), each other is convolved after the last output was added to it (not in a stage's
    first block, nor for the second split). Each convolution has a norm (folded: none) and a ReLU.
    """

    def __init__(self, channels, scales, kernel, stride, groups, stage_block, folded):
        super().__init__()
        width, count = channels // scales, max(1, scales - 1)
        self.scales, self.stride, self.stage_block = scales, stride, stage_block
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=groups, bias=folded)
            for _ in range(count)
        )
        self.norms = nn.ModuleList(
            nn.Identity() if folded else nn.BatchNorm2d(width) for _ in range(count)
        )

    def forward(self, x):
        if self.scales == 1:
            return F.relu(self.norms[0](self.convs[0](x)))
        first, *splits = torch.chunk(x, self.scales, dim=1)
        outputs = [F.avg_pool2d(first, 3, self.stride, 1) if self.stage_block else first]
        for i, (split, conv, norm) in enumerate(zip(splits, self.convs, self.norms)):
            if i > 0 and not self.stage_block:
                split = split + outputs[-1]
            outputs.append(F.relu(norm(conv(split))))
        return torch.cat(outputs, dim=1)
