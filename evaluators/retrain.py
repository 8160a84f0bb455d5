"""Train one architecture properly, and look at the test split once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..search_space import Architecture, build_network
from .base import EvaluationError, Report, keep_going
from .data import load_data
from .device import out_of_memory, resolve_device, seeded
from .settings import flag, integer, read_settings
from .training import measure, train_network
from .training_settings import TrainingSettings


@dataclass(frozen=True)
class RetrainSettings(TrainingSettings):
    """A long recipe. `join`: train on the train and validation splits together."""

    epochs: int = integer(30, at_least=1)
    join: bool = flag(True)


@dataclass(frozen=True)
class Trained:
    """`network`: on the CPU, in evaluation mode. `metrics`: `test_accuracy`, `test_loss`, `seconds`
    and the last epoch's. `data`: what the network was trained on and how its input is normalised,
    as plain data."""

    network: nn.Module
    metrics: dict[str, float]
    data: dict[str, Any]


def retrain(
    arch: Architecture,
    data: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
    *,
    device: str = "auto",
    seed: int = 0,
    split_seed: int | None = None,
    report: Report = keep_going,
) -> Trained:
    """Train `arch` from scratch on `data` and measure it on the test split, once, at the end.

    `split_seed` (by default `seed`) divides the data: pass the search's seed, so that the test
    split is the one which that search never saw, and vary `seed` alone. `training` holds
    RetrainSettings. The report is called as an evaluator's is; joined, there is no validation
    split and the metrics are the training's. Raises EvaluationError as evaluators do.
    """
    settings = read_settings(RetrainSettings, training or {}, "training")
    where = resolve_device(device)
    loaded = load_data(
        data,
        seed=seed if split_seed is None else split_seed,
        input=arch.input,
        classes=arch.classes,
    )
    train, validation = loaded.search.train, loaded.search.validation
    start = time.perf_counter()
    try:
        with seeded(seed, where):
            net = build_network(arch, execution=settings.table(where))
            history = train_network(
                net,
                train.joined(validation) if settings.join else train,
                None if settings.join else validation,
                settings,
                seed=seed,
                device=where,
                report=report,
            )
        accuracy, loss = measure(net, loaded.test.to(where), settings)
    except (RuntimeError, MemoryError) as error:
        reason = out_of_memory(error)
        if reason is None:
            raise
        raise EvaluationError(reason) from error
    metrics = history.epochs[-1] | {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "seconds": time.perf_counter() - start,
    }
    return Trained(net.cpu().eval(), metrics, loaded.describe() | {"joined": settings.join})
