"""Data in the formats it comes in: written here byte by byte as they are described, and real."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from convnas.evaluators import check_settings, load_data
from convnas.evaluators.data.cifar import CIFAR10, read_cifar
from convnas.evaluators.data.known_files import Download, KnownFiles, KnownFilesSettings
from convnas.evaluators.data.mnist import read_mnist
from convnas.search_space import InputError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
RNG = np.random.default_rng(0)


def load(data, input=(1, 28, 28), classes=10, seed=0):
    return load_data(data, seed=seed, input=input, classes=classes)


def idx(array):
    """An IDX file's bytes: magic number, dimensions, values."""
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_mnist(folder, train=60, test=20, *, zipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for kind, count in (("train", train), ("t10k", test)):
        x = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        y = np.arange(count) % 10
        made[kind] = x, y
        for name, array in ((f"{kind}-images-idx3-ubyte", x), (f"{kind}-labels-idx1-ubyte", y)):
            content = idx(array)
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
    return made


def raw(split):
    """The bytes a split was made of, whether it still holds them or not."""
    assert split.pixels.dtype == torch.uint8
    return split.pixels.numpy()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("folder", ["", "own"])
def test_idx_files_are_read_and_their_own_test_set_is_the_test_split(
    tmp_path, name, zipped, folder
):
    place = (
        tmp_path if folder else tmp_path / {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name]
    )
    made = write_mnist(place / "raw" if not folder else place, zipped=zipped)
    data = load({"name": name, "path": str(tmp_path), "validation": 0.2})
    assert np.array_equal(raw(data.test)[:, 0], made["t10k"][0])
    assert data.test.labels.tolist() == made["t10k"][1].tolist()
    joined = np.concatenate([raw(data.search.train), raw(data.search.validation)])[:, 0]
    assert sorted(map(bytes, joined)) == sorted(map(bytes, made["train"][0]))
    # 60 examples of 10 classes: a fifth of 6, rounded, is 1 of each.
    assert len(data.search.validation) == 10


def test_bytes_stay_bytes_and_are_normalised_by_the_train_split(tmp_path):
    write_mnist(tmp_path, train=200)
    train = load({"name": "mnist", "path": str(tmp_path)}).search.train
    pixels = raw(train).astype(np.float64)
    expected = (pixels - pixels.mean()) / pixels.std()
    np.testing.assert_allclose(train.images.numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(
        train.batch(torch.tensor([3, 1])).numpy(), expected[[3, 1]], atol=1e-4
    )
    assert torch.equal(train.floating().images, train.images)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="no package dataset-fashion-mnist")
def test_the_whole_of_fashion_mnist_is_found_where_debian_puts_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = load({"name": "fashion-mnist"})
    # Xiao et al.: 60,000 and 10,000 images of 28x28, 10 classes of equal size.
    assert len(data.search.train) + len(data.search.validation) == 60_000
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    assert torch.bincount(data.search.validation.labels).tolist() == [600] * 10
    assert data.test.pixels.shape == (10_000, 1, 28, 28)
    # The mean and deviation that people use for the training images, 0.2860 and 0.3530 of 255.
    assert data.mean[0] / 255 == pytest.approx(0.2860, abs=0.002)
    assert data.std[0] / 255 == pytest.approx(0.3530, abs=0.002)
    small = load({"name": "fashion-mnist"}, input=(3, 14, 14))
    assert small.search.train.pixels.shape[1:] == (3, 14, 14)
    assert small.search.train.pixels.dtype == torch.uint8


def test_files_that_are_not_there_are_named_with_what_helps(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.*apt install .*download: true"):
        load({"name": "fashion-mnist", "path": str(tmp_path)})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"data\.path: None .*cifar10.*convnas/data"):
        load({"name": "cifar10"}, input=(3, 32, 32))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("train-images-idx3-ubyte.gz", lambda b: b[: len(b) // 2], "cannot be read"),
        (
            "train-images-idx3-ubyte.gz",
            lambda b: gzip.compress(gzip.decompress(b)[:-9]),
            "47031 do",
        ),
        ("train-labels-idx1-ubyte.gz", lambda b: gzip.compress(b"\0\0\x0d\x01"), "unsigned bytes"),
        (
            "train-labels-idx1-ubyte.gz",
            lambda b: gzip.compress(idx(np.arange(9))),
            "y: .*one label",
        ),
        ("t10k-images-idx3-ubyte.gz", lambda b: gzip.compress(idx(np.ones((20, 5, 5)))), "x_test"),
        ("t10k-labels-idx1-ubyte.gz", lambda b: gzip.compress(idx(np.full(20, 11))), "y_test: 11"),
        ("t10k-labels-idx1-ubyte.gz", lambda b: b"", "cannot be read|unsigned bytes"),
    ],
)
def test_damaged_or_unfitting_idx_files_are_refused_in_one_line(tmp_path, name, change, says):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    with pytest.raises(InputError, match=says) as caught:
        load({"name": "mnist", "path": str(tmp_path)})
    assert str(caught.value).startswith("data.path")
    assert "\n" not in str(caught.value)


def write_cifar(folder, labels="labels", names=None, count=40):
    """Python pickles as published: protocol 2, rows of 3072 bytes, red then green then blue."""
    names = names or [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name in names:
        x = RNG.integers(0, 256, (count, 3072), dtype=np.uint8)
        y = (np.arange(count) % 10).tolist()
        made.append((x.reshape(-1, 3, 32, 32), y))
        (folder / name).write_bytes(pickle.dumps({"data": x, labels: y}, protocol=2))
    return made


def test_cifar10_pickles_are_read(tmp_path):
    made = write_cifar(tmp_path / "cifar-10-batches-py")
    data = load({"name": "cifar10", "path": str(tmp_path)}, input=(3, 32, 32))
    assert np.array_equal(raw(data.test), made[-1][0])
    joined = np.concatenate([raw(data.search.train), raw(data.search.validation)])
    every = np.concatenate([x for x, _ in made[:-1]])
    assert sorted(map(bytes, joined)) == sorted(map(bytes, every))


def test_cifar100_has_its_fine_labels(tmp_path):
    write_cifar(tmp_path, "fine_labels", ["train", "test"])
    data = load({"name": "cifar100", "path": str(tmp_path)}, input=(3, 32, 32))
    assert len(data.test) == 40


def test_cifar_s_binary_files_are_read(tmp_path):
    rows = RNG.integers(0, 256, (40, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(40) % 10
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        (tmp_path / name).write_bytes(rows.tobytes())
    data = load({"name": "cifar10", "path": str(tmp_path)}, input=(3, 32, 32))
    assert np.array_equal(raw(data.test).reshape(40, -1), rows[:, 1:])
    (tmp_path / "test_batch.bin").write_bytes(rows.tobytes()[:-1])
    with pytest.raises(InputError, match="rows of 3073 bytes are needed"):
        load({"name": "cifar10", "path": str(tmp_path)}, input=(3, 32, 32))


def test_the_published_archive_is_read_as_it_is(tmp_path):
    made = write_cifar(tmp_path / "cifar-10-batches-py")
    archive = tmp_path / "there" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    data = load({"name": "cifar10", "path": str(archive.parent)}, input=(3, 32, 32))
    assert np.array_equal(raw(data.test), made[-1][0])
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"archive cannot be read|should hold"):
        load({"name": "cifar10", "path": str(archive.parent)}, input=(3, 32, 32))


class Harm:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a data file ran')",))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps({"data": Harm(), "labels": []}), "it names builtins.exec"),
        (
            pickle.dumps({"data": np.zeros((3, 3072), np.uint8), "labels": [0]})[:900],
            "as published",
        ),
        (b"", "as published"),
        (pickle.dumps([1, 2]), "as published"),
    ],
)
def test_a_foreign_pickle_runs_no_code_and_is_refused(tmp_path, content, says):
    write_cifar(tmp_path)
    (tmp_path / "data_batch_2").write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_cifar(KnownFilesSettings(path=str(tmp_path)), CIFAR10)


def published(tmp_path, *, damage=False):
    """A data set that can be fetched, from files:// addresses, with right or wrong digests."""
    write_mnist(tmp_path / "server")
    downloads = []
    for path in sorted((tmp_path / "server").iterdir()):
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        if damage:
            path.write_bytes(path.read_bytes() + b"x")
        downloads.append(Download(path.as_uri(), digest))
    return KnownFiles("mnist", ("MNIST/raw",), tuple(downloads))


def test_nothing_is_fetched_unless_asked(tmp_path):
    known = published(tmp_path)
    settings = KnownFilesSettings(path=str(tmp_path / "mine"))
    with pytest.raises(InputError, match="set download: true"):
        read_mnist(settings, known)
    assert not (tmp_path / "mine").exists()
    examples = read_mnist(KnownFilesSettings(path=str(tmp_path / "mine"), download=True), known)
    assert len(examples.x) == 60
    assert len(list((tmp_path / "mine" / "MNIST" / "raw").iterdir())) == 4
    assert read_mnist(settings, known).classes == 10  # found from now on


def test_a_download_that_is_not_the_published_file_is_refused(tmp_path):
    settings = KnownFilesSettings(path=str(tmp_path / "mine"), download=True)
    with pytest.raises(InputError, match=r"data\.download: True .* is not the file it was"):
        read_mnist(settings, published(tmp_path, damage=True))
    missing = KnownFiles("mnist", ("raw",), (Download((tmp_path / "no.gz").as_uri(), ""),))
    with pytest.raises(InputError, match="cannot be fetched"):
        read_mnist(settings, missing)


def tensors(path, content):
    torch.save(content, path)
    return {"name": "tensors", "path": str(path)}


X, Y = torch.randint(0, 256, (30, 1, 6, 6), dtype=torch.uint8), torch.arange(30) % 3


@pytest.mark.parametrize(
    "content",
    [
        {"x": X, "y": Y},
        (X, Y),
        [X[:, 0], Y],
        {"x": X / 255, "y": Y},
        {"x": (X / 255).requires_grad_(), "y": Y},
    ],
)
def test_tensor_files_are_read(tmp_path, content):
    data = load(tensors(tmp_path / "d.pt", content), input=(1, 6, 6), classes=3)
    sizes = len(data.search.train), len(data.search.validation), len(data.test)
    assert sizes == (18, 6, 6)


def test_a_file_s_own_test_set_is_the_test_split(tmp_path):
    arrays = {"x": X.numpy(), "y": Y.numpy(), "x_test": X[:5].numpy(), "y_test": Y[:5].numpy()}
    np.savez(tmp_path / "d.npz", **arrays)
    data = load({"name": "npz", "path": str(tmp_path / "d.npz")}, input=(1, 6, 6), classes=3)
    assert np.array_equal(raw(data.test), arrays["x_test"])
    assert len(data.search.train) + len(data.search.validation) == 30


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (torch.zeros(3), "a mapping of tensors x and y, or a pair, not a Tensor"),
        ({"x": X}, "arrays x and y are needed; the file holds: x"),
        ({"x": X, "y": Y, "x_test": X}, "y_test: None .*belong together"),
        ({"x": X, "y": Y[:3]}, "one label for every x"),
        ({"x": X.long(), "y": Y}, "uint8 or floating point"),
        (Harm(), "plain tensors x and y"),
    ],
)
def test_tensor_files_that_cannot_be_used_are_refused(tmp_path, content, says):
    with pytest.raises(InputError, match=says) as caught:
        load(tensors(tmp_path / "d.pt", content), input=(1, 6, 6), classes=3)
    assert "\n" not in str(caught.value)


