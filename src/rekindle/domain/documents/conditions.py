"""A query of a document database, read once and put to many documents: MongoDB's, with its semantics.

Operators are those of https://www.mongodb.com/docs/manual/reference/operator/query/ that say something about JSON. A
query that cannot be read is a BadSelection that names the place.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

from rekindle.domain.documents.operators import OPERATORS, Clause, every, place, read_operators, shown
from rekindle.domain.documents.ordering import Json
from rekindle.domain.errors import BadSelection
from rekindle.domain.texts.nearest import did_you_mean

Condition: TypeAlias = Callable[[Json], bool]

_ON_QUERIES = ("$and", "$or", "$nor", "$comment")


@lru_cache(maxsize=256)
def condition_of(query: str) -> Condition:
    """What a query asks of a document, from its JSON text."""
    return read_query(json.loads(query))


def read_query(query: object, path: str = "") -> Condition:
    """The same from a JSON value. `path` is where it stands in a larger query."""
    try:
        return _query(query, path)
    except RecursionError:
        raise BadSelection("the query is nested too deeply") from None


def _query(query: object, path: str) -> Condition:
    if not isinstance(query, dict):
        raise BadSelection(f"{place(path)} must be an object, not {shown(query)}")
    return _all([_entry(key, value, f"{path}.{key}" if path else key) for key, value in query.items()])


def _entry(key: str, value: object, path: str) -> Condition:
    if not key.startswith("$"):
        return _on_field(key, value, path)
    if key == "$comment":
        return _all([])
    if key in OPERATORS:
        raise BadSelection(f"{place(path)} stands beside no field", hint=f'write {{"FIELD": {{"{key}": …}}}}')
    if key not in _ON_QUERIES:
        raise BadSelection(f"{place(path)}: unknown operator {key!r}", hint=did_you_mean(key, _ON_QUERIES))
    parts = [_query(part, f"{path}[{at}]") for at, part in enumerate(branches(value, path))]
    if key == "$and":
        return _all(parts)
    if key == "$or":
        return lambda document: any(part(document) for part in parts)
    return lambda document: not any(part(document) for part in parts)


def branches(value: object, path: str) -> list[Any]:
    """The queries that `$and`, `$or` and `$nor` join."""
    if not isinstance(value, list) or not value:
        raise BadSelection(f"{place(path)} must be a list of queries, not {shown(value)}")
    return value


def _all(parts: list[Condition]) -> Condition:
    if len(parts) == 1:
        return parts[0]
    return lambda document: all(part(document) for part in parts)


def _on_field(key: str, value: object, path: str) -> Condition:
    names = tuple(key.split("."))
    clause: Clause = every(read_operators(value, path, _query))
    return lambda document: clause.along(document, names)
