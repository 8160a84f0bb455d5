"""The operators by name: what each puts in the place of a block's spatial convolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..architecture import Choice
from ..backbones import Backbone
from .base import Layer, Misplaced, Signal, Vanilla
from .hetconv import Het
from .octave import Octave
from .res2net import Res2Net


@dataclass(frozen=True)
class Site:
    """Where a spatial convolution goes: what it receives, what it must give, in which block."""

    choice: Choice
    source: Signal
    out_channels: int
    alpha: float
    stride: int = 1
    groups: int = 1
    bias: bool = False
    stage_block: bool = False

    @property
    def kernel(self) -> int:
        return self.choice.kernel or 3


@dataclass(frozen=True)
class Operator:
    """`spatial` plans the convolution of a site; `misplaced` says why the operator does not go on
    a backbone, whatever its number (None: it goes); `normalised` says its norms are its own."""

    name: str
    spatial: Callable[[Site], Layer]
    misplaced: Callable[[Backbone], str | None]
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
    if site.source.alpha > 0:
        return _vanilla_or_octave(site)
    p = site.choice.p
    assert p is not None
    return Het(site.source, site.out_channels, site.kernel, p, site.stride, site.bias)


def _res2net(site: Site) -> Layer:
    scales = site.choice.scales
    assert scales is not None
    return Res2Net(site.source, scales, site.kernel, site.stride, site.groups, site.stage_block)


def _nowhere_misplaced(backbone: Backbone) -> None:
    return None


def _grouped(backbone: Backbone) -> str | None:
    if backbone.block == "depthwise":
        return "hetconv does not go where the convolution is depthwise"
    if backbone.groups > 1:
        return f"hetconv does not go where the convolution has {backbone.groups} groups"
    return None


def _no_bottleneck(backbone: Backbone) -> str | None:
    if backbone.block != "bottleneck":
        return f"res2net needs bottleneck blocks, this backbone has {backbone.block} ones"
    return None


OPERATORS = {
    operator.name: operator
    for operator in (
        Operator("vanilla", _vanilla_or_octave, _nowhere_misplaced),
        Operator("octave", _vanilla_or_octave, _nowhere_misplaced),
        Operator("hetconv", _hetconv, _grouped),
        Operator("res2net", _res2net, _no_bottleneck, normalised=True),
    )
}


def operator_on(backbone: Backbone, name: str) -> Operator:
    """The operator of this name. Raises Misplaced where it does not go on the backbone."""
    operator = OPERATORS[name]
    reason = operator.misplaced(backbone)
    if reason is not None:
        raise Misplaced(reason)
    return operator


def operators_of(backbone: Backbone) -> list[str]:
    """The names of the operators that go on a backbone."""
    return [name for name, operator in OPERATORS.items() if operator.misplaced(backbone) is None]
