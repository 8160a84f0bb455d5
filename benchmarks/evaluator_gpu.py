"""Trials an hour on one GPU: every switch on, each off in turn, and DataLoader loops beside them.

The ways train the same networks of a CIFAR-sized space in turn, in one process but for `a process
a trial`. Images are made here (CIFAR-10's shape and number, labels that can be learned), or
Fashion-MNIST's where it lies on this machine. Needs torch, numpy and yaml alone.
Run: python -m convnas.benchmarks.evaluator_gpu [--device cuda] [--trials 12] [--fashion-mnist]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convnas import Architecture, Budget, SearchSpace
from convnas.benchmarks import dataloader_trial
from convnas.benchmarks.timing import conditions
from convnas.evaluators import create

RESULTS = Path(__file__).parent / "results"
SWITCHES = ("bf16", "channels_last", "fused", "cuda_graph", "benchmark", "uint8")
STAGE = {
    "conv": ["vanilla", "octave", "hetconv", "res2net"],
    "alpha": [0.25, 0.5],
    "p": [4],
    "scales": [4],
    "depth": [1, 2, 3],
}
BATCH = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--fashion-mnist", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    device = asked.device
    shape = (1, 28, 28) if asked.fashion_mnist else (3, 32, 32)
    space = SearchSpace.from_config(
        {"backbone": "resnet-cifar", "input": list(shape), "classes": 10, "stage": STAGE}
    )
    drawn = space.within(Budget(flops="40M")).sample(np.random.default_rng(0), asked.trials + 1)
    began = conditions(device)
    with tempfile.TemporaryDirectory() as folder:
        data: dict[str, Any] = {"name": "fashion-mnist"}
        if not asked.fashion_mnist:
            data = {"name": "npz", "path": str(_made(Path(folder), asked.images))}
        ways = _ways(data, shape, device, asked.epochs)
        rows: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for way, train in ways.items():  # libraries load and choose their kernels
            if way != "process a trial":
                train(drawn[0], 0)
        for seed, arch in enumerate(drawn[1:]):
            for way, train in ways.items():
                rows[way].append(_timed(partial(train, arch, seed), device))
            print(seed + 1, {way: round(rows[way][-1]["wall"], 2) for way in ways}, flush=True)
    ours = rows["convnas"]
    result = {
        "conditions": {**began, "data": data["name"], "images": asked.images, "batch": BATCH},
        "trials": asked.trials,
        "epochs": asked.epochs,
        "ways": {way: _summary(found) for way, found in rows.items()},
        "times_as_long": {way: _ratio(found, ours) for way, found in rows.items()},
    }
    name = "fashion_mnist" if asked.fashion_mnist else "made_images"
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / f"evaluator_{device.replace(':', '')}_{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


Train = Callable[[Architecture, int], float]


def _ways(
    data: dict[str, Any], shape: tuple[int, int, int], device: str, epochs: int
) -> dict[str, Train]:
    def ours(**off: bool) -> Train:
        settings = {"name": "proxy", "epochs": epochs, "batch_size": BATCH, **off}
        made = create(settings, data, input=shape, classes=10, device=device)
        return lambda arch, seed: made.evaluate(arch, seed=seed).score

    told: dict[str, Any] = {"epochs": epochs, "data": data, "device": device, "batch": BATCH}

    def here(arch: Architecture, seed: int) -> float:
        return dataloader_trial.train(arch, seed=seed, **told)

    def alone(arch: Architecture, seed: int) -> float:
        words = json.dumps({"architecture": arch.to_dict(), "seed": seed, **told})
        argv = [sys.executable, "-m", "convnas.benchmarks.dataloader_trial", words]
        return float(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)

    without = {f"without {name}": ours(**{name: False}) for name in SWITCHES}
    return {"convnas": ours(), **without, "DataLoader in process": here, "process a trial": alone}


def _made(folder: Path, images: int) -> Path:
    """A file of `images` pictures of 32 x 32 bytes in three colours: a class's pattern and noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=images)
    patterns = rng.integers(64, 192, (10, 3, 32, 32))
    pictures = np.empty((images, 3, 32, 32), np.uint8)
    for start in range(0, images, 5000):
        part = labels[start : start + 5000]
        noise = rng.integers(-64, 64, (len(part), 3, 32, 32))
        pictures[start : start + 5000] = patterns[part] + noise
    np.savez(folder / "made.npz", x=pictures, y=labels)
    return folder / "made.npz"


def _timed(train: Callable[[], float], device: str) -> dict[str, float]:
    busy: list[float] = []
    start = time.perf_counter()
    with _watched(busy, device):
        accuracy = train()
    wall = time.perf_counter() - start
    return {"wall": wall, "accuracy": accuracy, "busy": statistics.fmean(busy) if busy else -1.0}


@contextmanager
def _watched(busy: list[float], device: str) -> Iterator[None]:
    """Meanwhile the driver's word on how busy the GPU is, in percent, goes into `busy`."""
    smi = shutil.which("nvidia-smi")
    if smi is None or device == "cpu":
        yield
        return
    number = device.partition(":")[2] or "0"
    argv = [smi, f"--id={number}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.25):
            said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
            if said.isdigit():
                busy.append(float(said))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _summary(found: list[dict[str, float]]) -> dict[str, float]:
    busy = [row["busy"] for row in found if row["busy"] >= 0]
    return {
        "trials_an_hour": round(3600 * len(found) / sum(row["wall"] for row in found), 1),
        "accuracy": round(statistics.fmean(row["accuracy"] for row in found), 4),
        **({"gpu_busy_percent": round(statistics.fmean(busy), 1)} if busy else {}),
    }


def _ratio(found: list[dict[str, float]], ours: list[dict[str, float]]) -> dict[str, float]:
    """How many times longer a trial takes this way: median and quartiles over the trials."""
    ratios = [row["wall"] / own["wall"] for row, own in zip(found, ours, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {"median": round(middle, 3), "low": round(low, 3), "high": round(high, 3)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
