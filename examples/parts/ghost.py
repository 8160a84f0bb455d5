"""An operator of one's own, in one file: GhostNet's convolution (Han et al., arXiv 1911.11907).

An ordinary convolution makes one channel in p; cheap 3x3 filters, one for each channel, make the
other p - 1 from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convnas.search_space import LayerCost, NotBuildable, Signal, Site, register_operator


class GhostConv2d(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, p: int, stride: int) -> None:
        super().__init__()
        own = outputs // p
        self.primary = nn.Conv2d(inputs, own, kernel, stride, kernel // 2, bias=False)
        self.cheap = nn.Conv2d(own, outputs - own, 3, 1, 1, groups=own, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        own = self.primary(x)
        return torch.cat([own, self.cheap(own)], dim=1)


@dataclass(frozen=True)
class Ghost:
    """The layer as a plan knows it: its shapes, its cost, its module."""

    source: Signal
    outputs: int
    kernel: int
    p: int
    stride: int

    def __post_init__(self) -> None:
        if self.p < 2 or self.outputs % self.p:
            raise NotBuildable(f"p={self.p} must be 2 or more and divide {self.outputs} channels")

    @property
    def out(self) -> Signal:
        return Signal(self.outputs, *self.source.strided(self.stride))

    def cost(self) -> LayerCost:
        own = self.outputs // self.p
        weights = self.source.channels * own * self.kernel**2 + (self.outputs - own) * 9
        return LayerCost(weights * self.out.area, weights, self.out.elements)

    def build(self) -> nn.Module:
        return GhostConv2d(self.source.channels, self.outputs, self.kernel, self.p, self.stride)


def plan(site: Site) -> Ghost:
    assert site.choice.p is not None
    return Ghost(site.source, site.out_channels, site.kernel, site.choice.p, site.stride)


register_operator("ghost", plan, number="p")
