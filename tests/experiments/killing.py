"""A run one of whose processes is killed with -9 at a moment of its life, and what comes of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import psutil  # type: ignore[import-untyped]
import yaml
from optuna.trial import FrozenTrial, TrialState

from convnas import evaluators
from convnas.evaluators import Evaluation, Report, keep_going
from convnas.experiments.cli import entry_point
from convnas.experiments.ports import free_port
from convnas.experiments.workers.pool import WorkerPool
from convnas.search_space import Architecture
from convnas.tests.experiments.conftest import small
from convnas.tests.experiments.nni_backend import helpers

START, TRAINING, FINAL, CLOSING = PHASES = ("start-up", "training", "final choice", "closing")

TRIALS, TOP, SEEDS = 4, 2, 2
LONG = 300.0
"""Seconds that one launch may take on a busy machine."""
HOLD = 0.3
"""Seconds for which a launch is held before it lets its workers go, or nobody could hit them."""
OURS = {"config.yaml", "study.db", "log.txt", ".lock", "best.yaml", "nni"}
CACHE = "torchinductor_"
"""Torch keeps one among the temporary files, for whoever comes after."""

Reading = tuple[str, int]
"""Architecture and seed."""


class Missed(Exception):
    """The moment was over before the victim could be killed."""


class Recorded:
    """The proxy, that notes each evaluation as it begins. Setting `record`: the file."""

    def __init__(self, settings: Mapping[str, Any], data: Mapping[str, Any], **where: Any) -> None:
        self._record = Path(settings["record"])
        self._proxy = evaluators.create({"name": "proxy", "epochs": 1}, data, **where)

    def evaluate(self, arch: Architecture, *, seed: int, report: Report = keep_going) -> Evaluation:
        with self._record.open("a") as file:
            file.write(f"{arch.key} {seed}\n")
        return self._proxy.evaluate(arch, seed=seed, report=report)


def held() -> None:
    """The command, which stands still for `HOLD` where it lets its workers go."""
    leave = WorkerPool.__exit__

    def slowly(self: WorkerPool, *error: Any) -> None:
        time.sleep(HOLD)
        leave(self, *error)

    WorkerPool.__exit__ = slowly
    entry_point()


class Killed:
    """`TRIALS` brief trainings of the digits by two workers, and a final choice among two."""

    def __init__(self, folder: Path, *, url: str | None, nni: bool) -> None:
        self.faults: list[str] = []
        self._counts: Counter[str] = Counter()
        self._folder, self._url = folder, url
        self._run, self._temporary = folder / "run", folder / "tmp"
        self._temporary.mkdir(parents=True)
        self._record = folder / "record.txt"
        self._port = free_port() if nni else None
        config = small(
            evaluator={
                "name": f"python:{__name__}:Recorded",
                "record": str(self._record),
            },
            data={"name": "digits"},
            trials=TRIALS,
            workers=2,
            final={"top": TOP, "seeds": SEEDS},
        )
        if url is not None:
            config["storage"] = {"url": url, "heartbeat": 0.5, "grace": 1}
        (folder / "mine.yaml").write_text(yaml.safe_dump(config))

    def kill(self, victim: str, phase: str, wait: float) -> None:
        """Kill it after the share `wait` of about a phase's length, and wait for the end of all.

        Raises Missed.
        """
        process = self._launch()
        pid = self._when(process, phase, lambda: self._find(process.pid, victim))
        about = {START: 2.0 if victim == "launch" else 0.3, CLOSING: HOLD + 0.1}
        time.sleep(wait * about.get(phase, 0.8))
        # The last look and the kill are as close as they can be.
        if self._phase() != phase or process.poll() is not None:
            raise Missed
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            raise Missed from None
        code = self._end(process)
        allowed = {"launch": [-9], "manager": [1], "tuner": [1]}.get(victim, [0])
        if code not in allowed:
            self._fault("badly_ended", f"it ended with {code}: {self._said()}")
        self._look_at_what_is_left()

    def go_on(self) -> None:
        """Launch it again, and compare."""
        before, begun = self._studies(), self._readings_begun()
        kept = {
            _reading(trial) for trials in before for trial in trials if trial.state.is_finished()
        }
        in_the_middle = begun.keys() - kept
        if code := self._end(self._launch()):
            self._fault("badly_ended", f"launched again it ended with {code}: {self._said()}")
        self._look_at_what_is_left()
        trials, final = self._studies()
        self._counts["trials"] += len(trials)
        self._counts["readings_of_final_choices"] += len(final)
        self._counts["trials_failed_with_their_worker"] += _count_failed(trials + final)
        self._look_for_losses(before, (trials, final))
        for reading, times in self._readings_begun().items():
            if times > 1 + (reading in in_the_middle):
                self._fault("repeated", f"{reading} was trained {times} times")
        for of, each in (("trials", trials), ("final choice", final)):
            if len({_reading(trial) for trial in each}) < len(each):
                self._fault("repeated", f"the {of} hold one architecture and seed twice")
        names = {path.name for path in self._run.iterdir()} - OURS
        temporary = {path.name for path in self._temporary.iterdir()}
        names |= {name for name in temporary if not name.startswith(CACHE)}
        for name in names:
            self._fault("files_left", f"{name} is left")

    def _look_for_losses(
        self,
        before: tuple[list[FrozenTrial], list[FrozenTrial]],
        after: tuple[list[FrozenTrial], list[FrozenTrial]],
    ) -> None:
        for old, new in zip(before, after, strict=True):
            for trial in old:
                if trial.state.is_finished() and trial != new[trial.number]:
                    self._fault("lost", f"the finished trial {trial.number} has changed")
        for number in range(TRIALS):
            trial = after[0][number] if number < len(after[0]) else None
            if trial is None or not trial.state.is_finished():
                self._fault("lost", f"trial {number} is not there or not finished")
        if len(after[0]) != TRIALS:
            self._fault("lost", f"it has {len(after[0])} trials")
        wanted = min(TOP, sum(t.state == TrialState.COMPLETE for t in after[0])) * SEEDS
        if len(after[1]) != wanted:
            self._fault("lost", f"its final choice has {len(after[1])} readings of {wanted}")

    def _look_at_what_is_left(self) -> None:
        deadline = time.monotonic() + 30
        while (left := helpers.processes_of(self._run)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid, line in left:
            self._fault("processes_left", f"{pid} {line[:80]}")
        helpers.kill_all_of(self._run)
        if self._port is not None:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    self._fault("ports_left", f"port {self._port} still answers")

    def counts(self) -> dict[str, int]:
        zero = dict.fromkeys(
            ("lost", "repeated", "processes_left", "ports_left", "files_left", "badly_ended"), 0
        )
        return {**zero, **self._counts}

    def clear_away(self) -> None:
        helpers.kill_all_of(self._run)

    def _fault(self, kind: str, words: str) -> None:
        self._counts[kind] += 1
        self.faults.append(words)

    def _launch(self) -> subprocess.Popen[bytes]:
        under = [] if self._port is None else ["--backend", "nni", "--port", str(self._port)]
        code = f"from {__name__} import held; held()"
        config = [str(self._folder / "mine.yaml"), "-o", str(self._run)]
        with (self._folder / "said.txt").open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-c", code, "launch", *config, *under],
                start_new_session=True,
                stdout=said,
                stderr=said,
                env={**os.environ, "TMPDIR": str(self._temporary), "RUN": str(self._run)},
            )

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(LONG)
        except subprocess.TimeoutExpired:
            self._fault("badly_ended", "it did not end")
            process.kill()
            return process.wait()

    def _said(self) -> str:
        return (self._folder / "said.txt").read_text()[-300:]

    def _when(
        self, process: subprocess.Popen[bytes], phase: str, find: Callable[[], int | None]
    ) -> int:
        """The victim's process, once the phase has begun and it is there. Raises Missed."""
        while process.poll() is None:
            now = PHASES.index(self._phase())
            if now > PHASES.index(phase):
                break
            if now == PHASES.index(phase) and (pid := find()) is not None:
                return pid
            time.sleep(0.001)
        raise Missed

    def _phase(self) -> str:
        log = self._run / "log.txt"
        said = log.read_text() if log.exists() else ""
        if said.count(" final: trial ") >= TOP * SEEDS:
            return CLOSING
        if " final: the best " in said:
            return FINAL
        return TRAINING if self._record.exists() else START

    def _find(self, launch: int, victim: str) -> int | None:
        if victim == "launch":
            return launch
        with suppress(psutil.NoSuchProcess):
            below = {p.pid: " ".join(p.cmdline()) for p in psutil.Process(launch).children(True)}
            words = {"manager": "nni_node/main.js", "tuner": "--exp_params"}
            if victim in words:
                # Its shell has the words too, and came before it.
                return max(
                    (pid for pid, line in below.items() if words[victim] in line), default=None
                )
            for pid, line in below.items():
                parent = psutil.Process(pid).ppid()
                if "workers.fork_server" in line and (parent == launch) == (victim != "worker"):
                    return pid
        return None

    def _readings_begun(self) -> Counter[Reading]:
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        return Counter((line.split()[0], int(line.split()[1])) for line in lines)

    def _studies(self) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """The trials and the final choice's, as Optuna itself reads them."""
        if self._url is not None:
            url = self._url.replace("postgresql://", "postgresql+psycopg://")
        elif (self._run / "study.db").exists():
            url = f"sqlite:///{self._run / 'study.db'}"
        else:
            return [], []
        storage = optuna.storages.RDBStorage(url)
        try:
            there = optuna.get_all_study_names(storage)
            return tuple(
                optuna.load_study(study_name=name, storage=storage).trials if name in there else []
                for name in ("small", "small (final)")
            )
        finally:
            storage.engine.dispose()


def _reading(trial: FrozenTrial) -> Reading:
    return trial.user_attrs["key"], trial.user_attrs.get("seed", 0)


def _count_failed(trials: list[FrozenTrial]) -> int:
    failed = [t for t in trials if t.state == TrialState.FAIL]
    assert all("killed" in t.user_attrs["reason"] for t in failed), failed
    return len(failed)
