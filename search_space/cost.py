"""The cost of an architecture in closed form, from its plan; nothing is built or run.

Unit: 1 multiply-add is 1 FLOP, as in the papers (torch's FlopCounterMode counts 2). Counted are all
convolutions and linear layers for one input; not counted are biases, norms, activation functions,
pooling, additions and upsampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .architecture import Architecture, StageChoice
from .backbones import get_backbone
from .errors import InputError
from .layers import LayerCost, NotBuildable, Signal
from .plan import check_stage_count, plan_head, plan_stage, plan_stem


@dataclass(frozen=True)
class Cost:
    """`flops` (multiply-adds), `params` and `activations` (elements of convolution and linear
    outputs) of one input, whole and by part."""

    flops: int
    params: int
    activations: int
    stem: LayerCost
    stages: tuple[LayerCost, ...]
    head: LayerCost

    def to_dict(self) -> dict[str, Any]:
        return {
            "flops": self.flops,
            "params": self.params,
            "activations": self.activations,
            "stem": self.stem._asdict(),
            "stages": [stage._asdict() for stage in self.stages],
            "head": self.head._asdict(),
        }


def cost(architecture: Architecture) -> Cost:
    """The cost of an architecture. Raises InputError where a choice cannot be built."""
    backbone = get_backbone(architecture.backbone)
    check_stage_count(backbone, len(architecture.stages), "stages")
    stem, signal = stem_cost(architecture.backbone, architecture.input)
    stages = []
    for index, choice in enumerate(architecture.stages):
        try:
            stage, signal = stage_cost(architecture.backbone, index, signal, choice)
        except NotBuildable as e:
            raise InputError(f"stages[{index + 1}]", str(choice), str(e)) from e
        stages.append(stage)
    head = head_cost(architecture.backbone, signal, architecture.classes)
    parts = (stem, *stages, head)
    flops, params, activations = map(sum, zip(*parts, strict=True))
    return Cost(flops, params, activations, stem, tuple(stages), head)


@lru_cache(maxsize=65536)
def stage_cost(
    backbone: str, index: int, source: Signal, choice: StageChoice
) -> tuple[LayerCost, Signal]:
    """What stage `index` (from 0) costs after `source`, and what it hands on."""
    blocks = plan_stage(get_backbone(backbone), index, source, choice)
    costs = [block.cost() for block in blocks]
    return LayerCost(*map(sum, zip(*costs, strict=True))), blocks[-1].out


@lru_cache(maxsize=4096)
def stem_cost(backbone: str, input_shape: tuple[int, int, int]) -> tuple[LayerCost, Signal]:
    stem, signal = plan_stem(get_backbone(backbone), input_shape)
    return stem.cost() if stem else LayerCost(), signal


@lru_cache(maxsize=4096)
def head_cost(backbone: str, source: Signal, classes: int) -> LayerCost:
    return plan_head(get_backbone(backbone), source, classes).cost()
