"""What `convnas convert` is given: a function that makes the network, and images for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...evaluators.data.dataset import load_data
from ...evaluators.data.split import Split
from ...evaluators.hook import is_hook, load_hook
from ...search_space.errors import InputError
from ..first_config import look
from ..search.prepare import read_config

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Images:
    """`seen`: images to calibrate on, as `convert` takes them. `held`: others, with labels; None
    where there are no labels. `shape`: of one, (C, H, W), where that is known."""

    seen: Any
    held: Split | None
    shape: Shape | None


def load_model(name: str) -> tuple[nn.Module, Tensor | None]:
    """What the function gives: the network, and an example where it gives a pair. InputError."""
    if not is_hook(name):
        allowed = (
            "a function that makes the network and loads its weights, python:MODULE:FUNCTION;"
            " a file of weights or an exported graph has no layers to replace"
        )
        raise InputError("model", name, allowed)
    given = _called(name, "model")
    model, example = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    if not isinstance(model, nn.Module):
        raise InputError("model", name, f"it gave a {type(model).__name__}, not an nn.Module")
    return model, example


def load_images(data: str, shape: Shape | None, seed: int) -> Images:
    """From a config, a folder of images, a file or a known name (of which the train split
    calibrates and the validation split is held), or a function of one's own. InputError.

    Other images than a function's are normalised by the train split's mean and deviation.
    """
    if is_hook(data):
        given = _called(data, "data")
        return Images(given, None, shape or _shape_of(given))
    if Path(data).suffix in (".yaml", ".yml"):
        config = read_config(data)
        space = config.space
        loaded = load_data(
            config.data,
            seed=config.seed,
            input=shape or tuple(space["input"]),
            classes=space["classes"],
        )
    else:
        found = look(data)
        input = shape or (found.channels, *found.size)
        loaded = load_data(found.data, seed=seed, input=input, classes=len(found.names))
    search = loaded.search
    order = torch.randperm(len(search.train), generator=torch.Generator().manual_seed(seed))
    seen = search.train.part(order[:1024]).images
    return Images(seen, search.validation, search.input)


def _shape_of(given: Any) -> Shape | None:
    first = given if isinstance(given, Tensor) else next(iter(given), None)
    if isinstance(first, tuple | list):
        first = first[0]
    if not isinstance(first, Tensor) or first.ndim < 3:
        return None
    channels, height, width = first.shape[-3:]
    return channels, height, width


def _called(name: str, key: str) -> Any:
    try:
        return load_hook(name, key)()
    except InputError:
        raise
    except Exception as e:
        reason = " ".join(f"{type(e).__name__}: {e}".split())
        raise InputError(key, name, f"the function failed: {reason}") from e
