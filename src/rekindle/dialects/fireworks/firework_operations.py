"""Operations on stored fireworks: hold, release, rerun, and end lost runs. `lpad` and LaunchPad both call these.

An operation changes the fireworks whose states allow it, and returns the others with the reason: `{fw_id: reason}`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec.structs import replace

from rekindle.dialects.fireworks.duplicates import find_sharing
from rekindle.dialects.fireworks.fw_states import DEFUSED, PAUSED
from rekindle.dialects.fireworks.offline import silent_launches
from rekindle.dialects.fireworks.queries import MongoQuery, select_fireworks
from rekindle.dialects.fireworks.stored_fireworks import StoredFirework, fireworks_of, read_fireworks
from rekindle.domain.errors import PlanRefused
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.rerun.request import FROM_BEGINNING, FROM_FAILED_STEP, How, how_to_json
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries
from rekindle.engine.queries.selections import SelectedJobs
from rekindle.engine.rerun import control, rerun
from rekindle.engine.running import reconcile
from rekindle.engine.running.detached import release

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.engine.plan_inputs import ChosenRequests
    from rekindle.engine.results import HoldResult
    from rekindle.engine.session import Session

_UNSTARTED = ("WAITING", "READY")
_ENDED = ("COMPLETED", "FIZZLED")


Matching = Callable[[], Collection[int]]
"""Returns the fireworks that match a command's selection now."""


def read_matching(
    session: Session, ids: Sequence[int], matching: Matching | None
) -> tuple[list[StoredFirework], dict[int, str]]:
    """Return the fireworks that still match, and the reason for each that does not. `matching` None: all match.

    A firework is read before its match is decided: while its job keeps the version that was read, it matches."""
    fireworks = read_fireworks(session, ids)
    if matching is None:
        return fireworks, {}
    kept = matching()
    gone = {one.id: f"it is {one.state} now, and not selected any more" for one in fireworks if one.id not in kept}
    return [one for one in fireworks if one.id not in gone], gone


def pause(session: Session, fireworks: Sequence[StoredFirework]) -> dict[int, str]:
    """Pause the fireworks that have not started."""
    done = control.hold(session, _unchanged(fireworks, _UNSTARTED), PAUSED)
    hints = {"PAUSED": "it is paused already", "RESERVED": "it is being started", "DEFUSED": "it is defused"}
    return _moved(done) | {
        one.id: hints.get(one.state, f"it is {one.state}, and only what has not started can be paused")
        for one in fireworks
        if one.state not in _UNSTARTED
    }


def resume(session: Session, fireworks: Sequence[StoredFirework]) -> dict[int, str]:
    """Resume the paused fireworks."""
    return _release(session, fireworks, "PAUSED", "paused")


def reignite(session: Session, fireworks: Sequence[StoredFirework]) -> dict[int, str]:
    """Reignite the defused fireworks."""
    return _release(session, fireworks, "DEFUSED", "defused")


def defuse(session: Session, fireworks: Sequence[StoredFirework], *, with_duplicates: bool = True) -> dict[int, str]:
    """Defuse fireworks. Completed and running ones are reset first, together with their descendants. As in FireWorks,
    those that share a launch with these are rerun."""
    refused = {one.id: "it is defused already" for one in fireworks if one.state == "DEFUSED"}
    refused |= {one.id: "its workflow is archived" for one in fireworks if one.state == "ARCHIVED"}
    idle = _unchanged(fireworks, (*_UNSTARTED, "FIZZLED", "PAUSED"))
    refused |= _moved(control.hold(session, idle, DEFUSED, instead=True))  # before the reset, which changes descendants
    started = _unchanged(fireworks, ("COMPLETED", "RUNNING", "RESERVED"))
    if started.versions:
        how = How(hold=DEFUSED, cancel_running=True)
        request = {"selection": {"jobs": list(started.versions)}, "how": {"defuse": True}}
        reset = [one for one in fireworks if one.id in started.versions]
        sharing = find_sharing(session, reset) if with_duplicates else {}
        chosen = [(started, how), *_sharing_request(session, sharing, How(cancel_running=True))]
        proposal, _ = rerun.plan_and_apply(session, chosen, request)
        refused |= {one.id: one.why for one in proposal.plan.refused}
    return refused


