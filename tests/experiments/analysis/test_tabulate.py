from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import kendalltau

from convnas.evaluators.table import Table
from convnas.experiments import read_config
from convnas.experiments.cli import main
from convnas.experiments.config.schema import demo_config
from convnas.search_space import SearchSpace

Config = dict[str, Any]
STAGE = {"conv": ["vanilla", "hetconv"], "p": [2]}
"""Two choices in three stages: 8 architectures."""


@pytest.fixture
def small(scripted: Config) -> Config:
    return {**scripted, "space": {**scripted["space"], "stage": STAGE}, "budget": {}, "workers": 1}


def evaluated(tmp_path: Path) -> list[str]:
    return [line.split()[1] for line in (tmp_path / "record.txt").read_text().splitlines()]


def test_a_whole_space_goes_into_a_file_that_scores_it(
    small: Config, tmp_path: Path, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.table.gz"
    argv = ["tabulate", write(small), "-o", str(out), "--seeds", "2", "--json"]
    assert main(argv) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"file": str(out), "architectures": 8, "seeds": 2, "failed": 0}
    assert len(evaluated(tmp_path)) == 16
    table = Table.load(str(out))
    whole = SearchSpace.from_config(small)
    for arch in whole.within(None):
        records = table.of(arch)
        assert records is not None
        assert [len(record.epochs) for record in records] == [2, 2]
        # What scripted.py says of an architecture after its two epochs.
        score = int(arch.key, 16) / 16**16
        assert records[0].epochs[1]["accuracy"] == pytest.approx(score, rel=1e-4)
    assert sorted(p.name for p in tmp_path.glob("t.table*")) == ["t.table.gz"]


def test_the_table_serves_a_search(
    small: Config, tmp_path: Path, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.table.gz"
    assert main(["tabulate", write(small), "-o", str(out), "--seeds", "1"]) == 0
    small["evaluator"] = {"name": "tabular", "table": str(out)}
    run = str(tmp_path / "run")
    capsys.readouterr()
    assert main(["launch", write(small), "-o", run, "--trials", "8", "--json"]) == 0
    best = max(int(key, 16) / 16**16 for key in evaluated(tmp_path))
    assert json.loads(capsys.readouterr().out)["best"]["score"] == pytest.approx(best, rel=1e-4)
    assert len(evaluated(tmp_path)) == 8


def test_the_digits_table_holds_its_whole_space_three_times_over() -> None:
    config = read_config(demo_config().with_name("digits-table.yaml"))
    table = Table.load("digits")
    whole = config.search_space()
    assert len(table.rows) == whole.size == 11**3
    for arch in whole.within(None):
        records = table.of(arch)
        assert records is not None
        assert [record.reason for record in records] == [None] * 3
    # Seed against seed it ranks, though noisily: that is what a strategy has to live with.
    accuracies = [[r.epochs[-1]["accuracy"] for r in rows] for rows in table.rows.values()]
    first, second, _ = zip(*accuracies, strict=True)
    assert 0.3 < kendalltau(first, second).statistic < 0.9


def test_a_search_on_the_digits_table_takes_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(demo_config().with_name("digits-table.yaml"))
    assert main(["launch", config, "-o", str(tmp_path / "run"), "--trials", "6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"]["complete"] == 6
    assert found["best"]["flops"] <= 1_000_000


def test_what_was_killed_goes_on_and_trains_nothing_twice(
    small: Config,
    tmp_path: Path,
    write: Callable[..., str],
    start: Callable[..., Any],
    until: Callable[..., None],
) -> None:
    small["evaluator"]["seconds"] = 0.4
    out = tmp_path / "t.table.gz"
    argv = ["tabulate", write(small), "-o", str(out), "--seeds", "1"]
    process = start(*argv)
    journal = tmp_path / "t.table.gz.part"
    until(lambda: journal.exists() and journal.read_text().count("stages") >= 3)
    process.kill()
    process.wait()
    kept = [json.loads(line)["stages"] for line in journal.read_text().splitlines()[1:] if line]
    with journal.open("a") as file:
        file.write('{"stages": "cut off by the ki')
    small["evaluator"]["seconds"] = 0.4
    assert main(argv) == 0
    assert not journal.exists()
    # Only the one that was under way when it was killed was begun twice.
    assert len(evaluated(tmp_path)) <= 8 + 1
    assert len(set(evaluated(tmp_path))) == len(Table.load(str(out)).rows) == 8
    assert set(kept) <= set(Table.load(str(out)).rows)


def test_another_config_does_not_go_on_with_this_one_s_journal(
    small: Config, tmp_path: Path, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.table.gz"
    (tmp_path / "t.table.gz.part").write_text('{"convnas_table": 1, "seeds": 3}\n')
    assert main(["tabulate", write(small), "-o", str(out)]) == 2
    assert "begun with another config" in capsys.readouterr().err
    out.write_text("")
    assert main(["tabulate", write(small), "-o", str(out)]) == 2
    assert "it is there already" in capsys.readouterr().err


def test_a_failed_evaluation_is_kept_with_its_reason(
    small: Config, tmp_path: Path, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    small["evaluator"] |= {"faults": {"kill": 3}}
    out = tmp_path / "t.table.gz"
    assert main(["tabulate", write(small), "-o", str(out), "--seeds", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failed"] == 1
    reasons = [row[0].reason for row in Table.load(str(out)).rows.values() if row[0].reason]
    assert reasons == ["worker was killed by signal 9 (out of memory?)"]
