"""Who gets past the guard: two thousand requests to NNI's own web server, and a list of who may.

The server is NNI's manager without an experiment: all its routes are there, and nothing to lose.
"""

from __future__ import annotations

import base64
import http.client
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import nni_node
import pytest

from convnas.experiments.nni_backend.guard import guard_path
from convnas.tests.experiments import browser
from convnas.tests.experiments.conftest import until
from convnas.tests.experiments.nni_backend import helpers

pytestmark = [pytest.mark.xdist_group("nni-3"), pytest.mark.usefixtures("cold")]

NODE = Path(nni_node.__path__[0])
SECRET, TOKEN = "the-runs-own-secret", "for-one-browser"
REQUESTS = 2000

# What may pass, written out: the interface's documented routes, without those that run code, read
# files or reach other programs.
API = "/api/v1/nni"
READ = {
    f"GET {path}"
    for path in (
        *("/", "/oview", "/detail", "/experiment", "/index.html", "/logo.png", "/icons/detail.png"),
        *(f"{API}/check-status", f"{API}/version", f"{API}/experiments-info"),
        *(f"{API}/experiment", f"{API}/experiment-metadata", f"{API}/experiment/imported-data"),
        *(f"{API}/export-data", f"{API}/job-statistics", f"{API}/trial-jobs"),
        *(f"{API}/trial-jobs/aB12x", f"{API}/metric-data", f"{API}/metric-data/aB12x"),
        *(f"{API}/metric-data?type=PERIODICAL", f"{API}/metric-data/aB12x?type=FINAL"),
        *(f"{API}/metric-data-latest", f"{API}/metric-data-range/0/20"),
        *(f"{API}/trial-file/aB12x/trial.log", f"{API}/trial-file/aB12x/stderr"),
        f"{API}/trial-file/aB12x/stdout",
    )
}
CHANGE = {
    f"DELETE {API}/trial-jobs/aB12x",
    f"PUT {API}/experiment?update_type=TRIAL_CONCURRENCY",
    f"PUT {API}/experiment?update_type=MAX_EXEC_DURATION",
    f"PUT {API}/experiment?update_type=MAX_TRIAL_NUM",
}
PROGRAMS = {"PUT /env/local-env/aB12x", "GET /env/local-env/aB12x"}
LAST = {f"POST {API}/experiment", f"DELETE {API}/experiment"}
"""For programs too, and sent at the end: they start the experiment, and end the server."""

NEVER = (
    *(f"PUT {API}/experiment?update_type=SEARCH_SPACE", f"PUT {API}/experiment"),
    *(f"PUT {API}/experiment/cluster-metadata", f"POST {API}/experiment/import-data"),
    *(f"POST {API}/trial-jobs", f"POST {API}/tensorboard", f"GET {API}/tensorboard-tasks"),
    *(f"DELETE {API}/tensorboard-tasks", f"GET {API}/tensorboard/aB12x"),
    *("GET /netron/index.html", "GET /logs/nnimanager.log", "GET /logs/dispatcher.log"),
    *(f"GET {API}/trial-file/aB12x/model.onnx", f"GET {API}/trial-file/x/nnimanager.log"),
    *(f"GET {API}/trial-file/aB12x/trialxlog", f"GET {API}/metric-data/aB12x/b"),
    *(f"GET {API}/metric-data-range/0/x", "POST /env/local-env/aB12x", "GET /static/js/main.js"),
    *("GET /tuner", "GET /tuner/.websocket", "GET /platform/remote/0", "GET /env/local-env/"),
    *("GET /etc/passwd", "GET /static/js", "POST /", "OPTIONS /", "HEAD /oview", "TRACE /"),
    *(f"PATCH {API}/experiment", f"GET {API}", f"GET {API}/", "GET /x", "PUT /env"),
)


@dataclass(frozen=True)
class Asked:
    """`who`: nobody, program or browser. `right`: what their headers say does not forbid it."""

    line: str
    who: str = "nobody"
    right: bool = True
    headers: tuple[str, ...] = ()

    @property
    def may_pass(self) -> bool:
        """The oracle."""
        allowed = {
            "nobody": set(),
            "browser": READ | CHANGE,
            "program": READ | CHANGE | PROGRAMS | LAST,
        }[self.who]
        return self.right and self.line in allowed


