"""Strategies by name."""

from __future__ import annotations

import inspect
from typing import Any

from ..search_space.errors import InputError, unknown_key, unknown_name
from ..search_space.feasible import FeasibleSet
from .base import Strategy
from .baselines import RandomStrategy
from .nni_tuners import (
    GONE,
    NNIEvolutionStrategy,
    NNIGridStrategy,
    NNIRandomStrategy,
    NNITPEStrategy,
)
from .optuna_samplers import TPEStrategy

_STRATEGIES: dict[str, type[Strategy]] = {
    "nni-evolution": NNIEvolutionStrategy,
    "nni-grid": NNIGridStrategy,
    "nni-random": NNIRandomStrategy,
    "nni-tpe": NNITPEStrategy,
    "random": RandomStrategy,
    "tpe": TPEStrategy,
}


def names() -> list[str]:
    """The names `create` knows."""
    return sorted(_STRATEGIES)


def settings_of(name: str) -> list[str]:
    """The settings a strategy takes beside the seed; InputError for an unknown name."""
    if name in GONE:
        raise InputError("strategy.name", name, GONE[name])
    if name not in _STRATEGIES:
        raise unknown_name("strategy.name", name, _STRATEGIES)
    parameters = inspect.signature(_STRATEGIES[name]).parameters
    return [key for key in parameters if key not in ("feasible", "seed")]


def create(name: str, feasible: FeasibleSet[Any], *, seed: int = 0, **settings: Any) -> Strategy:
    """An Optuna sampler that proposes points of `feasible`.

    InputError for an unknown name, setting or value of a setting.
    """
    known = settings_of(name)
    for key in settings:
        if key not in known:
            raise unknown_key("strategy", key, known)
    try:
        return _STRATEGIES[name](feasible, seed=seed, **settings)
    except InputError as e:
        raise e.under("strategy") from e
