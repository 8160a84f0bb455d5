"""Evaluators and data by the names they have in a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..search_space import InputError
from ..search_space.errors import unknown_name
from .base import Evaluator
from .data.dataset import SearchData, load_data, read_data_settings
from .device import resolve_device
from .hook import is_hook, load_hook
from .proxy import ProxySettings, ProxyTraining
from .settings import Settings, read_settings
from .tabular import Tabular, TabularSettings
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
) -> Evaluator:
    """The evaluator of a config's `evaluator:` and `data:`, for architectures of this input.

    One of your own, `name: "python:MODULE:NAME"`, is called with its other settings, the data's,
    and the keywords input, classes, device and seed; it returns an `Evaluator`. The seed divides
    the data. InputError where settings, data and input do not fit together or the device is absent.
    """
    if _is_own(evaluator):
        own = {key: value for key, value in evaluator.items() if key != "name"}
        where: dict[str, Any] = {"input": input, "classes": classes, "device": device, "seed": seed}
        made: Evaluator = load_hook(evaluator["name"], "evaluator.name")(own, dict(data), **where)
        return made
    settings = _read_evaluator_settings(evaluator)
    # Here too, since not every evaluator loads the data.
    read_data_settings(data)
    given = Given(data, input, classes, resolve_device(device), seed)
    return EVALUATORS[evaluator["name"]].make(settings, given)


def check_settings(evaluator: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """InputError for a name, key or value that means nothing, without loading any data."""
    if _is_own(evaluator):
        load_hook(evaluator["name"], "evaluator.name")
        return
    _read_evaluator_settings(evaluator)
    read_data_settings(data)


def _is_own(evaluator: Mapping[str, Any]) -> bool:
    return isinstance(evaluator, Mapping) and is_hook(evaluator.get("name"))


def _read_evaluator_settings(evaluator: Mapping[str, Any]) -> Settings:
    if not isinstance(evaluator, Mapping):
        raise InputError("evaluator", evaluator, "a mapping such as {name: proxy, epochs: 5}")
    name = evaluator.get("name")
    if not isinstance(name, str) or name not in EVALUATORS:
        raise unknown_name("evaluator.name", name, EVALUATORS)
    return read_settings(EVALUATORS[name].settings, evaluator, "evaluator")
