"""Compare two attempts: their records, the remaining outputs and their logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from rekindle.domain.changes.differences import AttemptContext, attempt_differences
from rekindle.domain.changes.fingerprints import ABSENT, FileContent, FileFingerprints
from rekindle.domain.changes.staleness import result_digest
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.plan import SavedFile
from rekindle.engine.queries import job_queries
from rekindle.engine.queries.logs import Stream, log_files, log_path
from rekindle.engine.staleness.contents import ContentRequests, ReadProgress, read_contents
from rekindle.files.text_diff import first_difference, text_diff
from rekindle.journal.encoding import from_json
from rekindle.journal.paths import attempt_folder

if TYPE_CHECKING:
    from rekindle.domain.changes.differences import Difference
    from rekindle.domain.models import Attempt
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot


class OutputDiff(msgspec.Struct, frozen=True):
    """An output that differs between two attempts. Pairs hold the value of the first and of the second attempt."""

    name: str
    at: tuple[str | None, str | None]  # path of its content, in place or saved
    lost: tuple[str | None, str | None]  # why its content is not available
    lines: tuple[str, ...] = ()  # that differ, prefixed with `- ` and `+ `
    why: str = ""  # why there are no lines though both contents exist


class LogDivergence(msgspec.Struct, frozen=True):
    """The first line in which the logs of two attempts differ; None where a log has ended."""

    step: str
    stream: Literal["stdout", "stderr"]
    line: int  # from 1
    a: str | None
    b: str | None


class AttemptComparison(msgspec.Struct, frozen=True):
    """Two attempts and their differences."""

    a: Attempt
    b: Attempt
    fields: Sequence[Difference]
    outputs: tuple[OutputDiff, ...]
    logs: tuple[LogDivergence, ...]


def compare_attempts(session: Session, a: int, b: int, progress: ReadProgress | None = None) -> AttemptComparison:
    """Return the differences between two attempts, by id. NotFound if one does not exist. Outputs that differ are read;
    `progress` is called meanwhile."""
    one, other = job_queries.attempt(session, a), job_queries.attempt(session, b)
    with session.store.read() as archive:
        defined = [archive.workflows.template(attempt.template) for attempt in (one, other)]
        contexts = [attempt_context(archive, attempt) for attempt in (one, other)]
        saved = [archive.reruns.saved(attempt.id) for attempt in (one, other)]
        known = archive.fingerprints.known_files(_differing_outputs(*contexts))
    found = attempt_differences(one, other, defined[0], defined[1], contexts[0], contexts[1])
    now = read_contents(ContentRequests(content=_differing_outputs(*contexts)), known, progress).content
    sides = [
        _OutputFiles(side.prints or FileFingerprints(), now, {file.path: file for file in files})
        for side, files in zip(contexts, saved, strict=True)
    ]
    return AttemptComparison(
        one, other, found, tuple(_output_diffs(*sides)), tuple(_log_differences(session, one, other))
    )


def attempt_context(archive: Snapshot, one: Attempt) -> AttemptContext:
    """Return what is recorded of an attempt beside its own row."""
    template, modified = archive.workflows.template(one.template), decode_overrides(one.overrides)
    patched = archive.fingerprints.patched([one.id]).get(one.id, {})
    params = {**archive.workflows.params(one.workflow, one.revision), **patched}
    gone = {name for name, value in patched.items() if value is None}
    _, _, binding = archive.staleness.origins([one.id])[one.id]
    return AttemptContext(
        params={name: value for name, value in params.items() if name not in gone} | dict(modified.params),
        matrix=from_json(binding),
        resources=modified.resources(template.resources),
        code=archive.fingerprints.sources([one.code]).get(one.code) if one.code is not None else None,
        prints=archive.fingerprints.files([one.id]).get(one.id),
        needed=_needed_results(archive, one),
    )


def _needed_results(archive: Snapshot, one: Attempt) -> dict[str, str]:
    """Return the results of the jobs that an attempt needed, by job name."""
    needed = archive.fingerprints.needed([one.id]).get(one.id, {})
    names = {job.id: job.name for job in archive.jobs.get(sorted(needed))}
    results = archive.staleness.results(needed.values())
    prints = archive.fingerprints.files(needed.values())
    came = {
        attempt: result_digest(came_from, result, prints[attempt].outputs if attempt in prints else ())
        for attempt, (_, result, came_from) in results.items()
    }
    return {names[job]: came[attempt] for job, attempt in needed.items() if job in names and attempt in came}


def _differing_outputs(a: AttemptContext, b: AttemptContext) -> list[str]:
    """Return the existing outputs that differ and are identified by content, wherever they are."""
    one, other = (side.prints.outputs if side.prints else () for side in (a, b))
    alike = {(each.name, each.digest) for each in one} & {(each.name, each.digest) for each in other}
    unlike = [each for each in (*one, *other) if (each.name, each.digest) not in alike]
    return sorted({each.path for each in unlike if each.by == "content" and Path(each.path).is_file()})


class _OutputFiles(msgspec.Struct, frozen=True):
    """The remaining output files of an attempt."""

    prints: FileFingerprints
    now: Mapping[str, str]  # path -> digest of what is there
    saved: Mapping[str, SavedFile]  # by path

    def outputs(self) -> dict[str, FileContent]:
        return {one.name: one for one in self.prints.outputs}

    def at(self, one: FileContent) -> str | None:
        """Return the path of a file with this content; None if no file is known."""
        if self.now.get(one.path) == one.digest:
            return one.path
        kept = self.saved.get(one.path)
        return kept.kept if kept is not None and kept.digest == one.digest and Path(kept.kept).is_file() else None

    def lost(self, one: FileContent) -> str:
        """Return why the content is not available."""
        if one.digest == ABSENT:
            return "was not there"
        if not Path(one.path).exists():
            return "gone since"
        if Path(one.path).is_dir():
            return "a folder"
        return "too large: compared by its time" if one.by == "mtime" else "overwritten since"


def _output_diffs(a: _OutputFiles, b: _OutputFiles) -> Iterator[OutputDiff]:
    """Yield the outputs of both attempts that differ, with line differences if both files exist and the lines are
    few."""
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


def _log_differences(session: Session, a: Attempt, b: Attempt) -> Iterator[LogDivergence]:
    """Yield the first differing line for each stream of each step that both attempts ran."""
    before, after = _log_paths(session, a), _log_paths(session, b)
    for (step, stream), path in before.items():
        other = after.get((step, stream))
        if other is None or other == path:
            continue
        found = first_difference(path, other)
        if found is not None:
            yield LogDivergence(step, stream, found.line, found.a, found.b)


def _log_paths(session: Session, one: Attempt) -> dict[tuple[str, Stream], str]:
    """Return the log paths of an attempt's steps; none if it was pruned. The logs of a kept step belong to the attempt
    that ran it."""
    if one.pruned_by is not None:
        return {}
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
