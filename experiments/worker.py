"""A worker process: loads the data once, then scores the architectures it is sent.

Started by `workers.py` as `python -m convnas.experiments.worker FD`, FD being its end of a socket.
It hears `setup`, then `evaluate` and, where pruning is on, a `verdict` after every report. It says
`ready` or `unusable`, then `report`, and `scored` or `failed`. It never outlives its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .messages import Channel, Message

if TYPE_CHECKING:
    from ..evaluators import Evaluator

_PR_SET_PDEATHSIG = 1


def main(fd: int) -> None:
    _die_with_parent()
    channel = Channel(socket.socket(fileno=fd))
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, inbox), daemon=True).start()

    import torch

    from ..search_space.errors import InputError
    from .hooks import create_evaluator

    torch.set_num_threads(1)
    setup = inbox.get()
    try:
        channels, height, width = setup["input"]
        evaluator = create_evaluator(
            setup["evaluator"],
            setup["data"],
            input=(channels, height, width),
            classes=setup["classes"],
            device=setup["device"],
            seed=setup["seed"],
        )
    except InputError as error:
        e = error.under("space") if error.key in ("input", "classes") else error
        channel.send("unusable", key=e.key, value=str(e.value), allowed=e.allowed)
        return
    channel.send("ready")
    while True:
        _evaluate(evaluator, inbox.get(), channel, inbox)


def _evaluate(
    evaluator: Evaluator, job: Message, channel: Channel, inbox: queue.SimpleQueue[Message]
) -> None:
    from ..evaluators import EvaluationError
    from ..search_space import Architecture

    def report(epoch: int, metrics: Mapping[str, float]) -> bool:
        channel.send("report", epoch=epoch, metrics=dict(metrics))
        return bool(job["verdicts"] and inbox.get()["stop"])

    try:
        result = evaluator.evaluate(
            Architecture.from_dict(job["architecture"]), seed=job["seed"], report=report
        )
    except EvaluationError as e:
        channel.send("failed", reason=" ".join(str(e).split()), unexpected=False)
    except Exception as e:  # noqa: BLE001  (whatever it is, it ends this trial only)
        traceback.print_exc()
        reason = " ".join(f"{type(e).__name__}: {e}".split())[:500]
        channel.send("failed", reason=reason, unexpected=True)
    else:
        channel.send(
            "scored",
            score=float(result.score),
            metrics=dict(result.metrics),
            curve=list(result.curve),
            pruned=result.pruned,
        )


def _listen(channel: Channel, inbox: queue.SimpleQueue[Message]) -> None:
    while (messages := channel.receive()) is not None:
        for message in messages:
            inbox.put(message)
    # The parent is gone, and whatever the main thread is computing is for nobody.
    os._exit(0)


def _die_with_parent() -> None:
    """The kernel kills this process when its parent dies, even while it holds the interpreter."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
