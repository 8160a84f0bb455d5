"""The examples, run as a newcomer runs them: in processes of their own, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

import convnas
from convnas import Architecture

ROOT = Path(convnas.__file__).parent
EXAMPLES = ROOT / "examples"


def run(folder: Path, name: str, *argv: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *argv],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_own_images(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="pillow is not installed")
    said = run(tmp_path, "own_images.py", "--trials", "2")
    (accuracy,) = (float(line.split()[-1]) for line in said if line.startswith("test accuracy"))
    assert accuracy > 0.5  # ten classes
    assert re.fullmatch(r"\d+\.png of class 'digit 0' is taken for 'digit \d'", said[-1])
    assert (tmp_path / "runs" / "images" / "study.db").is_file()


def test_own_loop(tmp_path: Path) -> None:
    said = run(tmp_path, "own_loop.py", "--trials", "2")
    assert "of 125 architectures" in said[0]
    best = Architecture.load(tmp_path / "best.yaml")
    assert convnas.cost(best).flops <= 800_000
    assert said[-1] == f"best.yaml: {best}"
    assert sum(line.startswith("trial ") for line in said) == 2


def test_own_parts(tmp_path: Path) -> None:
    said = run(tmp_path, "own_parts.py", "--trials", "5")
    scores = [float(line.split()[2]) for line in said if line.startswith("mean recall")]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.5
    assert any("ghost(ratio=" in line for line in said)


@pytest.mark.parametrize("framework", ["lightning", "accelerate"])
def test_own_training(tmp_path: Path, framework: str) -> None:
    package = {"lightning": "pytorch_lightning", "accelerate": "accelerate"}[framework]
    pytest.importorskip(package, reason=f"{package} is not installed")
    said = run(tmp_path, "own_training.py", "--with", framework, "--trials", "2")
    scores = [float(line.split()[1]) for line in said if line.startswith("accuracy")]
    assert len(scores) == 2
    assert scores[0] > 0.5  # ten classes
    # Each epoch was reported, which is what a pruner goes by.
    run_dir = tmp_path / "runs" / f"own-{framework}"
    storage = f"sqlite:///{run_dir / 'study.db'}"
    (study, *_) = optuna.get_all_study_summaries(storage)
    curves = [
        trial.user_attrs["curve"]
        for trial in optuna.load_study(study_name=study.study_name, storage=storage).trials
    ]
    assert [len(curve) for curve in curves] == [2, 2]


@pytest.mark.parametrize("name", ["ghost", "greedy", "recall"])
def test_the_text_on_extending_shows_the_files_that_are_tested(name: str) -> None:
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    source = (EXAMPLES / "parts" / f"{name}.py").read_text(encoding="utf-8")
    assert f"```python\n{source}```" in text
