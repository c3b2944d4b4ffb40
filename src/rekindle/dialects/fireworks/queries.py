"""FireWorks' queries: filters of a document database over fireworks, launches and workflows.

A filter has MongoDB's semantics in full (domain.documents.conditions). What it asks of a firework's state, id or
name becomes a condition on the job; the rest is put to documents that the store makes of no more than is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rekindle.dialects.fireworks.documents import (
    FIREWORK,
    LAUNCH,
    OURS,
    WITHIN_LAUNCHES,
    WORKFLOW_FIELDS,
    state_is,
    workflow_document,
)
from rekindle.dialects.fireworks.words import STATES, WORKFLOW, came_through
from rekindle.domain.documents.conditions import branches, condition_of, read_query
from rekindle.domain.documents.ordering import sort_key
from rekindle.domain.documents.paths import values_at
from rekindle.domain.documents.shapes import Attempts, Object, Shape
from rekindle.domain.errors import BadSelection
from rekindle.domain.selection import AnyOf, Compare, Every, Matches, Not, Op, Predicate
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.engine.looking.documents import documents, holding, outlines
from rekindle.engine.session import Session

Filter = Mapping[str, Any]

Sort = Sequence[tuple[str, int]]
"""Fields, each with 1 or -1: by the first of them, upwards or downwards, and so on."""


def select_fireworks(
    session: Session, query: Filter, *, launches: bool = False, sort: Sort = (), limit: int = 0
) -> list[int]:
    """The ids of the fireworks that a filter is for: of all workflows that came through this dialect, archived ones
    too. With `launches` the filter is over their live launches. `limit`: so many at the most; 0: all. BadSelection
    names what cannot be read, and fields that there are not."""
    found = holding(session, fireworks_where(query, launches=launches))
    if sort:
        by = [(f"launches.{field}" if launches and _root(field) in _OF_LAUNCHES else field, way) for field, way in sort]
        shape = _shape_for({field: None for field, _ in by}, FIREWORK, "fireworks")
        found = _sorted(documents(session, shape, OURS, found), by)
    return found[: limit or None]


def fireworks_where(query: Filter, *, launches: bool = False) -> Predicate:
    """What holds for the fireworks that a filter is for."""
    query = _checked(query)
    return Every((OURS, _among_launches(query) if launches else _where(query)))


def select_workflows(session: Session, query: Filter, *, sort: Sort = (), limit: int = 0) -> list[int]:
    """The ids of the workflows that a filter is for, archived ones too."""
    query = _checked(query)
    for field in (*_fields(query), *(field for field, _ in sort)):
        _check_root(field, WORKFLOW_FIELDS, "workflows")
    ours = [one for one in outlines(session, WORKFLOW) if came_through(one.params)]
    condition = read_query(query)
    found = [(one.id, document) for one in ours if condition(document := workflow_document(one))]
    return _sorted(found, sort)[: limit or None]


def _checked(query: Filter) -> Filter:
    """The filter as JSON has it. BadSelection for one that cannot be read."""
    try:
        found: Filter = json.loads(json.dumps(query, allow_nan=False))
    except RecursionError:
        raise BadSelection("the query is nested too deeply") from None
    except (TypeError, ValueError) as wrong:
        raise BadSelection(f"the query cannot be written as JSON: {wrong}") from None
    read_query(found)
    return found


def _where(query: Filter, depth: int = 0) -> Predicate:
    """Each key is a condition of its own where the store has a word for it; the others are put to one document, and
    so is what is nested deeper than a store may take."""
    parts: list[Predicate] = []
    rest: dict[str, Any] = {}
    for key, value in query.items():
        if key in _JOINING and depth < _DEEPEST:
            parts.append(_JOINING[key]([_where(part, depth + 1) for part in branches(value, key)]))
        elif key == "state":
            parts.append(AnyOf(tuple(state_is(word) for word in STATES if _holds(key, value, word))))
        elif key == "fw_id" and (known := _plain_ids(value)) is not None:
            parts.append(Compare("id", Op.IN, known))
        elif _root(key) in WITHIN_LAUNCHES:
            parts.append(_asked({key: value}))
        elif key != "$comment":
            rest[key] = value
    return Every((*parts, _asked(rest)) if rest else tuple(parts))


def _asked(query: Filter) -> Predicate:
    return Matches(_shape_for(query, FIREWORK, "fireworks"), json.dumps(query))


_JOINING: Mapping[str, Callable[[list[Predicate]], Predicate]] = {
    "$and": lambda parts: Every(tuple(parts)),
    "$or": lambda parts: AnyOf(tuple(parts)),
    "$nor": lambda parts: Not(AnyOf(tuple(parts))),
}


_DEEPEST = 4


def _among_launches(query: Filter) -> Predicate:
    """One live launch is all of this: an element of the list of them."""
    if not query:
        return Compare("attempt.id", Op.EXISTS, True)
    each = _shape_for(query, LAUNCH, "launches")
    asked = {"launches": {"$elemMatch": {"$and": [query]}}}
    return Matches(Object((("launches", Attempts(each)),)), json.dumps(asked))


def _holds(key: str, value: object, word: str) -> bool:
    return condition_of(json.dumps({key: value}))({key: word})


def _plain_ids(value: object) -> tuple[int, ...] | None:
    """The ids that are named, where nothing but ids is."""
    found: list[Any] = [value]
    if isinstance(value, dict) and len(value) == 1:
        found = value["$in"] if "$in" in value else [value.get("$eq")]
    return tuple(found) if all(type(one) is int and abs(one) < 2**63 for one in found) else None


def _shape_for(query: Filter, of: Object, what: str) -> Object:
    """A document with no more in it than a filter asks for."""
    known = [key for key, _ in of.entries]
    fields = list(_fields(query))
    for field in fields:
        _check_root(field, known, what)
    entries = of.only(frozenset(map(_root, fields))).entries
    return Object(tuple((key, _launches(key, query) or shape) for key, shape in entries))


def _launches(key: str, query: Filter) -> Shape | None:
    """The launches themselves, where a filter names something within them; a number alone is one of their ids."""
    if key not in WITHIN_LAUNCHES:
        return None
    names = [name for field in _fields(query) for name in field.split(".")[1:] if _root(field) == key]
    within = "$elemMatch" in json.dumps(query.get(key)) or not all(name.isdecimal() for name in names)
    return WITHIN_LAUNCHES[key] if within else None


def _fields(query: Filter) -> Iterable[str]:
    """Every field that a filter names."""
    for key, value in query.items():
        if key in _JOINING:
            for part in value:
                yield from _fields(part)
        elif not key.startswith("$"):
            yield key


_OF_LAUNCHES = frozenset(key for key, _ in LAUNCH.entries)


def _root(field: str) -> str:
    return field.partition(".")[0]


def _check_root(field: str, known: Sequence[str], what: str) -> None:
    if _root(field) not in known:
        hint = did_you_mean(_root(field), known)
        if what == "fireworks" and _root(field) in _OF_LAUNCHES:
            hint = "launches have one: -lm asks for them"
        raise BadSelection(f"{what} have no field {field!r}", hint=hint or f"they have {', '.join(known)}")


def _sorted(found: Sequence[tuple[int, Any]], sort: Sort) -> list[int]:
    rows = list(found)
    for field, direction in reversed(sort):
        names, descending = tuple(field.split(".")), direction < 0
        keyed = [(sort_key(list(values_at(row[1], names)), descending=descending), row) for row in rows]
        keyed.sort(key=lambda one: one[0], reverse=descending)
        rows = [row for _, row in keyed]
    return [number for number, _ in rows]
