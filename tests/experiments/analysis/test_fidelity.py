"""The fidelity report: on orders that are known, and on real trainings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import kendalltau

from convnas.evaluators.table import TableRow
from convnas.experiments import read_config
from convnas.experiments.analysis.fidelity_report import Level, markdown, summary
from convnas.experiments.cli import main
from convnas.search_space import Architecture, Choice

Config = dict[str, Any]
SETTINGS = {"name": "proxy"}
ARCHS = [
    Architecture("resnet-cifar", (1, 8, 8), 10, (Choice("vanilla", width=w),) * 3)
    for w in np.arange(1, 31) / 8
]


def record(accuracy: float, seconds: float) -> TableRow:
    epoch = {"accuracy": accuracy, "loss": 1 - accuracy, "train_loss_sum": 1 - accuracy}
    return TableRow((epoch,), {"seconds": seconds})


def report(noise: dict[str, float], long_noise: float) -> dict[str, Any]:
    """True accuracies 0, 1, ..., 29 over 30, read with noise; each level costs what it says."""
    rng = np.random.default_rng(0)
    levels = [Level("long", SETTINGS, 2)]
    levels += [Level(f"epochs {i}", {**SETTINGS, "epochs": i}, 2) for i in range(len(noise), 0, -1)]
    spread = {"long": long_noise, **noise}
    records = {
        (level.key(arch), seed): record(
            i / 30 + rng.normal() * spread[level.name], 9.0 if level.name == "long" else n
        )
        for n, level in zip((9, *range(len(noise), 0, -1)), levels, strict=True)
        for seed in range(2)
        for i, arch in enumerate(ARCHS)
    }
    found = summary(levels, ARCHS, records)
    assert found is not None
    return found


def test_without_noise_everything_ranks_and_the_cheapest_is_advised() -> None:
    found = report({"epochs 1": 0.0, "epochs 2": 0.0}, 0.0)
    assert found["between_seeds"]["tau"] == 1
    assert [each["tau"] for each in found["candidates"]] == [1] * 6
    assert found["advised"][0] == "epochs 1"
    line = yaml.safe_load(found["paste"])
    assert line["evaluator"] == {"name": "proxy", "epochs": 1, "score": found["advised"][1]}


def test_a_cheap_proxy_that_is_all_noise_is_not_advised() -> None:
    found = report({"epochs 1": 1000.0, "epochs 2": 0.02}, 0.02)
    assert found["advised"][0] == "epochs 2"
    noisy = [each for each in found["candidates"] if each["level"] == "epochs 1"]
    assert all(each["low"] < 0 < each["high"] for each in noisy)


def test_where_seeds_differ_more_than_architectures_nothing_is_advised() -> None:
    found = report({"epochs 1": 1000.0}, 1000.0)
    assert found["advised"] is None
    assert found["paste"] is None
    assert "no training here ranks" in markdown({**found, "name": "x", "conditions": {}})


def test_an_architecture_that_failed_once_is_left_out() -> None:
    levels = [Level("long", SETTINGS, 2), Level("epochs 1", SETTINGS, 2)]
    records = {
        (level.key(arch), seed): record(i / 30, 1.0)
        for level in levels
        for seed in range(2)
        for i, arch in enumerate(ARCHS[:5])
    }
    records[levels[1].key(ARCHS[0]), 1] = TableRow((), {}, "it fell")
    found = summary(levels, ARCHS[:5], records)
    assert found is not None
    assert (found["architectures"], found["failed"]) == (4, 1)
    records[levels[0].key(ARCHS[1]), 0] = TableRow((), {}, "it fell too")
    assert summary(levels, ARCHS[:5], records) is None


def test_real_trainings_are_compared_and_never_made_twice(
    config: Config,
    tmp_path: Path,
    write: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    config["evaluator"] = {"name": "proxy", "epochs": 1, "share": 0.1, "batch_size": 32}
    out = tmp_path / "report"
    argv = ["fidelity", write(config), "-o", str(out), "-n", "4", "--long", "2", "--json"]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["architectures"] == 4
    levels = ["epochs 1"] * 3 + ["snip", "grad-norm", "synflow", "naswot", "flops", "params"]
    assert [each["level"] for each in found["candidates"]] == levels
    assert found["between_seeds"]["evaluator"]["epochs"] == 2
    assert "share" not in found["between_seeds"]["evaluator"]
    trained = (out / "trainings.jsonl").read_text().split()
    entries = [json.loads(x) for x in (out / "trainings.jsonl").read_text().splitlines()[1:] if x]
    assert len(entries) == 4 * (2 + 2 + 6)
    # Tau from the journal alone, by scipy: long against long, between its seeds.
    last = {
        (e["stages"], e["seed"]): e["record"]["epochs"]["accuracy"][-1]
        for e in entries
        if e["stages"].startswith("long")
    }
    one, two = ([v for (_, s), v in sorted(last.items()) if s == seed] for seed in (0, 1))
    expected = kendalltau(one, two).statistic
    if np.isnan(expected):
        assert found["between_seeds"]["tau"] is None
    else:
        assert found["between_seeds"]["tau"] == pytest.approx(expected, abs=1e-3)
    assert (out / "fidelity.png").read_bytes()[:4] == b"\x89PNG"
    assert main(argv) == 0
    assert (out / "trainings.jsonl").read_text().split() == trained
    if found["paste"] is not None:
        read_config({**config, **yaml.safe_load(found["paste"])})


def test_what_cannot_be_compared_is_one_line(
    config: Config, tmp_path: Path, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "report")
    assert main(["fidelity", write(config), "-o", out, "-n", "5000"]) == 2
    assert "the space has" in capsys.readouterr().err
    config["evaluator"]["epochs"] = 4
    assert main(["fidelity", write(config), "-o", out, "--long", "4"]) == 2
    assert "it must be more than evaluator.epochs, 4" in capsys.readouterr().err
    config["evaluator"] = {"name": "flops"}
    assert main(["fidelity", write(config), "-o", out]) == 2
    assert "about the evaluator proxy" in capsys.readouterr().err
