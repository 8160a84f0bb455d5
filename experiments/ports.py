"""Addresses of this machine to listen at: loopback alone, and a port that is free."""

from __future__ import annotations

import ipaddress
import socket

from ..search_space.errors import InputError


def check_place(host: str, port: int, why: str) -> None:
    """InputError where `host` is reachable from elsewhere, or `port` is taken.

    why: the reason why others must not reach what will listen there.
    """
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        allowed = (
            f"{why}: it stays on 127.0.0.1; from another machine: "
            f"ssh -N -L {port}:127.0.0.1:{port} {socket.gethostname()}, then the printed address"
        )
        raise InputError("host", host, allowed)
    check_port(port)


def check_port(port: int, host: str = "127.0.0.1") -> None:
    """InputError where something else listens at `port` already."""
    with socket.socket() as probe:
        # Without it a port that a server has just left would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as e:
            raise InputError("port", port, f"choose a free one, like {free_port()} ({e})") from e


def free_port() -> int:
    """Free now; another process may take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
