"""A PNG file classified by every format, by the lines of its card, where there is no convnas."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convnas.evaluators.data.dataset import load_data
from convnas.experiments import launch, plan
from convnas.experiments.cli import main
from convnas.search_space import load_network

Image = pytest.importorskip("PIL.Image")

Config = dict[str, Any]
Printed = Callable[[str, Path], list[str]]

NAMES = ("apple 'red'", "pear", "sky\\blue")
COLOURS = ((200, 40, 40), (120, 180, 60), (60, 90, 200))


def picture(label: int, seed: int, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) noise around the class's colour, a darker bar on the left, which is cut off."""
    rng = np.random.default_rng((label, seed))
    width, height = size
    pixels = rng.normal(COLOURS[label], 30, (height, width, 3)).clip(0, 255)
    pixels[:, : width // 8] = 0
    return pixels.astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for label, name in enumerate(NAMES):
        (root / name).mkdir()
        for seed in range(12):
            Image.fromarray(picture(label, seed, (30, 20))).save(root / name / f"{seed}.png")
    return root


def run_on(data: Config, space: Config, config: Config, path: Path) -> Path:
    config |= {"budget": {}, "data": data, "trials": 1, "training": {"epochs": 4, "batch_size": 8}}
    config["space"] = {**config["space"], **space}
    launch(*plan(config, path))
    assert main(["export", str(path), "--format", "pt", "-o", str(path.parent / "w.pt")]) == 0
    return path


def expected_of(run: Path, pixels: torch.Tensor) -> str:
    """What the trained network says of (C, H, W) pixels of the data's own units, prepared here."""
    (kept,) = (run / "weights").iterdir()
    data = torch.load(kept, weights_only=True)["info"]["data"]
    mean, std = (torch.tensor(data[key]).view(-1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        logits = load_network(kept)(((pixels - mean) / std)[None])
    return str(data["class_names"][int(logits.argmax())])


def said_by(printed: Printed, run: Path, form: str, out: Path, *more: str) -> str:
    """The last line that the card's code prints, where only what it names is installed."""
    suffix = "py" if form == "timm" else form
    path = out / f"best.{suffix}"
    assert main(["export", str(run), "--format", form, "-o", str(path), *more]) == 0
    card = path.with_name(f"{path.name}.md").read_text()
    code = card.split("```python\n")[1].split("\n```")[0]
    assert len(code.splitlines()) <= 10
    return printed(code, out)[-1]


def skip_without(form: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime", "timm": "timm"}.get(form, "torch"))


FORMATS = pytest.mark.parametrize("form", ["pt2", "onnx", "py", "timm"])


@FORMATS
def test_coloured_pictures_of_another_size(scripted, folder, tmp_path, form, printed) -> None:
    skip_without(form)
    data = {"name": "images", "path": str(folder)}
    space = {"input": [3, 16, 12], "classes": 3}
    run = run_on(data, space, scripted, tmp_path / "run")
    loaded = load_data(data, seed=0, input=(3, 16, 12), classes=3)
    assert loaded.names == NAMES
    shutil.copy(folder / NAMES[2] / "3.png", tmp_path / "image.png")
    # The data set read that picture too, cut and scaled: it is one of its examples.
    (own,) = (
        split.pixels[i]
        for split in (loaded.search.train, loaded.search.validation, loaded.test)
        for i in range(len(split))
        if np.array_equal(split.pixels[i].numpy(), read_as_the_data_do(folder / NAMES[2] / "3.png"))
    )
    said = said_by(printed, run, form, tmp_path)
    wanted = expected_of(run, own.float())
    assert wanted in NAMES
    assert said == wanted or said.startswith(f"({wanted!r}, ")


def read_as_the_data_do(path: Path) -> np.ndarray:
    from PIL import ImageOps

    return np.asarray(ImageOps.fit(Image.open(path), (12, 16))).transpose(2, 0, 1)


@FORMATS
def test_grey_digits_whose_white_is_16(trained_digits, tmp_path, form, printed) -> None:
    skip_without(form)
    run, x = trained_digits
    pixels = (x.numpy()[0] * 255 / 16).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    said = said_by(printed, run, form, tmp_path)
    assert re.search(r"\d", said).group() == expected_of(run, x)


@pytest.fixture(scope="module")
def trained_digits(finished, tmp_path_factory):
    run = Path(shutil.copytree(finished, tmp_path_factory.mktemp("digits") / "run"))
    assert main(["export", str(run), "--format", "pt"]) == 0
    from sklearn.datasets import load_digits

    image = load_digits().data[7].reshape(1, 8, 8)
    return run, torch.from_numpy(image).float()


@torch.no_grad()
def test_predict_gives_every_class_its_probability(trained_digits, tmp_path, printed) -> None:
    run, x = trained_digits
    torch.save(x, tmp_path / "x.pt")
    assert main(["export", str(run), "--format", "py", "-o", str(tmp_path / "best.py")]) == 0
    code = "import torch, best\nfor name, p in best.predict(torch.load('x.pt')): print(name, p)"
    rows = [line.split() for line in printed(code, tmp_path)]
    assert sorted(name for name, _ in rows) == list("0123456789")
    shares = [float(share) for _, share in rows]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert shares == sorted(shares, reverse=True)
    assert rows[0][0] == expected_of(run, x)
