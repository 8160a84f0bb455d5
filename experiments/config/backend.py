"""Where trials run: `backend: local`, or `backend: {name: nni, port: 8080}`, there on `machines` too."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Port = Annotated[int, Field(ge=1, le=65535)]
# Each becomes a word of ssh's arguments or of a line in a file.
_Word = Annotated[str, Field(pattern=r"^[^\s-][^\s]*$")]


class Machine(BaseModel):
    """A machine reached by ssh, with convnas and nni in its `python`, that trains `workers` trials at
    once. `key_file` is the private key to log in with, and its own key must be in `known_hosts`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    host: _Word
    user: _Word
    port: _Port = 22
    key_file: str = "~/.ssh/id_ed25519"
    known_hosts: str = "~/.ssh/known_hosts"
    python: Annotated[str, Field(pattern=r"^/[^\s'\"$`\\:;]*$")]
    workers: Annotated[int, Field(ge=1, le=1024)] = 1


class Backend(BaseModel):
    """`nni` runs the same search as trials of NNI, to be watched at `port` on this machine.

    With `machines` the trials run there and none here.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Literal["local", "nni"] = "local"
    port: _Port = 8080
    host: str = "127.0.0.1"
    machines: list[Machine] = []
