"""A stand-in for a GPU's graphs, on the CPU: no GPU is claimed, only that recordings are possible.

Like a CUDA graph, a recording here is a list of operations on fixed memory. A replay runs them
again and knows nothing of Python: numbers that Python worked out while recording stay as they were.
Whatever would wait for a device, or bring numbers from main memory, is refused while recording.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
REFUSED = {
    aten._local_scalar_dense.default,  # .item(): a wait
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.lift_fresh.default,  # torch.tensor(...): a copy from main memory
}


class _Recording(TorchDispatchMode):
    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self._generators = generators

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in REFUSED:
            raise RuntimeError("operation not permitted when stream is capturing")
        generator = kwargs.get("generator")
        known = {each.initial_seed() for each in self._generators}
        if generator is not None and generator.initial_seed() not in known:
            raise RuntimeError("a generator that is not registered with the graph")
        given = func(*args, **kwargs)
        if func.namespace == "aten":
            self.calls.append((func, args, kwargs, given))
        return given


def _memory(tensors: Any) -> set[int]:
    found = (each for each in tree_leaves(tensors) if isinstance(each, Tensor))
    return {each.untyped_storage().data_ptr() for each in found}


class FakeRecorder:
    """Records on the CPU. `recordings`: how many operations each of them has."""

    def __init__(self) -> None:
        self.broken = False
        self.recordings: list[int] = []
        self.replays = 0
        self.inside = False

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        self.inside = True
        try:
            yield
        finally:
            self.inside = False

    def record(
        self, run: Callable[[], None], generators: Sequence[torch.Generator]
    ) -> Callable[[], None]:
        assert self.inside
        recording = _Recording(generators)
        with recording:
            run()
        self.recordings.append(len(recording.calls))

        @torch.inference_mode()
        def replay() -> None:
            self.replays += 1
            for func, args, kwargs, given in recording.calls:
                again = func(*args, **kwargs)
                read = _memory((args, kwargs))
                for old, new in zip(tree_leaves(given), tree_leaves(again), strict=True):
                    # What was written in place, or is a view, lies where it lay.
                    if isinstance(old, Tensor) and not _memory(old) & read:
                        old.copy_(new)

        return replay
