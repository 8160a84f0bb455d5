"""The process that workers are forked from: it imports torch once for all of them.

So a worker starts in milliseconds, also when it replaces one that died, and the hundreds of
megabytes that torch takes exist once. It stays single-threaded and touches no GPU, which makes
forking safe. Run as `python -m convnas.experiments.workers.fork_server FD [MODULE ...]`, FD being
its end of a socket and the modules what else the workers will need, it hears `start` (with the
worker's end of another socket), `kill` and, by the socket's closing, the end; it says `started` and
`ended`. It never outlives its parent, nor its workers it.
"""

# multiprocessing's forkserver starts workers as quickly, but runs the caller's script again in each
# (a launch without a __main__ guard starts itself), its workers outlive it when it is killed, their
# exit codes are lost with it, and it and a resource tracker stay until the caller ends.

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from .channel import Channel

_PR_SET_PDEATHSIG = 1


def main(fd: int, preload: Sequence[str]) -> None:
    die_with_parent()
    control = Channel(socket.socket(fileno=fd))
    from . import worker  # noqa: F401  (torch, before the first fork)

    for name in preload:
        importlib.import_module(name)

    # `select` goes on after a signal, so a child's end writes to a pipe. The handler does nothing,
    # but without a handler nothing would be written.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    # What is alive now is shared by all workers: collecting it would copy it into each.
    gc.collect()
    gc.freeze()
    names: dict[int, int] = {}  # process id -> the worker's number
    alive = True
    while alive:
        for key, _ in selector.select():
            if key.fileobj is control:
                alive = _obey(control, names)
            else:
                os.read(woken, 4096)
        _reap(names, control)
    # All are killed before any is waited for, so that they end side by side.
    for pid in names:
        os.kill(pid, signal.SIGKILL)
    for pid in names:
        os.waitpid(pid, 0)


def _obey(control: Channel, names: dict[int, int]) -> bool:
    """Do what the parent asks; False when it is gone."""
    messages = control.receive()
    if messages is None:
        return False
    for message in messages:
        if message["kind"] == "start":
            end = control.files.pop(0)
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                _become_worker(control, end, parent)
            os.close(end)
            names[pid] = message["worker"]
            control.send("started", worker=message["worker"], pid=pid)
        else:
            # What is in `names` has not been waited for: its id cannot be another process's yet.
            for pid, name in names.items():
                if name == message["worker"]:
                    os.kill(pid, signal.SIGKILL)
    return True


def _reap(names: dict[int, int], control: Channel) -> None:
    for pid in list(names):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            with contextlib.suppress(OSError):
                control.send("ended", worker=names.pop(pid), code=code)


def _become_worker(control: Channel, end: int, parent: int) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # A copy kept here would hide the server's end from the parent.
        control.close()
        die_with_parent()
        # The server died before the kernel was asked, and no signal will come.
        if os.getppid() != parent:
            os._exit(0)
        from .worker import work

        work(Channel(socket.socket(fileno=end)))
        code = 0
    except BaseException:  # noqa: BLE001  (a forked process must not return into its parent's loop)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def die_with_parent() -> None:
    """The kernel kills this process when its parent dies, even while it holds the interpreter."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