def _unchanged(fireworks: Sequence[StoredFirework], states: Sequence[str]) -> SelectedJobs:
    """Return the fireworks in these states, with the versions that they were read with."""
    return SelectedJobs({one.id: one.job.version for one in fireworks if one.state in states})


def _moved(done: HoldResult) -> dict[int, str]:
    return {one.id: one.why for one in done.moved}


def pause_workflows(session: Session, workflows: Sequence[int]) -> dict[int, str]:
    """Pause the unstarted fireworks of workflows, given by their store ids."""
    return pause(session, _fireworks_except(session, workflows, (*_ENDED, "DEFUSED", "RUNNING", "RESERVED")))


def reignite_workflows(session: Session, workflows: Sequence[int]) -> dict[int, str]:
    """Reignite the defused fireworks of workflows, given by their store ids."""
    fireworks = read_fireworks(session, fireworks_of(session, workflows))
    return reignite(session, [one for one in fireworks if one.state == "DEFUSED"])


def defuse_workflows(session: Session, workflows: Sequence[int], *, all_states: bool) -> dict[int, str]:
    """Defuse the fireworks of workflows, given by their store ids. Without `all_states` completed and fizzled ones
    keep their state."""
    return defuse(session, _fireworks_except(session, workflows, () if all_states else _ENDED))


def _release(session: Session, fireworks: Sequence[StoredFirework], state: str, adjective: str) -> dict[int, str]:
    done = control.release(session, _unchanged(fireworks, [state]))
    return _moved(done) | {one.id: f"it is {one.state}, not {adjective}" for one in fireworks if one.state != state}


def _fireworks_except(session: Session, workflows: Sequence[int], states: Sequence[str]) -> list[StoredFirework]:
    fireworks = read_fireworks(session, fireworks_of(session, workflows))
    return [one for one in fireworks if one.state not in states]


class RerunOptions(msgspec.Struct, frozen=True):
    """How fireworks are rerun, in FireWorks' terms."""

    task_level: bool = False  # start at the failed task
    folder: Literal["copy", "same"] | None = None  # how to use the previous launch's folder; None: a new folder
    clear: bool = False  # drop the resume point of an earlier task-level rerun
    undo_dynamic: bool = False

    def how(self) -> How:
        """Return the engine's rerun options."""
        start = FROM_FAILED_STEP if self.task_level else FROM_BEGINNING
        workdir = self.folder or ("new" if self.task_level else None)
        recovery: Literal["keep", "clear"] | None = "clear" if self.clear else "keep" if self.task_level else None
        return How(start, workdir=workdir, recovery=recovery, undo_dynamic=self.undo_dynamic, cancel_running=True)


class RerunResult(msgspec.Struct, frozen=True):
    """The result of a rerun. Pairs are (fw_id, reason)."""

    planned: int  # selected fireworks that are rerun
    descendants: int  # other fireworks that are reset, without duplicates
    skipped: tuple[tuple[int, str], ...]  # as in FireWorks: not run since their last reset, defused or archived
    refused: tuple[tuple[int, str], ...]
    warnings: tuple[str, ...]
    number: int | None = None  # of the recorded rerun; None: nothing was changed
    duplicates: tuple[int, ...] = ()  # other fireworks that share a launch with a selected one, and are rerun with it


NO_LAUNCHES: Mapping[int, int] = {}

_SKIPPED_STATES = {
    "DEFUSED": "it is defused: `lpad reignite_fws -i {}` first",
    "ARCHIVED": "its workflow is archived",
}
"""FireWorks leaves these as they are too."""

_REFUSED_STATES = {"PAUSED": "it is paused: `lpad resume_fws -i {}` first"}
"""FireWorks reruns these."""


