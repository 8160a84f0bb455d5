"""An experiment from start to finish: the run directory, the study, the workers, the search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from optuna.storages import RDBStorage

from .. import evaluators
from ..search_space.errors import InputError
from .config.schema import ExperimentConfig, demo_config, parse_config, read_mapping, resolved
from .errors import RunError
from .run import study as records
from .run.directory import Lock, RunDirectory
from .run.objectives import measured
from .search import earlier_runs, zero_cost_fit
from .search.final_choice import choose
from .search.jobs import device_of, setup_of
from .search.local_backend import LocalBackend
from .search.prepare import Prepared, prepare
from .search.progress import Progress, Watch, unwatched
from .search.pruning import pruner_of
from .search.session import Session
from .search.signals import StopRequest
from .search.validate import validate
from .tracking import Tracking
from .workers.dispatch import Ending
from .workers.pool import WorkerPool


@dataclass(frozen=True)
class Launched:
    """How a launch ended; what it found is in the run directory."""

    run: RunDirectory
    ending: Ending


def unannounced(text: str) -> None:
    """For a dashboard that nobody opens, and lines that nobody reads."""


def plan(
    source: str | Path | Mapping[str, Any] | None = None,
    run_dir: str | Path | None = None,
    **changes: Any,
) -> tuple[RunDirectory, ExperimentConfig]:
    """Which run directory, and the config in force there; nothing is written yet.

    Without `source` it is the run's own config, or the demo's where there is no run yet. Without
    `run_dir` it is runs/NAME. `changes` are those of `config.read_config`. Raises InputError.
    """
    if run_dir is None:
        raw = read_mapping(demo_config()) if source is None else source
        config = parse_config(raw, **changes)
        run = RunDirectory(Path("runs") / config.name)
    else:
        run = RunDirectory(run_dir)
        if source is None:
            source = run.config_path if run.exists else demo_config()
        config = parse_config(source, **changes)
    validate(config)
    return run, config


class SearchBackend(Protocol):
    """Who runs the trials of a search, and where its study is. `trains_here`: in our workers."""

    trains_here: bool

    def slots(self, prepared: Prepared) -> list[str]:
        """Where each of the trials that run at once does: a device, or USER@HOST."""

    def study(
        self, run: RunDirectory, config: ExperimentConfig, settled: zero_cost_fit.Settled
    ) -> AbstractContextManager[tuple[RDBStorage, Prepared]]:
        """The study, made where it is not there yet, and what `settled` gives, kept with the run.

        Raises InputError where the study is another experiment's.
        """

    def search(self, run: RunDirectory, session: Session, slots: list[str]) -> Ending:
        """Until all trials are over or `session.stop` says so. Raises RunError."""


def backend_of(config: ExperimentConfig, announce: Callable[[str], None]) -> SearchBackend:
    """Raises InputError where what the config asks for cannot be had on this machine."""
    if config.backend.name == "nni":
        from .nni_backend.driver.backend import NNIBackend

        return NNIBackend(config, announce)
    if config.storage is not None:
        from .cluster.backend import ClusterBackend

        return ClusterBackend()
    return LocalBackend()


def launch(
    run: RunDirectory,
    config: ExperimentConfig,
    watch: Watch = unwatched,
    announce: Callable[[str], None] = unannounced,
    *,
    from_runs: Sequence[str | Path] = (),
    tell: Callable[[str], None] = unannounced,
) -> Launched:
    """Run, or go on with, the experiment until it has `config.trials` trials in all.

    `announce` takes the address of a dashboard that shows the search while it runs. `from_runs`:
    run directories whose trials a new run takes over or tries first, see `search/earlier_runs.py`;
    `tell` takes a line that says so. Raises InputError when no architecture meets the budget, or
    the run directory cannot be used or holds another experiment, or nothing can be taken over;
    RunError when the run cannot go on.
    """
    backend = backend_of(config, announce)
    config = resolved(config, device=device_of(config) if backend.trains_here else config.device)
    # Before the directory is made, so that wrong input found here leaves nothing behind.
    prepared = prepare(config, run.read_config() if run.exists else None)
    earlier = earlier_runs.read(from_runs, run, prepared)

    def settled(kept: ExperimentConfig | None) -> Prepared:
        measured = zero_cost_fit.with_measured(prepared, kept, log_path=run.log_path, log=run.log)
        trials, lines = earlier_runs.beginning(earlier, measured)
        for line in lines:
            run.log(line)
            tell(line)
        return replace(measured, beginning=tuple(trials))

    with ExitStack() as stack:
        lock = stack.enter_context(_in_use(run, config))
        storage, prepared = stack.enter_context(backend.study(run, prepared.config, settled))
        config = prepared.config
        study = records.open_study(
            storage,
            # A database may hold several experiments' studies, a run's file holds its own.
            config.name if config.storage else None,
            sampler=prepared.strategy,
            pruner=pruner_of(config, run.log),
        )
        slots = backend.slots(prepared)
        where = ", ".join(dict.fromkeys(slots))
        run.log(f"launch: {config.trials} trials, {len(slots)} workers on {where}")
        with (
            Tracking(config.track, run, study) as tracking,
            WorkerPool(
                slots if backend.trains_here else [],
                setup_of(config, prepared.feasible.cheapest()),
                log=run.log_path,
                timeout=config.trial_timeout,
            ) as pool,
            StopRequest(pool.wake) as stop,
        ):

            def watch_and_note(progress: Progress) -> None:
                # Each time, since workers are replaced.
                lock.note(pool.pids)
                watch(progress)

            session = Session(
                prepared,
                study,
                pool,
                stop=lambda: stop.asked,
                log=run.log,
                watch=watch_and_note,
                on_best=run.write_best,
                ended=tracking.ended,
            )
            ending = backend.search(run, session, slots)
            if not backend.trains_here:
                run.log("final: not made on other machines; a launch with --backend local makes it")
            elif ending != "stopped" and (best := choose(session)) is not None:
                run.write_best(best)
        run.log(f"end: {ending}")
        records.close(storage)
    return Launched(run, ending)


def check_evaluator(prepared: Prepared) -> None:
    """Make the config's evaluator, which loads its data, as a launch's workers do. Raises
    InputError, and RunError for whatever else goes wrong in it."""
    config, example = prepared.config, prepared.feasible.cheapest()
    try:
        evaluators.create(
            config.evaluator,
            config.data,
            input=example.input,
            classes=example.classes,
            device=str(evaluators.resolve_devices(config.device)[0]),
            seed=config.seed,
            objectives=measured(config.objectives),
        )
    except InputError as error:
        raise error.under("space") if error.key in ("input", "classes") else error from None
    except Exception as e:
        reason = " ".join(f"{type(e).__name__}: {e}".split())[:300]
        raise RunError(f"the evaluator cannot be made: {reason}") from e


@contextmanager
def _in_use(run: RunDirectory, config: ExperimentConfig) -> Iterator[Lock]:
    """The run directory, made where it is not there, and nobody else's for now."""
    fresh = not run.exists
    run.create()
    with (
        _disk_errors(run),
        Lock(run) as lock,
        # Inside the lock, so that nobody takes the directory while it goes. A study in a database
        # does not lie in it: nothing there would tell whether it has trials.
        _leaving_nothing(run) if fresh and config.storage is None else nullcontext(),
        records.storage_errors(config.storage.url if config.storage else run.study_path),
    ):
        yield lock


@contextmanager
def _leaving_nothing(run: RunDirectory) -> Iterator[None]:
    """Wrong input that shows only now, such as data that do not fit, leaves no run in the way of
    the corrected one."""
    try:
        yield
    except InputError:
        trials = records.read_trials(run.study_path) if run.study_path.exists() else []
        # Those of earlier runs are there still.
        if all(records.FROM_RUN in trial.user_attrs for trial in trials):
            run.discard()
        raise


@contextmanager
def _disk_errors(run: RunDirectory) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read our output has gone; the disk is well
    except OSError as e:
        raise RunError(f"the run directory {run.path} cannot be written: {e.strerror}") from e
