"""Resolve selections, and the names and ids that users type, to jobs and workflows."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.definition import normalize_name, split_job_name
from rekindle.domain.errors import BadSelection, NotFound, PlanOutdated, RefusedJob, UnknownWord
from rekindle.domain.selection import (
    AllOf,
    AnyOf,
    Compare,
    IdsOrName,
    JobFilter,
    JobKey,
    Not,
    Op,
    Predicate,
    Selection,
    decided_by_sql,
    has_pattern,
)
from rekindle.domain.states import State
from rekindle.domain.texts.display import closest_word, did_you_mean
from rekindle.query.job_keys import has_wildcard, parse_ids, range_hint

if TYPE_CHECKING:
    from rekindle.domain.models import (
        Job,
        Workflow,
    )
    from rekindle.domain.rerun.plan import Reason
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import ReadProgress
    from rekindle.store.archive import Snapshot, Transaction

    JobsInTransaction = tuple[Transaction, list[int], tuple[RefusedJob, ...]]

_MOST_TRIES = 5
"""How often a selection is evaluated again because jobs of it change meanwhile."""


class SelectedJobs(msgspec.Struct, frozen=True):
    """Jobs that match a selection, with versions that were read before their match was decided. A job whose version has
    changed since may not match any more. `why`: for stale jobs, the reasons; `unknown`: jobs with nothing to
    compare."""

    versions: Mapping[int, int]
    why: Mapping[int, tuple[Reason, ...]] = msgspec.field(default_factory=dict)
    unknown: tuple[int, ...] = ()

    def only(self, jobs: Collection[int]) -> SelectedJobs:
        """Return the selection restricted to some of its jobs."""
        kept = set(jobs)
        return SelectedJobs({job: version for job, version in self.versions.items() if job in kept})


Chosen = Selection | SelectedJobs | Sequence[int]
"""The jobs that a command acts on. Whoever acts evaluates a selection; ids mean these jobs in whatever state."""


def select(session: Session, selection: Selection, progress: ReadProgress | None = None) -> list[int]:
    """Return the ids of the jobs that a selection matches, in order.

    NotFound names each job, workflow or signature that does not exist (see named_jobs). If only stale jobs are
    selected, files are read to find them, and `progress` is called meanwhile.
    """
    if selection.changed:
        return list(select_stale(session, selection, progress).versions)
    with session.store.read() as archive:
        return select_in(archive, selection, session.note)


def select_stale(session: Session, selection: Selection, progress: ReadProgress | None = None) -> SelectedJobs:
    """Return the stale jobs among those that a selection matches. All is read in one snapshot, except files."""
    from rekindle.engine.staleness.measure import measure_attempts  # a third of a start's time, for few commands
    from rekindle.engine.staleness.stale_jobs import assess_measures, stale_among

    with session.store.read() as archive:
        ids = select_in(archive, selection, session.note)
        versions = archive.jobs.versions(ids)
        measured = measure_attempts(archive, archive.staleness.live_ended(ids), os.environ)
    found = stale_among(assess_measures(session, measured, progress, strict=selection.changed == "all"))
    return SelectedJobs({job: versions[job][0] for job in found.stale}, found.stale, found.unknown)


def with_versions(session: Session, ids: Sequence[int]) -> SelectedJobs:
    """Return jobs with their current versions, for a caller that decides afterwards which of the jobs match."""
    with session.store.read() as archive:
        return SelectedJobs({job: version for job, (version, _) in archive.jobs.versions(ids).items()})


def resolve_in(
    archive: Snapshot, chosen: Chosen, note: Callable[[str], None] | None = None
) -> tuple[list[int], list[RefusedJob]]:
    """Return the chosen jobs, and refuse those that have changed since they were selected. Staleness is not
    evaluated: see `select_stale`."""
    if isinstance(chosen, Selection):
        return select_in(archive, chosen, note), []
    if not isinstance(chosen, SelectedJobs):
        return list(chosen), []
    now = archive.jobs.versions(chosen.versions)
    ids = [job for job, version in chosen.versions.items() if job in now and now[job][0] == version]
    kept = set(ids)
    moved = [
        RefusedJob(job, now[job][1] if job in now else f"job {job}", "it has changed since it was selected")
        for job in sorted(chosen.versions)
        if job not in kept
    ]
    return ids, moved


def before_write(session: Session, chosen: Chosen, progress: ReadProgress | None = None) -> Chosen:
    """Return the choice in a form that a write transaction can resolve. Regular expressions and what attempts recorded
    are searched here, and files are read here; a selection without them is returned as it is."""
    if not isinstance(chosen, Selection):
        return chosen
    if chosen.changed:
        return select_stale(session, chosen, progress)
    if not (has_pattern(chosen.where) or chosen.read_files or chosen.tainted_by):
        return chosen
    with session.store.read() as archive:
        ids = select_in(archive, chosen, session.note)
        return SelectedJobs({job: version for job, (version, _) in archive.jobs.versions(ids).items()})


def search_patterns(session: Session, selection: Selection) -> Selection:
    """Return the selection with each user's regular expression replaced by the ids of the jobs that it matches now,
    because no write transaction may wait for a search. A job that does not exist yet matches none."""
    if not has_pattern(selection.where):
        return selection
    with session.store.read() as archive:
        workflow = find_workflow_in(archive, selection.workflow).id if selection.workflow else None
        return msgspec.structs.replace(selection, where=_searched(archive, selection.where, workflow))


def _searched(archive: Snapshot, where: Predicate, workflow: int | None) -> Predicate:
    match where:
        case AllOf(parts):
            return AllOf(tuple(_searched(archive, part, workflow) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(_searched(archive, part, workflow) for part in parts))
        case Not(part):
            return Not(_searched(archive, part, workflow))
    return Compare("id", Op.IN, tuple(archive.jobs.select(where, workflow))) if has_pattern(where) else where


@contextmanager
def transaction_on(session: Session, chosen: Chosen) -> Iterator[JobsInTransaction]:
    """Open a write transaction with the jobs that match in it, and with those that have changed since they were
    selected. A selection is evaluated again as long as jobs of it change, a few times. PlanOutdated if all its jobs
    keep changing."""
    for left in reversed(range(_MOST_TRIES)):
        found = before_write(session, chosen)
        with session.store.write() as archive:
            ids, moved = resolve_in(archive, found, session.note)
            if moved and left and isinstance(chosen, Selection):
                continue
            if moved and not ids and isinstance(chosen, Selection):
                raise PlanOutdated(f"nothing is changed: {moved_text(moved)}", hint="try again")
            yield archive, ids, tuple(moved)
            return


def moved_text(moved: Sequence[RefusedJob]) -> str:
    """Return `a, b have changed since they were selected`."""
    listed = ", ".join(f"`{one.name}`" for one in moved[:_MOST_MOVED])
    more = f" and {len(moved) - _MOST_MOVED:,} more" if len(moved) > _MOST_MOVED else ""
    return f"{listed}{more} {'has' if len(moved) == 1 else 'have'} changed since the selection"


_MOST_MOVED = 10


def resolve_selection(session: Session, selection: Selection, progress: ReadProgress | None = None) -> JobFilter:
    """Return a selection in the form that job lists are read by: a condition if SQL alone decides on the whole
    selection, otherwise ids. NotFound as `select`."""
    if selection.jobs or selection.changed or not decided_by_sql(selection.where):
        return JobFilter(ids=select(session, selection, progress))
    with session.store.read() as archive:
        workflow = find_workflow_in(archive, selection.workflow).id if selection.workflow else None
        return JobFilter(_condition(archive, selection), workflow)


def select_in(archive: Snapshot, selection: Selection, note: Callable[[str], None] | None = None) -> list[int]:
    """Return the ids of the jobs that a selection matches, within a transaction. Staleness is not evaluated."""
    workflow = find_workflow_in(archive, selection.workflow).id if selection.workflow else None
    where = _condition(archive, selection, note)
    if not selection.jobs:
        return archive.jobs.select(where, workflow)
    keep = set(named_jobs(archive, selection.jobs, workflow, note))
    for keys in selection.also:
        keep &= set(named_jobs(archive, keys, workflow, note))
    apart = disjoint_ids_hint((selection.jobs, *selection.also)) if not keep else None
    if apart is not None and note is not None:
        note(apart)
    if where == AllOf():
        return sorted(keep)
    return [job for job in archive.jobs.select(where, workflow) if job in keep]


def _condition(archive: Snapshot, selection: Selection, note: Callable[[str], None] | None = None) -> Predicate:
    """Return the condition of a selection, with what the store says of its signature, files and attempts. `note`: gets
    the files that no attempt has recorded."""
    parts: list[Predicate] = []
    if selection.signature is not None:
        digest = archive.attempts.signature(selection.signature)
        if digest is None:
            why = f"no failure has the signature {selection.signature!r}"
            raise NotFound(why, hint="`rekindle failures` lists them")
        parts.append(Compare("signature", Op.EQ, digest))
    if selection.read_files or selection.tainted_by:
        parts += _recorded_conditions(archive, selection, note)
    return AllOf((selection.where, *parts)) if parts else selection.where


def _recorded_conditions(
    archive: Snapshot, selection: Selection, note: Callable[[str], None] | None
) -> Iterator[Predicate]:
    """Yield the conditions on what attempts recorded, as ids."""
    from rekindle.engine.queries.dependents import consumers, is_recorded, tainted_jobs

    if selection.read_files:
        by_path = {path: consumers(archive, path) for path in selection.read_files}
        if note is not None:
            for path, jobs in by_path.items():
                if not jobs and not is_recorded(archive, path):
                    note(f"no attempt has recorded {path}: `rekindle lineage FILE` shows where a file comes from")
        yield Compare("id", Op.IN, tuple(sorted({job for jobs in by_path.values() for job in jobs})))
    if selection.tainted_by:
        known = {one.id for one in archive.attempts.by_id(selection.tainted_by)}
        if missing := [one for one in selection.tainted_by if one not in known]:
            raise NotFound(
                f"no such attempt: {', '.join(map(str, missing))}", hint="`rekindle attempts list` lists them"
            )
        yield Compare("id", Op.IN, tuple(tainted_jobs(archive, selection.tainted_by)))


def find_workflow(session: Session, key: str) -> Workflow:
    """Return a workflow by id or name (the newest with that name). NotFound suggests the nearest known name."""
    with session.store.read() as archive:
        return find_workflow_in(archive, key)


def find_workflow_in(archive: Snapshot, key: str) -> Workflow:
    """Return a workflow by id or name, within a transaction."""
    found = archive.workflows.find(int(key)) if key.isdigit() else None
    found = found or archive.workflows.find(normalize_name(key))
    if found is None:
        known = [workflow.name for workflow in archive.workflows.listing()]
        hint = did_you_mean(key, known) if known else "this store holds none: `rekindle submit SPEC`"
        raise NotFound(f"no such workflow: {key}", hint=hint)
    return found


def selection_condition(session: Session, selection: Selection) -> Predicate | None:
    """Return a selection as a condition that also applies to jobs added later; None: all jobs. Ids and names must exist
    (NotFound as `select`); patterns need not match."""
    named = (selection.jobs, *selection.also)
    parts: list[Predicate] = [_keys_condition(session, selection.workflow, keys) for keys in named if keys]
    if selection.where != AllOf():
        parts.append(selection.where)
    return AllOf(tuple(parts)) if parts else None


def _keys_condition(session: Session, workflow: str | None, keys: Sequence[JobKey]) -> Predicate:
    with session.store.read() as archive:
        wild = [key for key in keys if isinstance(key, str) and has_wildcard(key)]
        known = archive.jobs.named(wild, None)
        patterns = [key for key in wild if key not in known]
        exact = tuple(key for key in keys if key not in patterns)
        ids = select_in(archive, Selection(workflow=workflow, jobs=exact), session.note) if exact else []
    parts: list[Predicate] = [Compare("name", Op.GLOB, pattern) for pattern in patterns]
    if ids:
        parts.append(Compare("id", Op.IN, tuple(ids)))
    return AnyOf(tuple(parts))


MOST_LISTED = 20

MOST_NEAR = 4_000
"""The most jobs of a template whose names are compared with an unknown name."""


def named_jobs(
    archive: Snapshot, keys: Sequence[JobKey], workflow: int | None, note: Callable[[str], None] | None = None
) -> list[int]:
    """Return the ids of the jobs that any of the keys means. Raise NotFound with the keys that mean none; a pattern may
    match none.

    A word is a name if a job has that name; otherwise a range of ids, a pattern, a template (all its jobs), or a
    template with some of its matrix values in any order. `note` is called with the number of jobs that a template
    means. A name in several workflows of one name means the newest of them; in workflows of different names it is
    refused.
    """
    known = archive.jobs.named([spelling for key in keys for spelling in _spellings(key)], workflow)
    called = [one for spelling, ids in known.items() if isinstance(spelling, str) for one in ids]
    retired = {job.id for job in archive.jobs.get(called) if job.retired}
    found: set[int] = set()
    numbers: list[int] = []
    missing: list[JobKey] = []
    for key in keys:
        ids = next((known[spelling] for spelling in _spellings(key) if spelling in known), [])
        if isinstance(key, str) and has_wildcard(key) and not ids:
            found.update(archive.jobs.select(Compare("name", Op.GLOB, _spellings(key)[-1]), workflow))
            continue
        if isinstance(key, str) and retired.issuperset(ids):
            ids = _template_jobs(archive, key, workflow, note) or ids
        if ids:
            found.update(_in_one_workflow(archive, key, ids))
        elif isinstance(key, IdsOrName):
            numbers += _parse_ids_or_refuse(key)
        else:
            missing.append(key)
    there = archive.jobs.named(numbers, workflow) if numbers else {}
    missing += [number for number in numbers if number not in there]
    if missing:
        raise _not_found(archive, missing, workflow)
    return sorted(found.union(numbers))


def disjoint_ids_hint(groups: Sequence[Sequence[JobKey]]) -> str | None:
    """Return a hint on how to type ids that were given in several options and have no id in common; None if that is not
    the case."""
    if len(groups) < 2 or any(isinstance(key, str) for keys in groups for key in keys):
        return None
    ids: set[int] = set()
    for key in (key for keys in groups for key in keys):
        ids.update([key] if isinstance(key, int) else _parse_ids_or_refuse(key) if isinstance(key, IdsOrName) else ())
    runs = [[one for _, one in run] for _, run in groupby(enumerate(sorted(ids)), lambda pair: pair[1] - pair[0])]
    parts = [part for run in runs for part in ([f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run))]
    together = ",".join(parts) if len(parts) <= MOST_LISTED else "1,2,4-9"
    return f"no job is among the ids of -i and the others too; for all of them: -i {together}"


def _spellings(key: JobKey) -> tuple[int | str, ...]:
    """Return the forms in which a key may be stored. Stored names are in Unicode normal form C; typed names may not
    be."""
    if isinstance(key, int):
        return (key,)
    text = str(key)
    return tuple(dict.fromkeys((text, normalize_name(text))))


def _parse_ids_or_refuse(key: IdsOrName) -> tuple[int, ...]:
    try:
        return parse_ids([key.word])
    except BadSelection as problem:
        raise BadSelection(f"no job is named {key.word!r}, and {problem.message}", hint=problem.hint) from None


def _template_jobs(archive: Snapshot, key: str, workflow: int | None, note: Callable[[str], None] | None) -> list[int]:
    """Return the jobs of the template that a word names, restricted to the matrix values that it names."""
    template, wanted = split_job_name(str(_spellings(key)[-1]))
    bracket = bool(wanted)
    ids = archive.jobs.select(Compare("template", Op.EQ, template), workflow)
    if bracket:
        ids = _with_values(archive.jobs.get(ids), wanted)
    ids = _in_one_workflow(archive, key, ids) if ids else ids
    if ids and note is not None and not (bracket and len(ids) == 1):
        number = f"{len(ids):,} job{'s' if len(ids) != 1 else ''}"
        note(f"{key}: {number} of the template {template}" if bracket else f"{key}: {number} of the template")
    return ids


def _with_values(jobs: Sequence[Job], wanted: Mapping[str, str]) -> list[int]:
    """Return the jobs of a template whose matrix has all of these values."""
    return [job.id for job in jobs if wanted and wanted.items() <= split_job_name(job.name)[1].items()]


def _in_one_workflow(archive: Snapshot, key: JobKey, ids: Sequence[int]) -> list[int]:
    """Return the jobs that belong to the newest workflow. NotFound if the workflows have different names."""
    owners = archive.jobs.workflows(ids) if len(ids) > 1 else []
    if len(owners) < 2:
        return list(ids)
    found = (archive.workflows.find(owner) for owner in owners)
    names = {one.name for one in found if one is not None}
    if len(names) > 1:
        listed = ", ".join(sorted(names))
        raise NotFound(f"several workflows have a job {str(key)!r}: {listed}", hint="say which with -w WORKFLOW")
    return [job.id for job in archive.jobs.get(ids) if job.workflow == max(owners)]


def _not_found(archive: Snapshot, missing: Sequence[JobKey], workflow: int | None) -> NotFound:
    names = ", ".join(str(key) for key in missing[:10]) + (" …" if len(missing) > 10 else "")
    scope = " in this workflow" if workflow is not None else ""
    texts = [key for key in missing if isinstance(key, str)]
    hint = _hint(archive, texts[0], workflow) if texts else "`rekindle jobs list` names them"
    return NotFound(f"no such job{scope}: {names}", hint=hint)


def _hint(archive: Snapshot, word: str, workflow: int | None) -> str:
    if word.isdigit():
        return f"-i {word} selects a job by its id"
    if other := range_hint(word):
        return other
    try:
        return f"-s {State.parse(word).label} selects jobs by their state"
    except UnknownWord:
        pass
    if (named := archive.workflows.find(word)) is not None and workflow is None:
        return f"-w {named.name} selects the jobs of the workflow"
    known = archive.jobs.templates(workflow)
    template, bracket, _ = word.partition("[")
    close = template if template in known else closest_word(template, known)
    if close is None or not bracket:
        return f"did you mean `{close}`?" if close is not None else "`rekindle jobs list` names them"
    ids = archive.jobs.select(Compare("template", Op.EQ, close), workflow)[:MOST_NEAR]
    return _matrix_hint(close, word, [job.name for job in archive.jobs.get(ids)])


def _matrix_hint(template: str, word: str, names: Sequence[str]) -> str:
    """Return the nearest job of a template, and which values its matrix has, for a word with other ones."""
    wanted = split_job_name(word)[1]
    matrices = [split_job_name(name)[1] for name in names]
    if wanted and any(wanted.items() <= matrix.items() for matrix in matrices):
        return f"did you mean `{template}[{word.partition('[')[2]}`?"
    values: dict[str, dict[str, None]] = {}
    for matrix in matrices:
        for key, value in matrix.items():
            values.setdefault(key, {})[value] = None
    close = closest_word(word, names)
    hint = f"did you mean `{close}`?" if close is not None else f"`rekindle jobs list {template}` names them"
    between = " " if hint.endswith("?") else "; "
    for key, value in wanted.items():
        if key not in values:
            return f"{hint}{between}{template} has " + (f"{', '.join(values)}, not {key}" if values else "no matrix")
        if value not in values[key]:
            listed = ", ".join([*values[key]][:_MOST_VALUES]) + (", …" if len(values[key]) > _MOST_VALUES else "")
            return f"{hint}{between}{template} has {key}={listed}"
    return hint


_MOST_VALUES = 8
