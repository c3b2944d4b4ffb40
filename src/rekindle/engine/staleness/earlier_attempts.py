"""Find the completed attempts of all workflows that may complete jobs instead of running them, and compare them with
the present.

Rows are read in a snapshot, files outside of one. Attempts and jobs
are matched by their identities (`domain.changes.identities`), so that what is compared is mostly equal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import ABSENT, FileContent, FileFingerprints, FileRecord
from rekindle.domain.changes.identities import TemplateIdentity
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.engine.dynamic_actions import parameter_changes
from rekindle.engine.staleness.measure import AttemptMeasures, measure_subjects
from rekindle.journal.encoding import to_json
from rekindle.journal.restored_outputs import RestoreTarget
from rekindle.store.templates import encode_template

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import MeasuredAttempt
    from rekindle.domain.changes.staleness import Assessment
    from rekindle.domain.definition import JobTemplate
    from rekindle.domain.models import ReusableAttempt
    from rekindle.engine.staleness.contents import ContentRequests, FileContents
    from rekindle.store.archive import Snapshot

MOST_EARLIER = 8
"""Attempts, the newest ones, that are compared for one job."""


def find_earlier(
    archive: Snapshot, jobs: Collection[int], most: int = MOST_EARLIER
) -> dict[int, list[ReusableAttempt]]:
    """Return, by job, the attempts that have the identity of its next attempt, the newest first; of the job itself, or
    of jobs of any workflow that share what they make. Jobs whose parameters actions have changed have none."""
    if not jobs or not archive.reuse_candidates.has_reusable():
        return {}
    definitions = archive.reuse_candidates.definitions(jobs)
    changed = parameter_changes(archive, [one.job for one in definitions])
    templates = archive.staleness.templates({one.template for one in definitions})
    known: dict[tuple[int, int, int], TemplateIdentity] = {}
    identities: dict[int, int] = {}
    for one in definitions:
        key = one.workflow, one.revision, one.template
        if key not in known:
            params = archive.workflows.params(one.workflow, one.revision)
            known[key] = TemplateIdentity(templates[one.template], params)
        identity = known[key].of(one.job, one.binding, one.overrides)
        if identity is not None and one.job not in changed:
            identities[one.job] = identity
    found = archive.reuse_candidates.reusable(set(identities.values()), most)
    return {job: found[identity] for job, identity in identities.items() if identity in found}


class EarlierAttempt(msgspec.Struct, frozen=True):
    """What the comparison of an attempt with a job came to. Without reasons the attempt completes the job; `prints`:
    what it recorded, at the paths of the job. `targets`: where its outputs are restored, if they are kept and are all
    that differs."""

    attempt: int
    reasons: tuple[Reason, ...]
    comparable: bool
    prints: FileFingerprints | None
    accepted: bool  # something was accepted for it: if it became live again, it would be compared with that
    targets: tuple[RestoreTarget, ...] = ()


class EarlierAttempts:
    """The attempts that may complete some jobs: read from the store at once, and compared in rounds, the newest attempt
    of each job first."""

    def __init__(
        self, archive: Snapshot, jobs: Collection[int], environment: Mapping[str, str], newest: Mapping[int, int]
    ) -> None:
        """`newest`: the newest attempts of the jobs, by job."""
        found = find_earlier(archive, jobs)
        attempts = {job: [one.id for one in some] for job, some in found.items()}
        every = {one.id: one.job for some in found.values() for one in some}
        kept = archive.cached_outputs.kept(every.keys()) if every else set()
        owners = {job: {job, *(one.job for one in some if one.id in kept)} for job, some in found.items()}
        left = _outputs_left(archive, owners) if kept else {}
        self._rounds = [_Round(archive, pairs, environment, kept, left, newest) for pairs in _rounds(attempts)]

    def compare(
        self, read: Callable[[ContentRequests, Mapping[str, FileRecord]], FileContents]
    ) -> dict[int, list[EarlierAttempt]]:
        """Return, by job, the attempts that were compared, the newest first, up to the first that equals the present.
        `read` reads files."""
        found: dict[int, list[EarlierAttempt]] = {}
        for one in self._rounds:
            if any(job not in found or found[job][-1].reasons for job in one.pairs):
                for job, compared in one.compare(read).items():
                    if job not in found or found[job][-1].reasons:
                        found.setdefault(job, []).append(compared)
        return found


def _rounds(found: Mapping[int, Sequence[int]]) -> Iterable[dict[int, int]]:
    """Yield (job to attempt) until each attempt of each job was yielded: no attempt twice in a round, since comparisons
    are by attempt."""
    left = {job: list(attempts) for job, attempts in found.items()}
    while left:
        taken: dict[int, int] = {}
        for job, attempts in left.items():
            if attempts[0] not in taken:
                taken[attempts.pop(0)] = job
        yield {job: attempt for attempt, job in taken.items()}
        left = {job: attempts for job, attempts in left.items() if attempts}


OutputsLeft = Mapping[int, Mapping[str, Collection[str]]]
"""By job: by path, the digests of the output after its attempts. ABSENT is one of them."""


def _outputs_left(archive: Snapshot, owners: Mapping[int, Collection[int]]) -> OutputsLeft:
    """Return what attempts of jobs have left at their outputs. `owners`: by job, the jobs whose attempts count."""
    by_owner: dict[int, list[int]] = {}
    for attempt, job in archive.reuse_candidates.completed({one for some in owners.values() for one in some}):
        by_owner.setdefault(job, []).append(attempt)
    prints = archive.fingerprints.files(attempt for some in by_owner.values() for attempt in some)
    found: dict[int, dict[str, set[str]]] = {}
    for job, some in owners.items():
        left = found[job] = {}
        for attempt in (each for one in some for each in by_owner.get(one, ())):
            for output in prints[attempt].outputs if attempt in prints else ():
                left.setdefault(output.path, {ABSENT}).add(output.digest)
    return found


class _Round:
    """Pairs of a job and an attempt that may complete it, with what the store knows of both."""

    def __init__(
        self,
        archive: Snapshot,
        pairs: Mapping[int, int],
        environment: Mapping[str, str],
        cached: Collection[int],
        left: OutputsLeft,
        newest: Mapping[int, int],
    ) -> None:
        subjects = archive.staleness.candidates(pairs)
        recorded = archive.fingerprints.files([one.attempt for one in subjects])
        folders = {
            number: found.directory
            for number in {each for one in subjects for each in (one.workflow, one.made_in)}
            if (found := archive.workflows.find(number)) is not None
        }
        templates = archive.staleness.templates({one.template for one in subjects})
        kept, prints = [], {}
        for one in subjects:
            before, after = folders[one.made_in], folders[one.workflow]
            if before != after and _names(archive, templates[one.template], one, before):
                continue
            kept.append(one)
            if one.attempt in recorded:
                prints[one.attempt] = _moved(recorded[one.attempt], before, after)
        self.pairs = {one.job: one.attempt for one in kept}
        self._pure = {one.job for one in kept if templates[one.template].pure}
        self._prints, self._left = prints, left
        self._accepted = archive.fingerprints.accepted(one.attempt for one in kept).keys()
        self._roots = {one.job: folders[one.workflow] for one in kept if one.attempt in cached}
        self._measures: AttemptMeasures = measure_subjects(archive, kept, {}, environment, prints=prints, newest=newest)

    def compare(
        self, read: Callable[[ContentRequests, Mapping[str, FileRecord]], FileContents]
    ) -> dict[int, EarlierAttempt]:
        """Return the comparisons by job."""
        assessed = self._measures.assess(read(self._measures.requests, self._measures.known))
        return {job: self._compared(one) for job, one in assessed.items()}

    def _compared(self, one: Assessment) -> EarlierAttempt:
        """Return a comparison. Another environment is a difference, but for jobs that are said to be pure."""
        strict = one if one.job in self._pure else one.strict()
        comparable, prints = one.comparable or one.job in self._pure, self._prints.get(one.attempt)
        accepted, targets = one.attempt in self._accepted, self._targets(one.job, strict, prints)
        return EarlierAttempt(one.attempt, strict.reasons, comparable, prints, accepted, targets)

    def _targets(self, job: int, found: Assessment, prints: FileFingerprints | None) -> tuple[RestoreTarget, ...]:
        """Return where the kept outputs of an attempt are restored; nowhere if something else differs, or an output
        would be overwritten that no attempt of the job has left."""
        if job not in self._roots or prints is None or not found.reasons:
            return ()
        if any(one.kind is not ReasonKind.OUTPUT for one in found.reasons):
            return ()
        present = {one.detail["path"]: one.detail["after"] or ABSENT for one in found.reasons}
        if not all(digest in self._left[job].get(path, {ABSENT}) for path, digest in present.items()):
            return ()
        return tuple(
            RestoreTarget(one.name, one.path, one.digest, self._roots[job], replaced=self._left[job].get(one.path, ()))
            for one in prints.outputs
        )


def _names(archive: Snapshot, template: JobTemplate, one: MeasuredAttempt, folder: str) -> bool:
    """Return whether the definition of an attempt names a folder: what lies there is not in another project."""
    params = to_json(archive.workflows.params(one.made_in, one.revision)).decode()
    return any(folder in text for text in (encode_template(template), one.binding, one.overrides or "", params))


def _moved(recorded: FileFingerprints, before: str, after: str) -> FileFingerprints:
    """Return what an attempt in one project folder recorded as it would be in another one."""
    if before == after:
        return recorded
    inside = f"{before}/"

    def placed(contents: Iterable[FileContent]) -> tuple[FileContent, ...]:
        return tuple(
            replace(one, path=f"{after}/{one.path.removeprefix(inside)}") if one.path.startswith(inside) else one
            for one in contents
        )

    return replace(recorded, inputs=placed(recorded.inputs), outputs=placed(recorded.outputs))
