"""As `test_fuzz.py`: inputs that almost hold, YAML that is a trap, names, and damaged studies."""

from __future__ import annotations

import random
import shutil
import sqlite3
import string
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convnas import evaluators
from convnas.experiments import experiment
from convnas.experiments.errors import RunError
from convnas.experiments.search import latency
from convnas.tests.experiments.commands.fuzzing import ARCHITECTURE, CONFIG, changed, fuzz, text_of


class NoWorkers:
    """In place of a pool: where a search would begin, the run fails."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        raise RunError("here the search would begin")


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches and trainings end where the first network would be trained or measured."""

    def fail(*given: Any, **settings: Any) -> Any:
        raise evaluators.EvaluationError("here the training would begin")

    monkeypatch.setattr(experiment, "WorkerPool", NoWorkers)
    monkeypatch.setattr(latency, "table_of", NoWorkers)
    monkeypatch.setattr(evaluators, "retrain", fail)


@fuzz
@given(data=changed(CONFIG, 2))
def test_configs_that_almost_hold_in_launch(room, capsys, untrained, data) -> None:
    room.file.write_text(text_of(data), encoding="utf-8", errors="replace")
    room.check("config, launch", ["launch", str(room.file), "-o", "new"], capsys)
    shutil.rmtree("new", ignore_errors=True)


@fuzz
@given(
    architecture=changed(ARCHITECTURE, 1), config=changed(CONFIG, 1), which=st.sampled_from("ac")
)
def test_files_that_almost_hold_in_train(
    room, capsys, untrained, architecture, config, which
) -> None:
    (room.folder / "new").mkdir()
    arch, beside = Path("new/arch.yaml"), Path("new/config.txt")
    arch.write_text(text_of(architecture if which == "a" else ARCHITECTURE), errors="replace")
    beside.write_text(text_of(config if which == "c" else CONFIG), errors="replace")
    argv = ["train", str(arch), "--config", str(beside), "--no-tensorboard"]
    room.check("config, train", argv, capsys)
    shutil.rmtree("new")


DIGITS = st.one_of(
    st.integers(300, 9000).map(lambda n: "9" * n),
    st.integers(300, 9000).map(lambda n: "0x" + "f" * n),
    st.sampled_from(
        ["\u0661\u0662", "1" + ":59" * 500, "0b" + "1" * 5000, "1_000", ".inf", "-.nan"]
    ),
    st.sampled_from(["!!int ''", "!!bool x", "!!timestamp x", "!!binary x", "!!python/name:os.x"]),
)


@st.composite
def trap(draw: st.DrawFn, whole: dict[str, Any]) -> str:
    """The text of good data, with one thing in it that YAML has and no config needs."""
    lines = text_of(whole).splitlines()
    place = draw(st.integers(0, len(lines)))
    kind = draw(st.sampled_from(["aliases", "itself", "twice", "number", "control", "nested"]))
    if kind == "aliases":
        levels, of = draw(st.integers(1, 40)), draw(st.integers(1, 12))
        more = [f"k0: &a0 [{', '.join(['x'] * of)}]"]
        more += [f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * of)}]" for i in range(1, levels)]
        use = draw(st.sampled_from(["name", "trials", "classes", "space", "<<"]))
        return "\n".join([*more, f"{use}: *a{levels - 1}", *lines])
    if kind == "itself":
        return "\n".join([*lines, draw(st.sampled_from(["z: &z [*z]", "z: &z {z: *z}"]))])
    if kind == "twice":
        return "\n".join([*lines[:place], *draw(st.permutations(lines))[:2], *lines[place:]])
    if kind == "number" and lines:
        key = lines[min(place, len(lines) - 1)].partition(":")[0]
        return "\n".join([*lines[:place], f"{key}: {draw(DIGITS)}", *lines[place + 1 :]])
    if kind == "control":
        code = draw(st.sampled_from(["\\0", "\\u0000", "\\x07", "\\ud800", "\\U0010ffff"]))
        return "\n".join([*lines, f'data: {{name: npz, path: "a{code}b"}}'])
    opening = draw(st.sampled_from(["[", "{a: ", "- ", "? "]))
    return "\n".join([*lines, "z: " + opening * draw(st.integers(1, 2000))])


