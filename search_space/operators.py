"""The operators by name: what each puts in the place of a block's spatial convolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .architecture import Choice
from .hetconv import Het
from .layers import Layer, NotBuildable, Signal, Vanilla
from .octave import Octave
from .res2net import Res2Net


@dataclass(frozen=True)
class Site:
    """Where a spatial convolution goes: what it receives, what it must give, in which block."""

    choice: Choice
    source: Signal
    out_channels: int
    block: str
    stride: int = 1
    groups: int = 1
    bias: bool = False
    stage_block: bool = False

    @property
    def kernel(self) -> int:
        return self.choice.kernel or 3

    @property
    def alpha(self) -> float:
        return self.choice.alpha or 0.0


@dataclass(frozen=True)
class Operator:
    """`spatial` plans the convolution of a site; `normalised` says its norms are its own."""

    name: str
    spatial: Callable[[Site], Layer]
    normalised: bool = False


def convolution(
    source: Signal,
    out_channels: int,
    kernel: int = 1,
    *,
    alpha_out: float = 0.0,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> Layer:
    """A plain convolution, or an octave one where either side has a low part."""
    if source.alpha == 0 and alpha_out == 0:
        return Vanilla(source, out_channels, kernel, stride, groups, bias)
    return Octave(source, out_channels, kernel, stride, groups, bias, alpha_out)


def _vanilla_or_octave(site: Site) -> Layer:
    return convolution(
        site.source,
        site.out_channels,
        site.kernel,
        alpha_out=site.alpha,
        stride=site.stride,
        groups=site.groups,
        bias=site.bias,
    )


def _hetconv(site: Site) -> Layer:
    if site.groups > 1:
        raise NotBuildable(f"hetconv does not go where the convolution has {site.groups} groups")
    if site.source.alpha > 0:
        return _vanilla_or_octave(site)
    p = site.choice.p
    assert p is not None
    return Het(site.source, site.out_channels, site.kernel, p, site.stride, site.bias)


def _res2net(site: Site) -> Layer:
    if site.block != "bottleneck":
        raise NotBuildable(f"res2net needs bottleneck blocks, this backbone has {site.block} ones")
    scales = site.choice.scales
    assert scales is not None
    return Res2Net(site.source, scales, site.kernel, site.stride, site.groups, site.stage_block)


OPERATORS = {
    operator.name: operator
    for operator in (
        Operator("vanilla", _vanilla_or_octave),
        Operator("octave", _vanilla_or_octave),
        Operator("hetconv", _hetconv),
        Operator("res2net", _res2net, normalised=True),
    )
}
