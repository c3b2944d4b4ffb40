"""Everything that a store records of how an attempt ran: the orders that its worker had, and what it read and wrote."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import FileContent, FileFingerprints
from rekindle.domain.errors import NotFound, Refused
from rekindle.domain.models import UpstreamJob
from rekindle.domain.overrides import AppliedOverrides, decode_overrides
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.subtasks import known_subtasks
from rekindle.engine.fan_outs import fan_out_result
from rekindle.engine.running.assignments import TaskTemplates, end_document
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.journal.paths import attempt_folder

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import FileRecord
    from rekindle.domain.definition import JobTemplate
    from rekindle.domain.models import Attempt, Job
    from rekindle.domain.subtasks import Subtask
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot


class UpstreamOutput(msgspec.Struct, frozen=True):
    """An output of an attempt whose job this one needs."""

    job: str
    content: FileContent


class UpstreamChange(msgspec.Struct, frozen=True):
    """A needed job whose live attempt is another one now. `now`: None if it has none."""

    job: int
    name: str
    then: int
    now: int | None


class RecordedAttempt(msgspec.Struct, frozen=True):
    """An attempt that has ended, with what is recorded of it. All paths are those of the project."""

    attempt: Attempt
    job: Job
    workflow: str
    body: JobTemplate
    task: TaskTemplate
    assignment: Assignment
    modified: AppliedOverrides
    prints: FileFingerprints
    code: Mapping[str, str] | None
    upstream: tuple[UpstreamOutput, ...]
    upstream_changes: tuple[UpstreamChange, ...]
    subtasks: Mapping[int, tuple[Subtask, ...]]  # by position of a fan-out step
    known: Mapping[str, FileRecord]  # digests from the last time that its files were read
    store: str  # the folder of the store's files

    @property
    def own_folder(self) -> str:
        """The folder in which its `workdir: attempt` steps ran, and which its processes saw as REKINDLE_DIR."""
        return self.attempt.folder or attempt_folder(self.store, self.attempt.id)

    @property
    def directory(self) -> str:
        """The working directory of its steps."""
        return self.own_folder if self.task.workdir == "attempt" else self.task.directory

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"attempt {self.attempt.id} of {self.job.name}"


def read_attempt(session: Session, attempt: int) -> RecordedAttempt:
    """Read an attempt. Raise NotFound if there is none, Refused if it has not ended or was pruned."""
    with session.store.read() as archive:
        one = archive.attempts.get(attempt)
        if one is None:
            raise NotFound(f"there is no attempt {attempt}", hint="`rekindle attempts list` lists them")
        if one.state in ACTIVE:
            raise Refused(
                f"attempt {attempt} is {one.state.label}: what it depends on is recorded as it goes",
                hint="reproduce it once it has ended",
            )
        if one.pruned_by is not None:
            raise Refused(
                f"attempt {attempt} was pruned: its inputs and results are not recorded any more",
                hint=f"`rekindle attempts list {one.job}` shows the other attempts of its job",
            )
        return _read(archive, one, session.store.folder)


def _read(archive: Snapshot, one: Attempt, store: str) -> RecordedAttempt:
    [job] = archive.jobs.get([one.job])
    tasks = TaskTemplates(store)
    body = tasks.template(archive, one.template)
    task = tasks.of(archive, one.workflow, one.template, one.revision)
    modified = decode_overrides(one.overrides)
    prints = archive.fingerprints.files([one.id]).get(one.id) or FileFingerprints()
    needed = archive.fingerprints.needed([one.id]).get(one.id, {})
    upstream = {each.id: each for each in archive.attempts.by_id([number for number in needed.values() if number])}
    outputs = {number: each.outputs for number, each in archive.fingerprints.files(upstream).items()}
    jobs = {each.id: each for each in archive.jobs.get(sorted(needed))}
    fan_outs = {
        at: tuple(archive.subtasks.of(one.id, at)) for at, step in enumerate(body.steps) if step.each is not None
    }
    read = (*prints.inputs, *(each for several in outputs.values() for each in several))
    return RecordedAttempt(
        attempt=one,
        job=job,
        workflow=task.workflow,
        body=body,
        task=task,
        assignment=_assignment(
            archive, one, job, task, modified, _inputs_text(archive, body, needed, upstream, outputs)
        ),
        modified=modified,
        prints=prints,
        code=archive.fingerprints.sources([one.code]).get(one.code) if one.code is not None else None,
        upstream=tuple(
            UpstreamOutput(jobs[need].name, each)
            for need, number in needed.items()
            if need in jobs
            for each in outputs.get(number, ())
        ),
        upstream_changes=tuple(
            UpstreamChange(need, jobs[need].name, number, jobs[need].attempt)
            for need, number in needed.items()
            if need in jobs and number and jobs[need].attempt != number
        ),
        subtasks=fan_outs,
        known=archive.fingerprints.known_files([each.path for each in read]),
        store=store,
    )


class Copies(msgspec.Struct, frozen=True):
    """Where a content was put: `paths` in which attempts left it, or to which it was saved; `attempts` that left it in
    an output, and whose outputs are in the content store."""

    paths: tuple[str, ...] = ()
    attempts: tuple[int, ...] = ()


def find_copies(session: Session, digests: Collection[str]) -> dict[str, Copies]:
    """Return, by digest, where this content was put."""
    paths: dict[str, list[str]] = {digest: [] for digest in digests}
    attempts: dict[str, list[int]] = {digest: [] for digest in digests}
    with session.store.read() as archive:
        making = archive.fingerprints.making("", digests) if digests else {}
        cached = archive.cached_outputs.kept(making.keys()) if making else set()
        for attempt, prints in making.items():
            saved = {one.path: one.kept for one in archive.reruns.saved(attempt)}
            for output in prints.outputs:
                if output.digest in paths:
                    paths[output.digest] += [saved[output.path]] if output.path in saved else []
                    paths[output.digest].append(output.path)
                    attempts[output.digest] += [attempt] if attempt in cached else []
    return {
        digest: Copies(tuple(dict.fromkeys(paths[digest])), tuple(dict.fromkeys(attempts[digest])))
        for digest in digests
    }


def _assignment(
    archive: Snapshot, one: Attempt, job: Job, task: TaskTemplate, modified: AppliedOverrides, inputs: str
) -> Assignment:
    """Return the orders that the attempt's worker had, from the first step on."""
    _, _, binding = archive.staleness.origins([one.id])[one.id]
    patched = archive.fingerprints.patched([one.id]).get(one.id, {})
    params = {name: value for name, value in patched.items() if value is not None} | dict(modified.params)
    return Assignment(
        attempt=one.id,
        token=secrets.token_hex(8),
        job=one.job,
        name=job.name,
        number=one.number,
        template=task.id,
        folder=one.folder or "",
        binding=from_json(binding),
        inputs=inputs,
        params=params or None,
        env=dict(modified.env) or None,
        time=modified.time,
        unset=tuple(name for name, value in patched.items() if value is None and name not in params),
        cpus=modified.cpus,
        memory=modified.memory,
        before=_before(archive, one),
    )


