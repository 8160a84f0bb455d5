"""Kept results: they know the code they were measured on, and are stale when it changed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from convnas.benchmarks import record, stale

CODE = '''\
"""What it is."""
import math


def area(r):
    """Of a circle."""
    total = 0
    for _ in range(3):
        total += math.pi * r**2  # a circle
    return f"{total} {{m}}"
'''
SAME = '''\
from math import (
    pi,
)
import math

def area(r):
    """Another
    docstring."""

    total = 0
    for _ in range(
        3
    ):  # another comment
        total += math.pi*r ** 2
    return f"{total} {{m}}"
'''
OTHER = [
    CODE.replace("range(3)", "range(4)"),
    CODE.replace("        total += math", "    total += math").replace(
        "range(3):", "range(3): pass"
    ),
    CODE.replace("    return", "        return"),
    CODE.replace("{{m}}", "{{km}}"),
]


def test_a_digest_is_of_the_code_alone(tmp_path: Path) -> None:
    def digest(code: str, name: str = "some.py") -> str:
        (tmp_path / name).write_text(code)
        return record.digest(tmp_path / name)

    assert digest(SAME) == digest(CODE) == digest(CODE, "moved.py")
    digests = [digest(code) for code in (CODE, *OTHER)]
    assert len(set(digests)) == len(digests)
    assert digest(CODE, "a.yaml") != digest(SAME, "a.yaml")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "loop.py").write_text(CODE)
    (tmp_path / "unrelated.py").write_text(CODE)
    (tmp_path / "README.md").write_text("It takes 3 s.\n")
    sources = {"speed.json": {"again": "make speed", "sources": [["loop*.py"]]}}
    (tmp_path / "sources.yaml").write_text(yaml.safe_dump({"results": sources}))
    figures = {"shown": {"README.md": ["It takes {speed.json/seconds} s."]}, "not ours": []}
    (tmp_path / "figures.yaml").write_text(yaml.safe_dump(figures))
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *who, *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(record, "SOURCES", tmp_path / "sources.yaml")
    monkeypatch.setattr(stale, "FIGURES", tmp_path / "figures.yaml")
    return tmp_path


def test_a_result_is_stale_when_what_it_depends_on_changed_and_nothing_else(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stale.main() == 1
    assert "not measured yet" in capsys.readouterr().out
    record.keep("speed.json", {"seconds": 3})
    kept = json.loads((repository / "results" / "speed.json").read_text())
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    assert head.startswith(kept["made"]["commit"])
    assert stale.main() == 0
    (repository / "unrelated.py").write_text(OTHER[0])
    (repository / "loop.py").rename(repository / "loop_moved.py")
    assert stale.main() == 0
    (repository / "loop_moved.py").write_text(OTHER[0])
    capsys.readouterr()
    assert stale.main() == 1
    assert "speed.json  (in README.md): loop_moved.py" in capsys.readouterr().out.replace(
        "loop.py, ", ""
    )
    # Where only another page shows it, it is listed and no more.
    figures = (repository / "figures.yaml").read_text().replace("README.md", "docs/more.md")
    (repository / "figures.yaml").write_text(figures)
    assert stale.main() == 0
    assert "STALE    speed.json  (in docs/more.md)" in capsys.readouterr().out
    record.keep("speed.json", {"seconds": 4})
    assert json.loads((repository / "results" / "speed.json").read_text())["made"][
        "commit"
    ].endswith("+")


def test_every_result_names_its_sources_and_all_of_them_exist() -> None:
    known = record.known()
    kept = {str(path.relative_to(record.RESULTS)) for path in record.RESULTS.rglob("*.json")}
    assert kept - known.keys() == set()
    assert all(record.digests(name) for name in known)
