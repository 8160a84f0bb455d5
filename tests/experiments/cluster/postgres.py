"""A PostgreSQL server of one's own: fresh, on loopback, with a password, gone afterwards."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convnas.experiments.ports import free_port

if TYPE_CHECKING:
    from typing_extensions import Self


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; None where PostgreSQL is not installed."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    return Path(found).parent if found else None


class Server:
    """The user is `convnas`, and the database too. PostgreSQL refuses to run as root."""

    def __enter__(self) -> Self:
        folder = programs()
        assert folder is not None
        self._programs = folder
        self.password = secrets.token_hex(8)
        self.port = free_port()
        self._place = Path(tempfile.mkdtemp(prefix="convnas-postgres-"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._place, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        secret = self._place / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        self._run("initdb", "-U", "convnas", "-A", "scram-sha-256", f"--pwfile={secret}", "-N")
        secret.unlink()
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 200,
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        log = self._place / "log"
        self._run("pg_ctl", "-w", "-t", "120", "-l", str(log), "-o", options, "start")
        try:
            self._run(
                "createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "convnas", "convnas"
            )
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._place)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"t{secrets.token_hex(6)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "convnas", name)
        return f"postgresql://convnas@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *argv: str) -> None:
        place = {"PGDATA": str(self._place / "data"), "PGPASSWORD": self.password}
        subprocess.run(
            [self._programs / program, *argv],
            env={**os.environ, **place},
            cwd=self._place,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            **self._as,
        )
