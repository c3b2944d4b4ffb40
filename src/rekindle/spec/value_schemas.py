"""A key of a spec as a value, and JSON Schemas of the kinds of values in a spec: for the table in `spec_keys`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Schema = Mapping[str, Any]


class SpecKey(NamedTuple):
    """A key of a spec file. `name` in capitals stands for a name that the user chooses.

    `places` are keys of PLACES. `type`, `default` and `about` are for people; `example` is YAML with the key. `schema`
    is the JSON Schema of the value, without a description.
    """

    name: str
    places: tuple[str, ...]
    type: str
    default: str
    about: str
    example: str
    schema: Schema
    required: bool = False


BOOLEAN: Schema = {"type": "boolean"}
TEXT: Schema = {"type": ["string", "number"], "not": {"const": ""}}
TEXTS: Schema = {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}
SCALAR: Schema = {"type": ["string", "number", "boolean"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
DURATION: Schema = {
    "type": "string",
    "pattern": r"^\s*(P.+|[0-9]+([.][0-9]+)?\s*[A-Za-z].*|([0-9]+-)?[0-9]+:[0-9][0-9](:[0-9][0-9])?([.][0-9]+)?)\s*$",
}
SIZE: Schema = {"type": "string", "pattern": r"^\s*[0-9]+([.][0-9]+)?\s*[KMGTPEkmgtpeBb][A-Za-z]*\s*$"}
FACTOR: Schema = {"type": "string", "pattern": r"^\s*x\s*[0-9]+([.][0-9]+)?\s*$"}
NAMES: Schema = {"pattern": r"^[^\s./\\\[\]{}()*?,:;$\"']+$"}
VARIABLES: Schema = {
    "type": "object",
    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    "additionalProperties": SCALAR,
}
FILL: Schema = {"type": "string", "pattern": r"\$\{params\."}
MATRIX_VALUES: Schema = {
    "anyOf": [
        {"type": "array", "items": SCALAR, "minItems": 1},
        {"$ref": "#/$defs/range"},
        FILL,
    ]
}
COMBINATIONS: Schema = {
    "anyOf": [
        {
            "type": "array",
            "items": {"anyOf": [{"type": "object", "minProperties": 1, "additionalProperties": SCALAR}, FILL]},
        },
        FILL,
    ]
}
CAUSE: Schema = {
    "enum": [
        *("exit", "exception", "signal", "oom", "timeout", "lost", "start"),
        *("missing_input", "missing_output", "subtasks"),
    ]
}
CODE: Schema = {"type": "integer", "minimum": 1, "maximum": 255}


def one_or_more(schema: Schema) -> Schema:
    """Return the schema of a value or a list of values."""
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}


def declared(place: str) -> Schema:
    """Return the schema of `inputs` or `outputs`. `place` is that of a file as a mapping."""
    return {
        "type": "object",
        "propertyNames": NAMES,
        "additionalProperties": {"anyOf": [TEXT, {"$ref": f"#/$defs/{place}"}]},
    }
