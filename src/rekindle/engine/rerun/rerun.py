"""Plan, apply, save, load and undo reruns."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.batches.canaries import CanaryChoice
from rekindle.domain.errors import NotFound, PlanOutdated, Refused, RekindleError, UndoRefused
from rekindle.domain.rerun.plan_json import plan_from_json, plan_to_json
from rekindle.domain.rerun.request import Requests, check_how
from rekindle.domain.rerun.selected import find_refused
from rekindle.domain.rerun.undo import UndoConflicts, refuse_if_touched_later, refuse_undo
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.canaries import begin_groups, drop_groups
from rekindle.engine.fan_outs import planning_views
from rekindle.engine.notify import notify
from rekindle.engine.plan_inputs import (
    ChosenRequests,
    KnownPaths,
    read_plan_inputs,
    resolve_requests,
    write_with_paths,
)
from rekindle.engine.preconditions import refuse_while_imported, refuse_without_folder
from rekindle.engine.presence import live_runners
from rekindle.engine.queries.selections import Chosen, before_write, select_stale
from rekindle.engine.results import AppliedRerun, PlannedRerun, UndoneRerun
from rekindle.engine.reuse_offers import offer_reuse
from rekindle.store.archive import Snapshot, Transaction
from rekindle.store.paths import with_plan, with_request
from rekindle.store.stored_paths import moved

if TYPE_CHECKING:
    from rekindle.domain.models import Runner, Workflow
    from rekindle.domain.rerun.plan import PlannedJob, Reason, RerunPlan, RerunRecord, SavedFile
    from rekindle.domain.rerun.request import How
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.engine.rerun.output_copies import CopyProgress
    from rekindle.engine.session import Session


def plan(
    session: Session,
    requests: ChosenRequests,
    request: Mapping[str, Any],
    note: str | None = None,
    why: Mapping[int, tuple[Reason, ...]] | None = None,
    *,
    slots: int | None = None,
    canary: int | None = None,
) -> PlannedRerun:
    """Plan a rerun. `request` is what the user asked for, as it will be recorded; `why` gives the reasons for which
    stale jobs were selected; `slots` is the number of jobs that will run at once, if known. With `canary`, only that
    many jobs of each signature run first: see `read_plan_inputs`.

    Selections are resolved in the plan's snapshot; those of stale jobs before it, because files are read. Jobs that
    have changed since they were selected are refused.
    PlanRefused, with each job's reason, if no job can be rerun. Refused if the folder of a workflow is missing.
    """
    requests = [(_with_stale(session, chosen), how) for chosen, how in requests]
    with session.store.read() as archive:
        resolved = resolve_requests(archive, requests, session.note)
        inputs = read_plan_inputs(archive, resolved.requests, slots, canary)
        workflows = tuple(archive.workflows.of_jobs(resolved.jobs))
    refuse_without_folder(session, workflows)
    return replace(resolved.plan(inputs, request, note, why), workflows=workflows)


def _with_stale(session: Session, chosen: Chosen) -> Chosen:
    return select_stale(session, chosen) if isinstance(chosen, Selection) and chosen.changed else chosen


def refused_by_name(session: Session, named: Mapping[str, Mapping[int, How]]) -> dict[str, dict[int, str]]:
    """Return, for each named request (the options by job), the jobs that cannot be rerun so now, with the reasons."""
    found: dict[str, dict[int, str]] = {}
    with session.store.read() as archive:
        read = archive.plan_views.of(sorted({job for hows in named.values() for job in hows}))
        for name, hows in named.items():
            requests = Requests(hows)
            for how, _ in requests.by_how():
                check_how(how)
            views, graph, earlier = planning_views(archive, requests, read)
            found[name] = find_refused(views, graph, requests, os.path.exists, earlier)
    return found


BeforeApply = Callable[[Transaction, "Exists"], None]
"""Called before a plan is written, in the same transaction. It asks the second argument which paths exist."""


def apply(
    session: Session, proposal: PlannedRerun, progress: CopyProgress | None = None, first: BeforeApply | None = None
) -> AppliedRerun:
    """Apply a plan in one transaction. PlanOutdated if any of its jobs has changed since. Outputs to be saved are
    copied before the transaction, with `progress`; Refused if one cannot be copied."""
    refuse_while_imported("reruns")
    plan, now = proposal.plan, session.clock()
    for job in plan.jobs.having(lambda job: job.next.folder is not None):
        if job.next.folder and not Path(job.next.folder).is_dir():
            raise PlanOutdated(
                f"the folder in which {job.name} goes on is gone: {job.next.folder}", hint="plan the rerun again"
            )
    from rekindle.engine.rerun.output_copies import copy_outputs

    directories: dict[int, str] = {}
    saving, resumed = plan.jobs.having(lambda job: bool(job.saves)).ids, _resumed_jobs(plan)
    if saving or resumed:
        with session.store.read() as archive:
            directories = _directories(archive, saving)
            _refuse_missing_copies(archive, resumed)
    with copy_outputs(session.store.folder, plan, directories, progress) as saved:

        def change(archive: Transaction, paths: KnownPaths) -> tuple[int, list[Runner]]:
            if first is not None:
                first(archive, paths.exists)
            rerun = archive.reruns.apply(plan, proposal.kind, proposal.request, proposal.note, now, saved.files)
            begin_groups(archive, rerun, proposal, now, paths.exists)
            if proposal.kind in ("run", "restart"):  # no person chose the jobs
                offer_reuse(archive, (one.id for one in archive.workflows.of_jobs(plan.jobs.ids)))
            paths.check()
            saved.commit()
            return rerun, archive.runners.alive()

        rerun, registered = write_with_paths(session.store.write, change)
    runners = live_runners(registered, now)
    notify(session.store, runners)
    return _applied_result(rerun, proposal, runners)


def _resumed_jobs(plan: RerunPlan) -> list[PlannedJob]:
    """Return the jobs that keep a part of an earlier attempt."""
    return [*plan.jobs.having(_is_resumed)]


def _is_resumed(job: PlannedJob) -> bool:
    resumes = job.next.resume_attempt is not None and not job.stays
    return resumes and (job.next.resume_step > 0 or job.next.subtasks is not None)


def _refuse_missing_copies(archive: Snapshot, resumed: Sequence[PlannedJob]) -> None:
    """Raise Refused if a job would resume without a partial output that was set aside."""
    from rekindle.journal.partial_outputs import missing_copies, missing_hint, missing_text

    aside = archive.fingerprints.aside(
        [job.next.resume_attempt for job in resumed if job.next.resume_attempt is not None]
    )
    for job in resumed:
        with suppress(OSError):  # the attempt will report a file that it cannot read
            if missing := missing_copies(aside.get(job.next.resume_attempt or 0, ())):
                text = f"nothing is changed: {job.name}: {missing_text(missing)}"
                raise Refused(text, hint=missing_hint(job.id))


def plan_and_apply(
    session: Session,
    requests: ChosenRequests,
    request: Mapping[str, Any],
    note: str | None = None,
    why: Mapping[int, tuple[Reason, ...]] | None = None,
    *,
    slots: int | None = None,
    canary: int | None = None,
) -> tuple[PlannedRerun, AppliedRerun]:
    """Plan a rerun and apply it, for callers that need not see the plan first. If jobs have changed since the plan was
    made, it is made again in the transaction that applies it: running jobs would always change between two. Outputs are
    not saved. PlanRefused as for `plan`."""
    requests = [(before_write(session, chosen), how) for chosen, how in requests]
    first, now = plan(session, requests, request, note, why, slots=slots, canary=canary), session.clock()

    def change(archive: Transaction, paths: KnownPaths) -> tuple[PlannedRerun, int, list[Runner]]:
        proposal = first
        if archive.reruns.is_outdated(first.plan):
            resolved = resolve_requests(archive, requests)
            inputs = read_plan_inputs(archive, resolved.requests, slots, canary)
            planned = resolved.plan(inputs, request, note, why, paths.exists)
            proposal = replace(planned, workflows=tuple(archive.workflows.of_jobs(resolved.jobs)))
        paths.check()
        rerun = archive.reruns.apply(proposal.plan, proposal.kind, request, note, now)
        begin_groups(archive, rerun, proposal, now, paths.exists)
        return proposal, rerun, archive.runners.alive()

    proposal, rerun, registered = write_with_paths(session.store.write, change)
    runners = live_runners(registered, now)
    notify(session.store, runners)
    return proposal, _applied_result(rerun, proposal, runners)


def _applied_result(rerun: int, proposal: PlannedRerun, runners: Sequence[int]) -> AppliedRerun:
    plan = proposal.plan
    retired = {job for one in plan.dynamic for job in one.retires}
    held = plan.jobs.total(lambda job: job.holds is not None)
    freed = plan.jobs.having(lambda job: job.after is State.READY and job.holds is None)
    ready = len(freed) - sum(job in retired for job in freed.ids if retired)
    canaries = proposal.canaries
    return AppliedRerun(rerun, plan, ready, runner_alive=bool(runners), held=held, canaries=canaries)


def save(session: Session, proposal: PlannedRerun, path: Path) -> None:
    """Write a plan to a file, with the identity of its store. Only the user may read the file, because it contains the
    values of secret variables."""
    document = {
        "rekindle_plan": 3,
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
            file.write(json.dumps(document) + "\n")
        draft.replace(path)
    except OSError as error:
        raise RekindleError(f"cannot write the plan to {path}: {error.strerror}") from error


def load(session: Session, path: Path) -> PlannedRerun:
    """Read a plan that `save` wrote. PlanOutdated if it is for another store."""
    try:
        document = json.loads(path.read_text())
        if document["rekindle_plan"] != 3:
            raise RekindleError(f"{path} was saved by another version of rekindle", hint="plan the rerun again")
        canaries = msgspec.convert(document.get("canaries", []), tuple[CanaryChoice, ...])
        plan = plan_from_json(document["plan"])
        request = document["request"]
        if convert := moved(document.get("store_folder", session.store.folder), session.store.folder):
            plan, request = with_plan(plan, convert), with_request(request, convert)
        proposal = PlannedRerun(plan, request, document["note"], canaries=canaries)
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


def undo(session: Session, rerun: int | None = None) -> UndoneRerun:
    """Undo a rerun; default: the newest that a user asked for. UndoRefused, with the names of the jobs, once anything
    that it reset has started."""
    with session.store.read() as archive:
        number = archive.reruns.newest_manual() if rerun is None else rerun
        _refuse_recorded(archive, number)
        saved, workflows = _files_to_restore(archive, number)
    refuse_without_folder(session, workflows)
    from rekindle.engine.rerun.output_copies import restore_outputs

    with restore_outputs(saved) as restore_files:
        return _undo(session, rerun, number, restore_files)


def newest_manual(session: Session) -> int | None:
    """Return the rerun that `undo` undoes by default."""
    with session.store.read() as archive:
        return archive.reruns.newest_manual()


def undo_refusal(session: Session, rerun: int) -> RekindleError | None:
    """Return why a rerun cannot be undone now; None if nothing is known that prevents it."""
    try:
        with session.store.read() as archive:
            record = _not_undone(archive, rerun, rerun)
            _refuse_recorded(archive, rerun)
            if record.kind == "accept":
                refuse_if_touched_later(archive.reruns.undo_conflicts(rerun))
            else:
                _refuse_undo(archive, rerun)
    except (NotFound, UndoRefused) as refusal:
        return refusal
    return None


def _not_undone(archive: Snapshot, rerun: int | None, number: int | None) -> RerunRecord:
    record = archive.reruns.head(number) if number is not None else None
    if number is None or record is None:
        what = "no rerun to undo" if rerun is None else f"no such rerun: {rerun}"
        raise NotFound(what, hint="`rekindle reruns list` names them")
    if record.undone is not None:
        raise NotFound(f"rerun {number} has been undone already", hint="`rekindle reruns list` names them")
    return record


def _refuse_recorded(archive: Snapshot, number: int | None) -> None:
    """Raise UndoRefused for a recorded submission or import: definitions and histories are not undone."""
    record = archive.reruns.head(number) if number is not None else None
    if record is not None and record.kind == "import":
        raise UndoRefused(
            f"rerun {number} records attempts that were archived before they were imported",
            hint="to undo the import itself: rekindle workflows delete",
        )
    if record is not None and record.kind == "judge" and record.request.get("answer") != "retry":
        raise UndoRefused(
            f"rerun {number} records that a judge answered {record.request.get('answer')}: it has reset nothing",
            hint=f"run the job again: rekindle rerun {record.request['jobs'][0]}",
        )
    if record is None or record.kind != "revision":
        return
    name, revision = record.request.get("name"), record.request.get("revision")
    file = record.request.get("source") or "…"
    raise UndoRefused(
        f"rerun {number} is the submission of revision {revision} of {name}, which cannot be undone",
        hint=f"submit the earlier file again, as the next revision: rekindle submit {file}",
    )


def _files_to_restore(
    archive: Snapshot, number: int | None
) -> tuple[list[tuple[SavedFile, str | None]], list[Workflow]]:
    """Return the files that undoing a rerun restores, each with the folder that it may be written in (None: it is
    outside the project), and their workflows. Empty if the rerun cannot be undone."""
    record = archive.reruns.head(number) if number is not None else None
    if number is None or record is None or record.undone is not None or record.kind == "accept":
        return [], []
    saved = archive.reruns.saved_outputs(number)
    if not saved:
        return [], []
    _refuse_undo(archive, number)
    from rekindle.engine.rerun.output_copies import root_of

    owners = {one: archive.workflows.find(one) for one in sorted({workflow for workflow, _, _ in saved})}
    directories = {one: "" if owner is None else owner.directory for one, owner in owners.items()}
    found = [
        (one, root_of(one.path, change, directories[workflow])) for workflow, change, files in saved for one in files
    ]
    return found, [owner for owner in owners.values() if owner is not None]


def _directories(archive: Snapshot, jobs: Sequence[int]) -> dict[int, str]:
    """Return, by job, the folder of its workflow."""
    workflow = {job.id: job.workflow for job in archive.jobs.get(jobs)}
    found = {one: archive.workflows.find(one) for one in set(workflow.values())}
    return {job: owner.directory for job, one in workflow.items() if (owner := found[one]) is not None}


def _refuse_unapplied_actions(archive: Snapshot, conflicts: UndoConflicts) -> None:
    """Raise UndoRefused if undo would restore an attempt that completed after it was archived and whose actions were
    not applied. Its descendants would run without the effects of the actions."""
    back = conflicts.completed
    staged = archive.dynamic_actions.staged(sorted(back))
    if staged:
        attempt = min(staged)
        raise UndoRefused(
            f"attempt {attempt} of `{back[attempt]}` completed after it was to be canceled, and its actions have not "
            "taken effect",
            hint="let the job run again: rekindle work",
        )


def _refuse_undo(archive: Snapshot, rerun: int) -> None:
    """Raise UndoRefused if a job has started or was touched since, or an attempt that undo brings back was pruned, or
    has actions that were not applied."""
    conflicts = archive.reruns.undo_conflicts(rerun)
    refuse_undo(conflicts)
    _refuse_unapplied_actions(archive, conflicts)
    if archive.statistics.has_pruned():
        from rekindle.engine.retention.pruned import refuse_undo_of_pruned

        refuse_undo_of_pruned(archive, rerun)


def _undo(
    session: Session, rerun: int | None, number: int | None, restore_files: Callable[[], tuple[str, ...]]
) -> UndoneRerun:
    now = session.clock()

    def change(archive: Transaction, paths: KnownPaths) -> tuple[UndoneRerun, list[Runner]]:
        record = _not_undone(archive, rerun, number)
        if record.kind == "accept":
            refuse_if_touched_later(archive.reruns.undo_conflicts(record.id))
            archive.reruns.revoke(record.id, now)
        else:
            _refuse_undo(archive, record.id)
            archive.reruns.undo(record.id, now)
            drop_groups(archive, record.id, now, paths.exists)
            paths.check()
        jobs = tuple(archive.reruns.back(record.id))
        restored = restore_files()
        undone = UndoneRerun(record.id, jobs, restored)
        return undone, archive.runners.alive()

    undone, registered = write_with_paths(session.store.write, change)
    runners = live_runners(registered, now)
    notify(session.store, runners)
    return undone
