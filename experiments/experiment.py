"""An experiment from start to finish: the run directory, the study, the workers, the search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from .. import strategies
from ..evaluators import resolve_devices
from ..search_space import Budget
from ..search_space.errors import InputError
from .config.schema import (
    ExperimentConfig,
    check_continues,
    demo_config,
    read_config,
    read_mapping,
    resolved,
)
from .errors import RunError
from .run import study as records
from .run.directory import Lock, RunDirectory
from .search import zero_cost_fit
from .search.final_choice import architecture_of, run_final
from .search.jobs import setup_of, slots_of
from .search.latency import with_measured
from .search.loop import Ending, Search
from .search.progress import Progress, Watch, unwatched
from .search.propose import Asking
from .search.pruning import RungPruner
from .search.signals import StopRequest
from .search.trial_log import Telling
from .tracking import Tracking
from .workers.pool import WorkerPool


@dataclass(frozen=True)
class Launched:
    """How a launch ended; what it found is in the run directory."""

    run: RunDirectory
    ending: Ending


def unannounced(address: str) -> None:
    """For a dashboard that nobody opens."""


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
        config = read_config(raw, **changes)
        return RunDirectory(Path("runs") / config.name), config
    run = RunDirectory(run_dir)
    if source is None:
        source = run.config_path if run.exists else demo_config()
    return run, read_config(source, **changes)


def launch(
    run: RunDirectory,
    config: ExperimentConfig,
    watch: Watch = unwatched,
    announce: Callable[[str], None] = unannounced,
) -> Launched:
    """Run, or go on with, the experiment until it has `config.trials` trials in all.

    `announce` takes the address of a dashboard that shows the search while it runs. Raises
    InputError when the run directory cannot be used or holds another experiment, RunError when the
    run cannot go on.
    """
    machines = config.backend.machines if config.backend.name == "nni" else []
    if machines:
        device = config.device  # each machine's own
    else:
        found = resolve_devices(config.device)
        device = str(found[0]) if len(found) == 1 else "cuda"
    config = resolved(config, device=device)
    config = with_measured(config, run.read_config() if run.exists else None)
    space = config.search_space()
    feasible = config.feasible(space)
    if config.backend.name == "nni":
        from .nni_backend.driver.machines import check_machines
        from .nni_backend.guard import check_place

        check_place(config.backend.host, config.backend.port)
        check_machines(machines)
    fresh = not run.exists
    run.create()
    with (
        _disk_errors(run),
        Lock(run) as lock,
        _leaving_nothing(run) if fresh and config.storage is None else nullcontext(),
        records.storage_errors(config.storage.url if config.storage else run.study_path),
        ExitStack() as at_end,
    ):
        settled = partial(
            zero_cost_fit.with_measured,
            config,
            feasible=feasible,
            log_path=run.log_path,
            log=run.log,
        )
        if config.storage is None:
            config = prepare(run, config, settled)
            records.read_all(run.study_path, config.objectives)  # a foreign one is left as it is
            ledger, storage = None, records.open_storage(run.study_path)
            at_end.callback(storage.engine.dispose)  # also where the run fails
            records.write_quickly(storage)
        else:
            from .cluster.share import share

            shared = share(run, config, facts_of(config), settled)
            ledger, storage, config = at_end.enter_context(shared)
        feasible = config.feasible(space)
        settings = config.strategy.settings
        study = records.open_study(
            storage,
            None if config.storage is None else config.name,
            sampler=strategies.create(config.strategy.name, feasible, seed=config.seed, **settings),
            pruner=pruner_of(config, run.log),
        )
        if machines:
            slots = [f"{m.user}@{m.host}" for m in machines for _ in range(m.workers)]
        else:
            slots = slots_of(config, feasible.dearest(), trials=config.trials)
        where = ", ".join(dict.fromkeys(slots))
        run.log(f"launch: {config.trials} trials, {len(slots)} workers on {where}")
        with Tracking(config.track, run, study) as tracking, ExitStack() as stack:
            pool: WorkerPool | None = None
            if not machines:
                setup = setup_of(config, feasible.cheapest())
                pool = WorkerPool(slots, setup, log=run.log_path, timeout=config.trial_timeout)
                stack.enter_context(pool)
            stop = stack.enter_context(StopRequest(pool.wake if pool else _nothing))

            def watch_and_note(progress: Progress) -> None:
                lock.note(pool.pids if pool else ())
                watch(progress)

            telling = Telling(
                config,
                study,
                storage,
                share=feasible.share,
                log=run.log,
                watch=watch_and_note,
                ended=lambda ended: tracking.ended(ended.number),
            )
            if ledger is not None and pool is not None:
                from .cluster.joining import join

                ending = join(
                    config,
                    study,
                    feasible,
                    ledger,
                    pool,
                    stop=lambda: stop.asked,
                    log=run.log,
                    watch=watch_and_note,
                    on_best=run.write_best,
                    ended=lambda ended: tracking.ended(ended.number),
                    follow=True,
                )
            elif pool is None or config.backend.name == "nni":
                from .nni_backend.driver.launcher import run_under_nni

                ending = run_under_nni(
                    config,
                    run,
                    study,
                    feasible,
                    telling,
                    pool,
                    concurrency=len(slots),
                    stop=lambda: stop.asked,
                    announce=announce,
                )
            else:
                asking = Asking(study, feasible, refuse=telling.fail, log=run.log)
                search = Search(config, asking, telling, pool)
                ending = search.run(lambda: stop.asked, run.write_best)
            if pool is None:
                run.log("final: not made on other machines; a launch with --backend local makes it")
            elif ending != "stopped":
                _choose(config, study, storage, pool, stop, run)
        run.log(f"end: {ending}")
        records.close(storage)
    return Launched(run, ending)


def _nothing() -> None:
    """There is nobody to wake."""


def prepare(
    run: RunDirectory, config: ExperimentConfig, settled: zero_cost_fit.Settled
) -> ExperimentConfig:
    """Write the settled config, which is returned, and make the study, a file. InputError where the
    run is another experiment's."""
    if config.storage is not None:
        allowed = "NNI runs the trials of one machine: leave it out"
        raise InputError("storage", config.storage.url, allowed)
    kept = run.read_config() if run.exists else None
    if kept is not None:
        check_continues(kept, config)
    config = settled(kept)
    run.write_config(config)
    records.create_study(run.study_path, config.name, config.objectives, facts_of(config))
    return config


