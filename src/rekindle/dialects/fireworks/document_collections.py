"""The collections of a LaunchPad (`fireworks`, `launches`, `workflows`), to be read with pymongo's methods."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from rekindle.dialects.fireworks.fw_documents import firework_documents
from rekindle.dialects.fireworks.launchpad_base import LaunchPadRefused
from rekindle.dialects.fireworks.offline import offline_runs
from rekindle.dialects.fireworks.queries import (
    select_fireworks,
    select_launches,
    select_workflows,
    sorted_documents,
    stored_workflow_documents,
)
from rekindle.domain.documents.conditions import parse_condition
from rekindle.domain.documents.ordering import ABSENT, values_at
from rekindle.domain.errors import BadValue

if TYPE_CHECKING:
    from rekindle.engine.session import Session

Document = dict[str, Any]
Query = Mapping[str, Any]
Projection = Mapping[str, Any] | Sequence[str]
Sort = Sequence[tuple[str, int]]

SelectKeys = Callable[["Session", Query, Sort], list[Any]]
"""Returns what identifies the documents that match a filter, in order."""

ReadDocuments = Callable[["Session", Sequence[Any]], list[Document]]
"""Returns the documents of these keys."""


def _firework_documents(session: Session, ids: Sequence[int]) -> list[Document]:
    """Return fireworks as their collection has them, with the ids of launches."""
    keys = ("launches", "archived_launches")
    return [
        {**one, **{key: [launch["launch_id"] for launch in one.get(key, ())] for key in keys}}
        for one in firework_documents(session, ids)
    ]


def _select_fireworks(session: Session, query: Query, sort: Sort) -> list[int]:
    return select_fireworks(session, query, sort=sort)


def _select_workflows(session: Session, query: Query, sort: Sort) -> list[int]:
    return select_workflows(session, query, sort=sort)


def _same(_: Session, documents: Sequence[Document]) -> list[Document]:
    return list(documents)


def _select_offline_runs(session: Session, query: Query, sort: Sort) -> list[Document]:
    condition = parse_condition(query)
    found = [one for one in offline_runs(session) if condition(one)]
    return sorted_documents(found, sort)


COLLECTIONS: Mapping[str, tuple[SelectKeys, ReadDocuments]] = {
    "fireworks": (_select_fireworks, _firework_documents),
    "launches": (select_launches, _same),
    "workflows": (_select_workflows, stored_workflow_documents),
    "offline_runs": (_select_offline_runs, _same),
}

_INSTEAD = {
    "fireworks": "update_spec, rerun_fw, pause_fw, defuse_fw and set_priority change fireworks",
    "launches": "complete_launch and mark_fizzled end launches",
    "offline_runs": "recover_offline and forget_offline end offline launches",
    "workflows": "add_wf, append_wf, archive_wf and delete_wf change workflows",
}
_WRITING = re.compile(
    r"(insert|update|replace|delete|bulk|drop|rename|find_one_and|create_index|create_indexes|save|remove)\w*"
)
_OTHER = {
    "aggregate": "find, count_documents and distinct are there",
    "watch": "find returns the present documents",
    "map_reduce": "find returns the documents",
}


class Collection:
    """A collection of a LaunchPad, with pymongo's methods that read."""

    def __init__(self, name: str, opened: Callable[[], Session]) -> None:
        """`opened` opens the store."""
        self.name = name
        self._opened = opened
        self._select, self._read = COLLECTIONS[name]

    def find(
        self,
        filter: Query | None = None,  # noqa: A002 (pymongo's name)
        projection: Projection | None = None,
        skip: int = 0,
        limit: int = 0,
        sort: str | Sort | None = None,
        **_: object,
    ) -> Cursor:
        """Return the documents that match a filter. The store is read when the first one is asked for."""
        return Cursor(self, filter, projection).skip(skip).limit(limit).sort(sort or ())

    def find_one(
        self,
        filter: Query | None = None,  # noqa: A002 (pymongo's name)
        projection: Projection | None = None,
        skip: int = 0,
        sort: str | Sort | None = None,
        **_: object,
    ) -> Document | None:
        """Return the first document that matches a filter, or None."""
        return next(self.find(filter, projection, skip, 1, sort), None)

    def count_documents(self, filter: Query, skip: int = 0, limit: int = 0, **_: object) -> int:  # noqa: A002 (pymongo's name)
        """Return how many documents match a filter."""
        with self._opened() as session:
            found = self._select(session, _plain_query(filter), ())
        return len(_page(found, skip, limit))

    def estimated_document_count(self, **_: object) -> int:
        """Return how many documents there are."""
        return self.count_documents({})

    def distinct(self, key: str, filter: Query | None = None, **_: object) -> list[Any]:  # noqa: A002 (pymongo's name)
        """Return the different values of a field; of a list its elements."""
        found: dict[str, Any] = {}
        for document in self.read(filter or {}, (), 0, 0):
            for value in values_at(document, key.split(".")):
                if value is not ABSENT and not isinstance(value, list):
                    found.setdefault(json.dumps(value, sort_keys=True), value)
        return list(found.values())

    def read(self, query: Query, sort: Sort, skip: int, limit: int) -> list[Document]:
        """Return the documents that match a filter, in order."""
        with self._opened() as session:
            return self._read(session, _page(self._select(session, _plain_query(query), sort), skip, limit))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        hint = _INSTEAD[self.name] if _WRITING.fullmatch(name) else _OTHER.get(name)
        if hint is None:
            raise AttributeError(f"a collection of a LaunchPad has no {name!r}")

        def refuse(*_: object, **__: object) -> None:
            what = "are read-only here" if name not in _OTHER else "are not in a MongoDB"
            raise LaunchPadRefused(f"the {self.name} of this LaunchPad {what}: no {name}", hint=hint)

        return refuse

    def __bool__(self) -> bool:
        return True


