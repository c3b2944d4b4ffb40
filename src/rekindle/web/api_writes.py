"""Operations of the API that plan and change. A plan is applied by its digest: what has moved meanwhile is refused, and
the new plan is returned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace
from starlette.responses import Response

from rekindle.domain.errors import PlanOutdated, PlanRefused, UsageError
from rekindle.domain.rerun.request import how_to_json, parse_how
from rekindle.engine.queries.selections import select_stale
from rekindle.engine.rerun import control, rerun
from rekindle.engine.rerun.accept import accept
from rekindle.engine.rerun.complete import CompleteOptions, complete
from rekindle.engine.running import reconcile
from rekindle.engine.submit.submit import submit
from rekindle.journal.encoding import to_json
from rekindle.presentation import batch_documents, documents
from rekindle.query.selections import parse_selection
from rekindle.spec.loading import SpecSource, assemble
from rekindle.spec.nodes import Problems, SourcePlace, from_python
from rekindle.web import api_answers, api_bodies
from rekindle.web.api_bodies import required
from rekindle.web.api_operations import Operation
from rekindle.web.api_reads import reading_limit

if TYPE_CHECKING:
    from rekindle.engine.queries.selections import Chosen
    from rekindle.engine.results import PlannedRerun
    from rekindle.engine.session import Session
    from rekindle.web.api_operations import Call


def _planned(session: Session, call: Call) -> PlannedRerun:
    """Plan the rerun of a request, as the command line does."""
    body: api_bodies.PlanBody = call.body
    if body.how.set or body.how.env:
        call.require("submit", "`set` or `env`")
    flags = required(body.selection, "rerun")
    selection, how = parse_selection(flags), parse_how(body.how)
    chosen: Chosen = selection
    if selection.changed:
        chosen = select_stale(session, selection, reading_limit())
        how = replace(how, keep_modified=True)  # a modified parameter does not make a job stale, so keep it
    requested = how_to_json(how) | ({} if body.canary is None else {"canary": body.canary})
    request = {"selection": flags.typed(), "how": requested}
    return rerun.plan(session, [(chosen, how)], request, body.note, canary=body.canary)


def _plan(session: Session, call: Call) -> dict[str, Any]:
    try:
        return batch_documents.planned_rerun(_planned(session, call))
    except PlanRefused as refusal:
        return documents.nothing_planned(refusal.refused)


def _apply(session: Session, call: Call) -> dict[str, Any] | Response:
    planned = _planned(session, call)
    if planned.plan.digest != call.body.digest:
        return _outdated(planned, "this is not the plan that the digest names")
    try:
        applied = rerun.apply(session, planned)
    except PlanOutdated as error:
        return _outdated(_planned(session, call), error.message)
    return batch_documents.planned_rerun(planned, applied)


def _outdated(planned: PlannedRerun, why: str) -> Response:
    """Return the present plan: nothing is applied."""
    document = {
        "error": f"nothing is changed: {why}",
        "hint": "look at the new plan, and apply it by its digest",
        "plan": batch_documents.planned_rerun(planned),
    }
    return Response(to_json(document), 409, media_type="application/json")


def _undo(session: Session, call: Call) -> dict[str, Any]:
    return documents.undone_rerun(rerun.undo(session, call.id("rerun")))


def _hold(session: Session, call: Call) -> dict[str, Any]:
    selection = parse_selection(required(call.body.selection, "hold"))
    done = control.hold(session, selection, call.body.note or "held")
    return {"held": done.changed, "already": done.already}


def _release(session: Session, call: Call) -> dict[str, Any]:
    selection = parse_selection(required(call.body.selection, "release"))
    done = control.release(session, selection, call.body.note)
    return {"released": done.changed, "already": done.already}


def _cancel(session: Session, call: Call) -> dict[str, Any]:
    selection = parse_selection(required(call.body.selection, "cancel"))
    return batch_documents.canceled(reconcile.cancel(session, selection, call.body.note))


def _accept(session: Session, call: Call) -> dict[str, Any]:
    flags = required(call.body.selection, "accept")
    done = accept(session, parse_selection(flags), {"selection": flags.typed()}, call.body.note, reading_limit())
    return documents.plan(done.plan, done.rerun) | {"current": done.current}


def _complete(session: Session, call: Call) -> dict[str, Any]:
    body: api_bodies.CompleteBody = call.body
    flags = required(body.selection, "complete")
    result = None if body.result is msgspec.UNSET else to_json(body.result).decode()
    options = CompleteOptions(result=result, note=body.note, dry_run=body.dry_run)
    done = complete(session, parse_selection(flags), {"selection": flags.typed()}, options, reading_limit())
    return batch_documents.completed(done)


def _submit(session: Session, call: Call) -> dict[str, Any]:
    """Store a spec. Its folder is the one that holds the store: no request names another."""
    body: api_bodies.SubmitBody = call.body
    if body.new and body.revise:
        raise UsageError(
            "`new` makes another workflow, `revise` the next revision of one", hint="leave one of them out"
        )
    problems = Problems("the spec")
    source = SpecSource(str(Path(session.store.folder).parent))
    definition = assemble(from_python(body.spec, SourcePlace(), problems), body.params, source, problems)
    return documents.submitted(submit(session, definition, name=body.name, new=body.new, revise=body.revise))


def _post(
    path: str, name: str, act: Any, about: str, answer: type[Any], body: type[Any] | None, scope: str = "rerun"
) -> Operation:
    return Operation(method="POST", path=path, name=name, scope=scope, about=about, act=act, body=body, answer=answer)


_A, _B = api_answers, api_bodies

OPERATIONS = (
    _post("/plans", "planRerun", _plan, "Plan a rerun. Nothing is changed.", _A.Plan, _B.PlanBody),
    _post("/reruns", "applyRerun", _apply, "Apply a plan by its digest, or nothing.", _A.Plan, _B.RerunBody),
    _post("/reruns/{rerun}/undo", "undoRerun", _undo, "Undo a rerun, unless a job of it has started.", _A.Undone, None),
    _post("/hold", "hold", _hold, "Keep jobs from starting. Running jobs go on.", _A.Held, _B.ControlBody),
    _post("/release", "release", _release, "Let held jobs start again.", _A.Released, _B.ControlBody),
    _post(
        "/cancel", "cancel", _cancel, "End running jobs, and keep others from starting.", _A.Canceled, _B.ControlBody
    ),
    _post(
        "/accept",
        "accept",
        _accept,
        "Accept the changes of stale jobs, so that they are not stale.",
        _A.Accepted,
        _B.ControlBody,
    ),
    _post(
        "/complete",
        "complete",
        _complete,
        "Record jobs as completed, with the files as they are. The jobs that need them go on.",
        _A.Completed,
        _B.CompleteBody,
    ),
    _post(
        "/submit",
        "submit",
        _submit,
        "Store a spec as a workflow, or as its next revision.",
        _A.Submitted,
        _B.SubmitBody,
        "submit",
    ),
)
"""What a token with the scope rerun, or submit, may do."""
