"""Fireworks, launches and workflows as documents, as FireWorks' `to_dict` and `get_wflows` write them."""

from __future__ import annotations

import gzip
import json
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.flow import date_text
from rekindle.dialects.fireworks.fw_states import launch_state, wf_state
from rekindle.dialects.fireworks.spec_changes import EMPTY_ACTION, combined_action
from rekindle.dialects.fireworks.stored_fireworks import (
    StoredFirework,
    current_specs,
    fireworks_of,
    read_fireworks,
    stored_binding,
    workflow_details,
)
from rekindle.dialects.fireworks.tasks.fwaction import parse_details
from rekindle.domain.states import ENDED, State
from rekindle.engine.queries import job_queries

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, Job, Workflow
    from rekindle.domain.next_attempt import NextAttempt
    from rekindle.engine.session import Session


def firework_documents(session: Session, ids: Sequence[int], *, times: bool = False) -> list[dict[str, Any]]:
    """Return fireworks with the specs of their next launches and with all their launches."""
    fireworks = read_fireworks(session, ids)
    every = job_queries.attempts(session, [one.id for one in fireworks]) if fireworks else []
    attempts, names = _by_job(every), job_queries.runner_names(session, every)
    given = current_specs(session, [one.job for one in fireworks])
    found = []
    for one in fireworks:
        own = attempts.get(one.id, ())
        spec = with_rerun_keys(given.get(one.id, {}), one.job.next, own)
        launches = [
            (at, with_tracked_lines(launch_document(at, spec, names.get(at.runner or 0), times=times))) for at in own
        ]
        found.append(_firework_document(one, own, spec, launches))
    return found


RERUN_KEYS = ("_recovery", "_launch_dir", "_exception_details")
"""The keys that a rerun adds to a spec."""

_MODES = {"copy": "cp", "same": "prev_dir"}


