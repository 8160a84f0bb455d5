"""The proxy evaluator in a process that may take only so much more memory than it has already."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convnas import evaluators
from convnas.evaluators import Evaluator
from convnas.search_space import Architecture, Choice

_VANILLA = (Choice("vanilla", depth=1),) * 3


def limited(settings: Mapping[str, Any], data: Mapping[str, Any], **where: Any) -> Evaluator:
    """`mebibytes`: how much more; the other settings are the proxy's."""
    proxy = {name: value for name, value in settings.items() if name != "mebibytes"}
    made = evaluators.create({"name": "proxy", **proxy}, data, **where)
    # What the first training imports and keeps is not one of the trials' needs.
    vanilla = Architecture("resnet-cifar", where["input"], where["classes"], _VANILLA)
    warm = evaluators.create({"name": "proxy", "epochs": 1}, data, **where)
    warm.evaluate(vanilla, seed=0)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = held + settings["mebibytes"] * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return made
