"""Measure, on this machine, which execution suits each HetConv shape; the result is plain data."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from ...architecture import Architecture
from ...network.build import build_network
from ..hetconv_execution import Execution, ExecutionTable, HetShape, het_execution
from .graph_replay import replayed
from .hetconv_conv2d import HetConv2d

Sized = tuple[HetShape, tuple[int, int]]
"""A layer's shape, and the height and width it is measured at."""

MARGIN = 1.03
"""How many times faster than the rule's choice another must be to replace it: noise is not."""


def default_shapes() -> list[Sized]:
    """A grid of the shapes that residual networks are made of."""
    sizes = {16: 32, 32: 16, 64: 16, 128: 8, 256: 8, 512: 7}
    return [
        (HetShape(channels, channels, 3, stride, p), (size, size))
        for channels, size in sizes.items()
        for stride in (1, 2)
        for p in (2, 4, 8)
    ]


def shapes_of(architectures: Iterable[Architecture]) -> list[Sized]:
    """The HetConv shapes of architectures at the sizes they get there, each once."""
    found: dict[HetShape, tuple[int, int]] = {}
    for architecture in architectures:
        # On meta tensors shapes alone flow: nothing is computed or stored.
        with torch.device("meta"), torch.no_grad():
            network = build_network(architecture).eval()

            def note(layer: HetConv2d, inputs: tuple[Tensor, ...]) -> None:
                height, width = inputs[0].shape[-2:]
                # A table knows no sizes, so a shape is measured at the first one it is met at.
                found.setdefault(layer.shape, (height, width))

            for layer in network.modules():
                if isinstance(layer, HetConv2d):
                    layer.register_forward_pre_hook(note)
            network(torch.zeros(2, *architecture.input))
    return list(found.items())


def tune(
    shapes: Iterable[Sized],
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    batch: int = 32,
    rounds: int = 7,
) -> ExecutionTable:
    """The faster execution of each shape in training (forward and backward), measured in turn; on
    a GPU as replays of CUDA graphs, which is how networks are trained there.

    The rule's own choice stays unless the other is faster by MARGIN. `batch` images a step.
    """
    chosen: dict[str, Execution] = {}
    for shape, size in shapes:
        if shape.p > 1:
            chosen[str(shape)] = _faster(shape, size, torch.device(device), dtype, batch, rounds)
    return ExecutionTable(torch.device(device).type, str(dtype).removeprefix("torch."), chosen)


def _faster(
    shape: HetShape,
    size: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
    batch: int,
    rounds: int,
) -> Execution:
    # The caller's random numbers go on as if nothing had been measured.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        x = torch.randn(batch, shape.in_channels, *size, device=device, dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        layer = HetConv2d(
            shape.in_channels,
            shape.out_channels,
            shape.kernel,
            stride=shape.stride,
            padding=shape.kernel // 2,
            p=shape.p,
        ).to(device=device, dtype=dtype)
    mine = het_execution(shape, device.type, dtype)
    other: Execution = "dense" if mine == "grouped" else "grouped"
    times: dict[Execution, list[float]] = {mine: [], other: []}
    steps: dict[Execution, Callable[[], object]] = {}
    for execution in times:
        steps[execution] = replayed(partial(_passes, layer, x, execution), device)
    for _ in range(rounds + 1):  # the first warms up
        for execution, step in steps.items():
            times[execution].append(_seconds(step, device))
    medians = {execution: statistics.median(taken[1:]) for execution, taken in times.items()}
    return other if medians[mine] > MARGIN * medians[other] else mine


def _passes(layer: HetConv2d, x: Tensor, execution: Execution) -> object:
    layer.execution = execution
    y = layer(x)
    return torch.autograd.grad(y, [x, layer.weight], torch.ones_like(y))


def _seconds(step: Callable[[], object], device: torch.device) -> float:
    # The thread's own time on a CPU: other processes lengthen the wall clock.
    gpu = device.type == "cuda"
    clock = time.perf_counter if gpu else time.thread_time
    if gpu:
        torch.cuda.synchronize(device)
    began = clock()
    step()
    if gpu:
        torch.cuda.synchronize(device)
    return clock() - began
