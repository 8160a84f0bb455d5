"""The experiment config: what a file says, and what is kept of it in the run directory.

Only keys and types are looked at here. `search/validate.py` asks the rooms whether their settings
mean something, `search/prepare.py` builds what they describe. Every error is an InputError with the
dotted key, the value and what is allowed.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from ...search_space.errors import InputError, shortened
from ...search_space.files import read_yaml
from .errors import as_input_error
from .sections import (
    ALONE,
    Backend,
    Final,
    NamedPart,
    Objective,
    Pruner,
    Seconds,
    Section,
    Settings,
    Storage,
    ZeroCostUse,
)

if TYPE_CHECKING:
    from ...search_space import Architecture, FeasibleSet, SearchSpace

MAY_CHANGE = frozenset(
    {"trials", "workers", "device", "strategy", "final", "backend", "track", "versions"}
)
"""What may differ when an existing run is continued."""


class ExperimentConfig(BaseModel):
    """One experiment. `training` is how `train` and `export` train, beyond the search's proxies;
    `latency` says on which device it is measured, and how, see `latency.py`; `track` names the
    tools that finished trials are copied to, see `tracking/`; `plugins` the modules that register
    operators, see `plugins.py`; `versions` is written by a launch, for people, and not read."""

    model_config = Section.model_config

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    space: Settings
    budget: Settings = {}
    data: Settings = {"name": "digits"}
    evaluator: Settings = {"name": "proxy"}
    training: Settings = {}
    latency: Settings = {}
    zero_cost: ZeroCostUse | None = None
    objectives: list[Objective] = ALONE
    strategy: NamedPart = NamedPart(name="predictor")
    pruner: Pruner = Pruner()
    final: Final = Final()
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 40
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    device: str = "auto"
    backend: Backend = Backend()
    storage: Storage | None = None
    trial_timeout: Seconds | None = None
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

    @property
    def objective_names(self) -> list[str]:
        """The first is what a score is of, wherever one is shown."""
        return [objective.name for objective in self.objectives]

    @property
    def final_trainings(self) -> int:
        """How many the final choice makes at most; none where there are no two to choose from, or
        where it is not made, since all training is done on NNI's machines."""
        top = min(self.final.top, self.trials)
        return top * self.final.seeds if top > 1 and not self.backend.machines else 0

    @property
    def wants_latency(self) -> bool:
        """Whether latency is a cost of this experiment's space."""
        return bool(self.latency) or "latency" in self.budget or "latency" in self.objective_names

    def search_space(self) -> SearchSpace:
        from ...search_space import SearchSpace

        return SearchSpace.from_config({"space": self.space})

    def feasible(self, space: SearchSpace) -> FeasibleSet[Architecture]:
        """The architectures of `space` inside the budget, and inside a zero-cost filter.

        Where latency is a cost and no table of it is given, it is measured now. Raises InputError
        when no architecture meets the budget.
        """
        from ...search_space import Budget
        from ..search import latency, zero_cost

        if self.wants_latency:
            space = space.timed(latency.table_of(self.latency, space).times)
        guided = zero_cost.guided(self.zero_cost, space)
        least = zero_cost.least_of(self.zero_cost)
        return guided.within(Budget.from_config(self.budget), least=least)


def demo_config() -> Path:
    return Path(str(resources.files(__package__.rpartition(".")[0]) / "configs" / "digits.yaml"))


def read_mapping(path: str | Path) -> Settings:
    """The mapping in a YAML or JSON file. Raises InputError naming the path."""
    content = read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(str(path), content, "it must be a mapping of keys to values")
    return content


def parse_config(source: str | Path | Mapping[str, Any], **changes: Any) -> ExperimentConfig:
    """The config in a file or mapping, with `changes` (those not None) put over it.

    `changes`: trials, seed, workers, device; `strategy` (a name), `budget` (a limit on flops),
    `backend` (a name), `port` and `host`, and `no_final` (no final choice).
    Raises InputError.
    """
    if isinstance(source, Mapping):
        raw = dict(source)
    else:
        raw = _beside(Path(source), read_mapping(source))
    given = {key: value for key, value in changes.items() if value is not None}
    if "strategy" in given and _name_of(raw.get("strategy")) == given["strategy"]:
        # The same name as in the file: the settings that stand there are kept.
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
    if given.pop("no_final", False):
        chosen = raw.get("final")
        given["final"] = {**(chosen if isinstance(chosen, dict) else {}), "top": 0}
    if "budget" in given:
        kept = raw.get("budget")
        given["budget"] = {**(kept if isinstance(kept, dict) else {}), "flops": given["budget"]}
    try:
        return ExperimentConfig.model_validate({**raw, **given})
    except ValidationError as e:
        raise as_input_error(e, ExperimentConfig) from e


PATHS = (("data", "path"), ("evaluator", "table"), ("latency", "table"))
"""Keys of a config that name files."""


def _beside(config: Path, raw: Settings) -> Settings:
    """With paths that are meant from the config's folder made whole. One that leads nowhere from
    there stays as it is, meant from the current folder."""
    found = dict(raw)
    for section, key in PATHS:
        there = raw.get(section)
        if not isinstance(there, dict):
            continue
        path = there.get(key)
        if isinstance(path, str) and "\0" not in path and config.parent != Path():
            beside = config.parent / path
            if not Path(path).is_absolute() and os.path.exists(beside):
                found[section] = {**there, key: str(beside.absolute())}
    return found


def _name_of(section: Any) -> Any:
    return section.get("name") if isinstance(section, dict) else None


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
            # 1M and 1000000 are the same limit.
            if name == "budget" and _same_limits(before[name], after[name]):
                continue
            key, was, now = first_difference(name, before[name], after[name])
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


def first_difference(key: str, old: Any, new: Any) -> tuple[str, Any, Any]:
    """Where two sections, placed at `key`, differ first: its dotted key and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*new, *old]:
            if old.get(name) != new.get(name):
                return first_difference(f"{key}.{name}", old.get(name), new.get(name))
    return key, old, new
