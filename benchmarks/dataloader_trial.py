"""One trial as people write it: a DataLoader, a plain loop, the same recipe as the proxy's.

As a program it is a trial in a process of its own: an architecture, an epoch count and a seed in
JSON on the command line, the validation accuracy on stdout. Generous to this way: the examples are
normalised tensors already, nothing is decoded, and no workers of the loader have to start.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from convnas import Architecture, build_network
from convnas.evaluators import SearchData, load_data
from convnas.evaluators.training.loop import PEAK_RATE, one_cycle

BATCH = 64
DIGITS = {"name": "digits"}


def train(
    arch: Architecture,
    *,
    epochs: int,
    seed: int,
    data: Mapping[str, Any] = DIGITS,
    device: str = "cpu",
    batch: int = BATCH,
    resident: bool = False,
) -> float:
    """The validation accuracy after `epochs`. On a GPU batches come from pinned memory.

    `resident`: the examples lie on the device and batches are cut there, as a practised user would
    write it for a small data set; network and data in channels_last, fused SGD, bfloat16 there.
    """
    split = load_data(data, seed=0, input=arch.input, classes=arch.classes).search
    if resident:
        return _resident(arch, split, epochs=epochs, seed=seed, device=device, batch=batch)
    every = slice(None)
    train_set = TensorDataset(split.train.batch(every), split.train.labels)
    validation_set = TensorDataset(split.validation.batch(every), split.validation.labels)
    torch.manual_seed(seed)
    net = build_network(arch).to(device)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=PEAK_RATE["sgd"], momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    pin = device != "cpu"
    loader = DataLoader(train_set, batch_size=batch, shuffle=True, pin_memory=pin)
    steps = len(loader) * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step / steps))
    for _ in range(epochs):
        net.train()
        for images, labels in loader:
            there = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            loss = F.cross_entropy(net(there[0]), there[1], label_smoothing=0.1)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        net.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in DataLoader(validation_set, batch_size=batch):
                correct += int((net(images.to(device)).argmax(1).cpu() == labels).sum())
    return correct / len(validation_set)


def _resident(
    arch: Architecture, split: SearchData, *, epochs: int, seed: int, device: str, batch: int
) -> float:
    """The same recipe, launched step by step, without a loader."""
    train, validation = (
        split.train.to(torch.device(device)),
        split.validation.to(torch.device(device)),
    )
    torch.manual_seed(seed)
    net = build_network(arch).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=PEAK_RATE["sgd"],
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        fused=True,
    )
    steps = len(train) // batch * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step / steps))
    half = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu")

    def logits(images: Tensor) -> Tensor:
        with half:
            found: Tensor = net(images.contiguous(memory_format=torch.channels_last))
        return found.float()

    for _ in range(epochs):
        net.train()
        order = torch.randperm(len(train), device=device)
        for chosen in torch.split(order, batch)[: len(train) // batch]:
            optimizer.zero_grad()
            out = logits(train.batch(chosen))
            loss = F.cross_entropy(out, train.labels[chosen], label_smoothing=0.1)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            right = torch.zeros((), device=device)
            for chosen in torch.split(torch.arange(len(validation), device=device), batch):
                right += (
                    logits(validation.batch(chosen)).argmax(1) == validation.labels[chosen]
                ).sum()
            accuracy = right.item() / len(validation)
    return accuracy


if __name__ == "__main__":
    torch.set_num_threads(1)
    told = json.loads(sys.argv[1])
    accuracy = train(Architecture.from_dict(told.pop("architecture")), **told)
    print(json.dumps(accuracy))
