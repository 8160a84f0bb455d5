"""`convnas convert`, on a network and images of one's own."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
import torch

import convnas
from convnas.experiments.cli import main

MINE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )

def pair():
    return net(), torch.zeros(1, 1, 8, 8)

def images():
    return torch.rand(20, 1, 8, 8)

def linear():
    return nn.Linear(4, 4)

def broken():
    raise RuntimeError("no weights there")
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def run(*argv: str) -> int:
    return main(["convert", *argv, "--device", "cpu"])


def test_a_network_is_converted_and_loaded_into_its_own_code(mine, tmp_path, capsys) -> None:
    assert run(f"python:{mine}:net", "--data", "digits", "--budget", "60%", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["after"]["flops"] <= 0.6 * told["before"]["flops"]
    assert len(told["accuracy"]) == 2
    report = (tmp_path / "converted" / "report.md").read_text()
    assert "| 6 | " in report
    model = importlib.import_module(mine).net()
    loaded = convnas.load_converted("converted/network.pt", model)
    assert convnas.cost(loaded, torch.zeros(1, 1, 8, 8)).flops == told["after"]["flops"]
    replaced = {row["name"] for row in told["layers"] if row["becomes"]}
    assert replaced
    for index in (0, 3, 6):
        if str(index) not in replaced:
            assert torch.equal(loaded[index].weight, model[index].weight)
    assert torch.equal(loaded[-1].weight, model[-1].weight)
    assert loaded(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    with pytest.raises(convnas.InputError, match="of another network"):
        convnas.load_converted("converted/network.pt", torch.nn.Sequential(torch.nn.Linear(2, 2)))


def test_a_function_may_give_the_images_and_the_example(mine, tmp_path, capsys) -> None:
    argv = (f"python:{mine}:pair", "--data", f"python:{mine}:images", "--of", "params")
    assert run(*argv, "--budget", "70%", "-o", "there", "--not", "0") == 0
    assert "params" in capsys.readouterr().out
    assert (tmp_path / "there" / "network.pt").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["network.pt2"], "a file of weights or an exported graph has no layers"),
        (["python:{mine}:nothing"], "model: 'python:{mine}:nothing'"),
        (["python:{mine}:broken"], "the function failed: RuntimeError: no weights there"),
        (["python:{mine}:images"], "it gave a Tensor"),
        (["python:{mine}:linear"], "a network with convolutions"),
        (["python:{mine}:net", "--budget", "5%"], "budget: '5%' is not allowed; the cheapest netw"),
        (["python:{mine}:net", "--budget", "lots"], "budget: 'lots'"),
        (["python:{mine}:net", "--of", "watts"], "watts"),
        (["python:{mine}:net", "--input", "3x8x8"], "channels"),
        (["python:{mine}:net", "--input", "8"], "like 3x224x224"),
        (["python:{mine}:net", "--only", "7"], "only: '7'"),
    ],
)
def test_wrong_input_is_one_line(mine, argv, message, capsys) -> None:
    filled = [part.format(mine=mine) for part in argv]
    assert run(*filled, "--data", "digits") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.format(mine=mine) in error
