"""A traced network as a search space: a position of a chain for each convolution.

Every choice keeps the shapes around its layer, so the layers are independent: the chain has one
state, and what cannot be replaced is a constant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from torch import nn

from ..budget import Budget
from ..chain.chain import Chain, Indices, Position
from ..chain.stage_options import StageOptions
from ..choice import Choice
from ..costs.module_cost import Example, module_cost
from ..errors import InputError, unknown_name
from ..feasible.feasible_set import FeasibleSet
from ..layers.base import LayerCost
from .options import CARRIED, VANILLA, LayerOptions, layer_options
from .trace import TracedLayer, trace

DEFAULT: Mapping[str, Any] = {
    "conv": ["vanilla", "octave", "hetconv"],
    "alpha": [0.125, 0.25, 0.5, 0.75],
    "p": [2, 4, 8],
}
"""What each layer may become, where nothing else is asked for."""


@dataclass(frozen=True)
class Replacement:
    """Which convolutions are replaced, by module name, and by what; the others are as they were."""

    choices: tuple[tuple[str, Choice], ...]

    def __str__(self) -> str:
        counts = Counter(choice.text for _, choice in self.choices)
        told = ", ".join(f"{n} {text}" for text, n in sorted(counts.items()))
        return f"{len(self.choices)} convolutions replaced ({told})" if told else "nothing replaced"


class TracedSpace:
    """Every way to replace convolutions of a network, with exact costs.

    options: lists as a config's `stage` has them ({conv: [...], alpha: [...], p: [...]}). only,
    exclude: patterns of module names ("layer4.*"). The model runs on `example` and stays as it
    was. Raises InputError: see `trace`.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Example,
        *,
        options: Mapping[str, Any] = DEFAULT,
        only: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> None:
        choices = StageOptions.from_config(options, "options").operators()
        for choice in choices:
            if choice.conv not in CARRIED:
                raise unknown_name("options.conv", choice.conv, CARRIED)
        traced = trace(model, example)
        _check_patterns("only", only, traced)
        _check_patterns("not", exclude, traced)
        self.cost: LayerCost = module_cost(model, example)
        """Of the network as it is."""
        self.layers: list[LayerOptions] = [
            layer_options(_asked(layer, only, exclude), choices) for layer in traced
        ]
        self.open = [each for each in self.layers if len(each.costs) > 1]
        """Those with something to choose, in the order of the chain."""
        if not self.open:
            first = self.layers[0]
            why = first.layer.stays or "; ".join(dict.fromkeys(first.left_out.values()))
            raise InputError(
                "model",
                type(model).__name__,
                f"no convolution can be replaced: {first.layer.name}: {why}",
            )
        fixed = np.array(self.cost) - np.sum([each.costs[VANILLA] for each in self.open], axis=0)
        self.chain = Chain(
            tuple(map(_position, self.open)), fixed[:, None].astype(np.int64), LayerCost._fields
        )

    def within(self, budget: Budget | None) -> FeasibleSet[Replacement]:
        """The replacements inside a budget. Raises InfeasibleBudget, which names the cheapest."""
        limits = dict(budget.limits if budget else {})
        return FeasibleSet(
            self.chain,
            limits,
            decode=self.decode,
            encode=self.encode,
            describe=self.describe,
            noun="network",
        )

    def decode(self, indices: Indices) -> Replacement:
        chosen = [
            (each.layer.name, list(each.costs)[option])
            for each, option in zip(self.open, indices, strict=True)
        ]
        return Replacement(tuple(pair for pair in chosen if pair[1] != VANILLA))

    def encode(self, replacement: Replacement) -> Indices:
        """ValueError where it is not of this space."""
        wanted = dict(replacement.choices)
        found = [list(each.costs).index(wanted.pop(each.layer.name, VANILLA)) for each in self.open]
        if wanted:
            raise ValueError(f"{', '.join(wanted)}: not to be replaced in this space")
        return tuple(found)

    def cost_of(self, replacement: Replacement) -> LayerCost:
        """Exact costs of the network with these replacements."""
        row = self.chain.cost_of(np.array([self.encode(replacement)]))[0]
        return LayerCost(*map(int, row))

    def describe(self, replacement: Replacement) -> dict[str, Any]:
        chosen = {name: choice.text for name, choice in replacement.choices}
        return {**chosen, **self.cost_of(replacement)._asdict()}


def _position(each: LayerOptions) -> Position:
    n = len(each.costs)
    return Position(
        name=each.layer.name,
        factors={each.layer.name: tuple(choice.text for choice in each.costs)},
        options=np.arange(n)[:, None],
        cost=np.array(list(each.costs.values()), dtype=np.int64).T[:, None, :],
        allowed=np.ones((1, n), dtype=np.bool_),
        state=np.zeros(n, dtype=np.int64),
    )


def _asked(layer: TracedLayer, only: Sequence[str], exclude: Sequence[str]) -> TracedLayer:
    asked = not only or _matches(layer.name, only)
    if layer.stays is not None or (asked and not _matches(layer.name, exclude)):
        return layer
    return TracedLayer(layer.name, layer.module, layer.calls, "it was not asked for")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    # "layer4" means what is in it, too.
    return any(fnmatchcase(name, p) or fnmatchcase(name, f"{p}.*") for p in patterns)


def _check_patterns(key: str, patterns: Sequence[str], layers: Sequence[TracedLayer]) -> None:
    for pattern in patterns:
        if not any(_matches(layer.name, [pattern]) for layer in layers):
            raise unknown_name(key, pattern, [layer.name for layer in layers])
