"""What pydantic finds wrong with a config, in one line for people who do not read Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ...search_space.errors import InputError, unknown_key


def as_input_error(found: ValidationError, config: type[BaseModel]) -> InputError:
    """The first error, with its dotted key, its value and what is allowed."""
    error = found.errors(include_url=False)[0]
    # A union's members are part of pydantic's location; the config's reader knows only the keys.
    place = [
        str(part) for part in error["loc"] if part not in ("literal['auto']", "constrained-int")
    ]
    key, value = ".".join(place), error["input"]
    if error["type"] == "extra_forbidden":
        section = _section(config, place[:-1])
        return unknown_key(".".join(place[:-1]), place[-1], section.model_fields)
    if error["type"] == "missing":
        return InputError(key, None, "it is needed")
    if place[0] == "workers":
        return InputError(key, value, "it must be auto or a whole number from 1 to 1024")
    if error["type"] == "literal_error" and "ctx" in error:
        return InputError(key, value, f"choose from: {error['ctx']['expected']}")
    return InputError(key, value, _ALLOWED.get(place[0], _plain(error["msg"])))


_ALLOWED = {
    "name": "it must be letters, digits, '_', '-' and '.', at most 100, and start with a letter"
    " or digit",
    "trials": "it must be a whole number from 1 to 1000000",
    "seed": "it must be a whole number from 0 to 4294967295",
    "device": "it must be auto, cpu, cuda or cuda:N",
    "trial_timeout": "it must be a number of seconds above 0, or null",
}
"""Top-level keys -> what is allowed, where pydantic's words (a pattern, a type) would not help."""


def _plain(message: str) -> str:
    """Pydantic's words, for those who do not read Python."""
    words = message.replace("Input should be", "it must be").replace("dictionary", "mapping")
    return words.replace("valid string", "text")


def _section(model: type[BaseModel], place: Sequence[str]) -> type[BaseModel]:
    """The model of the mapping at `place`, through options and lists."""
    for part in place:
        # An index into a list is no field, and leaves the model as it is.
        if part in model.model_fields:
            inner = _models(model.model_fields[part].annotation)
            model = next(inner, model)
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
