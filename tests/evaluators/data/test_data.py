from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from convnas.evaluators import load_data
from convnas.evaluators.data.dataset import stratified
from convnas.search_space import InputError

DIGITS = {"name": "digits"}


def digits(**changes):
    return load_data(
        {**DIGITS, **changes.pop("data", {})},
        **{"seed": 0, "input": (1, 8, 8), "classes": 10, **changes},
    )


def save(path, **arrays):
    np.savez(path, **arrays)
    return {"name": "npz", "path": str(path)}


def test_digits_are_all_there_and_in_one_split_only():
    data = digits()
    pixels, _ = load_digits(return_X_y=True)
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    splits = data.search.train, data.search.validation, data.test
    seen = torch.cat([split.images for split in splits]) * std + mean
    found = seen.round().flatten(1).numpy()
    assert sorted(map(tuple, found)) == sorted(map(tuple, pixels))


@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.2), (0.1, 0.5), (0.001, 0.9989)])
def test_the_division_is_disjoint_complete_and_has_every_class_in_its_share(validation, test):
    labels = np.repeat(np.arange(5), [3, 10, 50, 100, 200])
    parts = stratified(labels, validation, test, seed=1)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    for label, count in enumerate([3, 10, 50, 100, 200]):
        train, val, tested = (int((labels[part] == label).sum()) for part in parts)
        assert min(train, val, tested) >= 1
        assert abs(tested - test * count) <= 2
        assert abs(val - validation * count) <= 1.5


def test_the_seed_alone_fixes_the_division():
    one, same, other = digits(seed=1), digits(seed=1), digits(seed=2)
    assert torch.equal(one.test.images, same.test.images)
    assert not torch.equal(one.test.labels, other.test.labels)


def test_split_seed_keeps_the_division_over_seeds():
    one, two = (digits(seed=seed, data={"split_seed": 5}) for seed in (1, 2))
    assert torch.equal(one.test.images, two.test.images)
    assert one.split_seed == 5


def test_resizing_does_not_change_the_division():
    small, large = digits(), digits(input=(1, 16, 16))
    assert torch.equal(small.test.labels, large.test.labels)
    assert large.test.images.shape == (len(small.test), 1, 16, 16)


def test_images_are_normalised_by_the_train_split():
    train = digits().search.train.images
    assert train.dtype == torch.float32
    assert train.mean().item() == pytest.approx(0, abs=1e-5)
    assert train.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_grey_images_are_repeated_over_three_channels():
    images = digits(input=(3, 8, 8)).test.images
    assert torch.equal(images[:, 0], images[:, 2])


def test_description_records_sizes_seed_and_normalisation():
    about = digits(seed=3).describe()
    assert about["split_seed"] == 3
    assert sum(about["sizes"].values()) == 1797
    # A fifth of 1797, class by class: within half an example a class.
    assert about["sizes"]["test"] == pytest.approx(1797 / 5, abs=5)
    assert len(about["mean"]) == len(about["std"]) == 1


@pytest.mark.parametrize("own_test", [False, True])
def test_a_search_cannot_reach_the_test_split(tmp_path, own_test):
    """Neither as a split nor through the memory that its splits are views of."""
    x = np.arange(40, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)  # image n holds n
    given = {"x": x, "y": np.arange(40) % 4}
    if own_test:
        given |= {"x_test": x[:8] + 100, "y_test": given["y"][:8]}
    data = load_data(save(tmp_path / "d.npz", **given), seed=0, input=(1, 4, 4), classes=4)
    tested = set(data.test.pixels.flatten().tolist())
    assert len(tested) == 8
    for split in (data.search.train, data.search.validation):
        memory = torch.tensor([], dtype=split.pixels.dtype).set_(split.pixels.untyped_storage())
        assert tested.isdisjoint(memory.tolist())
    assert not any("test" in name for name in vars(data.search))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(40, 6, 5), (40, 1, 6, 5), (40, 3, 6, 5)])
