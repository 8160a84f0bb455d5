"""The list of backbones that people choose from."""

from __future__ import annotations

from typing import Any

from .architecture import Architecture
from .backbones import BACKBONES, get_backbone
from .choice import Choice
from .costs.count import cost
from .layers.registry import operators_of


def list_backbones() -> list[dict[str, Any]]:
    """Name, input, classes and depths as published, params and flops (multiply-adds) of the vanilla
    network, and the operators that go on it."""
    rows = []
    for name, backbone in BACKBONES.items():
        counted = cost(vanilla_architecture(name))
        rows.append(
            {
                "name": name,
                "input": list(backbone.input),
                "classes": backbone.classes,
                "depths": [stage.depth for stage in backbone.stages],
                "params": counted.params,
                "flops": counted.flops,
                "operators": operators_of(backbone),
            }
        )
    return rows


def vanilla_architecture(name: str) -> Architecture:
    """The published network itself: every stage vanilla, at its own input. Raises InputError."""
    backbone = get_backbone(name)
    stages = (Choice("vanilla"),) * len(backbone.stages)
    return Architecture(name, backbone.input, backbone.classes, stages)
