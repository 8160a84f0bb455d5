"""The lines on a card that classify a picture, and what they say of how it is prepared.

They need what the format needs, numpy and Pillow; `image.png` is whoever reads them's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Usage:
    """Lines of Python. `imports` and `loads` give the network, with the fields file, stem (of the
    file's name) and name (the model's, in timm); `runs` classifies a picture after them."""

    imports: str
    loads: str
    runs: str = ""


PICTURE = """image = {opened}
x = numpy.float32(image).reshape({height}, {width}, -1){scaled}
x = ((x - data['mean']) / data['std']).astype('float32').transpose(2, 0, 1)[None]"""
"""From a picture to the network's input (1, C, H, W); `data`: as kept with the weights."""

NAMED = "print(data['class_names'][logits.argmax()])"


def lines(
    usage: Usage, fields: Mapping[str, str], data: Mapping[str, Any], plugins: str = ""
) -> list[str]:
    """What to run: that which gives the network, and, where the data say what a picture's black
    and white are, that which classifies one. `plugins`: modules with the user's own operators."""
    imports = f"import {usage.imports.format(**fields)}{plugins}"
    loading = usage.loads.format(**fields).split("\n")
    values, colour = data.get("range"), data.get("colour")
    if not (usage.runs and values and colour):
        return [imports, *loading]
    from ...evaluators.data.dataset import CROPPED

    _, height, width = data["input"]
    mode = "L" if colour == "grey" else "RGB"
    opened = f"Image.open('image.png').convert('{mode}')"
    cropped = data["resize"] == CROPPED
    size = f"({width}, {height})"
    black, white = values
    # Bytes 0 to 255 become black to white; !r keeps every digit of the factor.
    scale = f" * {(white - black) / 255!r}" if white - black != 255 else ""
    runs = usage.runs.format(
        **fields,
        mode=mode,
        height=height,
        width=width,
        scaled=scale + (f" + {black!r}" if black else ""),
        opened=f"ImageOps.fit({opened}, {size})"
        if cropped
        else f"{opened}.resize({size}, Image.Resampling.BILINEAR)",
    )
    pillow = ["from PIL import Image" + ", ImageOps" * ("ImageOps" in runs)] * ("Image" in runs)
    return [imports, *pillow, *loading, *runs.split("\n")]


def preparation(data: Mapping[str, Any]) -> list[str]:
    """How a picture becomes the network's input, as the card's rows."""
    if "class_names" not in data:
        return []
    names, values = data["class_names"], data["range"]
    shown = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
    mean, std = ([float(f"{value:.6g}") for value in data[key]] for key in ("mean", "std"))
    units = f"{values[0]:g} to {values[1]:g}" if values else "of the data's own, as they were given"
    size = "x".join(map(str, data["input"]))
    given = f"{size} (channels, height, width), {data['colour'] or 'no picture'}, values {units}"
    prepared = f"`(x - mean) / std` with mean {mean} and std {std} in these units"
    return [
        f"- **Classes**: {shown}",
        f"- **Input**: {given}, then {prepared}",
        f"- **Resized**: {data['resize']}",
    ]
