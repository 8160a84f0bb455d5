"""Where the study is: `storage: postgresql://USER@HOST/DATABASE` in the config."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Storage(BaseModel):
    """A database that several machines reach; without this section the study is a file of the run.

    A worker says every `heartbeat` seconds that it is alive; what a worker that has said nothing
    for `grace` seconds was training is taken over by another.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    url: str
    heartbeat: Seconds = 15.0
    grace: Seconds = 90.0
