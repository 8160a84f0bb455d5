"""One live run under NNI in which everything goes wrong once: watched, attacked, and let end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from convnas.tests.experiments import browser
from convnas.tests.experiments.conftest import until
from convnas.tests.experiments.nni_backend import helpers, pages

pytestmark = pytest.mark.xdist_group("nni")

TRIALS = 12
SKEW = """
case "$NNI_TRIAL_SEQ_ID" in
    0) sleep 1.5 ;;
    2) sleep 0.7 ;;
    3) exit 7 ;;
esac
"""
"""Read by the shell of every trial: 0 and 2 start after 1, and 3 dies before it asks."""


@dataclass
class Live:
    process: subprocess.Popen[str]
    run: Path
    web: helpers.Web
    go: Path

    @property
    def jobs(self) -> dict[int, Any]:
        return {job["sequenceId"]: job for job in self.web.get("trial-jobs")}

    def trial_processes(self) -> dict[int, int]:
        """NNI's trial number -> pid."""
        found = {}
        for pid, line in helpers.processes_of(self.run):
            if line.rstrip().endswith("shim.py"):
                words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                settings = dict(word.partition(b"=")[::2] for word in words)
                found[int(settings[b"NNI_TRIAL_SEQ_ID"])] = pid
        return found


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Four trials in training, waiting to go on; before them six that are over."""
    folder = tmp_path_factory.mktemp("live")
    (folder / "skew.sh").write_text(SKEW)
    config = helpers.scripted_config(
        folder, {"faults": {"refuse": 4, "kill": 5}, "wait_from": 6}, trials=TRIALS, workers=4
    )
    run, port = folder / "run", helpers.free_port()
    process = helpers.launch(
        *(str(config), "-o", str(run), "--backend", "nni", "--port", str(port)),
        BASH_ENV=str(folder / "skew.sh"),
    )
    one = Live(process, run, helpers.Web(port), folder / "record.txt.go")
    try:
        until(lambda: process.poll() is not None or one.web.status() == "RUNNING", 180)
        until(lambda: process.poll() is not None or waiting(one) == 4, 180)
        yield one
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        helpers.kill_all_of(run)


def waiting(live: Live) -> int:
    """Trials that have reported once and wait to go on."""
    statuses = [job["status"] for job in live.jobs.values()]
    reported = {metric["trialJobId"] for metric in live.web.get("metric-data")}
    running = [j for j in live.jobs.values() if j["status"] == "RUNNING"]
    return sum(j["trialJobId"] in reported for j in running) if len(statuses) >= 10 else 0


def test_every_trial_trains_what_the_dashboard_says_although_their_starts_are_skewed(
    live: Live, trials_of: Callable[[Path], list[FrozenTrial]]
) -> None:
    trials = trials_of(live.run)
    jobs = live.jobs
    assert set(jobs) == set(range(10))
    assert [trial.number for trial in trials] == list(range(10))
    for number, job in jobs.items():
        (text,) = job["hyperParameters"]
        record = json.loads(text)
        assert record["parameter_id"] == number
        assert record["parameters"] == helpers.spread(
            trials[number].user_attrs, record["parameters"]
        )
    finals = {
        m["trialJobId"]: json.loads(json.loads(m["data"]))
        for m in live.web.get("metric-data-latest")
        if m["type"] == "FINAL"
    }
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == 3
    for trial in complete:
        assert trial.values[0] == int(trial.user_attrs["key"], 16) / 16**16
        told = finals[jobs[trial.number]["trialJobId"]]
        assert told["default"] == trial.values[0]
        assert told["flops"] == trial.user_attrs["flops"]
        assert told["params"] == trial.user_attrs["params"]


def test_the_axes_of_the_hyper_parameter_page_are_the_parameters(live: Live) -> None:
    space = live.web.get("experiment")["params"]["searchSpace"]
    for job in live.jobs.values():
        parameters = json.loads(job["hyperParameters"][0])["parameters"]
        assert parameters.keys() == space.keys()
        assert all(value in space[key]["_value"] for key, value in parameters.items())
    assert space["stage1.alpha"] == {"_type": "choice", "_value": ["-", 0.25, 0.5]}


def test_failures_are_failed_with_their_reasons(
    live: Live, trials_of: Callable[[Path], list[FrozenTrial]]
) -> None:
    trials, jobs = trials_of(live.run), live.jobs
    failed = [t.number for t in trials if t.state == TrialState.FAIL]
    assert 3 in failed
    assert {jobs[number]["status"] for number in failed} == {"FAILED"}
    assert {trials[number].user_attrs["reason"] for number in failed} == {
        "its NNI trial ended before it asked what to train",
        "no score today",
        "worker was killed by signal 9 (out of memory?)",
    }
    (refused,) = [n for n in failed if trials[n].user_attrs["reason"] == "no score today"]
    job = jobs[refused]["trialJobId"]
    url = f"{live.web.base}/api/v1/nni/trial-file/{job}/stderr"
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.read() == b"no score today\n"


def test_it_listens_on_this_machine_only(live: Live) -> None:
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    for address in addresses - {"127.0.0.1", "::1"}:
        with (
            pytest.raises(OSError, match=r"refused|timed out"),
            socket.create_connection((address, live.web.port), 5),
        ):
            pass
    with socket.create_connection(("127.0.0.1", live.web.port), 5):
        pass


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/oview", {"Host": "example.org"}),
        ("GET", "/api/v1/nni/trial-jobs", {"Host": "127.0.0.1.example.org"}),
        ("GET", "/api/v1/nni/trial-jobs", {"Host": "10.0.0.1:8080"}),
        ("GET", "/api/v1/nni/trial-jobs", {"Host": ""}),
        ("GET", "/api/v1/nni/trial-jobs", {"Origin": "http://example.org"}),
        ("GET", "/api/v1/nni/trial-jobs", {"Origin": "null"}),
        ("GET", "/api/v1/nni/trial-jobs", {"Origin": "http://127.0.0.1:1"}),
        ("GET", "/api/v1/nni/trial-jobs", {"Sec-Fetch-Site": "cross-site"}),
        ("PUT", "/api/v1/nni/experiment?update_type=SEARCH_SPACE", {"Origin": "http://e.org"}),
        ("PUT", "/api/v1/nni/experiment?update_type=SEARCH_SPACE", {}),
        ("PUT", "/API/v1/nni/Experiment?update_type=SEARCH_SPACE", {}),
        ("PUT", "/api/v1/nni/experiment/?update_type=SEARCH_SPACE", {}),
        ("PUT", "/api/v1/nni/experiment?update_type=MAX_TRIAL_NUM&update_type=SEARCH_SPACE", {}),
        ("POST", "/api/v1/nni/experiment", {}),
        ("POST", "/api/v1/nni/experiment/import-data", {}),
        ("POST", "/api/v1/nni/trial-jobs", {}),
        ("PUT", "/api/v1/nni/experiment/cluster-metadata", {}),
        ("PUT", "/api/v1/nni/experiment/cluster%2Dmetadata", {}),
        ("POST", "/api/v1/nni/tensorboard", {}),
        ("GET", "/netron/index.html", {}),
        ("GET", "/api/v1/nni/trial-file/x/..%2f..%2f..%2f..%2fetc%2fpasswd", {}),
        ("GET", "/api/v1/nni/trial-file/x/..%2F..%2Fdb%2Fnni.sqlite", {}),
        ("GET", "/api/v1/nni/trial-file/..%2f..%2flog/stderr", {}),
        ("GET", "/api/v1/nni/trial-file/x/model.onnx", {}),
        ("GET", "/api/v1/nni/TRIAL-FILE/x/nnimanager.log", {}),
        ("GET", "/logs/..%2f..%2f..%2fmine.yaml", {}),
        ("GET", "http://example.org/netron/", {}),
        ("OPTIONS", "/api/v1/nni/experiment", {"Origin": "http://example.org"}),
    ],
)
def test_attacks_by_http_are_refused(
    live: Live, method: str, path: str, headers: dict[str, str]
) -> None:
    space = {"x": {"__symbol__": "path:os.system", "args": ["touch pwned"]}}
    body = b'{"params": {"searchSpace": %s}}' % repr(space).replace("'", '"').encode()
    connection = http.client.HTTPConnection("127.0.0.1", live.web.port, timeout=60)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in {"Content-Type": "application/json", **headers}.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    assert connection.getresponse().status in (400, 403)
    connection.close()
    assert live.web.get("experiment")["params"]["searchSpace"].keys() >= {"stage1.conv"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/tuner", ["Origin: http://example.org"]),
        ("/tuner", ["Origin: http://127.0.0.1:{port}"]),
        ("/tuner", ["Sec-Fetch-Site: cross-site"]),
        ("/api/v1/nni/experiment", []),
    ],
)
def test_attacks_by_websocket_are_cut_off(live: Live, path: str, headers: list[str]) -> None:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{live.web.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        *(header.format(port=live.web.port) for header in headers),
    ]
    with socket.create_connection(("127.0.0.1", live.web.port), 30) as link:
        link.sendall("\r\n".join([*lines, "", ""]).encode())
        try:
            answer = link.recv(100)
        except ConnectionError:
            answer = b""
    assert answer == b""
    assert live.web.status() == "RUNNING"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_of_this_machine_gets_no_answer(live: Live) -> None:
    ask = (
        f"exec 3<>/dev/tcp/127.0.0.1/{live.web.port}; "
        "printf 'GET /oview HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; head -c 12 <&3"
    )
    for user, answer in ((None, "HTTP/1.1 200"), (65534, "")):
        done = subprocess.run(
            ["/bin/bash", "-c", ask], user=user, capture_output=True, text=True, check=False
        )
        assert done.stdout == answer, done.stderr


@pytest.mark.skipif(browser.chromium() is None, reason="needs chromium")
def test_a_browser_shows_the_best_metric_and_the_parameters_of_a_trial_in_training(
    live: Live, tmp_path: Path, trials_of: Callable[[Path], list[FrozenTrial]]
) -> None:
    trials = trials_of(live.run)
    best = max(t.values[0] for t in trials if t.state == TrialState.COMPLETE)
    assert abs(pages.best_metric(live.web, tmp_path) - best) < 1e-5
    number = max(live.trial_processes())
    assert trials[number].state == TrialState.RUNNING
    job = live.jobs[number]["trialJobId"]
    parameters = pages.parameters(live.web, job, tmp_path)
    assert parameters == helpers.spread(trials[number].user_attrs, parameters)
    assert len(parameters) == 9


def test_killed_and_canceled_trials_fail_and_the_others_go_on(
    live: Live, trials_of: Callable[[Path], list[FrozenTrial]]
) -> None:
    killed, canceled, *_ = sorted(live.trial_processes())
    os.kill(live.trial_processes()[killed], signal.SIGKILL)
    job = live.jobs[canceled]["trialJobId"]
    assert live.web.ask("DELETE", f"/api/v1/nni/trial-jobs/{job}") == 200
    until(lambda: trials_of(live.run)[canceled].state == TrialState.FAIL)
    until(lambda: trials_of(live.run)[killed].state == TrialState.FAIL)
    trials = trials_of(live.run)
    assert trials[killed].user_attrs["reason"] == "its NNI trial process was killed"
    assert trials[canceled].user_attrs["reason"] == "canceled in NNI"


def test_it_ends_by_itself_with_exactly_as_many_trials_as_asked_for(
    live: Live, trials_of: Callable[[Path], list[FrozenTrial]]
) -> None:
    live.go.touch()
    _, err = live.process.communicate(timeout=180)
    assert live.process.returncode == 0, err
    assert f"dashboard: {live.web.base}" in err
    trials = trials_of(live.run)
    states = [trial.state for trial in trials]
    assert len(states) == TRIALS
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.FAIL) == 5
    assert helpers.processes_of(live.run) == []
    shown = helpers.trials_in_database(live.run)
    assert set(shown) == set(range(TRIALS))
    for number, trial in shown.items():
        attrs = trials[number].user_attrs
        assert trial["id"] == number
        assert trial["parameters"] == helpers.spread(attrs, trial["parameters"])
        assert all(parameter == number for parameter, _ in trial["metrics"].values())
        if trials[number].state == TrialState.COMPLETE:
            assert trial["metrics"]["FINAL", 0][1]["default"] == trials[number].values[0]
            curve = [trial["metrics"]["PERIODICAL", i][1] for i in range(2)]
            assert curve == attrs["curve"]
