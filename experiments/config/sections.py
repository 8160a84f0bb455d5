"""The sections of a config: their keys, types and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

Settings = dict[str, Any]

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]
# Each becomes a word of ssh's arguments or of a line in a file.
_Word = Annotated[str, Field(pattern=r"^[^\s-][^\s]*$")]


class Section(BaseModel):
    """Unknown keys are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NamedPart(Section):
    """A thing chosen by name; its other keys are its own settings."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    name: str

    @property
    def settings(self) -> Settings:
        return dict(self.model_extra or {})


class Objective(Section):
    """A metric of the evaluator or a cost; written as its name alone where the direction is the one
    that it has by itself, see `run/objectives.py`."""

    name: Annotated[str, Field(min_length=1)]
    direction: Literal["maximize", "minimize"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data

    @model_serializer
    def _shortest(self) -> str | dict[str, str]:
        if self.direction is None:
            return self.name
        return {"name": self.name, "direction": self.direction}


ALONE = [Objective(name="accuracy")]
"""The objectives of a config that says none."""


class Pruner(Section):
    """`none` by default: a proxy run is a few epochs, whose early ranking is mostly noise.

    `median` is Optuna's: stop a trial below the median of earlier trials at the same epoch.
    `asha` and `hyperband` stop what is not among the best of its rung, see `search/pruning.py`.
    """

    name: Literal["none", "median", "asha", "hyperband"] = "none"
    startup_trials: Annotated[int, Field(ge=0)] = 5
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    eta: Annotated[int, Field(ge=2)] = 3
    min_epochs: Annotated[int, Field(ge=1)] = 1
    max_epochs: Annotated[int, Field(ge=1)] | None = None

    @property
    def has_rungs(self) -> bool:
        return self.name in ("asha", "hyperband")


class Final(Section):
    """The `top` best are scored again with `seeds` new seeds before a winner is named; 0: none.

    `by`: a metric of the evaluator's, higher is better, that decides in place of its score.
    """

    top: Annotated[int, Field(ge=0)] = 5
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    by: str | None = None


class ZeroCostUse(Section):
    """`best`: whether a high or a low measure is thought to be good; `keep`: the part of the
    feasible set that a filter leaves; `candidates`: architectures that are measured, drawn
    uniformly; `measured` is written by the launch."""

    measure: Literal["snip", "grad-norm", "synflow", "naswot"]
    use: Literal["filter", "feature"] = "filter"
    best: Literal["highest", "lowest"] = "highest"
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.5
    candidates: Annotated[int, Field(ge=16, le=100_000)] = 128
    batch_size: Annotated[int, Field(ge=2)] = 64
    measured: dict[str, Any] | None = None


class Machine(Section):
    """A machine reached by ssh, with convnas and nni in its `python`: `workers` trials at once.

    `key_file` is the private key to log in with, and its own key must be in `known_hosts`."""

    host: _Word
    user: _Word
    port: Port = 22
    key_file: str = "~/.ssh/id_ed25519"
    known_hosts: str = "~/.ssh/known_hosts"
    python: Annotated[str, Field(pattern=r"^/[^\s'\"$`\\:;]*$")]
    workers: Annotated[int, Field(ge=1, le=1024)] = 1


class Backend(Section):
    """`nni` runs the same search as trials of NNI, to be watched at `port` on this machine.

    With `machines` the trials run there and none here.
    """

    name: Literal["local", "nni"] = "local"
    port: Port = 8080
    host: str = "127.0.0.1"
    machines: list[Machine] = []


class Storage(Section):
    """A database that several machines reach; without this section the study is a file of the run.

    A worker says every `heartbeat` seconds that it is alive; what a worker that has said nothing
    for `grace` seconds was training is taken over by another.
    """

    url: str
    heartbeat: Seconds = 15.0
    grace: Seconds = 90.0
