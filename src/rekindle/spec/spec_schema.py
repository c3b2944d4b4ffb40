"""The JSON Schema of spec files, for editors: what `rekindle spec schema` prints and `rekindle init` writes.

The schema is stricter than a list of keys and more lenient than the readers: it underlines unknown keys and values of
the wrong kind, and leaves references, names of jobs and files to `rekindle spec check`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rekindle.spec.nodes import MappingNode, Problems
from rekindle.spec.spec_keys import PLACES, keys_of
from rekindle.spec.values import data
from rekindle.spec.yaml_reader import read_yaml

if TYPE_CHECKING:
    from rekindle.spec.value_schemas import SpecKey

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FREE_KEYS = "x-…"
_CHOSEN_NAME = "NAME"


def spec_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of spec files."""
    return {
        "$schema": DIALECT,
        "title": "rekindle spec",
        **_mapping("spec"),
        "$defs": {place: _mapping(place) for place in PLACES if place != "spec"},
    }


def example_value(key: SpecKey) -> Any:
    """Return the value in the example of a key."""
    problems = Problems(f"the example of {key.name}")
    node = read_yaml(key.example, problems)
    problems.raise_any()
    assert isinstance(node, MappingNode)
    return next(iter(data(node, "an example", problems).values()))


_WORK = {"oneOf": [{"required": [one]} for one in ("run", "call", "steps")]}
_STEP_WORK = {"oneOf": [{"required": [one]} for one in ("run", "call")]}
_WITH_ITEMS = {one: ["each"] for one in ("max_failed", "resubmit", "parallel")}
_RULES: dict[str, dict[str, Any]] = {
    "job": {**_WORK, "dependentRequired": {"args": ["call"], **_WITH_ITEMS}},
    "step": {**_STEP_WORK, "dependentRequired": {"args": ["call"], **_WITH_ITEMS}},
    "each": {"oneOf": [{"required": [one]} for one in ("run", "call", "range")]},
    "range": {"required": ["range"]},
    "retry": {
        "dependentRequired": {
            "max_memory": ["memory"],
            "max_time": ["time"],
            **{one: ["delay"] for one in ("backoff", "max_delay", "jitter")},
        }
    },
    "matrix": {"minProperties": 1},
}
"""Rules about several keys of one place."""


def _mapping(place: str) -> dict[str, Any]:
    keys = keys_of(place)
    fixed = {key.name: _value(key) for key in keys if key.name not in (_FREE_KEYS, _CHOSEN_NAME)}
    schema: dict[str, Any] = {"description": PLACES[place], "type": "object", "properties": fixed}
    required = [key.name for key in keys if key.required]
    if required:
        schema["required"] = required
    chosen = [key for key in keys if key.name == _CHOSEN_NAME]
    schema["additionalProperties"] = _value(chosen[0]) if chosen else False
    if any(key.name == _FREE_KEYS for key in keys):
        schema["patternProperties"] = {"^x-": {}}
    return {**schema, **_RULES.get(place, {})}


def _value(key: SpecKey) -> dict[str, Any]:
    """Return the schema of a value, with its description, default and example for an editor's help."""
    found = {"description": f"{key.about}\n\nType: {key.type}. Default: {key.default}."}
    return {**found, "examples": [example_value(key)], **key.schema}