@fuzz
@given(text=trap(CONFIG), command=st.sampled_from(["space", "launch"]))
def test_traps_in_configs(room, capsys, untrained, text, command) -> None:
    room.file.write_text(text, encoding="utf-8")
    out = ["-o", "new"] if command == "launch" else []
    room.check("YAML traps", [command, str(room.file), *out], capsys)
    shutil.rmtree("new", ignore_errors=True)


@fuzz
@given(text=trap(ARCHITECTURE))
def test_traps_in_architectures(room, capsys, text) -> None:
    room.file.write_text(text, encoding="utf-8")
    room.check("YAML traps", ["cost", str(room.file)], capsys)


NAMES = st.one_of(
    st.text(st.sampled_from(string.printable.replace("/", "")), min_size=1, max_size=12),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=9
    ),
    st.sampled_from(
        ["a" * 300, "é" * 200, "%2e%41", ":memory:", "x?mode=memory", "file:x", "{SCHEMA}"]
    ),
).filter(lambda name: name not in (".", "..") and len(name.encode()) > 0)


@fuzz
@given(name=NAMES, command=st.sampled_from(["launch", "status", "report", "export"]))
def test_names_of_directories(room, capsys, untrained, name, command) -> None:
    (room.folder / "new").mkdir()
    place = f"new/{name}"
    if command == "launch":
        argv = ["launch", "run/config.yaml", "-o", place]
    else:
        with suppress(OSError):
            shutil.copytree("run", place)
        argv = [command, place]
    room.check("names", argv, capsys)
    assert len(list(Path("new").iterdir())) <= 1
    shutil.rmtree("new")


TABLES = (
    *("studies", "study_directions", "study_user_attributes", "study_system_attributes", "trials"),
    *("trial_user_attributes", "trial_system_attributes", "trial_params", "trial_values"),
    *("trial_intermediate_values", "version_info", "alembic_version"),
)
CELLS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.binary(max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["{", "[]", "{}", "null", "1e999", "NaN", '"x"', "[1]", "INF_POS", "RUNNING"]),
    st.sampled_from(
        ["COMPLETE", "MAXIMIZE", "[" * 5000, "9" * 5000, '{"backbone": "vgg16-cifar"}']
    ),
)


@st.composite
def damage(draw: st.DrawFn) -> tuple[str, Any, int]:
    seed = draw(st.integers(0, 2**32 - 1))
    if draw(st.integers(0, 4)) == 0:
        return "", draw(st.integers(1, 64)), seed
    return draw(st.sampled_from(TABLES)), draw(CELLS), seed


def apply(what: tuple[str, Any, int], path: Path) -> None:
    """One cell of a table replaced, or so many bytes of the file."""
    table, value, seed = what
    rng = random.Random(seed)
    if not table:
        content = bytearray(path.read_bytes())
        for _ in range(value):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        return
    with closing(sqlite3.connect(path)) as base, base:
        columns = [row[1] for row in base.execute(f"pragma table_info({table})")]
        rows = [row[0] for row in base.execute(f"select rowid from {table}")]
        if rows:
            change = f"update {table} set {rng.choice(columns)} = ? where rowid = ?"
            with suppress(sqlite3.IntegrityError):
                base.execute(change, (value, rng.choice(rows)))


@fuzz
@given(what=damage(), command=st.sampled_from(["status", "report", "export", "launch", "train"]))
def test_damaged_studies(room, capsys, untrained, what, command) -> None:
    shutil.rmtree("new", ignore_errors=True)  # of an example that failed
    shutil.copytree("run", "new")
    apply(what, Path("new/study.db"))
    more = ["-o", "new", "--trials", "9"] if command == "launch" else ["new"]
    room.check("damaged studies", [command, *more], capsys)
    shutil.rmtree("new")
