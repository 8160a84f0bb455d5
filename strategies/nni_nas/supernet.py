"""The model space itself: a layer choice for every stage, or for every block.

nni.nas is imported here at the top, so this file is imported only where a model space is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from nni.mutable import SampleValidationError
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.oneshot.pytorch.strategy import is_supernet
from torch import Tensor, nn
from torch.nn import functional as F

from ...search_space import InputError, SearchSpace, build_network
from ...search_space.chain.slots import BlockSlot, Option, Slot, State
from ...search_space.layers.base import NotBuildable, Signal
from ...search_space.layers.frequency import FeatureMap
from ...search_space.layers.modules.octave_paths import upsampled
from ...search_space.network.blocks import Block
from ...search_space.network.stages import plan_head, plan_stem
from .samples import Samples, candidate_name


class Candidate(nn.Module):
    """Blocks that take a plain tensor and give one of `channels` channels.

    Of a pair (high, low) the low part is upsampled and put behind the high one, in the order in
    which the head's pooling has them; channels that narrower blocks do not have are zero.
    """

    def __init__(self, blocks: tuple[Block, ...], channels: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[block.build() for block in blocks])
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        y = plain(self.blocks(x))
        # `pad` counts from the last axis: W, H, then C, which alone grows, at its end.
        return F.pad(y, (0, 0, 0, 0, 0, self.channels - y.shape[1]))


def plain(x: FeatureMap) -> Tensor:
    """A map as one tensor at full resolution."""
    if isinstance(x, Tensor):
        return x
    high, low = x
    return torch.cat([high, upsampled(low, high)], dim=1)


class Models(ModelSpace):  # type: ignore[misc]
    """The networks of a search space (its mapping), as NNI takes them: (N, C, H, W) images to
    logits.

    Frozen with a sample it is the network that `build_network` builds of the architecture, newly
    initialised. A one-shot strategy makes it a supernet whose candidates share stem, head and the
    maps between them; therefore an octave stage hands over one plain tensor there (its low part
    upsampled) and a narrow one is filled up with zeros, while the network of an architecture hands
    pairs and narrow maps on. Such a supernet, frozen, is one path of its own, with its weights.

    InputError where blocks would choose widths: in a supernet later blocks cannot follow the first.
    """

    def __init__(self, space: Mapping[str, Any]) -> None:
        super().__init__()
        self.search_space = SearchSpace.from_config(space)
        backbone = self.search_space.backbone
        stem, signal = plan_stem(backbone, self.search_space.input)
        self.stem = stem.build() if stem else nn.Identity()
        layers = []
        for slot, options in self.search_space.choices:
            layer, signal = _layer_choice(slot, options, signal)
            layers.append(layer)
        self.stages = nn.Sequential(*layers)
        self.head = plan_head(backbone, signal, self.search_space.classes).build()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(self.stem(x)))
        return logits

    @classmethod
    def create_fixed_module(cls, sample: Mapping[str, Any], space: Mapping[str, Any]) -> nn.Module:
        # What NNI makes where it has a sample before the space is built.
        return build_network(Samples(SearchSpace.from_config(space)).architecture(sample))

    def check_contains(self, sample: Mapping[str, Any]) -> SampleValidationError | None:
        error: SampleValidationError | None = super().check_contains(sample)
        if error is None:
            try:
                Samples(self.search_space).architecture(sample)
            except ValueError as e:
                error = SampleValidationError(str(e))
        return error

    def freeze(self, sample: Mapping[str, Any]) -> nn.Module:
        self.validate(sample)
        if is_supernet(self):
            frozen: nn.Module = super().freeze(sample)
            return frozen
        return build_network(Samples(self.search_space).architecture(sample))


def _layer_choice(slot: Slot, options: list[Option], source: Signal) -> tuple[nn.Module, Signal]:
    """The candidates of a slot after a plain map, and the plain map that they all give."""
    planned = {candidate_name(option): _blocks(slot, option, source) for option in options}
    outs = [blocks[-1].out if blocks else source for blocks in planned.values()]
    channels = max(out.channels for out in outs)
    if isinstance(slot, BlockSlot) and len({out.channels for out in outs}) > 1:
        told = "the blocks of a supernet have one width: give one, or granularity: stage"
        raise InputError(f"stages[{slot.stage}].width", list(slot.listed.listed("width")), told)
    candidates = {name: Candidate(blocks, channels) for name, blocks in planned.items()}
    return LayerChoice(candidates, label=slot.name), Signal(channels, outs[0].height, outs[0].width)


def _blocks(slot: Slot, option: Option, source: Signal) -> tuple[Block, ...]:
    try:
        return slot.blocks(State(source), option)
    except NotBuildable as e:
        told = (
            f"in a supernet it receives {source.channels} channels, as from the widest choice: {e}"
        )
        raise InputError(slot.name, str(option), told) from e
