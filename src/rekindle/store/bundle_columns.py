"""What a bundle carries of each table: how each column changes between a store and a bundle.

In a bundle, the rows of a table are numbered 1, 2, 3 … in the order of their ids, and paths are relative to the
workflow's folder or to the attempts' folders. Each converter here is used in both directions: `Renumbering` says which.
A table or column that is not listed fails a test.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.states import Cause, State
from rekindle.journal.encoding import from_json, to_json

Numbers = Callable[[int], int | None]
"""Returns the number of a row in the bundle for its id in the store, or the other way round; None: it has none."""


class Renumbering(msgspec.Struct, frozen=True):
    """One direction between a store and a bundle."""

    numbers: Mapping[str, Numbers]  # by table
    path: Callable[[str], str]  # converts a stored path, or the path of a bundle
    packs: bool  # from the store to the bundle


Convert = Callable[[Renumbering, Any], Any]
"""Converts a value of a column, or a part of a document."""


def _value(_: Renumbering, value: Any) -> Any:
    return value


VALUE: Convert = _value
"""A column that a bundle has as it is stored."""


def _nothing(_: Renumbering, __: Any) -> None:
    return None


NOTHING: Convert = _nothing
"""A column about the place of the store, which is null in a bundle."""


class LeftOut(msgspec.Struct, frozen=True):
    """Why a bundle does not have a table or a column; `value` is that of a row which is imported."""

    why: str
    value: Any = None


def _id(table: str) -> Convert:
    """The id of a row. An id outside of the workflow becomes null. Ids below 1 are signs, and stay."""

    def convert(to: Renumbering, value: Any) -> Any:
        return value if value is None or value < 1 else to.numbers[table](value)

    return convert


def _signed_id(table: str) -> Convert:
    """The same in documents: an id outside of the workflow becomes 0."""
    convert_id = _id(table)

    def convert(to: Renumbering, value: Any) -> Any:
        if type(value) is not int:
            return value
        found = convert_id(to, value)
        return 0 if found is None else found

    return convert


def _path(to: Renumbering, value: Any) -> Any:
    return to.path(value) if isinstance(value, str) else value


def _each(convert: Convert) -> Convert:
    return lambda to, values: [convert(to, one) for one in values] if isinstance(values, list) else values


def _keys(**parts: Convert) -> Convert:
    """An object: converts the values of these keys where they exist."""

    def convert(to: Renumbering, document: Any) -> Any:
        if not isinstance(document, dict):
            return document
        changed = {name: one(to, document[name]) for name, one in parts.items() if name in document}
        return {**document, **changed}

    return convert


def _json(convert: Convert) -> Convert:
    """JSON text."""

    def convert_text(to: Renumbering, text: Any) -> Any:
        return None if text is None else to_json(convert(to, from_json(text))).decode()

    return convert_text


_JOB, _ATTEMPT, _RERUN = _signed_id("job"), _signed_id("attempt"), _signed_id("rerun")
_NEXT = _json(
    _keys(
        resume_attempt=_id("attempt"),
        pinned_to=_id("attempt"),
        reuse_candidate=_id("attempt"),
        keep_recovery=_id("rerun"),
        folder=_path,
    )
)
_PRINTS = _keys(inputs=_each(_keys(path=_path)), outputs=_each(_keys(path=_path)))
_SAVED = _each(_keys(path=_path, kept=_path))
_PARTIAL = _each(_keys(path=_path, aside=_path))

_PATH_REASONS = (ReasonKind.INPUT, ReasonKind.OUTPUT, ReasonKind.UNSTABLE)
"""Kinds of reasons whose path is stored relative to the store (see rekindle.store.paths)."""

_DETAIL = _keys(job=_JOB, attempt=_ATTEMPT, rerun=_RERUN)
_PATH_DETAIL = _keys(job=_JOB, path=_path)


def _detail(to: Renumbering, kind: str, detail: Any) -> Any:
    return (_PATH_DETAIL if kind in _PATH_REASONS else _DETAIL)(to, detail)


def _reason(to: Renumbering, one: Any) -> Any:
    return {**one, "detail": _detail(to, one["kind"], one["detail"])} if "detail" in one else one


def _checked_reason(to: Renumbering, one: Any) -> Any:
    return _detail(to, one["kind"], one)


_EVENT = _keys(
    job=_JOB,
    attempt=_ATTEMPT,
    rerun=_RERUN,
    first=lambda to, value: _each(_JOB)(to, value) if isinstance(value, list) else _JOB(to, value),
    runner=_signed_id("runner"),
    supervision=_signed_id("supervision"),
    prune=_signed_id("prune"),
)
_REQUEST = _keys(
    jobs=_each(_JOB),
    canaries=_RERUN,
    supervision=_signed_id("supervision"),
    first_attempt=_ATTEMPT,
    added_again_by=_ATTEMPT,
    workflow=_signed_id("workflow"),
    source=_path,
    submit=_path,
)
"""What rekindle reads in a request. The selection and the options stay as a person typed them."""

_REPORT = _keys(
    supervision=_signed_id("supervision"),
    workflow=_signed_id("workflow"),
    rounds=_each(_keys(rerun=_RERUN)),
    fixed=_each(_keys(id=_JOB)),
    failing=_each(_keys(jobs=_each(_JOB))),
    left=_each(_keys(id=_JOB)),
    quarantined=_each(_keys(jobs=_each(_JOB))),
)


def _dynamic(to: Renumbering, document: Any) -> Any:
    """The action sets that a rerun ended, and the edges that went with them: those of the workflow."""
    job, attempt = _id("job"), _id("attempt")
    if not isinstance(document, dict) or "taken" not in document:
        return document
    taken = [
        {
            **one,
            "attempt": attempt(to, one["attempt"]),
            "job": job(to, one["job"]),
            "retires": _jobs(to, one["retires"]),
        }
        for one in document["taken"]
    ]
    edges = [[job(to, parent), job(to, child), attempt(to, by)] for parent, child, by in document.get("edges", ())]
    return {
        **document,
        "taken": [one for one in taken if one["job"] is not None and one["attempt"] is not None],
        "edges": [edge for edge in edges if edge[0] is not None and edge[1] is not None],
    }


def _jobs(to: Renumbering, jobs: Sequence[int]) -> list[int]:
    return [found for one in jobs if (found := _id("job")(to, one)) is not None]


def _archives(to: Renumbering, attempts: Any) -> Any:
    return [found for one in attempts if (found := _id("attempt")(to, one)) is not None]


def _earlier(to: Renumbering, value: Any) -> Any:
    """How jobs and edges were before a revision (see rekindle.store.revisions): deflated in a store, text in a
    bundle."""
    if value is None:
        return None
    job, template = _id("job"), _id("template")
    text = zlib.decompress(value) if to.packs else value
    added, retired, redefined, gained, lost = from_json(text)
    delta = [
        _jobs(to, added),
        _jobs(to, retired),
        [[job(to, one), template(to, shape), binding] for one, shape, binding in redefined],
        [_jobs(to, edge) for edge in gained],
        [_jobs(to, edge) for edge in lost],
    ]
    return to_json(delta).decode() if to.packs else zlib.compress(to_json(delta), 1)


def _numbered_keys(table: str) -> Convert:
    """An object whose keys are ids."""
    key = _signed_id(table)
    return lambda to, document: {str(key(to, int(one))): value for one, value in document.items()}


def _needed(to: Renumbering, document: Any) -> Any:
    return {str(_JOB(to, int(job))): _ATTEMPT(to, attempt) for job, attempt in document.items()}


_BASELINE = _keys(template=_signed_id("template"), needed=_numbered_keys("job"), prints=_PRINTS)

FINGERPRINTS: Mapping[str, Convert] = {
    "needed": _json(_needed),
    "files": _json(_PRINTS),
    "partial": _json(_PARTIAL),
    "patched": VALUE,
}
"""The converter of a fingerprint's document, by its part."""


