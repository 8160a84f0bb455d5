"""The guard on this side: where it lies, and whether it holds."""

from __future__ import annotations

import http.client
import ipaddress
import sys
from importlib import resources
from pathlib import Path

from .. import ports
from ..errors import RunError

_LISTEN = "0A"


def guard_path() -> Path:
    return Path(str(resources.files(__package__) / "guard.js"))


def check_place(host: str, port: int) -> None:
    """InputError where NNI would be reachable from elsewhere, or the port is taken."""
    why = "NNI has no login, and whoever reaches it can run code as you"
    ports.check_place(host, port, why)


def verify(port: int) -> None:
    """RunError unless the manager at `port` listens on loopback only and refuses strangers."""
    exposed = [address for address in _listening(port) if not address.is_loopback]
    if exposed:
        raise RunError(f"NNI listens on {exposed[0]}, not only on 127.0.0.1; it has been stopped")
    for what, headers in (
        ("a foreign Host", {"Host": "example.org"}),
        ("a foreign Origin", {"Origin": "http://example.org"}),
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
