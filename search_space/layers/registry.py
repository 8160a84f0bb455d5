"""The operators by name, a line each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ..backbones import Backbone
from ..errors import InputError
from .base import Layer, Misplaced
from .hetconv import HETCONV
from .octave import OCTAVE, spatial
from .operator import COMMON, Operator, Parameter, Site, ungrouped
from .res2net import RES2NET
from .vanilla import VANILLA

OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        VANILLA,
        OCTAVE,
        HETCONV,
        RES2NET,
    )
}


def register_operator(
    operator: Operator | str,
    spatial: Callable[[Site], Layer] | None = None,
    *,
    number: str | Parameter | None = None,
    grouped: bool = False,
) -> None:
    """Make an operator one that spaces and architecture files may choose.

    `operator` is an Operator, which says everything of itself. The shorter form
    `register_operator(name, spatial, number=..., grouped=...)` makes one: `spatial` plans the
    convolution that takes the place of a block's plain one. It gets a Site (`source`: the arriving
    channels, height and width; `out_channels`, `kernel`, `stride`, `groups`, `bias`; `choice`, with
    the operator's number) and returns a layer: a frozen dataclass with `out` (a Signal), `cost()`
    (a LayerCost: multiply-adds, parameters, elements of convolution outputs of one input) and
    `build()` (the nn.Module, (N, C, H, W) to (N, C', H', W')). It raises NotBuildable where it
    cannot be built; such choices are left out of a space.

    `number`: a Parameter, or "p" or "scales" to share that of a built-in operator. `grouped`:
    whether it can do grouped and depthwise convolutions; else it is left out on backbones that
    have them. After an octave stage, a block whose first convolution is this one begins with an
    octave convolution, which joins the two frequencies.

    Raises InputError for a name that is taken or is no identifier, and for a number whose name
    means something else already. Register it on import of a module, and name that under `plugins:`
    in the config, so that every process knows it.
    """
    if not isinstance(operator, Operator):
        assert spatial is not None
        if isinstance(number, str) and number not in ("p", "scales"):
            raise InputError("number", number, "it must be p, scales or None")
        shared = number_named(number) if isinstance(number, str) else number
        operator = Operator(
            operator,
            spatial,
            parameters=() if shared is None else (shared,),
            misplaced=(lambda backbone: None) if grouped else ungrouped(operator),
        )
    name = operator.name
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError("operator", name, "it must be small letters, digits and _")
    if name in OPERATORS:
        raise InputError("operator", name, f"a name that is not taken: {', '.join(OPERATORS)} are")
    for own in operator.parameters:
        if own.name == "conv" or not re.fullmatch(r"[a-z][a-z0-9_]*", own.name):
            raise InputError(f"{name}.parameters", own.name, "it must be a name like scales")
        # Operators may share a number; they may differ only in whether it can be left out.
        known = number_named(own.name)
        if known is not None and own != replace(known, optional=own.optional):
            allowed = f"another operator has a number of this name: {known.allowed}"
            raise InputError(f"{name}.{own.name}", own.allowed, allowed)
    OPERATORS[name] = operator


def numbers_known() -> dict[str, Parameter]:
    """Every number that a choice can carry, by name: the operators' own, then the common ones."""
    own = {number.name: number for each in OPERATORS.values() for number in each.parameters}
    return own | {number.name: number for number in COMMON}


def number_named(name: str | None) -> Parameter | None:
    """An operator's own or a common number of this name; None where there is none."""
    return numbers_known().get(name or "")


def owner_of(name: str) -> str | None:
    """The first operator that has this number; None for a common one."""
    for operator in OPERATORS.values():
        if any(name == own.name for own in operator.parameters):
            return operator.name
    return None


def plan_spatial(site: Site) -> Layer:
    """What the site's operator puts there. Raises NotBuildable."""
    operator = OPERATORS[site.choice.conv]
    if site.source.alpha > 0 and not operator.takes_pairs:
        # An octave convolution in its place, which joins the two frequencies.
        return spatial(replace(site, alpha=0.0))
    return operator.spatial(site)


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
