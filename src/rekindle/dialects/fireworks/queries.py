"""FireWorks' queries: MongoDB filters over fireworks, launches and workflows.

Filters have MongoDB's full semantics (domain.documents.conditions). Conditions on a firework's state, id or name
become conditions on jobs; the rest is evaluated on documents that hold only the requested fields. The fields are
those that FireWorks' collections have; https://materialsproject.github.io/fireworks/ describes them with the `lpad`
commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from rekindle.dialects.fireworks.flow import date_text
from rekindle.dialects.fireworks.fw_documents import launch_document
from rekindle.dialects.fireworks.fw_states import (
    CHANGES_PARAM,
    STATES,
    WORKFLOW_PARAM,
    fw_state,
    is_fireworks_workflow,
    job_state_predicate,
    wf_state,
)
from rekindle.domain.documents.conditions import compile_query, parse_condition, query_branches
from rekindle.domain.documents.ordering import sort_key, values_at
from rekindle.domain.errors import BadSelection
from rekindle.domain.selection import AllOf, AnyOf, Compare, DocumentMatches, HasParameter, Not, Op, Predicate
from rekindle.domain.texts.display import did_you_mean
from rekindle.engine.queries.job_queries import job_documents, jobs_matching, workflow_outlines
from rekindle.store.candidates import JobRecord

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.store.documents import WorkflowOutline

IS_FIREWORK: Predicate = AllOf((HasParameter((WORKFLOW_PARAM, "name")), Compare("workflow.archived", Op.EXISTS, True)))
"""Selects the jobs of workflows that this dialect added. Naming `workflow.archived` includes archived workflows."""


def state_predicate(word: str) -> Predicate:
    """Return the predicate for fireworks in this state."""
    archived = Compare("workflow.archived", Op.EQ, True)
    return archived if word == "ARCHIVED" else AllOf((Not(archived), job_state_predicate(word)))


Field: TypeAlias = Callable[[JobRecord], Any]
"""A field of a firework's document."""


def _updated(job: JobRecord) -> Any:
    last = max((one.last for one in job.history if one.last is not None), default=None)
    return job.binding.get("created_on") if last is None else date_text(last)


def _spec(job: JobRecord) -> dict[str, Any]:
    """Return the spec with the `update_spec` changes of other fireworks. Queries do not see `mod_spec` changes, which
    only a launch evaluates."""
    spec: dict[str, Any] = job.binding.get("spec", {})
    for change in job.params.get(CHANGES_PARAM, ()):
        spec = {**spec, **change.get("update_spec", {})}
    return spec


def _launch_ids(job: JobRecord, *, archived: bool) -> list[int]:
    return [one.id for one in job.history if one.archived == archived]


def _launches(job: JobRecord, *, archived: bool) -> list[dict[str, Any]]:
    """Return whole launches, without the checkpoints in their histories."""
    attempts = [one for one in job.attempts if (one.archived_by is not None) == archived]
    spec = _spec(job) if attempts else {}
    launches = (launch_document(one, spec, job.runner_name(one.runner), times=True) for one in attempts)
    return [{field: launch[field] for field in LAUNCH_FIELDS} for launch in launches]


LAUNCH_FIELDS = (
    "fw_id",
    "launch_id",
    "state",
    "host",
    "fworker",
    "launch_dir",
    "action",
    "time_start",
    "time_end",
    "runtime_secs",
    "state_history",
)
"""The fields of a launch."""

FIREWORK: Mapping[str, Field] = {
    "fw_id": lambda job: job.id,
    "name": lambda job: job.binding.get("name"),
    "state": lambda job: fw_state(job.state, job.held, archived=job.archived),
    "created_on": lambda job: job.binding.get("created_on"),
    "updated_on": _updated,
    "spec": _spec,
    "launches": partial(_launch_ids, archived=False),
    "archived_launches": partial(_launch_ids, archived=True),
}
"""The fields of a firework. Its launches are ids, unless a query names fields inside them."""

WITHIN_LAUNCHES: Mapping[str, Field] = {
    "launches": partial(_launches, archived=False),
    "archived_launches": partial(_launches, archived=True),
}
"""The fields that hold whole launches, where a query names fields inside them."""


