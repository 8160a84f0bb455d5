"""`convnas init` looks at real data, and what it writes launches; `convnas schema` takes it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from convnas.experiments import first_config
from convnas.experiments.cli import main
from convnas.experiments.config.schema import demo_config
from convnas.search_space import Architecture, Choice, cost

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    root = tmp_path / "my pictures"
    for label, (name, count) in enumerate((("cat", 30), ("dog", 6))):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 120, (20, 26, 3)) + 60 * label
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")
    return root


def test_it_looks_at_the_data(pictures) -> None:
    found = first_config.look(str(pictures))
    assert found.names == ("cat", "dog")
    assert found.counts == (30, 6)
    assert found.size == (20, 26)
    assert found.channels == 3
    assert found.skew == 5
    digits = first_config.look("digits")
    assert (digits.size, digits.channels, sum(digits.counts)) == ((8, 8), 1, 1797)


@pytest.mark.parametrize(
    ("size", "side"), [((20, 26), 16), ((32, 32), 32), ((5, 5), 8), ((900, 700), 128)]
)
def test_the_side_is_the_largest_usual_one_that_fits(size, side) -> None:
    assert first_config.side_for(size) == side


def test_a_config_is_written_that_searches(pictures, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["init", "--data", "my pictures", "--budget", "50%", "--device", "cpu"]
    assert main(argv) == 0
    assert "convnas launch my-pictures.yaml" in capsys.readouterr().out
    text = (tmp_path / "my-pictures.yaml").read_text()
    config = yaml.safe_load(text)
    vanilla = Architecture("resnet-cifar", (3, 16, 16), 2, (Choice("vanilla"),) * 3)
    assert config["budget"] == {"flops": round(cost(vanilla).flops / 2)}
    for reason in ("cat, dog", "20x26", "50 %", "6 to 30", "5.0 times", "final choice"):
        assert reason in text
    config |= {"trials": 2, "final": {"top": 0}}
    config["evaluator"]["epochs"] = 1
    (tmp_path / "my-pictures.yaml").write_text(yaml.safe_dump(config))
    assert main(["launch", "my-pictures.yaml", "-o", "run", "--workers", "1"]) == 0
    assert main(argv) == 2
    assert "it is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--data", "absent"], "data.name"),
        (["--data", "digits", "--budget", "60"], "such as 60%"),
        (["--data", "empty"], "three images or more"),
        (["--data", "file.txt"], "a folder with a subfolder"),
    ],
)
def test_wrong_input_is_one_line(argv, says, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").touch()
    assert main(["init", *argv]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1


def test_the_schema_takes_what_launches_and_refuses_what_does_not(tmp_path, capsys) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert main(["schema"]) == 0
    validator = jsonschema.Draft202012Validator(json.loads(capsys.readouterr().out))
    good = yaml.safe_load(demo_config().read_text())
    assert not list(validator.iter_errors(good))
    good |= {"backend": "nni", "data": {"name": "python:mine:data", "any": 1}}
    assert not list(validator.iter_errors(good))
    for wrong in (
        {**good, "trails": 3},
        {**good, "trials": "many"},
        {**good, "evaluator": {"name": "proxy", "epoch": 3}},
        {**good, "evaluator": {"name": "prxy"}},
        {**good, "data": {"name": "digits", "validation": "half"}},
        {**good, "training": {"join": 3}},
    ):
        assert list(validator.iter_errors(wrong)), wrong
