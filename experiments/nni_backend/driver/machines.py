"""Other machines as NNI's remote training service takes them, checked before anything starts."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....search_space.errors import InputError
from ...config.schema import ExperimentConfig, as_yaml
from ...config.sections import Machine
from .experiment_profile import experiment_id

_TRIAL = (
    'exec "$(command -v python || command -v python3)" -m '
    + "convnas.experiments.nni_backend.trial.remote"
)


def remote_id(name: str) -> str:
    """An experiment's id that no other has: it names a folder on every machine."""
    # 23 + 1 + 8 characters, the 32 that NNI allows.
    return f"{experiment_id(name)[:23]}-{secrets.token_hex(4)}"


def remote_service(machines: Sequence[Machine], code: Path) -> dict[str, Any]:
    """The training service of NNI's config; `code` is what trials find in their folder there.

    Raises InputError for a key file that is not there or a machine that is not known yet.
    """
    return {
        "platform": "remote",
        "reuseMode": False,
        "debug": False,
        "trialCommand": _TRIAL,
        "trialCodeDirectory": str(code.absolute()),
        "machineList": [
            {
                "host": machine.host,
                "port": machine.port,
                "user": machine.user,
                "sshKeyFile": str(_key_file(machine, f"backend.machines.{i}")),
                "pythonPath": str(Path(machine.python).parent),
                "useActiveGpu": True,
                "maxTrialNumberPerGpu": 1,
                "workers": machine.workers,
                "hostKeys": _host_keys(machine, f"backend.machines.{i}"),
            }
            for i, machine in enumerate(machines)
        ],
    }


def write_trial_code(config: ExperimentConfig, code: Path) -> None:
    """What a trial needs beside the installed package: the experiment."""
    code.mkdir(parents=True)
    (code / "config.yaml").write_text(as_yaml(config))


def check_machines(machines: Sequence[Machine]) -> None:
    """Raises InputError as `remote_service` does."""
    remote_service(machines, Path())


def _key_file(machine: Machine, key: str) -> Path:
    path = Path(machine.key_file).expanduser()
    if not path.is_file():
        raise InputError(
            f"{key}.key_file", machine.key_file, "a private key file, without passphrase"
        )
    return path.absolute()


def _host_keys(machine: Machine, key: str) -> list[str]:
    """ "TYPE BASE64" of each key that the user has accepted for the machine: NNI checks none."""
    # By the program, and not by reading the file: its host names may be hashed.
    program = shutil.which("ssh-keygen")
    if program is None:
        raise InputError("backend.machines", [], "it needs OpenSSH's client (ssh-keygen)")
    name = machine.host if machine.port == 22 else f"[{machine.host}]:{machine.port}"
    path = Path(machine.known_hosts).expanduser()
    done = subprocess.run(
        [program, "-F", name, "-f", str(path)], capture_output=True, text=True, check=False
    )
    lines = [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]
    # A line is HOST TYPE KEY; marked ones (@revoked, @cert-authority) are no keys of the machine.
    found = [f"{line[1]} {line[2]}" for line in lines if len(line) >= 3 and line[0][0] != "@"]
    if not found:
        allowed = (
            f"its key must be in {machine.known_hosts}: log in once by hand, "
            f"ssh -p {machine.port} {machine.user}@{machine.host}"
        )
        raise InputError(f"{key}.host", machine.host, allowed)
    return found
