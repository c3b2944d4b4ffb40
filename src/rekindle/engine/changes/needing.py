"""What the jobs that attempts need came to: then, when they were claimed, and now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rekindle.domain.changes.prints import Basis, NeededJob, Prints, Subject
from rekindle.domain.changes.staleness import OPAQUE, came_to, other_result
from rekindle.domain.definition import JobTemplate
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.domain.subtasks import known_of
from rekindle.engine.fan_outs import complete_document
from rekindle.store.port import Archive

Accepted = Mapping[int, tuple[int, Basis]]
"""By attempt: the rerun that accepted what it is measured by since, and that."""


@dataclass(frozen=True, slots=True)
class Needs:
    """By attempt. `tells`: some job that it needs left something to compare. `now`: by job what each came to; only
    where it was asked for."""

    reasons: Mapping[int, tuple[Reason, ...]] = field(default_factory=dict)
    tells: Collection[int] = ()
    now: Mapping[int, Mapping[int, str]] = field(default_factory=dict)
    results: Mapping[int, str | None] = field(default_factory=dict)  # by attempt that is needed, where asked for
    compared: Mapping[int, Sequence[str]] = field(default_factory=dict)  # names of needed jobs that left something


def needing(
    archive: Archive,
    subjects: Sequence[Subject],
    accepted: Accepted,
    templates: Mapping[int, JobTemplate],
    whole: bool,
) -> Needs:
    """Compare for each of `subjects`; `accepted` are theirs, `templates` hold those of their jobs now. With `whole`
    what is needed is told even where it has not changed."""
    parents: dict[int, list[int]] = {}
    for child, parent in archive.measures.needs(one.job for one in subjects):
        parents.setdefault(child, []).append(parent)
    recorded = archive.fingerprints.needed(one.attempt for one in subjects)
    jobs = _jobs(archive, {job for needed in parents.values() for job in needed})
    taken = archive.fingerprints.accepted(one.attempt for one in jobs.values() if one.attempt is not None)
    lenient = [one for one in subjects if templates[one.template_now].when == "finished"]
    finished = archive.measures.given_up({job for one in lenient for job in parents.get(one.job, ())})
    asked: list[tuple[Subject, Mapping[int, int], list[int]]] = []
    for one in subjects:
        now, then = parents.get(one.job, []), recorded.get(one.attempt, {})
        if not whole and one.attempt not in accepted and then == _as_it_stands(jobs, now, finished, taken):
            continue
        if now or then or one.attempt in accepted:
            asked.append((one, then, now))
    jobs |= _jobs(archive, {job for _, then, _ in asked for job in then} - jobs.keys())
    jobs |= _jobs(archive, {job for one, _, _ in asked for job in _basis_needed(accepted, one)} - jobs.keys())
    past = _Past(archive, jobs, taken, finished, templates, asked)
    reasons = {one.attempt: tuple(past.reasons(one, then, now, accepted)) for one, then, now in asked}
    told = _told(archive, jobs.values())
    left = {
        one.attempt: names
        for one in subjects
        if (names := [jobs[job].name for job in parents.get(one.job, ()) if job in told])
    }
    came = {one.attempt: past.came(one, now) for one, _, now in asked} if whole else {}
    return Needs(reasons, left.keys(), came, past.results if whole else {}, left)


def _as_it_stands(
    jobs: Mapping[int, NeededJob], now: Iterable[int], finished: Collection[int], taken: Accepted
) -> dict[int, int | None]:
    """As it would be recorded now, of the jobs that are needed: their attempts, 0 for one that cannot be reached; None
    where it could not be, or is measured by something else since. `finished` will do, though not completed."""
    return {
        job: one.attempt or 0
        if (one := jobs[job]).attempt not in taken and (one.state is State.COMPLETED or job in finished)
        else None
        for job in now
    }


def _basis_needed(accepted: Accepted, one: Subject) -> Collection[int]:
    return accepted[one.attempt][1].needed.keys() if one.attempt in accepted else ()


def _jobs(archive: Archive, wanted: Collection[int]) -> dict[int, NeededJob]:
    return {one.job: one for one in archive.measures.needed_jobs(wanted)} if wanted else {}


def _told(archive: Archive, jobs: Iterable[NeededJob]) -> set[int]:
    """Those that leave something to compare: a result, subtasks' results, or declared outputs."""
    every = list(jobs)
    leaving = {
        number
        for number, body in archive.measures.bodies({one.template for one in every}).items()
        if body.outputs or body.steps[-1].each is not None
    }
    return {one.job for one in every if one.has_result or one.template in leaving}


