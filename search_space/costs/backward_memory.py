"""What training keeps for the backward pass, in bytes of float32, for one input.

Counted are the feature maps that autograd saves in a forward pass in training mode, each storage
once: what convolutions, norms and linear layers read, what ReLUs give (they work in place), what
poolings read, and max pooling's indices (8 bytes each). In other words, the bytes by which each
further image in a batch grows what is saved: weights and statistics of norms are not in it, nor is
the loss. It describes the operators as they are written here, unfused, under torch's autograd,
HetConv in its dense execution.
"""

from __future__ import annotations

from ..layers.base import FLOAT_BYTES, Kept, Layer
from ..network.blocks import Block


def _kept(layer: Layer) -> Kept:
    """What the layer says of itself; one that says nothing is taken for one convolution."""
    said = getattr(layer, "kept", None)
    return Kept(source=True) if said is None else said()


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
        # A residual block ends in an in-place ReLU, which keeps what it gives.
        keeps_source = block.residual or _kept(block.path[-1]).out
    return total


def _row(layers: tuple[Layer, ...], keeps_source: bool) -> int:
    total, kept = 0, keeps_source
    # A map between two layers is one storage: it counts once, with the layer that reads it,
    # if either of the two keeps it (`kept`: the one before does).
    for layer in layers:
        mine = _kept(layer)
        if kept or mine.source:
            total += FLOAT_BYTES * _source_elements(layer)
        total += mine.inside
        kept = mine.out
    return total


def _read(layer: Layer) -> int:
    return FLOAT_BYTES * _source_elements(layer) if _kept(layer).source else 0


def _source_elements(layer: Layer) -> int:
    # Norms, ReLUs and gates read what they give.
    source = layer.source if hasattr(layer, "source") else layer.out
    return int(source.elements)
