"""The OpenAPI document of the API, from the declarations of its operations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle import __version__
from rekindle.web.api_answers import Error
from rekindle.web.api_operations import PREFIX

if TYPE_CHECKING:
    from rekindle.web.api_operations import Operation

_REF = "#/components/schemas/{name}"

_ERRORS = {
    400: "A parameter, filter, regular expression or document is wrong.",
    401: "A token is needed.",
    403: "The token is not valid, or not for this; or the server is read-only.",
    404: "What is named does not exist.",
    405: "The path takes another method.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    414: "The address is too long.",
    421: "The server is not known by that name.",
    429: "Too many logins have failed.",
    503: "The store cannot be used at the moment, or the server is busy.",
}
_WRITE_ERRORS = {
    409: "Refused, or outdated: nothing is changed. `refused` names the jobs, `plan` is the present plan.",
    415: "The body is not JSON.",
    422: "The spec has problems.",
}
_ABOUT = (
    "The documents of the command line (`rekindle … --json`). Each request needs `Authorization: Bearer TOKEN` "
    "(`rekindle token new --scope read,rerun`), or the cookie of a console session. A token with the scope rerun runs "
    "the commands of jobs again; one with the scope submit runs any command on the server's host."
)


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the OpenAPI document of operations."""
    kinds = [kind for one in operations for kind in (one.query, one.body, one.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components([*kinds, Error], ref_template=_REF)
    by_kind = dict(zip([*kinds, Error], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(PREFIX + one.path, {})[one.method.lower()] = _operation(one, by_kind, components)
    queries = {one.query.__name__ for one in operations}
    return {
        "openapi": "3.1.0",
        "info": {"title": "rekindle", "version": __version__, "description": _ABOUT},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in queries},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(one: Operation, by_kind: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name)}
        for name in re.findall(r"\{(\w+)\}", one.path)
    ]
    parameters += _query_parameters(components[one.query.__name__])
    found: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.about,
        "description": f"Needs the scope `{one.scope}`.",
        "x-scope": one.scope,
        "parameters": parameters,
        "responses": {"200": _answer(one, by_kind), **_errors(one, by_kind[Error])},
    }
    if one.body is not None:
        content = {"application/json": {"schema": by_kind[one.body]}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _path_schema(name: str) -> dict[str, Any]:
    if name in ("workflow", "pilot"):
        return {"type": "string", "minLength": 1}
    return {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}


def _query_parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the properties of a type as parameters. Lists are repeated: `state=failed&state=canceled`."""
    found = []
    for name, given in schema["properties"].items():
        about = {"description": given["description"]} if "description" in given else {}
        style = {"style": "form", "explode": True} if given.get("type") == "array" else {}
        found.append({"name": name, "in": "query", "schema": given, **about, **style})
    return found


def _answer(one: Operation, by_kind: dict[Any, Any]) -> dict[str, Any]:
    if one.answer is None:
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    else:
        content = {"application/json": {"schema": by_kind[one.answer]}}
    return {"description": "Done.", "content": content}


def _errors(one: Operation, schema: Any) -> dict[str, Any]:
    errors = _ERRORS | (_WRITE_ERRORS if one.method == "POST" else {})
    return {
        str(status): {"description": about, "content": {"application/json": {"schema": schema}}}
        for status, about in sorted(errors.items())
    }
