"""HetConv, as an exported Python module has it: short, on torch alone."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


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
