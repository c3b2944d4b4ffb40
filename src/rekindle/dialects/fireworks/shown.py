"""Fireworks and workflows as documents, as FireWorks' own `to_dict` and `get_wflows` write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rekindle.dialects.fireworks.flows import date_text
from rekindle.dialects.fireworks.launched import launch_document
from rekindle.dialects.fireworks.standing import Standing, fireworks_of, standing
from rekindle.dialects.fireworks.stored import about, binding_of, specs
from rekindle.dialects.fireworks.words import wf_state
from rekindle.domain.models import Attempt, Job, Workflow
from rekindle.engine.looking import look
from rekindle.engine.session import Session


def firework_documents(session: Session, ids: Sequence[int], *, times: bool = False) -> list[dict[str, Any]]:
    """Fireworks with their specs as their next launch will have them, and all their launches."""
    fireworks = standing(session, ids)
    every = look.attempts(session, [one.id for one in fireworks]) if fireworks else []
    attempts, names = _by_job(every), look.runner_names(session, every)
    given = specs(session, [one.job for one in fireworks])
    found = []
    for one in fireworks:
        spec, own = given.get(one.id, {}), attempts.get(one.id, ())
        told = [(at, launch_document(at, spec, names.get(at.runner or 0), times=times)) for at in own]
        found.append(_firework(one, own, spec, told))
    return found


def name_of(job: Job) -> str:
    """The name of a firework, as FireWorks has it."""
    found: str = binding_of(job).get("name", job.name)
    return found


def _firework(
    one: Standing,
    attempts: Sequence[Attempt],
    spec: Mapping[str, Any],
    launches: Sequence[tuple[Attempt, dict[str, Any]]],
) -> dict[str, Any]:
    created = binding_of(one.job).get("created_on")
    live = [told for attempt, told in launches if attempt.archived_by is None]
    archived = [told for attempt, told in launches if attempt.archived_by is not None]
    found: dict[str, Any] = {
        "spec": dict(spec),
        "fw_id": one.id,
        "created_on": created,
        "updated_on": _updated(attempts) or created,
    }
    if live:
        found["launches"] = live
    if archived:
        found["archived_launches"] = archived
    return {**found, "state": one.word, "name": name_of(one.job)}


def summary_document(session: Session, workflow: Workflow, mode: str) -> dict[str, Any]:
    """A workflow at a glance: `less`, `more`, `all` or `reservations` of it."""
    fireworks = standing(session, fireworks_of(session, [workflow.id]))
    told = about(session, workflow)
    children = look.children_of(session, [one.id for one in fireworks])
    words = {one.id: one.word for one in fireworks}
    lenient = {one.id for one in fireworks if binding_of(one.job).get("spec", {}).get("_allow_fizzled_parents")}
    attempts = _by_job(look.attempts(session, None, workflow.id))
    found: dict[str, Any] = {
        "state": wf_state(words, children, lenient),
        "name": f"{told['name']}--{min(words, default=workflow.id)}",
        "created_on": told["created_on"],
    }
    if mode == "less":
        return {**found, "states_list": "-".join(_initial(word) for word in words.values())}
    found["updated_on"] = _updated([at for each in attempts.values() for at in each]) or found["created_on"]
    names = {one.id: f"{name_of(one.job)}--{one.id}" for one in fireworks}
    if mode == "all":
        found = {
            "links": {names[number]: _names(names, children.get(number, ())) for number in names},
            "parent_links": _parents(names, children),
            "metadata": dict(told.get("metadata") or {}),
            **found,
        }
    found["states"] = {names[number]: word for number, word in words.items()}
    live = {number: [at for at in attempts.get(number, ()) if at.archived_by is None] for number in names}
    if mode == "reservations":
        found["launches"] = {names[number]: [_reservation(at) for at in each] for number, each in live.items()}
    else:
        found["launch_dirs"] = {names[number]: [at.folder for at in each] for number, each in live.items()}
    return found


def flow_document(session: Session, workflow: Workflow) -> dict[str, Any]:
    """A whole workflow, as `to_dict` of FireWorks' Workflow writes it, and as `lpad add` takes it."""
    ids = fireworks_of(session, [workflow.id])
    told = about(session, workflow)
    children = look.children_of(session, ids)
    fireworks = firework_documents(session, ids)
    created = told["created_on"]
    return {
        "fws": fireworks,
        "links": {str(number): sorted(children.get(number, ())) for number in ids},
        "name": told["name"],
        "metadata": dict(told.get("metadata") or {}),
        "updated_on": max((one["updated_on"] or "" for one in fireworks), default=created),
        "created_on": created,
    }


def _by_job(attempts: Sequence[Attempt]) -> dict[int, list[Attempt]]:
    found: dict[int, list[Attempt]] = {}
    for attempt in attempts:
        found.setdefault(attempt.job, []).append(attempt)
    return found


def _updated(attempts: Sequence[Attempt]) -> str | None:
    last = max((at for one in attempts for at in (one.queued, one.started, one.ended) if at is not None), default=None)
    return None if last is None else date_text(last)


def _initial(word: str) -> str:
    return word[:3] if word.startswith("R") else word[0]


def _names(names: Mapping[int, str], ids: Sequence[int]) -> list[str]:
    return [names[number] for number in sorted(ids) if number in names]


def _parents(names: Mapping[int, str], children: Mapping[int, Sequence[int]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for parent in sorted(children):
        for child in sorted(children[parent]):
            if parent in names and child in names:
                found.setdefault(names[child], []).append(names[parent])
    return found


def _reservation(attempt: Attempt) -> dict[str, Any]:
    return {"launch_dir": attempt.folder, "state_history": [], "launch_id": attempt.id}