def _values(names: str) -> dict[str, Convert | LeftOut]:
    return dict.fromkeys(names.split(), VALUE)


_DERIVED = "it follows from other rows"

COLUMNS: Mapping[str, Mapping[str, Convert | LeftOut]] = {
    "workflow": {
        "id": _id("workflow"),
        **_values("name project source_digest revision submitted"),
        "directory": _path,
        "source": _path,
        "archived": LeftOut("an imported workflow is archived until a person brings it back"),
    },
    "resource_class": {"id": _id("resource_class"), **_values("cpus memory gpus time licences")},
    "signature": {"id": _id("signature"), **_values("digest cause type message")},
    "source": _values("digest modules"),
    "prune": {"id": _id("prune"), **_values("at request note logs attempts bytes")},
    "runner": {
        "id": _id("runner"),
        "keeper": _id("runner"),
        **_values("host boot_id pid pid_start pid_space executor slots epoch started expires ended label"),
        "store": NOTHING,
        "store_file": NOTHING,
        "offer": NOTHING,
    },
    "rerun": {
        "id": _id("rerun"),
        **_values("kind at digest note warnings expected overwrites jobs undone"),
        "request": _json(_REQUEST),
        "refused": _json(_each(_keys(id=_JOB))),
        "dynamic": _json(_dynamic),
    },
    "revision": {
        "workflow": _id("workflow"),
        **_values("number submitted params source_digest hooks"),
        "rerun": _id("rerun"),
        "earlier": _earlier,
    },
    "template": {
        "id": _id("template"),
        "workflow": _id("workflow"),
        **_values("revision name body"),
        "resource_class": _id("resource_class"),
    },
    "job": {
        "id": _id("job"),
        "workflow": _id("workflow"),
        "template": _id("template"),
        "resource_class": _id("resource_class"),
        "attempt": _id("attempt"),
        "added_by": _id("attempt"),
        "next_attempt": _NEXT,
        **_values("name binding priority attempts held canceled retired when_finished delayed_since"),
        "state": LeftOut(_DERIVED, 0),
        "unmet": LeftOut(_DERIVED, 0),
        "version": LeftOut("plans of one store are bound to it"),
    },
    "edge": {"parent": _id("job"), "child": _id("job"), "added_by": _id("attempt")},
    "attempt": {
        "id": _id("attempt"),
        "job": _id("job"),
        "workflow": _id("workflow"),
        "template": _id("template"),
        "pinned_to": _id("attempt"),
        "builds_on": _id("attempt"),
        "runner": _id("runner"),
        "signature": _id("signature"),
        "archived_by": _id("rerun"),
        "pruned_by": _id("prune"),
        "folder": _path,
        **_values("number token state revision binding code worker host pid pid_start shared queued started ended"),
        **_values("cause exit_code signal error_type error_message error_traceback error_stderr evidence cpu_seconds"),
        **_values("max_rss_bytes result verdict verdict_message start_step overrides partial acts cancel left_running"),
    },
    "step": {
        "attempt": _id("attempt"),
        "kept_from": _id("attempt"),
        **_values("position name state cause exit_code signal started ended result action verdict verdict_message"),
    },
    "fan_out": {"attempt": _id("attempt"), "base": _id("attempt"), **_values("step total gone")},
    "subtask": {
        "attempt": _id("attempt"),
        **_values("step idx item state attempts cause exit_code signal started ended result digest"),
    },
    "patch": {"id": _id("patch"), "attempt": _id("attempt"), "job": _id("job"), **_values("change in_force")},
    "fingerprint": {"attempt": _id("attempt"), **_values("part document")},
    "accepted": {"rerun": _id("rerun"), "attempt": _id("attempt"), "document": _json(_BASELINE)},
    "temporary_output": {"attempt": _id("attempt"), "path": _path, **_values("name decided removed")},
    "rerun_change": {
        "rerun": _id("rerun"),
        **_values("number before after unmet start keeps changes stays holds releases held canceled"),
        "reasons": _json(_each(_reason)),
        "archives": _json(_archives),
        "next_attempt": _NEXT,
        "saves": _json(_each(_path)),
        "next_before": _NEXT,
    },
    "rerun_job": {
        "rerun": _id("rerun"),
        "job": _id("job"),
        **_values("change version"),
        "attempt": _id("attempt"),
        "own": _id("attempt"),
        "upstream": _id("job"),
        "saved": _json(_SAVED),
        "checked": _json(_keys(reasons=_each(_checked_reason))),
    },
    "canary_group": {
        "id": _id("canary_group"),
        "rerun": _id("rerun"),
        "workflow": _id("workflow"),
        "signature": _id("signature"),
        "released": _id("rerun"),
        **_values("how outcome why ended"),
    },
    "canary": {"canary_group": _id("canary_group"), "job": _id("job"), "attempt": _id("attempt"), "role": VALUE},
    "supervision": {
        "id": _id("supervision"),
        "workflow": _id("workflow"),
        **_values("asked began host boot_id pid pid_start pid_space outcome ended"),
        "report": _json(_REPORT),
        "store_file": NOTHING,
    },
    "hook_delivery": {
        "id": _id("hook_delivery"),
        "workflow": _id("workflow"),
        "attempt": _signed_id("attempt"),
        **_values("event token hook document added starts taken result ended"),
        "owner": NOTHING,
    },
    "event": {"id": _id("event"), "workflow": _id("workflow"), **_values("at kind"), "detail": _json(_EVENT)},
}
"""The columns of each table that a bundle has, in an order in which rows follow those that they refer to."""

