"""What training keeps for the backward pass, in bytes of float32, for one input.

Counted are the feature maps that autograd saves in a forward pass in training mode, each storage
once: what convolutions, norms and linear layers read, what ReLUs give (they work in place), what
poolings read, and max pooling's indices (8 bytes each). In other words, the bytes by which each
further image in a batch grows what is saved: weights and statistics of norms are not in it, nor is
the loss. It describes the operators as they are written here, unfused, under torch's autograd,
HetConv in its dense execution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..layers.base import Layer, Linear, MaxPool, Norm, Pool, Squeeze, Vanilla
from ..layers.hetconv import Het
from ..layers.octave import Octave
from ..layers.res2net import Res2Net
from ..network.blocks import Block, Padding, Relu

FLOAT, INDEX = 4, 8


class Kept(NamedTuple):
    """Whether a layer needs what it reads, and what it gives, and what else it keeps (bytes)."""

    source: bool = False
    out: bool = False
    inside: int = 0


ITS_SOURCE, ITS_OUTPUT, NOTHING = Kept(source=True), Kept(out=True), Kept()


def _max_pool(layer: MaxPool) -> Kept:
    return Kept(source=True, inside=INDEX * layer.out.elements)


def _octave(layer: Octave) -> Kept:
    return Kept(source=True, inside=FLOAT * layer.pooled)


def _res2net(layer: Res2Net) -> Kept:
    """Of every convolution the sum it reads, what it gives, and that after norm and ReLU."""
    width = layer.source.channels // layer.scales
    convolutions = max(1, layer.scales - 1)
    given = 2 * convolutions * width * layer.out.area
    if layer.scales == 1:
        return Kept(source=True, out=True, inside=FLOAT * (given - width * layer.out.area))
    sums = 0 if layer.stage_block else (convolutions - 1) * width * layer.source.area
    return Kept(source=True, inside=FLOAT * (given + sums))


def _squeeze(layer: Squeeze) -> Kept:
    """The squeezed vector, the hidden one, the gate."""
    channels = layer.out.channels
    return Kept(source=True, inside=FLOAT * (2 * channels + layer.hidden))


def _linear(layer: Linear) -> Kept:
    if not layer.hidden:
        return Kept(source=True)
    return Kept(source=True, out=True, inside=FLOAT * layer.features)


KEPT: dict[type, Callable[[Any], Kept]] = {
    Vanilla: lambda layer: ITS_SOURCE,
    Het: lambda layer: ITS_SOURCE,
    Octave: _octave,
    Res2Net: _res2net,
    Norm: lambda layer: ITS_SOURCE,
    Relu: lambda layer: ITS_OUTPUT,
    MaxPool: _max_pool,
    Pool: lambda layer: NOTHING,
    Padding: lambda layer: NOTHING,
    Squeeze: _squeeze,
    Linear: _linear,
}
"""Kind of layer -> what it keeps; an operator of the user's own is taken for one convolution."""


def _kept(layer: Layer) -> Kept:
    kind = type(layer)
    return KEPT[kind](layer) if kind in KEPT else ITS_SOURCE


def backward_bytes(blocks: tuple[Block, ...], *, keeps_source: bool = False) -> int:
    """What blocks in a row keep. The map between two is counted with the one that reads it, so the
    last one's output is not counted; `keeps_source` says that the first one's input is kept by
    whatever gave it, though the block itself may not need it."""
    total = 0
    for block in blocks:
        total += _row(block.path, keeps_source)
        if block.shortcut:
            # What the shortcut reads is what the path reads, already counted.
            total += _row(block.shortcut, False) - _read(block.shortcut[0])
        keeps_source = block.residual or _kept(block.path[-1]).out
    return total


def _row(layers: tuple[Layer, ...], keeps_source: bool) -> int:
    total, kept = 0, keeps_source
    for layer in layers:
        mine = _kept(layer)
        if kept or mine.source:
            total += FLOAT * _source_elements(layer)
        total += mine.inside
        kept = mine.out
    return total


def _read(layer: Layer) -> int:
    return FLOAT * _source_elements(layer) if _kept(layer).source else 0


def _source_elements(layer: Layer) -> int:
    # Norms, ReLUs and gates read what they give.
    source = layer.source if hasattr(layer, "source") else layer.out
    return int(source.elements)