def test_npz_files_load(tmp_path, dtype, shape):
    x = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    source = save(tmp_path / "d.npz", x=x, y=np.arange(40, dtype=np.uint8) % 4)
    channels = 1 if len(shape) == 3 else shape[1]
    data = load_data(source, seed=0, input=(channels, 6, 5), classes=4)
    train, validation, test = data.search.train, data.search.validation, data.test
    assert len(train) + len(validation) + len(test) == 40
    assert train.images.shape[1:] == (channels, 6, 5)
    assert train.labels.dtype == torch.int64


def test_a_channel_that_never_changes_stays_finite(tmp_path):
    source = save(tmp_path / "d.npz", x=np.full((12, 4, 4), 7, np.uint8), y=np.arange(12) % 2)
    images = load_data(source, seed=0, input=(1, 4, 4), classes=2).test.images
    assert torch.equal(images, torch.zeros_like(images))


X = np.zeros((12, 4, 4), np.uint8)
Y = np.arange(12) % 3


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": X}, "arrays x and y are needed; the file holds: x"),
        ({"x": X, "labels": Y}, "the file holds: x, labels"),
        ({"x": X.astype(np.int64), "y": Y}, "x: 'int64' is not allowed; uint8 or floating"),
        ({"x": X[0], "y": Y}, r"x: \(4, 4\) is not allowed; a shape \(N, C, H, W\)"),
        ({"x": X[:0], "y": Y[:0]}, r"x: \(0, 4, 4\) is not allowed"),
        ({"x": X, "y": Y[:5]}, r"y: \(5,\) is not allowed; the shape \(12,\)"),
        ({"x": X, "y": Y / 2}, "y: 'float64' is not allowed; whole numbers"),
        ({"x": X, "y": Y - 1}, "y: -1 is not allowed; labels from 0 on"),
        ({"x": X, "y": Y + 2000}, "y: 2002 is not allowed; labels below"),
        ({"x": X, "y": Y + 1}, "y: '0 of class 0' is not allowed; every class needs 3"),
        ({"x": X, "y": Y.clip(0, 1) * 0 + (Y == 2) * (np.arange(12) < 6)}, "2 of class 1"),
        ({"x": np.where(X == 0, np.nan, 0.0), "y": Y}, "x: 'NaN or infinity'"),
        ({"x": np.array([{}] * 12), "y": Y}, "plain arrays x and y is needed"),
    ],
)
def test_an_npz_file_that_cannot_be_used_is_refused_by_name(tmp_path, arrays, says):
    source = save(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=says) as caught:
        load_data(source, seed=0, input=(1, 4, 4), classes=3)
    assert str(caught.value).startswith("data.path")
    assert "bad.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["absent", "empty", "text", "truncated", "folder", "npy"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, kind):
    path = tmp_path / "file.npz"
    if kind == "folder":
        path.mkdir()
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, X)
    elif kind != "absent":
        np.savez(path, x=X, y=Y)
        whole = path.read_bytes()
        content = {"empty": b"", "text": b"not an archive", "truncated": whole[: len(whole) // 2]}
        path.write_bytes(content[kind])
    with pytest.raises(InputError, match=r"data\.path: .*file\.npz' is not allowed; ") as caught:
        load_data({"name": "npz", "path": str(path)}, seed=0, input=(1, 4, 4), classes=3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("save_as", [np.savez, np.savez_compressed])
def test_a_damaged_array_inside_the_archive_is_refused(tmp_path, save_as):
    path = tmp_path / "file.npz"
    x = np.random.default_rng(0).integers(0, 255, (12, 40, 40), dtype=np.uint8)
    save_as(path, x=x, y=Y)
    content = bytearray(path.read_bytes())
    for place in range(5000, 5200):  # well inside x
        content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"plain arrays x and y is needed \(.+\)"):
        load_data({"name": "npz", "path": str(path)}, seed=0, input=(1, 4, 4), classes=3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classes": 7}, "classes: 7 is not allowed; the data 'digits' has 10 classes"),
        ({"input": (2, 8, 8)}, r"input: \[2, 8, 8\] is not allowed; the data 'digits' has 1 chan"),
    ],
)
def test_data_that_does_not_fit_the_architectures_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        digits(**changes)
