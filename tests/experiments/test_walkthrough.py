"""docs/walkthrough.md at a small size: pictures, init, launch, train, export, and a picture named
by each export in an environment without convnas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from convnas.experiments.cli import main

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

DOC = Path(__file__).parents[2] / "docs" / "walkthrough.md"


def picture(label: int, seed: int) -> np.ndarray:
    """16x16 noise, its upper (0) or its left (1) half bright."""
    pixels = np.random.default_rng((label, seed)).integers(0, 90, (16, 16))
    pixels[:8] += 120 * (label == 0)
    pixels[:, :8] += 120 * (label == 1)
    return pixels.astype(np.uint8)


def test_the_walk(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for label, name in enumerate(("bag", "boot")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for seed in range(40):
            path = tmp_path / "pictures" / name / f"{seed}.png"
            Image.fromarray(picture(label, seed)).save(path)
    walked = DOC.read_text()
    assert main(["init", "--data", "pictures", "--budget", "60%", "--device", "cpu"]) == 0
    config = yaml.safe_load(Path("pictures.yaml").read_text())
    config |= {"final": {"top": 0}, "training": {"epochs": 12, "batch_size": 8, "ema": 0.0}}
    Path("pictures.yaml").write_text(yaml.safe_dump(config))
    launch = ["launch", "pictures.yaml", "-o", "runs/pictures"]
    assert main([*launch, "--trials", "2", "--workers", "1"]) == 0
    for argv in (
        ["train", "runs/pictures"],
        ["export", "runs/pictures", "--format", "onnx"],
        ["export", "runs/pictures", "--format", "onnx", "--int8"],
        ["export", "runs/pictures", "--format", "py"],
    ):
        assert f"convnas {' '.join(argv)}\n" in walked
        assert main(argv) == 0
    run = tmp_path / "runs" / "pictures"
    Image.fromarray(picture(1, 99)).save(run / "image.png")
    alone = "import os, sys; sys.path.insert(0, os.getcwd()); sys.modules['convnas'] = None\n"
    for name in ("best.onnx", "best.int8.onnx", "best.py"):
        code = (run / f"{name}.md").read_text().split("```python\n")[1].split("\n```")[0]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", alone + code],
            cwd=run,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "boot" in done.stdout, name
