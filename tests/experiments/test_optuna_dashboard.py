"""Optuna's dashboard over a run: what a real browser shows, and that it can change nothing."""

from __future__ import annotations

import http.client
import json
import queue
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
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
from convnas.tests.experiments.conftest import printed_address

pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard")

Start = Callable[..., "subprocess.Popen[str]"]
Trials = Callable[[Path], list[FrozenTrial]]


@dataclass
class Site:
    """A dashboard at `base`, with the cookie of a browser that is logged in."""

    base: str
    headers: dict[str, str]

    def ask(self, target: str, method: str = "GET", **headers: str) -> int:
        """The status code. `target` is sent as it is."""
        link = http.client.HTTPConnection(self.base.removeprefix("http://"), timeout=60)
        with closing(link):
            link.putrequest(method, target, skip_host="Host" in headers)
            for name, value in {**self.headers, **headers}.items():
                link.putheader(name.replace("_", "-"), value)
            link.endheaders()
            return link.getresponse().status

    def get(self, path: str) -> Any:
        request = urllib.request.Request(self.base + path, headers=self.headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


def logged_in(address: str) -> Site:
    with urllib.request.urlopen(address, timeout=60) as answer:
        cookie = answer.headers["Set-Cookie"]
    base = address.partition("/?token=")[0]
    value, *attributes = cookie.split("; ")
    assert value.startswith(f"convnas-{base.rpartition(':')[2]}=")
    assert attributes == ["HttpOnly", "SameSite=Strict", "Path=/"]
    return Site(base, {"Cookie": value})


@contextmanager
def dashboard(run: Path) -> Iterator[str]:
    """The address that is printed for a dashboard of `run`."""
    addresses: queue.SimpleQueue[str] = queue.SimpleQueue()
    end = threading.Event()
    serving = threading.Thread(
        target=show,
        args=(RunDirectory(run), "127.0.0.1", free_port(), addresses.put, end.is_set),
    )
    serving.start()
    try:
        yield addresses.get(timeout=120)
    finally:
        end.set()
        serving.join()


@pytest.fixture(scope="module")
def web(finished: Path) -> Iterator[Site]:
    with dashboard(finished) as address:
        yield logged_in(address)


@pytest.mark.skipif(browser.chromium() is None, reason="needs chromium")
def test_a_browser_shows_parameters_feasibility_and_the_budget(
    web: Site, finished: Path, tmp_path: Path, trials_of: Trials
) -> None:
    trial = trials_of(finished)[3]
    url = f"{web.base}/dashboard/studies/1/trials?numbers=3"
    with browser.Page(url, tmp_path / "trial", web.headers) as page:
        text = page.wait_for(
            "/feasible/.test(document.body.innerText) && document.body.innerText"
        ).splitlines()
    for name, label in trial.params.items():
        assert f"{name} {label}" in text
    assert "feasible True" in text
    assert f"flops {trial.user_attrs['flops']}" in text
    with browser.Page(f"{web.base}/dashboard/studies/1", tmp_path / "study", web.headers) as page:
        text = page.wait_for("/budget/.test(document.body.innerText) && document.body.innerText")
    assert '{"flops": 1000000}' in text
    assert "accuracy" in text


@pytest.mark.skipif(browser.chromium() is None, reason="needs chromium")
def test_a_browser_comes_in_by_the_address_once(finished: Path, tmp_path: Path) -> None:
    status = "fetch('/api/studies').then(answer => answer.status)"
    with dashboard(finished) as address:
        with browser.Page(address, tmp_path / "mine") as page:
            page.wait_for("location.pathname == '/dashboard'")
            page.wait_for("/accuracy|Studies|small/.test(document.body.innerText)")
            assert page.evaluate(status) == 200
            assert page.evaluate("document.cookie") == ""
        with browser.Page(address, tmp_path / "another") as page:
            assert "this address has been used" in page.wait_for("document.body.innerText")
            assert page.evaluate(status) == 403


PAGES = [
    *("/", "/dashboard", "/dashboard/studies/1", "/dashboard/studies/1/trials?numbers=3"),
    *("/static/bundle.js", "/favicon.ico", "/api/meta", "/api/studies", "/api/studies/1"),
    *("/api/studies/1?after=2", "/csv/1", "/csv/1?trial_ids=1,2"),
    "/api/studies/1/param_importances",
]


def test_all_its_pages_are_for_who_has_the_cookie(web: Site) -> None:
    stranger = Site(web.base, {})
    value = web.headers["Cookie"]
    for path in PAGES:
        assert web.ask(path) not in (403, 404)
        assert web.ask(path, Cookie=f"a=b; {value}; c=d") not in (403, 404)
        for cookie in ("", value[:-1], value.upper(), value.replace("=", "x="), f"x{value}"):
            assert stranger.ask(path, Cookie=cookie) == 403
    for token in ("", "x", value):
        assert stranger.ask(f"/?token={token}") == 403


@pytest.mark.parametrize(
    "target",
    [
        *("/artifacts/1/ab", "/api/llm", "/api/studies/1/x", "/api/studies/x", "/DASHBOARD"),
        *("//api/studies", "/api//studies", "/api/studies/", "/api/studies/../studies"),
        *("/api/%73tudies", "/api%2Fstudies", "/static/../index.html", "/static/..%2f_app.py"),
        *("/static/%2e%2e/_app.py", "/api/studies?x=1", "/api/studies#x", "/api/studies;x"),
        *("http://127.0.0.1/api/studies", "/api/studies%00", "/dashboard/..", "/api/studies/1?x"),
    ],
)
def test_other_spellings_are_no_pages(web: Site, target: str) -> None:
    assert web.ask(target) == 403


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
    web: Site, finished: Path, method: str, path: str
) -> None:
    before = (finished / "study.db").read_bytes()
    assert web.ask(path, method) == 403
    assert (finished / "study.db").read_bytes() == before