def twisted(line: str, draw: random.Random) -> str:
    """Another spelling of a request's address, under which it must not be answered."""
    method, _, target = line.partition(" ")
    path, mark, query = target.partition("?")
    at = draw.randrange(1, len(path) + 1)
    letter = path[at - 1]
    query_tricks = ("x=/env/a/b", "/tuner", "/trial-file/a/stderr", "%00", "", "update_type=")
    trick = draw.choice(query_tricks)
    spelt = draw.choice(
        [
            path.upper() + mark + query,
            path.title() + mark + query,
            f"/{target}",
            f"/.{target}",
            f"/x/..{target}",
            f"/%2e%2e{target}",
            f"/static/..%2f{target[1:]}",
            f"{path}/{mark}{query}",
            f"{path}/..{mark}{query}",
            f"{path}%00{mark}{query}",
            f"{path}%0a{mark}{query}",
            f"{path};x=1{mark}{query}",
            f"{path}#{mark}{query}",
            f"{path}\\{mark}{query}",
            f"{path[: at - 1]}%{ord(letter):02x}{path[at:]}{mark}{query}",
            f"{path[: at - 1]}%25{ord(letter):02x}{path[at:]}{mark}{query}",
            "/" + path[1:].replace("/", "%2F") + mark + query,
            "/" + path[1:].replace("/", "%5c") + mark + query,
            f"{target}{'&' if mark else '?'}{trick}",
            f"{path}?{trick}&{query}",
            f"{path}?{query.upper()}&update_type=SEARCH_SPACE",
            f"http://127.0.0.1{target}",
            f"//127.0.0.1{target}",
            f"{target}?token={TOKEN}x",
        ]
    )
    return f"{method} {spelt}"


def password(words: str) -> str:
    return f"Authorization: Basic {base64.b64encode(words.encode()).decode()}"


@dataclass(frozen=True)
class Answer:
    """`status` is 0 where the connection was cut, None where nothing came in time: NNI leaves some
    requests unanswered that the guard has let pass, and the guard none."""

    status: int | None
    cookie: str = ""
    text: str = ""

    @property
    def refused(self) -> bool:
        """By the guard, or by node's own reading of what is no HTTP; NNI answers neither so."""
        return self.status in (0, 400, 403)


class Server:
    """NNI's manager, guarded, as `convnas launch` starts it."""

    def __init__(self, folder: Path, *argv: str) -> None:
        self.folder, self.port = folder, helpers.free_port()
        (folder / "nni-experiments").mkdir(parents=True)
        (folder / "nni-experiments" / ".experiment").write_text("{}")
        self.process = subprocess.Popen(
            [
                *(str(NODE / "node"), "--require", str(guard_path()), str(NODE / "main.js")),
                *("--port", str(self.port), "--experiment-id", "view", "--action", "create"),
                *("--experiments-directory", str(folder), "--log-level", "trace"),
                *("--python-interpreter", sys.executable, "--mode", "local", *argv),
            ],
            cwd=NODE,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env={
                "CONVNAS_NNI_OWNED": "1",
                "CONVNAS_NNI_HOME": str(folder),
                "CONVNAS_NNI_SECRET": SECRET,
                "CONVNAS_NNI_TOKEN": TOKEN,
            },
        )
        self.cookie = ""
        self._links: dict[int, http.client.HTTPConnection] = {}

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, prefix: str = "") -> None:
        asked = Asked(f"GET {prefix}{API}/version", headers=(password(f"convnas:{SECRET}"),))
        until(lambda: self.process.poll() is not None or self.ask(asked).text == "3.0.0")
        assert self.process.poll() is None

    def ask(self, asked: Asked) -> Answer:
        """One connection a thread, as long as the guard lets it live."""
        method, _, target = asked.line.partition(" ")
        link = self._links.setdefault(
            threading.get_ident(), http.client.HTTPConnection("127.0.0.1", self.port)
        )
        link.timeout = 1 if asked.may_pass else 60
        if link.sock is not None:
            link.sock.settimeout(link.timeout)
        try:
            link.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            if not any(line.startswith("Host:") for line in asked.headers):
                link.putheader("Host", f"127.0.0.1:{self.port}")
            for name, _, value in (line.partition(": ") for line in asked.headers):
                link.putheader(name, value)
            body = b'{"params": {}}'
            link.putheader("Content-Type", "application/json")
            link.putheader("Content-Length", str(len(body)))
            link.endheaders(body)
            response = link.getresponse()
            cookie = response.headers["Set-Cookie"] or ""
            return Answer(response.status, cookie, response.read().decode(errors="replace"))
        except TimeoutError:
            link.close()
            return Answer(None)
        except (ConnectionError, http.client.HTTPException):
            link.close()
            return Answer(0)

    def end(self) -> None:
        for link in self._links.values():
            link.close()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("bare") / "nni")
    try:
        server.wait()
        server.cookie = server.ask(Asked(f"GET /?token={TOKEN}")).cookie.partition(";")[0]
        yield server
    finally:
        server.end()


