"""`convnas backbones`, and the conventions of `convnas cost`."""

from __future__ import annotations

import json

import pytest

from convnas import Architecture, Choice
from convnas.experiments.cli import main


@pytest.fixture
def vgg(tmp_path):
    path = tmp_path / "vgg.yaml"
    Architecture("vgg16-cifar", (3, 32, 32), 10, (Choice("hetconv", p=4),) * 5).save(path)
    return str(path)


def test_backbones_as_json(capsys) -> None:
    assert main(["backbones", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["resnet50"] == {
        "name": "resnet50",
        "input": [3, 224, 224],
        "classes": 1000,
        "depths": [3, 4, 6, 3],
        "params": 25_557_032,
        "flops": 4_089_184_256,
        "operators": ["vanilla", "octave", "hetconv", "res2net"],
    }
    assert listed["mobilenet-v1"]["operators"] == ["vanilla", "octave"]
    assert {"resnet-cifar", "resnet20", "vgg16-cifar", "se-resnet50"} <= listed.keys()


def test_backbones_as_a_table(capsys) -> None:
    assert main(["backbones"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "resnext50-32x4d" in line)
    assert "3x224x224" in line
    assert "25M" in line
    assert "4.23G" in line
    assert "hetconv" not in line


def test_cost_in_the_papers_convention(vgg, capsys) -> None:
    """HetConv paper, VGG-16 P4: 105.98 M, of which 105.846 M are multiply-adds."""
    figures = {}
    for options in ([], ["--convention", "paper"]):
        assert main(["cost", vgg, "--json", *options]) == 0
        facts = json.loads(capsys.readouterr().out)
        figures[facts["convention"]] = round(facts["flops"] / 1e6, 3)
    assert figures == {"multiply-adds": 105.846, "paper": 105.982}


def test_the_cost_table_says_its_convention_and_bytes(vgg, capsys) -> None:
    assert main(["cost", vgg, "--convention", "paper"]) == 0
    shown = capsys.readouterr().out
    assert "flops: paper" in shown
    assert "backward_bytes" in shown


def test_another_convention_is_wrong_input(vgg, capsys) -> None:
    assert main(["cost", vgg, "--convention", "papper"]) == 2
    said = capsys.readouterr().err
    assert "did you mean 'paper'? choose from: hetconv, multiply-adds, octave, paper" in said
    assert said.count("\n") == 1
