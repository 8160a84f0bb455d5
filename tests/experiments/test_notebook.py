"""A search and its run from Python."""

from __future__ import annotations

import io

import pytest

import convnas
from convnas.experiments.run.study import read_trials
from convnas.search_space import InputError


def test_a_launch_gives_the_run_and_tells_whoever_watches(scripted, tmp_path) -> None:
    heard: list[convnas.experiments.Progress] = []
    run = convnas.launch(scripted, tmp_path / "run", watch=heard.append, trials=3)
    assert heard[-1].complete == 3
    assert run.best.score == max(t.values[0] for t in read_trials(run.path / "study.db"))
    assert len(convnas.launch(out=run.path, watch=heard.append, trials=4).trials) == 4
    with pytest.raises(InputError, match=r"strategy\.name"):
        convnas.launch(scripted, tmp_path / "other", strategy="tpf")


def test_trials_are_a_table(finished) -> None:
    pytest.importorskip("pandas")
    table = convnas.load_run(finished).trials
    kept = read_trials(finished / "study.db")
    assert list(table.index) == [t.number for t in kept]
    assert list(table["score"]) == [t.values[0] for t in kept]
    assert list(table["stage1"]) == [t.params["stage1"] for t in kept]
    assert set(table["state"]) == {"complete"}
    assert list(table["flops"]) == [t.user_attrs["flops"] for t in kept]


@pytest.mark.parametrize("name", ["progress", "tradeoff", "parallel", "importance"])
def test_figures_are_those_of_the_report(finished, name) -> None:
    pytest.importorskip("matplotlib")
    figure = getattr(convnas.load_run(finished), f"plot_{name}")()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    assert file.getvalue().startswith(b"\x89PNG")
    assert figure.axes[0].get_title(loc="left")


def test_a_folder_without_a_run_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="RUN_DIR"):
        convnas.load_run(tmp_path)
