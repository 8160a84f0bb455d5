"""One trial as people write it: a DataLoader, a plain loop, the same recipe as the proxy's.

As a program it is a trial in a process of its own: an architecture, an epoch count and a seed in
JSON on the command line, the validation accuracy on stdout. Generous to this way: the examples are
normalised tensors already, nothing is decoded, and no workers of the loader have to start.
"""

from __future__ import annotations

import json
import sys

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from convnas import Architecture, build_network
from convnas.evaluators import load_data
from convnas.evaluators.training import PEAK_RATE, one_cycle

BATCH = 64


def train(arch: Architecture, *, epochs: int, seed: int) -> float:
    data = load_data({"name": "digits"}, seed=0, input=arch.input, classes=arch.classes).search
    every = slice(None)
    train_set = TensorDataset(data.train.batch(every), data.train.labels)
    validation_set = TensorDataset(data.validation.batch(every), data.validation.labels)
    torch.manual_seed(seed)
    net = build_network(arch)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=PEAK_RATE["sgd"], momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    loader = DataLoader(train_set, batch_size=BATCH, shuffle=True)
    steps = len(loader) * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step / steps))
    for _ in range(epochs):
        net.train()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), labels, label_smoothing=0.1)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        net.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in DataLoader(validation_set, batch_size=BATCH):
                correct += int((net(images).argmax(1) == labels).sum())
    return correct / len(validation_set)


if __name__ == "__main__":
    torch.set_num_threads(1)
    told = json.loads(sys.argv[1])
    accuracy = train(
        Architecture.from_dict(told["architecture"]), epochs=told["epochs"], seed=told["seed"]
    )
    print(json.dumps(accuracy))
