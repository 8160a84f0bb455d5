"""Your own Optuna loop and your own training: convnas only proposes, inside the budget.

Run: python examples/own_loop.py [--trials 6]
"""

from __future__ import annotations

import argparse

import optuna
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional as F

import convnas

SPACE = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stage": {"conv": ["vanilla", "octave", "hetconv"], "alpha": [0.25, 0.5], "p": [2, 4]},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=6)
    options = parser.parse_args()

    feasible = convnas.SearchSpace.from_config(SPACE).within(convnas.Budget(flops="800K"))
    print(f"{feasible.count} of {feasible.size} architectures are inside the budget")

    sampler = convnas.strategies.create("tpe", feasible, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    tried = {}
    for _ in range(options.trials):
        trial = study.ask()
        # Inside the budget, and never one that was tried.
        arch = tried[trial.number] = feasible.suggest(trial)
        accuracy = train(convnas.build_network(arch))
        study.tell(trial, accuracy)
        print(f"trial {trial.number}: {accuracy:.4f}  {convnas.cost(arch).flops:,} flops  {arch}")

    best = tried[study.best_trial.number]
    best.save("best.yaml")
    print("best.yaml:", best)


def train(network: torch.nn.Module, epochs: int = 2) -> float:
    """Anything of yours may stand here; this is a plain loop on scikit-learn's digits."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
    labels = torch.tensor(digits.target)
    x, x_val, y, y_val = train_test_split(images, labels, test_size=0.2, random_state=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    for _ in range(epochs):
        network.train()
        for batch in torch.split(torch.randperm(len(x)), 64):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(x[batch]), y[batch]))
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        return float((network(x_val).argmax(1) == y_val).double().mean())


if __name__ == "__main__":
    main()