class Cursor(Iterator[Document]):
    """The documents that a filter matches, as pymongo's Cursor."""

    def __init__(self, collection: Collection, query: Query | None, projection: Projection | None) -> None:
        self._collection, self._query = collection, query or {}
        self._projection = None if projection is None else _Projection(projection)
        self._sort: list[tuple[str, int]] = []
        self._skip = self._limit = 0
        self._documents: Iterator[Document] | None = None

    def sort(self, key_or_list: str | Sort, direction: int = 1) -> Self:
        """Sort by a field, or by a list of fields with 1 (ascending) or -1 (descending)."""
        self._sort = [(key_or_list, direction)] if isinstance(key_or_list, str) else list(key_or_list)
        return self

    def skip(self, skip: int) -> Self:
        """Leave out the first documents."""
        self._skip = skip
        return self

    def limit(self, limit: int) -> Self:
        """Return at most this many documents; 0: all."""
        self._limit = abs(limit)
        return self

    def distinct(self, key: str) -> list[Any]:
        """Return the different values of a field of all documents that match."""
        return self._collection.distinct(key, self._query)

    def to_list(self, length: int | None = None) -> list[Document]:
        """Return the documents that are left, at most `length`."""
        return list(self if length is None else islice(self, length))

    def rewind(self) -> Self:
        """Begin with the first document again, and read the store again."""
        self._documents = None
        return self

    def close(self) -> None:
        """Return no further document."""
        self._documents = iter(())

    def batch_size(self, _: int) -> Self:
        """Accept pymongo's setting. It has no effect."""
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Document:
        if self._documents is None:
            self._documents = self._read(self._skip, self._limit)
        return next(self._documents)

    def next(self) -> Document:
        """Return the next document."""
        return next(self)

    def __getitem__(self, at: int | slice) -> Any:
        return list(self._read(self._skip, self._limit))[at]

    def _read(self, skip: int, limit: int) -> Iterator[Document]:
        found = self._collection.read(self._query, self._sort, skip, limit)
        return iter(found if self._projection is None else [self._projection.apply(one) for one in found])


class _Projection:
    """The fields of a document to keep or to leave out, by their dotted paths."""

    def __init__(self, written: Projection) -> None:
        fields = dict(written) if isinstance(written, Mapping) else dict.fromkeys(written, 1)
        fields.pop("_id", None)
        for name, value in fields.items():
            if not isinstance(value, bool | int):
                raise BadValue(
                    f"the projection of {name!r:.60} is {value!r:.60}", hint="1 keeps a field, 0 leaves it out"
                )
        if len({bool(value) for value in fields.values()}) > 1:
            raise BadValue("a projection keeps fields (1) or leaves fields out (0), not both")
        self._keeps = any(fields.values())
        self._only_id = not fields and not isinstance(written, Mapping) and bool(written)
        self._tree: dict[str, Any] = {}
        for name in fields:
            tree = self._tree
            for part in name.split("."):
                tree = tree.setdefault(part, {})

    def apply(self, document: Document) -> Document:
        """Return the document with the chosen fields."""
        if self._only_id:
            return {}
        if not self._tree:
            return document
        found: Document = _kept(document, self._tree) if self._keeps else _without(document, self._tree)
        return found


def _kept(value: Any, tree: Mapping[str, Any]) -> Any:
    if not tree:
        return value
    if isinstance(value, list):
        return [_kept(one, tree) for one in value if isinstance(one, dict | list)]
    if not isinstance(value, dict):
        return None
    return {
        name: _kept(inner, tree[name])
        for name, inner in value.items()
        if name in tree and (not tree[name] or isinstance(inner, dict | list))
    }


def _without(value: Any, tree: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_without(one, tree) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _without(inner, tree[name]) if name in tree else inner
        for name, inner in value.items()
        if name not in tree or tree[name]
    }


def _page(found: list[Any], skip: int, limit: int) -> list[Any]:
    return found[skip : skip + limit if limit else None]


def _plain_query(query: Any) -> Any:
    """Return a filter with JSON values: compiled patterns as `$regex`, dates as texts."""
    if isinstance(query, Mapping):
        return {key: _plain_query(value) for key, value in query.items()}
    if isinstance(query, list | tuple | set):
        return [_plain_query(one) for one in query]
    if isinstance(query, re.Pattern):
        flags = "".join(
            letter for letter, flag in (("i", re.I), ("m", re.M), ("s", re.S), ("x", re.X)) if query.flags & flag
        )
        return {"$regex": query.pattern, "$options": flags}
    return query.isoformat() if hasattr(query, "isoformat") else query
