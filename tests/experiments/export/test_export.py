from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from convnas.experiments.cli import main
from convnas.search_space import Architecture, build_network, load_network

Config = dict[str, Any]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_an_exported_architecture_loads(run: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "taken"
    assert main(["export", str(run), "--format", form, "-o", str(out)]) == 0
    assert Architecture.load(out) == Architecture.load(run / "best.yaml")


def test_the_k_best_come_in_order(run: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["export", str(run), "--top", "3", "-o", str(tmp_path / "three"), "--json"]) == 0
    exported = json.loads(capsys.readouterr().out)
    scores = [each["score"] for each in exported]
    assert scores == sorted(scores, reverse=True)
    assert len(exported) == 3
    for each in exported:
        assert Architecture.load(each["file"]).key == each["key"]


def test_weights_are_trained_once_and_are_the_same_wherever_they_come_from(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    best = run / "best.yaml"
    assert main(["train", str(best), "--epochs", "1", "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert 0 <= trained["metrics"]["test_accuracy"] <= 1
    kept = run / "weights" / f"{Architecture.load(best).key}.pt"
    assert Path(trained["file"]) == kept
    out = tmp_path / "best.pt"
    assert main(["export", str(run), "--format", "pt", "-o", str(out)]) == 0
    assert out.read_bytes() == kept.read_bytes()
    content = torch.load(out, weights_only=True)
    network = build_network(Architecture.from_dict(content["architecture"]))
    network.load_state_dict(content["state_dict"])
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.eval()(images), load_network(out)(images))


def test_export_trains_what_is_not_trained_yet(run: Path) -> None:
    assert main(["export", str(run), "--format", "pt"]) == 0
    (kept,) = (run / "weights").iterdir()
    assert (run / "best.pt").read_bytes() == kept.read_bytes()
    info = torch.load(kept, weights_only=True)["info"]
    # Ten classes: two epochs are enough to leave chance far behind.
    assert info["metrics"]["test_accuracy"] > 0.5
    assert info["data"]["split_seed"] == 0


def test_damaged_weights_are_refused(run: Path, capsys: Capture) -> None:
    key = Architecture.load(run / "best.yaml").key
    path = run / "weights" / f"{key}.pt"
    path.parent.mkdir()
    path.write_bytes(b"PK not weights")
    assert main(["export", str(run), "--format", "pt"]) == 2
    assert str(path) in capsys.readouterr().err


def test_a_run_without_a_complete_trial_has_nothing_to_export(
    scripted: Config, write: Callable[..., str], tmp_path: Path, capsys: Capture
) -> None:
    scripted["evaluator"] |= {"faults": {"refuse": 1}}
    run = str(tmp_path / "empty")
    assert main(["launch", write(scripted), "-o", run, "--trials", "1"]) == 1
    assert main(["export", run]) == 2
    assert "at least one complete trial" in capsys.readouterr().err


def test_an_architecture_of_its_own_is_trained_beside_its_file(
    write: Callable[..., str], tmp_path: Path
) -> None:
    stages = [{"conv": "hetconv", "p": 4}] * 3
    path = write(
        {"backbone": "resnet-cifar", "input": [1, 8, 8], "classes": 10, "stages": stages},
        "mine.yaml",
    )
    assert main(["train", path, "--epochs", "1", "--device", "cpu"]) == 0
    assert load_network(tmp_path / "mine.pt") is not None


def test_a_folded_export_has_no_norms_and_the_same_outputs(run: Path, tmp_path: Path) -> None:
    plain, folded = tmp_path / "plain.pt", tmp_path / "folded.pt"
    for out, more in ((plain, []), (folded, ["--fold"])):
        assert main(["export", str(run), "--format", "pt", "-o", str(out), *more]) == 0
    network = load_network(folded)
    kinds = {type(module) for module in network.modules()}
    assert torch.nn.BatchNorm2d not in kinds
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = load_network(plain)(images)
        torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)
    before, after = (torch.load(path, weights_only=True)["info"] for path in (plain, folded))
    assert before == after


def test_only_weights_can_be_folded(run: Path, capsys: Capture) -> None:
    assert main(["export", str(run), "--fold"]) == 2
    assert "a format that carries weights: pt, pt2, onnx, py, timm" in capsys.readouterr().err
