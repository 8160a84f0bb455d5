"""The evaluator "proxy": train the network briefly, score what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..search_space import Architecture, Choice, InputError, build_network
from .base import ACCURACY, Evaluation, EvaluationError, Report, keep_going
from .data.dataset import SearchData
from .device import PeakMemory, out_of_memory, seeded
from .quantised import int8_accuracy
from .settings import flag, integer, real, setting
from .training.balance import class_weights
from .training.capture import recorder_for
from .training.loop import History, batch_size, train_network
from .training.metrics import ClassMetrics, is_class_metric
from .training.recipe import TrainingSettings
from .training.scores import score_of, score_problem

_RETRY = 4
"""After running out of memory the batch is tried in this many pieces."""


@dataclass(frozen=True)
class ProxySettings(TrainingSettings):
    """A brief training, and what of it counts.

    `score`: the validation `accuracy`, or, each with its sign turned so that higher is better, the
    sum over the epochs of the mean training loss, `train_loss_sum` (Ru et al., arXiv 2006.04492),
    or the validation `loss`; or a metric of `ClassMetrics` such as `macro_f1`. `share` of every
    class's training examples; `resolution`, images as squares of this size; `width`, every stage's
    channels times this (the stem's stay). `seeds`: trained so often, from other weights and in
    another order, and the mean counts. `benchmark` is off by default. `int8`: at the end the metric
    `int8_accuracy` is measured too, see `quantised.py`; the final choice can go by it.
    """

    score: str = setting(ACCURACY, score_problem)
    # A search makes new shapes all day, and each would be tried out anew, for seconds.
    benchmark: bool = flag(False)
    share: float = real(1.0, above=0, high=1)
    resolution: int | None = integer(None, at_least=1)
    width: float = real(1.0, low=0.001, high=1000)
    seeds: int = integer(1, at_least=1)
    int8: bool = flag(False)


class ProxyTraining:
    """Trains on the train split, scores on the validation split; the data has no other.

    The data is moved to the device once and serves every evaluation. Metrics: those of
    `train_network`, `seconds`, and `peak_memory_mb`: on a GPU what was allocated there, on Linux
    what the process held. Where memory runs out, the training is begun again, once, with each
    batch in pieces (see `Step`), and `micro_batch` tells their size. With several `seeds` the
    report hears the first training, and the metrics and the curve are means.

    `input`: of the architectures, where the data is decoded at the proxy's resolution already.
    `suspect` turns True on a GPU where a graph could not be recorded or memory ran out: what is
    being evaluated is finished, but a new process is better for the next one.
    """

    def __init__(
        self,
        settings: ProxySettings,
        data: SearchData,
        device: torch.device,
        *,
        input: tuple[int, int, int] | None = None,
    ) -> None:
        self.settings, self.device = settings, device
        self._ran_out = False
        # One for all evaluations: the memory of its graphs is used again from one to the next.
        self._recorder = recorder_for(device) if settings.records(None) else None
        # Architectures are checked at full size, whatever the proxy makes of the data below.
        self._whole = (input or data.input, data.classes)
        if settings.share < 1:
            data = data.shared(settings.share)
        if settings.resolution is not None:
            data = data.resized(settings.resolution)
        self.data = (data if settings.uint8 else data.floating()).to(device)
        self._score = score_of(settings.score)
        names = [*(settings.metrics or ()), *filter(is_class_metric, [settings.score])]
        try:
            # Tried out here, before any architecture is.
            class_weights(settings.class_weights, data.train.labels, data.classes)
            labels = self.data.validation.labels
            metrics = ClassMetrics(names, labels, data.classes, data.names) if names else None
        except InputError as error:
            raise error.under("evaluator") from None
        self._metrics = metrics

    @property
    def suspect(self) -> bool:
        broken = self._recorder is not None and self._recorder.broken
        return broken or (self._ran_out and self.device.type == "cuda")

    def evaluate(self, arch: Architecture, *, seed: int, report: Report = keep_going) -> Evaluation:
        self._check_fits(arch)
        start, memory = time.perf_counter(), PeakMemory(self.device)
        proxy = self._as_proxy(arch)
        histories, metrics = [], {}
        for number in range(self.settings.seeds):
            history, micro_batch = self._train(
                proxy, _repeat(seed, number), self._told(report) if number == 0 else keep_going
            )
            histories.append(history)
            if micro_batch is not None:
                metrics["micro_batch"] = float(micro_batch)
            if history.stopped:
                break
        last = [history.epochs[-1] for history in histories]
        metrics |= {name: float(np.mean([each[name] for each in last])) for name in last[0]}
        metrics["seconds"] = time.perf_counter() - start
        if (peak := memory.mebibytes()) is not None:
            metrics["peak_memory_mb"] = peak
        curves = [[self._score(epoch) for epoch in history.epochs] for history in histories]
        # Equally long: only the first training can be stopped, and then there is no other.
        curve = tuple(float(np.mean(scores)) for scores in zip(*curves, strict=True))
        return Evaluation(curve[-1], metrics, curve, pruned=histories[0].stopped)

    def _check_fits(self, arch: Architecture) -> None:
        input, classes = self._whole
        if arch.input != input:
            allowed = f"the data is prepared as {list(input)}"
            raise InputError("input", list(arch.input), allowed)
        if arch.classes != classes:
            raise InputError("classes", arch.classes, f"the data has {classes} classes")

    def _as_proxy(self, arch: Architecture) -> Architecture:
        """The network that is trained in place of `arch`: at the proxy's resolution and width."""
        if self.settings.width == 1 and self.data.input == arch.input:
            return arch
        stages = tuple(
            tuple(map(self._thinner, stage)) if isinstance(stage, tuple) else self._thinner(stage)
            for stage in arch.stages
        )
        return replace(arch, input=self.data.input, stages=stages)

    def _thinner(self, choice: Choice) -> Choice:
        if self.settings.width == 1:
            return choice
        return choice.replaced(width=(choice.width or 1.0) * self.settings.width)

    def _told(self, report: Report) -> Report:
        def tell(epoch: int, metrics: Mapping[str, float]) -> bool:
            return report(epoch, {**metrics, "score": self._score(metrics)})

        return tell

    def _train(self, arch: Architecture, seed: int, report: Report) -> tuple[History, int | None]:
        """What the training saw, and the size of its pieces where memory ran out at first."""
        history, reason = self._try(arch, seed, report, None)
        if history is not None:
            return history, None
        micro_batch = _piece(batch_size(len(self.data.train), self.settings))
        history, again = self._try(arch, seed, report, micro_batch)
        if history is None:
            raise EvaluationError(f"{reason}; and in pieces of {micro_batch} examples: {again}")
        return history, micro_batch

    def _try(
        self, arch: Architecture, seed: int, report: Report, micro_batch: int | None
    ) -> tuple[History | None, str]:
        try:
            with seeded(seed, self.device):
                net = self._network(arch)
                history = train_network(
                    net,
                    self.data.train,
                    self.data.validation,
                    self.settings,
                    seed=seed,
                    device=self.device,
                    report=report,
                    micro_batch=micro_batch,
                    # After a failure the state of the device is in doubt: nothing more is recorded.
                    recorder=None if self.suspect else self._recorder,
                    metrics=self._metrics,
                )
                if self.settings.int8 and not history.stopped:
                    reached = int8_accuracy(net.eval(), self.data.train, self.data.validation)
                    # The last epoch's metrics become the evaluation's.
                    history.epochs[-1]["int8_accuracy"] = reached
                return history, ""
        except (RuntimeError, MemoryError) as error:
            reason = out_of_memory(error)
            if reason is None:
                raise
        # Here the error is gone, and with it its hold on the network.
        self._ran_out = True
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None, reason

    def _network(self, arch: Architecture) -> torch.nn.Module:
        try:
            return build_network(arch, execution=self.settings.table(self.device))
        except InputError as e:
            # At full width the architecture itself is wrong, the caller's error; else only its
            # proxy cannot be built, which ends one trial.
            if self.settings.width == 1:
                raise
            raise EvaluationError(f"at the proxy's width it cannot be built: {e}") from e


def _piece(size: int) -> int:
    """Examples in each of about `_RETRY` pieces of a batch of `size`."""
    piece = max(2, -(-size // _RETRY))
    # Batch normalisation may refuse a single example, as the last piece too.
    while size % piece == 1:
        piece += 1
    return piece


def _repeat(seed: int, number: int) -> int:
    """The seed of a further training; the first one's is the evaluation's own."""
    # Not seed + number: evaluations with neighbouring seeds would share trainings.
    return seed if number == 0 else int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
