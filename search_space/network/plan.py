"""An architecture, worked out: the layers of its stem, blocks and head, at known shapes.

Both the cost and the network are read off this plan.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..architecture import Architecture
from ..backbones import get_backbone
from ..choice import Choice, StageChoice
from ..errors import InputError
from ..layers.base import NotBuildable
from .blocks import Block
from .stages import check_stage_count, plan_head, plan_stage, plan_stem


@dataclass(frozen=True)
class Plan:
    """Blocks in the order in which a map passes them.

    `stem` is None where the first stage reads the image itself. A stage's blocks include the max
    pooling that may end it.
    """

    stem: Block | None
    stages: tuple[tuple[Block, ...], ...]
    head: Block


def plan(architecture: Architecture) -> Plan:
    """The layers of an architecture. Raises InputError where a choice cannot be built."""
    backbone = get_backbone(architecture.backbone)
    check_stage_count(backbone, len(architecture.stages), "stages")
    stem, source = plan_stem(backbone, architecture.input)
    stages = []
    for index, choice in enumerate(architecture.stages):
        try:
            blocks = plan_stage(backbone, index, source, choice)
        except NotBuildable as e:
            raise InputError(f"stages[{index + 1}]", _text(choice), str(e)) from e
        stages.append(blocks)
        source = blocks[-1].out
    return Plan(stem, tuple(stages), plan_head(backbone, source, architecture.classes))


def _text(choice: StageChoice) -> str:
    return str(choice) if isinstance(choice, Choice) else ", ".join(map(str, choice))
