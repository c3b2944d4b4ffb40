"""Plans of the rerun dialog: made from its form, bound to a digest, compared with the plan that was shown before."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import PlanOutdated, PlanRefused, RefusedJob
from rekindle.domain.rerun.request import How
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.rerun import rerun as engine
from rekindle.engine.results import AppliedRerun, PlannedRerun, ReattachResult
from rekindle.engine.running import reconcile
from rekindle.presentation import plans
from rekindle.presentation.rerun_modes import PLAIN, REATTACH, Impossible, ModeSet, how_of, mode_set_for

if TYPE_CHECKING:
    from rekindle.domain.rerun.plan import PlannedJob
    from rekindle.engine.plan_inputs import ChosenRequests
    from rekindle.engine.session import Session
    from rekindle.web.rerun_form import RerunForm

MOST_REMEMBERED, MOST_ROWS = 50, 200_000
"""The most plans that a server remembers for comparison, and the most jobs of all of them."""


class ShownPlan(msgspec.Struct, frozen=True):
    """A plan as the dialog shows it. `refused`: jobs whose mode is not possible, and those that the planner refuses."""

    selected: int
    proposal: PlannedRerun | None
    refused: tuple[RefusedJob, ...]
    reattached: ReattachResult | None
    digest: str

    @property
    def does_something(self) -> bool:
        """Whether applying it changes anything."""
        return self.proposal is not None or self.reattached is not None


class Moved(msgspec.Struct, frozen=True):
    """What differs from the plan that was shown before: ids and names of jobs."""

    added: Mapping[int, str]
    removed: Mapping[int, str]
    changed: Mapping[int, str]

    def mark(self, job: int) -> str:
        """Return the mark of a job: `added`, `changed` or ""."""
        return "added" if job in self.added else "changed" if job in self.changed else ""


class Applied(msgspec.Struct, frozen=True):
    """What was done."""

    rerun: AppliedRerun | None
    reattached: ReattachResult | None


def make_plan(session: Session, form: RerunForm, sets: Sequence[ModeSet]) -> ShownPlan:
    """Plan what the form asks for. Nothing is changed."""
    selection = form.selection
    ids = selections.select(session, selection)
    modes = mode_set_for(workflow_queries.owners(session, ids), sets)
    requests: ChosenRequests
    impossible: dict[int, str] = {}
    attach: list[int] = []
    if modes is PLAIN and not form.modes and (how := how_of(form.mode)) != REATTACH:
        assert isinstance(how, How)
        requests = [(selection, form.how(msgspec.structs.replace(how, overrides=form.overrides)))] if ids else []
        chosen = dict.fromkeys(ids, form.mode)
    else:
        chosen = {job: form.modes.get(job, form.mode) for job in ids}
        requests, attach, impossible = _grouped(session, form, modes, chosen)
    proposal, refused = _propose(session, form, requests, chosen)
    found = reconcile.plan_reattach(session, attach) if attach else None
    if found is not None:
        impossible |= {one.id: one.why or one.found for one in found.jobs if one.found in ("none", "attended")}
        left = tuple(one for one in found.jobs if one.id not in impossible)
        found = msgspec.structs.replace(found, jobs=left) if left else None
    names = {row.job.id: row.job.name for row in job_queries.jobs(session, sorted(impossible))} if impossible else {}
    refused = (*refused, *(RefusedJob(job, names[job], why) for job, why in sorted(impossible.items())))
    return ShownPlan(len(ids), proposal, refused, found, _digest(proposal, refused, found))


def _grouped(
    session: Session, form: RerunForm, modes: ModeSet, chosen: Mapping[int, str]
) -> tuple[ChosenRequests, list[int], dict[int, str]]:
    """Return the requests of jobs with a mode each, the jobs to reattach, and those whose mode is not possible."""
    seen = selections.with_versions(session, sorted(chosen))
    groups: list[tuple[How, list[int]]] = []
    attach: list[int] = []
    impossible: dict[int, str] = {}
    for job, choice in modes.choose(session, chosen, form.overrides).items():
        if isinstance(choice, Impossible):
            impossible[job] = choice.why
        elif choice == REATTACH:
            attach.append(job)
        elif isinstance(choice, How):
            how = form.how(choice)
            same = next((jobs for other, jobs in groups if other == how), None)
            if same is None:
                groups.append((how, [job]))
            else:
                same.append(job)
    return [(seen.only(jobs), how) for how, jobs in groups], attach, impossible


def _propose(
    session: Session, form: RerunForm, requests: ChosenRequests, chosen: Mapping[int, str]
) -> tuple[PlannedRerun | None, tuple[RefusedJob, ...]]:
    if not requests:
        return None, ()
    try:
        found = engine.plan(session, requests, form.request(chosen), form.note, canary=form.canary)
    except PlanRefused as refusal:
        return None, tuple(refusal.refused)
    return found, found.plan.refused


def _digest(proposal: PlannedRerun | None, refused: Sequence[RefusedJob], reattached: ReattachResult | None) -> str:
    """Return the digest of all that applying would do."""
    parts = [
        "" if proposal is None else proposal.plan.digest,
        [] if proposal is None else msgspec.to_builtins(proposal.canaries),
        [(one.id, one.why) for one in refused],
        [] if reattached is None else [(one.id, one.found) for one in reattached.jobs],
    ]
    return blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def apply_form(session: Session, form: RerunForm, sets: Sequence[ModeSet], by: str) -> Applied | ShownPlan:
    """Apply what the form asks for, if its plan is still the one that its user saw; else return the plan as it is now.

    Dead runners' jobs are resolved first, unless jobs are reattached: that is how their attempts are adopted."""
    attaches = REATTACH in (form.mode, *form.modes.values())
    with session.store.written_by(by), nullcontext() if attaches else reconcile.reconciled(session):
        shown = make_plan(session, form, sets)
        if shown.digest != form.digest or not shown.does_something:
            return shown
        attached = None
        if shown.reattached is not None:
            attached = reconcile.reattach(session, [one.id for one in shown.reattached.jobs])
        if shown.proposal is None:
            return Applied(None, attached)
        try:
            return Applied(engine.apply(session, shown.proposal), attached)
        except PlanOutdated:
            return make_plan(session, form, sets)


