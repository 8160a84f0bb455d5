"""What `convnas worker` and `convnas proxy` do: find the study, then train for it or pass it on."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ... import __version__
from ...search_space.errors import InputError
from ..errors import RunError
from ..ports import check_port
from ..run import study as records
from ..run.directory import RunDirectory
from ..run.postgres import Database
from ..run.soundness import sound_trials
from ..search.jobs import device_of, setup_of, slots_of
from ..search.prepare import Prepared, prepared_from
from ..search.progress import Progress
from ..search.pruning import pruner_of
from ..search.session import Session
from ..search.signals import StopRequest
from ..workers.dispatch import Ending
from ..workers.pool import WorkerPool
from .claim_loop import take_part
from .place import StudyPlace, find

_LOOK = 0.2
"""Seconds between two looks at whether the proxy is to stop."""


def work(
    where: str,
    study: str | None,
    *,
    device: str,
    workers: int | str,
    log: Callable[[str], None],
) -> tuple[Ending, int]:
    """Train for the study at `where` until its search is over: how it ended, and trials ended here.

    Raises InputError where there is no such study or it is damaged, RunError where it is no longer
    reached.
    """
    url, study = _address(where, study)
    with _errors(url):
        place = find(url, study)
        try:
            prepared = prepared_from(place.config, device=device, workers=workers)
            return _work(place, prepared, log)
        finally:
            place.close()


def _work(place: StudyPlace, prepared: Prepared, log: Callable[[str], None]) -> tuple[Ending, int]:
    config, feasible = prepared.config, prepared.feasible
    its = config.versions.get("convnas", __version__)
    if its != __version__:
        log(f"warning: the search was launched with convnas {its}, and this is {__version__}")
    config = config.model_copy(update={"device": device_of(config)})
    prepared = replace(prepared, config=config)
    study = records.open_study(
        place.storage,
        place.study,
        sampler=prepared.strategy,
        pruner=pruner_of(config, log),
    )
    sound_trials(study, place.study)
    slots = slots_of(config, feasible.dearest(), trials=config.trials)
    log(f"worker: study {place.study!r}, {len(slots)} workers on {', '.join(dict.fromkeys(slots))}")
    made = 0

    def count(progress: Progress) -> None:
        nonlocal made
        made += bool(progress.news)

    with tempfile.NamedTemporaryFile(prefix="convnas-worker-", suffix=".txt") as output:
        try:
            with (
                WorkerPool(
                    slots,
                    setup_of(config, feasible.cheapest()),
                    log=Path(output.name),
                    timeout=config.trial_timeout,
                ) as pool,
                StopRequest(pool.wake) as stop,
            ):
                session = Session(prepared, study, pool, lambda: stop.asked, log, watch=count)
                ending = take_part(session, place.ledger, follow=False)
        finally:
            # What the processes that train have printed: in a cluster's logs, or it is gone.
            for line in Path(output.name).read_text(errors="replace").splitlines():
                log(f"| {line}")
    return ending, made


def serve_proxy(
    where: str,
    host: str,
    port: int,
    *,
    announce: Callable[[str], None],
    stop: Callable[[], bool],
) -> None:
    """Serve until `stop` says so. Raises InputError, and RunError where there is no server."""
    url, _ = _address(where, None)
    check_port(port, host)
    with _errors(url):
        # Enough for two to each thread of the server: `take` holds one while Optuna makes the
        # trial through another.
        storage = Database.parse(url, key="STORAGE_URL").open(connections=64)
        try:
            from .grpc_proxy import serve

            server = serve(storage, host, port)
            announce(f"grpc://{host}:{port}")
            while not stop():
                time.sleep(_LOOK)
            server.stop(grace=5).wait()
        finally:
            storage.engine.dispose()


def _address(where: str, study: str | None) -> tuple[str, str | None]:
    # A mistyped address, which may hold a password, is not repeated as the path of a run.
    if "://" in where or ("@" in where and not Path(where).exists()):
        return where, study
    run = RunDirectory.existing(where)
    place = run.study
    if not isinstance(place, Database):
        allowed = (
            "this run keeps its study in a file, for one machine; for several, set"
            " storage: postgresql://USER@HOST/DATABASE in its config before the first launch"
        )
        raise InputError("RUN_DIR", where, allowed)
    return place.url, study or place.study


@contextmanager
def _errors(url: str) -> Iterator[None]:
    with records.storage_errors(url):
        try:
            yield
        except Exception as e:
            # grpc's, without importing it where it is not used.
            if type(e).__module__.partition(".")[0] != "grpc":
                raise
            code = e.code() if hasattr(e, "code") else type(e).__name__
            raise RunError(f"the proxy {url} no longer answers: {code}") from e
