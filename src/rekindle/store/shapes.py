"""Documents of jobs, from what describes them to SQL, and what SQL needs for them that SQLite has not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

import msgspec

from rekindle.domain.actions import effective
from rekindle.domain.documents.conditions import condition_of
from rekindle.domain.documents.shapes import (
    Attempts,
    Choice,
    Const,
    Items,
    Lines,
    Object,
    PutOver,
    Shape,
    Stored,
    Value,
)
from rekindle.domain.errors import BadSelection
from rekindle.domain.fields import FIELDS
from rekindle.domain.selection import Predicate
from rekindle.store.queries import load

SQL = load("documents")

_BY_KIND = {"bool": "truth", "time": "moment", "state": "label"}


@dataclass(frozen=True, slots=True)
class Around:
    """What a document's text is made with: how values are bound, and how conditions and fields are compiled."""

    bound: Callable[[Any], str]
    predicate: Callable[[Predicate], str]
    field: Callable[[str], str]


def compile_shape(shape: Shape, around: Around) -> str:
    """An expression for the text of a document."""
    match shape:
        case Const(value):
            return SQL["constant"].text.replace("{value}", around.bound(_text(value)))
        case Value(field):
            fragment = SQL[_BY_KIND.get(FIELDS[field].kind, "scalar")].text
            return fragment.replace("{field}", around.field(field))
        case Lines(fields):
            lines = [SQL["line"].text.replace("{field}", around.field(field)) for field in fields]
            return SQL["lines"].text.replace("{parts}", " || ".join(lines))
        case Stored():
            return _stored(shape, around)
        case PutOver(base, by, key, apart):
            text = SQL["put_over"].text.replace("{part}", _stored(base, around)).replace("{key}", around.bound(key))
            return text.replace("{by}", _stored(by, around)).replace("{apart}", _stored(apart, around))
        case Object(entries):
            parts = [
                SQL["entry"].text.replace("{key}", around.bound(key)).replace("{part}", compile_shape(part, around))
                for key, part in entries
            ]
            return SQL["object"].text.replace("{parts}", ", ".join(parts))
        case Items(items):
            parts = [SQL["item"].text.replace("{part}", compile_shape(part, around)) for part in items]
            return SQL["items"].text.replace("{parts}", ", ".join(parts))
        case Attempts(each, archived):
            return SQL["archived" if archived else "live"].text.replace("{part}", compile_shape(each, around))
        case Choice(cases):
            parts = [
                SQL["case"]
                .text.replace("{where}", around.predicate(where))
                .replace("{part}", compile_shape(part, around))
                for where, part in cases
            ]
            return SQL["choice"].text.replace("{parts}", " ".join(parts))


def asked(shape: Shape, query: str, around: Around) -> str:
    """The condition that a document is what a query asks for. BadSelection for one that cannot be read."""
    condition_of(query)
    text = SQL["asked"].text.replace("{document}", compile_shape(shape, around))
    return text.replace("{query}", around.bound(query))


def add_functions(connection: Connection) -> None:
    """Give a connection what the pieces call."""
    for name, count, function in (
        ("matches", 2, _matches),
        ("effective", 2, _effective),
        ("joined", 1, _joined),
        ("put_over", 4, _put_over),
    ):
        connection.create_function(name, count, function, deterministic=True)


def json_path(keys: tuple[str, ...]) -> str:
    """The path of keys as SQLite has it. It knows no way to write a quotation mark within a key: BadSelection."""
    if any('"' in key for key in keys):
        raise BadSelection(f"{'.'.join(keys)} has a quotation mark, and there is no way to ask for such a name")
    return "$" + "".join(f'."{key}"' for key in keys)


def _stored(shape: Stored, around: Around) -> str:
    whole = SQL[shape.name].text
    if not shape.path:
        return whole
    text = SQL["within"].text.replace("{path}", around.bound(json_path(shape.path)))
    return text.replace("{part}", whole)


def _matches(query: str, document: str) -> bool:
    return condition_of(query)(msgspec.json.decode(document))


def _effective(params: str, patches: str) -> str:
    changes = [patch["set"] for patch in msgspec.json.decode(patches) if "set" in patch]
    return _text(effective(msgspec.json.decode(params), changes))


def _joined(results: str) -> str:
    found: dict[str, Any] = {}
    for one in msgspec.json.decode(results):
        for key, value in one.items() if isinstance(one, dict) else ():
            before = found.get(key)
            if isinstance(before, dict) and isinstance(value, dict):
                found[key] = {**before, **value}
            elif isinstance(before, list) and isinstance(value, list):
                found[key] = [*before, *value]
            else:
                found[key] = value
    return _text(found)


def _put_over(base: str, by: str, key: str, apart: str) -> str:
    if by == "null":
        return base
    found, changes, but = (msgspec.json.decode(text) for text in (base, by, apart))
    newest: dict[tuple[Any, Any], dict[str, Any]] = {}
    for change in changes:
        job, attempt, what = change["by"]
        known = newest.get((job, what))
        if job != but and (known is None or known["by"][1] < attempt):
            newest[job, what] = change
    for change in newest.values():
        found |= change.get(key, {})
    return _text(found)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
