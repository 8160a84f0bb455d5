"""The run directory: its files, its log, and the lock that lets one launch at a time use it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...search_space import Architecture
from ...search_space.errors import InputError
from ...search_space.files import atomic_write, read_yaml
from ..config.plugins import load_plugins
from ..config.schema import ExperimentConfig, as_yaml, parse_config, read_mapping
from .postgres import Database

if TYPE_CHECKING:
    from typing_extensions import Self


KEPT = ("config.yaml", "study.db", "study.db-wal", "study.db-shm", "log.txt", ".lock")
"""The files a run lives on; everything else in its directory can be made again."""

_BY_TOOLS = ("nni", "tensorboard")
"""The folders that a launch's tools make there."""


class RunDirectory:
    """Paths and small writes. Only `create` makes the directory; reading needs no write access."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.yaml"
        self.study_path = self.path / "study.db"
        self.best_path = self.path / "best.yaml"
        self.log_path = self.path / "log.txt"
        self.lock_path = self.path / ".lock"
        self._study: Path | Database | None = None

    @property
    def exists(self) -> bool:
        return os.path.isfile(self.config_path)  # also where its name is too long to be one

    @property
    def study(self) -> Path | Database:
        """Where the study is, as the run's config says; a file of the run by default."""
        if self._study is None and self.exists:
            # Read once: of a run that goes on, the storage may not change.
            config = read_mapping(self.config_path)
            storage = config.get("storage")
            if storage:
                url = storage["url"] if isinstance(storage, dict) else storage
                name = str(config.get("name"))
                self._study = Database.parse(str(url), name, key="storage.url")
            else:
                self._study = self.study_path
        return self._study or self.study_path

    @classmethod
    def existing(cls, path: str | Path) -> RunDirectory:
        """Raises InputError when `path` holds no run."""
        run = cls(path)
        if not run.exists:
            raise InputError(
                "RUN_DIR", str(path), "it must be a folder that convnas launch has made"
            )
        # Without its plugins a run's architectures mean nothing.
        content = read_yaml(run.config_path)
        named = content.get("plugins") if isinstance(content, dict) else None
        load_plugins(named if isinstance(named, list) else [])
        return run

    def create(self) -> None:
        """Make the directory; a folder with somebody else's files is refused. Raises InputError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # A launch that was killed before it wrote its config leaves its lock and log.
            foreign = [
                p.name for p in self.path.iterdir() if not p.name.startswith((".", "log.txt"))
            ]
        except OSError as e:
            raise InputError("RUN_DIR", str(self.path), f"it cannot be made: {e.strerror}") from e
        if foreign and not self.exists:
            allowed = f"it must be a new or empty folder, or a run; it holds {min(foreign)!r}"
            raise InputError("RUN_DIR", str(self.path), allowed)

    def discard(self) -> None:
        """Take away a run that has come to nothing, its directory too; with anything else in it,
        it stays as it is."""
        if {path.name for path in self.path.iterdir()} <= {*KEPT, *_BY_TOOLS}:
            for name in _BY_TOOLS:
                shutil.rmtree(self.path / name, ignore_errors=True)
            # In KEPT's order: the config makes it a run, and the lock keeps others out to the last.
            for name in KEPT:
                (self.path / name).unlink(missing_ok=True)
            self.path.rmdir()

    def read_config(self) -> ExperimentConfig:
        """As a launch has checked and written it: read, and not checked again."""
        return parse_config(self.config_path)

    def write_config(self, config: ExperimentConfig) -> None:
        atomic_write(self.config_path, as_yaml(config))

    def write_best(self, architecture: Architecture) -> None:
        architecture.save(self.best_path)

    def weights_path(self, architecture: Architecture) -> Path:
        path = self.path / "weights" / f"{architecture.key}.pt"
        old = path.with_name(f"{architecture.key_as_written}.pt")  # of a run by 0.1.0
        return old if old.is_file() and not path.exists() else path

    def log(self, line: str) -> None:
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def workers(self) -> list[int] | None:
        """Process ids of the workers of the launch that is going on; None when there is none."""
        try:
            with self.lock_path.open("rb") as file:
                try:
                    # Shared, so that two who look do not take each other for a launch.
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    holder = json.loads(file.read() or b"{}")
                    return list(holder.get("workers", []))
        except (OSError, ValueError, AttributeError):
            pass  # gone, or somebody else's
        return None


class Lock:
    """Exclusive use of a run directory, given back by the kernel however the process ends."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            self._fd = os.open(self._run.lock_path, os.O_RDWR | os.O_CREAT, 0o644)
            self._take()
            if not self._is_there():
                raise BlockingIOError(errno.EAGAIN, "the file was taken away meanwhile")
        except OSError as e:
            path = str(self._run.path)
            if self._fd >= 0:
                os.close(self._fd)
            if e.errno in (errno.EAGAIN, errno.EACCES) and self._fd >= 0:
                allowed = (
                    "another launch is using it; wait for it, or choose another folder with -o"
                )
                raise InputError("RUN_DIR", path, allowed) from e
            raise InputError("RUN_DIR", path, f"it cannot be written: {e.strerror}") from e
        try:
            self.note(())
        except OSError:  # a full disk
            os.close(self._fd)
            raise
        return self

    def _take(self) -> None:
        deadline = time.monotonic() + 0.5
        while True:
            try:
                return fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # noqa: PERF203
                # `workers` above holds the lock for a moment while it looks.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _is_there(self) -> bool:
        """Whether what was locked is still the directory's: see `RunDirectory.discard`."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._fd), os.stat(self._run.lock_path))
        return False

    def note(self, workers: Sequence[int]) -> None:
        """Say who holds the lock, for `status`."""
        text = json.dumps({"pid": os.getpid(), "workers": list(workers)}).encode()
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text, 0)

    def __exit__(self, *error: object) -> None:
        # The file stays: were it taken away, two launches could each lock a file of this name.
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
