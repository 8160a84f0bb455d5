"""An evaluator of one's own that trains as with Hugging Face: accelerate's loop, a Trainer's core.

What transformers' Trainer takes, a model that returns its loss, is made of the network here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from convnas import Architecture, build_network, evaluators


class WithLoss(nn.Module):
    """`model(pixel_values, labels)` gives loss and logits, as transformers' classifiers do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.network(pixel_values)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class ByAccelerate:
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
        self.settings = {"epochs": 2, "lr": 0.005, "batch_size": 64, **settings}
        self.device = evaluators.resolve_device(device)
        self.data = evaluators.load_data(data, seed=seed, input=input, classes=classes).search

    def evaluate(
        self, arch: Architecture, *, seed: int, report: evaluators.Report = evaluators.keep_going
    ) -> evaluators.Evaluation:
        curve: list[float] = []
        pruned = False
        with evaluators.seeded(seed, self.device):
            accelerator = Accelerator(cpu=self.device.type == "cpu")
            model = WithLoss(build_network(arch))
            optimizer = torch.optim.AdamW(model.parameters(), lr=self.settings["lr"])
            model, optimizer, train, validation = accelerator.prepare(
                model,
                optimizer,
                self.batches(self.data.train, shuffle=True),
                self.batches(self.data.validation),
            )
            for epoch in range(1, self.settings["epochs"] + 1):
                model.train()
                for images, labels in train:
                    optimizer.zero_grad()
                    accelerator.backward(model(images, labels)["loss"])
                    optimizer.step()
                curve.append(accuracy_of(model, validation))
                pruned = report(epoch, {"accuracy": curve[-1]})
                if pruned:
                    break
        accuracy = curve[-1]
        return evaluators.Evaluation(
            accuracy, {"accuracy": accuracy}, curve=tuple(curve), pruned=pruned
        )

    def batches(self, split: evaluators.Split, shuffle: bool = False) -> DataLoader[Any]:
        examples = TensorDataset(split.batch(slice(None)), split.labels)
        return DataLoader(examples, self.settings["batch_size"], shuffle=shuffle)


@torch.inference_mode()
def accuracy_of(model: nn.Module, batches: DataLoader[Any]) -> float:
    model.eval()
    right = [model(images, labels)["logits"].argmax(1) == labels for images, labels in batches]
    return float(torch.cat(right).double().mean())
