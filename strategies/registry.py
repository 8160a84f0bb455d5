"""Strategies by name."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import Any

from optuna.samplers import BaseSampler

from ..search_space.errors import InputError, unknown_key, unknown_name
from ..search_space.feasible.feasible_set import FeasibleSet
from .base import Strategy
from .evolution import EvolutionStrategy
from .local_search import LocalSearchStrategy
from .nni_nas.loading import ONE_SHOT
from .nni_nas.reinforcement import NNINasRLStrategy
from .nni_nas.strategies import (
    NNINasEvolutionStrategy,
    NNINasGridStrategy,
    NNINasRandomStrategy,
    NNINasTPEStrategy,
)
from .nni_tuners import (
    GONE,
    NNIEvolutionStrategy,
    NNIGridStrategy,
    NNIRandomStrategy,
    NNITPEStrategy,
)
from .optuna_wrapped.named import (
    GPStrategy,
    NSGAIIIStrategy,
    NSGAIIStrategy,
    QMCStrategy,
    TPEStrategy,
)
from .optuna_wrapped.wrapper import GivenStrategy
from .predictor import PredictorStrategy
from .random_and_grid import ExhaustiveStrategy, RandomStrategy

_STRATEGIES: dict[str, type[Strategy]] = {
    "evolution": EvolutionStrategy,
    "exhaustive": ExhaustiveStrategy,
    "gp": GPStrategy,
    "local-search": LocalSearchStrategy,
    "nni-evolution": NNIEvolutionStrategy,
    "nni-grid": NNIGridStrategy,
    "nni-nas-evolution": NNINasEvolutionStrategy,
    "nni-nas-grid": NNINasGridStrategy,
    "nni-nas-random": NNINasRandomStrategy,
    "nni-nas-rl": NNINasRLStrategy,
    "nni-nas-tpe": NNINasTPEStrategy,
    "nni-random": NNIRandomStrategy,
    "nni-tpe": NNITPEStrategy,
    "nsga2": NSGAIIStrategy,
    "nsga3": NSGAIIIStrategy,
    "predictor": PredictorStrategy,
    "qmc": QMCStrategy,
    "random": RandomStrategy,
    "tpe": TPEStrategy,
}


def names() -> list[str]:
    """The names `create` knows."""
    return sorted(_STRATEGIES)


def available() -> list[str]:
    """Those of them whose extras are installed."""
    return [name for name in names() if _STRATEGIES[name].unavailable() is None]


def settings_of(name: str) -> list[str]:
    """The settings a strategy takes beside the seed. InputError for a name that is unknown or
    needs what is not installed."""
    if "." in name:
        kind = _sampler_class(name)
        if issubclass(kind, Strategy):
            return kind.settings_taken()
        own = inspect.signature(kind).parameters
        return ["encoding", *(key for key in own if key != "seed")]
    if name in GONE:
        raise InputError("strategy.name", name, GONE[name])
    if name in ONE_SHOT:
        told = "it trains one supernet instead of trials: convnas.strategies.nni_nas, in Python"
        raise InputError("strategy.name", name, told)
    if name not in _STRATEGIES:
        raise unknown_name("strategy.name", name, _STRATEGIES)
    if (reason := _STRATEGIES[name].unavailable()) is not None:
        raise InputError("strategy.name", name, reason)
    return _STRATEGIES[name].settings_taken()


def create(
    name: str | BaseSampler, feasible: FeasibleSet[Any], *, seed: int = 0, **settings: Any
) -> Strategy:
    """An Optuna sampler that proposes points of `feasible`.

    name: one of `names()`, the dotted name of any Optuna sampler's class or of a Strategy of your
    own, also in the current folder (`settings` are then its own), or a sampler. InputError for an
    unknown name, setting or value of a setting.
    """
    if isinstance(name, BaseSampler):
        return GivenStrategy(feasible, sampler=name, seed=seed, **settings)
    known = settings_of(name)
    for key in settings:
        if key not in known:
            raise unknown_key("strategy", key, known)
    try:
        if "." in name and issubclass(kind := _sampler_class(name), Strategy):
            return kind(feasible, seed=seed, **settings)
        if "." in name:
            return _of_class(name, feasible, seed, **settings)
        return _STRATEGIES[name](feasible, seed=seed, **settings)
    except InputError as e:
        raise e.under("strategy") from e


def _of_class(
    name: str, feasible: FeasibleSet[Any], seed: int, *, encoding: str = "flat", **settings: Any
) -> Strategy:
    try:
        sampler = _sampler_class(name)(**settings)
    except (TypeError, ValueError, ImportError) as e:
        raise InputError("settings", settings, f"what {name} takes: {e}") from e
    return GivenStrategy(feasible, sampler=sampler, seed=seed, encoding=encoding)


def _sampler_class(name: str) -> type[BaseSampler]:
    module, _, attribute = name.rpartition(".")
    if os.getcwd() not in sys.path:
        # An installed command does not look there.
        # Last, so that a file in it hides no installed package.
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as e:
        raise InputError("strategy.name", name, f"a class that can be imported ({e})") from e
    if not (inspect.isclass(found) and issubclass(found, BaseSampler)):
        raise InputError("strategy.name", name, "a class of Optuna samplers")
    return found
