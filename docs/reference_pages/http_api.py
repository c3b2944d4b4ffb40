"""The reference of the HTTP API, from its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reference_pages.markdown import code, definitions, escaped, table
from rekindle.web import api_reads, api_writes
from rekindle.web.openapi import document


def page() -> str:
    """Return the operations, and the schemas of bodies and answers."""
    api = document([*api_reads.OPERATIONS, *api_writes.OPERATIONS])
    parts = [escaped(api["info"]["description"]), "## Operations"]
    parts += [_operation(path, method, one) for path, by in api["paths"].items() for method, one in by.items()]
    parts.append("## Schemas")
    parts += [_schema(name, one) for name, one in sorted(api["components"]["schemas"].items())]
    return "\n\n".join(parts)


def _operation(path: str, method: str, one: Mapping[str, Any]) -> str:
    answers = one["responses"]
    lines = [f"### {code(f'{method.upper()} {path}')}", escaped(f"{one['summary']} {one['description']}")]
    if rows := [(code(each["name"]), _parameter(each)) for each in one.get("parameters", ())]:
        lines.append(definitions(rows))
    content = one.get("requestBody", {}).get("content", {})
    lines += [f"Body: {_type(each['schema'])} ({code(kind)})" for kind, each in content.items()]
    answer = answers["200"].get("content", {})
    lines += [f"Answer: {_type(each.get('schema', {}))} ({code(kind)})" for kind, each in answer.items()]
    lines.append("Errors: " + ", ".join(sorted(status for status in answers if status != "200")) + ".")
    return "\n\n".join(lines)


def _parameter(one: Mapping[str, Any]) -> str:
    about = one.get("description") or one["schema"].get("description", "")
    where = "in the path" if one["in"] == "path" else "in the query"
    return f"{_type(one['schema'])}, {where}{'' if one.get('required') else ', optional'}. {escaped(about)}".rstrip()


def _schema(name: str, one: Mapping[str, Any]) -> str:
    rows = [(code(key), _type(each), escaped(each.get("description", ""))) for key, each in _properties(one)]
    about = escaped(one.get("description", ""))
    return f"(schema-{name})=\n### {name}\n\n{about}\n\n" + (table(["key", "type", "value"], rows) if rows else "")


def _properties(one: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from one.get("properties", {}).items()


def _type(one: Mapping[str, Any]) -> str:
    """Return the type of a JSON schema in words."""
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return f"[{name}](#schema-{name})"
    if "anyOf" in one:
        return " or ".join(dict.fromkeys(map(_type, one["anyOf"])))
    if "enum" in one:
        return ", ".join(code("null" if each is None else str(each)) for each in one["enum"])
    match one.get("type"):
        case "array":
            return f"list of {_type(one.get('items', {}))}"
        case "object" if isinstance(one.get("additionalProperties"), Mapping) and one["additionalProperties"]:
            return f"mapping to {_type(one['additionalProperties'])}"
        case "object":
            return "mapping"
        case str(kind):
            return {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(kind, kind)
        case list(kinds):
            return " or ".join(_type({"type": kind}) for kind in kinds)
        case _:
            return "any value"
