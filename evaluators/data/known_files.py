"""The files of well-known data sets: where they are looked for, and fetched from when asked."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...search_space import InputError
from ...search_space.files import atomic_write
from ..settings import flag, optional_text, real
from .examples import DivisionSettings

_WAIT = 60.0
"""Seconds without an answer after which a download has failed."""


@dataclass(frozen=True)
class KnownFilesSettings(DivisionSettings):
    """`path`: the folder with the files, or with torchvision's own folders; null: the usual places.

    Nothing is downloaded unless `download` says so. The set's own test set is the test split.
    """

    validation: float = real(0.1, above=0, below=0.8)
    path: str | None = optional_text("the folder that holds the files")
    download: bool = flag(False)


@dataclass(frozen=True)
class Download:
    """One file as published: where, and the md5 digest of what is there (torchvision's)."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class KnownFiles:
    """A data set's name, the folders it may lie in under `path`, and what can be downloaded.

    `places`: folders looked into where no path is given, besides the cache that downloads go to.
    `classes`: their names, by number; empty where the numbers are the names.
    """

    name: str
    folders: tuple[str, ...]
    downloads: tuple[Download, ...]
    places: tuple[str, ...] = ()
    hint: str = ""
    classes: tuple[str, ...] = ()

    def find(self, settings: KnownFilesSettings, wanted: Sequence[tuple[str, ...]]) -> list[Path]:
        """A path for each of `wanted`, tuples of file names of which any one will do.

        InputError, saying where was looked and what would help, where a file is missing.
        """
        bases = [settings.path] if settings.path else [str(cache_folder()), *self.places]
        searched = [Path(base) / folder for base in bases for folder in ("", *self.folders)]
        found = _all_in_one(searched, wanted)
        if found is None and settings.download:
            target = Path(settings.path) if settings.path else cache_folder()
            self._fetch(target / self.folders[0])
            found = _all_in_one(searched, wanted)
        if found is None:
            names = ", ".join(dict.fromkeys(names[0] for names in wanted))
            looked = ", ".join(dict.fromkeys(bases))
            help_ = "; ".join(
                filter(None, [self.hint, "or set download: true under data in a config"])
            )
            allowed = f"the files of {self.name} ({names}) are not in {looked}: {help_}"
            raise InputError("data.path", settings.path, allowed)
        return found

    def _fetch(self, folder: Path) -> None:
        for download in self.downloads:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with urllib.request.urlopen(download.url, timeout=_WAIT) as answer:
                    content = answer.read()
            except (OSError, urllib.error.URLError) as e:
                allowed = f"{download.url} cannot be fetched: {e}"
                raise InputError("data.download", True, allowed) from e
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if digest != download.md5:
                allowed = f"{download.url} is not the file it was (md5 {digest})"
                raise InputError("data.download", True, allowed)
            atomic_write(folder / download.name, content)


def cache_folder() -> Path:
    """Where downloads go: convnas/data in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "convnas" / "data"


def _all_in_one(folders: list[Path], wanted: Sequence[tuple[str, ...]]) -> list[Path] | None:
    # All from one folder: MNIST and Fashion-MNIST call their files the same.
    for folder in folders:
        found = [
            next((folder / name for name in names if (folder / name).is_file()), None)
            for names in wanted
        ]
        if all(found):
            return [path for path in found if path is not None]
    return None
