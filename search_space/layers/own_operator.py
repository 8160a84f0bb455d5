"""Operators of one's own: registered from any module, and then chosen in spaces like the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ..architecture import PARAMETER_OF
from ..backbones import Backbone
from ..errors import InputError
from .base import Layer
from .registry import OPERATORS, Operator, Site

NUMBERS = (None, "p", "scales")


def register_operator(
    name: str,
    spatial: Callable[[Site], Layer],
    *,
    number: str | None = None,
    grouped: bool = False,
) -> None:
    """Make `name` an operator that spaces and architecture files may choose.

    `spatial` plans the convolution that takes the place of a block's plain one. It gets a Site
    (`source`: the arriving channels, height and width; `out_channels`, `kernel`, `stride`, `groups`,
    `bias`; `choice`, with the operator's number) and returns a layer: a frozen dataclass with `out`
    (a Signal), `cost()` (a LayerCost: multiply-adds, parameters, elements of convolution outputs of
    one input) and `build()` (the nn.Module, (N, C, H, W) to (N, C', H', W')). It raises NotBuildable
    where it cannot be built; such choices are left out of a space.

    `number`: "p" or "scales" where the operator has a number, a whole one, which configs give
    under that name. `grouped`: whether it can do grouped and depthwise convolutions; else it is left
    out on backbones that have them. After an octave stage, a block whose first convolution is this
    one begins with an octave convolution, which joins the two frequencies.

    Raises InputError for a name that is taken or is no identifier. Register it on import of a
    module, and name that under `plugins:` in the config, so that every process knows it.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError("operator", name, "it must be small letters, digits and _")
    if name in OPERATORS:
        raise InputError("operator", name, f"a name that is not taken: {', '.join(OPERATORS)} are")
    if number not in NUMBERS:
        raise InputError("number", number, "it must be p, scales or None")

    def planned(site: Site) -> Layer:
        if site.source.alpha > 0:
            return OPERATORS["octave"].spatial(replace(site, alpha=0.0))
        return spatial(site)

    def misplaced(backbone: Backbone) -> str | None:
        if grouped or (backbone.block != "depthwise" and backbone.groups == 1):
            return None
        return f"{name} does not go where the convolution is grouped or depthwise"

    OPERATORS[name] = Operator(name, planned, misplaced)
    PARAMETER_OF[name] = number