def document_of(fields: Mapping[str, Field]) -> Callable[[JobRecord], dict[str, Any]]:
    """Return the function that makes a document of these fields."""
    return lambda job: {name: field(job) for name, field in fields.items()}


WORKFLOW_FIELDS = (
    "name",
    "state",
    "metadata",
    "nodes",
    "links",
    "parent_links",
    "fw_states",
    "created_on",
    "updated_on",
)
"""The fields of a workflow."""


def workflow_document(found: WorkflowOutline) -> dict[str, Any]:
    """Return the document of a workflow that this dialect added."""
    about = found.params[WORKFLOW_PARAM]
    states = {job: fw_state(state, held, archived=found.archived) for job, (state, held) in found.jobs.items()}
    links: dict[str, list[int]] = {str(job): [] for job in found.jobs}
    parents: dict[str, list[int]] = {}
    for parent, child in found.edges:
        links[str(parent)].append(child)
        parents.setdefault(str(child), []).append(parent)
    return {
        "name": about["name"],
        "state": wf_state(states, {job: links[str(job)] for job in found.jobs}, found.lenient),
        "metadata": about["metadata"],
        "nodes": list(found.jobs),
        "links": links,
        "parent_links": parents,
        "fw_states": {str(job): state for job, state in states.items()},
        "created_on": about["created_on"],
        "updated_on": date_text(found.updated),
    }


MongoQuery = Mapping[str, Any]

Sort = Sequence[tuple[str, int]]
"""Fields to sort by, each with 1 (ascending) or -1 (descending)."""


def select_fireworks(
    session: Session, query: MongoQuery, *, launches: bool = False, sort: Sort = (), limit: int = 0
) -> list[int]:
    """Return the ids of the fireworks that match a filter, including those of archived workflows.

    With `launches` the filter is over their live launches. `limit`: at most this many; 0: all. Raises BadSelection
    for an invalid filter or an unknown field."""
    found = jobs_matching(session, fireworks_predicate(query, launches=launches))
    if sort:
        by = [
            (f"launches.{field}" if launches and _top_field(field) in LAUNCH_FIELDS else field, way)
            for field, way in sort
        ]
        document = document_of(_firework_fields({field: None for field, _ in by}))
        found = _sorted(job_documents(session, document, IS_FIREWORK, found), by)
    return found[: limit or None]


def fireworks_predicate(query: MongoQuery, *, launches: bool = False) -> Predicate:
    """Return the predicate for the fireworks that match a filter."""
    query = _validated(query)
    return AllOf((IS_FIREWORK, _launch_predicate(query) if launches else _firework_predicate(query)))


def select_workflows(session: Session, query: MongoQuery, *, sort: Sort = (), limit: int = 0) -> list[int]:
    """Return the ids of the workflows that match a filter, including archived ones."""
    query = _validated(query)
    for field in (*_fields(query), *(field for field, _ in sort)):
        _check_field(field, WORKFLOW_FIELDS, "workflows")
    ours = [one for one in workflow_outlines(session, WORKFLOW_PARAM) if is_fireworks_workflow(one.params)]
    condition = parse_condition(query)
    found = [(one.id, document) for one in ours if condition(document := workflow_document(one))]
    return _sorted(found, sort)[: limit or None]


def _validated(query: MongoQuery) -> MongoQuery:
    """Return the filter with JSON values only. Raises BadSelection if it is invalid."""
    try:
        found: MongoQuery = json.loads(json.dumps(query, allow_nan=False))
    except RecursionError:
        raise BadSelection("the query is nested too deeply") from None
    except (TypeError, ValueError) as wrong:
        raise BadSelection(f"the query cannot be written as JSON: {wrong}") from None
    parse_condition(found)
    return found


