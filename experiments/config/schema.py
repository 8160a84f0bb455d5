"""The experiment config: read, checked in full before anything runs, and kept in the run directory.

What belongs to another room is checked by that room: `space` and `budget` by the search space,
`evaluator` and `data` by the evaluators, the strategy's name by the strategies. Every error is an
InputError with the dotted key, the value and what is allowed.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...search_space.errors import InputError, shortened
from ...search_space.files import read_yaml
from ..run.objectives import check_objectives
from ..run.postgres import Database
from ..search import latency, zero_cost
from ..search.zero_cost import ZeroCostUse
from .backend import Backend
from .errors import as_input_error
from .hooks import check_evaluator
from .plugins import load_plugins
from .storage import Storage

if TYPE_CHECKING:
    from ...search_space import Architecture, FeasibleSet, SearchSpace

MAY_CHANGE = frozenset(
    {"trials", "workers", "device", "strategy", "final", "backend", "track", "versions"}
)
"""What may differ when an existing run is continued."""

Settings = dict[str, Any]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NamedPart(_Section):
    """A thing chosen by name; its other keys are its own settings."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    name: str

    @property
    def settings(self) -> Settings:
        return dict(self.model_extra or {})


class Pruner(_Section):
    """`none` by default: a proxy run is a few epochs, whose early ranking is mostly noise.

    `median` is Optuna's: stop a trial below the median of earlier trials at the same epoch.
    `asha` and `hyperband` stop what is not among the best of its rung, see `rungs.py`.
    """

    name: Literal["none", "median", "asha", "hyperband"] = "none"
    startup_trials: Annotated[int, Field(ge=0)] = 5
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    eta: Annotated[int, Field(ge=2)] = 3
    min_epochs: Annotated[int, Field(ge=1)] = 1
    max_epochs: Annotated[int, Field(ge=1)] | None = None

    @property
    def has_rungs(self) -> bool:
        return self.name in ("asha", "hyperband")


class Final(_Section):
    """The `top` best are scored again with `seeds` new seeds before a winner is named; 0: none."""

    top: Annotated[int, Field(ge=0)] = 5
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3


