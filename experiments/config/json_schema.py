"""The config as a JSON schema, for editors: completion, and a line under what no reader would take.

It is looser than the readers, which know what fits together; what it refuses they refuse too.
"""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, fields
from typing import Any

from ... import strategies
from ...evaluators.data.sources import SOURCES
from ...evaluators.latency.measure import LatencySettings
from ...evaluators.registry import EVALUATORS
from ...evaluators.retrain import RetrainSettings
from ...search_space.backbones import BACKBONES
from .schema import ExperimentConfig

Schema = dict[str, Any]

_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def config_schema() -> Schema:
    """JSON Schema, draft 2020-12, of what `convnas launch` takes."""
    schema: Schema = ExperimentConfig.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "convnas experiment"
    properties = schema["properties"]
    properties["evaluator"] = _chosen(
        {name: _settings(kind.settings) for name, kind in EVALUATORS.items()}
    )
    properties["data"] = _chosen(
        {name: _settings(source.settings) for name, source in SOURCES.items()}
    )
    properties["training"] = _object(_settings(RetrainSettings))
    latency = {**_settings(LatencySettings), "table": {"type": "string"}, "measured": {}}
    properties["latency"] = _object(latency)
    backbones = {"anyOf": [{"enum": sorted(BACKBONES)}, {"type": "string"}]}
    properties["space"] = {"type": "object", "properties": {"backbone": backbones}}
    properties["strategy"] = {
        "type": "object",
        "properties": {"name": {"anyOf": [{"enum": strategies.names()}, {"type": "string"}]}},
        "required": ["name"],
    }
    # The short forms: a name or an address in place of a section.
    for name in ("backend", "storage"):
        properties[name] = {"anyOf": [{"type": "string"}, properties[name]]}
    objectives = properties["objectives"]
    objectives["items"] = {"anyOf": [{"type": "string"}, objectives["items"]]}
    return schema


def _chosen(kinds: dict[str, Schema]) -> Schema:
    """A section whose `name` says which settings it has; hooks, python:..., have any."""
    listed = [_object({"name": {"const": name}, **own}, ["name"]) for name, own in kinds.items()]
    hook = {"type": "string", "pattern": "^python:"}
    return {
        "anyOf": [*listed, {"type": "object", "properties": {"name": hook}, "required": ["name"]}]
    }


def _object(properties: Schema, required: list[str] | None = None) -> Schema:
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": required} if required else made


def _settings(kind: type[Any]) -> Schema:
    """The fields of a settings dataclass, with types and defaults."""
    hints = typing.get_type_hints(kind)
    return {
        each.name: {
            **_type(hints[each.name]),
            **({} if each.default in (MISSING, "") else {"default": each.default}),
        }
        for each in fields(kind)
    }


def _type(hint: Any) -> Schema:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return {"anyOf": [_type(each) for each in typing.get_args(hint)]}
    if hint is type(None):
        return {"type": "null"}
    # Any other type is let through here; the reader looks at it.
    return {"type": _TYPES[hint]} if hint in _TYPES else {}