def asked_of(server: Server) -> list[Asked]:
    """Half of them as they should be, the others with one or several things wrong."""
    draw = random.Random(0)
    # Without an experiment NNI leaves these unanswered, which takes time to see.
    slow = CHANGE | {f"GET {API}/experiment-metadata"}
    good, port = sorted((READ | PROGRAMS) - slow) * 4 + sorted(slow), server.port
    mine = {
        "program": [password(f"convnas:{SECRET}")],
        "browser": [f"Cookie: {server.cookie}", f"Cookie: a=b; {server.cookie}; c=d"],
    }
    name, _, value = server.cookie.partition("=")
    nobodys = [
        *("", password("convnas:"), password(f"convnas:{SECRET[:-1]}"), password(f":{SECRET}")),
        *(password(SECRET), password(f"tuner:{SECRET}"), f"Authorization: Bearer {SECRET}"),
        *(password(f"convnas:{TOKEN}"), f"Authorization: Basic {SECRET}", "Authorization: Basic"),
        *(f"Cookie: {name}={value[:-1]}", f"Cookie: {name}=", f"Cookie: convnas-1={value}"),
        *(f"Cookie: {name.upper()}={value}", f"X-Cookie: {server.cookie}", f"Cookie: {value}"),
        *(f"Cookie: {name}={TOKEN}", f"Cookie: {name}={SECRET}"),
        *(f"Cookie: x{server.cookie}", f"Cookie: {server.cookie}x", f"Cookie: x={server.cookie}"),
    ]
    strange = [
        *(("Host: example.org",), ("Host: 127.0.0.1.example.org",), ("Host: 10.0.0.1",)),
        *(("Host: ",), (f"Host: localhost.:{port}",), ("Host: 127.0.0.1@example.org",)),
        *(("Origin: http://example.org",), ("Origin: null",), ("Origin: http://127.0.0.1:1",)),
        *((f"Origin: https://127.0.0.1:{port}",), (f"Origin: http://localhost:{port}",)),
        *(("Sec-Fetch-Site: cross-site",), ("Sec-Fetch-Site: same-site",)),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
        ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: document"),
    ]
    harmless = [
        *((), (f"Host: localhost:{port}",), ("Host: [::1]",), ("Sec-Fetch-Site: none",)),
        *((f"Origin: http://127.0.0.1:{port}",), ("Sec-Fetch-Site: same-origin",)),
        (f"Host: localhost:{port}", f"Origin: http://localhost:{port}"),
    ]
    made = []
    for _ in range(REQUESTS):
        line, wrong = draw.choice(good), draw.random()
        who = draw.choice(["program", "browser"])
        asked = Asked(line, who, headers=(draw.choice(mine[who]), *draw.choice(harmless)))
        while wrong > 0.5:
            kind = draw.randrange(5)
            if kind == 0:
                asked = replace(asked, line=twisted(asked.line, draw))
            elif kind == 1:
                asked = replace(asked, line=draw.choice(NEVER))
            elif kind == 2:
                method = draw.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "get"])
                asked = replace(asked, line=f"{method} {asked.line.partition(' ')[2]}")
            elif kind == 3:
                headers = (draw.choice(nobodys), *asked.headers[1:])
                asked = replace(asked, who="nobody", headers=headers)
            else:
                headers = (asked.headers[0], *draw.choice(strange))
                asked = replace(asked, right=False, headers=headers)
            wrong = draw.random() * 1.2
        if asked.line not in LAST:
            lines = tuple(line for line in asked.headers if line)
            made.append(replace(asked, headers=lines))
    return made


def test_two_thousand_requests_pass_or_not_as_the_list_says(server: Server) -> None:
    requests = asked_of(server)
    with ThreadPoolExecutor(8) as several:
        answers = list(several.map(server.ask, requests))
    wrong = [
        (asked, answer)
        for asked, answer in zip(requests, answers, strict=True)
        if answer.refused == asked.may_pass
    ]
    assert wrong == []
    kinds = Counter(asked.may_pass for asked in requests)
    assert min(kinds.values()) > REQUESTS / 4
    assert {asked.line for asked in requests if asked.may_pass} == READ | CHANGE | PROGRAMS
    assert server.process.poll() is None


def test_the_program_alone_starts_the_experiment_once_and_ends_it(tmp_path: Path) -> None:
    server = Server(tmp_path / "nni", "--url-prefix", "mine")
    try:
        server.wait("/mine")
        start, end = f"POST /mine{API}/experiment", f"DELETE /mine{API}/experiment"
        program = (password(f"convnas:{SECRET}"),)
        assert server.ask(Asked(f"GET {API}/version", headers=program)).refused
        assert server.ask(Asked(f"GET /mines{API}/version", headers=program)).refused
        assert server.ask(Asked(start)).refused
        assert not server.ask(Asked(start, headers=program)).refused
        assert server.ask(Asked(start, headers=program)).refused
        answer = server.ask(Asked(f"GET /mine/?token={TOKEN}"))
        assert "url=/mine/oview" in answer.text
        cookie = answer.cookie.partition(";")[0]
        assert server.ask(Asked(end, headers=(f"Cookie: {cookie}",))).refused
        assert not server.ask(Asked(end, headers=program)).refused
        assert server.process.wait(60) == 0
    finally:
        server.end()


