"""A search from Python, as the commands do it: `convnas.launch`; and a run: `convnas.load_run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..search_space.errors import InputError
from .commands.terminal import LaunchView
from .experiment import launch as launch_experiment
from .experiment import plan
from .report.png import drawn
from .report.write import figures_of
from .run import study as records
from .run.directory import RunDirectory
from .run.results import Found, Results
from .search.progress import Watch

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


class LoadedRun:
    """A run directory to look at, going on or ended; every property reads the study anew."""

    def __init__(self, path: str | Path) -> None:
        self._run = RunDirectory.existing(path)
        self.path = self._run.path

    def __repr__(self) -> str:
        return f"LoadedRun({str(self.path)!r})"

    @property
    def best(self) -> Found | None:
        """The winner: by the final choice where there was one, else by the search's score. None
        where no trial is complete."""
        return next(iter(Results.of(self._run).best(1)), None)

    @property
    def trials(self) -> pandas.DataFrame:
        """A row for each trial, by number: its state, score, seconds, flops and params, its
        choices, and the evaluator's metrics. Needs pandas (the extra `notebook`)."""
        try:
            import pandas
        except ImportError as e:
            missing = "it needs pandas, which pip install 'convnas[notebook]' brings"
            raise InputError("trials", "a DataFrame", missing) from e
        rows = [
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "score": trial.user_attrs.get("score"),
                "seconds": trial.duration.total_seconds() if trial.duration else None,
                **{name: trial.user_attrs.get(name) for name in ("flops", "params", "latency_ms")},
                "key": trial.user_attrs.get("key"),
                **trial.params,
                **{f"metric.{k}": v for k, v in records.metrics_of(trial).items()},
            }
            for trial in records.read_trials(self._run.study)
        ]
        return pandas.DataFrame(rows).set_index("number") if rows else pandas.DataFrame()

    def plot_progress(self) -> Figure:
        """The best score so far, by trial. All figures are the report's, and need matplotlib."""
        return self._drawn("progress")

    def plot_tradeoff(self) -> Figure:
        """Score against multiply-adds, with the front and the budget."""
        return self._drawn("tradeoff")

    def plot_parallel(self) -> Figure:
        """A line for every trial through its choices to its score."""
        return self._drawn("parallel")

    def plot_importance(self) -> Figure:
        """How much each choice matters for the score."""
        return self._drawn("importance")

    def _drawn(self, key: str) -> Figure:
        made = {chart.key: chart for chart in figures_of(Results.of(self._run))}
        if key not in made:
            raise InputError("figure", key, f"too few complete trials; possible: {sorted(made)}")
        return drawn(made[key])


def load_run(path: str | Path) -> LoadedRun:
    """The run in a directory that a launch has made. Raises InputError."""
    return LoadedRun(path)


def launch(
    config: str | Path | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    *,
    watch: Watch | None = None,
    from_runs: Sequence[str | Path] = (),
    **changes: Any,
) -> LoadedRun:
    """Search as `convnas launch CONFIG -o OUT` does, and return the run.

    config: a YAML file or a mapping; without it the run of `out` goes on, or the demo begins.
    changes: trials, seed, workers, device, strategy, budget. from_runs: run directories whose
    trials are taken over or tried first, as with `--from`; the run's log says which. `watch` is
    told of the progress; by default a bar shows it in a notebook or terminal. Workers are
    processes: in a script, call it under `if __name__ == "__main__":`. Raises InputError, RunError.
    """
    run, settings = plan(config, out, **changes)
    if watch is not None:
        launch_experiment(run, settings, watch, from_runs=from_runs)
    else:
        with LaunchView() as bar:
            launch_experiment(run, settings, bar, from_runs=from_runs)
    return LoadedRun(run.path)
