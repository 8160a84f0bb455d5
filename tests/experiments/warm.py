"""Processes of the project that start in milliseconds: forked from one that has imported it all.

A pool's fork server and a command in another process take seconds of imports each, and hundreds of
tests start some. `Popen` here is subprocess's, but has them forked by the warm process; everything
else about them is their own: id, group, environment, files, end. What is neither a fork server nor
a command starts as ever. Not alike: /proc shows the command line and environment of the warm
process, and their parent is that process.

Run as `python -m convnas.tests.experiments.warm ASKED LINK`, a socket's two ends; each message is
JSON, with a socket for the answers (the process id, then its end), standard streams and more files.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

FORK_SERVER = "convnas.experiments.workers.fork_server"
COMMAND = "from convnas.experiments.cli import entry_point; entry_point()"
MODULES = (
    "convnas.experiments",
    "convnas.experiments.cli",
    "convnas.experiments.search.local_backend",
    "convnas.experiments.workers.fork_server",
    "convnas.experiments.workers.worker",
    "sklearn.datasets",
    "torch._dynamo",
)
AS_STARTED = (
    "PYTHONIOENCODING",
    "PYTHONUTF8",
    "PYTHONWARNINGS",
    "PYTHONUNBUFFERED",
    "LANG",
    "LC_ALL",
)
"""What an interpreter reads once, at its start."""
_LARGEST = 2**20


class Warm:
    """The warm process: all who share its socket may have it fork."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def fork(self, told: dict[str, Any], files: list[int]) -> tuple[int, socket.socket]:
        """The new process's id, and the socket that tells its end. `files`: see `_become`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self._link, [json.dumps(told).encode()], [theirs.fileno(), *files])
        return int(ours.recv(20)), ours


@contextmanager
def warmth() -> Iterator[None]:
    """The warm process is there, and used."""
    link, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST)
    ends = asked.fileno(), link.fileno()
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "convnas.tests.experiments.warm", *map(str, ends)],
        stdin=subprocess.DEVNULL,
        pass_fds=ends,
        env={**os.environ, **one_thread},
    )
    asked.close()
    Popen.warm = Warm(link)
    before, subprocess.Popen = subprocess.Popen, Popen
    yield
    subprocess.Popen = before
    link.close()
    # It holds both ends of the socket, and so hears of no end.
    process.kill()
    process.wait()


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """subprocess.Popen, by the warm process where that can."""

    warm: Warm | None = None
    cold = False
    """As long as it is set, all start as ever."""
    _answers: socket.socket | None = None

    def _execute_child(
        self,
        args: Any,
        executable: Any,
        preexec_fn: Any,
        close_fds: bool,
        pass_fds: Any,
        cwd: Any,
        env: Mapping[str, str] | None,
        *more: Any,
    ) -> None:
        environment = dict(os.environ if env is None else env)
        words = [] if isinstance(args, str | bytes) else [os.fspath(word) for word in args]
        if self.warm is None or self.cold or preexec_fn or not _fast(words, environment):
            super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more
            )
            return
        _, _, _, read_in, write_in, read_out, write_out, read_err, write_err, *rest = more
        streams = [
            own if own != -1 else number
            for number, own in enumerate((read_in, write_out, write_err))
        ]
        told = {
            "words": words[1:],
            "cwd": os.fspath(cwd or os.getcwd()),
            "env": environment,
            "path": environment.get("PYTHONPATH", "").split(os.pathsep),
            "files": sorted(pass_fds),
            "session": bool(rest[5]),
            "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        }
        self.pid, self._answers = self.warm.fork(told, [*streams, *sorted(pass_fds)])
        self._child_created = True
        pipes = read_in, write_in, read_out, write_out, read_err, write_err
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, *args: Any, **kwargs: Any) -> int | None:
        if self._answers is None:
            return super()._internal_poll(*args, **kwargs)
        if self.returncode is None:
            self._try_wait(os.WNOHANG)
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if self._answers is None:
            return super()._try_wait(flags)
        try:
            answer = self._answers.recv(20, socket.MSG_DONTWAIT if flags == os.WNOHANG else 0)
        except BlockingIOError:
            return 0, 0
        self._answers.close()
        # Nothing: the warm process itself is gone, and whoever dies with it.
        status = int(answer) if answer else signal.SIGKILL
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.pid, status


def _fast(words: list[str], environment: Mapping[str, str]) -> bool:
    if words[:1] != [sys.executable]:
        return False
    if any(environment.get(name) != os.environ.get(name) for name in AS_STARTED):
        return False
    return words[1:3] in (["-c", COMMAND], ["-m", FORK_SERVER])


def main() -> dict[str, Any]:
    """Fork whoever is asked for; in each, return what it has been told to be."""
    from convnas.experiments.workers.fork_server import die_with_parent

    die_with_parent()
    asked, link = (socket.socket(fileno=int(end)) for end in sys.argv[1:])
    for name in MODULES:
        importlib.import_module(name)
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    answers: dict[int, socket.socket] = {}
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake.fileno())
    while True:
        ready, _, _ = select.select([asked, woken], [], [])
        if woken in ready:
            woken.recv(4096)
        for pid in list(answers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with answers.pop(pid) as answer, suppress(OSError):
                    answer.send(str(status).encode())
        if asked not in ready:
            continue
        text, files, _, _ = socket.recv_fds(asked, _LARGEST, 64)
        if not text:
            os._exit(0)
        answer = socket.socket(fileno=files.pop(0))
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for own in (asked, woken, wake, answer, *answers.values()):
                own.close()
            told: dict[str, Any] = json.loads(text)
            _become(told, files)
            Popen.warm, subprocess.Popen = Warm(link), Popen
            return told
        for file in files:
            os.close(file)
        answers[pid] = answer
        answer.send(str(pid).encode())


def _become(told: dict[str, Any], files: list[int]) -> None:
    # Out of the way of the numbers that they are to have.
    high = [os.dup2(file, 500 + i) for i, file in enumerate(files)]
    for file in files:
        os.close(file)
    for number, file in zip([0, 1, 2, *told["files"]], high, strict=True):
        os.dup2(file, number, inheritable=True)
        os.close(file)
    if told["session"]:
        os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, told["blocked"])
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    first = "" if told["words"][0] == "-c" else told["cwd"]
    sys.path[:] = [first, *filter(None, told["path"]), *sys.path[1:]]
    importlib.invalidate_caches()
    random.seed()
    np.random.seed()


if __name__ == "__main__":
    told = main()
    kind, *words = told["words"]
    if kind == "-c":
        from convnas.experiments.cli import entry_point

        sys.argv = ["-c", *words[1:]]
        entry_point()
    else:
        from convnas.experiments.workers.fork_server import main as serve

        serve(int(words[1]), words[2:])