def rerun_fireworks(
    session: Session,
    ids: Sequence[int],
    options: RerunOptions,
    selection: Mapping[str, Any],
    launches: Mapping[int, int] = NO_LAUNCHES,
    *,
    matching: Matching | None = None,
    dry_run: bool = False,
    with_duplicates: bool = True,
) -> RerunResult:
    """Rerun the fireworks whose states allow it and, `with_duplicates`, those that share a launch with them, in one
    transaction.

    With `matching`, fireworks that do not match any more, or change meanwhile, are left as they are. `launches` maps
    fw_ids to the launch that a task-level rerun resumes, where that is not the latest one."""
    how = options.how()
    fireworks, gone = read_matching(session, ids, matching)
    versions = {one.id: one.job.version for one in fireworks}
    skipped = [(one.id, f"it is {one.state} already") for one in fireworks if _nothing_to_rerun(one, options)]
    skipped += [
        (one.id, _SKIPPED_STATES[one.state].format(one.id)) for one in fireworks if one.state in _SKIPPED_STATES
    ]
    refused = gone | {
        one.id: _REFUSED_STATES[one.state].format(one.id) for one in fireworks if one.state in _REFUSED_STATES
    }
    excluded = {*refused, *(number for number, _ in skipped)}
    requests = _requests([one.id for one in fireworks if one.id not in excluded], how, launches)
    if not requests:
        return RerunResult(0, 0, tuple(skipped), tuple(refused.items()), ())
    chosen: ChosenRequests = requests
    if matching is not None:
        chosen = [(SelectedJobs({job: versions[job] for job in jobs}), how) for jobs, how in requests]
    sharing = find_sharing(session, [one for one in fireworks if one.id not in excluded]) if with_duplicates else {}
    chosen = [*chosen, *_sharing_request(session, sharing, how)]
    request = {"selection": dict(selection), "how": how_to_json(how)}
    try:
        if dry_run:
            plan, number = rerun.plan(session, chosen, request).plan, None
        else:
            proposal, applied = rerun.plan_and_apply(session, chosen, request)
            plan, number = proposal.plan, applied.rerun
    except PlanRefused as refusal:
        refused |= {one.id: one.why for one in refusal.refused}
        return RerunResult(0, 0, tuple(skipped), tuple(sorted(refused.items())), ())
    refused |= {one.id: one.why for one in plan.refused}
    selected = {job.id for job in plan.jobs if any(one.kind is ReasonKind.SELECTED for one in job.reasons)}
    return RerunResult(
        planned=len(selected - sharing.keys()),
        descendants=sum(not job.stays for job in plan.jobs) - len(selected),
        skipped=tuple(skipped),
        refused=tuple(sorted(refused.items())),
        warnings=plan.warnings,
        number=number,
        duplicates=tuple(sorted(selected & sharing.keys())),
    )


def _sharing_request(session: Session, sharing: Mapping[int, StoredFirework], how: How) -> ChosenRequests:
    """Return the request that reruns these fireworks with those whose launches they share."""
    jobs = [one.job for one in read_fireworks(session, list(sharing))] if sharing else []
    why = {
        job.id: (Reason(ReasonKind.DUPLICATE, {"job": sharing[job.id].id, "name": sharing[job.id].job.name}),)
        for job in jobs
    }
    return [(SelectedJobs({job.id: job.version for job in jobs}, why), how)] if jobs else []


def _nothing_to_rerun(firework: StoredFirework, options: RerunOptions) -> bool:
    """Return whether a firework has not run since its reset, and the options do not change its next launch."""
    clears = options.clear and firework.job.next.resume_attempt is not None
    return firework.state == "WAITING" or (firework.state == "READY" and not clears)


def _requests(ids: Sequence[int], how: How, launches: Mapping[int, int]) -> list[tuple[list[int], How]]:
    plain = [one for one in ids if one not in launches]
    named = [([one], replace(how, attempt=launches[one])) for one in ids if one in launches]
    return [*([(plain, how)] if plain else []), *named]


FOUR_HOURS = 4 * 3600.0
"""After this time without a sign of life FireWorks takes a run for lost."""


class LostRuns(msgspec.Struct, frozen=True):
    """RESERVED and RUNNING fireworks whose runner is dead."""

    lost: dict[int, int]  # fw_id -> launch_id; the process is gone
    finished: tuple[int, ...]  # ended, and the end is not recorded in the store yet
    silent: frozenset[int] = frozenset()  # launches among the lost that no runner has, and whose process is not known