class PlanMemory:
    """The jobs of the plans that were shown last, by digest: to mark what has moved in a plan that is made again. All
    methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: OrderedDict[str, Mapping[int, tuple[str, int]]] = OrderedDict()

    def keep(self, shown: ShownPlan) -> None:
        """Remember a plan."""
        rows = _rows(shown)
        with self._lock:
            self._plans[shown.digest] = rows
            self._plans.move_to_end(shown.digest)
            while len(self._plans) > MOST_REMEMBERED or (
                len(self._plans) > 1 and sum(map(len, self._plans.values())) > MOST_ROWS
            ):
                self._plans.popitem(last=False)

    def moved(self, digest: str, shown: ShownPlan) -> Moved | None:
        """Return what has moved since the plan with this digest was shown; None: it is not remembered."""
        with self._lock:
            before = self._plans.get(digest)
        if before is None:
            return None
        after = _rows(shown)
        return Moved(
            _names(after, after.keys() - before.keys()),
            _names(before, before.keys() - after.keys()),
            _names(after, [job for job, row in after.items() if job in before and before[job] != row]),
        )


def _rows(shown: ShownPlan) -> dict[int, tuple[str, int]]:
    """Return the name of each planned job, and a number that differs where its row would."""
    jobs: Sequence[PlannedJob] = shown.proposal.plan.jobs if shown.proposal else ()
    return {job.id: (job.name, hash((job.version, plans.job_cells(job, retired=False)))) for job in jobs}


def _names(rows: Mapping[int, tuple[str, int]], jobs: Collection[int]) -> dict[int, str]:
    return {job: rows[job][0] for job in sorted(jobs)}


def reattach_lines(found: ReattachResult) -> list[tuple[int, str, str]]:
    """Return (id, name, what was found) of reattached jobs."""
    return [(one.id, one.name, _found(one.found, one.state.label, one.why)) for one in found.jobs]


def _found(found: str, state: str, why: str | None) -> str:
    said: dict[str, str] = {"running": "runs on", "finished": f"has finished meanwhile: {state}", "gone": why or "gone"}
    return said[found]
