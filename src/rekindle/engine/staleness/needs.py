"""Compare the results of the jobs that attempts needed: when the attempts were claimed, and now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.changes.fingerprints import Baseline, FileFingerprints, MeasuredAttempt, NeededJob
from rekindle.domain.changes.staleness import OPAQUE_PREFIX, result_digest, result_reason
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.domain.subtasks import known_subtasks
from rekindle.engine.fan_outs import fan_out_result

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.store.archive import Snapshot

AcceptedBases = Mapping[int, tuple[int, Baseline]]
"""By attempt: the rerun that accepted its current basis, and the basis."""


class NeedComparison(msgspec.Struct, frozen=True):
    """Comparisons by attempt. `comparable`: attempts with a needed job that left something to compare. `now`: needed
    job to its current result; only if requested."""

    reasons: Mapping[int, tuple[Reason, ...]] = msgspec.field(default_factory=dict)
    comparable: Collection[int] = ()
    jobs: Collection[int] = ()  # all that are needed, or were
    now: Mapping[int, Mapping[int, str]] = msgspec.field(default_factory=dict)
    results: Mapping[int, str | None] = msgspec.field(default_factory=dict)  # by needed attempt, if requested
    compared: Mapping[int, Sequence[str]] = msgspec.field(
        default_factory=dict
    )  # names of needed jobs that left something to compare to compare


def compare_needs(
    archive: Snapshot,
    subjects: Sequence[MeasuredAttempt],
    accepted: AcceptedBases,
    templates: Mapping[int, JobTemplate],
    whole: bool,
    *,
    by_name: bool = False,
) -> NeedComparison:
    """Compare the needs of each of `subjects`. `accepted` are their bases; `templates` hold the current templates of
    their jobs. With `whole`, unchanged needs are included; with `by_name`, jobs that an attempt needed are those of
    the same name that its job needs now."""
    parents: dict[int, list[int]] = {}
    for child, parent in archive.staleness.needs(one.job for one in subjects):
        parents.setdefault(child, []).append(parent)
    recorded: Mapping[int, Mapping[int, int]] = archive.fingerprints.needed(one.attempt for one in subjects)
    jobs = _needed_jobs(archive, {job for needed in parents.values() for job in needed})
    if by_name:
        recorded = _with_present_jobs(archive, subjects, recorded, parents, jobs)
    taken = archive.fingerprints.accepted(one.attempt for one in jobs.values() if one.attempt is not None)
    lenient = [one for one in subjects if templates[one.template_now].when == "finished"]
    finished = archive.staleness.given_up({job for one in lenient for job in parents.get(one.job, ())})
    asked: list[tuple[MeasuredAttempt, Mapping[int, int], list[int]]] = []
    for one in subjects:
        if one.job not in parents and one.attempt not in recorded and one.attempt not in accepted:
            continue
        now, then = parents.get(one.job, []), recorded.get(one.attempt, {})
        if not whole and one.attempt not in accepted and then == _recorded_if_claimed_now(jobs, now, finished, taken):
            continue
        if now or then or one.attempt in accepted:
            asked.append((one, then, now))
    jobs |= _needed_jobs(archive, {job for _, then, _ in asked for job in then} - jobs.keys())
    jobs |= _needed_jobs(archive, {job for one, _, _ in asked for job in _basis_needed(accepted, one)} - jobs.keys())
    results = _ResultHistory(archive, jobs, taken, finished, templates, asked)
    reasons = {one.attempt: tuple(results.reasons(one, then, now, accepted)) for one, then, now in asked}
    comparable = _comparable_jobs(archive, jobs.values())
    left = {
        one.attempt: names
        for one in subjects
        if one.job in parents and (names := [jobs[job].name for job in parents[one.job] if job in comparable])
    }
    came = {one.attempt: results.came(one, now) for one, _, now in asked} if whole else {}
    return NeedComparison(reasons, left.keys(), jobs.keys(), came, results.results if whole else {}, left)


def _with_present_jobs(
    archive: Snapshot,
    subjects: Sequence[MeasuredAttempt],
    recorded: Mapping[int, Mapping[int, int]],
    parents: Mapping[int, Sequence[int]],
    jobs: Mapping[int, NeededJob],
) -> dict[int, Mapping[int, int]]:
    """Return what attempts needed by the jobs that have the names of those now. Others are left."""
    others = {job for one in subjects for job in recorded.get(one.attempt, ()) if job not in parents.get(one.job, ())}
    names = {one.job: one.name for one in _needed_jobs(archive, others).values()}
    found: dict[int, Mapping[int, int]] = {}
    for one in subjects:
        now = {jobs[job].name: job for job in parents.get(one.job, ())}
        then = recorded.get(one.attempt, {})
        found[one.attempt] = {
            job if job in now.values() else now.get(names.get(job, ""), job): attempt for job, attempt in then.items()
        }
    return found


def _recorded_if_claimed_now(
    jobs: Mapping[int, NeededJob], now: Iterable[int], finished: Collection[int], taken: AcceptedBases
) -> dict[int, int | None]:
    """Return what would be recorded if the attempt were claimed now: needed job to attempt, 0 for a job that cannot be
    reached, None for a job that is not done or has a new basis. Jobs in `finished` count as done."""
    return {
        job: one.attempt or 0
        if (one := jobs[job]).attempt not in taken and (one.state is State.COMPLETED or job in finished)
        else None
        for job in now
    }


def _basis_needed(accepted: AcceptedBases, one: MeasuredAttempt) -> Collection[int]:
    return accepted[one.attempt][1].needed.keys() if one.attempt in accepted else ()


def _needed_jobs(archive: Snapshot, wanted: Collection[int]) -> dict[int, NeededJob]:
    return {one.job: one for one in archive.staleness.needed_jobs(wanted)} if wanted else {}


def _comparable_jobs(archive: Snapshot, jobs: Iterable[NeededJob]) -> set[int]:
    """Return the jobs that leave something to compare: a result, subtasks' results or declared outputs."""
    every = list(jobs)
    leaving = {
        number
        for number, body in archive.staleness.templates({one.template for one in every}).items()
        if body.outputs or body.steps[-1].each is not None
    }
    return {one.job for one in every if one.has_result or one.template in leaving}


