"""Which fireworks or workflows the words of a command mean."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rekindle.dialects.fireworks.queries import select_fireworks, select_workflows
from rekindle.domain.errors import BadSelection, NotFound, UsageError
from rekindle.engine.session import Session
from rekindle.query.words import parse_ids

_HINT = """as in -q '{"state": "FIZZLED"}'"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed. Everything given narrows."""

    ids: tuple[str, ...] = ()
    name: str | None = None
    state: str | None = None
    query: str | None = None
    launches: bool = False  # state and query are about launches
    most: int = 0  # 0: all
    sort: tuple[str, bool] | None = None  # (field, whether it descends)

    @property
    def nothing(self) -> bool:
        """Nothing says which are meant."""
        return not self.ids and self.name is None and self.state is None and self.query is None

    def typed(self) -> dict[str, Any]:
        """For the record of a rerun."""
        given = {"ids": list(self.ids), "name": self.name, "state": self.state, "query": self.query}
        return {key: value for key, value in given.items() if value} | ({"launches": True} if self.launches else {})


def sorting(sort: str | None, rsort: str | None) -> tuple[str, bool] | None:
    """How --sort and --rsort order; UsageError for both."""
    if sort is not None and rsort is not None:
        raise UsageError("both --sort and --rsort: which of them?", hint="--sort: oldest first; --rsort: newest first")
    return (sort, False) if sort is not None else (rsort, True) if rsort is not None else None


def fireworks_meant(session: Session, asked: Asked, what: str) -> list[int]:
    """The fireworks that a command acts on. UsageError where nothing says which, NotFound for an id or a name that
    nothing has: then nothing is done."""
    _refuse_nothing(asked, f"{what} what? nothing says which fireworks")
    ids = _named(asked)
    if ids:
        _refuse_unknown(session, ids)
    found = fireworks_shown(session, asked)
    if asked.name is not None and not found and not select_fireworks(session, {"name": asked.name}):
        raise NotFound(f"no firework is named {asked.name!r:.100}", hint="`lpad get_fws` lists them; nothing is done")
    return found


def workflows_meant(session: Session, asked: Asked, what: str) -> list[int]:
    """The workflows that a command acts on, by our ids; errors as for fireworks."""
    _refuse_nothing(asked, f"{what} what? nothing says which workflows")
    ids = _named(asked)
    if ids:
        _refuse_unknown(session, ids)
    found = workflows_shown(session, asked)
    if asked.name is not None and not found and not select_workflows(session, {"name": asked.name}):
        raise NotFound(
            f"no workflow is named {asked.name!r:.100}", hint="`lpad get_wflows` lists them; nothing is done"
        )
    return found


def parse_query(text: str) -> dict[str, Any]:
    """A filter as JSON, or as Python writes a dict. BadSelection names what it is not."""
    try:
        found = json.loads(text)
    except ValueError as wrong:
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise BadSelection(f"-q is not a filter: {wrong}", hint=_HINT) from None
    if not isinstance(found, dict):
        raise BadSelection(f"-q is an object, not {text!r:.60}", hint=_HINT)
    return found


def _named(asked: Asked) -> tuple[int, ...]:
    return parse_ids(asked.ids) if asked.ids else ()


def fireworks_shown(session: Session, asked: Asked) -> list[int]:
    """The fireworks that the words are for; all where nothing says which."""
    sort, query = _sort(asked), _told(asked)
    plain = _all_of(_of_ids("fw_id", _named(asked)), {} if asked.name is None else {"name": asked.name})
    if not asked.launches:
        return select_fireworks(session, _all_of(plain, query), sort=sort, limit=asked.most)
    found = select_fireworks(session, query, launches=True, sort=sort)
    if plain:
        kept = set(select_fireworks(session, plain))
        found = [one for one in found if one in kept]
    return found[: asked.most or None]


def workflows_shown(session: Session, asked: Asked) -> list[int]:
    """The workflows that the words are for, by our ids; all where nothing says which."""
    plain = _all_of(_of_ids("nodes", _named(asked)), {} if asked.name is None else {"name": asked.name})
    return select_workflows(session, _all_of(plain, _told(asked)), sort=_sort(asked), limit=asked.most)


def _of_ids(field: str, ids: Sequence[int]) -> dict[str, Any]:
    return {field: {"$in": list(ids)}} if ids else {}


def _all_of(*queries: dict[str, Any]) -> dict[str, Any]:
    found = [one for one in queries if one]
    return found[0] if len(found) == 1 else {"$and": found} if found else {}


def _told(asked: Asked) -> dict[str, Any]:
    query = {} if asked.query is None else parse_query(asked.query)
    return _all_of({} if asked.state is None else {"state": asked.state}, query)


def _sort(asked: Asked) -> list[tuple[str, int]]:
    return [] if asked.sort is None else [(asked.sort[0], -1 if asked.sort[1] else 1)]


def _refuse_nothing(asked: Asked, message: str) -> None:
    if asked.nothing:
        raise UsageError(message, hint="-i IDS, -n NAME, -s STATE or -q QUERY; -q '{}' means all")


def _refuse_unknown(session: Session, ids: Sequence[int]) -> None:
    known = set(select_fireworks(session, _of_ids("fw_id", ids)))
    missing = [one for one in ids if one not in known]
    if missing:
        listed = ", ".join(str(one) for one in missing[:10]) + (" …" if len(missing) > 10 else "")
        raise NotFound(f"there is no firework {listed}: nothing is done", hint="`lpad get_fws` lists them")
