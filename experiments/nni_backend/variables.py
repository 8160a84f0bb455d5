"""The environment between the launcher, NNI's manager, the tuner and the trials."""

from __future__ import annotations

import base64
import os

SOCKET = "CONVNAS_NNI_SOCKET"
"""Where the launcher listens, see `driver/socket_server.py`."""

CURRENT_FOLDER = "CONVNAS_NNI_FOLDER"
"""Where the launcher was started: the config's relative paths and modules are meant from there."""

SECRET = "CONVNAS_NNI_SECRET"
"""What the programs of a run know and others do not. A manager gives it to tuner and trials."""

TOKEN = "CONVNAS_NNI_TOKEN"
"""What lets one browser in, once. A manager keeps it from tuner and trials."""

USER = "convnas"
"""The name beside the secret."""


def login(secret: str | None = None) -> dict[str, str]:
    """The HTTP header that says who asks: a program that knows `secret` [default: this process's].

    Empty where there is none: an NNI that its user has started without the guard asks for none.
    """
    secret = secret or os.environ.get(SECRET)
    if secret is None:
        return {}
    words = base64.b64encode(f"{USER}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {words}"}