def test_the_token_lets_one_browser_in_once_and_the_cookie_is_for_this_server_alone(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path / "nni")
    try:
        server.wait()
        for wrong in (TOKEN[:-1], f"{TOKEN}x", "", f"{TOKEN}&x=1", SECRET, TOKEN.upper()):
            assert server.ask(Asked(f"GET /?token={wrong}")).refused
        framed = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors")
        for headers in (("Host: example.org",), ("Origin: http://example.org",), framed):
            assert server.ask(Asked(f"GET /?token={TOKEN}", headers=headers)).refused
        assert server.ask(Asked(f"POST /?token={TOKEN}")).refused
        linked = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
        headers = (*linked, "Sec-Fetch-Dest: document")
        answer = server.ask(Asked(f"GET /?token={TOKEN}", headers=headers))
        cookie, *attributes = answer.cookie.split("; ")
        assert cookie.startswith(f"convnas-{server.port}=")
        assert attributes == ["HttpOnly", "SameSite=Strict", "Path=/"]
        assert TOKEN not in answer.text
        assert SECRET not in answer.text
        assert server.ask(Asked(f"GET /?token={TOKEN}")).refused
        # The one that is in already comes by the same address again.
        back = server.ask(Asked(f"GET /?token={TOKEN}", headers=(f"Cookie: {cookie}",)))
        assert not back.refused
        seen = [path for path in server.folder.rglob("*") if path.is_file()]
        assert any(path.name == "nnimanager.log" for path in seen)
        for path in seen:
            content = path.read_bytes()
            for secret in (SECRET, TOKEN, cookie.partition("=")[2]):
                assert secret.encode() not in content, path
    finally:
        server.end()


@pytest.mark.skipif(browser.chromium() is None, reason="needs chromium")
def test_a_browser_comes_in_by_the_address_and_stays_by_its_cookie(tmp_path: Path) -> None:
    server = Server(tmp_path / "nni")
    try:
        server.wait()
        address = f"{server.base}/?token={TOKEN}"
        status = f"fetch('{API}/check-status').then(answer => answer.status)"
        with browser.Page(address, tmp_path / "mine") as page:
            page.wait_for("location.pathname == '/oview'")
            page.wait_for("document.title == 'Neural Network Intelligence'")
            assert page.evaluate(status) == 200
            assert page.evaluate("document.cookie") == ""
        with browser.Page(address, tmp_path / "another") as page:
            text = page.wait_for("document.body.innerText")
            assert "refused: this address has been used" in text
            assert page.evaluate(status) == 403
    finally:
        server.end()


@pytest.mark.parametrize(
    ("target", "extra", "opens"),
    [
        ("/platform/remote/0", [password(f"convnas:{SECRET}")], True),
        ("/platform/remote/0", [], False),
        ("/platform/remote/0", [password("convnas:x")], False),
        (
            "/platform/remote/0",
            [password(f"convnas:{SECRET}"), "Origin: http://127.0.0.1:{port}"],
            False,
        ),
        ("/platform/remote/0?x", [password(f"convnas:{SECRET}")], False),
        ("/platform/remote/", [password(f"convnas:{SECRET}")], False),
        ("/Platform/remote/0", [password(f"convnas:{SECRET}")], False),
        # The tuner has a key of its own.
        ("/tuner", [password(f"convnas:{SECRET}")], False),
        ("/tuner", [password(f"tuner:{SECRET}")], False),
        ("/tuner", [], False),
        ("/x?/tuner", [password(f"convnas:{SECRET}")], False),
        ("/tuner/.websocket", [password(f"convnas:{SECRET}")], False),
        ("/tuner/x", [password(f"convnas:{SECRET}")], False),
        ("/oview", [password(f"convnas:{SECRET}")], False),
        (f"{API}/version", [password(f"convnas:{SECRET}")], False),
    ],
)
def test_websockets_are_for_the_tuner_and_for_other_machines(
    server: Server, target: str, extra: list[str], opens: bool
) -> None:
    known = [line.format(port=server.port) for line in extra]
    for cookie in ([], [f"Cookie: {server.cookie}"]):
        assert helpers.websocket(server.port, target, [*known, *cookie]) is opens


def test_a_manager_without_a_secret_does_not_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(NODE / "node"), "--require", str(guard_path()), str(NODE / "main.js")],
        cwd=NODE,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == 'CONVNAS_NNI_SECRET is not set; run: eval "$(convnas nni guard)"\n'
