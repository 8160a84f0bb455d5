"""What people see in the terminal: the live bar of a launch, and the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich import progress as bars
from rich.console import Console
from rich.table import Table

from ... import evaluators
from ...evaluators.table import stages_text
from ...search_space.budget import format_quantity
from ..config.schema import ExperimentConfig
from ..run.objectives import COSTS
from ..run.results import Found
from ..search.progress import Progress

if TYPE_CHECKING:
    from typing_extensions import Self


_PLAIN_WIDTH = 160
"""Columns where the output is not a terminal."""

AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
"""For every console: `[hetconv(p=4)]` is a stage of one block and no markup, `:p:` no emoji."""


class LaunchView:
    """Shows a search on stderr: one live bar in a terminal or notebook, else a line for every
    finished trial. `first` is said once the search has begun: nothing has refused it."""

    def __init__(self, first: str | None = None) -> None:
        self._first = first
        self._console = Console(stderr=True, **AS_IT_IS)
        # In Jupyter rich draws by ipywidgets; without them, lines.
        widgets = self._console.is_jupyter and find_spec("ipywidgets") is not None
        self._live = self._console.is_terminal or widgets
        self._bar = bars.Progress(
            bars.TextColumn("trial {task.completed:.0f}/{task.total:.0f}"),
            bars.BarColumn(bar_width=None),
            bars.TextColumn("{task.description}", markup=False),
            console=self._console,
            disable=not self._live,
        )
        self._task: bars.TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        words = _words(progress)
        if self._first:
            self._console.print(self._first, soft_wrap=True)
            self._first = None
        if self._live:
            if self._task is None:
                self._task = self._bar.add_task("", total=progress.total)
            done, total = progress.final or (progress.done, progress.total)
            self._bar.update(self._task, total=total, completed=done, description=words)
        elif progress.news:
            done, total = progress.final or (progress.done, progress.total)
            line = f"{done}/{total}  {words}  ({progress.news})"
            self._console.print(line, soft_wrap=True)


def prepare_data(config: ExperimentConfig) -> None:
    """Decode what a config's data keeps on disk, with a bar, before workers would wait for it."""
    input = config.space.get("input")
    if input is None:
        return
    proxy = config.evaluator.get("name") == "proxy"
    console = Console(stderr=True, **AS_IT_IS)
    bar = bars.Progress(
        bars.TextColumn("decoding images"),
        bars.BarColumn(bar_width=None),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task("")
    tenths = 0

    def tell(done: int, total: int) -> None:
        nonlocal tenths
        bar.start()
        bar.update(task, completed=done, total=total)
        if not console.is_terminal and 10 * done // total >= tenths:
            console.print(f"decoding images: {done} of {total}")
            tenths = 10 * done // total + 1

    try:
        evaluators.prepare_data(
            config.data,
            tuple(input),
            resolution=config.evaluator.get("resolution") if proxy else None,
            progress=tell,
        )
    finally:
        bar.stop()


def _words(progress: Progress) -> str:
    words = ["final choice"] if progress.final else []
    words.append(f"best {progress.best_score:.4f}" if progress.best_score is not None else "best -")
    words.append(f"feasible {100 * progress.feasible_share:.3g} %")
    if progress.failed:
        words.append(f"failed {progress.failed}")
    if progress.seconds_left is not None:
        words.append(f"left {timedelta(seconds=round(progress.seconds_left))}")
    return "  ".join(words)


def print_found(found: Iterable[Found], tested: Mapping[int, float] | None = None) -> None:
    """The best architectures, best first; beside the search's score that of the final choice, and
    the test accuracy of each trial's weights where some are `tested`."""
    found = list(found)
    final = ["new seeds"] if any(each.final for each in found) else []
    timed = ["latency"] if any(each.latency_ms is not None for each in found) else []
    test = ["test"] if tested else []
    objective = next((each.objective for each in found), "")
    names = ("", "trial", objective, *final, *test, "flops", "params", *timed, "architecture")
    table = Table(*names, box=None)
    for rank, each in enumerate(found, 1):
        again = each.final.shown if each.final else "-"
        table.add_row(
            str(rank),
            str(each.trial),
            f"{each.score:.4f}",
            *([again] if final else []),
            *([f"{tested[each.trial]:.4f}"] if tested else []),
            format_quantity(each.flops),
            format_quantity(each.params),
            *([_milliseconds(each.latency_ms)] if timed else []),
            stages_text(each.architecture),
        )
    _out().print(table)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}ms"


