"""Train one architecture properly, and look at the test split once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ..search_space import Architecture, InputError, build_network
from .base import ACCURACY, EvaluationError, Report, keep_going
from .data.dataset import load_data
from .device import out_of_memory, resolve_device, seeded
from .settings import flag, integer, read_settings, real, setting
from .training.balance import class_weights
from .training.capture import recorder_for
from .training.checkpoint import Checkpoint, State
from .training.loop import train_network
from .training.metrics import KNOWN, ClassMetrics, is_class_metric
from .training.recipe import TrainingSettings
from .training.validation import measure


def _score_problem(name: object) -> str | None:
    if name is None or name == ACCURACY or is_class_metric(name):
        return None
    return f"accuracy; {KNOWN}; or null: accuracy"


@dataclass(frozen=True)
class RetrainSettings(TrainingSettings):
    """A long recipe. The network is kept as it was after the epoch with the best validation, by
    its `score` (null: accuracy), which like the `metrics` is measured on the test split too.
    `join`: train on the train and validation splits together; then nothing is left to validate
    with, and the last epoch's network is kept."""

    epochs: int = integer(30, at_least=1)
    ema: float = real(0.999, low=0, below=1)
    join: bool = flag(False)
    score: str | None = setting(None, _score_problem)

    @property
    def measured(self) -> list[str]:
        """Of `ClassMetrics`, the score among them."""
        own = [self.score] if self.score and is_class_metric(self.score) else []
        return [*(self.metrics or ()), *own]


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    `network`: on the CPU, in evaluation mode. `metrics`: `test_accuracy`, `test_loss` and the like
    of what else the settings have measured, `seconds`,
    `chance` (the share of the test split's most frequent class, which saying it always would
    reach), and those of the epoch whose network was kept, which `best_epoch` names where there was
    a choice. `data`: what the network was trained on and how its input is normalised. `training`:
    the settings. Both are plain data.
    """

    network: nn.Module
    metrics: dict[str, float]
    data: dict[str, Any]
    training: dict[str, Any]


def retrain(
    arch: Architecture,
    data: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
    *,
    device: str = "auto",
    seed: int = 0,
    split_seed: int | None = None,
    report: Report = keep_going,
    checkpoint: Path | None = None,
    resumed: Callable[[int], None] = lambda epoch: None,
) -> Trained:
    """Train `arch` from scratch on `data` and measure it on the test split, once, at the end.

    `split_seed` (by default `seed`) divides the data: pass the search's seed, so that the test
    split is the one which that search never saw, and vary `seed` alone. `training` holds
    RetrainSettings. The report is called as an evaluator's is; joined, there is no validation
    split and the metrics are the training's.

    `checkpoint`: a file that holds the state after every epoch. Where it is there, the training
    goes on from it (`resumed` hears the epochs done) and ends, on a CPU, with the same bits as an
    uninterrupted one; the caller removes it when the result is safe. Raises EvaluationError as
    evaluators do, InputError for a checkpoint that is not of exactly this training, OSError where
    it cannot be written.
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
    here, classes = loaded.test.to(where), loaded.search.classes
    try:
        class_weights(settings.class_weights, train.labels, classes)
        metrics_of = [
            ClassMetrics(settings.measured, labels, classes, loaded.names)
            if settings.measured
            else None
            for labels in (validation.labels.to(where), here.labels)
        ]
    except InputError as error:
        raise error.under("training") from None
    validated, tested = metrics_of
    described = loaded.describe() | {"joined": settings.join}
    # The seed of the division is in `described`.
    identity = {
        "architecture": str(arch),
        "training": asdict(settings),
        "seed": seed,
        "data": described,
        "device": where.type,
    }
    keeper = _Timed(Checkpoint(checkpoint, identity), resumed) if checkpoint else None
    start = time.perf_counter()
    try:
        with seeded(seed, where):
            net = build_network(arch, execution=settings.table(where))
            recorder = recorder_for(where) if settings.records(None) else None
            history = train_network(
                net,
                train.joined(validation) if settings.join else train,
                None if settings.join else validation,
                settings,
                seed=seed,
                device=where,
                report=report,
                keeper=keeper,
                keep_best=settings.score or ACCURACY,
                recorder=recorder,
                metrics=None if settings.join else validated,
            )
            accuracy, loss = measure(net, here, settings, metrics=tested)
    except (RuntimeError, MemoryError) as error:
        reason = out_of_memory(error)
        if reason is None:
            raise
        raise EvaluationError(reason) from error
    # 0 where there was no choice: then it is the last epoch that [-1] picks.
    metrics = dict(history.epochs[history.best_epoch - 1])
    if history.best_epoch:
        metrics["best_epoch"] = float(history.best_epoch)
    spent = time.perf_counter() - start + (keeper.before if keeper else 0.0)
    chance = float(loaded.test.labels.bincount().max()) / len(loaded.test)
    metrics |= {"test_accuracy": accuracy, "test_loss": loss, "chance": chance, "seconds": spent}
    if tested is not None:
        metrics |= {f"test_{name}": value for name, value in tested.values().items()}
    return Trained(net.cpu().eval(), metrics, described, asdict(settings))


class _Timed:
    """A checkpoint that also counts the seconds spent before an interruption."""

    def __init__(self, checkpoint: Checkpoint, resumed: Callable[[int], None]) -> None:
        self._checkpoint, self._resumed = checkpoint, resumed
        self.before, self._start = 0.0, time.perf_counter()

    def load(self) -> State | None:
        state = self._checkpoint.load()
        self._start = time.perf_counter()
        if state is not None:
            self.before = state["seconds"]
            self._resumed(len(state["history"]))
        return state

    def save(self, state: State) -> None:
        seconds = self.before + time.perf_counter() - self._start
        self._checkpoint.save({**state, "seconds": seconds})
