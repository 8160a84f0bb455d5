"""What int8 costs in accuracy, operator by operator.

A network of each choice in all its stages is trained with several seeds on Fashion-MNIST (a share
of its training examples), exported to ONNX with batch norms folded, quantised as
`convnas export --int8` does, and both are measured on the test split in ONNX Runtime. Beside them
the accuracy with simulated quantisation, which the proxy's `int8: true` reports.
Run: python -m convnas.benchmarks.int8 [--seeds 3] [--examples 6000] [--epochs 12]
"""

from __future__ import annotations

import argparse
import platform
import statistics
from typing import Any

import onnxruntime
import torch

import convnas
from convnas.benchmarks.record import keep
from convnas.evaluators.data.dataset import DataSet, load_data
from convnas.evaluators.data.split import Split
from convnas.evaluators.device import seeded
from convnas.evaluators.quantised import int8_accuracy
from convnas.evaluators.retrain import RetrainSettings
from convnas.evaluators.training.loop import train_network
from convnas.experiments.export.graphs import onnx_bytes
from convnas.experiments.export.quantise import onnx_accuracy, quantised
from convnas.search_space import Architecture, Choice, build_network, fold_batch_norm

CHOICES = (
    Choice("vanilla"),
    Choice("octave", alpha=0.25),
    Choice("octave", alpha=0.5),
    Choice("hetconv", p=2),
    Choice("hetconv", p=4),
    Choice("hetconv", p=8),
    Choice("res2net", scales=4),
    Choice("res2net", scales=8),
)
INPUT = (1, 14, 14)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data({"name": "fashion-mnist"}, seed=0, input=INPUT, classes=10)
    train = data.search.train.part(torch.arange(options.examples))
    settings = RetrainSettings(epochs=options.epochs)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        for choice in CHOICES:
            row = measured(choice, seed, train, data, settings)
            rows.setdefault(str(choice), []).append(row)
            print(choice, seed, row, flush=True)
    keep("int8.json", result(rows, options))


def measured(
    choice: Choice, seed: int, train: Split, data: DataSet, settings: RetrainSettings
) -> dict[str, float]:
    """Test accuracy as float32, as int8 in ONNX Runtime, and as int8 simulated."""
    architecture = Architecture("resnet-cifar", INPUT, 10, (choice,) * 3)
    device = torch.device("cpu")
    with seeded(seed, device):
        network = build_network(architecture)
        train_network(
            network,
            train,
            data.search.validation.part(torch.arange(1000)),
            settings,
            seed=seed,
            device=device,
            keep_best=True,
        )
    folded = fold_batch_norm(network.eval())
    plain = onnx_bytes(folded, INPUT, {})
    return {
        "float32": onnx_accuracy(plain, data.test),
        "int8": onnx_accuracy(quantised(plain, train), data.test),
        "simulated": int8_accuracy(network, train, data.test),
    }


def result(rows: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> dict[str, Any]:
    losses = {
        name: [100 * (row["float32"] - row["int8"]) for row in several]
        for name, several in rows.items()
    }
    return {
        "what": __doc__.splitlines()[0] if __doc__ else "",
        "conditions": {
            "data": "fashion-mnist at 14x14, its own 10,000 test images",
            "examples": options.examples,
            "epochs": options.epochs,
            "backbone": "resnet-cifar, one choice in all three stages",
            "cpu": platform.processor() or platform.machine(),
            "onnxruntime": onnxruntime.__version__,
            "torch": torch.__version__,
            "convnas": convnas.__version__,
        },
        "loss_in_points": {
            name: {"mean": statistics.fmean(several), "worst": max(several)}
            for name, several in losses.items()
        },
        "accuracy": rows,
    }


if __name__ == "__main__":
    main()
