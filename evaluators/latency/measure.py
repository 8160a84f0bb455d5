"""How long a network, or a piece of one, takes on this device: warmed up, synchronised, a median.

Measured is inference as it is deployed: evaluation mode, no gradients, and by default with the
norms folded into the convolutions. One sample is a run, or as many runs in a row as take long
enough for the clock; on a GPU the device is waited for before and after.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from ...search_space import Architecture, build_network
from ...search_space.chain.parts import Part
from ...search_space.errors import InputError
from ...search_space.layers.fold import fold_batch_norm
from ..device import out_of_memory, seeded
from ..settings import Settings, flag, integer, one_of, text

_WARM_UP = 0.05
"""Seconds, and at least three runs, before the first sample."""

_SAMPLE = 0.0005
"""A sample's least duration in seconds: well above what the clock and a loop cost."""


@dataclass(frozen=True)
class LatencySettings(Settings):
    """What is measured, and how. `runtime`: what runs the networks; `threads`: of it, on a CPU.

    `device`: as a config's, for torch; `provider`: ONNX Runtime's word for what it runs on.
    `folded`: batch norms folded away, as `convnas export --fold` hands over. `compiled`: through
    torch.compile, which takes up to a minute and a half for every different piece. `samples`: of
    which the median is taken. ONNX Runtime has its own layout and takes float32.
    """

    runtime: str = one_of("torch", "onnxruntime")
    provider: str = text("CPUExecutionProvider", "a provider of ONNX Runtime")
    device: str = text("cpu", "cpu, cuda or cuda:<index>")
    batch: int = integer(1, at_least=1)
    dtype: str = one_of("float32", "bfloat16", "float16")
    channels_last: bool = flag(True)
    folded: bool = flag(True)
    compiled: bool = flag(False)
    threads: int = integer(1, at_least=1)
    samples: int = integer(25, at_least=3)

    def __post_init__(self) -> None:
        super().__post_init__()
        foreign = ("device", "dtype", "channels_last", "compiled") if self.onnx else ("provider",)
        for each in fields(self):
            if each.name in foreign and getattr(self, each.name) != each.default:
                allowed = f"runtime: {self.runtime} does not take it; leave it out"
                raise InputError(each.name, getattr(self, each.name), allowed)

    @property
    def onnx(self) -> bool:
        """Whether ONNX Runtime measures."""
        return self.runtime == "onnxruntime"


@dataclass(frozen=True)
class Timing:
    """Nanoseconds: the median, and the quartiles, between which half of the samples lie."""

    median: int
    low: int
    high: int

    @property
    def spread(self) -> float:
        """The quartiles' distance as a share of the median."""
        return (self.high - self.low) / self.median


def network_latency(arch: Architecture, settings: LatencySettings, device: torch.device) -> Timing:
    """Of the whole network of an architecture."""
    with seeded(0, device):
        net = build_network(arch)
    return _timed(net, [(settings.batch, *arch.input)], settings, device)


def part_latency(part: Part, settings: LatencySettings, device: torch.device) -> Timing:
    """Of a piece of networks, run alone."""
    with seeded(0, device):
        module = part.build()
    return _timed(module, part.input_shapes(settings.batch), settings, device)


def _timed(
    module: nn.Module,
    shapes: Sequence[tuple[int, ...]],
    settings: LatencySettings,
    device: torch.device,
) -> Timing:
    try:
        return _measured(module, shapes, settings, device)
    except (RuntimeError, MemoryError) as e:
        reason = out_of_memory(e)
        if reason is None:
            raise
        raise InputError("batch", settings.batch, f"it must fit the memory ({reason})") from e


@torch.inference_mode()
def _measured(
    module: nn.Module,
    shapes: Sequence[tuple[int, ...]],
    settings: LatencySettings,
    device: torch.device,
) -> Timing:
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    dtype = getattr(torch, settings.dtype)
    module.eval().to(device=device, dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
    if settings.folded:
        module = fold_batch_norm(module)
    generator = torch.Generator(device).manual_seed(0)
    tensors = [
        torch.randn(shape, generator=generator, device=device).to(dtype=dtype, memory_format=layout)
        for shape in shapes
    ]
    image: Tensor | tuple[Tensor, ...] = tensors[0] if len(tensors) == 1 else tuple(tensors)
    run: Callable[[object], object] = torch.compile(module) if settings.compiled else module
    with _threads(settings.threads):
        return _sampled(lambda: run(image), settings.samples, device)


def _sampled(run: Callable[[], object], samples: int, device: torch.device) -> Timing:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    runs, start = 0, time.perf_counter()
    while runs < 3 or time.perf_counter() - start < _WARM_UP:
        run()
        wait()
        runs += 1
    # Back to back on a GPU the launches would hide behind one another, unlike in use.
    row = 1 if device.type == "cuda" else 1 + int(_SAMPLE * runs / (time.perf_counter() - start))
    found = []
    for _ in range(samples):
        wait()
        start = time.perf_counter_ns()
        for _ in range(row):
            run()
        wait()
        found.append((time.perf_counter_ns() - start) // row)
    low, _, high = statistics.quantiles(found, n=4)
    return Timing(*(max(1, int(each)) for each in (statistics.median(found), low, high)))


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
