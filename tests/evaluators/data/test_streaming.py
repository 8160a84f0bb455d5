"""Folders of images that stay on disk: the cache they are decoded into, and its trainings."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from convnas import Architecture, Choice
from convnas.evaluators import (
    ProxyTraining,
    TrainingSettings,
    create,
    data_bytes,
    load_data,
    measure,
    prepare_data,
    train_network,
)
from convnas.evaluators.data import image_cache, pictures
from convnas.evaluators.data.feed import Feed
from convnas.evaluators.data.split import Split
from convnas.search_space import InputError, build_network

from ..fake_device import FakeRecorder

CPU = torch.device("cpu")
INPUT = (3, 8, 8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(image_cache, "_PIECE", 4)
    return tmp_path / "cache" / "convnas" / "images"


@pytest.fixture
def folder(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="no Pillow")
    rng = np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 5)):
        for label in ("cat", "dog"):
            (tmp_path / "set" / part / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)
                image.fromarray(pixels).save(tmp_path / "set" / part / label / f"{i}.png")
    return tmp_path / "set"


def data(folder, stream=True, **more):
    return {"name": "images", "path": str(folder), "stream": stream, **more}


def load(folder, stream=True, **more):
    return load_data(data(folder, stream), seed=0, input=INPUT, classes=2, **more)


def test_what_streams_is_what_would_be_in_memory(folder):
    streamed, held = load(folder), load(folder, stream=False)
    for one, other in (
        (streamed.search.train, held.search.train),
        (streamed.search.validation, held.search.validation),
        (streamed.test, held.test),
    ):
        assert one.streams
        assert not other.streams
        every = torch.arange(len(one))
        torch.testing.assert_close(one.batch(every), other.batch(every))
        assert torch.equal(one.labels, other.labels)
        chosen = torch.tensor([3, 1])
        torch.testing.assert_close(one.part(chosen).images, other.part(chosen).images)
    joined = streamed.search.train.joined(streamed.search.validation)
    assert len(joined.images) == 60
    assert streamed.mean == pytest.approx(held.mean)
    assert streamed.std == pytest.approx(held.std)


def test_a_split_that_streams_never_holds_its_pixels(folder):
    train = load(folder).search.train.floating().to(CPU)
    assert train.pixels.dtype == torch.uint8
    lines = Path("/proc/self/maps").read_text().splitlines()
    places = [line.split("-")[0] for line in lines if "images/" in line]
    assert f"{train.pixels.data_ptr():x}" in places  # the memory is the file's
    assert data_bytes(data(folder), INPUT) == 0 < data_bytes(data(folder, False), INPUT)


def test_batches_are_gathered_in_the_order_that_was_asked_for_also_when_begun_again():
    pixels = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1)
    split = Split(pixels, torch.zeros(20, dtype=torch.int64), rows=torch.arange(39, -1, -2))
    feed = Feed(split, 2, CPU)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0)).view(10, 2)
    for reached in (4, 0, 10):
        feed.begin(order)
        place = feed.place.data_ptr()
        for batch in order[:reached]:
            feed.fetch()
            assert feed.place.flatten().tolist() == [39 - 2 * int(i) for i in batch]
        assert feed.place.data_ptr() == place


@pytest.mark.parametrize("recorder", [None, FakeRecorder()], ids=["eager", "recorded"])
def test_a_training_from_disk_is_the_one_from_memory_to_the_last_bit(folder, recorder):
    """Recorded on the stand-in for a GPU's graphs: each replay reads the batch just fetched."""
    streamed = load(folder).search
    held = Split(
        streamed.train.pixels[streamed.train.rows].clone(),
        streamed.train.labels,
        streamed.train.mean,
        streamed.train.std,
    )
    arch = Architecture("resnet-cifar", INPUT, 2, (Choice("vanilla"),) * 3)
    settings = TrainingSettings(epochs=2, batch_size=10, crop=1, flip=True, bf16=False)
    weights = []
    for train, how in ((held, None), (streamed.train, recorder)):
        torch.manual_seed(0)
        net = build_network(arch)
        train_network(net, train, streamed.validation, settings, seed=1, device=CPU, recorder=how)
        weights.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(*weights)
    assert measure(net, streamed.validation, settings)[1] > 0
    if recorder is not None:
        assert recorder.recordings
        assert not recorder.broken


def test_the_proxy_decodes_at_its_own_resolution_and_takes_the_space_s_architectures(folder):
    evaluator = create(
        {"name": "proxy", "epochs": 1, "resolution": 4, "share": 0.5},
        data(folder),
        input=INPUT,
        classes=2,
        device="cpu",
    )
    assert isinstance(evaluator, ProxyTraining)
    assert evaluator.data.train.pixels.shape[1:] == (3, 4, 4)
    arch = Architecture("resnet-cifar", INPUT, 2, (Choice("vanilla"),) * 3)
    assert np.isfinite(evaluator.evaluate(arch, seed=0).score)


def counted(monkeypatch, fail_at=None):
    """Notes which images are decoded, and fails at one of them as if it were killed there."""
    seen: list[Path] = []
    decode = pictures.decoded

    def noting(path, shape):
        if len(seen) == fail_at:
            raise KeyboardInterrupt
        seen.append(path)
        return decode(path, shape)

    monkeypatch.setattr(image_cache, "decoded", noting)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    return seen


def test_a_cache_whose_making_was_killed_is_finished_not_begun_again(folder, monkeypatch):
    with monkeypatch.context() as patch:
        counted(patch, fail_at=22)  # 60 images in fifteen pieces of 4: five of them were done
        with pytest.raises(KeyboardInterrupt):
            load(folder)
    with monkeypatch.context() as patch:
        seen = counted(patch)
        told: list[tuple[int, int]] = []
        prepare_data(data(folder), INPUT, progress=lambda done, total: told.append((done, total)))
        assert len(seen) == 60 - 20 + 10
        assert told[0] == (20, 70)
        assert told[-1] == (70, 70)
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        load(folder)
        assert len(seen) == 50
    torch.testing.assert_close(load(folder).test.images, load(folder, stream=False).test.images)


def test_a_changed_image_or_another_size_is_decoded_anew(folder, cache):
    first = load(folder)
    made = set(cache.iterdir())
    image = folder / "train" / "cat" / "3.png"
    image.write_bytes((folder / "train" / "dog" / "1.png").read_bytes())
    os.utime(image, (1, 1))
    second = load(folder)
    assert len(set(cache.iterdir()) - made) == 1  # the test images' cache is the same
    rows = [
        torch.sort(torch.cat([s.train.rows, s.validation.rows]))[0]
        for s in (first.search, second.search)
    ]
    before, after = (s.search.train.pixels[r] for s, r in zip((first, second), rows, strict=True))
    assert (before != after).flatten(1).any(1).nonzero().flatten().numel() == 1
    load_data(data(folder), seed=0, input=(3, 6, 6), classes=2)
    assert len(set(cache.iterdir()) - made) == 3


def test_an_image_that_cannot_be_read_is_named(folder):
    (folder / "train" / "dog" / "7.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"dog/7\.png.* the image cannot be read"):
        load(folder)


def test_a_cache_that_cannot_be_written_is_told_in_one_line(folder, monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"data\.path: .* its cache in .*No space left") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_streams_by_itself_where_its_images_would_fill_two_gibibytes(folder):
    # 60 training images: 3 x 3,500 x 3,500 bytes each are 2.2 x 10^9 in all.
    assert data_bytes(data(folder, "auto"), (3, 3500, 3500)) == 0
    assert data_bytes(data(folder, "auto"), (3, 3400, 3400)) > 2 * 10**9
