"""What a worker process does: load the data once, then score the architectures it is sent.

It is forked by `fork_server.py`, with torch imported. It hears `setup`, then `evaluate` and, where
pruning is on, a `verdict` after every report. It says `ready`, `unusable` or `broken`, then
`report`, and `scored` or `failed`, and with these whether it had better `retire`, its device's
state being suspect. It ends when the other end of its channel is gone.
"""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections.abc import Mapping

import torch

from ...evaluators import EvaluationError, Evaluator, create, resolve_device, select_device
from ...search_space import Architecture
from ...search_space.errors import InputError
from ..config.plugins import load_plugins
from .channel import Channel, Message

Inbox = queue.SimpleQueue[Message]


def work(channel: Channel) -> None:
    """Serve until the process is ended from outside, or the setup cannot be used."""
    torch.set_num_threads(1)
    inbox: Inbox = queue.SimpleQueue()
    # In a thread, so that the parent's end is noticed in the middle of a training too.
    threading.Thread(target=_listen, args=(channel, inbox), daemon=True).start()
    setup = inbox.get()
    try:
        load_plugins(setup.get("plugins", ()))
        select_device(resolve_device(setup["device"]), setup["memory_share"])
        channels, height, width = setup["input"]
        evaluator = create(
            setup["evaluator"],
            setup["data"],
            input=(channels, height, width),
            classes=setup["classes"],
            device=setup["device"],
            seed=setup["seed"],
            objectives=setup["objectives"],
        )
    except InputError as error:
        e = error.under("space") if error.key in ("input", "classes") else error
        channel.send("unusable", key=e.key, value=str(e.value), allowed=e.allowed)
        return
    except Exception as e:  # noqa: BLE001  (memory that is not there, whatever a user's own code does)
        traceback.print_exc()
        channel.send("broken", reason=" ".join(f"{type(e).__name__}: {e}".split())[:300])
        return
    channel.send("ready")
    while True:
        _evaluate(evaluator, inbox.get(), channel, inbox, on_gpu=setup["device"] != "cpu")


def _evaluate(
    evaluator: Evaluator, job: Message, channel: Channel, inbox: Inbox, *, on_gpu: bool
) -> None:
    def report(epoch: int, metrics: Mapping[str, float]) -> bool:
        channel.send("report", epoch=epoch, metrics=dict(metrics))
        # While a trial is on, the parent sends verdicts alone: the next message is the answer.
        return bool(job["verdicts"] and inbox.get()["stop"])

    try:
        result = evaluator.evaluate(
            Architecture.from_dict(job["architecture"]), seed=job["seed"], report=report
        )
    except EvaluationError as e:
        channel.send("failed", reason=" ".join(str(e).split()), retire=_suspect(evaluator))
    except Exception as e:  # noqa: BLE001  (whatever it is, it ends this trial only)
        traceback.print_exc()
        reason = " ".join(f"{type(e).__name__}: {e}".split())[:500]
        # After such an error a GPU's context may be unusable.
        channel.send("failed", reason=reason, retire=on_gpu)
    else:
        channel.send(
            "scored",
            score=float(result.score),
            metrics=dict(result.metrics),
            curve=list(result.curve),
            pruned=result.pruned,
            retire=_suspect(evaluator),
        )


def _suspect(evaluator: Evaluator) -> bool:
    """Whether the evaluator says that its device's state is, so that this process should end."""
    return bool(getattr(evaluator, "suspect", False))


def _listen(channel: Channel, inbox: Inbox) -> None:
    while (messages := channel.receive()) is not None:
        for message in messages:
            inbox.put(message)
    # The parent is gone, and whatever the main thread is computing is for nobody.
    os._exit(0)
