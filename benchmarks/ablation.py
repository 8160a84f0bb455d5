"""Where the difference from a DataLoader loop comes from: it is given ours, thing after thing.

All ways train the same architectures of the digits demo in turn, in this one process and thread,
with the same recipe and seed: first a DataLoader loop as people write it, then the same with
channels_last, with a fused optimizer, with our decay groups, and with the data resident (batches
cut from one tensor, no loader); last our proxy. What remains between the last two is ours.

Run: make bench-ablation, on a machine with nothing else to do; kept in results/ablation_cpu.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from convnas import Architecture, build_network
from convnas.benchmarks.record import keep
from convnas.benchmarks.timing import conditions
from convnas.evaluators import create, load_data
from convnas.evaluators.training.loop import PEAK_RATE, one_cycle
from convnas.experiments import read_config
from convnas.experiments.config.schema import demo_config

BATCH, DECAY = 64, 5e-4
GIVEN = ("channels_last", "fused", "decay groups", "resident")
Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


def loop(arch: Architecture, given: tuple[str, ...], *, epochs: int, seed: int) -> float:
    """The validation accuracy of an ordinary training loop with some of what ours has."""
    data = load_data({"name": "digits"}, seed=0, input=arch.input, classes=arch.classes).search
    every = slice(None)
    train = data.train.batch(every), data.train.labels
    validation = data.validation.batch(every), data.validation.labels
    layout = torch.channels_last if "channels_last" in given else torch.contiguous_format
    torch.manual_seed(seed)
    net = build_network(arch).to(memory_format=layout)
    groups = grouped(net) if "decay groups" in given else net.parameters()
    optimizer = torch.optim.SGD(
        groups,
        lr=PEAK_RATE["sgd"],
        momentum=0.9,
        nesterov=True,
        weight_decay=DECAY,
        fused="fused" in given,
    )
    batches: Batches
    known: Batches
    if "resident" in given:
        batches = partial(cut, *train, shuffle=True)
        known = partial(cut, *validation, shuffle=False)
    else:
        loader = DataLoader(TensorDataset(*train), batch_size=BATCH, shuffle=True)
        batches = partial(iter, loader)
        known = partial(iter, DataLoader(TensorDataset(*validation), batch_size=BATCH))
    steps = -(-len(train[1]) // BATCH) * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step / steps))
    correct = 0
    for _ in range(epochs):
        net.train()
        for images, labels in batches():
            optimizer.zero_grad()
            out = net(images.contiguous(memory_format=layout))
            F.cross_entropy(out, labels, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            correct = sum(
                int((net(images.contiguous(memory_format=layout)).argmax(1) == labels).sum())
                for images, labels in known()
            )
    return correct / len(validation[1])


def grouped(net: nn.Module) -> list[dict[str, Any]]:
    """Biases and scales are not decayed."""
    return [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]


def cut(images: Tensor, labels: Tensor, *, shuffle: bool) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(labels)) if shuffle else torch.arange(len(labels))
    for chosen in torch.split(order, BATCH):
        yield images[chosen], labels[chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, help="of a training [default: the demo's]")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(demo_config(), device="cpu")
    epochs = asked.epochs or int(config.evaluator["epochs"])
    config.evaluator["epochs"] = epochs
    archs = config.feasible(config.search_space()).sample(
        np.random.default_rng(0), asked.trials + 1
    )
    ours = create(config.evaluator, config.data, input=archs[0].input, classes=archs[0].classes)
    ways: dict[str, Callable[[Architecture, int], float]] = {
        "DataLoader": lambda arch, seed: loop(arch, (), epochs=epochs, seed=seed)
    }
    for n in range(1, len(GIVEN) + 1):
        ways[f"+ {GIVEN[n - 1]}"] = partial(_given, GIVEN[:n], epochs)
    ways["convnas"] = lambda arch, seed: ours.evaluate(arch, seed=seed).metrics["accuracy"]
    began = conditions("cpu")
    rows: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for way in ways.values():
        way(archs[0], 0)  # what is imported and chosen once is no part of a trial
    for seed, arch in enumerate(archs[1:]):
        turn = list(ways)[seed % len(ways) :] + list(ways)[: seed % len(ways)]
        for name in turn:
            start = time.thread_time()
            accuracy = ways[name](arch, seed)
            rows[name].append((time.thread_time() - start, accuracy))
        print(seed + 1, {name: round(own[-1][0], 3) for name, own in rows.items()}, flush=True)
    result = {
        "what": (__doc__ or "").splitlines()[0],
        "conditions": {**began, "load_average_at_end": round(os.getloadavg()[0], 1)},
        "trials": asked.trials,
        "epochs": epochs,
        "clock": "processor time of the thread",
        "ways": {name: _summary(own, rows["convnas"]) for name, own in rows.items()},
    }
    keep("ablation_cpu.json", result)


def _given(given: tuple[str, ...], epochs: int, arch: Architecture, seed: int) -> float:
    return loop(arch, given, epochs=epochs, seed=seed)


def _summary(own: list[tuple[float, float]], ours: list[tuple[float, float]]) -> dict[str, float]:
    """Accuracy, and how many times as long as ours a trial takes: median and quartiles."""
    ratios = [mine[0] / base[0] for mine, base in zip(own, ours, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {
        "accuracy": round(statistics.mean(accuracy for _, accuracy in own), 4),
        "times_as_long": round(middle, 3),
        "low": round(low, 3),
        "high": round(high, 3),
    }


if __name__ == "__main__":
    main()