def test_a_page_of_another_host_gets_nothing(web: Site) -> None:
    port = web.base.rpartition(":")[2]
    for host in ("example.org", f"example.org:{port}", f"127.0.0.1:{port}.example.org", ""):
        assert web.ask("/api/studies", Host=host) == 403
    assert web.ask("/api/studies", Host="localhost:9090") == 200  # through a tunnel
    assert web.ask("/api/studies", Origin="http://example.org") == 403
    assert web.ask("/api/studies", Sec_Fetch_Site="same-site") == 403
    assert web.ask("/api/studies", Sec_Fetch_Site="same-origin") == 200
    framed = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
    assert web.ask("/dashboard", Sec_Fetch_Site="cross-site", **framed) == 403


def test_it_is_live_the_run_goes_on_meanwhile_and_ctrl_c_ends_it(
    run: Path, start: Start, until: Callable[..., None]
) -> None:
    port = free_port()
    process = start("dashboard", str(run), "--port", str(port))
    site = logged_in(printed_address(process))
    assert site.base == f"http://127.0.0.1:{port}"
    assert len(site.get("/api/studies/1")["trials"]) == 6
    assert main(["launch", "-o", str(run), "--trials", "8"]) == 0
    until(lambda: len(site.get("/api/studies/1")["trials"]) == 8)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_database_itself_refuses_to_be_written(run: Path) -> None:
    storage = records.open_to_read(run / "study.db")
    study = records.open_study(storage)
    with pytest.raises(optuna.exceptions.StorageInternalError) as caught:
        study.set_user_attr("note", "mine")
    assert "readonly database" in str(caught.value.__cause__)
    storage.engine.dispose()


def test_another_host_a_port_in_use_and_no_run_are_wrong_input(
    web: Site, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv, said in (
        ([str(run), "--host", "0.0.0.0"], "ssh -N -L"),
        ([str(run), "--port", web.base.rpartition(":")[2]], "choose a free one"),
        ([str(run.parent)], "RUN_DIR"),
    ):
        assert main(["dashboard", *argv]) == 2
        assert said in capsys.readouterr().err