def test_a_truncated_tensor_file_is_refused(tmp_path):
    source = tensors(tmp_path / "d.pt", {"x": X, "y": Y})
    path = tmp_path / "d.pt"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match="plain tensors x and y"):
        load(source, input=(1, 6, 6), classes=3)
    with pytest.raises(InputError, match="does not exist"):
        load({"name": "tensors", "path": str(tmp_path / "no.pt")}, input=(1, 6, 6), classes=3)


def write_images(root, counts, size=(12, 9), mode="RGB", fill=None):
    image = pytest.importorskip("PIL.Image", reason="no Pillow")
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            colour = fill or tuple(RNG.integers(0, 256, 3).tolist())
            picture = image.new("RGB", size, colour).convert(mode)
            picture.save(root / name / f"{i}.png")


def test_a_folder_of_images_is_read_one_class_a_subfolder(tmp_path):
    write_images(tmp_path / "a", {"cat": 5, "dog": 6})
    (tmp_path / "a" / "notes.txt").write_text("not a class")
    data = load({"name": "images", "path": str(tmp_path / "a")}, input=(3, 8, 8), classes=2)
    labels = torch.cat([data.search.train.labels, data.search.validation.labels, data.test.labels])
    assert torch.bincount(labels).tolist() == [5, 6]
    for split in (data.search.train, data.test):  # each picture has one colour, and keeps it
        assert torch.equal(split.pixels, split.pixels[:, :, :1, :1].expand_as(split.pixels))


