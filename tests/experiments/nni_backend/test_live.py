"""One live run under NNI in which everything goes wrong once: watched, attacked, and let end."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from optuna.trial import FrozenTrial, TrialState

from convnas.experiments.nni_backend.variables import SECRET, TOKEN, login
from convnas.tests.experiments import browser
from convnas.tests.experiments.conftest import printed_address, until
from convnas.tests.experiments.nni_backend import helpers, pages

pytestmark = [pytest.mark.xdist_group("nni"), pytest.mark.usefixtures("cold")]

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
    token: str = ""

    @property
    def jobs(self) -> dict[int, Any]:
        return {job["sequenceId"]: job for job in self.web.get("trial-jobs")}

    def trial_processes(self) -> dict[int, int]:
        """NNI's trial number -> pid."""
        found = {}
        for pid, line in helpers.processes_of(self.run):
            if line.rstrip().endswith("shim.py"):
                found[int(helpers.environment_of(pid)["NNI_TRIAL_SEQ_ID"])] = pid
        return found

    def environment_of(self, words: str) -> dict[str, str]:
        """Of the process of the run that has `words` in its command line."""
        pids = [pid for pid, line in helpers.processes_of(self.run) if words in line]
        return helpers.environment_of(max(pids))

    @property
    def program(self) -> dict[str, str]:
        """The header of a program of the run: any trial could send it."""
        return login(self.environment_of("--exp_params")[SECRET])

    @property
    def channel(self) -> str:
        """The tuner's address of NNI."""
        return self.environment_of("--exp_params")["NNI_TUNER_COMMAND_CHANNEL"]


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
        address = printed_address(process)
        one.web.log_in(address)
        one.token = address.partition("=")[2]
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
    assert live.web.read(f"/api/v1/nni/trial-file/{job}/stderr") == b"no score today\n"


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
        ("PUT", "/api/v1/nni/experiment?update_type=SEARCH_SPACE&x=/env/a/b", {}),
        ("PUT", "/env/local-env/JOB", {}),
        ("GET", "/api/v1/nni/trial-file/x/nnimanager.log?/trial-file/a/stderr", {}),
        ("GET", "/logs/nnimanager.log", {}),
        ("GET", "/logs/dispatcher.log", {}),
        ("DELETE", "/api/v1/nni/experiment", {}),
        ("GET", "/api/v1/nni/trial-jobs", {"Cookie": "a=b"}),
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
    for name, value in {**live.web.headers, **headers}.items():
        connection.putheader(name, value)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    assert connection.getresponse().status in (400, 403)
    connection.close()
    assert live.web.get("experiment")["params"]["searchSpace"].keys() >= {"stage1.conv"}


def test_no_secret_is_in_an_argument_or_in_a_file_of_the_run(live: Live) -> None:
    cookie = live.web.headers["Cookie"].partition("=")[2]
    secrets = [live.environment_of("--exp_params")[SECRET], cookie, live.token]
    secrets.append(str(urlsplit(live.channel).password))
    assert TOKEN not in live.environment_of("--exp_params")
    lines = [line.encode() for _, line in helpers.processes_of(live.run)]
    assert len(lines) > 5
    for content in [*lines, *(p.read_bytes() for p in live.run.rglob("*") if p.is_file())]:
        for secret in secrets:
            assert secret.encode() not in content


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/tuner", []),
        ("/x?/tuner", []),
        ("/tuner", ["Origin: http://example.org"]),
        ("/tuner", ["Origin: http://127.0.0.1:{port}"]),
        ("/tuner", ["Sec-Fetch-Site: cross-site"]),
        ("/api/v1/nni/experiment", []),
    ],
)
def test_attacks_by_websocket_are_cut_off(live: Live, path: str, headers: list[str]) -> None:
    known = [header.format(port=live.web.port) for header in headers]
    cookie = [f"Cookie: {live.web.headers['Cookie']}"]
    channel = urlsplit(live.channel)
    assert channel.username == "tuner"
    words = base64.b64encode(f"tuner:{channel.password}".encode()).decode()
    program = f"Authorization: {live.program['Authorization']}"
    for more in ([], cookie, [program], [f"Authorization: Basic {words}"]):
        assert not helpers.websocket(live.web.port, path, [*known, *more])
    assert live.web.status() == "RUNNING"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_of_this_machine_gets_no_answer(live: Live) -> None:
    ask = (
        f"exec 3<>/dev/tcp/127.0.0.1/{live.web.port}; "
        "printf 'GET /oview HTTP/1.0\\r\\nHost: localhost\\r\\nCookie: %s\\r\\n\\r\\n' "
        f"{live.web.headers['Cookie']} >&3; head -c 12 <&3"
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


TOUCH = {"__symbol__": "path:os.system", "__args__": ["touch {pwned}"]}
OTHERS = [
    {"__nni_type__": "path:os.getcwd"},
    {"__instance_type__": "path:nni.tuner.Tuner"},
    {"__nni_obj__": "gASVCgAAAAAAAACMBnN5c3RlbZSULg=="},
    {"__enum__": {"__enum_instance_type__": ["antigravity", "x"], "name": "y"}},
    {"__ndarray__": [1], "dtype": "float64", "shape": [1]},
]


def test_a_metric_is_data_even_from_a_trial(live: Live, tmp_path: Path) -> None:
    """NNI's tuner decodes each metric twice, and its decoder runs what is named in it."""
    pwned = tmp_path / "pwned"
    text = json.dumps(TOUCH).replace("{pwned}", str(pwned))
    number = max(live.trial_processes())
    job = live.jobs[number]["trialJobId"]
    record = {"parameter_id": number, "trial_job_id": job, "type": "PERIODICAL", "sequence": 9}
    path = f"/env/local-env/{job}"
    for value in (text, *map(json.dumps, OTHERS)):
        metrics = [{**record, "value": value}, {**record, "value": "0", "x": json.loads(value)}]
        for metric in map(json.dumps, metrics):
            command = {"type": "metric", "metric": metric}
            assert live.web.ask("PUT", path, command) == 403
            assert live.web.ask("PUT", path, command, live.program) == 200

    def arrived() -> bool:
        of_job = [m for m in live.web.get("metric-data") if m["trialJobId"] == job]
        return len(of_job) == 1 + 2 * (1 + len(OTHERS))

    until(arrived)
    log = live.run / "nni"
    (dispatcher,) = log.rglob("dispatcher.log")
    assert "Traceback" not in dispatcher.read_text()
    assert not pwned.exists()
    assert live.web.status() == "RUNNING"


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
