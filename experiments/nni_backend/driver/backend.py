"""What `convnas launch --backend nni` does beyond a local launch: NNI's manager and around it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ...config.schema import ExperimentConfig
from ...run.directory import RunDirectory
from ...search.local_backend import local_study, slots_here
from ...search.prepare import Prepared
from ...search.session import Session
from ...workers.dispatch import Ending, dispatch
from ..database import write_database
from ..guard import check_place
from ..parameters import nni_space
from ..variables import CURRENT_FOLDER, SOCKET
from .experiment_profile import experiment_id, profile
from .machines import check_machines, remote_id, remote_service, write_trial_code
from .manager import Manager
from .manager_queue import ManagerQueue
from .remote_search import RemoteSearch
from .search import NNISearch
from .socket_server import SocketServer

_ROUND = 0.5
"""Seconds between two looks at the manager."""


class NNIBackend:
    """Trials are NNI's, evaluated here in our workers, or on the config's machines.

    announce: takes the dashboard's address once it answers. Raises InputError where NNI would be
    reachable from elsewhere, its port is taken, or a machine cannot be used.
    """

    study = staticmethod(local_study)

    def __init__(self, config: ExperimentConfig, announce: Callable[[str], None]) -> None:
        self._port, self._machines = config.backend.port, config.backend.machines
        self._announce = announce
        self.trains_here = not self._machines
        check_place(config.backend.host, self._port)
        check_machines(self._machines)

    def slots(self, prepared: Prepared) -> list[str]:
        if self.trains_here:
            return slots_here(prepared)
        return [f"{m.user}@{m.host}" for m in self._machines for _ in range(m.workers)]

    def search(self, run: RunDirectory, session: Session, slots: list[str]) -> Ending:
        search = NNISearch(session) if self.trains_here else RemoteSearch(session)
        config, study, feasible = session.config, session.study, session.prepared.feasible
        search.trials.take_stock()
        search.trials.show("")
        if search.trials.open <= 0:
            return "done"
        with ExitStack() as stack:
            server = stack.enter_context(SocketServer(search.receive, run.path / ".socket"))
            folder = run.path / "nni"
            # Only a picture of the study, which is drawn anew.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            service, name = None, experiment_id(config.name)
            if not self.trains_here:
                write_trial_code(config, folder / "trial_code")
                service = remote_service(self._machines, folder / "trial_code")
                name = remote_id(config.name)
            facts = profile(
                config.name,
                nni_space(feasible.distributions),
                command=_trial_command(),
                folder=folder,
                concurrency=min(len(slots), search.trials.open),
                trials=config.trials,
                tuner={"config": str(run.config_path.absolute())},
                service=service,
            )
            earlier = write_database(folder / name, study, feasible, facts, name)
            environment = {SOCKET: str(server.path), CURRENT_FOLDER: os.getcwd()}
            manager = stack.enter_context(
                Manager(self._port, folder, log=run.log_path, environment=environment)
            )
            # Left in reverse: the queue says what it still holds, tuner and trials are let
            # go, the manager ends, and last the socket that they speak through.
            stack.callback(search.release)
            if not manager.start("resume" if earlier else "create", name, facts, session.stop):
                return "stopped"
            search.attach(manager, stack.enter_context(ManagerQueue(manager.rest())))
            run.log(f"NNI: http://127.0.0.1:{self._port}")
            self._announce(manager.address)
            return dispatch(search, session.pool, session.stop, seconds=_ROUND)


def _trial_command() -> str:
    return shlex.join(
        [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "trial" / "shim.py")]
    )
