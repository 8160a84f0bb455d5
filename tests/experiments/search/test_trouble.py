"""Where nothing may be written, or the disk is full: one clear line, and the study intact."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CODE = """
import json, sys
from convnas.experiments.cli import main
for argv in json.loads(sys.argv[1]):
    status = main(argv)
    print(f"status {status}", file=sys.stderr)
"""
"""Runs one command line after another, and says each one's exit status after its messages."""

Ended = list[tuple[int, str]]
"""For each command line, its exit status and what it said on standard error."""


def commands(*argvs: list[str], before: tuple[str, ...] = ()) -> Ended:
    line = [*before, sys.executable, "-c", CODE, json.dumps(argvs)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    *parts, rest = re.split(r"status (\d)\n", done.stderr)
    assert not rest
    said, statuses = parts[::2], parts[1::2]
    assert len(said) == len(argvs)
    return [(int(status), text) for status, text in zip(statuses, said, strict=True)]


def unprivileged(*argvs: list[str]) -> Ended:
    """As one whom permissions stop; root needs to give up what lets it pass them."""
    if os.geteuid():
        return commands(*argvs)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv, of util-linux, is not installed")
    powers = "-dac_override,-dac_read_search,-fowner"
    return commands(*argvs, before=(setpriv, f"--bounding-set={powers}", f"--inh-caps={powers}"))


def complaint(said: str) -> str:
    (line,) = (line for line in said.splitlines() if line.startswith("convnas: "))
    return line


@pytest.fixture
def read_only(run: Path) -> Iterator[Path]:
    for path in run.iterdir():
        path.chmod(0o444)
    run.chmod(0o555)
    yield run
    run.chmod(0o755)


def test_a_read_only_run_can_be_read_and_says_what_cannot_be_written(read_only, tmp_path) -> None:
    before = {path: path.read_bytes() for path in read_only.iterdir()}
    run = str(read_only)
    good = [
        ["status", run],
        ["export", run, "-o", str(tmp_path / "best.yaml")],
        ["report", run, "-o", str(tmp_path / "report.html")],
    ]
    bad = [
        ["export", run],
        ["report", run],
        ["export", run, "--format", "pt"],
        ["launch", "-o", run, "--trials", "7"],
        ["launch", "-o", str(read_only / "new")],
    ]
    ended = unprivileged(*good, *bad)
    assert [status for status, _ in ended] == [0] * len(good) + [2] * len(bad)
    for _, said in ended[len(good) :]:
        assert "Permission denied" in complaint(said)
    assert {path: path.read_bytes() for path in read_only.iterdir()} == before


Full = tuple[Path, Callable[[list[str]], Ended]]


@pytest.fixture
def full(run: Path, tmp_path: Path) -> Iterator[Full]:
    """A run where not a page more can be written, and how to use it so: on a small file system of
    its own where one may be mounted, else under a limit on the size of files."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        limit = str(os.path.getsize(run / "study.db") // 4096 * 4096)
        yield run, lambda argv: commands(argv, before=("prlimit", f"--fsize={limit}"))
        return
    try:
        here = Path(shutil.copytree(run, place / "run"))

        def fill_and_run(argv: list[str]) -> Ended:
            filler = place / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            try:
                return commands(argv)
            finally:
                filler.unlink(missing_ok=True)

        yield here, fill_and_run
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_stops_a_launch_and_no_trial_is_lost(full, trials_of) -> None:
    run, use = full
    before = {t.number: t.values for t in trials_of(run)}
    more = ["launch", "-o", str(run), "--trials", "8"]
    ((status, said),) = use(more)
    assert status == 1, said
    assert any(word in complaint(said) for word in ("full", "space", "I/O error", "too large"))
    kept = {t.number: t.values for t in trials_of(run) if t.state.is_finished()}
    assert before.items() <= kept.items()
    assert [status for status, _ in commands(more)] == [0]
    after = trials_of(run)
    assert len(after) == 8
    assert before.items() <= {t.number: t.values for t in after}.items()
    assert all(t.state.is_finished() for t in after)
