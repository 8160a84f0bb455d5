"""NNI's JSON read as data in this process: nothing in it is imported, called or unpickled.

NNI reads every message with json_tricks and hooks of its own, which take `__symbol__`,
`__nni_type__`, `__instance_type__`, `__nni_obj__`, `__instance_enum__` and others for the names of
code. A metric is such a message, so whoever may report one could run anything here, before any
method of the tuner is called. What a search needs (numbers, texts, lists, mappings) is plain JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import json_tricks


def read_json_as_data() -> None:
    """Replace json_tricks's readers, through which all of NNI's go, whatever name they have.

    To be called before NNI's dispatcher connects, which is after it has made the tuner.
    """
    json_tricks.loads = _loads
    json_tricks.load = _load


def _loads(text: str | bytes, **hooks: Any) -> Any:
    return json.loads(text)


def _load(file: Any, **hooks: Any) -> Any:
    return json.loads(Path(file).read_bytes() if isinstance(file, str) else file.read())