LEFT_OUT: Mapping[str, LeftOut] = {
    "meta": LeftOut("properties of one store"),
    "workflow_count": LeftOut(_DERIVED),
    "workflow_span": LeftOut(_DERIVED),
    "journal": LeftOut("records that the rows of attempts have"),
    "file": LeftOut("a cache of digests of one disk"),
    "assessment": LeftOut("a cache of what was compared on one disk"),
    "api_token": LeftOut("secrets of one store"),
    "removal": LeftOut("files of one store that are still to be removed"),
}
"""The tables that a bundle does not have."""

SHARED = {"resource_class": ("cpus", "memory", "gpus", "time", "licences"), "signature": ("digest",)}
"""Tables whose rows several workflows share, by the columns that identify a row: these order the rows of a bundle."""

_ACTIVE = (int(State.QUEUED), int(State.RUNNING))
_CANCELED = {"state": int(State.CANCELED), "cause": Cause.CANCELED.value}

ENDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "attempt": ("state", {**_CANCELED, "ended": "", "evidence": '{"exported":"before it ended"}'}),
    "step": ("state", {**_CANCELED, "ended": ""}),
    "subtask": ("state", {**_CANCELED, "ended": ""}),
    "runner": ("ended", {"ended": ""}),
    "supervision": ("ended", {"ended": "", "outcome": "given_up"}),
    "hook_delivery": ("result", {"result": "not delivered: the workflow was exported", "ended": ""}),
    "canary_group": ("outcome", {"outcome": "dropped", "why": "the workflow was exported before", "ended": ""}),
    "temporary_output": ("removed", {"removed": ""}),
}
"""By table, the column that shows whether something has not ended (an active state, or null), and how a bundle has it
ended: the values of its columns, unless they have one; "" stands for the newest time in the workflow's history."""


def is_open(column: str, value: Any) -> bool:
    """Return whether this value of a column of ENDS means that something has not ended."""
    return value in _ACTIVE if column == "state" else value is None
