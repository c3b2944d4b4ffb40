"""Find where two workflows part: the first jobs that ran with something else, or ended otherwise.

Jobs are matched by name. The live attempts of a pair are compared by what they recorded, with the rules by which `why`
calls a job stale: definition, parameters, inputs, code, environment, results of needed jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.changes.differences import code_reasons, environment_part_reasons, environment_parts
from rekindle.domain.changes.fingerprints import ABSENT, FileContent, FileFingerprints
from rekindle.domain.changes.staleness import (
    OPAQUE_PREFIX,
    FilledTemplate,
    definition_reasons,
    file_reason,
    result_digest,
    variable_reasons,
)
from rekindle.domain.errors import UsageError
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.selection import AllOf
from rekindle.engine.queries import selections
from rekindle.journal.encoding import from_json

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, Job, Workflow
    from rekindle.domain.rerun.plan import Reason
    from rekindle.domain.states import State
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot


class PartedJob(msgspec.Struct, frozen=True):
    """A job of both workflows whose attempts differ. Pairs hold the value of the first and of the second workflow."""

    name: str
    jobs: tuple[int, int]
    attempts: tuple[int, int]
    reasons: tuple[Reason, ...]  # its own: what it did not get from a job that it needs
    states: tuple[State, State]
    results: tuple[str, ...]  # names of outputs that differ; `result` for the returned value
    upstream: tuple[str, ...]  # needed jobs, by name, whose results differ

    @property
    def is_first(self) -> bool:
        """Whether the workflows part here: nothing that the job got from others explains the difference."""
        return bool(self.reasons) or not self.upstream


class RunComparison(msgspec.Struct, frozen=True):
    """Two workflows, compared job by job. Names are in the order of the graph."""

    a: Workflow
    b: Workflow
    parted: tuple[PartedJob, ...]  # a needed job stands before those that need it
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    not_compared: tuple[str, ...]  # without an attempt that ended in one of the two, or in both
    same: int

    @property
    def first(self) -> list[PartedJob]:
        """The jobs at which the workflows part."""
        return [one for one in self.parted if one.is_first]


def compare_runs(session: Session, a: str, b: str) -> RunComparison:
    """Compare the live attempts of two workflows, by name or id. Raise NotFound if one does not exist, UsageError if
    both are the same."""
    with session.store.read() as archive:
        one, other = (selections.find_workflow_in(archive, key) for key in (a, b))
        if one.id == other.id:
            raise UsageError(
                f"{a} and {b} are both workflow {one.id}",
                hint=f"`rekindle workflows diff {one.id}` compares revisions of one workflow",
            )
        sides = [_Side(archive, workflow) for workflow in (one, other)]
        order = list(TopologicalSorter(sides[0].needs | _missing(sides[1].needs, sides[0].needs)).static_order())
        return _compare(one, other, sides[0], sides[1], order)


def _missing(needs: Mapping[str, Sequence[str]], known: Mapping[str, object]) -> dict[str, Sequence[str]]:
    """Return the needs of jobs that are not known, without order among the known ones."""
    return {name: [each for each in needed if each not in known] for name, needed in needs.items() if name not in known}


class _Side:
    """One of the workflows: its jobs by name, and what their live attempts recorded."""

    def __init__(self, archive: Snapshot, workflow: Workflow) -> None:
        jobs = archive.jobs.get(archive.jobs.select(AllOf(), workflow.id))
        self.jobs: dict[str, Job] = {job.name: job for job in jobs}
        names = {job.id: job.name for job in jobs}
        parents = archive.jobs.parents(list(names))
        self.needs: dict[str, Sequence[str]] = {
            job.name: [names[one] for one in parents.get(job.id, ()) if one in names] for job in jobs
        }
        live = archive.jobs.live([job.id for job in jobs])
        self.attempts: dict[str, Attempt] = {names[job]: one for job, one in live.items() if one.ended is not None}
        ids = [one.id for one in self.attempts.values()]
        self._prints = archive.fingerprints.files(ids)
        self._patched = archive.fingerprints.patched(ids)
        self._origins = archive.staleness.origins(ids)
        self._templates = archive.staleness.templates({template for template, _, _ in self._origins.values()})
        self._code = archive.fingerprints.sources({one.code for one in self.attempts.values() if one.code is not None})
        revisions = {one.revision for one in self.attempts.values()}
        self._params = {revision: archive.workflows.params(workflow.id, revision) for revision in revisions}
        self._needed = archive.fingerprints.needed(ids)
        self._names = names
        needed = {attempt for one in self._needed.values() for attempt in one.values()}
        results, prints = archive.staleness.results(needed), archive.fingerprints.files(needed)
        self._digests = {
            attempt: result_digest(came_from, result, prints[attempt].outputs if attempt in prints else ())
            for attempt, (_, result, came_from) in results.items()
        }
        self.written = {output.path for one in self._prints.values() for output in one.outputs}

    def filled(self, attempt: Attempt) -> FilledTemplate:
        """Return the definition that an attempt ran, with its values."""
        template, revision, binding = self._origins[attempt.id]
        params = {**self._params[revision], **self._patched.get(attempt.id, {})}
        return FilledTemplate(self._templates[template], params, from_json(binding))

    def prints(self, attempt: Attempt) -> FileFingerprints | None:
        """Return the files that an attempt recorded."""
        return self._prints.get(attempt.id)

    def code(self, attempt: Attempt) -> Mapping[str, str] | None:
        """Return the code and environment that an attempt recorded."""
        return None if attempt.code is None else self._code.get(attempt.code)

    def needed(self, attempt: Attempt) -> dict[str, str]:
        """Return the digests of the results that an attempt got, by the name of the needed job. Jobs that leave nothing
        to compare are left out."""
        found = {self._names[job]: self._digests.get(one, "") for job, one in self._needed.get(attempt.id, {}).items()}
        return {name: digest for name, digest in found.items() if digest and not digest.startswith(OPAQUE_PREFIX)}


def _compare(a: Workflow, b: Workflow, one: _Side, other: _Side, order: Sequence[str]) -> RunComparison:
    both = [name for name in order if name in one.jobs and name in other.jobs]
    ran = [name for name in both if name in one.attempts and name in other.attempts]
    parted = [found for name in ran if (found := _part(name, one, other)) is not None]
    return RunComparison(
        a,
        b,
        tuple(parted),
        tuple(name for name in order if name in one.jobs and name not in other.jobs),
        tuple(name for name in order if name in other.jobs and name not in one.jobs),
        tuple(name for name in both if name not in one.attempts or name not in other.attempts),
        len(ran) - len(parted),
    )


def _part(name: str, one: _Side, other: _Side) -> PartedJob | None:
    """Return how a job differs, or None if it does not."""
    a, b = one.attempts[name], other.attempts[name]
    needed = one.needed(a), other.needed(b)
    upstream = tuple(job for job in dict.fromkeys((*needed[0], *needed[1])) if needed[0].get(job) != needed[1].get(job))
    reasons = tuple(_reasons(one, other, a, b))
    results = tuple(_differing_results(one.prints(a), other.prints(b), a, b))
    if not (reasons or upstream or results or a.state is not b.state):
        return None
    jobs = one.jobs[name].id, other.jobs[name].id
    return PartedJob(name, jobs, (a.id, b.id), reasons, (a.state, b.state), results, upstream)


def _reasons(one: _Side, other: _Side, a: Attempt, b: Attempt) -> Iterator[Reason]:
    """Yield what differs in what the attempts ran with, without files that jobs of both workflows wrote."""
    modified = decode_overrides(a.overrides), decode_overrides(b.overrides)
    yield from definition_reasons(one.filled(a), other.filled(b), modified[0], modified[1])
    code, code_of_other = one.code(a), other.code(b)
    if code is not None and code_of_other is not None:
        yield from code_reasons(code, code_of_other)
        yield from environment_part_reasons(_paired(environment_parts(code), environment_parts(code_of_other)))
    prints, prints_of_other = one.prints(a), other.prints(b)
    if prints is None or prints_of_other is None:
        return
    yield from variable_reasons(prints.env, prints_of_other.env)
    after = {content.name: content for content in prints_of_other.inputs if content.compared}
    for content in prints.inputs:
        then = after.get(content.name)
        if not content.compared or then is None:
            continue
        if content.path in one.written and then.path in other.written:
            continue  # the job that wrote it is compared itself
        reason = file_reason(ReasonKind.INPUT, content, then.path, then.digest, then.matched)
        if reason is not None:
            yield reason


def _paired(a: Mapping[Any, str], b: Mapping[Any, str]) -> dict[Any, tuple[str, str]]:
    return {key: (a.get(key, ""), b.get(key, "")) for key in dict.fromkeys((*a, *b))}


def _differing_results(
    one: FileFingerprints | None, other: FileFingerprints | None, a: Attempt, b: Attempt
) -> Iterator[str]:
    """Yield the outputs whose contents differ, and `result` for the returned value."""
    if a.result != b.result:
        yield "result"
    after = _digests(other.outputs if other else ())
    for name, digest in _digests(one.outputs if one else ()).items():
        if name in after and ABSENT not in (digest, after[name]) and digest != after[name]:
            yield name


def _digests(outputs: Iterable[FileContent]) -> dict[str, str]:
    return {one.name: one.digest for one in outputs if one.by == "content"}
