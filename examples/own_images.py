"""A search over your own images: a folder with one subfolder for every class.

Run: python examples/own_images.py FOLDER [--trials 6]    (pip install 'convnas[vision]')
Without FOLDER it makes a small one of scikit-learn's digits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_digits

import convnas
from convnas.experiments import best_of, launch, plan

SIZE = 16  # images are resized to SIZE x SIZE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/images"))
    options = parser.parse_args()
    folder = options.folder or digits_as_images(options.out.with_name("digit-images"))
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())

    config = {
        "name": "images",
        "space": {
            "backbone": "resnet-cifar",
            "input": [3, SIZE, SIZE],
            "classes": len(classes),
            "stage": {"conv": ["vanilla", "octave", "hetconv"], "alpha": [0.25, 0.5], "p": [2, 4]},
        },
        "budget": {"flops": "4M"},
        "data": {"name": "images", "path": str(folder)},
        "evaluator": {"name": "proxy", "epochs": 3, "batch_size": 16},
        "final": {"top": 0},
        "trials": options.trials,
        "workers": 1,
    }
    launched = launch(*plan(config, options.out))
    for found in best_of(launched.run, 3):
        print(f"accuracy {found.score:.4f}  {found.flops:,} flops  {found.architecture}")

    # The best one, trained on all but the test images: on the command line,
    # convnas train RUN_DIR, or convnas export RUN_DIR --format pt.
    best = best_of(launched.run, 1)[0].architecture
    trained = convnas.evaluators.retrain(best, config["data"], {"epochs": 6, "batch_size": 16})
    print(f"test accuracy {trained.metrics['test_accuracy']:.4f}")
    picture = next((folder / classes[0]).iterdir())
    guess = predict(trained, picture)
    print(f"{picture.name} of class {classes[0]!r} is taken for {classes[guess]!r}")


def predict(trained: convnas.evaluators.Trained, picture: Path) -> int:
    """The class of one image file, prepared as the training images were."""
    image = Image.open(picture).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).float()
    pixels = pixels.view(1, SIZE, SIZE, 3).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(trained.data[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        return int(trained.network((pixels - mean) / std).argmax())


def digits_as_images(folder: Path, each: int = 30) -> Path:
    """`each` PNG files of every digit."""
    digits = load_digits()
    for label in range(10):
        (folder / f"digit {label}").mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(digits.images[digits.target == label][:each]):
            pixels = Image.fromarray((image * 15.9).astype("uint8"))
            pixels.save(folder / f"digit {label}" / f"{i}.png")
    return folder


if __name__ == "__main__":
    main()
