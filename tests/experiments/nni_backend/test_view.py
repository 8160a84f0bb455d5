"""A run made without NNI, in NNI's web UI: its trials as they were, read-only, in a browser too."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from convnas.experiments.cli import main
from convnas.tests.experiments import browser
from convnas.tests.experiments.conftest import SCRIPTED, printed_address, small, until
from convnas.tests.experiments.nni_backend import helpers, pages

pytestmark = [pytest.mark.xdist_group("nni"), pytest.mark.usefixtures("cold")]


@pytest.fixture(scope="module")
def made(_importable: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six trials made on this machine, of which the second failed."""
    from convnas.experiments import launch, plan

    folder = tmp_path_factory.mktemp("made")
    evaluator = {
        "name": SCRIPTED,
        "record": str(folder / "record.txt"),
        "faults": {"refuse": 2},
    }
    launch(*plan(small(evaluator=evaluator), folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def web(made: Path) -> Iterator[helpers.Web]:
    web = helpers.Web(helpers.free_port())
    process = helpers.convnas("dashboard", str(made), "--nni", "--port", str(web.port))
    try:
        web.log_in(printed_address(process))
        until(lambda: process.poll() is not None or web.status() == "VIEWED", 180)
        yield web
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert helpers.processes_of(made) == []
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        helpers.kill_all_of(made)


def test_the_trials_are_those_of_the_study(
    web: helpers.Web, made: Path, trials_of: Callable[[Path], list[FrozenTrial]]
) -> None:
    jobs = {job["sequenceId"]: job for job in web.get("trial-jobs")}
    trials = trials_of(made)
    assert set(jobs) == set(range(6))
    assert [t.number for t in trials if t.state == TrialState.FAIL] == [1]
    for trial in trials:
        job = jobs[trial.number]
        record = json.loads(job["hyperParameters"][0])
        assert record["parameter_id"] == trial.number
        wanted = helpers.spread(trial.user_attrs, record["parameters"])
        assert record["parameters"] == wanted
        if trial.state == TrialState.FAIL:
            assert job["status"] == "FAILED"
            said = web.read(f"/api/v1/nni/trial-file/{job['trialJobId']}/stderr")
            assert said == b"no score today\n"
            continue
        assert job["status"] == "SUCCEEDED"
        (final,) = job["finalMetricData"]
        value = json.loads(json.loads(final["data"]))
        assert value["default"] == trial.values[0]
        assert value["flops"] == trial.user_attrs["flops"]
        curve = web.get(f"metric-data/{job['trialJobId']}")
        points = [json.loads(json.loads(m["data"])) for m in curve if m["type"] == "PERIODICAL"]
        assert points == trial.user_attrs["curve"]


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("DELETE", "experiment"),
        ("DELETE", "trial-jobs/trial00000"),
        ("POST", "experiment"),
        ("POST", "trial-jobs"),
        ("PUT", "experiment?update_type=MAX_TRIAL_NUM"),
        ("PUT", "experiment?update_type=SEARCH_SPACE"),
    ],
)
def test_nothing_can_be_changed(web: helpers.Web, method: str, route: str) -> None:
    assert web.ask(method, f"/api/v1/nni/{route}", {}) == 403
    assert web.status() == "VIEWED"


@pytest.mark.skipif(browser.chromium() is None, reason="needs chromium")
def test_a_browser_shows_the_best_metric_and_a_trials_parameters(
    web: helpers.Web, made: Path, tmp_path: Path, trials_of: Callable[[Path], list[FrozenTrial]]
) -> None:
    complete = [t for t in trials_of(made) if t.state == TrialState.COMPLETE]
    best = max(complete, key=lambda t: t.values[0])
    assert abs(pages.best_metric(web, tmp_path) - best.values[0]) < 1e-5
    parameters = pages.parameters(web, f"trial{best.number:05d}", tmp_path)
    assert parameters == helpers.spread(best.user_attrs, parameters)
    assert len(parameters) == 9


@pytest.mark.skipif(browser.chromium() is None, reason="needs chromium")
def test_every_chart_is_drawn_and_the_guard_refuses_the_page_nothing_that_it_needs(
    web: helpers.Web, tmp_path: Path
) -> None:
    axes, refused = pages.charts(web, tmp_path)
    assert {"stage1.conv", "stage3.p", "octave", "default", "flops", "params"} <= set(axes)
    # A description for installing the page as a program, asked without the cookie; and TensorBoard.
    assert refused <= {"/manifest.json", "/api/v1/nni/tensorboard-tasks"}


def test_a_host_that_is_elsewhere_and_a_run_without_trials_are_refused(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboard", str(made), "--nni", "--host", "0.0.0.0"]) == 2
    assert "ssh -N -L" in capsys.readouterr().err
    assert main(["dashboard", str(made.parent), "--nni"]) == 2
