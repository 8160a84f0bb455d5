"""One way of training networks, in a process of its own, which `evaluator_gpu` asks for trainings.

A process a way: libraries keep the kernels they chose for a shape, so a way that runs after another
in one process is handed its choices. It reads a JSON object a line, {"architecture", "seed"}, and
answers with one: `cold`, the seconds of the first training of that network here, `warm`, of the
same again, and `accuracy`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from convnas import Architecture
from convnas.benchmarks import dataloader_trial
from convnas.evaluators import create

SWITCHES = ("bf16", "channels_last", "fused", "cuda_graph", "uint8")
SWITCHED = {
    "convnas": {},
    **{f"without {name}": {name: False} for name in SWITCHES},
    "with benchmark": {"benchmark": True},
}
"""A way's name -> what of the proxy's settings is not as it is by default."""

LOOPS = {"DataLoader loop": False, "resident loop": True}
"""A plain eager loop's name -> whether its data lies on the device."""

Train = Callable[[Architecture, int], float]


def way(name: str, told: Mapping[str, Any]) -> Train:
    """`told`: data, input, device, epochs, batch, and, for convnas, further `settings`."""
    if name in LOOPS:
        shared = {key: told[key] for key in ("data", "device", "epochs", "batch")}
        return partial(_loop, shared | {"resident": LOOPS[name]})
    settings = {"name": "proxy", "epochs": told["epochs"], "batch_size": told["batch"]}
    settings |= SWITCHED[name] | told.get("settings", {})
    made = create(
        settings, told["data"], input=tuple(told["input"]), classes=10, device=told["device"]
    )
    return lambda arch, seed: made.evaluate(arch, seed=seed).score


def _loop(shared: Mapping[str, Any], arch: Architecture, seed: int) -> float:
    return dataloader_trial.train(arch, seed=seed, **shared)


def seconds(train: Train, arch: Architecture, seed: int, device: str) -> tuple[float, float]:
    """How long a training takes, the device waited for, and its accuracy."""
    began = time.perf_counter()
    accuracy = train(arch, seed)
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began, accuracy


def profiled(train: Train, arch: Architecture, device: str) -> dict[str, Any]:
    """The share of a warm training's time in which kernels ran, and which took the most.

    On a CPU its operators stand for kernels, so that this can be rehearsed.
    """
    from torch.profiler import ProfilerActivity, profile

    gpu = device != "cpu"
    train(arch, 0)
    activity = ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU
    with profile(activities=[activity]) as record:
        wall, _ = seconds(train, arch, 0, device)
    taken = "self_device_time_total" if gpu else "self_cpu_time_total"
    events = sorted(record.key_averages(), key=lambda e: -getattr(e, taken))
    total = sum(getattr(each, taken) for each in events) / 1e6
    kernels = [
        {
            "kernel": e.key[:100],
            "calls": e.count,
            "share": round(getattr(e, taken) / 1e6 / total, 4),
        }
        for e in events[:20]
    ]
    return {"seconds": wall, "share_in_kernels": round(total / wall, 4), "kernels": kernels}


def main() -> None:
    torch.set_num_threads(1)
    told = json.loads(sys.argv[1])
    train, device = way(told["way"], told), told["device"]
    for line in sys.stdin:
        asked = json.loads(line)
        arch = Architecture.from_dict(asked["architecture"])
        if asked.get("profile"):
            answer: dict[str, Any] = profiled(train, arch, device)
        else:
            cold, accuracy = seconds(train, arch, asked["seed"], device)
            warm, _ = seconds(train, arch, asked["seed"], device)
            answer = {"cold": cold, "warm": warm, "accuracy": accuracy}
        if device != "cpu":
            answer["peak_memory_mb"] = torch.cuda.max_memory_reserved(device) / 2**20
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
