"""A first config for one's own data: what the data are, what suits them, and how long it will take.

The numbers are rules of thumb, each said in the file beside its line; only the time is measured.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from .. import evaluators
from ..evaluators.data.dataset import read_data_settings
from ..evaluators.data.image_folder import class_files
from ..search_space import (
    Architecture,
    Budget,
    Choice,
    FeasibleSet,
    SearchSpace,
    cost,
    format_quantity,
)
from ..search_space.errors import InputError

TRIALS = 40
EPOCHS = 6
_SIZES = (8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Sides that images are scaled to. Larger ones are for whoever has the hours: change `input`."""

_TRIAL_SECONDS = 60.0
"""A trial's training is shortened to about this where a whole pass over the data takes longer."""

_MEASURED = 2000
"""Examples of the one pass that is timed, at most."""


@dataclass(frozen=True)
class Look:
    """What the data are: `data`, a config's section; `counts` of each class's examples; `size`, the
    median (height, width); `channels`, 1 or 3."""

    data: Mapping[str, Any]
    names: tuple[str, ...]
    counts: tuple[int, ...]
    size: tuple[int, int]
    channels: int

    @property
    def skew(self) -> float:
        """The most frequent class's examples over the rarest one's; 1 where all are as many."""
        return max(self.counts) / min(self.counts)


def look(place: str) -> Look:
    """At a folder with a subfolder of images for every class, an .npz or .pt file, or a data set
    by its name. Raises InputError."""
    path = Path(place)
    if path.is_dir():
        return _look_at_folder(path)
    if path.suffix in (".npz", ".pt", ".pth"):
        data = {"name": "npz" if path.suffix == ".npz" else "tensors", "path": place}
    elif path.exists():
        allowed = "a folder with a subfolder for every class, an .npz or .pt file, or a known name"
        raise InputError("data", place, allowed)
    else:
        data = {"name": place}
    source, settings = read_data_settings(data)
    examples = source.read(settings, (1, 28, 28))
    counts = Counter(examples.y.tolist())
    _, channels, height, width = examples.x.shape
    numbers = tuple(counts[label] for label in range(examples.classes))
    return Look(data, examples.names, numbers, (height, width), channels)