class _Past:
    """What attempts that are, or were, needed came to."""

    def __init__(
        self,
        archive: Archive,
        jobs: Mapping[int, NeededJob],
        taken: Accepted,
        finished: Collection[int],
        templates: Mapping[int, JobTemplate],
        asked: Sequence[tuple[Subject, Mapping[int, int], list[int]]],
    ) -> None:
        self._jobs, self._finished, self._defined = jobs, finished, templates
        earlier = {attempt for _, then, _ in asked for attempt in then.values() if attempt}
        wanted = earlier | {attempt for _, _, now in asked for job in now if (attempt := jobs[job].attempt) is not None}
        self._taken = {**taken, **archive.fingerprints.accepted(wanted - taken.keys())}
        self._at = archive.measures.accepted_at({rerun for rerun, _ in self._taken.values()}) if self._taken else {}
        self.results: dict[int, str | None] = {}
        self._own: dict[int, str] = {}
        found = archive.measures.results(wanted)
        templates = archive.measures.bodies({template for template, _ in found.values()})
        prints = archive.fingerprints.files(wanted)
        for attempt, (template, result) in found.items():
            self.results[attempt] = self._result(archive, attempt, templates[template], result)
            self._own[attempt] = self._came_to(attempt, templates[template], prints.get(attempt))

    def reasons(
        self,
        one: Subject,
        then: Mapping[int, int],
        now: Sequence[int],
        accepted: Accepted,
    ) -> list[Reason]:
        """Why an attempt does not stand on what its job needs now."""
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
            found.append(other_result(job, str(named["name"]), before.get(job), after))
        return [reason for reason in found if reason is not None]

    def came(self, one: Subject, now: Sequence[int]) -> dict[int, str]:
        """What these jobs came to, by job; those that do not do for it as they stand are left out."""
        return {job: self._now(job) for job in now if self._will_do(one, job)}

    def _will_do(self, one: Subject, job: int) -> bool:
        """A job that it needs is done, as far as it needs that."""
        lenient = self._defined[one.template_now].when == "finished"
        return self._jobs[job].state is State.COMPLETED or (lenient and job in self._finished)

    def _now(self, job: int) -> str:
        attempt = self._jobs[job].attempt
        return "" if attempt is None else self._after(attempt)

    def _after(self, attempt: int) -> str:
        """With what was accepted of it since."""
        if attempt not in self._taken:
            return self._own.get(attempt, "")
        return came_to(attempt, self.results[attempt], self._taken[attempt][1].prints.outputs)

    def _seen(self, attempt: int, queued: float | None) -> str:
        """As somebody saw it who was claimed at `queued`."""
        if attempt in self._taken and queued is not None and self._at[self._taken[attempt][0]] <= queued:
            return self._after(attempt)
        return self._own.get(attempt, "")

    def _result(self, archive: Archive, attempt: int, template: JobTemplate, result: str | None) -> str | None:
        last = len(template.steps) - 1
        if result is not None or template.steps[last].each is None:
            return result
        document = complete_document(known_of(archive.subtasks.of(attempt, last)))
        return bytes(document).decode()

    def _came_to(self, attempt: int, template: JobTemplate, prints: Prints | None) -> str:
        outputs = prints.outputs if prints else ()
        if template.outputs and not outputs:  # it was not recorded what they held
            return f"{OPAQUE}{attempt}"
        return came_to(attempt, self.results[attempt], outputs)
