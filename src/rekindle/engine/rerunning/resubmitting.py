"""A new revision and a rerun of its jobs, in one transaction: seen first, then done as it was seen, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from rekindle.domain.changes.revisions import RevisionDiff, compare
from rekindle.domain.definition import Definition
from rekindle.domain.errors import NotFound, PlanOutdated, PlanRefused, SubmitRefused
from rekindle.domain.models import Workflow
from rekindle.domain.rerunning.plan_form import seal
from rekindle.domain.rerunning.rerun import Expected, How, RerunPlan
from rekindle.domain.rerunning.scope import Why
from rekindle.domain.selection import Selection
from rekindle.engine.changes.measuring import Measured, gather
from rekindle.engine.changes.reading import Tell
from rekindle.engine.changes.staleness import Changed, changed_among, judged
from rekindle.engine.looking.look import selected
from rekindle.engine.planning.prospects import Prospect, Requests, decide, survey
from rekindle.engine.rerunning.rerun import apply as apply_plan
from rekindle.engine.rerunning.saving import Tell as Saving
from rekindle.engine.results import Applied, Foreseen, Preview, Proposal, Submitted
from rekindle.engine.session import Session, tentative
from rekindle.engine.submitting.revising import outline_of, resubmit, takes_over, with_stored_names
from rekindle.engine.submitting.submit import identified
from rekindle.store.port import Archive

T = TypeVar("T")

Pick = Callable[[Archive], Sequence[tuple[Sequence[int], How]]]
"""The jobs that are meant and how they run again, by the archive with the new revision in it."""


def meant(session: Session, definition: Definition, workflow: str | None, *, revise: bool = False) -> Definition:
    """The definition under the name of the workflow that it is a new revision of: its own, or that of `workflow` (id
    or name), which was submitted from the same file, or which it shall `revise`. NotFound when there is none,
    SubmitRefused when that is another."""
    definition = identified(definition)
    with session.store.read() as archive:
        if workflow is None:
            _workflow(archive, definition)
            return definition
        found = archive.workflows.find(int(workflow) if workflow.isdigit() else workflow)
        same = found is not None and found.source is not None and found.source == definition.source
        if found is not None and (same or revise):
            definition = identified(definition, found.name)
        known = _workflow(archive, definition)
    if found is None or found.id != known.id:
        raise SubmitRefused(
            f"the spec is of {known.name} (workflow {known.id}), and -w names {workflow!r}",
            hint="leave out -w: the jobs of the spec's workflow are meant",
        )
    return definition


def picked(definition: Definition, selection: Selection, how: How) -> Pick:
    """The jobs that a selection means in the workflow that `definition` is a revision of."""

    def pick(archive: Archive) -> Sequence[tuple[Sequence[int], How]]:
        within = replace(selection, workflow=str(_workflow(archive, definition).id))
        return [(selected(archive, within), how)]

    return pick


def these(jobs: Sequence[int], how: How) -> Pick:
    """These jobs, whatever else there is."""
    return lambda _: [(jobs, how)]


def changed_by(
    session: Session, definition: Definition, selection: Selection, tell: Tell | None = None, *, revise: bool = False
) -> Changed:
    """What of a selection would be stale once `definition` is the next revision of its workflow. Files are read outside
    the transaction, and `tell` is called meanwhile."""

    def look(archive: Archive) -> Measured:
        workflow = str(_workflow(archive, definition).id)
        ids = selected(archive, replace(selection, changed=False, workflow=workflow))
        return gather(archive, archive.measures.ended(ids), os.environ)

    _, measured = foresee(session, definition, look, revise=revise)
    return changed_among(judged(session, measured, tell, strict=selection.changed == "all"))


def foresee(
    session: Session,
    definition: Definition,
    look: Callable[[Archive], T],
    revision_of: int | None = None,
    *,
    revise: bool = False,
) -> tuple[Preview, T]:
    """What submitting `definition` as the next revision of its workflow would do, and what `look` sees in an archive
    in which that is done. Nothing is kept. SubmitRefused, NotFound."""
    revise = revise or revision_of is not None or takes_over(session, definition)
    with tentative(session) as archive:
        known = _workflow(archive, definition, revision_of)
        before = archive.workflows.outline(known.id, known.revision)
        submitted = resubmit(archive, known, definition, session.clock(), revise=revise)
        seen = look(archive)
        after = before if submitted.unchanged else outline_of(with_stored_names(archive, known, definition))
    diff = RevisionDiff() if submitted.unchanged else compare(before, after)
    return Preview(submitted, diff), seen


def propose(
    session: Session,
    definition: Definition,
    pick: Pick,
    request: Mapping[str, Any],
    note: str | None = None,
    *,
    why: Why | None = None,
    slots: int | None = None,
    canary: int | None = None,
    revision_of: int | None = None,
    revise: bool = False,
) -> Proposal | Preview:
    """What submitting `definition` as the next revision of its workflow, and then rerunning what `pick` says, would
    do; nothing is changed. A Preview of the submission alone when no job is meant. PlanRefused when none of the jobs
    can be rerun, and SubmitRefused: in both cases neither of the two is done. With `revision_of` it is a revision of
    that workflow, where several share a name."""

    def look(archive: Archive) -> tuple[Requests, Prospect]:
        requests = pick(archive)
        return requests, survey(archive, requests, slots, canary)

    definition = identified(definition)
    revise = revise or revision_of is not None or takes_over(session, definition)
    preview, (requests, prospect) = foresee(session, definition, look, revision_of, revise=revise)
    if not any(jobs for jobs, _ in requests):
        return preview
    try:
        proposal = decide(prospect, requests, request, note, why)
    except PlanRefused as refusal:
        hint = "nothing is submitted either: `rekindle submit` does that alone"
        raise PlanRefused(refusal.message, hint=hint, refused=refusal.refused) from None
    return replace(proposal, foreseen=Foreseen(definition, preview, pick, why or {}, canary, revision_of, revise))


def apply(session: Session, proposal: Proposal, tell: Saving | None = None) -> Applied:
    """Do what was proposed, the submission too where it rests on one. PlanOutdated, and nothing is done, when that
    would not come out as it was seen."""
    foreseen = proposal.foreseen
    if foreseen is None:
        return apply_plan(session, proposal, tell)
    done: list[Submitted] = []

    def first(archive: Archive) -> None:
        known = _workflow(archive, foreseen.definition, foreseen.revision_of)
        done.append(resubmit(archive, known, foreseen.definition, session.clock(), revise=foreseen.revise))
        _refuse_otherwise(archive, proposal, foreseen, done[0])

    applied = apply_plan(session, proposal, tell, first)
    return replace(applied, submitted=done[0])


def _refuse_otherwise(archive: Archive, proposal: Proposal, foreseen: Foreseen, done: Submitted) -> None:
    """PlanOutdated unless the revision and the plan are those that were seen."""
    seen, requests = foreseen.preview.submitted, foreseen.pick(archive)
    same = done.revision == seen.revision and _essence(done.plan) == _essence(seen.plan)
    if same and any(jobs for jobs, _ in requests):
        now = decide(
            survey(archive, requests, None, foreseen.canary), requests, proposal.request, proposal.note, foreseen.why
        )
        same = _essence(now.plan) == _essence(proposal.plan) and now.canaries == proposal.canaries
    if not same:
        raise PlanOutdated(
            "jobs have moved since the plan was made: submitting and rerunning would do something else now",
            hint="nothing is changed; plan the rerun again",
        )


def _essence(plan: RerunPlan | None) -> str:
    """The digest of a plan without its cost, which may be told otherwise a moment later."""
    return "" if plan is None else seal(replace(plan, expected=Expected())).digest


def _workflow(archive: Archive, definition: Definition, revision_of: int | None = None) -> Workflow:
    known = archive.workflows.find(revision_of or definition.name)
    if known is None:
        raise NotFound(
            f"this store has no workflow {definition.name!r} of which the spec could be a revision",
            hint="`rekindle run SPEC` submits it; -w NAME names one that was submitted --as NAME, -w NAME --revise any",
        )
    return known
