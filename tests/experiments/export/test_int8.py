"""Export in 8-bit integers: the same network in ONNX Runtime, with its accuracy said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from convnas.evaluators.data.dataset import load_data
from convnas.experiments.cli import main

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


def test_the_network_in_int8_is_as_good_and_says_so(finished, tmp_path, printed, capsys) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    assert main(["export", str(run), "--format", "onnx", "--int8", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    path = run / "best.int8.onnx"
    assert told["file"] == str(path)
    stored = {each.data_type for each in onnx.load(path).graph.initializer if len(each.dims) == 4}
    assert stored == {onnx.TensorProto.INT8}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    test = load_data({"name": "digits"}, seed=0, input=(1, 8, 8), classes=10).test
    found = session.run(None, {"images": test.images.numpy()})[0].argmax(1)
    accuracy = float(np.mean(found == test.labels.numpy()))
    assert told["int8_test_accuracy"] == pytest.approx(accuracy)
    # Three standard errors of a difference between two networks that agree on nine in ten images.
    assert abs(told["test_accuracy"] - accuracy) < 3 * (0.1 / len(test)) ** 0.5
    facts = json.loads(session.get_modelmeta().custom_metadata_map["convnas"])
    assert facts["metrics"]["int8_test_accuracy"] == told["int8_test_accuracy"]
    card = path.with_name("best.int8.onnx.md").read_text()
    assert f"as int8, which this file is, {accuracy:.4f}" in card
    code = card.split("```python\n")[1].split("\n```")[0]
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.full((8, 8), 255, np.uint8)).save(run / "image.png")
    assert printed(code, run)[-1] in list("0123456789")


def test_int8_is_for_onnx(run, capsys) -> None:
    assert main(["export", str(run), "--format", "pt", "--int8"]) == 2
    assert "int8: 'pt' is not allowed; the format onnx" in capsys.readouterr().err
