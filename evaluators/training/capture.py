"""Recording what a callable launches on a GPU, so that it can be launched again as one piece.

A recording repeats the same launches on the same memory: whatever changes from one replay to the
next has to be a tensor that keeps its place, and nothing in it may wait for the device.
"""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from ..device import out_of_memory

_log = logging.getLogger(__name__)

_WARM_UP = 3
"""Eager runs before a capture, so that libraries have made their choices and their workspaces."""

_TOLERANCE = 0.02
"""How far a replay's loss may lie from that of the eager run: other kernels, another rounding."""

Run = Callable[[], None]


class Recorder(Protocol):
    """What records on a device. `broken`: a recording failed there, so that its state is suspect:
    finish what is being done, and begin the next work in a new process."""

    broken: bool

    def current(self) -> contextlib.AbstractContextManager[None]:
        """Within it, work goes to the queue that this recorder records from."""
        ...

    def record(self, run: Run, generators: Sequence[torch.Generator]) -> Run:
        """Call `run` once, recording; what is returned replays it. RuntimeError where it cannot.

        `generators`: those that `run` draws from, beside the device's own; every replay draws on.
        """
        ...


class GraphRecorder:
    """CUDA graphs of one device, all of them from one stream and one pool of memory.

    So only one of them may run at a time, and the memory of one training's graphs serves the next
    training's: a new pool for each would be fetched from the driver anew, which waits for it.
    """

    def __init__(self, device: torch.device) -> None:
        self.broken = False
        self._device = device
        with torch.cuda.device(device):
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()
            # A pool lives as long as a graph that uses it: this empty one keeps it.
            self._holder = torch.cuda.CUDAGraph()
            with torch.cuda.stream(self._stream), _no_warning_of_emptiness():
                self._holder.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                self._holder.capture_end()

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        with torch.cuda.device(self._device):
            around = torch.cuda.current_stream(self._device)
            # The queues wait for each other both ways: work inside sees what was launched before,
            # and work after it what was launched inside.
            self._stream.wait_stream(around)
            try:
                with torch.cuda.stream(self._stream):
                    yield
            finally:
                # Said again: a capture that failed may have left another stream current.
                torch.cuda.set_stream(around)
                around.wait_stream(self._stream)

    def record(self, run: Run, generators: Sequence[torch.Generator]) -> Run:
        # Not `with torch.cuda.graph(...)`: it collects garbage and empties the cache every time,
        # and after a failed capture it leaves its stream current.
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        torch.cuda.synchronize(self._device)
        # "thread_local": what other threads ask of the device meanwhile does not break the capture.
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            run()
        except BaseException:
            # Otherwise the stream would go on recording.
            with contextlib.suppress(RuntimeError):
                graph.capture_end()
            raise
        graph.capture_end()
        return graph.replay


def recorder_for(device: torch.device) -> Recorder | None:
    """None where nothing can be recorded: on a CPU a launch costs next to nothing."""
    return GraphRecorder(device) if device.type == "cuda" else None


class Rewind:
    """Called, it puts training back to where it was when this was made: weights, statistics, what
    the optimizer keeps, `more` tensors, and generators. All keep their places in memory."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        more: Sequence[Tensor],
        generators: Sequence[torch.Generator],
    ) -> None:
        self._optimizer = optimizer
        changing = [*net.parameters(), *net.buffers(), *self._optimizers(), *more]
        self._kept = [(tensor, tensor.detach().clone()) for tensor in changing]
        self._drawn = [(generator, generator.get_state()) for generator in generators]

    @torch.no_grad()
    def __call__(self) -> None:
        # An optimizer makes its tensors in its first step, maybe after this was made.
        old = {id(tensor) for tensor, _ in self._kept}
        for tensor in self._optimizers():
            if id(tensor) not in old:
                tensor.zero_()  # momenta and counts of steps begin at 0
        for tensor, value in self._kept:
            tensor.copy_(value)
        for generator, state in self._drawn:
            generator.set_state(state)

    def _optimizers(self) -> list[Tensor]:
        states = self._optimizer.state.values()
        return [each for state in states for each in state.values() if isinstance(each, Tensor)]


def recorded(
    run: Run,
    recorder: Recorder,
    *,
    begin: Run,
    fetch: Run = lambda: None,
    rewind: Run,
    loss: Tensor,
    generators: Sequence[torch.Generator] = (),
    differs: bool,
) -> Run | None:
    """`run` as a recording that was seen to work, everything being as before; None without one.

    `begin` starts a pass over the data and clears `loss`, to which every `run` adds; `fetch` comes
    before each of them, unrecorded; `rewind` undoes what runs changed. Seen to work: from the same
    state a replay gives the loss of an eager run, and, where `differs`, on the next batch another.
    (A graph captured on the wrong device is empty, and an optimizer then goes on with the first
    batch's gradients, in silence.) Raises what says that memory ran out, as it is.
    """
    try:
        begin()
        fetch()
        run()
        expected = loss.item()
        for _ in range(_WARM_UP - 1):
            begin()
            fetch()
            run()
        rewind()
        begin()
        replay = recorder.record(run, generators)
        rewind()
        begin()
        fetch()
        replay()
        first = loss.item()
        if not _close(first, expected):
            raise RuntimeError(f"a replay's loss is {first:g}, an eager run's {expected:g}")
        loss.zero_()
        # No `begin`: the counter on the device has to move on by itself.
        if differs:
            fetch()
            replay()
            if loss.item() == first:
                raise RuntimeError("two replays on different data give the same loss")
    except RuntimeError as error:
        recorder.broken = True
        if out_of_memory(error):
            raise
        _log.warning("no CUDA graph, the steps are launched one by one: %s", error)
        return None
    finally:
        with contextlib.suppress(RuntimeError):  # the error above says more
            rewind()
    return replay


def _close(value: float, expected: float) -> bool:
    # A loss that overflows does so in both; what to make of it is for the loop to say.
    if not math.isfinite(expected):
        return not math.isfinite(value)
    return abs(value - expected) <= _TOLERANCE * abs(expected) + 1e-6


@contextlib.contextmanager
def _no_warning_of_emptiness() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*CUDA Graph is empty.*")
        yield
