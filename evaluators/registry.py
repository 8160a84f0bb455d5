"""Evaluators and data by the names they have in a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..search_space import InputError
from ..search_space.errors import unknown_name
from .base import Evaluator
from .data import SearchData, load_data, read_data_settings
from .device import resolve_device
from .proxy import ProxyTraining
from .settings import Settings, read_settings
from .training import TrainingSettings

EVALUATORS: dict[
    str, tuple[type[Settings], Callable[[Any, SearchData, torch.device], Evaluator]]
] = {
    "proxy": (TrainingSettings, ProxyTraining),
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

    The seed divides the data; the test split is dropped before the evaluator is made.
    InputError where settings, data and input do not fit together or the device is absent.
    """
    settings = _read_evaluator_settings(evaluator)
    where = resolve_device(device)
    loaded = load_data(data, seed=seed, input=input, classes=classes)
    return EVALUATORS[evaluator["name"]][1](settings, loaded.search, where)


def check_settings(evaluator: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """InputError for a name, key or value that means nothing, without loading anything."""
    _read_evaluator_settings(evaluator)
    read_data_settings(data)


def _read_evaluator_settings(evaluator: Mapping[str, Any]) -> Settings:
    if not isinstance(evaluator, Mapping):
        raise InputError("evaluator", evaluator, "a mapping such as {name: proxy, epochs: 5}")
    name = evaluator.get("name")
    if not isinstance(name, str) or name not in EVALUATORS:
        raise unknown_name("evaluator.name", name, EVALUATORS)
    return read_settings(EVALUATORS[name][0], evaluator, "evaluator")