def with_rerun_keys(spec: Mapping[str, Any], following: NextAttempt, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return a spec with what FireWorks adds to it when the firework is rerun: `_recovery` where a launch resumes an
    earlier one (with `_launch_dir` in its folder), and `_exception_details` of a launch that had fizzled.

    `following`: what the job's next attempt does, or its live one did. `attempts`: all of the job, oldest first."""
    found = dict(spec)
    resumed = next((one for one in attempts if one.id == following.resume_attempt), None)
    if resumed is not None:
        found["_recovery"] = recovery_document(resumed, following.resume_step) | {
            "_mode": _MODES.get(following.take or "")
        }
        if following.take == "same":
            found["_launch_dir"] = resumed.folder
    live = next((one.id for one in attempts if one.archived_by is None), None)
    earlier = [one for one in attempts if one.id != live and (live is None or one.id < live)]
    details = parse_details(_stacktrace(earlier[-1])) if earlier and earlier[-1].failure else None
    return found if details is None else {**found, "_exception_details": details}


def recovery_document(resumed: Attempt, task: int) -> dict[str, Any]:
    """Return what FireWorks keeps to resume a launch at a task."""
    return {**_checkpoint(resumed, task), "_prev_dir": resumed.folder, "_launch_id": resumed.id}


def firework_name(job: Job) -> str:
    """Return the name of a firework in its file."""
    found: str = stored_binding(job).get("name", job.name)
    return found


def _firework_document(
    one: StoredFirework,
    attempts: Sequence[Attempt],
    spec: Mapping[str, Any],
    launches: Sequence[tuple[Attempt, dict[str, Any]]],
) -> dict[str, Any]:
    created = stored_binding(one.job).get("created_on")
    live = [launch for attempt, launch in launches if attempt.archived_by is None]
    archived = [launch for attempt, launch in launches if attempt.archived_by is not None]
    found: dict[str, Any] = {
        "spec": dict(spec),
        "fw_id": one.id,
        "created_on": created,
        "updated_on": _last_update(attempts) or created,
    }
    if live:
        found["launches"] = live
    if archived:
        found["archived_launches"] = archived
    return {**found, "state": one.state, "name": firework_name(one.job)}


def summary_document(session: Session, workflow: Workflow, mode: str) -> dict[str, Any]:
    """Summarize a workflow. `mode`: less, more, all or reservations."""
    fireworks = read_fireworks(session, fireworks_of(session, [workflow.id]))
    details = workflow_details(session, workflow)
    children = job_queries.child_ids(session, [one.id for one in fireworks])
    words = {one.id: one.state for one in fireworks}
    lenient = {one.id for one in fireworks if stored_binding(one.job).get("spec", {}).get("_allow_fizzled_parents")}
    attempts = _by_job(job_queries.attempts(session, None, workflow.id))
    found: dict[str, Any] = {
        "state": wf_state(words, children, lenient),
        "name": f"{details['name']}--{min(words, default=workflow.id)}",
        "created_on": details["created_on"],
    }
    if mode == "less":
        return {**found, "states_list": "-".join(_initial(word) for word in words.values())}
    found["updated_on"] = _last_update([at for each in attempts.values() for at in each]) or found["created_on"]
    names = {one.id: f"{firework_name(one.job)}--{one.id}" for one in fireworks}
    if mode == "all":
        found = {
            "links": {names[number]: _sorted_names(names, children.get(number, ())) for number in names},
            "parent_links": _parents(names, children),
            "metadata": dict(details.get("metadata") or {}),
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
    """Return a whole workflow as FireWorks' Workflow.to_dict writes it and `lpad add` reads it."""
    ids = fireworks_of(session, [workflow.id])
    details = workflow_details(session, workflow)
    children = job_queries.child_ids(session, ids)
    fireworks = firework_documents(session, ids)
    created = details["created_on"]
    return {
        "fws": fireworks,
        "links": {str(number): sorted(children.get(number, ())) for number in ids},
        "name": details["name"],
        "metadata": dict(details.get("metadata") or {}),
        "updated_on": max((one["updated_on"] or "" for one in fireworks), default=created),
        "created_on": created,
    }


def _by_job(attempts: Sequence[Attempt]) -> dict[int, list[Attempt]]:
    found: dict[int, list[Attempt]] = {}
    for attempt in attempts:
        found.setdefault(attempt.job, []).append(attempt)
    return found


def _last_update(attempts: Sequence[Attempt]) -> str | None:
    last = max((at for one in attempts for at in (one.queued, one.started, one.ended) if at is not None), default=None)
    return None if last is None else date_text(last)


def _initial(word: str) -> str:
    return word[:3] if word.startswith("R") else word[0]


def _sorted_names(names: Mapping[int, str], ids: Sequence[int]) -> list[str]:
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


def launch_document(
    attempt: Attempt, spec: Mapping[str, Any], fworker: str | None = None, *, times: bool = False
) -> dict[str, Any]:
    """Return an attempt of a firework with this spec as a launch.

    `fworker`: the name of the launcher. With `times` also the fields of the launches collection: start, end and run
    time."""
    document = {
        "fworker": {"name": fworker or attempt.host, "category": "", "query": "{}", "env": {}},
        "fw_id": attempt.job,
        "launch_dir": attempt.folder,
        "host": attempt.host,
        "ip": None,
        "trackers": list(spec.get("_trackers", ())),
        "action": action_document(attempt, spec),
        "state": launch_state(attempt.state),
        "state_history": _history(attempt),
        "launch_id": attempt.id,
    }
    if not times:
        return document
    began, ended = attempt.started, attempt.ended
    seconds = ended - began if began is not None and ended is not None else None
    return {**document, "time_start": _date(began), "time_end": _date(ended), "runtime_secs": seconds}


_TRACKED_LINES = 25
"""FireWorks' default."""


def with_tracked_lines(launch: dict[str, Any]) -> dict[str, Any]:
    """Return a launch whose trackers have `content`: the last lines of their files, as they are now."""
    for tracker in (trackers := [dict(one) for one in launch["trackers"]]):
        tracker.setdefault("nlines", _TRACKED_LINES)
        content = _last_lines(Path(launch["launch_dir"] or ".", str(tracker["filename"])), tracker)
        if content:
            tracker["content"] = content
    return {**launch, "trackers": trackers}


def _last_lines(path: Path, tracker: Mapping[str, Any]) -> str:
    zipped = path.with_name(f"{path.name}.gz")
    try:
        if not path.is_file() and tracker.get("allow_zipped") and zipped.is_file():
            with gzip.open(zipped, "rt", errors="replace") as file:
                return "".join(deque(file, int(tracker["nlines"]))).rstrip("\n")
        if not path.is_file():
            return ""
        with path.open(errors="replace") as file:
            return "".join(deque(file, int(tracker["nlines"]))).rstrip("\n")
    except OSError:
        return ""


def action_document(attempt: Attempt, spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the FWAction of an attempt: that of its tasks, or its failure; None while it runs."""
    if attempt.state not in ENDED:
        return None
    if attempt.state is State.COMPLETED:
        done = combined_action(attempt.steps)
        return {key: done.get(key, value) for key, value in EMPTY_ACTION.items()}
    failed = next(
        (step for step in attempt.steps if step.state is not State.COMPLETED and step.kept_from is None), None
    )
    own = json.loads(attempt.binding).get("spec", spec) if attempt.binding else spec
    tasks = list(own.get("_tasks", ()))
    task = tasks[failed.position] if failed is not None and failed.position < len(tasks) else None
    failure_data = {
        "_message": _message(attempt),
        "_task": task,
        "_exception": {"_stacktrace": _stacktrace(attempt), "_details": parse_details(_stacktrace(attempt))},
    }
    return {
        **EMPTY_ACTION,
        "stored_data": {**combined_action(attempt.steps).get("stored_data", {}), **failure_data},
        "exit": True,
    }


def _message(attempt: Attempt) -> str:
    if attempt.failure and attempt.failure.message:
        return attempt.failure.message
    if attempt.exit_code:
        return f"it ended with {attempt.exit_code}"
    return attempt.cause.value if attempt.cause else ""


def _stacktrace(attempt: Attempt) -> str:
    """Return the traceback, else the message and the end of stderr."""
    failure = attempt.failure
    if failure is None:
        return _message(attempt)
    return failure.traceback or "\n".join(part for part in (_message(attempt), failure.stderr) if part)


def _history(attempt: Attempt) -> list[dict[str, Any]]:
    """Return the states of a launch with their times, and the task that it reached."""
    history: list[dict[str, Any]] = []
    checkpoint = _checkpoint(attempt)
    if attempt.started is not None:
        history.append({"state": "RUNNING", "created_on": _date(attempt.started)})
        if checkpoint:
            history[-1] |= {"updated_on": _date(_last_step_time(attempt)), "checkpoint": checkpoint}
    elif attempt.queued is not None:
        history.append({"state": "RESERVED", "created_on": _date(attempt.queued)})
    if attempt.ended is not None:
        last = {"state": launch_state(attempt.state), "created_on": _date(attempt.ended)}
        history.append(last | ({"checkpoint": checkpoint} if checkpoint else {}))
    return history


def _checkpoint(attempt: Attempt, task: int | None = None) -> dict[str, Any]:
    """Return the checkpoint that FireWorks writes before a task (default: the last that a launch reached), with the
    data of the tasks before it."""
    if not attempt.steps:
        return {}
    done = [step for step in attempt.steps if step.state is State.COMPLETED or step.kept_from is not None]
    reached = min(len(done), attempt.steps[-1].position) if task is None else task
    found = combined_action(step for step in done if step.position < reached)
    return {
        "_task_n": reached,
        "_all_stored_data": found.get("stored_data", {}),
        "_all_update_spec": found.get("update_spec", {}),
        "_all_mod_spec": found.get("mod_spec", []),
    }


def _last_step_time(attempt: Attempt) -> float | None:
    return max((at for step in attempt.steps for at in (step.started, step.ended) if at), default=attempt.started)


def _date(at: float | None) -> str | None:
    return None if at is None else date_text(at)