def _before(archive: Snapshot, one: Attempt) -> str:
    """Return the end of the job's previous attempt as JSON text; "" if there was none."""
    earlier = [each for each in archive.attempts.listing([one.job], None) if each.number == one.number - 1]
    if not earlier:
        return ""
    [last] = earlier
    error = msgspec.structs.asdict(last.failure) if last.failure else None
    document = {"attempt": last.number, "state": last.state.label, "cause": last.cause, "error": error}
    return to_json(document).decode()


def _inputs_text(
    archive: Snapshot,
    body: JobTemplate,
    needed: Mapping[int, int],
    upstream: Mapping[int, Attempt],
    outputs: Mapping[int, tuple[FileContent, ...]],
) -> str:
    """Return REKINDLE_INPUTS as the attempt had it: JSON text with the results and outputs of the attempts that it
    used; "" if its job needed none."""
    if not needed:
        return ""
    names = {job.id: job.name for job in archive.jobs.get(sorted(needed))}
    document: dict[str, Any] = {}
    for job, number in needed.items():
        if job not in names:
            continue
        one = upstream.get(number)
        need = _need(names[job], job, one)
        completed = one is not None and one.state is State.COMPLETED
        document[names[job]] = {
            "result": _result(archive, one) if one is not None and completed else None,
            "outputs": {each.name: each.path for each in outputs.get(number, ())} if completed else {},
            **(end_document(need, {job} if one is not None and one.partial else ()) if body.runs_whenever else {}),
        }
    return to_json(document).decode()


def _need(name: str, job: int, one: Attempt | None) -> UpstreamJob:
    if one is None:
        return UpstreamJob(name, None, job, None, state=State.WAITING)
    return UpstreamJob(name, one.result, job, one.id, one.template, one.state, one.number, one.verdict, one.failure)


def _result(archive: Snapshot, one: Attempt) -> Any:
    if one.result is not None:
        return msgspec.Raw(one.result.encode())
    last = len(archive.workflows.template(one.template).steps) - 1
    if archive.workflows.template(one.template).steps[last].each is None:
        return None
    return fan_out_result(known_subtasks(archive.subtasks.of(one.id, last)))


def with_token(one: Assignment) -> Assignment:
    """Return the orders with another token, so that no process of one run is taken for one of another."""
    return replace(one, token=secrets.token_hex(8))
