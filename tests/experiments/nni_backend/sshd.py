"""Another machine, as far as ssh can tell: a real sshd on a loopback port, with its own home."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convnas.tests.experiments.conftest import until
from convnas.tests.experiments.nni_backend.helpers import free_port

if TYPE_CHECKING:
    from typing_extensions import Self


def sshd_program() -> str | None:
    return shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))


class Sshd:
    """Everything of it lies in `folder`; `python_path` is PYTHONPATH there."""

    def __init__(self, folder: Path, python_path: str) -> None:
        self.folder, self.home, self.port = folder, folder / "home", free_port()
        self._python_path = python_path

    @property
    def machine(self) -> dict[str, Any]:
        """As the config's `backend.machines` has it."""
        return {
            "host": "127.0.0.1",
            "user": getpass.getuser(),
            "port": self.port,
            "key_file": str(self.folder / "key"),
            "known_hosts": str(self.folder / "known_hosts"),
            "python": sys.executable,
        }

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True)
        for name in ("key", "host_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(command, check=True)
        host_key = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        environment = {"HOME": self.home, "PYTHONPATH": self._python_path, "OMP_NUM_THREADS": 1}
        words = " ".join(f'"{key}={value}"' for key, value in environment.items())
        (self.folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder / 'host_key'}\n"
            f"AuthorizedKeysFile {self.folder / 'key.pub'}\nStrictModes no\nPermitRootLogin yes\n"
            "UsePAM no\nPasswordAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\n"
            f"SetEnv {words}\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it shuts itself in
        program = sshd_program()
        assert program is not None
        with (self.folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [program, "-D", "-e", "-f", str(self.folder / "config")],
                stderr=log,
                start_new_session=True,
            )
        until(lambda: "listening" in (self.folder / "log").read_text(), 30)
        return self

    def cut(self) -> None:
        """Cut every connection, and take no new ones."""
        found = {self._process.pid}
        while True:
            parents = {
                int(path.name): int(stat.rpartition(")")[2].split()[1])
                for path, stat in _stats().items()
                if "(sshd)" in stat
            }
            more = {pid for pid, parent in parents.items() if parent in found} - found
            if not more:
                break
            found |= more
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __exit__(self, *error: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _stats() -> dict[Path, str]:
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[path] = (path / "stat").read_text()
    return found
