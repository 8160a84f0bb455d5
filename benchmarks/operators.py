"""Every operator against the source document's form, vanilla of the same shape, and its flops.

Run: python -m convnas.benchmarks.operators [--device cuda] [--dtype bfloat16] [--graphs]

Each row is timed in turn with its rivals, one torch thread. "inference" is the layer in evaluation
mode, "folded" what `fold_batch_norm` makes of it, "training" forward and backward. Vanilla is
the fastest form we know of: channels_last, in place, folded where the operator is.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convnas import HetConv2d, OctConv2d, Res2NetBottleneck
from convnas.benchmarks import naive, report, timing
from convnas.benchmarks.record import keep
from convnas.search_space import fold_batch_norm

Input = Tensor | tuple[Tensor, ...]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Shape:
    """Channels, height and width, images in a batch."""

    channels: int
    size: int
    batch: int

    def __str__(self) -> str:
        return f"{self.channels} x {self.size}x{self.size}, batch {self.batch}"


@dataclass
class Case:
    """An operator, its rivals and how many times fewer flops it has than vanilla."""

    operator: str
    shape: Shape
    ideal: float
    modules: dict[str, nn.Module]
    inputs: dict[str, Input]
    naive_rounds: int = 0

    def named(self, name: str) -> tuple[nn.Module, Input]:
        return self.modules[name], self.inputs.get(name, self.inputs["vanilla"])


def hetconv(shape: Shape, p: int, *, stride: int = 1, slow: bool = False) -> Case:
    c = shape.channels
    layers: dict[str, nn.Module] = {
        "vanilla": nn.Conv2d(c, c, 3, stride, 1, bias=False),
        "ours": HetConv2d(c, c, stride=stride, p=p),
        "dense": HetConv2d(c, c, stride=stride, p=p, execution="dense"),
        "grouped": HetConv2d(c, c, stride=stride, p=p, execution="grouped"),
    }
    if slow:
        layers["naive"] = naive.NaiveHetConv(c, c, p)
    x = torch.randn(shape.batch, c, shape.size, shape.size)
    ideal = 9 / (9 / p + 1 - 1 / p)
    name = f"hetconv p={p}" + (f" stride {stride}" if stride > 1 else "")
    return Case(name, shape, ideal, layers, {"vanilla": x}, naive_rounds=3 if slow else 0)


def octave(shape: Shape, alpha: float) -> Case:
    c, low = shape.channels, int(alpha * shape.channels)
    layers: dict[str, nn.Module] = {
        "vanilla": nn.Conv2d(c, c, 3, padding=1, bias=False),
        "ours": OctConv2d(c, c, 3, padding=1, alpha_in=alpha, alpha_out=alpha),
        "naive": naive.NaiveOctConv(c, c, alpha),
    }
    x = torch.randn(shape.batch, c, shape.size, shape.size)
    pair = (x[:, low:].clone(), x[:, :low, ::2, ::2].clone())
    ideal = 1 / (1 - 0.75 * alpha * (2 - alpha))
    inputs: dict[str, Input] = {"vanilla": x, "ours": pair, "naive": pair}
    return Case(f"octave alpha={alpha}", shape, ideal, layers, inputs, naive_rounds=100)


def res2net(shape: Shape, scales: int, base_width: int | None) -> Case:
    """A block of the middle of a stage, against the bottleneck whose flops are nearest."""
    c = shape.channels
    block = Res2NetBottleneck(c, c // 4, scales=scales, base_width=base_width)
    flops = _weights(block)
    width = min(range(4, c), key=lambda w: abs(_weights_of_bottleneck(c, w) - flops))
    hierarchy = sum(conv.weight.shape[0] for conv in block.path[3].convs)  # type: ignore[index]
    whole = hierarchy + hierarchy // max(1, scales - 1)
    layers: dict[str, nn.Module] = {
        "vanilla": naive.plain_bottleneck(c, width),
        "ours": block,
        "naive": naive.Bottleneck(c, whole, naive.NaiveHierarchy(whole, scales), inplace=False),
    }
    x = torch.randn(shape.batch, c, shape.size, shape.size)
    name = f"res2net {base_width or c // 4 // scales}w x {scales}s (vanilla width {width})"
    ideal = _weights_of_bottleneck(c, width) / flops
    return Case(name, shape, ideal, layers, {"vanilla": x}, naive_rounds=100)


def _weights(module: nn.Module) -> int:
    return sum(conv.weight.numel() for conv in module.modules() if isinstance(conv, nn.Conv2d))


def _weights_of_bottleneck(channels: int, width: int) -> int:
    return 2 * channels * width + 9 * width * width


def cases(device: str) -> Iterator[Callable[[], Case]]:
    """Made one by one: the source's HetConv alone is thousands of modules."""
    more = 16 if device == "cuda" else 1
    shapes = [(16, 32, 8), (32, 16, 16), (64, 16, 16), (128, 16, 8), (256, 8, 8), (512, 7, 4)]
    for channels, size, batch in shapes:
        shape = Shape(channels, size, batch * more)
        for p in (2, 4, 8):
            yield lambda s=shape, p=p: hetconv(s, p, slow=p == 4 and s.channels in (16, 64))  # type: ignore[misc]
        yield lambda s=shape: hetconv(s, 4, stride=2)  # type: ignore[misc]
    for channels, size, batch in shapes[1:5]:
        for alpha in (0.25, 0.5):
            yield lambda s=Shape(channels, size, batch * more), a=alpha: octave(s, a)  # type: ignore[misc]
    for channels, size, scales, base in ((256, 16, 4, 26), (256, 16, 4, None), (512, 8, 4, 26)):
        yield lambda s=Shape(channels, size, 8 * more), n=scales, b=base: res2net(s, n, b)  # type: ignore[misc]


