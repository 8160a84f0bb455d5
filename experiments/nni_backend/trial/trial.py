"""A trial of NNI, from the side of the script that trains: what to train, and where to report it.

    with nni_trial("mine.yaml") as trial:
        network = trial.build_network()
        for epoch in range(1, 6):
            accuracy = ...                                   # train `network`, measure it
            if trial.report(epoch, {"accuracy": accuracy}):  # True: it is to stop
                break
        trial.finish(accuracy)

The study hears of everything before NNI does.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ....evaluators import Evaluation, create, resolve_device
from ....search_space import Architecture, build_network, cost
from ....search_space.errors import InputError
from ...config.schema import ExperimentConfig, parse_config
from ...errors import RunError
from ...run.objectives import measured
from ...search.prepare import prepared_from
from ...search.validate import validate
from ..parameters import from_nni
from ..tuner.plugin_run import run_of
from .channel import NNIGone, TrialChannel

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import Self

    from .study import TrialStudy

_STOPPED = 30.0
"""Seconds that NNI gets to stop a trial that is to stop early."""


def nni_trial(config: str | Path | None = None) -> NNITrial:
    """The trial that this process is.

    config: the experiment's config. NNI on this machine knows it; it is needed on another machine,
    and where the script is tried by hand, without NNI, with an architecture of the space drawn at
    random. Raises InputError, or RunError where NNI is gone.
    """
    channel = TrialChannel.here()
    if channel is None:
        return _by_hand(config)
    record = channel.record()
    number = record["parameter_id"]
    if not isinstance(number, int):
        raise RunError("this trial was made by hand in NNI's pages, not by convnas's tuner")
    args = channel.class_args()
    known = args.get("config")
    study: TrialStudy | None = None
    if known is not None and Path(known).is_file():
        from .study import TrialStudy

        _, run = run_of(known, args.get("run_dir"))
        study = TrialStudy(run, number)
        if study.over:
            # It was scored; NNI's manager was killed before it heard, and started it again.
            channel.report(number, "FINAL", study.value())
            raise SystemExit(0)
        settings = study.config
    else:
        settings = parse_config(_needed(config))
        validate(settings)
    architecture = from_nni(record["parameters"], settings.search_space().within(None))
    if study is not None:
        study.start(architecture)
    return NNITrial(settings, number, architecture, channel, study)


def _by_hand(config: str | Path | None) -> NNITrial:
    import numpy as np

    prepared = prepared_from(_needed(config))
    settings = prepared.config
    (architecture,) = prepared.feasible.sample(np.random.default_rng(settings.seed), 1)
    print(f"not under NNI; trying {architecture}", file=sys.stderr)
    return NNITrial(settings, 0, architecture)


def _needed(config: str | Path | None) -> str | Path:
    if config is None:
        raise InputError("config", None, "NNI is not on this machine: nni_trial('mine.yaml')")
    return config


class NNITrial:
    """One trial. `architecture` is what to train, `number` its number in the study, `config` the
    experiment's.

    Leaving the `with` block by an exception makes the trial a failed one, for that reason.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        number: int,
        architecture: Architecture,
        channel: TrialChannel | None = None,
        study: TrialStudy | None = None,
    ) -> None:
        self.config, self.number, self.architecture = config, number, architecture
        self._channel, self._study = channel, study
        self._curve: list[float] = []
        self._stopped = self._finished = False

    def build_network(self) -> nn.Module:
        """The network, untrained."""
        return build_network(self.architecture)

    def evaluate(self, device: str | None = None) -> Evaluation:
        """Train and score it as `convnas launch` would, on `device` [default: the config's]."""
        evaluator = create(
            self.config.evaluator,
            self.config.data,
            input=self.architecture.input,
            classes=self.architecture.classes,
            device=str(resolve_device(device or self.config.device)),
            seed=self.config.seed,
            objectives=measured(self.config.objectives),
        )
        return evaluator.evaluate(self.architecture, seed=self.config.seed, report=self.report)

    def report(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Say what epoch `epoch`, from 1, came to; `score`, or the first objective, is its point.

        True: the config's pruner wants the trial to stop.
        """
        score = metrics.get("score", metrics.get(self.config.objective_names[0]))
        if self._study is not None:
            self._stopped |= self._study.report(epoch, metrics)
        if score is not None and math.isfinite(score):
            self._curve.append(float(score))
            if self._channel is not None:
                self._channel.report(self.number, "PERIODICAL", float(score))
        if self._channel is None:
            print(f"epoch {epoch}: {dict(metrics)}")
        return self._stopped

    def finish(self, score: float | Evaluation, metrics: Mapping[str, float] | None = None) -> None:
        """The trial's score, higher is better, and what else was seen. Once.

        Raises RunError for a score that is no number: the trial is then a failed one.
        """
        result = (
            score
            if isinstance(score, Evaluation)
            else Evaluation(float(score), dict(metrics or {}), tuple(self._curve), self._stopped)
        )
        # Before the study is told: should it refuse the score, it has failed the trial already, and
        # `__exit__` is not to do it again.
        self._finished = True
        if self._study is not None:
            self._study.finish(result)
        if not math.isfinite(result.score):
            raise RunError(f"its score is {result.score}")
        if self._channel is None:
            print(f"score: {result.score}")
            return
        value = self._value(result) if self._study is None else self._study.value()
        self._channel.report(self.number, "FINAL", value)
        if result.pruned:
            self._wait_to_be_stopped()

    def _value(self, result: Evaluation) -> dict[str, float]:
        counted = cost(self.architecture)
        numbers = {k: v for k, v in result.metrics.items() if math.isfinite(v)}
        value = {**numbers, "flops": counted.flops, "params": counted.params}
        pruned = {"pruned": 1} if result.pruned else {}
        return {"default": result.score, **value, **pruned}

    def _wait_to_be_stopped(self) -> None:
        """The tuner has NNI stop it, which makes it an early stopped one."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        deadline, parent = time.monotonic() + _STOPPED, os.getppid()
        while time.monotonic() < deadline and os.getppid() == parent:
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._study is not None:
            if isinstance(error, NNIGone):
                pass  # not its fault; the run that goes on starts it again
            elif isinstance(error, Exception) and not self._finished:
                self._study.fail(f"{type(error).__name__}: {error}")
            elif error is None and not self._finished:
                self._study.fail("its script ended without trial.finish(score)")
            self._study.close()
        if error is None and not self._finished:
            raise RunError("the trial ended without trial.finish(score)")
