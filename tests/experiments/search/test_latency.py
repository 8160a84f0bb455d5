from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from convnas.experiments.cli import main
from convnas.search_space import Architecture, SearchSpace

Config = dict[str, Any]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def timed(scripted: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stage = {"conv": ["vanilla", "octave"], "alpha": [0.5]}
    return {
        **scripted,
        "space": {**scripted["space"], "stage": stage},
        "budget": {},
        "trials": 4,
        "workers": 1,
        "latency": {"samples": 3},
    }


def test_a_run_shows_latency_keeps_its_table_and_goes_on_with_it(
    timed: Config, tmp_path: Path, write: Callable[..., str], capsys: Capture
) -> None:
    timed["objectives"] = ["accuracy", "latency"]
    run = tmp_path / "run"
    assert main(["launch", write(timed), "-o", str(run), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    kept = yaml.safe_load((run / "config.yaml").read_text())["latency"]["measured"]
    space = SearchSpace.from_config(timed)
    for found in state["front"]:
        arch = Architecture.from_dict(found["architecture"])
        total = sum(kept["times"][part.key] for part in space.parts_of(arch)) / 1e6
        assert found["latency_ms"] == pytest.approx(total)
        assert found["values"][1] == pytest.approx(total)
    # Another machine, or another day: nothing is measured again.
    for file in (tmp_path / "cache").rglob("*.json"):
        file.unlink()
    assert main(["launch", "-o", str(run), "--trials", "6"]) == 0
    assert "latency" in capsys.readouterr().out
    assert not list((tmp_path / "cache").rglob("*.json"))
    assert main(["launch", write(timed), "-o", str(run), "--trials", "7"]) == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["latency"]["measured"] == kept


def test_a_budget_of_latency_is_kept(
    timed: Config, tmp_path: Path, write: Callable[..., str], capsys: Capture
) -> None:
    table = tmp_path / "table.json"
    assert main(["latency", write(timed), "-o", str(table)]) == 0
    assert "whole networks), worst" in capsys.readouterr().out
    times = json.loads(table.read_text())["times"]
    space = SearchSpace.from_config(timed)
    totals = sorted(
        sum(times[part.key] for part in space.parts_of(arch)) for arch in space.within(None)
    )
    timed |= {"latency": {"table": str(table)}, "budget": {"latency": f"{totals[4]}ns"}}
    assert main(["space", write(timed), "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert counted["size"] == 8
    assert counted["feasible"] == sum(total <= totals[4] for total in totals)
    assert counted["latency_ms"]["min"] == totals[0] / 1e6
    assert main(["launch", write(timed), "-o", str(tmp_path / "run"), "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert best["latency_ms"] <= totals[4] / 1e6


def test_cost_measures_the_whole_and_its_parts(
    timed: Config, tmp_path: Path, write: Callable[..., str], capsys: Capture
) -> None:
    path = tmp_path / "arch.yaml"
    SearchSpace.from_config(timed).within(None).dearest().save(path)
    assert main(["cost", str(path), "--latency", "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    parts = [counted["stem"], *counted["stages"], counted["head"]]
    assert all(part["latency_us"] >= 0 for part in parts)
    assert counted["latency_us"] > 0
    assert main(["cost", str(path), "--latency"]) == 0
    assert "latency_us" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"latency": {"batch": 0}}, "latency.batch: 0"),
        ({"latency": {"bach": 1}}, "latency.bach: this key"),
        ({"latency": {"table": "/nowhere.json"}}, "latency.table: '/nowhere.json'"),
        ({"budget": {"latency": "5"}}, "budget.latency: '5' is not allowed; it must be a time"),
        ({"budget": {"latency": "1ns"}}, "budget.latency: '1ns' is not allowed; the nearest"),
    ],
)
def test_wrong_settings_end_with_one_line(
    timed: Config, write: Callable[..., str], capsys: Capture, change: Config, says: str
) -> None:
    assert main(["space", write({**timed, **change})]) == 2
    assert says in capsys.readouterr().err


def test_a_pack_and_its_answer_make_a_table_that_a_budget_takes(
    timed: Config, tmp_path: Path, write: Callable[..., str], capsys: Capture
) -> None:
    pytest.importorskip("onnxscript")
    plain = {"conv": ["vanilla"]}
    stages = [plain, {"conv": ["vanilla", "hetconv"], "p": [2]}, plain]
    space = {key: value for key, value in timed["space"].items() if key != "stage"}
    timed |= {"space": {**space, "stages": stages}}
    timed["latency"] |= {"runtime": "onnxruntime"}
    pack, answer, table = (str(tmp_path / name) for name in ("p.pyz", "answer.json", "t.json"))
    config = write(timed)
    assert main(["latency", config, "--pack", pack]) == 0
    assert "convnas latency" in capsys.readouterr().out
    subprocess.run([sys.executable, "-I", pack, "-o", answer], check=True, capture_output=True)
    assert main(["latency", config, "--read", answer, "-o", table]) == 0
    assert "onnxruntime" in capsys.readouterr().out
    times = json.loads(Path(table).read_text())["times"]
    made = SearchSpace.from_config(timed)
    slow, fast = sorted(
        (sum(times[part.key] for part in made.parts_of(arch)) for arch in made.within(None)),
        reverse=True,
    )
    assert slow > fast
    budget = {"latency": f"{fast}ns"}
    assert main(["space", write({**timed, "latency": {"table": table}, "budget": budget})]) == 0
    assert "1" in capsys.readouterr().out
    # Of another space, and cut off.
    other = {**timed, "space": {**timed["space"], "input": [1, 16, 16]}}
    assert main(["latency", write(other), "--read", answer]) == 2
    assert "it answers another pack" in capsys.readouterr().err
    Path(answer).write_text(Path(answer).read_text()[:99])
    assert main(["latency", config, "--read", answer]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "answer.json" in line
    assert main(["latency", config, "--read", answer, "--pack", pack]) == 2
    timed["latency"] = {"runtime": "torch"}
    assert main(["latency", write(timed), "--pack", pack]) == 2
    assert "latency.runtime: 'torch'" in capsys.readouterr().err