def print_front(front: Iterable[Found], objectives: list[str]) -> None:
    """The Pareto front, most accurate first."""
    table = Table("trial", *objectives, "architecture", box=None, title="Pareto front")
    for each in front:
        shown = [
            format_quantity(int(value)) if name in COSTS else f"{value:.4g}"
            for name, value in zip(objectives, each.values, strict=True)
        ]
        table.add_row(str(each.trial), *shown, stages_text(each.architecture))
    _out().print(table)


def print_cost(cost: dict[str, Any]) -> None:
    """Flops, params and memory of each part and of the whole, and latency where it is known."""
    names = tuple(cost["head"])
    table = Table("", *names, box=None)
    stages = [(f"stage{i}", part) for i, part in enumerate(cost["stages"], 1)]
    for label, part in [("stem", cost["stem"]), *stages, ("head", cost["head"]), ("all", cost)]:
        table.add_row(label, *(f"{part[name]:,}" for name in names))
    _out().print(table)
    print_lines(f"flops: {cost['convention']}")


def print_backbones(listed: Iterable[dict[str, Any]]) -> None:
    table = Table("name", "input", "classes", "stages", "params", "flops", "operators", box=None)
    for one in listed:
        table.add_row(
            one["name"],
            "x".join(map(str, one["input"])),
            str(one["classes"]),
            "-".join(map(str, one["depths"])),
            format_quantity(one["params"]),
            format_quantity(one["flops"]),
            " ".join(one["operators"]),
        )
    _out().print(table)


def print_rows(rows: list[list[str]]) -> None:
    """A table whose head is its first row."""
    table = Table(*rows[0], box=None)
    for row in rows[1:]:
        table.add_row(*row)
    _out().print(table)


def print_lines(*lines: str) -> None:
    for line in lines:
        _out().print(line, soft_wrap=True)


def _out() -> Console:
    console = Console(**AS_IT_IS)
    return console if console.is_terminal else Console(width=_PLAIN_WIDTH, **AS_IT_IS)


def print_space(summary: dict[str, Any]) -> None:
    """The counts, a histogram of flops with the budget's part of it, and what each choice costs."""
    low, high = summary["feasible_bounds"]
    share = f"({100 * summary['share']:.3g} %)"
    count = f"{low:,} {share}" if low == high else f"between {low:,} and {high:,}"
    size = f"{summary['size']:,} architectures"
    if summary["merged"]:
        size += f" ({summary['spellings']:,} as written: {_few(summary['merged'])})"
    lines = [f"space     {size}", f"feasible  {count}"]
    if summary["acceptance"] < 1:
        lines.append(f"sampling  keeps {100 * summary['acceptance']:.3g} % of its draws")
    for end, point in summary["architectures"].items():
        lines.append(f"{end}       {format_quantity(summary['flops'][end])} flops: {point}")
    if "latency_ms" in summary:
        fastest, slowest = summary["latency_ms"].values()
        lines.append(f"latency   {fastest:.3g} to {slowest:.3g} ms")
    lines += [f"note      {note}" for note in summary["notes"]]
    print_lines(*lines, "", *_histogram_lines(summary), "")
    table = Table(box=None, pad_edge=False, title="flops above the mean", title_justify="left")
    table.add_column("parameter")
    table.add_column("choice")
    table.add_column("flops", justify="right")
    for name, labels in summary["effects"].items():
        for i, (label, effect) in enumerate(labels.items()):
            sign = "-" if effect < 0 else "+"
            size = format_quantity(round(abs(effect)))
            table.add_row(name if i == 0 else "", str(label), f"{sign}{size}")
    _out().print(table)


def _few(merged: list[str]) -> str:
    more = f", and {len(merged) - 3} more, see --json" if len(merged) > 3 else ""
    return ", ".join(merged[:3]) + more


def _histogram_lines(summary: dict[str, Any]) -> list[str]:
    spread = summary["histogram"]
    least, most = summary["budget"].get("flops", (None, None))
    how = "all architectures" if spread["exact"] else "100,000 uniform draws"
    lines = [f"flops of {how}; # may be inside the flops budget"]
    greatest = max(spread["shares"])
    for start, end, share in zip(
        spread["edges"][:-1], spread["edges"][1:], spread["shares"], strict=True
    ):
        inside = (most is None or start <= most) and (least is None or end >= least)
        bar = ("#" if inside else "-") * round(40 * share / greatest)
        lines.append(f"{format_quantity(round(start)):>7}  {100 * share:5.1f} %  {bar}")
    return lines
