"""The evaluator "proxy": train the network briefly, score its validation accuracy."""

from __future__ import annotations

import time

import torch

from ..search_space import Architecture, build_network
from .base import Evaluation, EvaluationError, Report, keep_going
from .data import SearchData
from .device import out_of_memory, seeded
from .training import History, TrainingSettings, train_network


class ProxyTraining:
    """Trains on the train split, scores on the validation split; the data has no other.

    The data is moved to the device once and serves every evaluation. Metrics: those of
    `train_network`, `seconds`, and on a GPU `peak_memory_mb`. On a CPU the same seed gives the same
    numbers for one number of threads.
    """

    def __init__(self, settings: TrainingSettings, data: SearchData, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.data = data.to(device)

    def evaluate(self, arch: Architecture, *, seed: int, report: Report = keep_going) -> Evaluation:
        self.data.check_fits(arch.input, arch.classes)
        start = time.perf_counter()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            history = self._train(arch, seed, report)
        except (RuntimeError, MemoryError) as error:
            reason = out_of_memory(error)
            if reason is None:
                raise
        else:
            metrics = history.epochs[-1] | {"seconds": time.perf_counter() - start}
            if self.device.type == "cuda":
                peak = torch.cuda.max_memory_allocated(self.device)
                metrics["peak_memory_mb"] = peak / 2**20
            curve = tuple(epoch["accuracy"] for epoch in history.epochs)
            return Evaluation(curve[-1], metrics, curve, pruned=history.stopped)
        # Raised out here, where the first error is gone and with it its hold on the network.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        raise EvaluationError(reason)

    def _train(self, arch: Architecture, seed: int, report: Report) -> History:
        with seeded(seed, self.device):
            return train_network(
                build_network(arch, execution=self.settings.table(self.device)),
                self.data.train,
                self.data.validation,
                self.settings,
                seed=seed,
                device=self.device,
                report=report,
            )
