"""Parameters as NNI's pages read best: conv, alpha, p and scales on axes of their own.

Optuna's parameter `stage1 = "octave(alpha=0.25)"` is `stage1.conv = "octave"` and
`stage1.alpha = 0.25` in NNI, and "-" for what the convolution does not have. The search space has
the same keys, without which the hyper-parameter page stays empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...search_space import Architecture, Choice, FeasibleSet
from ...search_space.layers.registry import numbers_known

NONE = "-"

Distributions = Mapping[str, Sequence[Any]]


def nni_space(distributions: Distributions) -> dict[str, Any]:
    """The search space of NNI for `FeasibleSet.distributions`."""
    space: dict[str, list[Any]] = {}
    for name, labels in distributions.items():
        for label in labels:
            for key, value in _spread(name, label, distributions).items():
                values = space.setdefault(key, [])
                if value not in values:
                    values.append(value)
    return {key: {"_type": "choice", "_value": values} for key, values in space.items()}


def nni_parameters(params: Mapping[str, Any], distributions: Distributions) -> dict[str, Any]:
    """The parameters of one trial, from those in the study."""
    spread: dict[str, Any] = {}
    for name in distributions:
        spread.update(_spread(name, params[name], distributions))
    return spread


def from_nni(spread: Mapping[str, Any], feasible: FeasibleSet[Architecture]) -> Architecture:
    """The inverse of `nni_parameters`. ValueError where they are not of this space."""
    distributions = feasible.distributions
    params = {}
    for name, labels in distributions.items():
        spreads = [(label, _spread(name, label, distributions)) for label in labels]
        fitting = [label for label, each in spreads if each.items() <= spread.items()]
        if not fitting:
            raise ValueError(f"{name} has no choice with {dict(spread)}")
        params[name] = fitting[0]
    return feasible.from_params(params)


def _spread(name: str, label: Any, distributions: Distributions) -> dict[str, Any]:
    labels = distributions[name]
    if not all(isinstance(each, str) for each in labels):
        return {name: label}  # depth, width or kernel
    # A key that no label has here would be an axis of nothing but "-".
    used = {key for each in labels for key in _facts(each)}
    facts = _facts(label)
    return {
        f"{name}.{key}": facts.get(key, NONE)
        for key in ("conv", *numbers_known())
        if key == "conv" or key in used
    }


def _facts(label: str) -> dict[str, Any]:
    return {} if label == NONE else Choice.parse(label).to_dict()
