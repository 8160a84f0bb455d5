"""Free ports of this machine."""

from __future__ import annotations

import socket

from ...search_space.errors import InputError


def check_port(port: int) -> None:
    """InputError where something else listens at `port` already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as e:
            raise InputError("port", port, f"choose a free one, like {free_port()} ({e})") from e


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