class _ResultHistory:
    """Results of attempts that are or were needed."""

    def __init__(
        self,
        archive: Snapshot,
        jobs: Mapping[int, NeededJob],
        taken: AcceptedBases,
        finished: Collection[int],
        templates: Mapping[int, JobTemplate],
        asked: Sequence[tuple[MeasuredAttempt, Mapping[int, int], list[int]]],
    ) -> None:
        self._jobs, self._finished, self._defined = jobs, finished, templates
        earlier = {attempt for _, then, _ in asked for attempt in then.values() if attempt}
        wanted = earlier | {attempt for _, _, now in asked for job in now if (attempt := jobs[job].attempt) is not None}
        self._taken = {**taken, **archive.fingerprints.accepted(wanted - taken.keys())}
        self._at = archive.staleness.accepted_at({rerun for rerun, _ in self._taken.values()}) if self._taken else {}
        self.results: dict[int, str | None] = {}
        self._own: dict[int, str] = {}
        found = archive.staleness.results(wanted)
        templates = archive.staleness.templates({template for template, *_ in found.values()})
        self._came_from = {attempt: came_from for attempt, (_, _, came_from) in found.items()}
        prints = archive.fingerprints.files(wanted)
        for attempt, (template, result, _) in found.items():
            self.results[attempt] = self._result(archive, attempt, templates[template], result)
            self._own[attempt] = self._came_to(attempt, templates[template], prints.get(attempt))

    def reasons(
        self,
        one: MeasuredAttempt,
        then: Mapping[int, int],
        now: Sequence[int],
        accepted: AcceptedBases,
    ) -> list[Reason]:
        """Return why an attempt no longer matches what its job needs."""
        basis = accepted[one.attempt][1] if one.attempt in accepted else None
        before = basis.needed if basis else {job: self._seen(attempt, one.queued) for job, attempt in then.items()}
        found: list[Reason | None] = []
        for job in dict.fromkeys((*now, *before)):
            named = {"job": job, "name": self._jobs[job].name if job in self._jobs else str(job)}
            if job in now and not self._will_do(one, job):
                found.append(Reason(ReasonKind.NEEDS, named))
                continue
            ran = basis is None and job in now and job in then and then[job] != (self._jobs[job].attempt or 0)
            if ran and self._defined[one.template_now].runs_whenever:
                found.append(Reason(ReasonKind.AGGREGATE, named))
                continue
            after = self._now(job) if job in now else None
            found.append(result_reason(job, str(named["name"]), before.get(job), after))
        return [reason for reason in found if reason is not None]

    def came(self, one: MeasuredAttempt, now: Sequence[int]) -> dict[int, str]:
        """Return the current results of these jobs; jobs that are not done are left out."""
        return {job: self._now(job) for job in now if self._will_do(one, job)}

    def _will_do(self, one: MeasuredAttempt, job: int) -> bool:
        """Return whether a needed job is done, as far as this attempt's job requires."""
        lenient = self._defined[one.template_now].when == "finished"
        return self._jobs[job].state is State.COMPLETED or (lenient and job in self._finished)

    def _now(self, job: int) -> str:
        attempt = self._jobs[job].attempt
        return "" if attempt is None else self._after(attempt)

    def _after(self, attempt: int) -> str:
        """Return the result of an attempt, including outputs accepted since."""
        if attempt not in self._taken:
            return self._own.get(attempt, "")
        outputs = self._taken[attempt][1].prints.outputs
        return result_digest(self._came_from[attempt], self.results[attempt], outputs)

    def _seen(self, attempt: int, queued: float | None) -> str:
        """Return the result of an attempt as an attempt claimed at `queued` saw it."""
        if attempt in self._taken and queued is not None and self._at[self._taken[attempt][0]] <= queued:
            return self._after(attempt)
        return self._own.get(attempt, "")

    def _result(self, archive: Snapshot, attempt: int, template: JobTemplate, result: str | None) -> str | None:
        last = len(template.steps) - 1
        if result is not None or template.steps[last].each is None:
            return result
        document = fan_out_result(known_subtasks(archive.subtasks.of(attempt, last)))
        return bytes(document).decode()

    def _came_to(self, attempt: int, template: JobTemplate, prints: FileFingerprints | None) -> str:
        outputs = prints.outputs if prints else ()
        if template.outputs and not outputs:  # their contents were not recorded
            return f"{OPAQUE_PREFIX}{self._came_from[attempt]}"
        return result_digest(self._came_from[attempt], self.results[attempt], outputs)
