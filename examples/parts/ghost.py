"""An operator of one's own, in one file: GhostNet's convolution (Han et al., arXiv 1911.11907).

An ordinary convolution makes one channel in `ratio`; cheap 3x3 filters, one for each channel, make
the other ratio - 1 from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convnas.search_space import (
    Kept,
    LayerCost,
    NotBuildable,
    Operator,
    Parameter,
    Signal,
    Site,
    register_operator,
    ungrouped,
)


class GhostConv2d(nn.Module):
    """(N, inputs, H, W) to (N, outputs, ceil(H/stride), ceil(W/stride)).

    folded: it ends in a scale and a shift of each channel, which stand for the norm behind it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        ratio: int,
        stride: int = 1,
        folded: bool = False,
    ) -> None:
        super().__init__()
        self.settings = (inputs, outputs, kernel, ratio, stride)
        own = outputs // ratio
        self.primary = nn.Conv2d(inputs, own, kernel, stride, kernel // 2, bias=False)
        self.cheap = nn.Conv2d(own, outputs - own, 3, 1, 1, groups=own, bias=folded)
        self.affine = nn.Parameter(torch.ones(2, own, 1, 1)) if folded else None

    def forward(self, x: Tensor) -> Tensor:
        own = self.primary(x)
        cheap = self.cheap(own)
        if self.affine is not None:  # not before: the cheap filters read what has no norm
            own = own * self.affine[0] + self.affine[1]
        return torch.cat([own, cheap], dim=1)

    def absorb_norm(self, scale: Tensor, shift: Tensor) -> None:
        """Optional: becomes scale * itself + shift. Without it the norm behind it stays."""
        own = self.primary.out_channels
        weight = self.cheap.weight * scale[own:, None, None, None]
        self.cheap.weight = nn.Parameter(weight, requires_grad=False)
        self.cheap.bias = nn.Parameter(shift[own:].clone(), requires_grad=False)
        affine = torch.stack([scale[:own], shift[:own]])[..., None, None]
        self.affine = nn.Parameter(affine, requires_grad=False)

    def standalone(self) -> str:
        """Optional: the call that makes it in an exported Python module."""
        inputs, outputs, kernel, ratio, stride = self.settings
        folded = self.affine is not None
        sizes = f"{inputs}, {outputs}, {kernel}, ratio={ratio}, stride={stride}"
        return f"GhostConv2d({sizes}, folded={folded})"


@dataclass(frozen=True)
class Ghost:
    """The layer as a plan knows it: its shapes, its cost, its module."""

    source: Signal
    outputs: int
    kernel: int
    ratio: int
    stride: int

    def __post_init__(self) -> None:
        if self.outputs % self.ratio:
            raise NotBuildable(f"ratio={self.ratio} must divide {self.outputs} channels")

    @property
    def out(self) -> Signal:
        return Signal(self.outputs, *self.source.strided(self.stride))

    def cost(self) -> LayerCost:
        own = self.outputs // self.ratio
        weights = self.source.channels * own * self.kernel**2 + (self.outputs - own) * 9
        return LayerCost(weights * self.out.area, weights, self.out.elements)

    def kept(self) -> Kept:
        """For the backward pass: its input, and the own channels, which the cheap filters read."""
        own = self.outputs // self.ratio
        return Kept(source=True, inside=4 * own * self.out.area)

    def build(self) -> nn.Module:
        return GhostConv2d(self.source.channels, self.outputs, self.kernel, self.ratio, self.stride)


def plan(site: Site) -> Ghost:
    return Ghost(site.source, site.out_channels, site.kernel, site.choice.ratio, site.stride)


register_operator(
    Operator(
        "ghost",
        plan,
        parameters=(Parameter("ratio", least=2, most=64),),
        misplaced=ungrouped("ghost"),
        standalone=(GhostConv2d,),
        colours=("#e9d5ff", "#4a2a6b"),  # behind its boxes in a report, light page and dark
    )
)
