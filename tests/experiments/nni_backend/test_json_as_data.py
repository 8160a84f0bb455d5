"""NNI's own readers of JSON, by every name that its modules have for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import json_tricks
import nni
import pytest
from nni.common import serializer
from nni.runtime import msg_dispatcher, msg_dispatcher_base
from nni.runtime.tuner_command_channel import channel

from convnas.experiments.nni_backend.tuner.json_as_data import read_json_as_data

READERS = [nni.load, serializer.load, msg_dispatcher.load, msg_dispatcher_base.load, channel.load]


@pytest.fixture
def as_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one test: it is for the whole process."""
    monkeypatch.setattr(json_tricks, "loads", json_tricks.loads)
    monkeypatch.setattr(json_tricks, "load", json_tricks.load)
    read_json_as_data()


def code(pwned: Path) -> list[Any]:
    """What nni.dump writes for code and objects, each of which would be run, imported or made."""
    touch = {"__symbol__": "path:os.system", "__args__": [f"touch {pwned}"]}
    return [
        touch,
        {"default": touch, "flops": 1},
        [[touch]],
        json.loads(nni.dump(Path.cwd)),
        json.loads(nni.dump(nni.trace(dict)(a=1))),
        {"__nni_type__": "path:os.getcwd"},
        {"__instance_type__": "path:nni.tuner.Tuner"},
        {"__nni_obj__": "gASVCgAAAAAAAACMBnN5c3RlbZSULg=="},
        {"__enum__": {"__enum_instance_type__": ["this", "x"], "name": "y"}},
        {"__pathlib__": "/etc/passwd"},
        {"__set__": [1, 2]},
    ]


@pytest.mark.usefixtures("as_data")
def test_whatever_is_named_in_it_stays_a_text(tmp_path: Path) -> None:
    pwned = tmp_path / "pwned"
    for content in code(pwned):
        text = json.dumps(content)
        for read in (*READERS, json_tricks.loads):
            assert read(text) == content
        (tmp_path / "file").write_text(text)
        with (tmp_path / "file").open() as file:
            assert nni.load(fp=file) == content
        assert json_tricks.load(str(tmp_path / "file")) == content
    assert not pwned.exists()


@pytest.mark.usefixtures("as_data")
def test_what_a_search_says_is_read_as_before() -> None:
    content = {"parameter_id": 3, "parameters": {"stage1.conv": "octave", "x": [0.5, None, True]}}
    assert nni.load(nni.dump(content)) == content
    assert nni.load("NaN") != nni.load("NaN")
