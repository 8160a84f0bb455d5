"""Operators from modules of the user's own, in every process that meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import convnas
from convnas.experiments import read_config
from convnas.search_space import InputError

PARTS = Path(convnas.__file__).parent / "examples" / "parts"


def convnas_in(folder: Path, *argv: str, plugins: str = "") -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, in the current folder as an installed one is."""
    return subprocess.run(
        [
            sys.executable,
            "-P" if sys.version_info >= (3, 11) else "-B",
            "-c",
            "from convnas.experiments.cli import entry_point; entry_point()",
            *argv,
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "CONVNAS_PLUGINS": plugins},
        check=False,
    )


def with_ghost(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}


def test_a_run_with_an_operator_of_ones_own_is_whole_in_every_command(
    config: dict[str, Any], write: Callable[..., str], tmp_path: Path
) -> None:
    source = (PARTS / "ghost.py").read_text()
    (tmp_path / "ghost.py").write_text(source.replace("def standalone", "def not_standalone"))
    config["plugins"] = ["ghost"]
    config["space"] = {**config["space"], "stage": {"conv": ["ghost"], "ratio": [2, 4]}}
    config |= {"budget": {}, "trials": 2, "training": {"epochs": 1}}
    write(config)
    for argv in (
        ["space", "config.yaml"],
        ["launch", "config.yaml", "-o", "run"],
        ["status", "run"],
        ["report", "run"],
    ):
        done = convnas_in(tmp_path, *argv)
        assert done.returncode == 0, (argv, done.stderr)
    refused = convnas_in(tmp_path, "export", "run", "--format", "py")
    assert refused.returncode == 2
    assert "no standalone form of GhostConv2d is known" in refused.stderr
    assert "epoch" not in refused.stderr, "it was trained before it was refused"
    (tmp_path / "ghost.py").write_text(source)
    for argv in (
        ["export", "run", "--format", "py"],
        ["export", "run", "--format", "pt"],
        ["export", "run", "--format", "pt2"],
        ["launch", "-o", "run", "--trials", "3"],
    ):
        done = convnas_in(tmp_path, *argv)
        assert done.returncode == 0, (argv, done.stderr)
    state = json.loads(convnas_in(tmp_path, "status", "run", "--json").stdout)
    assert state["trials"]["complete"] == 3
    assert state["best"]["architecture"]["stages"][0]["conv"] == "ghost"
    card = (tmp_path / "run" / "best.pt.md").read_text()
    lines = card.partition("```python\n")[2].partition("```")[0]
    loading = lines[: lines.index("data = ")]  # what follows classifies a picture
    assert loading.splitlines()[0].endswith(", ghost")
    for text, good in ((loading, True), (loading.replace(", ghost", ""), False)):
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path / "run", env=with_ghost(tmp_path),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == good, done.stderr
    assert "import its module" in done.stderr
    # An architecture file alone does not say where its operators come from.
    alone = ["cost", "run/best.yaml", "--json"]
    refused = convnas_in(tmp_path, *alone)
    assert refused.returncode == 2
    assert "'ghost' is not allowed" in refused.stderr
    counted = json.loads(convnas_in(tmp_path, *alone, plugins="ghost").stdout)
    assert counted["flops"] == state["best"]["flops"]
    assert convnas_in(tmp_path, *alone, plugins="gohst").returncode == 2


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
        (
            "from convnas import register_operator; register_operator('vanilla', print)",
            "operator: 'vanilla' is not allowed; a name that is not taken",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_line(
    source: str | None,
    says: str,
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if source:
        (tmp_path / "faulty_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=says) as refused:
        read_config({**config, "plugins": ["faulty_plugin"]})
    assert len(str(refused.value).splitlines()) == 1
