"""What the fuzz tests draw inputs from, and how each is judged.

CONVNAS_FUZZ_EXAMPLES says how many inputs each test tries, 150 unless told, 500 in CI; the file
CONVNAS_FUZZ_RECORD, where it is set, gets a line "KIND STATUS" for each of them
(`benchmarks/fuzz.py` counts them).
"""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from convnas.experiments.cli import main

EXAMPLES = int(os.environ.get("CONVNAS_FUZZ_EXAMPLES", "150"))
RECORD = os.environ.get("CONVNAS_FUZZ_RECORD")
SECONDS = 60
"""One input may take so long; no input does on a quiet machine."""

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES <= 1000,
    suppress_health_check=list(HealthCheck),
)

CONFIG: dict[str, Any] = {
    "name": "small",
    "space": {
        "backbone": "resnet-cifar",
        "input": [1, 8, 8],
        "classes": 10,
        "stage": {
            "conv": ["vanilla", "octave", "hetconv", "res2net"],
            "alpha": [0.25, 0.5],
            "p": [2, 4],
            "scales": [2],
            "depth": [1, 2],
            "width": [0.5, 1.0],
            "kernel": [3],
        },
    },
    "budget": {"flops": "1M", "params": {"min": "10K", "max": "1M"}},
    "data": {"name": "digits", "limit": 100},
    "evaluator": {"name": "proxy", "epochs": 1, "batch_size": 32},
    "training": {"epochs": 2},
    "strategy": {"name": "tpe"},
    "objectives": ["accuracy", "flops"],
    "pruner": {"name": "asha", "eta": 3},
    "final": {"top": 2, "seeds": 2},
    "trials": 6,
    "seed": 0,
    "workers": 1,
    "device": "cpu",
}

ARCHITECTURE: dict[str, Any] = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stages": [
        {"conv": "octave", "alpha": 0.5, "depth": 2},
        {"conv": "res2net", "scales": 4, "width": 0.5},
        [{"conv": "hetconv", "p": 4}, {"conv": "vanilla", "kernel": 3}],
    ],
}

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            *["1M", "40Q", "-1", "1e9", "octave", "vanilla", "nsga2", "snip", "latency", "cuda:7"],
            *["../..", "/", "~", "python:os:system", "python:", "{}", "\x00", "é", "A" * 300],
            *[0.125, 1e308, 5e-324, 10**9, 10**18, 2**63, 2**64, -(2**63), 10**400],
        ]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.text(max_size=8), st.sampled_from(["name", "flops", "conv", "min"])),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)


def places(thing: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into nested data, the whole itself left out."""
    below: list[tuple[Any, ...]] = [path] if path else []
    items = thing.items() if isinstance(thing, dict) else enumerate(thing)
    for key, value in items if isinstance(thing, dict | list) else ():
        below += places(value, (*path, key)) if isinstance(value, dict | list) else [(*path, key)]
    return below


@st.composite
def changed(draw: st.DrawFn, whole: dict[str, Any], most: int = 3) -> Any:
    """The data with one to `most` places replaced, removed or added to."""
    data: Any = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, most))):
        known = places(data)
        if not known:
            break
        *way, last = draw(st.sampled_from(known))
        holder: Any = data
        for key in way:
            holder = holder[key]
        what = draw(st.sampled_from(["replace", "remove", "add"]))
        if what == "replace":
            holder[last] = draw(VALUES)
        elif what == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = draw(VALUES)
        else:
            holder.append(draw(VALUES))
    return data


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError(f"one input took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Room:
    """A folder with a run in it; nothing outside the run may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "input.yaml"

    def outside(self) -> list[str]:
        everything = (path.relative_to(self.folder) for path in self.folder.rglob("*"))
        return sorted(
            str(path) for path in everything if path.parts[0] not in ("run", "new", "input.yaml")
        )

    def check(self, kind: str, argv: list[str], capsys: pytest.CaptureFixture[str]) -> int:
        before = self.outside()
        with at_most(SECONDS):
            status = main(argv)
        said = capsys.readouterr().err
        assert status in (0, 1, 2), argv
        assert "Traceback" not in said
        if status:
            complaints = [line for line in said.splitlines() if line.startswith("convnas: ")]
            assert len(complaints) == 1, said
        assert self.outside() == before
        if RECORD:
            with open(RECORD, "a") as file:
                file.write(f"{kind} {status}\n")
        return status


def text_of(data: Any) -> str:
    try:
        return yaml.safe_dump(data)
    except yaml.YAMLError:
        return json.dumps(data)
