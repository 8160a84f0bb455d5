"""Heterogeneous convolution: a share 1/p of every filter's kernels are KxK, the rest 1x1.

Source: Singh et al., "HetConv: Heterogeneous Kernel-Based Convolutions for Deep CNNs", CVPR 2019,
arXiv 1903.04120. Filter n has a KxK kernel on input channel i where (i - n) mod p == 0 and a 1x1
kernel elsewhere:  flops = M N D^2 (K^2/p + 1 - 1/p);  params = M N (K^2/p + 1 - 1/p).
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fold import convolution, scale_rows
from ..forms import call
from ..hetconv_execution import Execution, HetShape, TwoExecutions, check_execution, het_execution
from .conv_arguments import Size, conv_numbers, has_bias
from .hetconv_grouped import GroupedHetConv2d, grouped_convolution, residue_order, shuffled


class HetConv2d(TwoExecutions):
    """A heterogeneous convolution that stores exactly the paper's parameters.

    (N, in_channels, H, W) to (N, out_channels, H', W'), sizes as nn.Conv2d's. `weight` has a row
    for each filter: its KxK kernels (`spatial`), then its 1x1 kernels (`pointwise`). A 1x1 kernel
    sits at the centre of the KxK window. p = 1 is a plain convolution.

    It runs in one of two ways, equal up to rounding: "dense", one convolution with the kernels
    scattered among zeros, or "grouped", a KxK convolution with p groups plus a 1x1 convolution on
    shuffled channels. `execution` names one; None follows the rule of `hetconv_execution.py`.

    The arguments may have any form that nn.Conv2d takes or stores. Raises ValueError, naming the
    argument, where p does not divide both channel counts, the kernel is even, height and width
    differ, or dilation, groups or padding_mode are not nn.Conv2d's defaults.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size = 3,
        stride: Size = 1,
        padding: Size | str = 1,
        bias: bool | Tensor | None = False,
        p: int = 2,
        execution: Execution | None = None,
        *,
        dilation: Size = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        numbers = conv_numbers(kernel_size, stride, padding, dilation, padding_mode)
        kernel_size, stride, padding, dilation = numbers
        check_divides(in_channels, out_channels, p)
        if groups != 1 or dilation != 1:
            name, value = ("groups", groups) if groups != 1 else ("dilation", dilation)
            raise ValueError(f"{name} must be 1 in a heterogeneous convolution, not {value}")
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd to have a centre, not {kernel_size}")
        self.in_channels, self.out_channels, self.p = in_channels, out_channels, p
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.execution = check_execution(execution)
        self.shape = HetShape(in_channels, out_channels, kernel_size, stride, p)
        self._kept: tuple[Hashable, Tensor, tuple[Tensor, ...]] | None = None
        own = in_channels // p
        self.kernels = own * kernel_size**2
        width = self.kernels + in_channels - own
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(out_channels, width, **made))
        self.bias = nn.Parameter(torch.empty(out_channels, **made)) if has_bias(bias) else None
        dense, by_residue = _places(in_channels, kernel_size, p)
        self.register_buffer("dense_place", dense.to(device), persistent=False)
        self.register_buffer("shuffled_place", by_residue.to(device), persistent=False)
        self.dense_place: Tensor
        self.shuffled_place: Tensor
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """nn.Conv2d's own initialisation, with the fan-in of one heterogeneous filter."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        for own in self.parameters():
            nn.init.uniform_(own, -bound, bound)

    @property
    def spatial(self) -> Tensor:
        """(out, in/p, K, K), a view: filter n's kernels on channels n mod p, n mod p + p, ..."""
        size = self.kernel_size
        return self.weight[:, : self.kernels].view(self.out_channels, -1, size, size)

    @property
    def pointwise(self) -> Tensor:
        """(out, in - in/p), a view: the 1x1 kernels on the other channels, in ascending order."""
        return self.weight[:, self.kernels :]

    def dense_weight(self) -> Tensor:
        """(out, in, K, K): the weight of the plain convolution equal to this one, differentiable.

        Its memory is laid out for channels_last.
        """
        out, p, size = self.out_channels, self.p, self.kernel_size
        zeros = self.weight.new_zeros(out // p, p, size * size * self.in_channels)
        # Filter n lies at [n // p, n % p], and where its numbers go depends on n % p alone.
        place = self.dense_place.expand(out // p, -1, -1)
        rows = zeros.scatter_(2, place, self.weight.view(out // p, p, -1))
        return rows.view(out, size, size, self.in_channels).permute(0, 3, 1, 2)

    def grouped_weights(self) -> tuple[Tensor, Tensor]:
        """The weights of the grouped and of the 1x1 convolution, on channels ordered by residue:
        0, p, 2p, ..., 1, p + 1, ... The 1x1 convolution's same-residue blocks are zero."""
        out, p, size = self.out_channels, self.p, self.kernel_size
        # (p, out/p, numbers): the filters by residue, so that group r has those with n % p == r.
        rows = self.weight.view(out // p, p, -1).transpose(0, 1)
        grouped = rows[..., : self.kernels].reshape(out, -1, size, size)
        zeros = self.weight.new_zeros(p, out // p, self.in_channels)
        place = self.shuffled_place[:, None].expand(-1, out // p, -1)
        pointwise = zeros.scatter_(2, place, rows[..., self.kernels :])
        return grouped, pointwise.view(out, self.in_channels, 1, 1)

    def chosen_execution(self, x: Tensor) -> Execution:
        """How this layer runs on `x`."""
        return self.execution or het_execution(self.shape, x.device.type, x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.chosen_execution(x) == "dense":
            channels_last = x.is_contiguous(memory_format=torch.channels_last)
            (weight,) = self._laid_out("dense" if channels_last else "dense, contiguous")
            return F.conv2d(x, weight, self.bias, self.stride, self.padding)
        # A shuffle with in/p groups orders the channels by residue; one with p groups puts the
        # outputs back. The bias goes the way of its filters.
        x = shuffled(x, self.in_channels // self.p)
        bias = None if self.bias is None else self.bias.view(-1, self.p).t().flatten()
        grouped, pointwise = self._laid_out("grouped")
        y = grouped_convolution(x, grouped, pointwise, bias, self.shape, self.padding)
        return shuffled(y, self.p)

    def _laid_out(self, layout: str) -> tuple[Tensor, ...]:
        """The weights in a layout; in evaluation on a CPU, those of the last call if still right.

        Right means that `weight` equals the copy that was laid out: reading it twice costs less
        than laying it out, and no change escapes, not even one through `weight.data`, which leaves
        the version counter alone. On a GPU the comparison would wait for the device.
        """
        weight = self.weight
        if (
            self.training
            or torch.is_grad_enabled()
            or weight.device.type != "cpu"
            or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
            or torch.compiler.is_compiling()
        ):
            self._kept = None
            return self._lay_out(layout)
        key = (layout, weight.dtype, weight.shape)
        if self._kept is None or self._kept[0] != key or not torch.equal(self._kept[1], weight):
            self._kept = key, weight.detach().clone(), self._lay_out(layout)
        return self._kept[2]

    def _lay_out(self, layout: str) -> tuple[Tensor, ...]:
        if layout == "grouped":
            return self.grouped_weights()
        dense = self.dense_weight()
        return (dense if layout == "dense" else dense.contiguous(),)

    def absorb_norm(self, scale: Tensor, shift: Tensor) -> None:
        scale_rows(self, scale, shift)

    def for_inference(self, overwrites: bool) -> nn.Module:
        weight = self.weight
        execution = self.execution or het_execution(self.shape, weight.device.type, weight.dtype)
        if execution == "dense":
            return convolution(self.dense_weight(), self.bias, self.stride, self.padding)
        order = residue_order(self.out_channels, self.p).to(weight.device)
        bias = None if self.bias is None else self.bias[order]
        return GroupedHetConv2d(*self.grouped_weights(), bias, self.shape, self.padding)

    def standalone(self) -> str:
        sizes = (self.in_channels, self.out_channels, self.kernel_size)
        more = {"stride": self.stride, "padding": self.padding, "p": self.p}
        return call("HetConv2d", *sizes, **more, bias=True if self.bias is not None else None)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size},"
            f" stride={self.stride}, padding={self.padding}, p={self.p}"
        )


def _places(inputs: int, kernel: int, p: int) -> tuple[Tensor, Tensor]:
    """Where the numbers of the filters 0..p-1, and so of n mod p, go: all of them in a dense
    (K, K, in) row; those of the 1x1 kernels in a row of channels ordered by residue."""
    own, centre = inputs // p, kernel * kernel // 2
    # Broadcast to (p, in/p, p - 1) and (p, in/p, K * K), flattened to a row for each filter. The
    # turns come before the residues, so a row's channels ascend.
    filters, turns = torch.arange(p)[:, None, None], torch.arange(own)[None, :, None] * p
    residues = torch.arange(p - 1)
    other = (turns + residues + (residues >= filters)).flatten(1)  # all but the filter's own
    window = torch.arange(kernel * kernel)
    same = (turns + filters + window * inputs).flatten(1)
    dense = torch.cat([same, other + centre * inputs], dim=1)
    # By residue, channel c comes at c % p * in/p + c // p.
    return dense, other % p * own + other // p


def check_divides(in_channels: int, out_channels: int, p: int) -> None:
    """Raises ValueError where p does not divide both counts: every residue modulo p needs as many
    input channels, and as many filters, as any other."""
    if p < 1 or in_channels % p or out_channels % p:
        raise ValueError(
            f"p must divide both channel counts: {p} does not divide {in_channels} input and"
            f" {out_channels} output channels"
        )
