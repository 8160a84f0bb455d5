"""From a config to what a search needs, once a command: space, feasible set, strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from ... import strategies
from ...search_space import Architecture, FeasibleSet, SearchSpace
from ...search_space.errors import InputError
from ..config.plugins import load_plugins
from ..config.schema import ExperimentConfig, parse_config
from ..config.sections import Settings
from . import latency
from .validate import validate


@dataclass(frozen=True)
class Prepared:
    """An experiment that can begin. `config` holds the latency table where latency is a cost;
    `beginning` are trials of earlier runs, with which a new study begins."""

    config: ExperimentConfig
    space: SearchSpace
    feasible: FeasibleSet[Architecture]
    strategy: strategies.Strategy
    beginning: tuple[FrozenTrial, ...] = ()

    def with_zero_cost(self, measured: dict[str, Any]) -> Prepared:
        """With what was measured of the config's zero-cost measure among the costs."""
        setting = self.config.zero_cost
        assert setting is not None
        setting = setting.model_copy(update={"measured": measured})
        return _built(self.config.model_copy(update={"zero_cost": setting}), self.space)


def prepare(config: ExperimentConfig, kept: ExperimentConfig | None = None) -> Prepared:
    """Of a valid config. Where latency is a cost and no table is given, it is that of the run going
    on, `kept`, or else measured now. Raises InputError when no architecture meets the budget."""
    space = config.search_space()
    if config.wants_latency:
        if kept is not None and "measured" in kept.latency:
            measured = kept.latency["measured"]
        else:
            measured = latency.table_of(config.latency, space).to_dict()
        table = {**config.latency, "measured": measured}
        config = config.model_copy(update={"latency": table})
    return _built(config, space)


def prepared_from(source: str | Path | Mapping[str, Any], **changes: Any) -> Prepared:
    """The three steps at once, for commands that do nothing between them. Raises InputError."""
    config = parse_config(source, **changes)
    validate(config)
    return prepare(config)


def read_config(source: str | Path | Mapping[str, Any], **changes: Any) -> ExperimentConfig:
    """The config in a file or mapping, with `changes` (those not None) put over it; fully checked.

    `changes`: trials, seed, workers, device; `strategy` (a name), `budget` (a limit on flops), and
    `backend` (a name), `port` and `host`. Raises InputError for whatever is wrong, down to a budget
    that no architecture meets; a limit on a latency that is still to be measured is left for later.
    """
    config = parse_config(source, **changes)
    validate(config)
    checked = config
    if config.wants_latency and not latency.is_known(config.latency):
        budget = {name: limit for name, limit in config.budget.items() if name != "latency"}
        checked = config.model_copy(
            update={"latency": {}, "budget": budget, "objectives": config.objectives[:1]}
        )
    _built(checked, checked.search_space())
    return config


def to_measure(raw: Settings, *, device: str | None) -> ExperimentConfig:
    """A config whose latency is about to be measured, on `device`; its budget is not looked at."""
    kept = raw.get("latency") or {}
    if not isinstance(kept, dict):
        raise InputError("latency", kept, "it must be a mapping such as {device: cpu, batch: 1}")
    own = {key: value for key, value in kept.items() if key not in ("measured", "table")}
    given = {**own, **({"device": device} if device else {})}
    wanted = {key: value for key, value in raw.items() if key not in ("budget", "objectives")}
    config = parse_config({**wanted, "latency": given})
    load_plugins(config.plugins)
    latency.check(config.latency)
    return config


def _built(config: ExperimentConfig, space: SearchSpace) -> Prepared:
    feasible = config.feasible(space)
    name, settings = config.strategy.name, config.strategy.settings
    strategy = strategies.create(name, feasible, seed=config.seed, **settings)
    return Prepared(config, space, feasible, strategy)
