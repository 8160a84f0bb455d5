"""A training's state in a file, so that one that was killed goes on and ends as if it never was."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from ...search_space import InputError
from ...search_space.files import atomic_write

FORMAT = 1

State = dict[str, Any]


class Keeper(Protocol):
    """What a training hands its state to after every epoch."""

    def load(self) -> State | None:
        """The state to go on from; None: begin."""
        ...

    def save(self, state: State) -> None:
        """Keep it in place of the last one."""
        ...


class Checkpoint:
    """One file, replaced after every epoch: the old state or the new one, never a part of one.

    `identity` is plain data that says which training it is. `load` raises InputError for a file of
    another training, of another kind, or damaged. It is read with weights_only=True.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path, self._identity = path, dict(identity)

    def load(self) -> State | None:
        if not self.path.exists():
            return None
        try:
            # To the CPU: the file may be from a GPU, and generators take their states from there.
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except OSError as e:
            raise self._refused(f"it cannot be read: {e.strerror or e}") from e
        except Exception as e:
            # Whatever torch's reader falls over in bytes that are not its own.
            raise self._refused(
                "it is not a checkpoint, or damaged; delete it to begin anew"
            ) from e
        if not isinstance(content, dict) or content.get("convnas_checkpoint") != FORMAT:
            raise self._refused("it is not a checkpoint that this version of convnas wrote")
        difference = _difference(content["identity"], self._identity)
        if difference:
            raise self._refused(
                f"it is a checkpoint of another training: {difference}; finish that one with its"
                " own settings, or delete it (convnas train --restart does) to begin anew"
            )
        state: State = content["state"]
        return state

    def save(self, state: State) -> None:
        """Raises OSError where it cannot be written."""
        buffer = io.BytesIO()
        content = {"convnas_checkpoint": FORMAT, "identity": self._identity, "state": state}
        torch.save(content, buffer)
        atomic_write(self.path, buffer.getvalue())

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _refused(self, allowed: str) -> InputError:
        return InputError(str(self.path), "this file", allowed)


def _difference(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The first of the keys, in words, that says that these are two trainings."""
    for name in [*wanted, *(name for name in kept if name not in wanted)]:
        one, other = kept.get(name), wanted.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            inner = _difference(one, other)
            if inner:
                return f"{name} {inner}"
        elif one != other:
            return f"{name} {one!r}, not {other!r}"
    return ""
