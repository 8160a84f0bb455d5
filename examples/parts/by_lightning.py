"""An evaluator of one's own that trains by a LightningModule and Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from convnas import Architecture, build_network, evaluators


class Classifier(lightning.LightningModule):
    """Yours may be any other: its `accuracy` is what the callback below reads."""

    def __init__(self, network: torch.nn.Module, lr: float) -> None:
        super().__init__()
        self.network, self.lr = network, lr

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, labels = batch
        right = (self.network(images).argmax(1) == labels).float().mean()
        self.log("accuracy", right, batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9, nesterov=True)


class Reported(lightning.Callback):
    """Each epoch's accuracy goes to convnas, for curves and pruning, and may end the training."""

    def __init__(self, report: evaluators.Report) -> None:
        self.report, self.pruned = report, False
        self.curve: list[float] = []

    def on_validation_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        accuracy = float(trainer.callback_metrics["accuracy"])
        self.curve.append(accuracy)
        self.pruned = self.report(len(self.curve), {"accuracy": accuracy})
        trainer.should_stop = trainer.should_stop or self.pruned


class ByLightning:
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
        self.settings = {"epochs": 2, "lr": 0.05, "batch_size": 64, **settings}
        self.device = evaluators.resolve_device(device)
        self.data = evaluators.load_data(data, seed=seed, input=input, classes=classes).search

    def evaluate(
        self, arch: Architecture, *, seed: int, report: evaluators.Report = evaluators.keep_going
    ) -> evaluators.Evaluation:
        reported = Reported(report)
        gpu = self.device.type == "cuda"
        with evaluators.seeded(seed, self.device):
            trainer = lightning.Trainer(
                max_epochs=self.settings["epochs"],
                accelerator="gpu" if gpu else "cpu",
                devices=[self.device.index] if gpu else 1,
                callbacks=[reported],
                num_sanity_val_steps=0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            module = Classifier(build_network(arch), self.settings["lr"])
            trainer.fit(
                module,
                self.batches(self.data.train, shuffle=True),
                self.batches(self.data.validation),
            )
        accuracy = reported.curve[-1]
        return evaluators.Evaluation(
            accuracy, {"accuracy": accuracy}, curve=tuple(reported.curve), pruned=reported.pruned
        )

    def batches(self, split: evaluators.Split, shuffle: bool = False) -> DataLoader[Any]:
        examples = TensorDataset(split.batch(slice(None)), split.labels)
        return DataLoader(examples, self.settings["batch_size"], shuffle=shuffle)
