"""Reruns: planned from a snapshot, applied in one transaction, saved, undone."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rekindle.domain.batches.canaries import Choice
from rekindle.domain.errors import NotFound, PlanOutdated, PlanRefused, Refused, RekindleError, UndoRefused
from rekindle.domain.rerunning.planning import plan_from_json, plan_to_json
from rekindle.domain.rerunning.rerun import How, Reason, RerunPlan, RerunRecord, SavedFile, UndoView
from rekindle.domain.rerunning.undo import decide_undo, refuse_later
from rekindle.domain.states import ACTIVE, State
from rekindle.engine.looking.whereabouts import refuse_without_folder, workflows_of
from rekindle.engine.nesting import refuse_while_imported
from rekindle.engine.planning.canaries import settle
from rekindle.engine.planning.prospects import Requests, decide, survey
from rekindle.engine.presence import alive
from rekindle.engine.rerunning.saving import Tell, restoring, root_of, saving
from rekindle.engine.results import Applied, Proposal, Undone
from rekindle.engine.session import Session
from rekindle.engine.wake import ring
from rekindle.journal.partial import missing_copies, missing_hint, missing_text
from rekindle.store.paths import moved, with_plan, with_request
from rekindle.store.port import Archive


def plan(
    session: Session,
    requests: Requests,
    request: Mapping[str, Any],
    note: str | None = None,
    why: Mapping[int, tuple[Reason, ...]] | None = None,
    *,
    slots: int | None = None,
    canary: int | None = None,
) -> Proposal:
    """What a rerun would do. `request` is what was asked, in words that can be recorded; `why` are the reasons for
    which jobs are stale, where that is why they were selected; `slots` is how many jobs will run at once, where that is
    known. With `canary` so many jobs of each signature run first: see `survey`.

    PlanRefused, with every job's reason, when nothing of it can be done; Refused when the folder of a workflow is
    missing.
    """
    refuse_without_folder(session, workflows_of(session, [job for jobs, _ in requests for job in jobs]))
    with session.store.read() as archive:
        prospect = survey(archive, requests, slots, canary)
    return decide(prospect, requests, request, note, why)


def possible(session: Session, job: int, hows: Mapping[str, How]) -> dict[str, str | None]:
    """In which of several manners, each under a name, a job could be rerun now: None, or in words why it cannot."""
    found: dict[str, str | None] = {}
    for name, how in hows.items():
        try:
            refused = plan(session, [([job], how)], {}).plan.refused
        except PlanRefused as refusal:
            refused = refusal.refused
        found[name] = next((one.why for one in refused if one.id == job), None)
    return found


First = Callable[[Archive], None]
"""What is done before a plan is written, in the same transaction."""


def apply(session: Session, proposal: Proposal, tell: Tell | None = None, first: First | None = None) -> Applied:
    """Do what was planned, in one transaction. PlanOutdated when any of its jobs has moved since. Outputs that are to
    be saved are copied before, `tell` being told how far that is; Refused when one cannot be."""
    refuse_while_imported("reruns")
    plan, now = proposal.plan, session.clock()
    if gone := [job for job in plan.jobs if job.manner.folder and not Path(job.manner.folder).is_dir()]:
        raise PlanOutdated(
            f"the folder in which {gone[0].name} goes on is gone: {gone[0].manner.folder}", hint="plan the rerun again"
        )
    with session.store.read() as archive:
        directories = _directories(archive, [job.id for job in plan.jobs if job.manner.saves])
        _refuse_missing_copies(archive, plan)
    with saving(session.store.folder, plan, directories, tell) as saved, session.store.write() as archive:
        if first is not None:
            first(archive)
        rerun = archive.reruns.apply(plan, proposal.kind, proposal.request, proposal.note, now, saved.files)
        archive.canaries.begin(rerun, proposal.canaries)
        settle(archive, now)  # it may have retired canaries of others
        saved.commit()
        runners = alive(archive, now)
    ring(session.store.folder, runners)
    return _applied(rerun, proposal, runners)


def _refuse_missing_copies(archive: Archive, plan: RerunPlan) -> None:
    """Raise Refused if a job would resume without a partial output that was set aside."""
    resumed = [job for job in plan.jobs if job.resume_attempt is not None and not job.stays]
    resumed = [job for job in resumed if job.resume_step or job.subtasks is not None]
    aside = archive.fingerprints.aside([job.resume_attempt for job in resumed if job.resume_attempt is not None])
    for job in resumed:
        with contextlib.suppress(OSError):  # the attempt names what it cannot read
            if missing := missing_copies(aside.get(job.resume_attempt or 0, ())):
                text = f"nothing is changed: {job.name}: {missing_text(missing)}"
                raise Refused(text, hint=missing_hint(job.id))


def plan_and_apply(
    session: Session,
    requests: Requests,
    request: Mapping[str, Any],
    note: str | None = None,
    why: Mapping[int, tuple[Reason, ...]] | None = None,
    *,
    slots: int | None = None,
    canary: int | None = None,
) -> tuple[Proposal, Applied]:
    """Plan a rerun and do it in one transaction, for whoever need not see it first: nothing moves in between, which
    among jobs that run something always does. Outputs are not saved. PlanRefused as `plan` says."""
    refuse_without_folder(session, workflows_of(session, [job for jobs, _ in requests for job in jobs]))
    with session.store.write() as archive:
        proposal = decide(survey(archive, requests, slots, canary), requests, request, note, why)
        now = session.clock()
        rerun = archive.reruns.apply(proposal.plan, proposal.kind, request, note, now)
        archive.canaries.begin(rerun, proposal.canaries)
        settle(archive, now)
        runners = alive(archive, now)
    ring(session.store.folder, runners)
    return proposal, _applied(rerun, proposal, runners)


def _applied(rerun: int, proposal: Proposal, runners: Sequence[int]) -> Applied:
    plan = proposal.plan
    retired = {job for one in plan.dynamic for job in one.retires}
    held = sum(job.holds is not None for job in plan.jobs)
    ready = sum(job.after is State.READY and job.holds is None and job.id not in retired for job in plan.jobs)
    canaries = proposal.canaries
    return Applied(rerun, plan, ready, runner_alive=bool(runners), held=held, canaries=canaries)


def save(session: Session, proposal: Proposal, path: Path) -> None:
    """Write a plan to a file, with the identity of the store that it is for. Only its user may read the file: it holds
    the values of variables that are secret."""
    document = {
        "rekindle_plan": 1,
        "store": session.store.identity,
        "store_folder": session.store.folder,
        "request": dict(proposal.request),
        "note": proposal.note,
        "plan": plan_to_json(proposal.plan),
        "canaries": msgspec.to_builtins(proposal.canaries),
    }
    draft = path.with_name(path.name + ".part")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(json.dumps(document, indent=1) + "\n")
        draft.replace(path)
    except OSError as error:
        raise RekindleError(f"cannot write the plan to {path}: {error.strerror}") from error


def load(session: Session, path: Path) -> Proposal:
    """Read a plan that `save` wrote. PlanOutdated when it is for another store."""
    try:
        document = json.loads(path.read_text())
        if document["rekindle_plan"] != 1:
            raise RekindleError(f"{path} was saved by another version of rekindle", hint="plan the rerun again")
        canaries = msgspec.convert(document.get("canaries", []), tuple[Choice, ...])
        plan = plan_from_json(document["plan"])
        request = document["request"]
        if convert := moved(document.get("store_folder", session.store.folder), session.store.folder):
            plan, request = with_plan(plan, convert), with_request(request, convert)
        proposal = Proposal(plan, request, document["note"], canaries=canaries)
        identity = document["store"]
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}", hint="`rekindle rerun … --save-plan FILE` writes one") from None
    except OSError as error:
        raise RekindleError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise RekindleError(f"{path} is not a saved plan", hint="`rekindle rerun … --save-plan FILE`") from error
    if identity != session.store.identity:
        raise PlanOutdated(f"{path} is a plan for another store", hint="--store names the one it was made with")
    return proposal


def undo(session: Session, rerun: int | None = None) -> Undone:
    """Take a rerun back: the newest that somebody asked for, or the one named. UndoRefused, naming the jobs, once
    anything that it reset has started."""
    with session.store.read() as archive:
        number = archive.reruns.newest_manual() if rerun is None else rerun
        _refuse_recorded(archive, number)
        saved = _saved(archive, number)
        views = archive.reruns.undo_views(number) if saved and number is not None else []
    refuse_without_folder(session, workflows_of(session, [view.id for view in views]))
    with restoring(saved) as put_back:
        return _undo(session, rerun, number, put_back)


def _refuse_recorded(archive: Archive, number: int | None) -> None:
    """UndoRefused for what has recorded a submission: definitions go forward, and so do histories."""
    record = archive.reruns.get(number) if number is not None else None
    if record is not None and record.kind == "import":
        raise UndoRefused(
            f"rerun {number} tells of attempts that were archived before they were imported",
            hint="to take the import itself back: rekindle workflows delete",
        )
    if record is None or record.kind != "revision":
        return
    name, revision = record.request.get("name"), record.request.get("revision")
    file = record.request.get("source") or "…"
    raise UndoRefused(
        f"rerun {number} is the submission of revision {revision} of {name}, which is not taken back",
        hint=f"submit the earlier file again, as the next revision: rekindle submit {file}",
    )


def _saved(archive: Archive, number: int | None) -> list[tuple[SavedFile, str | None]]:
    """The files that undoing a rerun puts back, each with the folder below which it may be written (None: it lies
    outside the project); none when it cannot be undone."""
    record = archive.reruns.get(number) if number is not None else None
    if number is None or record is None or record.undone is not None or record.kind == "accept":
        return []
    views = archive.reruns.undo_views(number)
    decide_undo(views)
    planned = {job.id: job for job in record.plan.jobs}
    directories = _directories(archive, [view.id for view in views if view.saved])
    return [(one, root_of(one.path, planned[view.id], directories[view.id])) for view in views for one in view.saved]


def _directories(archive: Archive, jobs: Sequence[int]) -> dict[int, str]:
    """By job, the folder of its workflow."""
    workflow = {job.id: job.workflow for job in archive.jobs.get(jobs)}
    found = {one: archive.workflows.find(one) for one in set(workflow.values())}
    return {job: owner.directory for job, one in workflow.items() if (owner := found[one]) is not None}


def _refuse_unacted(archive: Archive, record: RerunRecord, views: Sequence[UndoView]) -> None:
    """UndoRefused where an attempt would come back that completed after it was archived, and whose actions have not
    taken effect: what needs its job would go on as if there were none."""
    ran = {job.id for job in record.plan.jobs if job.before in ACTIVE}
    back = {
        view.restore.attempt: view.name
        for view in views
        if view.restore.attempt is not None and view.id in ran and view.restored_state is State.COMPLETED
    }
    staged = archive.acts.staged(sorted(back))
    if staged:
        attempt = min(staged)
        raise UndoRefused(
            f"attempt {attempt} of `{back[attempt]}` completed after it was to be canceled, and its actions have not "
            "taken effect",
            hint="let the job run again: rekindle work",
        )


def _undo(session: Session, rerun: int | None, number: int | None, put_back: Callable[[], tuple[str, ...]]) -> Undone:
    now = session.clock()
    with session.store.write() as archive:
        record = archive.reruns.get(number) if number is not None else None
        if number is None or record is None:
            what = "no rerun to undo" if rerun is None else f"no such rerun: {rerun}"
            raise NotFound(what, hint="`rekindle reruns list` names them")
        if record.undone is not None:
            raise NotFound(f"rerun {number} has been undone already", hint="`rekindle reruns list` names them")
        views = archive.reruns.undo_views(number)
        if record.kind == "accept":
            refuse_later(views)
            archive.reruns.void(number, now)
        else:
            restore = decide_undo(views)
            _refuse_unacted(archive, record, views)
            archive.reruns.undo(number, restore, now)
            archive.canaries.drop(number, now)
            settle(archive, now)  # canaries of others may be completed again
        jobs = archive.jobs.get([job.id for job in record.plan.jobs])
        restored = put_back()
        runners = alive(archive, now)
    ring(session.store.folder, runners)
    return Undone(number, tuple((job.id, job.name, job.state) for job in jobs), restored)
