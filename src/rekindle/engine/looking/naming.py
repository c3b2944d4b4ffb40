"""Jobs by what a user types: ids, names, patterns of names, templates, and matrix values in any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from rekindle.domain.errors import BadSelection, NotFound, UnknownWord
from rekindle.domain.models import Job
from rekindle.domain.selection import Compare, IdsOrName, Key, Op
from rekindle.domain.states import State
from rekindle.domain.texts.jobnames import composed, labels_of
from rekindle.domain.texts.nearest import nearest
from rekindle.query.words import has_wildcard, parse_ids
from rekindle.store.port import Archive

MOST_LISTED = 20

MOST_NEAR = 4_000
"""Jobs of a template whose names are compared with a name that no job has."""


def named_jobs(
    archive: Archive, keys: Sequence[Key], workflow: int | None, note: Callable[[str], None] | None = None
) -> list[int]:
    """Return the ids of the jobs that any of the keys means. Raise NotFound, naming them, for keys that mean none; a
    pattern may mean none.

    A word is a name if a job has that name; else a range of ids, a pattern, a template (all its jobs) or a template
    with some of its matrix values, in any order. `note` is called with what a template means. A name that several
    workflows have means the newest of them when they share their own name, and is refused otherwise.
    """
    known = archive.jobs.named([spelling for key in keys for spelling in _spellings(key)], workflow)
    called = [one for spelling, ids in known.items() if isinstance(spelling, str) for one in ids]
    retired = {job.id for job in archive.jobs.get(called) if job.retired}
    found: set[int] = set()
    numbers: list[int] = []
    missing: list[Key] = []
    for key in keys:
        ids = next((known[spelling] for spelling in _spellings(key) if spelling in known), [])
        if isinstance(key, str) and has_wildcard(key) and not ids:
            found.update(archive.jobs.select(Compare("name", Op.GLOB, _spellings(key)[-1]), workflow))
            continue
        if isinstance(key, str) and retired.issuperset(ids):
            ids = _of_template(archive, key, workflow, note) or ids
        if ids:
            found.update(_of_one_workflow(archive, key, ids))
        elif isinstance(key, IdsOrName):
            numbers += _ids(key)
        else:
            missing.append(key)
    there = archive.jobs.named(numbers, workflow) if numbers else {}
    missing += [number for number in numbers if number not in there]
    if missing:
        raise _no_such(archive, missing, workflow)
    return sorted(found.union(numbers))


def ids_apart(groups: Sequence[Sequence[Key]]) -> str | None:
    """Return how to type ids that were given in several ways and so narrow each other to nothing; None for others."""
    if len(groups) < 2 or any(isinstance(key, str) for keys in groups for key in keys):
        return None
    ids: set[int] = set()
    for key in (key for keys in groups for key in keys):
        ids.update([key] if isinstance(key, int) else _ids(key) if isinstance(key, IdsOrName) else ())
    runs = [[one for _, one in run] for _, run in groupby(enumerate(sorted(ids)), lambda pair: pair[1] - pair[0])]
    parts = [part for run in runs for part in ([f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run))]
    together = ",".join(parts) if len(parts) <= MOST_LISTED else "1,2,4-9"
    return f"no job is among the ids of -i and the others too; for all of them: -i {together}"


def _spellings(key: Key) -> tuple[int | str, ...]:
    """What a key may be stored as: names are in normal form C, and may be typed in another."""
    if isinstance(key, int):
        return (key,)
    text = str(key)
    return tuple(dict.fromkeys((text, composed(text))))


def _ids(key: IdsOrName) -> tuple[int, ...]:
    try:
        return parse_ids([key.word])
    except BadSelection as problem:
        raise BadSelection(f"no job is named {key.word!r}, and {problem.message}", hint=problem.hint) from None


def _of_template(archive: Archive, key: str, workflow: int | None, note: Callable[[str], None] | None) -> list[int]:
    """The jobs of the template that a word names, or those with the matrix values that it names too."""
    template, wanted = labels_of(str(_spellings(key)[-1]))
    bracket = bool(wanted)
    ids = archive.jobs.select(Compare("template", Op.EQ, template), workflow)
    if bracket:
        ids = _with_values(archive.jobs.get(ids), wanted)
    ids = _of_one_workflow(archive, key, ids) if ids else ids
    if ids and note is not None and not (bracket and len(ids) == 1):
        number = f"{len(ids):,} job{'s' if len(ids) != 1 else ''}"
        note(f"{key}: {number} of the template {template}" if bracket else f"{key}: {number} of the template")
    return ids


def _with_values(jobs: Sequence[Job], wanted: Mapping[str, str]) -> list[int]:
    """Those of the jobs of a template whose matrix has all of these values."""
    return [job.id for job in jobs if wanted and wanted.items() <= labels_of(job.name)[1].items()]


def _of_one_workflow(archive: Archive, key: Key, ids: Sequence[int]) -> list[int]:
    """Those of the jobs that are of the workflow that is meant."""
    owners = archive.jobs.workflows(ids) if len(ids) > 1 else []
    if len(owners) < 2:
        return list(ids)
    found = (archive.workflows.find(owner) for owner in owners)
    names = {one.name for one in found if one is not None}
    if len(names) > 1:
        listed = ", ".join(sorted(names))
        raise NotFound(f"several workflows have a job {str(key)!r}: {listed}", hint="say which with -w WORKFLOW")
    return [job.id for job in archive.jobs.get(ids) if job.workflow == max(owners)]


def _no_such(archive: Archive, missing: Sequence[Key], workflow: int | None) -> NotFound:
    names = ", ".join(str(key) for key in missing[:10]) + (" …" if len(missing) > 10 else "")
    scope = " in this workflow" if workflow is not None else ""
    texts = [key for key in missing if isinstance(key, str)]
    hint = _hint(archive, texts[0], workflow) if texts else "`rekindle jobs list` names them"
    return NotFound(f"no such job{scope}: {names}", hint=hint)


def _hint(archive: Archive, word: str, workflow: int | None) -> str:
    if word.isdigit():
        return f"-i {word} selects a job by its id"
    try:
        return f"-s {State.parse(word).label} selects jobs by their state"
    except UnknownWord:
        pass
    known = archive.jobs.templates(workflow)
    template = word.partition("[")[0]
    if template in known:
        ids = archive.jobs.select(Compare("template", Op.EQ, template), workflow)[:MOST_NEAR]
        known = [job.name for job in archive.jobs.get(ids)]
        close, listing = nearest(word, known), f"jobs list {template}"
    else:
        close, listing = nearest(word, known) or nearest(template, known), "jobs list"
    return f"did you mean `{close}`?" if close is not None else f"`rekindle {listing}` names them"
