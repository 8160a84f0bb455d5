"""Evaluators and data by the names they have in a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch

from ..search_space import InputError
from ..search_space.errors import unknown_name
from .base import ACCURACY, Evaluator
from .data.dataset import SearchData, load_data, read_data_settings
from .device import resolve_device
from .hook import is_hook, load_hook
from .own import ScoredBy
from .proxy import ProxySettings, ProxyTraining
from .settings import Settings, read_settings
from .tabular import Tabular, TabularSettings
from .training.metrics import KNOWN, is_class_metric
from .zero_cost import MEASURES, ByCost, Measure, ZeroCost, ZeroCostSettings


@dataclass(frozen=True)
class Given:
    """What an evaluator may be made from. Data is loaded only by an evaluator that asks for it."""

    data: Mapping[str, Any]
    input: tuple[int, int, int]
    classes: int
    device: torch.device
    seed: int

    def search_data(self, resolution: int | None = None) -> SearchData:
        """The test split is dropped here: no evaluator is ever given it."""
        loaded = load_data(
            self.data,
            seed=self.seed,
            input=self.input,
            classes=self.classes,
            resolution=resolution,
        )
        return loaded.search


@dataclass(frozen=True)
class Kind:
    """An evaluator's settings, and how it is made."""

    settings: type[Settings]
    make: Callable[[Any, Given], Evaluator]


def _zero_cost(measure: Measure, settings: ZeroCostSettings, given: Given) -> Evaluator:
    return ZeroCost(measure, settings, given.search_data(), given.device)


def _by_cost(name: str, settings: Settings, given: Given) -> Evaluator:
    # The data only says which input and how many classes fit.
    return ByCost(name, given.search_data())


EVALUATORS: dict[str, Kind] = {
    "proxy": Kind(
        ProxySettings,
        lambda settings, given: ProxyTraining(
            settings, given.search_data(settings.resolution), given.device, input=given.input
        ),
    ),
    "tabular": Kind(TabularSettings, lambda settings, given: Tabular(settings, given.data)),
    **{
        name: Kind(ZeroCostSettings, partial(_zero_cost, measure))
        for name, measure in MEASURES.items()
    },
    **{name: Kind(Settings, partial(_by_cost, name)) for name in ("flops", "params")},
}


def create(
    evaluator: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    input: tuple[int, int, int],
    classes: int,
    device: str = "auto",
    seed: int = 0,
    objectives: Sequence[str] = (ACCURACY,),
) -> Evaluator:
    """The evaluator of a config's `evaluator:` and `data:`, for architectures of this input.

    One of your own, `name: "python:MODULE:NAME"`, is called with its other settings, the data's,
    and the keywords input, classes, device and seed; it returns an `OwnEvaluator`. The seed divides
    the data. `objectives`: metrics by name, the first of them the score.
    InputError where settings, data and input do not fit together or the device is absent.
    """
    if _is_own(evaluator):
        own = {key: value for key, value in evaluator.items() if key != "name"}
        where: dict[str, Any] = {"input": input, "classes": classes, "device": device, "seed": seed}
        made = load_hook(evaluator["name"], "evaluator.name")(own, dict(data), **where)
        return ScoredBy(made, objectives[0])
    settings = _read_evaluator_settings(evaluator, objectives)
    # Here too, since not every evaluator loads the data.
    read_data_settings(data)
    given = Given(data, input, classes, resolve_device(device), seed)
    return EVALUATORS[evaluator["name"]].make(settings, given)


def check_settings(
    evaluator: Mapping[str, Any],
    data: Mapping[str, Any],
    objectives: Sequence[str] = (ACCURACY,),
) -> None:
    """InputError for a name, key or value that means nothing, without loading any data; and for an
    objective that the evaluator does not measure, where that is known."""
    if _is_own(evaluator):
        load_hook(evaluator["name"], "evaluator.name")
        return
    settings = _read_evaluator_settings(evaluator, objectives)
    if isinstance(settings, ProxySettings):
        _check_measured(objectives[1:], settings)
    read_data_settings(data)


def in_force(
    evaluator: Mapping[str, Any], data: Mapping[str, Any], objectives: Sequence[str] = (ACCURACY,)
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Valid sections with all their defaults, so that two that mean the same are equal; those of
    an evaluator of one's own as they are, since only it knows what they mean."""
    if _is_own(evaluator):
        return dict(evaluator), dict(data)
    settings = _read_evaluator_settings(evaluator, objectives)
    division = read_data_settings(data)[1]
    return {**evaluator, **vars(settings)}, {**data, **vars(division)}


def _is_own(evaluator: Mapping[str, Any]) -> bool:
    return isinstance(evaluator, Mapping) and is_hook(evaluator.get("name"))


def with_objectives(
    section: Mapping[str, Any], kind: type[Settings], objectives: Sequence[str]
) -> dict[str, Any]:
    """The settings with the first objective as `score`, where they say none, and what is to be
    measured for the others among `metrics`, where the kind has these."""
    made, known = dict(section), {each.name for each in fields(kind)}
    first, others = objectives[0], list(filter(is_class_metric, objectives[1:]))
    if first != ACCURACY and "score" in known:
        made.setdefault("score", first)
    if others and "metrics" in known and isinstance(made.get("metrics"), list | None):
        made["metrics"] = list(dict.fromkeys([*(made.get("metrics") or ()), *others]))
    return made


def _check_first(name: str, evaluator: Mapping[str, Any], kind: type[Settings]) -> None:
    """InputError where the first objective cannot be this evaluator's score."""
    if name == ACCURACY:
        return
    if all(each.name != "score" for each in fields(kind)):
        raise InputError("objectives", name, f"accuracy, as {evaluator['name']}'s score is called")
    if not is_class_metric(name):
        raise InputError("objectives", name, f"first comes accuracy or one of: {KNOWN}")
    if evaluator.get("score", name) != name:
        raise InputError("evaluator.score", evaluator["score"], f"the first objective is {name}")


def _check_measured(objectives: Sequence[str], settings: ProxySettings) -> None:
    known = [ACCURACY, "loss", "train_loss", "train_loss_sum", "seconds", "peak_memory_mb"]
    known += ["int8_accuracy"] if settings.int8 else []
    for name in objectives:
        if name not in known and not is_class_metric(name):
            raise InputError("objectives", name, f"proxy measures {', '.join(known)}; {KNOWN}")


def _read_evaluator_settings(evaluator: Mapping[str, Any], objectives: Sequence[str]) -> Settings:
    if not isinstance(evaluator, Mapping):
        raise InputError("evaluator", evaluator, "a mapping such as {name: proxy, epochs: 5}")
    name = evaluator.get("name")
    if not isinstance(name, str) or name not in EVALUATORS:
        raise unknown_name("evaluator.name", name, EVALUATORS)
    kind = EVALUATORS[name].settings
    _check_first(objectives[0], evaluator, kind)
    return read_settings(kind, with_objectives(evaluator, kind, objectives), "evaluator")
