"""What `convnas launch --backend nni` does beyond a local launch: the manager, and all around it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import optuna

from ....search_space import Architecture, FeasibleSet
from ...config.schema import ExperimentConfig
from ...run.directory import RunDirectory
from ...search.loop import Ending
from ...search.trial_log import Telling
from ...workers.pool import WorkerPool
from ..database import write_database
from ..parameters import nni_space
from ..variables import CURRENT_FOLDER, SOCKET
from .call_server import Switchboard
from .experiment_profile import experiment_id, profile
from .machines import remote_id, remote_service, write_trial_code
from .manager import Manager
from .manager_queue import Desk
from .remote_search import RemoteSearch
from .search import NNISearch


def run_under_nni(
    config: ExperimentConfig,
    run: RunDirectory,
    study: optuna.Study,
    feasible: FeasibleSet[Architecture],
    telling: Telling,
    pool: WorkerPool | None,
    *,
    concurrency: int,
    stop: Callable[[], bool],
    announce: Callable[[str], None],
) -> Ending:
    """Run the search there; `announce` takes the dashboard's address once it answers.

    Trials are evaluated in `pool`; where that is None, on the config's machines.
    """
    telling.take_stock()
    if telling.best is not None:
        run.write_best(telling.best[1])
    telling.show("")
    if telling.open <= 0:
        return "done"
    port, machines = config.backend.port, config.backend.machines
    search: NNISearch | RemoteSearch
    if pool is None:
        search = RemoteSearch(config, study, telling)
    else:
        search = NNISearch(config, study, telling, pool)
    with ExitStack() as stack:
        board = stack.enter_context(Switchboard(search.heard))
        folder = run.path / "nni"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        service, name = None, experiment_id(config.name)
        if pool is None:
            write_trial_code(config, folder / "trial_code")
            service, name = remote_service(machines, folder / "trial_code"), remote_id(config.name)
        facts = profile(
            config.name,
            nni_space(feasible.distributions),
            command=_trial_command(),
            folder=folder,
            concurrency=min(concurrency, telling.open),
            trials=config.trials,
            tuner={"config": str(run.config_path.absolute())},
            service=service,
        )
        earlier = write_database(folder / name, study, feasible, facts, name)
        manager = stack.enter_context(
            Manager(
                port,
                folder,
                log=run.log_path,
                environment={SOCKET: str(board.path), CURRENT_FOLDER: os.getcwd()},
            )
        )
        stack.callback(search.let_go)
        if not manager.start("resume" if earlier else "create", name, facts, stop):
            return "stopped"
        desk = stack.enter_context(Desk(manager.rest()))
        run.log(f"NNI: http://127.0.0.1:{port}")
        announce(manager.address)
        return search.run(desk, manager, stop, run.write_best)


def _trial_command() -> str:
    return shlex.join(
        [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "trial" / "shim.py")]
    )