def measured(
    case: Case, device: str, dtype: torch.dtype, rounds: int, *, graphs: bool
) -> dict[str, Any]:
    """Medians in ms, and how many times faster than vanilla (naive: ours than it), by mode.

    With `graphs` of replays: eager times on a GPU are mostly those of launches.
    """
    row: dict[str, Any] = {
        "operator": case.operator,
        "shape": str(case.shape),
        "flops_ideal": round(case.ideal, 2),
        "execution": None,
    }
    ready = {}
    for name in case.modules:
        module, x = case.named(name)
        layout = torch.contiguous_format if name == "naive" else torch.channels_last
        module.to(device=device, dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
        parts = tuple(
            t.to(device=device, dtype=dtype).contiguous(memory_format=layout)
            for t in (x if isinstance(x, tuple) else (x,))
        )
        ready[name] = module, parts if isinstance(x, tuple) else parts[0]
        if isinstance(module, HetConv2d) and name == "ours":
            row["execution"] = module.chosen_execution(parts[0])
    rivals = [name for name in ready if name != "naive"]
    for mode, step, names in (
        ("inference", timing.forward, rivals),
        ("folded", _folded, rivals[:2]),
        ("training", timing.forward_backward, rivals),
    ):
        for module, _ in ready.values():
            module.train(mode == "training")
        steps = {name: step(*ready[name]) for name in names}
        if graphs:
            steps = timing.as_graphs(steps, device)
        times = timing.interleaved(steps, rounds=rounds, device=device)
        row[mode] = {
            "ms": {name: round(statistics.median(t), 4) for name, t in times.items()},
            "against_vanilla": {n: timing.ratio(times, n, "vanilla") for n in names[1:]},
        }
        if case.naive_rounds and mode != "folded" and not graphs:
            pair = {name: step(*ready[name]) for name in ("ours", "naive")}
            times = timing.interleaved(pair, rounds=min(rounds, case.naive_rounds), device=device)
            row[mode]["against_naive"] = timing.ratio(times, "ours", "naive")
            row[mode]["ms"]["naive"] = round(statistics.median(times["naive"]), 4)
    return row


def _folded(module: nn.Module, x: Input) -> timing.Step:
    """The module as it stands in a network for inference: a convolution with its norm folded."""
    row = module if isinstance(module, naive.Bottleneck | Res2NetBottleneck) else _normed(module)
    return timing.forward(fold_batch_norm(row), x)


def _normed(conv: nn.Module) -> nn.Module:
    weight = next(conv.parameters())
    if isinstance(conv, OctConv2d):
        from convnas.search_space.layers.frequency import FrequencyNorm

        norm: nn.Module = FrequencyNorm(conv.out_channels, conv.alpha_out)
    else:
        assert isinstance(conv, nn.Conv2d | HetConv2d)
        norm = nn.BatchNorm2d(conv.out_channels)
    return nn.Sequential(conv, norm.to(device=weight.device, dtype=weight.dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--graphs", action="store_true", help="time replays of CUDA graphs")
    parser.add_argument("--only", default="", help="the operators whose name begins so")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kept = timing.keep_freed_memory()
    name = f"operators_{options.device}_{options.dtype}" + "_graphs" * options.graphs
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for make in cases(options.device):
        case = make()
        if not case.operator.startswith(options.only):
            continue
        dtype = getattr(torch, options.dtype)
        rows.append(measured(case, options.device, dtype, options.rounds, graphs=options.graphs))
        print(report.line(rows[-1]), flush=True)
        # What is measured is kept, whatever becomes of the rest.
        (options.out / f"{name}.partial.json").write_text(json.dumps(rows) + "\n")
    result = {
        "what": __doc__.splitlines()[0] if __doc__ else "",
        "conditions": {
            **timing.conditions(options.device),
            "device": options.device,
            "dtype": options.dtype,
            "rounds": options.rounds,
            "launched": "as graph replays" if options.graphs else "eagerly",
            "clock": "CUDA events" if options.device == "cuda" else "processor time of the thread",
            "allocator_keeps_freed_memory": kept,
        },
        "rows": rows,
    }
    keep(f"{name}.json", result, options.out)
    (options.out / f"{name}.md").write_text(report.markdown(result))
    (options.out / f"{name}.partial.json").unlink()


if __name__ == "__main__":
    main()