def _firework_predicate(query: MongoQuery, depth: int = 0) -> Predicate:
    """Translate a filter. Keys that the store can answer become conditions of their own; other keys, and anything
    nested too deeply, are evaluated on one document."""
    parts: list[Predicate] = []
    rest: dict[str, Any] = {}
    for key, value in query.items():
        if key in _LOGICAL and depth < _MAX_DEPTH:
            parts.append(_LOGICAL[key]([_firework_predicate(part, depth + 1) for part in query_branches(value, key)]))
        elif key == "state":
            parts.append(AnyOf(tuple(state_predicate(word) for word in STATES if _matches_state(key, value, word))))
        elif key == "fw_id" and (known := _plain_ids(value)) is not None:
            parts.append(Compare("id", Op.IN, known))
        elif _top_field(key) in WITHIN_LAUNCHES:
            parts.append(_document_predicate({key: value}))
        elif key != "$comment":
            rest[key] = value
    return AllOf((*parts, _document_predicate(rest)) if rest else tuple(parts))


def _document_predicate(query: MongoQuery) -> Predicate:
    return DocumentMatches(document_of(_firework_fields(query)), json.dumps(query))


_LOGICAL: Mapping[str, Callable[[list[Predicate]], Predicate]] = {
    "$and": lambda parts: AllOf(tuple(parts)),
    "$or": lambda parts: AnyOf(tuple(parts)),
    "$nor": lambda parts: Not(AnyOf(tuple(parts))),
}


_MAX_DEPTH = 4


def _launch_predicate(query: MongoQuery) -> Predicate:
    """Return the predicate for fireworks with one live launch that matches the whole filter."""
    if not query:
        return Compare("attempt.id", Op.EXISTS, True)
    for field in _fields(query):
        _check_field(field, LAUNCH_FIELDS, "launches")
    query_on_list = {"launches": {"$elemMatch": {"$and": [query]}}}
    return DocumentMatches(document_of({"launches": WITHIN_LAUNCHES["launches"]}), json.dumps(query_on_list))


def _matches_state(key: str, value: object, word: str) -> bool:
    return compile_query(json.dumps({key: value}))({key: word})


def _plain_ids(value: object) -> tuple[int, ...] | None:
    """Return the ids if the condition names only ids, else None."""
    found: list[Any] = [value]
    if isinstance(value, dict) and len(value) == 1:
        found = value["$in"] if "$in" in value else [value.get("$eq")]
    return tuple(found) if all(type(one) is int and abs(one) < 2**63 for one in found) else None


def _firework_fields(query: MongoQuery) -> dict[str, Field]:
    """Return the fields that a filter names, for a document that has no others."""
    named: dict[str, Field] = {}
    for field in _fields(query):
        _check_field(field, list(FIREWORK), "fireworks")
        top = _top_field(field)
        named[top] = WITHIN_LAUNCHES[top] if _is_within_launches(top, query) else FIREWORK[top]
    return named


def _is_within_launches(top: str, query: MongoQuery) -> bool:
    """Return whether a filter names fields inside launches; a number alone is one of their ids."""
    names = [name for field in _fields(query) for name in field.split(".")[1:] if _top_field(field) == top]
    within = "$elemMatch" in json.dumps(query.get(top)) or not all(name.isdecimal() for name in names)
    return top in WITHIN_LAUNCHES and within


def _fields(query: MongoQuery) -> Iterable[str]:
    """Yield every field that a filter names."""
    for key, value in query.items():
        if key in _LOGICAL:
            for part in value:
                yield from _fields(part)
        elif not key.startswith("$"):
            yield key


def _top_field(field: str) -> str:
    return field.partition(".")[0]


def _check_field(field: str, known: Sequence[str], what: str) -> None:
    if _top_field(field) not in known:
        hint = did_you_mean(_top_field(field), known)
        if what == "fireworks" and _top_field(field) in LAUNCH_FIELDS:
            hint = "launches have this field: add -lm"
        raise BadSelection(f"{what} have no field {field!r}", hint=hint or f"they have {', '.join(known)}")


def _sorted(found: Sequence[tuple[int, Any]], sort: Sort) -> list[int]:
    rows = list(found)
    for field, direction in reversed(sort):
        names, descending = tuple(field.split(".")), direction < 0
        keyed = [(sort_key(list(values_at(row[1], names)), descending=descending), row) for row in rows]
        keyed.sort(key=lambda one: one[0], reverse=descending)
        rows = [row for _, row in keyed]
    return [number for number, _ in rows]
