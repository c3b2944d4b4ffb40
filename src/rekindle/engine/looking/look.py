"""Looking: what a store holds, read in one consistent snapshot a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rekindle.domain.actions import effective
from rekindle.domain.batches.canaries import Group
from rekindle.domain.changes.code import environment_of
from rekindle.domain.changes.prints import Part, Prints
from rekindle.domain.definition import JobTemplate
from rekindle.domain.errors import NotFound, SpecError
from rekindle.domain.models import (
    Attempt,
    Event,
    FailureGroup,
    Job,
    PartialOfFailure,
    PartialOutput,
    Revision,
    Runner,
    Workflow,
)
from rekindle.domain.rerunning.rerun import Reason, RerunRecord
from rekindle.domain.selection import Chosen, Compare, Every, Op, Predicate, Selection, only_compares
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.subtasks import Subtask
from rekindle.domain.texts.jobnames import composed
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.engine.changes.reading import Tell
from rekindle.engine.changes.staleness import changed
from rekindle.engine.looking.naming import ids_apart, named_jobs
from rekindle.engine.looking.waits import unfit
from rekindle.engine.params import changes_in_force
from rekindle.engine.presence import roll_call
from rekindle.engine.results import DeadRunner, JobRow, SpecState, Unfit, WorkflowState, WorkflowStatus
from rekindle.engine.session import Session
from rekindle.journal.places import attempt_folder, read_progress, saved_outputs
from rekindle.store.port import Archive


def select(session: Session, selection: Selection, tell: Tell | None = None) -> list[int]:
    """The ids of the jobs that are meant, in order.

    NotFound names each job, workflow or signature that was named and is not there (see naming.named_jobs). Where only
    what is stale is meant, files are read to find out, and `tell` is called meanwhile.
    """
    ids = _selected(session, selection)
    return list(changed(session, ids, tell, strict=selection.changed == "all").stale) if selection.changed else ids


def chosen(session: Session, selection: Selection, tell: Tell | None = None) -> Chosen:
    """Return the jobs of a selection in the form in which their list is read: a condition where the database can decide
    it alone, else their ids. NotFound as `select`."""
    if selection.jobs or selection.changed or not only_compares(selection.where):
        return Chosen(ids=select(session, selection, tell))
    with session.store.read() as archive:
        workflow = _workflow(archive, selection.workflow).id if selection.workflow else None
        return Chosen(_with_signature(archive, selection), workflow)


def _selected(session: Session, selection: Selection) -> list[int]:
    with session.store.read() as archive:
        return selected(archive, selection, session.note)


def selected(archive: Archive, selection: Selection, note: Callable[[str], None] | None = None) -> list[int]:
    """The same, within a transaction."""
    workflow = _workflow(archive, selection.workflow).id if selection.workflow else None
    where = _with_signature(archive, selection)
    if not selection.jobs:
        return archive.jobs.select(where, workflow)
    keep = set(named_jobs(archive, selection.jobs, workflow, note))
    for keys in selection.also:
        keep &= set(named_jobs(archive, keys, workflow, note))
    apart = ids_apart((selection.jobs, *selection.also)) if not keep else None
    if apart is not None and note is not None:
        note(apart)
    if where == Every():
        return sorted(keep)
    return [job for job in archive.jobs.select(where, workflow) if job in keep]


def _with_signature(archive: Archive, selection: Selection) -> Predicate:
    if selection.signature is None:
        return selection.where
    digest = archive.attempts.signature(selection.signature)
    if digest is None:
        raise NotFound(f"no failure has the signature {selection.signature!r}", hint="`rekindle failures` lists them")
    return Every((selection.where, Compare("signature", Op.EQ, digest)))


def find_workflow(session: Session, key: str) -> Workflow:
    """By id or name (the newest of it); NotFound with the nearest known name."""
    with session.store.read() as archive:
        return _workflow(archive, key)


def _workflow(archive: Archive, key: str) -> Workflow:
    found = archive.workflows.find(int(key)) if key.isdigit() else None
    found = found or archive.workflows.find(composed(key))
    if found is None:
        known = [workflow.name for workflow in archive.workflows.listing()]
        hint = did_you_mean(key, known) if known else "this store holds none: `rekindle submit SPEC`"
        raise NotFound(f"no such workflow: {key}", hint=hint)
    return found


def workflows(session: Session, archived: bool = False) -> list[Workflow]:
    """All workflows, oldest first."""
    with session.store.read() as archive:
        return archive.workflows.listing(archived)


def templates(session: Session, workflow: int) -> list[JobTemplate]:
    """The templates that a workflow's jobs use now."""
    with session.store.read() as archive:
        return [template for _, template in archive.workflows.templates(workflow)]


