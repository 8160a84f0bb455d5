"""Heterogeneous convolution: a share 1/p of every filter's kernels are KxK, the rest 1x1.

Source: Singh et al., "HetConv: Heterogeneous Kernel-Based Convolutions for Deep CNNs", CVPR 2019,
arXiv 1903.04120. Filter n has a KxK kernel on input channel i where (i - n) mod p == 0 and a 1x1
kernel elsewhere:  flops = M N D^2 (K^2/p + 1 - 1/p);  params = M N (K^2/p + 1 - 1/p).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import LayerCost, NotBuildable, Signal


class HetConv2d(nn.Module):
    """A heterogeneous convolution that stores exactly the paper's parameters.

    (N, in_channels, H, W) to (N, out_channels, H', W'), sizes as nn.Conv2d's. `spatial` is
    (out, in/p, K, K): filter n's kernels on the channels n mod p, n mod p + p, ...; `pointwise` is
    (out, in - in/p): its 1x1 kernels on the other channels in ascending order. A 1x1 kernel sits
    at the centre of the KxK window. p = 1 is a plain convolution.

    Raises ValueError where p does not divide both channel counts or the kernel is even.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        bias: bool = False,
        p: int = 2,
    ) -> None:
        super().__init__()
        _check(in_channels, out_channels, p)
        if kernel_size % 2 == 0:
            raise ValueError(f"the kernel must be odd to have a centre, not {kernel_size}")
        self.in_channels, self.out_channels, self.p = in_channels, out_channels, p
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        own = in_channels // p
        self.spatial = nn.Parameter(torch.empty(out_channels, own, kernel_size, kernel_size))
        self.pointwise = nn.Parameter(torch.empty(out_channels, in_channels - own))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None

        filters, channels = torch.arange(out_channels), torch.arange(in_channels)
        is_own = (channels[None, :] - filters[:, None]) % p == 0
        flat = torch.arange(out_channels * in_channels).view(out_channels, in_channels)
        self.register_buffer("own_index", flat[is_own], persistent=False)
        self.register_buffer("other_index", flat[~is_own], persistent=False)
        self.own_index: Tensor
        self.other_index: Tensor
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """nn.Conv2d's own initialisation, with the fan-in of one heterogeneous filter."""
        bound = 1 / math.sqrt(self.spatial[0].numel() + self.pointwise[0].numel())
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def dense_weight(self) -> Tensor:
        """(out, in, K, K): the weight of the plain convolution equal to this one, differentiable."""
        size, centre = self.kernel_size, self.kernel_size // 2
        weight = self.spatial.new_zeros(self.out_channels * self.in_channels, size * size)
        weight = weight.index_copy(0, self.own_index, self.spatial.reshape(-1, size * size))
        middle = F.pad(
            self.pointwise.reshape(-1, 1), (centre * size + centre, centre * size + centre)
        )
        weight = weight.index_copy(0, self.other_index, middle)
        return weight.view(self.out_channels, self.in_channels, size, size)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.dense_weight(), self.bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size},"
            f" stride={self.stride}, padding={self.padding}, p={self.p}"
        )


def _check(in_channels: int, out_channels: int, p: int) -> None:
    if p < 1 or in_channels % p or out_channels % p:
        raise ValueError(
            f"p must divide both channel counts: {p} does not divide {in_channels} input and"
            f" {out_channels} output channels"
        )


@dataclass(frozen=True)
class Het:
    """A planned heterogeneous convolution, padded to keep the size, at the paper's cost."""

    source: Signal
    out_channels: int
    kernel: int
    p: int
    stride: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        try:
            _check(self.source.channels, self.out_channels, self.p)
        except ValueError as e:
            raise NotBuildable(str(e)) from e

    @property
    def out(self) -> Signal:
        return Signal(self.out_channels, *self.source.strided(self.stride))

    def cost(self) -> LayerCost:
        own = self.source.channels // self.p
        weights = self.out_channels * (own * self.kernel**2 + self.source.channels - own)
        return LayerCost(
            flops=weights * self.out.area,
            params=weights + self.out_channels * self.bias,
            activations=self.out.elements,
        )

    def build(self) -> nn.Module:
        return HetConv2d(
            self.source.channels,
            self.out_channels,
            self.kernel,
            stride=self.stride,
            padding=self.kernel // 2,
            bias=self.bias,
            p=self.p,
        )
