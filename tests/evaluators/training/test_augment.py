"""Augmentation, against what each of its parts says it does to every single image."""

from __future__ import annotations

import pytest
import torch

from convnas.evaluators.training.augment import Augment

CPU = torch.device("cpu")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def numbered(count, size=6):
    """Images whose every pixel is another number, none of them 0."""
    return torch.arange(1.0, count * 2 * size * size + 1).view(count, 2, size, size)


def augment(seed=0, device=CPU, **settings):
    return Augment(device, **{"flip": False, "crop": 0, "cutout": 0, **settings}, seed=seed)


def shifts(image, reach):
    """All shifted versions of an image, the edge filled with 0, by where they start."""
    height, width = image.shape[1:]
    padded = torch.zeros(2, height + 2 * reach, width + 2 * reach)
    padded[:, reach : reach + height, reach : reach + width] = image
    places = range(2 * reach + 1)
    return {(i, j): padded[:, i : i + height, j : j + width] for i in places for j in places}


def test_without_settings_nothing_changes():
    images = numbered(4)
    assert torch.equal(augment()(images), images)


def test_crop_shifts_each_image_whole_by_every_amount_up_to_its_own():
    images = numbered(300, size=4)
    seen = set()
    for image, moved in zip(images, augment(crop=2)(images), strict=True):
        (place,) = (at for at, version in shifts(image, 2).items() if torch.equal(version, moved))
        seen.add(place)
    assert len(seen) == 25


def test_flip_mirrors_about_half_of_the_images():
    images = numbered(400)
    turned = 0
    for image, after in zip(images, augment(flip=True)(images), strict=True):
        assert torch.equal(after, image) or torch.equal(after, image.flip(2))
        turned += not torch.equal(after, image)
    # Binomial(400, 1/2): 140 to 260 is six standard deviations.
    assert 140 < turned < 260


def test_cutout_blanks_one_square_cut_off_at_the_edges_in_all_channels():
    images = numbered(200)
    whole = 0
    for image, after in zip(images, augment(cutout=3)(images), strict=True):
        blank = after == 0
        assert torch.equal(blank[0], blank[1])
        assert torch.equal(after[~blank], image[~blank])
        rows, columns = blank[0].any(1), blank[0].any(0)
        assert torch.equal(blank[0], rows[:, None] & columns)
        for line in (rows, columns):
            places = line.nonzero().flatten().tolist()
            assert places == list(range(places[0], places[0] + len(places)))
            assert 2 <= len(places) <= 3
        whole += int(blank[0].sum()) == 9
    assert whole > 50


def test_the_seed_fixes_what_happens_and_the_global_generator_is_not_touched():
    images = numbered(20)
    settings = {"flip": True, "crop": 2, "cutout": 3}
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, same, other = (augment(seed, **settings)(images) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("device", DEVICES)
def test_it_works_where_the_images_are(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    images = numbered(8).to(device)
    after = augment(device=torch.device(device), flip=True, crop=1, cutout=2)(images)
    assert after.device == images.device
    assert after.shape == images.shape
