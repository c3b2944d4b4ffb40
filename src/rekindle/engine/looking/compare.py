"""Comparing two attempts: what is recorded of each, what is still there of their outputs, and what they printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rekindle.domain.changes.differences import Around, differences
from rekindle.domain.changes.prints import ABSENT, Content, Prints
from rekindle.domain.changes.staleness import came_to
from rekindle.domain.models import Attempt
from rekindle.domain.overrides import modified_of
from rekindle.domain.rerunning.rerun import SavedFile
from rekindle.engine.changes.reading import Requests, Tell, take
from rekindle.engine.folders import log_path
from rekindle.engine.looking import look
from rekindle.engine.looking.logs import Stream, log_files
from rekindle.engine.results import Compared, LogParting, OutputDiff
from rekindle.engine.session import Session
from rekindle.files.texts import first_parting, text_diff
from rekindle.journal.encoding import from_json
from rekindle.journal.places import attempt_folder
from rekindle.store.port import Archive


def compare(session: Session, a: int, b: int, tell: Tell | None = None) -> Compared:
    """What differs between two attempts, by their ids. NotFound names one that is not there. Files are read to find out
    what is left of outputs that differ; `tell` is called meanwhile."""
    one, other = look.attempt(session, a), look.attempt(session, b)
    with session.store.read() as archive:
        defined = [archive.workflows.template(attempt.template) for attempt in (one, other)]
        around = [_around(archive, attempt) for attempt in (one, other)]
        saved = [archive.reruns.saved(attempt.id) for attempt in (one, other)]
        known = archive.fingerprints.known_files(_paths(*around))
    found = differences(one, other, defined[0], defined[1], around[0], around[1])
    now = take(Requests(content=_paths(*around)), known, tell).content
    sides = [
        _Left(side.prints or Prints(), now, {file.path: file for file in files})
        for side, files in zip(around, saved, strict=True)
    ]
    return Compared(one, other, found, tuple(_outputs(*sides)), tuple(_logs(session, one, other)))


def _around(archive: Archive, one: Attempt) -> Around:
    """What an attempt had beside its own row."""
    template, modified = archive.workflows.template(one.template), modified_of(one.overrides)
    patched = archive.fingerprints.patched([one.id]).get(one.id, {})
    params = {**archive.workflows.params(one.workflow, one.revision), **patched}
    gone = {name for name, value in patched.items() if value is None}
    _, _, binding = archive.measures.origins([one.id])[one.id]
    return Around(
        params={name: value for name, value in params.items() if name not in gone} | dict(modified.params),
        matrix=from_json(binding),
        resources=modified.resources(template.resources),
        code=archive.fingerprints.sources([one.code]).get(one.code) if one.code is not None else None,
        prints=archive.fingerprints.files([one.id]).get(one.id),
        needed=_needed(archive, one),
    )


def _needed(archive: Archive, one: Attempt) -> dict[str, str]:
    """What the jobs that an attempt needed had come to, by their names."""
    needed = archive.fingerprints.needed([one.id]).get(one.id, {})
    names = {job.id: job.name for job in archive.jobs.get(sorted(needed))}
    results = archive.measures.results(needed.values())
    prints = archive.fingerprints.files(needed.values())
    came = {
        attempt: came_to(attempt, result, prints[attempt].outputs if attempt in prints else ())
        for attempt, (_, result) in results.items()
    }
    return {names[job]: came[attempt] for job, attempt in needed.items() if job in names and attempt in came}


def _paths(a: Around, b: Around) -> list[str]:
    """The outputs that differ and are told by their content, wherever they lie."""
    one, other = (side.prints.outputs if side.prints else () for side in (a, b))
    alike = {(each.name, each.digest) for each in one} & {(each.name, each.digest) for each in other}
    unlike = [each for each in (*one, *other) if (each.name, each.digest) not in alike]
    return sorted({each.path for each in unlike if each.by == "content" and Path(each.path).is_file()})


@dataclass(frozen=True, slots=True)
class _Left:
    """What is left of an attempt's outputs."""

    prints: Prints
    now: Mapping[str, str]  # path -> digest of what is there
    saved: Mapping[str, SavedFile]  # by path

    def outputs(self) -> dict[str, Content]:
        return {one.name: one for one in self.prints.outputs}

    def at(self, one: Content) -> str | None:
        """Where that very content is; None: nowhere that is known."""
        if self.now.get(one.path) == one.digest:
            return one.path
        kept = self.saved.get(one.path)
        return kept.kept if kept is not None and kept.digest == one.digest and Path(kept.kept).is_file() else None

    def lost(self, one: Content) -> str:
        """In words why it is not."""
        if one.digest == ABSENT:
            return "was not there"
        if not Path(one.path).exists():
            return "gone since"
        if Path(one.path).is_dir():
            return "a folder"
        return "too large, and told by its time" if one.by == "mtime" else "overwritten since"


def _outputs(a: _Left, b: _Left) -> Iterator[OutputDiff]:
    """Those that both attempts have and that differ, with their lines where these are there and few."""
    before, after = a.outputs(), b.outputs()
    for name, one in before.items():
        other = after.get(name)
        if other is None or one.digest == other.digest:
            continue
        places = at, also = a.at(one), b.at(other)
        lost = (None if at else a.lost(one), None if also else b.lost(other))
        lines = text_diff(at, also) if at and also else ()
        if isinstance(lines, str):
            yield OutputDiff(name, places, lost, why=lines)
        else:
            yield OutputDiff(name, places, lost, tuple(lines))


def _logs(session: Session, a: Attempt, b: Attempt) -> Iterator[LogParting]:
    """For each stream of each step that both have done: the first line in which they differ."""
    before, after = _streams(session, a), _streams(session, b)
    for (step, stream), path in before.items():
        other = after.get((step, stream))
        if other is None or other == path:
            continue
        found = first_parting(path, other)
        if found is not None:
            yield LogParting(step, stream, found.line, found.a, found.b)


def _streams(session: Session, one: Attempt) -> dict[tuple[str, Stream], str]:
    """Where the streams of an attempt's steps are; those of a step that was kept are with the attempt that did it."""
    done = {step.name: step for step in one.steps}
    found = {}
    for file in log_files(session, one.job, one.number):
        step = done.get(file.step)
        if step is not None and step.kept_from is not None:
            own = attempt_folder(session.store.folder, step.kept_from)
            found[file.step, file.stream] = log_path(own, step.position, file.stream)
        elif step is not None or not file.final:
            found[file.step, file.stream] = file.path
    return found