def test_train_and_test_folders_are_kept_apart_and_grey_networks_get_grey_images(tmp_path):
    write_images(tmp_path / "train", {"cat": 5, "dog": 6}, fill=(10, 10, 10))
    write_images(tmp_path / "test", {"cat": 2, "dog": 1}, fill=(200, 200, 200))
    data = load({"name": "images", "path": str(tmp_path)}, input=(1, 8, 8), classes=2)
    assert set(raw(data.search.train).flatten()) == {10}
    assert set(raw(data.test).flatten()) == {200}
    assert data.test.labels.tolist() == [0, 0, 1]


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    write_images(tmp_path, {"cat": 4, "dog": 4})
    broken = tmp_path / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(InputError, match=r"dog/2\.png.* the image cannot be read") as caught:
        load({"name": "images", "path": str(tmp_path)}, input=(3, 8, 8), classes=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("counts", "classes", "says"),
    [
        ({"cat": 5}, 1, "two or more classes"),
        ({}, 2, "cannot be read"),
        ({"cat": 5, "dog": 2}, 2, "2 of class 1"),
        ({"cat": 5, "dog": 5}, 3, "has 2 classes"),
    ],
)
def test_folders_that_cannot_be_used_are_refused(tmp_path, counts, classes, says):
    write_images(tmp_path / "a", counts)
    with pytest.raises(InputError, match=says):
        load({"name": "images", "path": str(tmp_path / "a")}, input=(3, 8, 8), classes=classes)


