"""The environment between the launcher, NNI's manager, the tuner and the trials."""

from __future__ import annotations

SOCKET = "CONVNAS_NNI_SOCKET"
"""The launcher's switchboard."""

CURRENT_FOLDER = "CONVNAS_NNI_FOLDER"
"""Where the launcher was started: the config's relative paths and modules are meant from there."""