def find_lost_runs(
    session: Session,
    query: MongoQuery | None = None,
    launch_query: MongoQuery | None = None,
    *,
    min_age: float = 0,
    max_age: float | None = None,
    silent_for: float = FOUR_HOURS,
) -> LostRuns:
    """Find lost runs that match the queries and began `min_age` to `max_age` seconds ago. Changes nothing.

    Offline launches, and those of scripts, are lost if they have given no sign of life for `silent_for` seconds."""
    active = select_fireworks(session, {"state": {"$in": ["RESERVED", "RUNNING"]}})
    silent = {one.job: one.id for one in silent_launches(session, silent_for)}
    seen = reconcile.plan_reattach(session, active).jobs if active else ()
    wanted = {one.id for one in seen if one.found in ("gone", "finished")} | silent.keys()
    if query is not None:
        wanted &= set(select_fireworks(session, query))
    if launch_query is not None:
        wanted &= set(select_fireworks(session, launch_query, launches=True))
    wanted &= _launched_between(session, wanted, min_age, max_age)
    attempts = {row.job.id: row.job.attempt or 0 for row in job_queries.jobs(session, sorted(wanted))} if wanted else {}
    lost = sorted(one.id for one in seen if (one.found == "gone" or one.id in silent) and one.id in wanted)
    finished = sorted(one.id for one in seen if one.found == "finished" and one.id in wanted)
    return LostRuns({one: attempts[one] for one in lost}, tuple(finished), frozenset(silent.values()))


def _launched_between(session: Session, ids: set[int], min_age: float, max_age: float | None) -> set[int]:
    now = session.clock()
    found = set()
    for attempt in job_queries.attempts(session, sorted(ids), live=True) if ids else ():
        age = now - (attempt.started or attempt.queued or now)
        if age >= min_age and (max_age is None or age <= max_age):
            found.add(attempt.job)
    return found


def resolve_lost_runs(
    session: Session, found: LostRuns, *, fizzle: bool = False, rerun_lost: bool = False, refresh: bool = False
) -> None:
    """End lost runs as requested: `rerun_lost` runs the lost ones again, `fizzle` leaves them FIZZLED, and each of
    the three options records the ends of finished ones."""
    silent = [number for number, launch in found.lost.items() if launch in found.silent]
    lost = [number for number in found.lost if number not in silent]
    if silent and (rerun_lost or fizzle):
        release(session, [found.lost[one] for one in silent], "it was lost: it gave no sign of life any more")
        if rerun_lost:
            rerun.plan_and_apply(session, [(silent, How())], {"selection": {"jobs": silent}, "how": {"lost": True}})
    if lost and rerun_lost:
        reconcile.reattach(session, lost)
    elif lost and fizzle:
        _fizzle(session, lost)
    if found.finished and (refresh or fizzle or rerun_lost):
        reconcile.reattach(session, found.finished)


def _fizzle(session: Session, ids: Sequence[int]) -> None:
    free = [row.job.id for row in job_queries.jobs(session, ids) if row.job.held is None]
    control.hold(session, free, DEFUSED)  # a held job is not retried
    try:
        reconcile.reattach(session, ids)
    finally:
        control.release(session, free)


def reserved_launches(session: Session, min_age: float) -> list[Attempt]:
    """Return the live launches that were reserved at least `min_age` seconds ago and have not started."""
    latest = session.clock() - min_age
    attempts = job_queries.attempts(session, select_fireworks(session, {"state": "RESERVED"}), live=True)
    return [one for one in attempts if one.state is State.QUEUED and one.queued is not None and one.queued <= latest]


def rerun_reserved(session: Session, launches: Sequence[Attempt]) -> None:
    """Cancel reserved launches and run their fireworks again."""
    jobs = [one.job for one in launches]
    request = {"selection": {"jobs": jobs}, "how": {"reserved": True}}
    rerun.plan_and_apply(session, [(jobs, How(cancel_running=True))], request)
