"""The cost of an architecture in closed form, from its plan; nothing is built or run.

Unit: 1 multiply-add is 1 FLOP, as in the papers (torch's FlopCounterMode counts 2). Counted are all
convolutions and linear layers for one input; not counted are biases, norms, activation functions,
pooling, additions and upsampling. `convention="paper"` counts as the operators' papers do, see
`conventions.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, overload

from torch import nn

from ..architecture import Architecture
from ..backbones import get_backbone
from ..choice import Choice, StageChoice
from ..errors import InputError
from ..layers.base import LayerCost, NotBuildable, Signal
from ..network.plan import Plan, plan
from ..network.stages import (
    check_stage_count,
    plan_head,
    plan_stage,
    plan_stage_block,
    plan_stem,
)
from .backward_memory import backward_bytes
from .conventions import extra_flops, extras_of
from .module_cost import Example, module_cost


class PartCost(NamedTuple):
    """The cost of the stem, of a stage or of the head."""

    flops: int
    params: int
    activations: int
    backward_bytes: int

    @property
    def counted(self) -> LayerCost:
        """Without what training keeps, which adds up along no chain."""
        return LayerCost(*self[:3])


@dataclass(frozen=True)
class Cost:
    """What one input costs, whole and by part.

    `flops`: multiply-adds, and what else `convention` counts. `params`: learned numbers.
    `activations`: elements of convolution and linear outputs. `backward_bytes`: float32 feature
    maps that training keeps for the backward pass, see `backward_memory.py`.
    """

    flops: int
    params: int
    activations: int
    backward_bytes: int
    stem: PartCost
    stages: tuple[PartCost, ...]
    head: PartCost
    convention: str = "multiply-adds"

    def to_dict(self) -> dict[str, Any]:
        return {
            "convention": self.convention,
            "flops": self.flops,
            "params": self.params,
            "activations": self.activations,
            "backward_bytes": self.backward_bytes,
            "stem": self.stem._asdict(),
            "stages": [stage._asdict() for stage in self.stages],
            "head": self.head._asdict(),
        }


@overload
def cost(architecture: Architecture, convention: str = "multiply-adds") -> Cost: ...
@overload
def cost(module: nn.Module, example: Example, /) -> LayerCost: ...
def cost(architecture: Any, convention: Any = "multiply-adds") -> Cost | LayerCost:
    """The cost of an architecture; `convention` is "multiply-adds", "paper", or an
    operator's name: as its paper counts, whatever the architecture.

    Raises InputError where a choice cannot be built, or for another convention. Of any module
    with an example of its input, `cost(module, example)`: see `module_cost`.
    """
    if isinstance(architecture, nn.Module):
        return module_cost(architecture, convention)
    return architecture_cost(architecture, convention)


@lru_cache(maxsize=65536)
def architecture_cost(architecture: Architecture, convention: str) -> Cost:
    """As `cost` of an architecture, kept for the next time. Raises InputError."""
    extras = extras_of(architecture, convention)
    backbone = get_backbone(architecture.backbone)
    check_stage_count(backbone, len(architecture.stages), "stages")
    stem, signal = stem_cost(architecture.backbone, architecture.input)
    parts = [stem]
    for index, choice in enumerate(architecture.stages):
        try:
            stage, signal = stage_cost(architecture.backbone, index, signal, choice)
        except NotBuildable as e:
            raise InputError(f"stages[{index + 1}]", str(choice), str(e)) from e
        parts.append(stage)
    parts.append(head_cost(architecture.backbone, signal, architecture.classes))
    # The cached parts are plain multiply-adds; what papers add is counted from the plan again.
    if extras:
        added = [extra_flops(blocks, extras) for blocks in _rows(plan(architecture))]
        parts = [
            part._replace(flops=part.flops + more) for part, more in zip(parts, added, strict=True)
        ]
    whole = PartCost(*map(sum, zip(*parts, strict=True)))
    # Cost begins with the fields of PartCost, in their order.
    return Cost(*whole, parts[0], tuple(parts[1:-1]), parts[-1], convention)


def _rows(layout: Plan) -> list[Any]:
    return [(layout.stem,) if layout.stem else (), *layout.stages, (layout.head,)]


@lru_cache(maxsize=65536)
def stage_cost(
    backbone: str, index: int, source: Signal, choice: StageChoice
) -> tuple[PartCost, Signal]:
    """What stage `index` (from 0) costs after `source`, and what it hands on. Raises
    NotBuildable."""
    blocks = plan_stage(get_backbone(backbone), index, source, choice)
    costs = [block.cost() for block in blocks]
    flops, params, activations = map(sum, zip(*costs, strict=True))
    # A stage begins with a convolution, which keeps what it reads; what gave it does not matter.
    return PartCost(flops, params, activations, backward_bytes(blocks)), blocks[-1].out


@lru_cache(maxsize=65536)
def block_cost(
    backbone: str, index: int, first: bool, source: Signal, choice: Choice
) -> tuple[LayerCost, Signal]:
    """As `stage_cost`, of one block alone, the stage's first or a later one."""
    block = plan_stage_block(get_backbone(backbone), index, first, source, choice)
    return block.cost(), block.out


@lru_cache(maxsize=4096)
def stem_cost(backbone: str, input_shape: tuple[int, int, int]) -> tuple[PartCost, Signal]:
    """What the stem costs, and what it hands on."""
    stem, signal = plan_stem(get_backbone(backbone), input_shape)
    if stem is None:
        return PartCost(0, 0, 0, 0), signal
    return PartCost(*stem.cost(), backward_bytes((stem,))), signal


@lru_cache(maxsize=4096)
def head_cost(backbone: str, source: Signal, classes: int) -> PartCost:
    """What pooling and the linear layers cost."""
    skeleton = get_backbone(backbone)
    head = plan_head(skeleton, source, classes)
    # The last ReLU keeps the map it gives; a last max pooling does not.
    kept = backward_bytes((head,), keeps_source=not skeleton.max_pool)
    return PartCost(*head.cost(), kept)
