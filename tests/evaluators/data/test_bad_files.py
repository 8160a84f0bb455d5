"""Files that would hang, or fill the memory of, whoever reads them in good faith."""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convnas.evaluators import load_data, table
from convnas.evaluators.table import Table
from convnas.search_space import InputError
from convnas.search_space.files import read_json


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    end = socket.socket(socket.AF_UNIX)
    end.bind(str(path))
    end.close()


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    path.mkdir()


KINDS = pytest.mark.parametrize("make", [a_pipe, a_socket, a_device, a_folder])
Make = Callable[[Path], None]


@KINDS
def test_only_regular_files_are_read_as_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(3):
            image.new("L", (8, 8), 40 * i).save(tmp_path / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    make(Path("dog/3.png"))  # by a short name: a socket's has 107 characters at most
    data = {"name": "images", "path": str(tmp_path)}
    with pytest.raises(InputError, match="only regular files are read") as caught:
        load_data(data, seed=0, input=(1, 8, 8), classes=2)
    assert str(tmp_path / "dog/3.png") in str(caught.value)


@KINDS
@pytest.mark.parametrize("name", ["npz", "tensors"])
def test_only_a_regular_file_is_read_as_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("x"))
    with pytest.raises(InputError, match="only a regular file is read"):
        load_data({"name": name, "path": "x"}, seed=0, input=(1, 8, 8), classes=2)


@KINDS
def test_only_a_regular_file_is_read_as_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("x"))
    with pytest.raises(InputError, match="it is no regular file"):
        Table.load("x")
    with pytest.raises(InputError, match="it is no regular file"):
        read_json("x")


def test_an_array_that_claims_nine_tebibytes(tmp_path: Path) -> None:
    head = io.BytesIO()
    claimed = {"descr": "|u1", "fortran_order": False, "shape": (9 * 2**40,)}
    np.lib.format.write_array_header_1_0(head, claimed)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", head.getvalue() + bytes(100))
        archive.writestr("y.npy", head.getvalue() + bytes(100))
    data = {"name": "npz", "path": str(tmp_path / "x.npz")}
    with pytest.raises(InputError, match=r"an \.npz file with plain arrays x and y is needed"):
        load_data(data, seed=0, input=(1, 8, 8), classes=2)


def test_a_table_that_is_nested_or_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.table.gz"
    path.write_bytes(gzip.compress(b'{"convnas_table": 1}\n' + b"[" * 200_000))
    with pytest.raises(InputError, match="RecursionError"):
        Table.load(str(path))
    monkeypatch.setattr(table, "_MOST_BYTES", 2**20)
    path.write_bytes(gzip.compress(bytes(2**20 + 1)))
    with pytest.raises(InputError, match="it unpacks to more than 1 MiB"):
        Table.load(str(path))


@pytest.mark.parametrize(
    "content", ["[]", "7", '{"convnas_table": 1, "space": 3}', '{"a": [1e999]}']
)
def test_a_table_of_another_form(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.table.gz"
    path.write_bytes(gzip.compress((content + "\n" + json.dumps(["a", 1])).encode()))
    with pytest.raises(InputError, match="a whole file of convnas tabulate is needed"):
        Table.load(str(path))
