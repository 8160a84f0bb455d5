"""torchvision's sets, from files written here in the formats that its readers take."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from convnas.evaluators import check_settings, load_data
from convnas.evaluators.data.torchvision_sets import SETS
from convnas.search_space import InputError

datasets = pytest.importorskip("torchvision.datasets", reason="no torchvision")
RNG = np.random.default_rng(0)


def load(name, path, input, **more):
    data = {"name": f"torchvision:{name}", "path": str(path), **more}
    return load_data(data, seed=0, input=input, classes=10)


def test_svhn_is_read_with_its_own_test_set_and_ten_for_nought(tmp_path, monkeypatch):
    io = pytest.importorskip("scipy.io")
    made = {}
    for split, count in (("train", 50), ("test", 20)):
        x = RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        y = (np.arange(count) % 10 + 1)[:, None].astype(np.uint8)  # the file's classes: 1 to 10
        io.savemat(tmp_path / f"{split}_32x32.mat", {"X": x, "y": y})
        made[split] = x.transpose(3, 2, 0, 1), y[:, 0] % 10
    # Checked are the digests of the published files, which these are not.
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda self: True)
    data = load("SVHN", tmp_path, (3, 32, 32), validation=0.2)
    assert np.array_equal(data.test.pixels.numpy(), made["test"][0])
    assert data.test.labels.tolist() == made["test"][1].tolist()
    held = [*data.search.train.pixels.numpy(), *data.search.validation.pixels.numpy()]
    assert sorted(map(bytes, held)) == sorted(map(bytes, made["train"][0]))
    assert load("SVHN", tmp_path, (1, 16, 16)).test.pixels.shape == (20, 1, 16, 16)


def test_kmnist_is_read_in_the_folder_that_torchvision_makes(tmp_path):
    raw = tmp_path / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    for kind, count in (("train", 40), ("t10k", 10)):
        images = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", np.arange(count) % 10)):
            head = struct.pack(">BBBB", 0, 0, 8, array.ndim)
            head += struct.pack(f">{array.ndim}I", *array.shape)
            content = head + array.astype(np.uint8).tobytes()
            (raw / f"{kind}-{name}-ubyte").write_bytes(content)
    data = load("KMNIST", tmp_path, (1, 28, 28))
    assert np.array_equal(data.test.pixels.numpy()[:, 0], images)  # the last ones written


def test_files_that_are_not_there_are_told_in_one_line_with_what_would_fetch_them(tmp_path):
    with pytest.raises(InputError, match=r"data\.path: .* cannot read SVHN .*download: true") as e:
        load("SVHN", tmp_path, (3, 32, 32))
    assert "\n" not in str(e.value)


def test_names_and_settings_are_checked_without_reading_anything():
    check_settings({"name": "proxy"}, {"name": "torchvision:SVHN", "validation": 0.1})
    with pytest.raises(InputError, match=r"did you mean 'torchvision:SVHN'"):
        check_settings({"name": "proxy"}, {"name": "torchvision:SVHM"})
    with pytest.raises(InputError, match=r"input: \[2, 8, 8\] is not allowed; images have 1"):
        load("SVHN", "/nowhere", (2, 8, 8))


@pytest.mark.parametrize("name", SETS)
def test_torchvision_knows_every_set_by_its_name_and_arguments(name):
    import inspect

    accepted = inspect.signature(getattr(datasets, name)).parameters
    free = any(each.kind is each.VAR_KEYWORD for each in accepted.values())
    for arguments in filter(None, SETS[name]):
        assert free or {"download", *arguments} <= accepted.keys()
