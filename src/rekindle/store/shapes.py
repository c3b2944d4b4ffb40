"""Documents of jobs, from what describes them to SQL: it reads what a document is made of, and calls what makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rekindle.domain.documents.conditions import condition_of
from rekindle.domain.documents.shapes import (
    Attempts,
    Choice,
    Const,
    Items,
    Joined,
    Lines,
    Object,
    PutOver,
    Shape,
    Stored,
    Value,
    WhereItStopped,
)
from rekindle.domain.errors import BadSelection
from rekindle.domain.fields import FIELDS
from rekindle.domain.selection import Predicate
from rekindle.journal.encoding import to_json
from rekindle.store.queries import load

SQL = load("documents")


@dataclass(frozen=True, slots=True)
class Around:
    """What a document's text is made with: how values are bound, and how conditions and fields are compiled."""

    bound: Callable[[Any], str]
    predicate: Callable[[Predicate], str]
    field: Callable[[str], str]


def asked(shape: Shape, query: str, around: Around) -> str:
    """The condition that a document is what a query asks for. BadSelection for one that cannot be read."""
    condition_of(query)
    return _called("asked", shape, around).replace("{query}", around.bound(query))


def document(shape: Shape, around: Around) -> str:
    """An expression for the text of a document."""
    return _called("made", shape, around)


def json_path(keys: tuple[str, ...]) -> str:
    """The path of keys as SQLite has it. It knows no way to write a quotation mark within a key: BadSelection."""
    if any('"' in key for key in keys):
        raise BadSelection(f"{'.'.join(keys)} has a quotation mark, and there is no way to ask for such a name")
    return "$" + "".join(f'."{key}"' for key in keys)


def _called(name: str, shape: Shape, around: Around) -> str:
    taking = _Taking(around)
    recipe = taking.recipe(shape)
    text = SQL[name].text.replace("{recipe}", around.bound(to_json(recipe).decode()))
    return text.replace("{taken}", "".join(f", {one}" for one in taking.taken))


@dataclass(slots=True)
class _Taking:
    """What is read for a document, each thing once, and the recipe that says what is made of it (see store.making).
    SQL could nest it all, but a condition may not be deep in SQLite."""

    around: Around
    taken: dict[str, int] = field(default_factory=dict)

    def recipe(self, shape: Shape) -> list[Any]:
        match shape:
            case Const(value):
                return ["const", value]
            case Value(name):
                return ["value", self._take(self.around.field(name)), FIELDS[name].kind]
            case Lines(names):
                return ["lines", [self._take(self.around.field(name)) for name in names]]
            case Stored(name, path):
                return ["steps" if name == "steps" else "stored", self._take(SQL[name].text), path]
            case Joined(parts):
                return ["joined", [self.recipe(part) for part in parts]]
            case WhereItStopped(of):
                return ["stopped", self._take(SQL["stopped_at"].text), self.recipe(of)]
            case PutOver(base, by, key, apart):
                return ["put_over", self.recipe(base), self.recipe(by), key, self.recipe(apart)]
            case Object(entries):
                return ["object", [(key, self.recipe(part)) for key, part in entries]]
            case Items(items):
                return ["items", [self.recipe(part) for part in items]]
            case Attempts(each, archived):
                inner = _Taking(self.around)
                recipe = inner.recipe(each)
                text = SQL["archived" if archived else "live"].text.replace("{taken}", ", ".join(inner.taken) or "0")
                return ["attempts", self._take(text), recipe]
            case Choice(cases):
                taken = [(self._take(self.around.predicate(where)), part) for where, part in cases]
                return ["choice", [(at, self.recipe(part)) for at, part in taken]]

    def _take(self, expression: str) -> int:
        return self.taken.setdefault(expression, len(self.taken))
