"""The rerun dialog: what is selected, a mode for each job, options, the live plan, and its application."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from rekindle.domain.errors import RekindleError
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.rerun import rerun as engine
from rekindle.engine.running import reconcile
from rekindle.presentation import attempts, plans, waits, words
from rekindle.presentation.rerun_modes import PLAIN, mode_set_for, refused_modes
from rekindle.web.console import Page
from rekindle.web.forms import fields_of, one_of
from rekindle.web.rerun_form import MOST_MODES, NO_SUBMIT, RerunForm, read_form
from rekindle.web.rerun_plans import Applied, PlanMemory, ShownPlan, apply_form, make_plan, reattach_lines

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rekindle.domain.models import Job
    from rekindle.domain.rerun.plan import PlannedJob, RerunPlan
    from rekindle.engine.results import PlannedRerun
    from rekindle.engine.session import Session
    from rekindle.presentation.plans import TreeLine
    from rekindle.presentation.rerun_modes import ModeSet
    from rekindle.web.access import Principal
    from rekindle.web.console import Console, Query, Values
    from rekindle.web.rerun_plans import Moved

MOST_LINES, MOST_REFUSED, MOST_FILES, MOST_MOVED = 60, 50, 20, 50
"""The most lines of each part of a plan that are shown."""

_NAMED = 8


def add(console: Console, sets: Sequence[ModeSet]) -> None:
    """Add the dialog, its plan, and what applies and undoes reruns."""
    memory = PlanMemory()

    async def dialog(request: Request, principal: Principal) -> Response:
        fields = await fields_of(request)
        words = one_of(fields, "selection")
        canary = one_of(fields, "canary")
        return await console.show("rerun/dialog.html", lambda one: _dialog(one, words, canary, sets), principal)

    async def plan(request: Request, principal: Principal) -> Response:
        form = read_form(await fields_of(request), principal)

        def load(session: Session) -> Values:
            shown = make_plan(session, form, sets)
            memory.keep(shown)
            return plan_values(shown, None)

        return await console.show("rerun/plan.html", load, principal)

    async def apply(request: Request, principal: Principal) -> Response:
        form = read_form(await fields_of(request), principal)
        done = await console.readers.run(lambda session: apply_form(session, form, sets, principal.name))
        if isinstance(done, Applied):
            answer = await console.show("rerun/applied.html", lambda _: _applied(done), principal)
            answer.headers["X-Applied"] = "1"
            return answer
        moved = memory.moved(form.digest, done)
        memory.keep(done)

        values = {**plan_values(done, moved), "outdated": done.digest != form.digest}
        return await console.show("rerun/plan.html", lambda _: values, principal)

    async def undo(request: Request, principal: Principal) -> Response:
        number = int(request.path_params["id"])
        return await console.show("rerun/undone.html", lambda session: _undo(session, number, principal), principal)

    console.add_action("/rerun/dialog", "read", dialog)
    console.add_action("/rerun/plan", "read", plan)
    console.add_action("/rerun/apply", "rerun", apply)
    console.add_action("/reruns/{id:int}/undo", "rerun", undo)
    console.add_page(Page("/rerun/undo", "rerun/undo.html", _newest))


# --- the dialog


def _dialog(session: Session, words: str, canary: str, sets: Sequence[ModeSet]) -> Values:
    ids = selections.select(session, RerunForm(words).selection)
    listed = ids[:MOST_MODES]
    rows = job_queries.jobs(session, listed)
    modes = mode_set_for(workflow_queries.owners(session, ids), sets)
    offered = modes.offered(session, listed)
    each = len(ids) <= MOST_MODES
    refused = refused_modes(session, modes, listed, offered) if each else {}
    templates = job_queries.templates_of(session, [row.job for row in rows]).values()
    return {
        "words": words,
        "canary": canary,
        "selected": len(ids),
        "named": ", ".join(row.job.name for row in rows[:_NAMED]),
        "unnamed": max(0, len(ids) - _NAMED),
        "states": sorted(Counter(row.job.state for row in (rows if each else job_queries.jobs(session, ids))).items()),
        "thing": "job" if modes is PLAIN else "task",
        "jobs": [row.job for row in rows] if each else [],
        "modes": offered,
        "refused": refused,
        "refused_by_all": {mode.key: _refused_by_all([row.job for row in rows], refused, mode.key) for mode in offered},
        "fans_out": any(step.each is not None for one in templates for step in one.steps),
        "params": sorted(_params(session, listed)),
        "no_submit": NO_SUBMIT,
    }


def _params(session: Session, ids: Sequence[int]) -> set[str]:
    return {name for params in job_queries.params_of(session, ids[:1]).values() for name in params}


def _refused_by_all(jobs: Sequence[Job], refused: dict[int, dict[str, str]], mode: str) -> str:
    """Return why a mode is possible for none of the jobs; "" if it may be for some."""
    if not refused or not all(mode in refused[job.id] for job in jobs):
        return ""
    if len(jobs) == 1:
        return refused[jobs[0].id][mode]
    whys = list(dict.fromkeys(refused[job.id][mode] for job in jobs))
    first = f"{jobs[0].name}: {whys[0]}" if len(whys) > 1 else whys[0]
    return first + (f"; and {len(whys) - 1} other reason{'s' if len(whys) > 2 else ''}" if len(whys) > 1 else "")


# --- the plan


def plan_values(shown: ShownPlan, moved: Moved | None) -> dict[str, Any]:
    """Return what the template of a plan shows."""
    values: dict[str, Any] = {
        "selected": shown.selected,
        "digest": shown.digest,
        "does_something": shown.does_something,
        "outdated": False,
        "moved": moved,
        "removed": _removed(shown, moved),
        "refused": shown.refused[:MOST_REFUSED],
        "more_refused": max(0, len(shown.refused) - MOST_REFUSED),
        "reattached": reattach_lines(shown.reattached)[:MOST_LINES] if shown.reattached else [],
        "proposal": None,
    }
    return values | (_proposal_values(shown.proposal, moved) if shown.proposal else {})


def _proposal_values(proposal: PlannedRerun, moved: Moved | None) -> dict[str, Any]:
    plan = proposal.plan
    return {
        "proposal": proposal,
        "canaries": [waits.canary_choice_line(one) for one in proposal.canaries],
        **recorded_values(plan, proposal.children, moved),
    }


def recorded_values(
    plan: RerunPlan, children: Mapping[int, Sequence[int]], moved: Moved | None = None
) -> dict[str, Any]:
    """Return the parts of a plan, planned or applied, each bounded."""
    retired = {job for one in plan.dynamic for job in one.retires}

    def cells(job: PlannedJob) -> tuple[str, ...]:
        return (*plans.job_cells(job, job.id in retired), moved.mark(job.id) if moved else "")

    lines = list(islice(plans.tree_lines(plan.jobs, children, cells), MOST_LINES))
    shown = sum(line.number for line in lines if not line.again)
    return {
        "summary": plans.summary(plan),
        "cost": plans.cost(plan),
        "lines": [_line(line, retired, moved) for line in lines],
        "more_jobs": len(plan.jobs) - shown,
        "warnings": list(dict.fromkeys(plan.warnings))[:MOST_LINES],
        "kept": plans.kept_lines(plan.jobs)[:MOST_FILES],
        "modified": plans.change_lines(plan.jobs)[:MOST_FILES],
        "overwrites": plan.overwrites[:MOST_FILES],
        "more_overwrites": max(0, len(plan.overwrites) - MOST_FILES),
        "saves": plan.jobs.total(lambda job: bool(job.saves)) > 0,
    }


def _line(line: TreeLine, retired: set[int], moved: Moved | None) -> dict[str, Any]:
    first = line.jobs[0]
    before, after, start, why = line.cells(retired)
    several = line.number > 1
    return {
        "lead": line.lead,
        "name": line.name.removeprefix(line.lead),
        "ids": line.ids or attempts.id_ranges([job.id for job in line.jobs]),
        "job": None if several else first.id,
        "again": line.again,
        "before": before,
        "after": after,
        "start": start,
        "why": why,
        "mark": moved.mark(first.id) if moved and not line.again else "",
    }


def _removed(shown: ShownPlan, moved: Moved | None) -> list[tuple[int, str, str]]:
    """Return (id, name, why) of the jobs that are not in the plan any more."""
    why = {one.id: one.why for one in shown.refused}
    removed = islice((moved.removed if moved else {}).items(), MOST_MOVED)
    return [(job, name, why.get(job, "it is not selected any more, or waits")) for job, name in removed]


# --- what was done


def _applied(done: Applied) -> Values:
    again = 0
    if done.rerun is not None:
        again = done.rerun.plan.jobs.total(lambda job: not job.stays)
    return {
        "done": done,
        "again": words.plural(again, "job"),
        "waiting": sum(len(one.waits) for one in done.rerun.canaries) if done.rerun else 0,
        "reattached": reattach_lines(done.reattached) if done.reattached else [],
    }


def _undo(session: Session, number: int, principal: Principal) -> Values:
    try:
        with session.store.written_by(principal.name), reconcile.reconciled(session):
            done = engine.undo(session, number)
    except RekindleError as refusal:
        return {"number": number, "refusal": refusal, "text": ""}
    counts = Counter(state for _, _, state in done.jobs)
    text = f"{words.plural(len(done.jobs), 'job')} back: {words.state_counts(counts.items())}"
    if done.restored:
        text += f"; {words.plural(len(done.restored), 'file')} put back"
    return {"number": number, "refusal": None, "text": text}


def _newest(session: Session, query: Query) -> Values:
    """Return the newest rerun that can be undone, or the one that is named."""
    asked = query.get("rerun", "")
    number = int(asked) if asked.isdecimal() else engine.newest_manual(session)
    if number is None:
        return {"record": None}
    record = workflow_queries.rerun(session, number)
    names = ", ".join(job.name for job in record.plan.jobs[:_NAMED])
    return {
        "record": record,
        "asked": plans.request_text(record.request),
        "named": names,
        "unnamed": max(0, len(record.plan.jobs) - _NAMED),
        "refusal": engine.undo_refusal(session, number),
    }
