"""A new run of a workflow with other parameters: its form, its preview, and the submission of the workflow's file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.domain.definition import normalize_name
from rekindle.domain.errors import BadValue, Refused, RekindleError
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.submit import submit as engine
from rekindle.presentation import words
from rekindle.spec import load
from rekindle.web.console import Page
from rekindle.web.forms import fields_of, one_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rekindle.domain.definition import Definition
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session
    from rekindle.web.access import Principal
    from rekindle.web.console import Console, Query, Values

_PARAM = "param-"
_LONGEST_NAME = 200
_NAMED = 12

Fields = dict[str, list[str]]


def add(console: Console) -> None:
    """Add the form and what it does."""
    console.add_page(Page("/workflows/{id:int}/new", "new_run.html", _page))

    async def preview(request: Request, principal: Principal) -> Response:
        key, fields = str(request.path_params["id"]), await fields_of(request)
        return await console.show("new_run_preview.html", lambda session: _preview(session, key, fields), principal)

    async def submit(request: Request, principal: Principal) -> Response:
        key, fields = str(request.path_params["id"]), await fields_of(request)
        return await console.show(
            "new_run_preview.html", lambda session: _submit(session, key, fields, principal), principal
        )

    console.add_action("/workflows/{id:int}/new/preview", "submit", preview)
    console.add_action("/workflows/{id:int}/new", "submit", submit)


def _page(session: Session, query: Query) -> Values:
    workflow = selections.find_workflow(session, query["id"])
    params = workflow_queries.params(session, workflow)
    problem = None
    try:
        _source(workflow)
    except Refused as refusal:
        problem = refusal
    return {
        "title": f"New run of {workflow.name}",
        "workflow": workflow,
        "tab": "new",
        "problem": problem,
        "params": [(name, _typed(value), value) for name, value in params.items()],
    }


def _typed(value: Any) -> str:
    """Return a parameter as `--param` takes it."""
    return value if isinstance(value, str) and value.strip() == value else json.dumps(value, ensure_ascii=False)


_ANOTHER_WAY = (
    "what made it can make another: a Python program, or `ziggy console start PIPELINE NAME --param K=V` for one "
    "from Ziggy's XML files"
)


def _source(workflow: Workflow) -> Path:
    """Return the workflow's own file. Raise Refused if it is not there."""
    if workflow.source is None:
        raise Refused("it was not submitted from a spec file", hint=_ANOTHER_WAY)
    path = Path(workflow.source)
    if not path.is_file():
        raise Refused(f"its file is gone: {path}", hint="put it back, or submit another: rekindle submit SPEC")
    return path


def _definition(session: Session, key: str, fields: Fields) -> tuple[Definition, str | None]:
    """Return the definition of the workflow's file with the parameters of the form, and the name of the new run."""
    workflow = selections.find_workflow(session, key)
    known = {name: _typed(value) for name, value in workflow_queries.params(session, workflow).items()}
    given = {key.removeprefix(_PARAM): one_of(fields, key) for key in fields if key.startswith(_PARAM)}
    if unknown := given.keys() - known.keys():
        raise BadValue(f"the workflow has no parameter {min(unknown)!r}")
    name = one_of(fields, "name").strip()
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise BadValue(f"a name is one line of at most {_LONGEST_NAME} characters")
    definition = load(_source(workflow), params=known | given)
    return definition, normalize_name(name) if name else _own_name(workflow, definition)


def _own_name(workflow: Workflow, definition: Definition) -> str | None:
    return None if workflow.name == definition.name else workflow.name


def _preview(session: Session, key: str, fields: Fields) -> Values:
    definition, name = _definition(session, key, fields)
    found = engine.preview(session, definition, name=name, new=True)
    before = workflow_queries.params(session, selections.find_workflow(session, key))
    names = [job.name for job in definition.jobs[:_NAMED]]
    return {
        "done": None,
        "refusal": None,
        "found": found.submitted,
        "jobs": words.plural(found.submitted.jobs, "job"),
        "names": names,
        "more": len(definition.jobs) - len(names),
        "warnings": found.submitted.warnings,
        "params": [
            (one, _typed(before.get(one)), _typed(value))
            for one, value in definition.params.items()
            if value != before.get(one)
        ],
    }


def _submit(session: Session, key: str, fields: Fields, principal: Principal) -> Values:
    try:
        definition, name = _definition(session, key, fields)
        with session.store.written_by(principal.name):
            done = engine.submit(session, definition, name=name, new=True)
    except RekindleError as refusal:
        return {"done": None, "found": None, "refusal": refusal}
    return {"done": done, "found": done, "refusal": None, "jobs": words.plural(done.jobs, "job")}