def facts_of(config: ExperimentConfig) -> dict[str, Any]:
    """What is noted with the study, for people who look at it in a dashboard."""
    return {"budget": Budget.from_config(config.budget).to_config()}


def _choose(
    config: ExperimentConfig,
    study: optuna.Study,
    storage: RDBStorage,
    pool: WorkerPool,
    stop: StopRequest,
    run: RunDirectory,
) -> None:
    """The final choice among the best of the search, kept as the run's best."""
    found = records.ranked(study.get_trials(deepcopy=False))[: config.final.top]
    if len(found) < 2:
        return
    seeds = [(config.seed + 1 + i) % 2**32 for i in range(config.final.seeds)]
    run.log(f"final: the best {len(found)} trials, {len(seeds)} seeds each")
    judged = run_final(
        storage, config.name, found, seeds, pool, stop=lambda: stop.asked, log=run.log
    )
    if judged:
        run.write_best(architecture_of(found, judged[0]))


def pruner_of(config: ExperimentConfig, warn: Callable[[str], None]) -> optuna.pruners.BasePruner:
    settings = config.pruner
    if settings.has_rungs:
        return RungPruner(
            config.epochs,
            eta=settings.eta,
            min_epochs=settings.min_epochs,
            brackets=1 if settings.name == "asha" else None,
            warn=warn,
        )
    if settings.name == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=settings.startup_trials, n_warmup_steps=settings.warmup_epochs
    )


@contextmanager
def _leaving_nothing(run: RunDirectory) -> Iterator[None]:
    """Wrong input that shows only now, such as data that do not fit, leaves no run in the way of
    the corrected one."""
    try:
        yield
    except InputError:
        if not run.study_path.exists() or not records.read_trials(run.study_path):
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
