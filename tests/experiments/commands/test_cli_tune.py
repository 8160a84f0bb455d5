"""`convnas tune` end to end: a table that build_network takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from convnas import Architecture, build_network
from convnas.experiments.cli import main
from convnas.search_space import ExecutionTable

ARCH = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stages": [{"conv": "hetconv", "p": 4}, {"conv": "vanilla"}, {"conv": "hetconv", "p": 2}],
}


def test_a_table_is_written_and_taken(
    write: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(ARCH), tmp_path / "table.yaml"
    assert main(["tune", path, "--device", "cpu", "--batch", "2", "-o", str(out)]) == 0
    assert "2 shapes measured" in capsys.readouterr().err
    table = ExecutionTable.from_dict(yaml.safe_load(out.read_text())["execution"])
    assert len(table.hetconv) == 2
    build_network(Architecture.load(path), execution=table)
    assert main(["tune", path, "--device", "cpu", "--batch", "2"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)["execution"]
    assert printed["hetconv"].keys() == table.hetconv.keys()


def test_an_architecture_without_hetconv_gives_an_empty_table(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write({**ARCH, "stages": [{"conv": "vanilla"}] * 3})
    assert main(["tune", path, "--device", "cpu"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["execution"]["hetconv"] == {}


@pytest.mark.parametrize("argv", [["absent.yaml"], ["--device", "tpu"], ["--batch", "0"]])
def test_wrong_input_is_one_line_and_exit_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", *argv]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
