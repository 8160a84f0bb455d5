"""Where trials run: `backend: local`, or `backend: {name: nni, port: 8080}`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Backend(BaseModel):
    """`nni` runs the same search as trials of NNI, to be watched at `port` on this machine."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Literal["local", "nni"] = "local"
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    host: str = "127.0.0.1"
