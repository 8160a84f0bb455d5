"""Neural architecture search over convolutions inside an exact compute budget.

The names below load on first use, so `import convnas` costs milliseconds: torch, optuna and nni
are imported only by what needs them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import evaluators, experiments, search_space, strategies
    from .experiments.conversion.convert import convert
    from .experiments.conversion.files import load_converted
    from .experiments.notebook import launch, load_run
    from .search_space import (
        Architecture,
        Budget,
        Choice,
        FeasibleSet,
        HetConv2d,
        InputError,
        OctConv2d,
        Res2NetBottleneck,
        SearchSpace,
        build_network,
        cost,
        fold_batch_norm,
        load_network,
        register_operator,
    )
    from .strategies import Exhausted

__version__ = "0.1.0"

_ROOM_OF = {
    "Architecture": "search_space",
    "Budget": "search_space",
    "Choice": "search_space",
    "Exhausted": "strategies",
    "FeasibleSet": "search_space",
    "HetConv2d": "search_space",
    "InputError": "search_space",
    "OctConv2d": "search_space",
    "Res2NetBottleneck": "search_space",
    "SearchSpace": "search_space",
    "build_network": "search_space",
    "convert": "experiments.conversion.convert",
    "cost": "search_space",
    "fold_batch_norm": "search_space",
    "launch": "experiments.notebook",
    "load_converted": "experiments.conversion.files",
    "load_network": "search_space",
    "load_run": "experiments.notebook",
    "register_operator": "search_space",
}
_ROOMS = ("evaluators", "experiments", "search_space", "strategies")

__all__ = [  # noqa: RUF022  (the rooms last)
    "Architecture",
    "Budget",
    "Choice",
    "Exhausted",
    "FeasibleSet",
    "HetConv2d",
    "InputError",
    "OctConv2d",
    "Res2NetBottleneck",
    "SearchSpace",
    "build_network",
    "convert",
    "cost",
    "fold_batch_norm",
    "launch",
    "load_converted",
    "load_network",
    "load_run",
    "register_operator",
    "evaluators",
    "experiments",
    "search_space",
    "strategies",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name in _ROOM_OF:
        value = getattr(importlib.import_module(f".{_ROOM_OF[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