class ExperimentConfig(_Section):
    """One experiment. `training` is how `train` and `export` train, beyond the search's proxies;
    `latency` says on which device it is measured, and how, see `latency.py`; `track`
    names the tools that finished trials are copied to, see `tracking/`; `plugins` the modules that
    register operators, see `plugins.py`; `versions` is written by a launch, for people, and not read back."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    space: Settings
    budget: Settings = {}
    data: Settings = {"name": "digits"}
    evaluator: Settings = {"name": "proxy"}
    training: Settings = {}
    latency: Settings = {}
    zero_cost: ZeroCostUse | None = None
    objectives: list[str] = ["accuracy"]
    strategy: NamedPart = NamedPart(name="predictor")
    pruner: Pruner = Pruner()
    final: Final = Final()
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 40
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    device: str = "auto"
    backend: Backend = Backend()
    storage: Storage | None = None
    trial_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    track: list[str] = []
    plugins: list[str] = []
    versions: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if isinstance(data.get("backend"), str):
            data["backend"] = {"name": data["backend"]}
        if isinstance(data.get("storage"), str):
            data["storage"] = {"url": data["storage"]}
        return data

    @property
    def epochs(self) -> int:
        """Of a whole evaluation, as a pruner with rungs needs it. Raises InputError."""
        epochs = self.pruner.max_epochs or self.evaluator.get("epochs")
        if epochs is None:
            allowed = f"{self.pruner.name} needs it, or evaluator.epochs"
            raise InputError("pruner.max_epochs", None, allowed)
        return int(epochs)

    def search_space(self) -> SearchSpace:
        from ...search_space import SearchSpace

        return SearchSpace.from_config({"space": self.space})

    def feasible(self, space: SearchSpace) -> FeasibleSet[Architecture]:
        """Raises InputError when no architecture of the space meets the budget."""
        from ...search_space import Budget
        from ..search.latency import timed

        guided = zero_cost.guided(self.zero_cost, timed(self, space))
        return guided.within(
            Budget.from_config(self.budget), least=zero_cost.least_of(self.zero_cost)
        )


def demo_config() -> Path:
    return Path(str(resources.files(__package__.rpartition(".")[0]) / "configs" / "digits.yaml"))


def read_mapping(path: str | Path) -> Settings:
    """The mapping in a YAML or JSON file. Raises InputError naming the path."""
    content = read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(str(path), content, "it must be a mapping of keys to values")
    return content


def read_config(source: str | Path | Mapping[str, Any], **changes: Any) -> ExperimentConfig:
    """The config in a file or mapping, with `changes` (those not None) put over it, checked.

    `changes`: trials, seed, workers, device; `strategy` (a name), `budget` (a limit on flops), and
    `backend` (a name), `port` and `host`.
    Raises InputError.
    """
    raw = dict(source) if isinstance(source, Mapping) else read_mapping(source)
    given = {key: value for key, value in changes.items() if value is not None}
    if "strategy" in given and _name_of(raw.get("strategy")) == given["strategy"]:
        del given["strategy"]
    if "strategy" in given:
        given["strategy"] = {"name": given["strategy"]}
    there = raw.get("backend", {})
    for key, part in (("backend", "name"), ("port", "port"), ("host", "host")):
        if key in given:
            there = {"name": there} if isinstance(there, str) else there
            there = {**there, part: given.pop(key)}
    if there:
        given["backend"] = there
    if "budget" in given:
        kept = raw.get("budget")
        given["budget"] = {**(kept if isinstance(kept, dict) else {}), "flops": given["budget"]}
    try:
        config = ExperimentConfig.model_validate({**raw, **given})
    except ValidationError as e:
        raise as_input_error(e, ExperimentConfig) from e
    _check_with_the_rooms(config)
    return config


def unmeasured(raw: Settings, *, device: str | None) -> ExperimentConfig:
    """A config whose latency is about to be measured, on `device`; its budget is not looked at."""
    kept = raw.get("latency") or {}
    if not isinstance(kept, dict):
        raise InputError("latency", kept, "it must be a mapping such as {device: cpu, batch: 1}")
    own = {key: value for key, value in kept.items() if key not in ("measured", "table")}
    given = {**own, **({"device": device} if device else {})}
    wanted = {key: value for key, value in raw.items() if key not in ("budget", "objectives")}
    try:
        config = ExperimentConfig.model_validate({**wanted, "latency": given})
    except ValidationError as e:
        raise as_input_error(e, ExperimentConfig) from e
    load_plugins(config.plugins)
    latency.check(config)
    return config


def _name_of(section: Any) -> Any:
    return section.get("name") if isinstance(section, dict) else None


def _check_with_the_rooms(config: ExperimentConfig) -> None:
    from ... import strategies
    from ...evaluators import RetrainSettings
    from ...evaluators.device import check_device
    from ...evaluators.settings import read_settings
    from ..tracking import check_trackers

    load_plugins(config.plugins)
    check_device(config.device)
    check_objectives(config.objectives)
    check_trackers(config.track)
    if config.storage is not None:
        Database.parse(config.storage.url, config.name, key="storage.url")
        if config.storage.grace < 2 * config.storage.heartbeat:
            allowed = f"it must be at least twice the heartbeat, {config.storage.heartbeat:g}"
            raise InputError("storage.grace", config.storage.grace, allowed)
        if config.backend.name == "nni":
            allowed = "NNI runs the trials of one machine: local, or leave storage out"
            raise InputError("backend.name", "nni", allowed)
    if len(config.objectives) > 1 and config.pruner.name == "median":
        raise InputError(
            "pruner.name", "median", "with several objectives: none, asha or hyperband"
        )
    check_evaluator(config.evaluator, config.data)
    read_settings(RetrainSettings, config.training, "training")
    latency.check(config)
    zero_cost.check(config.zero_cost, config.strategy.name)
    if config.pruner.has_rungs and config.epochs <= config.pruner.min_epochs:
        allowed = f"it must be less than the {config.epochs} epochs of an evaluation"
        raise InputError("pruner.min_epochs", config.pruner.min_epochs, allowed)
    feasible = config.feasible(config.search_space())
    strategies.create(config.strategy.name, feasible, **config.strategy.settings)


def resolved(config: ExperimentConfig, *, device: str) -> ExperimentConfig:
    """The config as kept in the run directory: with the device in use and all versions."""
    versions = {name: importlib.metadata.version(name) for name in ("convnas", "torch", "optuna")}
    versions["python"] = platform.python_version()
    return config.model_copy(update={"device": device, "versions": versions})


def as_yaml(config: ExperimentConfig) -> str:
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def check_continues(old: ExperimentConfig, new: ExperimentConfig) -> None:
    """Raises InputError naming the first key of `new` that a continued run may not change."""
    before, after = (_without_measured(each.model_dump(mode="json")) for each in (old, new))
    for name in before:
        if name not in MAY_CHANGE and before[name] != after[name]:
            if name == "budget" and _same_limits(before[name], after[name]):
                continue
            key, was, now = _first_difference(name, before[name], after[name])
            allowed = (
                f"this run has {shortened(was)}; only trials, workers, device, strategy, final, "
                "backend and track may change"
            )
            raise InputError(key, now, f"{allowed} (or start another run directory with -o)")


def _without_measured(config: Settings) -> Settings:
    """A run keeps what it measured when it began, whatever is measured later."""
    kept = {
        name: {key: value for key, value in (config[name] or {}).items() if key != "measured"}
        for name in ("latency", "zero_cost")
    }
    return {**config, **kept}


def _same_limits(one: Settings, other: Settings) -> bool:
    from ...search_space import Budget

    return bool(Budget.from_config(one).limits == Budget.from_config(other).limits)


def _first_difference(key: str, old: Any, new: Any) -> tuple[str, Any, Any]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*new, *old]:
            if old.get(name) != new.get(name):
                return _first_difference(f"{key}.{name}", old.get(name), new.get(name))
    return key, old, new
