"""Fingerprints of attempts, the cache of file digests, and what staleness and cost estimates read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import Baseline, FileFingerprints, FileRecord, MeasuredAttempt, NeededJob
from rekindle.domain.models import PartialOfFailure, PartialOutput
from rekindle.journal.encoding import from_json, json_reader, to_json
from rekindle.store.derived import given_up_among
from rekindle.store.paths import with_checked, with_partial, with_prints
from rekindle.store.queries import as_set, load
from rekindle.store.rows import STATES
from rekindle.store.templates import decode_template

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.store.database import Database

SQL = load("fingerprints")
STALENESS_SQL = load("staleness")

_NO_CODE: Mapping[int, str] = {}

_WILD = re.compile(r"[!%_]")

_NEEDED = json_reader(dict[int, int])
_PRINTS = json_reader(FileFingerprints)
_BASIS = json_reader(Baseline)
_MODULES = json_reader(dict[str, str])
_PARTIAL = json_reader(tuple[PartialOutput, ...])


class Fingerprints:
    """What attempts depended on, and the cache of file digests."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put_needed(self, needed: Mapping[int, Mapping[int, int]]) -> None:
        """Record, by attempt, the live attempts of the jobs that it needs, by job, as its claim found them."""
        self._put("needed", needed)

    def put_files(self, prints: Mapping[int, FileFingerprints], code: Mapping[int, str] = _NO_CODE) -> None:
        """Record, by attempt, the fingerprints that its worker took, and for one that has not ended, the digest of its
        code."""
        if code:
            self._db.change_each(SQL["put_code"], [(digest, attempt) for attempt, digest in code.items()])
        encode = self._db.paths.encode
        self._put("files", {attempt: with_prints(one, encode) for attempt, one in prints.items()})

    def put_patched(self, patched: Mapping[int, Mapping[str, Any]]) -> None:
        """Record, by attempt, the parameters that dynamic actions had changed, with the changed values."""
        self._put("patched", patched)

    def put_partial(self, partial: Mapping[int, Sequence[PartialOutput]]) -> None:
        """Record, by attempt, the declared outputs that it left without completing."""
        encode = self._db.paths.encode
        self._put("partial", {attempt: with_partial(several, encode) for attempt, several in partial.items()})

    def needed(self, attempts: Iterable[int]) -> dict[int, dict[int, int]]:
        """Return what `put_needed` recorded, for attempts that have any."""
        return {attempt: _NEEDED(document) for attempt, document in self._documents("needed", attempts)}

    def files(self, attempts: Iterable[int]) -> dict[int, FileFingerprints]:
        """Return what `put_files` recorded, for attempts that have any."""
        decode = self._db.paths.decode
        found = self._documents("files", attempts)
        return {attempt: with_prints(_PRINTS(document), decode) for attempt, document in found}

    def reading(self, path: str, *, archived: bool) -> dict[int, FileFingerprints]:
        """Return what `put_files` recorded of the attempts, `archived` ones too, that have this path among their
        inputs, or a folder around it or a pattern that matches it; the newest first."""
        return {
            attempt: one
            for attempt, one in self._with_texts([*self._around(path), '"pattern":'], archived=archived).items()
            if any(content.covers(path) for content in one.inputs if content.compared)
        }

    def making(self, path: str, digests: Collection[str] = ()) -> dict[int, FileFingerprints]:
        """Return what `put_files` recorded of the attempts, live and archived, that left an output at this path or a
        folder around it, or an output with one of these contents anywhere; the newest first."""
        texts = [*self._around(path), *(f'"digest":"{digest}"' for digest in digests)]
        return {
            attempt: one
            for attempt, one in self._with_texts(texts, archived=True).items()
            if any(content.covers(path) or content.digest in digests for content in one.outputs)
        }

    def _around(self, path: str) -> Iterator[str]:
        """Yield how this path, and each folder around it, stand in a document."""
        folder = ""
        while path != folder:
            yield f'"path":{to_json(self._db.paths.encode(path)).decode()}'
            path, folder = posixpath.dirname(path), path

    def _with_texts(self, texts: Sequence[str], *, archived: bool) -> dict[int, FileFingerprints]:
        patterns = to_json([_containing(text) for text in texts]).decode()
        decode = self._db.paths.decode
        rows = self._db.rows(SQL["with_texts"], patterns=patterns, archived=archived)
        return {attempt: with_prints(_PRINTS(document), decode) for attempt, document in rows}

    def built_on(self, workflows: Collection[int]) -> Iterator[tuple[int, int]]:
        """Yield (attempt, an attempt whose results or steps it used) of the attempts of workflows."""
        for attempt, document in self._db.rows(SQL["needed_in"], workflows=as_set(workflows)):
            for needed in _NEEDED(document).values():
                yield attempt, needed
        yield from self._db.rows(SQL["kept_steps_in"], workflows=as_set(workflows))

    def patched(self, attempts: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Return what `put_patched` recorded, for attempts that have any."""
        return {attempt: from_json(document) for attempt, document in self._documents("patched", attempts)}

    def partial(self, attempts: Iterable[int]) -> dict[int, tuple[PartialOutput, ...]]:
        """Return what `put_partial` recorded, for attempts that have any."""
        return {attempt: self._partial(document) for attempt, document in self._documents("partial", attempts)}

    def partial_of_failures(self, jobs: Collection[int], archived: bool) -> list[PartialOfFailure]:
        """Return the partial outputs of failed attempts of jobs: of live attempts, or with `archived` of all."""
        decode = self._db.paths.decode
        return [
            PartialOfFailure(row.signature, row.attempt, row.job, decode(row.directory), one)
            for row in self._db.named_rows(SQL["partial_of_failures"], jobs=as_set(jobs), archived=archived)
            for one in self._partial(row.document)
        ]

    def aside(self, attempts: Sequence[int]) -> dict[int, tuple[PartialOutput, ...]]:
        """Return, by attempt, the outputs that it and the attempts that it builds on have set aside; for each path,
        that of the newest attempt."""
        if not attempts:
            return {}
        found: dict[int, dict[str, PartialOutput]] = {}
        taken: set[int] = set()
        for row in self._db.named_rows(SQL["aside"], attempts=as_set(attempts)):
            attempt = row.attempt
            for one in self._partial(row.document) if row.document else ():
                if one.aside is not None:
                    found.setdefault(attempt, {}).setdefault(one.path, replace(one, taken=attempt in taken))
            if row.has_begun:
                taken.add(attempt)
        return {attempt: tuple(by_path.values()) for attempt, by_path in found.items()}

    def put_source(self, digest: str, modules: Mapping[str, str]) -> None:
        """Record the modules (each with the digest of its file) behind the digest in `Ending.code`."""
        self._db.change(SQL["put_source"], digest=digest, modules=to_json(dict(modules)).decode())

    def sources(self, digests: Collection[str]) -> dict[str, dict[str, str]]:
        """Return the code and environment behind these digests (see domain.changes.fingerprints.METHOD)."""
        rows = self._db.rows(SQL["sources"], digests=as_set(digests))
        return {digest: _MODULES(modules) for digest, modules in rows}

    def accept(self, rerun: int, bases: Mapping[int, Baseline]) -> None:
        """Compare these attempts with these bases from now on, unless the rerun (of kind `accept`) is undone."""
        encode = self._db.paths.encode
        stored = {attempt: replace(one, prints=with_prints(one.prints, encode)) for attempt, one in bases.items()}
        rows = [(rerun, attempt, to_json(one).decode()) for attempt, one in stored.items()]
        self._db.change_each(SQL["accept"], rows)

    def accepted(self, attempts: Iterable[int]) -> dict[int, tuple[int, Baseline]]:
        """Return the newest (rerun, basis) in force, for attempts that have any."""
        rows = self._db.named_rows(SQL["accepted"], attempts=as_set(attempts))
        return {row.attempt: (row.rerun, self._basis(row.document)) for row in rows}

    def known_files(self, paths: Collection[str]) -> dict[str, FileRecord]:
        """Return the cached digests of these paths. The caller checks whether they still hold."""
        wanted = as_set(self._db.paths.encode(path) for path in paths)
        return self._files_seen(self._db.named_rows(SQL["known_files"], paths=wanted))

    def known_below(self, folders: Collection[str]) -> dict[str, FileRecord]:
        """Return the cached digests of the files within these folders."""
        wanted = to_json([self._db.paths.encode(folder) for folder in folders]).decode()
        return self._files_seen(self._db.named_rows(SQL["known_below"], folders=wanted))

    def remember_files(self, seen: Sequence[FileRecord]) -> None:
        """Cache the digests of files. An older record does not replace a newer one."""
        encode = self._db.paths.encode
        rows = [
            (encode(one.path), one.size, one.mtime_ns, one.inode, one.taken_ns, one.digest, one.ctime_ns)
            for one in seen
        ]
        if rows:  # sorted, so that no two turns wait for each other
            self._db.change_each(SQL["remember_file"], sorted(rows))

    def _put(self, part: str, documents: Mapping[int, object]) -> None:
        rows = [(attempt, part, to_json(one).decode()) for attempt, one in documents.items()]
        if rows:
            self._db.change_each(SQL["put"], rows)

    def _documents(self, part: str, attempts: Iterable[int]) -> list[tuple[Any, ...]]:
        return self._db.rows(SQL["get"], part=part, attempts=as_set(attempts))

    def _partial(self, document: str) -> tuple[PartialOutput, ...]:
        return with_partial(_PARTIAL(document), self._db.paths.decode)

    def _basis(self, document: str) -> Baseline:
        basis: Baseline = _BASIS(document)
        return replace(basis, prints=with_prints(basis.prints, self._db.paths.decode))

    def _files_seen(self, rows: Iterable[Any]) -> dict[str, FileRecord]:
        found = {}
        for row in rows:
            path = self._db.paths.decode(row.path)
            found[path] = FileRecord(path, row.size, row.mtime_ns, row.inode, row.taken_ns, row.digest, row.ctime_ns)
        return found


def _containing(text: str) -> str:
    """Return the pattern for LIKE of what contains a text."""
    escaped = _WILD.sub(r"!\g<0>", text)
    return f"%{escaped}%"


class StalenessInputs:
    """What staleness checks and cost estimates read, for many attempts or jobs at once."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def subjects(self, attempts: Iterable[int]) -> list[MeasuredAttempt]:
        """Return these attempts beside their jobs' current definitions, by job."""
        return self._measured(self._db.named_rows(STALENESS_SQL["subjects"], attempts=as_set(attempts)))

    def candidates(self, pairs: Mapping[int, int]) -> list[MeasuredAttempt]:
        """Return, by job, attempts of any workflow beside the current definitions of the jobs of `pairs`."""
        text = to_json([{"job": job, "attempt": attempt} for job, attempt in pairs.items()]).decode()
        return self._measured(self._db.named_rows(STALENESS_SQL["candidates"], pairs=text))

    def _measured(self, rows: Iterable[Any]) -> list[MeasuredAttempt]:
        decode = self._db.paths.decode
        return [
            MeasuredAttempt(**{**row._asdict(), "state": STATES[row.state], "folder": decode(row.folder)})
            for row in rows
        ]

    def subjects_of_jobs(self, jobs: Iterable[int]) -> list[MeasuredAttempt]:
        """Return jobs as attempts that used their current definitions, each with the job's number, negated."""
        return self._measured(self._db.named_rows(STALENESS_SQL["subjects_of_jobs"], jobs=as_set(jobs)))

    def needs(self, jobs: Iterable[int]) -> list[tuple[int, int]]:
        """Return (job, a job that it needs) for these jobs."""
        return [(child, parent) for child, parent in self._db.rows(STALENESS_SQL["needs"], jobs=as_set(jobs))]

    def needed_jobs(self, jobs: Iterable[int]) -> list[NeededJob]:
        """Return these jobs as the jobs that need them see them."""
        rows = self._db.named_rows(STALENESS_SQL["needed_jobs"], jobs=as_set(jobs))
        return [
            NeededJob(row.id, row.name, STATES[row.state], row.attempt, row.template, row.has_result != 0)
            for row in rows
        ]

    def results(self, attempts: Iterable[int]) -> dict[int, tuple[int, str | None, int]]:
        """Return (template, result as JSON text, the attempt that it stands for: mostly itself) of these attempts."""
        rows = self._db.named_rows(STALENESS_SQL["results"], attempts=as_set(attempts))
        return {row.id: (row.template, row.result, row.came_from) for row in rows}

    def origins(self, attempts: Iterable[int]) -> dict[int, tuple[int, int, str]]:
        """Return (template, revision, matrix values as JSON text) of these attempts."""
        rows = self._db.named_rows(STALENESS_SQL["origins"], attempts=as_set(attempts))
        return {row.id: (row.template, row.revision, row.binding) for row in rows}

    def accepted_at(self, reruns: Iterable[int]) -> dict[int, float]:
        """Return when these reruns were applied."""
        return dict(self._db.rows(STALENESS_SQL["accepted_at"], reruns=as_set(reruns)))

    def templates(self, templates: Iterable[int]) -> dict[int, JobTemplate]:
        """Return templates by id."""
        rows = self._db.rows(STALENESS_SQL["templates"], templates=as_set(templates))
        return {number: decode_template(body) for number, body in rows}

    def live_ended(self, jobs: Iterable[int]) -> dict[int, int]:
        """Return the live attempts of those jobs whose live attempt has ended; retired jobs are left out."""
        return dict(self._db.rows(STALENESS_SQL["live_ended"], jobs=as_set(jobs)))

    def ancestors(self, jobs: Iterable[int]) -> set[int]:
        """Return all jobs above these."""
        return {row[0] for row in self._db.rows(STALENESS_SQL["ancestors"], jobs=as_set(jobs))}

    def given_up(self, jobs: Iterable[int]) -> set[int]:
        """Return which of these jobs have failed, were canceled, or can no longer run."""
        wanted = set(jobs)
        return given_up_among(self._db, wanted) if wanted else set()

    def reuse_checks(self, jobs: Iterable[int]) -> dict[int, tuple[int, int | None, dict[str, Any]]]:
        """Return (rerun, candidate, result) of each job's newest reuse check under a rerun that is not undone:
        `{"at", "result": "reinstated" or "runs", "reasons": [{"kind", …}]}`."""
        decode = self._db.paths.decode
        return {
            row.job: (row.rerun, row.reuse_candidate, with_checked(from_json(row.checked), decode))
            for row in self._db.named_rows(STALENESS_SQL["reuse_checks"], jobs=as_set(jobs))
        }

    def written(self, workflows: Iterable[int]) -> set[tuple[int, str]]:
        """Return (workflow, absolute path) of the files that live attempts of these workflows wrote: outputs, and files
        that their commands name."""
        rows = self._db.rows(STALENESS_SQL["written"], workflows=as_set(workflows))
        return {(workflow, self._db.paths.decode(path)) for workflow, path in rows}

    def spans(self, workflows: Iterable[int]) -> list[tuple[int, float, float]]:
        """Return (workflow, started, ended) of every attempt of these workflows, by workflow and start. A running
        attempt ends in the far future."""
        rows = self._db.named_rows(STALENESS_SQL["spans"], workflows=as_set(workflows))
        return [(row.workflow, row.started, row.ended) for row in rows]