def params(session: Session, workflow: Workflow) -> dict[str, Any]:
    """The parameters of a workflow's latest revision."""
    with session.store.read() as archive:
        return archive.workflows.params(workflow.id, workflow.revision)


def params_of(session: Session, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The parameters of these jobs, with the changes that actions have in force."""
    with session.store.read() as archive:
        jobs = archive.jobs.get(ids)
        owners = {job.workflow: archive.workflows.find(job.workflow) for job in jobs}
        params = {number: archive.workflows.params(number, owner.revision) for number, owner in owners.items() if owner}
        changes = changes_in_force(archive, ids)
        return {job.id: effective(params[job.workflow], changes.get(job.id, ())) for job in jobs}


def history(session: Session, workflow: int) -> list[Revision]:
    """The revisions of a workflow, oldest first."""
    with session.store.read() as archive:
        return archive.workflows.revisions(workflow)


def status(session: Session, workflow: str | None = None) -> list[WorkflowStatus]:
    """Each workflow at a glance (or one); reads counts, not jobs."""
    with session.store.read() as archive:
        chosen = [_workflow(archive, workflow)] if workflow else archive.workflows.listing()
        runners = roll_call(archive, session.clock())
        delayed = archive.queue.delayed(session.clock())
        never = unfit(archive, runners[0])
        return [_status(session, archive, one, runners, delayed.get(one.id, 0), never) for one in chosen]


def _status(
    session: Session,
    archive: Archive,
    workflow: Workflow,
    runners: tuple[Sequence[Runner], Sequence[DeadRunner]],
    delayed: int,
    never: Sequence[Unfit],
) -> WorkflowStatus:
    counts = {state: n for state, n in workflow.counts.items() if n}
    first, last = archive.workflows.span(workflow.id)
    seconds = None
    if first is not None:
        running = any(counts.get(state) for state in ACTIVE)
        seconds = max(0.0, (session.clock() if running or last is None else last) - first)
    held = archive.jobs.held_back(workflow.id) if counts.get(State.READY) else {}
    leaving = archive.queue.leaving(workflow.id)
    return WorkflowStatus(
        workflow=workflow,
        state="running" if leaving else workflow_state(counts, sum(held.values())),
        counts=counts,
        seconds=seconds,
        failures=tuple(archive.attempts.failures(workflow.id)) if counts.get(State.FAILED) else (),
        runners=tuple(runners[0]),
        dead_runners=tuple(runners[1]),
        held=held,
        spec=spec_state(workflow),
        delayed=delayed,
        leaving=leaving,
        found=archive.attempts.found(workflow.id) if counts.get(State.COMPLETED) else {},
        canaries=tuple(archive.canaries.of_workflow(workflow.id)),
        overtaken=archive.workflows.overtaken(workflow.id) if len(counts) > 1 and counts.get(State.COMPLETED) else 0,
        unfit=tuple(one for one in never if one.workflow == workflow.id),
    )


def workflow_state(counts: Mapping[State, int], held: int = 0) -> WorkflowState:
    """The one word for a workflow, from how many of its jobs are in which state; `held` of the ready ones are held."""
    if any(counts.get(state) for state in ACTIVE):
        return "running"
    if counts.get(State.READY):
        return "ready" if counts[State.READY] > held else "held"
    if counts.get(State.FAILED):
        return "failed"
    if counts.get(State.CANCELED):
        return "canceled"
    if counts.get(State.WAITING):
        return "waiting"
    return "completed" if counts.get(State.COMPLETED) else "empty"


def spec_state(workflow: Workflow) -> SpecState:
    """How a workflow's spec file stands to the stored revision. A file that differs is read: that takes as long as
    submitting it does. Parameters given with `--param` do not count."""
    if not Path(workflow.directory).is_dir():
        return "no_folder"
    if workflow.source is None or workflow.source_digest is None:
        return "none"
    path = Path(workflow.source)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return "gone"
    except OSError:
        return "unreadable"
    if digest_of(content) == workflow.source_digest:
        return "same"
    return "changed" if _can_be_read(path) else "invalid"


def _can_be_read(path: Path) -> bool:
    from rekindle.spec import load

    try:
        load(path)
    except SpecError:
        return False
    return True


def digest_of(content: bytes) -> str:
    """The digest under which a spec file's content is remembered (BLAKE3)."""
    from blake3 import blake3

    return blake3(content).hexdigest()


def jobs(session: Session, ids: Sequence[int]) -> list[JobRow]:
    """Jobs with their live attempts, in the order of `ids`."""
    with session.store.read() as archive:
        rows = archive.jobs.get(ids)
        live = archive.jobs.live(ids)
        names = {workflow.id: workflow.name for workflow in archive.workflows.listing(archived=True)}
        resources = archive.jobs.resources({job.resource_class for job in rows})
        partial, awaited = archive.subtasks.partial(ids), archive.queue.awaited(ids)
        return [
            JobRow(
                job,
                names[job.workflow],
                live.get(job.id),
                resources[job.resource_class],
                job.id in partial,
                tuple(awaited.get(job.id, ())),
            )
            for job in rows
        ]


def parents(session: Session, ids: Sequence[int]) -> dict[int, list[Job]]:
    """The jobs that each of these needs."""
    with session.store.read() as archive:
        return _jobs_of(archive, archive.jobs.parents(ids))


def children(session: Session, ids: Sequence[int]) -> dict[int, list[Job]]:
    """The jobs that need each of these."""
    with session.store.read() as archive:
        return _jobs_of(archive, archive.jobs.children(ids))


def children_of(session: Session, ids: Sequence[int]) -> dict[int, list[int]]:
    """The ids of the jobs that need each of these."""
    with session.store.read() as archive:
        return archive.jobs.children(ids)


def _jobs_of(archive: Archive, neighbours: dict[int, list[int]]) -> dict[int, list[Job]]:
    known = {job.id: job for job in archive.jobs.get(sorted({one for ids in neighbours.values() for one in ids}))}
    return {job: [known[one] for one in ids] for job, ids in neighbours.items()}


def attempts(
    session: Session, jobs: Sequence[int] | None, workflow: int | None = None, live: bool = False
) -> list[Attempt]:
    """Attempts with their steps, oldest first: of these jobs, or of all."""
    with session.store.read() as archive:
        return archive.attempts.listing(jobs, workflow, live)


def attempt(session: Session, number: int) -> Attempt:
    """One attempt by its id."""
    with session.store.read() as archive:
        found = archive.attempts.get(number)
    if found is None:
        raise NotFound(f"no such attempt: {number}", hint="`rekindle attempts list` names them")
    return found


def environment(session: Session, one: Attempt) -> dict[Part, str]:
    """Return what an attempt ran with: interpreter, installed distributions, programs; as far as that is recorded."""
    with session.store.read() as archive:
        recorded = archive.fingerprints.sources([one.code]) if one.code is not None else {}
    return environment_of(recorded.get(one.code or "", {}))


def runner_names(session: Session, attempts: Sequence[Attempt]) -> dict[int, str]:
    """What the runners of attempts are called, by runner; those without a name, as their hosts."""
    with session.store.read() as archive:
        wanted = {one.runner for one in attempts if one.runner is not None}
        found = (archive.runners.find(number) for number in sorted(wanted))
        return {one.id: one.label or one.host for one in found if one is not None}


def copying(session: Session, attempt: Attempt) -> tuple[int, int] | None:
    """(bytes copied, bytes in all) while an attempt that runs copies the folder in which it goes on."""
    return read_progress(attempt_folder(session.store.folder, attempt.id)) if attempt.state in ACTIVE else None


def saved(session: Session, attempt: int) -> str | None:
    """The folder with the outputs of an attempt that a rerun has saved."""
    folder = saved_outputs(attempt_folder(session.store.folder, attempt))
    return folder if Path(folder).is_dir() else None


def partial_outputs(session: Session, attempts: Sequence[int]) -> dict[int, tuple[PartialOutput, ...]]:
    """Return, by attempt, the declared outputs that it has left without completing, for those that have any."""
    with session.store.read() as archive:
        return archive.fingerprints.partial(attempts)


def prints(session: Session, attempt: int) -> Prints:
    """The files that an attempt depended on and made, as far as they were recorded."""
    with session.store.read() as archive:
        return archive.fingerprints.files([attempt]).get(attempt, Prints())


def subtask_counts(session: Session, attempts: Sequence[Attempt]) -> dict[tuple[int, int], Mapping[State, int]]:
    """By (attempt, position of a step) of every fan-out: how many of its subtasks are in which state."""
    with session.store.read() as archive:
        return archive.subtasks.counts([one.id for one in attempts])


def subtasks(session: Session, attempt: Attempt) -> dict[int, list[Subtask]]:
    """The subtasks of each fan-out step of an attempt, by the step's position; those it keeps from others too."""
    with session.store.read() as archive:
        positions = [step for _, step in sorted(archive.subtasks.counts([attempt.id]))]
        return {step: archive.subtasks.of(attempt.id, step) for step in positions}


def step_names(session: Session, attempt: Attempt) -> tuple[str, ...]:
    """The names of the steps of an attempt's own definition, in order."""
    with session.store.read() as archive:
        return tuple(step.name for step in archive.workflows.template(attempt.template).steps)


def leaves_running(session: Session, attempt: Attempt) -> bool:
    """Return whether an attempt's own definition has `leave_running: true`."""
    with session.store.read() as archive:
        return archive.workflows.template(attempt.template).leave_running


def templates_of(session: Session, jobs: Sequence[Job]) -> dict[int, JobTemplate]:
    """The template of each of these jobs, by job."""
    with session.store.read() as archive:
        bodies = archive.measures.bodies({job.template for job in jobs})
    return {job.id: bodies[job.template] for job in jobs}


def failures(session: Session, workflow: str | None = None, archived: bool = False) -> list[FailureGroup]:
    """Live failed attempts, grouped by signature, largest group first; with `archived` all that ever failed."""
    with session.store.read() as archive:
        return archive.attempts.failures(_workflow(archive, workflow).id if workflow else None, archived)


def partial_of_failures(
    session: Session, groups: Sequence[FailureGroup], archived: bool = False
) -> dict[str, list[PartialOfFailure]]:
    """Return, by signature, the declared outputs that the failed attempts of some groups have left."""
    found: dict[str, list[PartialOfFailure]] = {}
    with session.store.read() as archive:
        jobs = {job for group in groups for job in group.jobs}
        for one in archive.fingerprints.partial_of_failures(jobs, archived):
            found.setdefault(one.signature, []).append(one)
    return found


def retries(session: Session, jobs: Sequence[int]) -> tuple[dict[int, Reason], dict[int, Reason]]:
    """Of these jobs: why attempts are retries, by attempt, and why those that have a retry before them do, by job."""
    with session.store.read() as archive:
        told = archive.reruns.retried(jobs)
    return (
        {attempt: reason for _, attempt, reason in told if attempt is not None},
        {job: reason for job, attempt, reason in told if attempt is None},
    )


def reruns(session: Session, workflow: str | None = None) -> list[tuple[RerunRecord, int]]:
    """Applied reruns, newest first, each with the number of jobs it touched."""
    with session.store.read() as archive:
        return archive.reruns.listing(_workflow(archive, workflow).id if workflow else None)


def rerun(session: Session, number: int) -> RerunRecord:
    """One applied rerun with its plan."""
    with session.store.read() as archive:
        found = archive.reruns.get(number)
    if found is None:
        raise NotFound(f"no such rerun: {number}", hint="`rekindle reruns list` names them")
    return found


def canaries(session: Session, rerun: int) -> list[Group]:
    """The groups whose canaries a rerun ran, as they stand."""
    with session.store.read() as archive:
        return archive.canaries.of_rerun(rerun)


def waiting_for(session: Session, jobs: Sequence[int]) -> dict[int, Group]:
    """By job, the group in which it waits for canaries, or would if that had not been stopped."""
    with session.store.read() as archive:
        return archive.canaries.of_jobs(jobs)


def checks(session: Session, rerun: int) -> dict[int, dict[str, Any]]:
    """What came of looking at the attempts that a rerun had put in reserve, by job: `at` (seconds since the epoch),
    `result` (reinstated, runs) and `reasons`."""
    with session.store.read() as archive:
        return archive.reruns.checks(rerun)


def revisions(session: Session, attempts: Sequence[int]) -> list[int]:
    """The revisions that these attempts ran, each once."""
    with session.store.read() as archive:
        return sorted({revision for _, revision, _ in archive.measures.origins(attempts).values()})


def cancel_notes(session: Session, jobs: Sequence[int]) -> dict[int, str]:
    """Return the notes with which jobs were last canceled, by job."""
    with session.store.read() as archive:
        return archive.events.cancel_notes(jobs)


def events(session: Session, workflow: str | None = None) -> list[Event]:
    """What happened, oldest first."""
    with session.store.read() as archive:
        return archive.events.listing(_workflow(archive, workflow).id if workflow else None)
