"""Optuna's dashboard over a run: what it shows in a real browser, and that it can change nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from convnas.experiments.cli import main
from convnas.experiments.optuna_dashboard import show
from convnas.experiments.ports import free_port
from convnas.experiments.run import study as records
from convnas.experiments.run.directory import RunDirectory
from convnas.tests.experiments import browser

pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard")

Start = Callable[..., "subprocess.Popen[str]"]
Trials = Callable[[Path], list[FrozenTrial]]


@pytest.fixture(scope="module")
def web(finished: Path) -> Iterator[str]:
    """The address of the dashboard of the run `finished`."""
    port, up, end = free_port(), threading.Event(), threading.Event()
    serving = threading.Thread(
        target=show,
        args=(RunDirectory(finished), "127.0.0.1", port, lambda url: up.set(), end.is_set),
    )
    serving.start()
    try:
        assert up.wait(120)
        yield f"http://127.0.0.1:{port}"
    finally:
        end.set()
        serving.join()


def ask(base: str, path: str, method: str = "GET", **headers: str) -> int | None:
    """The status code; None where nobody answers."""
    request = urllib.request.Request(base + path, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return None


def get(base: str, path: str) -> Any:
    with urllib.request.urlopen(base + path, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.mark.skipif(browser.chromium() is None, reason="needs chromium")
def test_a_browser_shows_parameters_feasibility_and_the_budget(
    web: str, finished: Path, tmp_path: Path, trials_of: Trials
) -> None:
    trial = trials_of(finished)[3]
    with browser.Page(f"{web}/dashboard/studies/1/trials?numbers=3", tmp_path / "trial") as page:
        text = page.wait_for(
            "/feasible/.test(document.body.innerText) && document.body.innerText"
        ).splitlines()
    for name, label in trial.params.items():
        assert f"{name} {label}" in text
    assert "feasible True" in text
    assert f"flops {trial.user_attrs['flops']}" in text
    with browser.Page(f"{web}/dashboard/studies/1", tmp_path / "study") as page:
        text = page.wait_for("/budget/.test(document.body.innerText) && document.body.innerText")
    assert '{"flops": 1000000}' in text
    assert "accuracy" in text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/studies/1"),
        ("POST", "/api/studies"),
        ("POST", "/api/studies/1/rename"),
        ("POST", "/api/trials/1/tell"),
        ("POST", "/api/trials/1/user-attrs"),
        ("PUT", "/api/studies/1/note"),
        ("PATCH", "/api/studies/1"),
    ],
)
def test_whatever_would_change_the_run_is_refused(
    web: str, finished: Path, method: str, path: str
) -> None:
    before = (finished / "study.db").read_bytes()
    assert ask(web, path, method) == 403
    assert (finished / "study.db").read_bytes() == before


def test_a_page_of_another_host_gets_nothing(web: str) -> None:
    assert ask(web, "/api/studies", Host="example.org") == 403
    assert ask(web, "/api/studies", Host="example.org:" + web.rpartition(":")[2]) == 403


def test_it_is_live_the_run_goes_on_meanwhile_and_ctrl_c_ends_it(
    run: Path, start: Start, until: Callable[..., None]
) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    process = start("dashboard", str(run), "--port", str(port))
    until(lambda: ask(base, "/api/studies") == 200)
    assert len(get(base, "/api/studies/1")["trials"]) == 6
    assert main(["launch", "-o", str(run), "--trials", "8"]) == 0
    until(lambda: len(get(base, "/api/studies/1")["trials"]) == 8)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"dashboard: {base}" in err


def test_the_database_itself_refuses_to_be_written(run: Path) -> None:
    storage = records.open_to_read(run / "study.db")
    study = records.open_study(storage)
    with pytest.raises(optuna.exceptions.StorageInternalError) as caught:
        study.set_user_attr("note", "mine")
    assert "readonly database" in str(caught.value.__cause__)
    storage.engine.dispose()


def test_another_host_a_port_in_use_and_no_run_are_wrong_input(
    web: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv, said in (
        ([str(run), "--host", "0.0.0.0"], "ssh -N -L"),
        ([str(run), "--port", web.rpartition(":")[2]], "choose a free one"),
        ([str(run.parent)], "RUN_DIR"),
    ):
        assert main(["dashboard", *argv]) == 2
        assert said in capsys.readouterr().err