def _look_at_folder(path: Path) -> Look:
    from PIL import Image

    files = class_files(path)
    if len(files) < 2 or min(map(len, files.values())) < 3:
        allowed = "subfolders of two or more classes, each with three images or more, are needed"
        raise InputError("data", str(path), allowed)
    # A look into every n-th file tells sizes and colours; all are read when the search begins.
    every = [file for found in files.values() for file in found]
    sizes, grey = [], True
    file = every[0]
    try:
        for file in every[:: max(1, len(every) // 200)]:
            with Image.open(file) as image:
                sizes.append((image.height, image.width))
                grey = grey and image.mode in ("1", "L", "LA", "I;16")
    except OSError as e:
        raise InputError("data", str(file), f"the image cannot be read ({e})") from e
    size = (
        int(statistics.median(height for height, _ in sizes)),
        int(statistics.median(width for _, width in sizes)),
    )
    data = {"name": "images", "path": str(path)}
    counts = tuple(len(found) for found in files.values())
    return Look(data, tuple(files), counts, size, 1 if grey else 3)


def side_for(size: tuple[int, int]) -> int:
    """The largest usual side that no image has to be enlarged for."""
    fitting = [side for side in _SIZES if side <= min(size)]
    return fitting[-1] if fitting else _SIZES[0]


@dataclass(frozen=True)
class Suggested:
    """A config as a mapping, what its vanilla network costs, and the seconds that were measured:
    `trial` for one trial, `search` for all of it with the final choice. `share`: the part of the
    training examples that a trial trains on."""

    config: dict[str, Any]
    vanilla_flops: int
    trial: float
    search: float
    share: float


def suggest(found: Look, *, name: str, budget: float, device: str, workers: int) -> Suggested:
    """`budget`: the share of the vanilla network's multiply-adds. Trains that network once, for one
    pass over at most 2,000 examples, to tell the time. Raises InputError."""
    side = side_for(found.size)
    shape = (found.channels, side, side)
    # Bottleneck blocks take all four operators.
    vanilla = Architecture("resnet-cifar", shape, len(found.names), (Choice("vanilla"),) * 3)
    flops = cost(vanilla).flops
    examples = sum(found.counts) * 0.6  # what is left of them to train on
    timed = min(1.0, _MEASURED / examples)
    seconds = _seconds_of_a_pass(found, vanilla, timed, device) / timed
    share = min(1.0, max(0.05, round(_TRIAL_SECONDS / (EPOCHS * seconds), 2)))
    trial = EPOCHS * seconds * share
    # The final choice's defaults: the five best, three new seeds each.
    runs = TRIALS + 5 * 3
    config = {
        "name": name,
        "space": _space_inside(round(budget * flops), vanilla),
        "budget": {"flops": round(budget * flops)},
        "data": dict(found.data),
        "evaluator": {"name": "proxy", "epochs": EPOCHS, **({"share": share} if share < 1 else {})},
        "strategy": {"name": "predictor"},
        "trials": TRIALS,
        "seed": 0,
    }
    return Suggested(config, flops, trial, runs * trial / workers, share)


def _space_inside(limit: int, vanilla: Architecture) -> dict[str, Any]:
    """A space of which some share is inside the budget: where the operators alone are not cheap
    enough, stages may be narrower too. Raises InputError where nothing is."""
    stage: dict[str, Any] = {
        "conv": ["vanilla", "octave", "hetconv", "res2net"],
        "alpha": [0.25, 0.5, 0.75],
        "p": [2, 4, 8],
        "scales": [2, 4],
        "depth": [1, 2],
    }
    whole = {
        "backbone": vanilla.backbone,
        "input": list(vanilla.input),
        "classes": vanilla.classes,
        "stage": stage,
    }
    inside: FeasibleSet[Architecture] | None = None
    # `whole` holds `stage` itself, so that widths put there are in it too. The first space with one
    # architecture in twenty inside is enough; failing that, the widest one.
    for width in ([1], [0.75, 1], [0.5, 0.75, 1], [0.25, 0.5, 0.75, 1]):
        if len(width) > 1:
            stage["width"] = width
        with suppress(InputError):
            inside = SearchSpace.from_config({"space": whole}).within(Budget(flops=limit))
        if inside is not None and inside.share > 0.05:
            break
    if inside is None:
        raise InputError("budget", limit, "no network of a quarter of the width is as cheap")
    return whole


def _seconds_of_a_pass(found: Look, architecture: Architecture, share: float, device: str) -> float:
    settings = {"name": "proxy", "epochs": 1, "share": share}
    evaluator = evaluators.create(
        settings,
        found.data,
        input=architecture.input,
        classes=architecture.classes,
        device=device,
        seed=0,
    )
    start = time.perf_counter()
    evaluator.evaluate(architecture, seed=0)
    return time.perf_counter() - start


def shown(seconds: float) -> str:
    """A time, as people say it."""
    return str(timedelta(seconds=max(1, round(seconds))))


def commented(found: Look, made: Suggested, budget: float) -> str:
    """The config as YAML, every choice with its reason."""
    height, width = found.size
    _, side, _ = made.config["space"]["input"]
    names = ", ".join(found.names[:8]) + (", ..." if len(found.names) > 8 else "")
    skew = f"the most frequent class has {found.skew:.1f} times the rarest one's"
    told = {
        "name": None,
        "space": f"{sum(found.counts)} images of {len(found.names)} classes ({names}), median"
        f" {height}x{width}, scaled to {side}x{side}: a larger input costs its square",
        "budget": f"{100 * budget:g} % of the vanilla network's"
        f" {format_quantity(made.vanilla_flops)} multiply-adds for one image",
        "data": f"examples of each class: {min(found.counts)} to {max(found.counts)}; {skew}",
        "evaluator": f"a trial trains {EPOCHS} epochs"
        + (f" on {100 * made.share:g} % of the training examples" if made.share < 1 else "")
        + f", about {made.trial:.1f} s here; convnas fidelity tells whether that ranks well",
        "strategy": None,
        "trials": f"about {shown(made.search)} with the final choice, measured"
        " here; as many more later as you like",
        "seed": None,
    }
    lines = ["# Written by convnas init; convnas schema says what else may stand here."]
    for key, value in made.config.items():
        if told[key]:
            lines.append(f"# {told[key]}")
        lines.append(_yaml(key, value))
    return "\n".join(lines) + "\n"


def _yaml(key: str, value: Any) -> str:
    """One key; a section without sections of its own on one line."""
    if not isinstance(value, dict):
        return f"{key}: {json.dumps(value)}"
    if any(isinstance(part, dict) for part in value.values()):
        return yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=None).rstrip()
    flow = yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=math.inf)
    return f"{key}: {flow.strip()}"
