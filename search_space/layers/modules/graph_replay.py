"""A callable as one launch of a GPU, for timing what layers take there and not their launches."""

from __future__ import annotations

from collections.abc import Callable

import torch

_WARM_UP = 3
"""Eager runs first, in which libraries choose their kernels and fetch their workspaces."""


def replayed(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """`run`'s launches recorded as a CUDA graph: calling it replays them. On a CPU, `run` itself.

    Eager times of small layers are times of launches, of which an operator may have several times
    as many as another; networks here are trained by replays. RuntimeError where `run` waits.
    """
    if device.type != "cuda":
        return run
    with torch.cuda.device(device):
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                run()
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            kept = run()

    def replay() -> object:
        graph.replay()
        return kept  # its memory is the graph's

    return replay
