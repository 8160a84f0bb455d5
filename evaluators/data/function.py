"""Data of the user's own making: `data: {name: "python:MODULE:FUNCTION", ...}`.

The function is called once in each worker with the section's other keys (those of the division
left out) as keywords. It returns x and y as a pair or a mapping, of arrays or tensors, as an .npz
file would hold them: x_test and y_test too, if there is a test set, and the classes' `names`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch

from ...search_space import InputError
from ..hook import load_hook
from ..settings import read_settings
from .examples import DivisionSettings, Examples, checked

_ALLOWED = "the function must return x and y, a pair or a mapping of arrays or tensors"


@dataclass(frozen=True)
class HookSettings(DivisionSettings):
    """The division, and what the function is given."""

    name: str = field(default="", metadata={"problem": lambda value: None})
    own: Mapping[str, Any] = field(default_factory=dict, metadata={"problem": lambda value: None})

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> HookSettings:
        """From a config's data section. InputError for a division that cannot be."""
        known = [each.name for each in fields(DivisionSettings)]
        division = {key: value for key, value in data.items() if key in known}
        own = {key: value for key, value in data.items() if key not in (*known, "name")}
        # Only for its errors, which then name their place in the config.
        read_settings(DivisionSettings, division, "data")
        return cls(**division, name=data["name"], own=own)


def read_hook(settings: HookSettings, input: object) -> Examples:
    """What the function returns, checked. Its own exceptions become an InputError too."""
    try:
        given = load_hook(settings.name, "data.name")(**settings.own)
    except InputError:
        raise
    except Exception as e:
        reason = " ".join(f"{type(e).__name__}: {e}".split())
        raise InputError("data.name", settings.name, f"the function failed: {reason}") from e
    if isinstance(given, tuple | list) and len(given) == 2:
        given = dict(zip(("x", "y"), given, strict=True))
    if not isinstance(given, Mapping) or not {"x", "y"} <= given.keys():
        raise InputError("data.name", settings.name, _ALLOWED)
    names = given.get("names")
    if not (names is None or isinstance(names, list | tuple)):
        raise InputError("data.name", settings.name, "its names must be a list, one a class")
    arrays = {
        name: value.numpy(force=True) if isinstance(value, torch.Tensor) else np.asarray(value)
        for name, value in given.items()
        if name != "names"
    }
    return checked(arrays, f"data.name {settings.name}", names=names)
