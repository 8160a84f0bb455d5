"""The guard on this side: where it lies, who gets past it, and whether it holds."""

from __future__ import annotations

import http.client
import ipaddress
import secrets
import sys
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from .. import ports
from ..errors import RunError
from .variables import SECRET, TOKEN, USER, login

_LISTEN = "0A"
"""The kernel's code of a TCP socket that listens."""
_NETRC = "NETRC"


def guard_path() -> Path:
    return Path(str(resources.files(__package__) / "guard.js"))


def guarded_shell(environment: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """What a shell with `environment` is to export for a guarded NNI, and the browser's token.

    nnictl speaks through `requests`, which takes a password from the file that NETRC names. A shell
    that is guarded already keeps its secret: what it has started knows no other.
    """
    secret, place = environment.get(SECRET), environment.get(_NETRC)
    if not secret or not place or not Path(place).exists():
        secret = secrets.token_urlsafe(32)
        # Only this user may read it, and it goes when the machine or the login ends.
        folder = environment.get("XDG_RUNTIME_DIR")
        number, place = tempfile.mkstemp(
            prefix="convnas-", dir=folder if folder and Path(folder).is_dir() else None
        )
        with open(number, "w") as file:
            file.writelines(
                f"machine {name} login {USER} password {secret}\n"
                for name in ("localhost", "127.0.0.1")
            )
    token = secrets.token_urlsafe(32)
    # In NODE_OPTIONS a blank ends an option unless quoted; inside quotes a backslash escapes.
    path = str(guard_path()).replace("\\", "\\\\").replace('"', '\\"')
    options = [environment.get("NODE_OPTIONS", ""), f'--require "{path}"']
    exports = {
        "NODE_OPTIONS": " ".join(option for option in options if option),
        SECRET: secret,
        TOKEN: token,
        _NETRC: place,
    }
    return exports, token


def check_place(host: str, port: int) -> None:
    """InputError where NNI would be reachable from elsewhere, or the port is taken."""
    why = "NNI is kept to this machine, since whoever reaches it can run code as you"
    ports.check_place(host, port, why)


def verify(port: int, secret: str) -> None:
    """RunError unless the manager at `port` listens on loopback only and refuses strangers.

    secret: the run's, with which a request is refused all the same where its Host is foreign.
    """
    exposed = [address for address in _listening(port) if not address.is_loopback]
    if exposed:
        raise RunError(f"NNI listens on {exposed[0]}, not only on 127.0.0.1; it has been stopped")
    for what, headers in (
        ("a foreign Host", {"Host": "example.org", **login(secret)}),
        ("a foreign Origin", {"Origin": "http://example.org", **login(secret)}),
        ("somebody without a password", {}),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/api/v1/nni/check-status", headers=headers)
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != 403:
            raise RunError(f"NNI answered {what} with {status}; it has been stopped")


def _listening(port: int) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses on which something listens at `port`, as the kernel lists them (Linux)."""
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            digits, _, at = fields[1].partition(":")
            if fields[3] == _LISTEN and int(at, 16) == port:
                found.append(ipaddress.ip_address(_address(digits)))
    return found


def _address(digits: str) -> bytes:
    """The kernel writes addresses as 32-bit words in the machine's byte order."""
    raw = bytes.fromhex(digits)
    words = [raw[i : i + 4] for i in range(0, len(raw), 4)]
    return b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
