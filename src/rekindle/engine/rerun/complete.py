"""Record jobs as completed by a person, with the files as they are: the results come from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import ABSENT
from rekindle.domain.errors import NotFound, PlanOutdated, PlanRefused, RefusedJob, UsageError
from rekindle.domain.models import Job
from rekindle.domain.rerun.completion import Completion, CompletionFacts, decide_completion
from rekindle.domain.rerun.plan import PlannedJobs, RerunPlan, seal_plan
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.domain.texts.display import did_you_mean
from rekindle.engine.canaries import resolve_canaries
from rekindle.engine.notify import notify
from rekindle.engine.plan_inputs import KnownPaths, refusal_reasons, write_with_paths
from rekindle.engine.preconditions import refuse_while_imported, refuse_without_folder
from rekindle.engine.presence import live_runners
from rekindle.engine.queries.selections import Chosen, resolve_in, select_stale
from rekindle.engine.rerun.placed_outputs import copies_of, place_outputs
from rekindle.engine.staleness.contents import FileContents, ReadProgress, read_contents
from rekindle.engine.staleness.measure import AttemptMeasures, measure_jobs
from rekindle.files.digests import digest_of_mapping
from rekindle.store.manual_attempts import RecordedAttempt

if TYPE_CHECKING:
    from rekindle.domain.models import Runner
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot, Transaction

_MOST_TRIES = 5
"""How often jobs that changed while files were read are looked at again."""


class CompleteOptions(msgspec.Struct, frozen=True):
    """What a person gives for completed jobs. `outputs`: by declared name, where it lies now. `result`: JSON text."""

    outputs: Mapping[str, str] = msgspec.field(default_factory=dict)
    result: str | None = None
    note: str | None = None
    dry_run: bool = False


class CompletedByHand(msgspec.Struct, frozen=True):
    """Jobs that a person recorded as completed, in `plan`. `rerun` is None if nothing is recorded: a dry run, or all
    jobs had `completed` (ids). `copied`: (source, target) of outputs, also those that a dry run would copy. `ready`:
    how many jobs became READY; `runner_alive`: whether a runner will run them."""

    rerun: int | None
    plan: RerunPlan
    completed: tuple[int, ...] = ()
    copied: tuple[tuple[str, str], ...] = ()
    ready: int = 0
    runner_alive: bool = False


class _Seen(msgspec.Struct, frozen=True):
    """The chosen jobs as one snapshot has them."""

    jobs: Sequence[Job]
    moved: Sequence[RefusedJob]
    measured: AttemptMeasures
    folders: Mapping[int, str]  # of jobs that run in folders of their attempts
    homeless: Collection[int]  # of these, the jobs without a folder
    leaving: frozenset[int]
    undone: Mapping[int, Sequence[str]]
    causes: Mapping[int, str]


def complete(
    session: Session,
    chosen: Chosen,
    request: Mapping[str, Any],
    options: CompleteOptions,
    progress: ReadProgress | None = None,
) -> CompletedByHand:
    """Record an attempt of each chosen job that has not completed, COMPLETED, with the files as they are, and release
    the jobs that need it. Recorded as one rerun of kind `complete`, which undo takes back.

    PlanRefused, with each job's reason, if no job can be completed and not all are. Refused if an output cannot be
    copied into place. PlanOutdated if jobs keep changing while files are read. `progress` reports the reading."""
    refuse_while_imported("completes")
    if isinstance(chosen, Selection) and chosen.changed:
        chosen = select_stale(session, chosen, progress)
    copied: dict[str, str] = {}
    for left in reversed(range(_MOST_TRIES)):
        seen = _look(session, chosen)
        if options.outputs and seen.measured.jobs and not copied:
            copied = _copies(seen, options.outputs)
        contents = read_contents(seen.measured.requests, seen.measured.known, progress)
        found = _decide(seen, contents, copied)
        if not found.plan.jobs:
            if found.plan.refused:
                why = refusal_reasons(found.plan.refused)
                raise PlanRefused(f"nothing can be completed: {why}", hint=_hint(found), refused=found.plan.refused)
            return CompletedByHand(None, found.plan, found.completed)
        pairs = tuple(copied.items())
        if options.dry_run:
            return CompletedByHand(None, found.plan, found.completed, pairs)
        if copied:
            place_outputs(copied)
            contents = read_contents(seen.measured.requests, seen.measured.known, progress)
        try:
            done = _record(session, seen, found, contents, request, options)
        except PlanOutdated:
            if not left:
                raise
            continue
        return replace(done, copied=pairs)
    raise AssertionError("the last try returns or raises")


def user_name() -> str:
    """Return the name of the user of this process, or the number of a user without a name."""
    from pwd import getpwuid

    try:
        return getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _hint(found: Completion) -> str:
    missing = any(one.why.startswith("missing_output") for one in found.plan.refused)
    return "put it there, or name where it lies: --outputs NAME=PATH" if missing else ""


def _look(session: Session, chosen: Chosen) -> _Seen:
    """Read the chosen jobs, and what attempts of them would depend on."""
    with session.store.read() as archive:
        ids, moved = resolve_in(archive, chosen, session.note)
        workflows = archive.workflows.of_jobs(ids)
        jobs = archive.jobs.get(ids)
        open_jobs = [job for job in jobs if job.state is not State.COMPLETED and not job.retired]
        folders, apart = _folders(archive, open_jobs)
        measured = measure_jobs(archive, [job.id for job in open_jobs], folders, os.environ)
        leaving = {one.job for one in archive.attempts.active() if one.archived_by is not None}
        live = archive.attempts.by_id([job.attempt for job in open_jobs if job.attempt is not None])
        undone = _undone_needs(archive, open_jobs)
    refuse_without_folder(session, workflows)
    causes = {one.job: one.cause.value for one in live if one.cause is not None}
    homeless = {job for job in apart if not Path(folders.get(job, "")).is_dir() or job not in folders}
    return _Seen(jobs, moved, measured, folders, homeless, frozenset(leaving), undone, causes)


def _folders(archive: Snapshot, jobs: Sequence[Job]) -> tuple[dict[int, str], set[int]]:
    """Return the folders of the newest attempts of the jobs that run in folders of their attempts, and these jobs."""
    templates = {number: archive.workflows.template(number) for number in {job.template for job in jobs}}
    apart = {job.id for job in jobs if templates[job.template].workdir == "attempt" and templates[job.template].outputs}
    if not apart:
        return {}, apart
    attempts = archive.attempts.listing(sorted(apart), None)
    return {one.job: one.folder for one in attempts if one.folder and one.pruned_by is None}, apart


def _undone_needs(archive: Snapshot, jobs: Sequence[Job]) -> dict[int, list[str]]:
    """Return, by job, the names of the needed jobs that are not done and that this operation does not complete."""
    own = {job.id for job in jobs}
    edges = [(child, parent) for child, parent in archive.staleness.needs(sorted(own)) if parent not in own]
    parents = {job.id: job for job in archive.jobs.get(sorted({parent for _, parent in edges}))}
    found: dict[int, list[str]] = {}
    for child, parent in edges:
        if parents[parent].state is not State.COMPLETED:
            found.setdefault(child, []).append(parents[parent].name)
    return found


def _copies(seen: _Seen, outputs: Mapping[str, str]) -> dict[str, str]:
    """Return the target of each source. UsageError unless the outputs are of one job, NotFound if it declares none of a
    name."""
    measured = [job for job in seen.jobs if job.id in seen.measured.jobs]
    if len(measured) != 1:
        raise UsageError(
            f"outputs are given for one job, and {len(measured)} are selected that have not completed",
            hint="name one: rekindle complete JOB --outputs NAME=PATH",
        )
    [job] = measured
    if job.id in seen.homeless:
        return {}
    targets = seen.measured.declared_outputs(job.id)
    for name in outputs:
        if name not in targets:
            known = did_you_mean(name, list(targets)) or f"it declares {', '.join(targets) or 'none'}"
            raise NotFound(f"{job.name} declares no output {name!r}", hint=known)
    sources = {name: str(Path(path).absolute()) for name, path in outputs.items()}
    return copies_of(sources, targets)


def _decide(seen: _Seen, contents: FileContents, copied: Mapping[str, str]) -> Completion:
    placed = set(copied.values())
    bases = seen.measured.bases(contents, seen.measured.jobs)
    missing: dict[int, dict[str, str]] = {}
    for job, basis in bases.items():
        gone = {one.name: one.path for one in basis.prints.outputs if one.digest == ABSENT and one.path not in placed}
        if job in seen.homeless:
            gone = {one.name: "in the folder of an attempt: it has none" for one in basis.prints.outputs}
        if gone:
            missing[job] = gone
    facts = CompletionFacts(missing, seen.leaving, seen.undone, seen.causes)
    found = decide_completion(seen.jobs, facts, sorted(path for path in placed if os.path.lexists(path)))
    if seen.moved:
        plan = seal_plan(replace(found.plan, refused=(*found.plan.refused, *seen.moved)))
        found = replace(found, plan=plan)
    return found


def _record(
    session: Session,
    seen: _Seen,
    found: Completion,
    contents: FileContents,
    request: Mapping[str, Any],
    options: CompleteOptions,
) -> CompletedByHand:
    """Record the attempts, in one transaction."""
    attempts = _attempts(seen, found.plan.jobs, contents, options.result)
    now = session.clock()

    def change(archive: Transaction, paths: KnownPaths) -> tuple[int, int, list[Runner]]:
        archive.fingerprints.remember_files(contents.seen)
        rerun = archive.reruns.apply(found.plan, "complete", request, options.note, now)
        ready = archive.manual_attempts.record(rerun, attempts, now)
        resolve_canaries(archive, now, paths.exists)
        return rerun, ready, archive.runners.alive()

    rerun, ready, registered = write_with_paths(session.store.write, change)
    runners = live_runners(registered, now)
    notify(session.store, runners)
    return CompletedByHand(rerun, found.plan, found.completed, ready=ready, runner_alive=bool(runners))


def _attempts(seen: _Seen, jobs: PlannedJobs, contents: FileContents, result: str | None) -> list[RecordedAttempt]:
    bases = seen.measured.bases(contents, jobs.ids)
    return [
        RecordedAttempt(
            job,
            bases[job],
            None if bases[job].code is None else digest_of_mapping(bases[job].code or {}),
            result,
            seen.folders.get(job),
        )
        for job in jobs.ids
    ]
