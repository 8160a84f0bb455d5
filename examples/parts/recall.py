"""An evaluator of one's own, in one file: a brief training, judged by the mean recall of classes.

Each worker makes one from the config's sections `evaluator` and `data`, once, and then has it score
one architecture after another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from convnas import Architecture, build_network, evaluators


class MeanRecall:
    def __init__(
        self,
        settings: Mapping[str, Any],
        data: Mapping[str, Any],
        *,
        input: tuple[int, int, int],
        classes: int,
        device: str,
        seed: int,
    ) -> None:
        self.device = evaluators.resolve_device(device)
        # A search never sees the test split: `search` holds train and validation alone.
        self.data = evaluators.load_data(data, seed=seed, input=input, classes=classes).search
        self.settings = evaluators.TrainingSettings(**settings)

    def evaluate(
        self, arch: Architecture, *, seed: int, report: evaluators.Report = evaluators.keep_going
    ) -> evaluators.Evaluation:
        with evaluators.seeded(seed, self.device):
            network = build_network(arch)
            history = evaluators.train_network(
                network,
                self.data.train,
                self.data.validation,
                self.settings,
                seed=seed,
                device=self.device,
                report=report,
            )
        metrics = dict(history.epochs[-1])
        score = self.mean_recall(network)
        return evaluators.Evaluation(score, metrics, pruned=history.stopped)

    @torch.inference_mode()
    def mean_recall(self, network: torch.nn.Module) -> float:
        validation = self.data.validation.to(self.device)
        guessed = network.eval()(validation.images).argmax(1)
        recalls = [
            (guessed[validation.labels == label] == label).double().mean()
            for label in range(self.data.classes)
        ]
        return float(torch.stack(recalls).mean())