HOOK = """
import numpy as np, torch
def pair(count=30): return np.zeros((count, 6, 6), np.uint8), np.arange(count) % 3
def tensors(): return {"x": torch.zeros(30, 1, 6, 6), "y": torch.arange(30) % 3}
def wrong(): return np.zeros(3)
def fails(): raise OSError("the disk\\nis away")
def long(): return np.zeros((30, 6, 6), np.int64), np.arange(30) % 3
"""


@pytest.fixture
def hooks(tmp_path, monkeypatch):
    name = f"own_data_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(HOOK)
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"python:{name}"


def test_a_function_of_the_user_s_own_gives_the_data(hooks):
    source = {"name": f"{hooks}:pair", "count": 60, "validation": 0.1, "split_seed": 3}
    check_settings({"name": "proxy"}, source)
    data = load(source, input=(1, 6, 6), classes=3)
    assert len(data.search.validation) == 6
    assert data.split_seed == 3
    assert len(load({"name": f"{hooks}:tensors"}, input=(1, 6, 6), classes=3).test) == 6


@pytest.mark.parametrize(
    ("function", "more", "says"),
    [
        ("nothing", {}, "it must be python:MODULE:NAME"),
        ("wrong", {}, "must return x and y"),
        ("fails", {}, "the function failed: OSError: the disk is away"),
        ("pair", {"size": 3}, "the function failed: TypeError"),
        ("long", {}, "x: 'int64' is not allowed"),
        ("pair", {"validation": 2}, r"data\.validation: 2 is not allowed"),
    ],
)
def test_a_function_that_gives_no_data_is_refused_in_one_line(hooks, function, more, says):
    with pytest.raises(InputError, match=says) as caught:
        load({"name": f"{hooks}:{function}", **more}, input=(1, 6, 6), classes=3)
    assert str(caught.value).startswith("data.")
    assert "\n" not in str(caught.value)
