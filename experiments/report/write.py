"""A run's study in, a page out."""

from __future__ import annotations

from html import escape
from pathlib import Path

from ...search_space import Budget
from ...search_space.errors import InputError
from ..config.schema import as_yaml
from ..run import study as records
from ..run.directory import RunDirectory
from ..run.finalists import finalists
from ..run.objectives import score_name
from ..run.outputs import refusals, write_out
from ..run.results import Results, verdict
from ..search.pruning import Rung
from . import facts, page
from .charts import Chart, charts_of

_BEST = 5


def write_report(
    run: RunDirectory, out: Path | None = None, png: Path | None = None
) -> tuple[Path, list[Path]]:
    """Write the page to `out` (by default report.html in the run directory) and, where `png` names
    a folder, every figure into it. Returns the page's path and the figures'. Raises InputError.
    """
    results = Results.of(run)
    if not records.ranked(results.trials):
        raise InputError("RUN_DIR", str(run.path), "it must hold at least one complete trial")
    text, charts = rendered(results)
    target = out or run.path / "report.html"
    write_out(target, text)
    if png is None:
        return target, []
    figures = [png / f"{chart.key}.png" for chart in charts]
    with refusals(png):
        png.mkdir(parents=True, exist_ok=True)
        from .png import write_png

        for chart, path in zip(charts, figures, strict=True):
            write_png(chart, path)
    return target, figures


def figures_of(results: Results) -> list[Chart]:
    """The figures that a run's trials can fill, as data."""
    limits = Budget.from_config(results.config.budget).limits.get("flops", (None, None))
    score = score_name(results.config.objective_names[0])
    return charts_of(facts.scored(results.trials), finalists(results.final), limits, score)


def rendered(results: Results) -> tuple[str, list[Chart]]:
    """The page of these results, at least one trial of them complete, and its figures."""
    config, trials, final = results.config, results.trials, results.final
    found = facts.scored(trials)
    charts = figures_of(results)
    best = results.best(_BEST)
    said = verdict(best)
    nets = "".join(map(page.drawing, best))
    sections = [("Best architectures", (f"<p>{escape(said)}</p>" if said else "") + nets)]
    for chart in charts:
        more = page.effects_table(facts.effects(found)) if chart.key == "importance" else ""
        if chart.key == "proxies":
            more = _rungs(results.rungs())
        sections.append((chart.title, page.figure(chart) + more))
    sections.append(("Cost of the search", page.spent_table(facts.spent(trials, final))))
    sections.append(("Settings", f"<pre>{escape(as_yaml(config))}</pre>"))
    return page.page(f"{config.name}: architecture search", sections), charts


def _rungs(rungs: list[Rung]) -> str:
    if not rungs:
        return ""
    rows = [
        (
            str(r.epoch),
            # NaN: no tau could be computed.
            "-" if r.tau != r.tau else f"{r.tau:.2f}",
            str(r.trials),
            "on" if r.on else "off",
        )
        for r in rungs
    ]
    note = "<p>The pruner's rungs, over the trials that are never stopped:</p>"
    return note + page.table(("epoch", "Kendall's tau", "trials", "rung"), rows)
