"""`rekindle workflows`: list, show, diff, archive, delete."""

from __future__ import annotations

import sys

import click

from rekindle.cli.lazy import Entry, LazyGroup
from rekindle.cli.opening import opened
from rekindle.cli.options import json_option
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import drawing, shapes
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.lists import emit_rows, page_options, print_table, tell_page
from rekindle.domain.definition import JobTemplate, Step
from rekindle.domain.errors import Refused
from rekindle.engine.looking import look
from rekindle.engine.looking.lists import Page
from rekindle.engine.results import WorkflowStatus

_HERE = "rekindle.cli.commands.workflows"

COMMANDS = {
    "list": Entry(f"{_HERE}:list_workflows", "List the workflows of the store."),
    "show": Entry(f"{_HERE}:show", "Show one workflow: where it comes from, its templates, how it stands."),
    "diff": Entry(
        "rekindle.cli.commands.workflowsdiff:diff", "Show what differs between two revisions, or from a spec file."
    ),
    "archive": Entry(f"{_HERE}:archive", "Set a workflow aside: it is neither run nor listed."),
    "delete": Entry(f"{_HERE}:delete", "Remove a workflow with all its history."),
}


@click.group("workflows", cls=LazyGroup, entries=COMMANDS)
def workflows() -> None:
    """List, show, compare, archive and delete workflows.

    \b
    Example:
      rekindle workflows list
      rekindle workflows diff sweep
    """


@click.command("list")
@click.option("--archived", is_flag=True, help="Archived ones too.")
@page_options
@json_option
def list_workflows(archived: bool, page: Page, as_json: bool) -> None:
    """List the workflows of the store.

    \b
    Example:
      rekindle workflows list --archived
    """
    with opened() as session:
        found = look.workflows(session, archived)
    if as_json:
        emit_rows("workflows", map(shapes.workflow, page.of(found)))
        return
    if not found:
        click.echo("no workflows: `rekindle submit SPEC` stores one")
        return
    columns = [
        Column("ID", right=True),
        Column("NAME", cut="middle", keep=True),
        Column("PROJECT", cut="end", drop=True),
        Column("REV", right=True),
        Column("JOBS", right=True),
        Column("SUBMITTED"),
        Column("FROM", cut="end"),
        Column("", drop=True),
    ]
    rows = (
        (
            str(one.id),
            one.name,
            one.project or "",
            str(one.revision),
            f"{sum(one.counts.values()):,}",
            drawing.when(one.submitted),
            one.source or "(Python)",
            "archived" if one.archived is not None else "",
        )
        for one in page.of(found)
    )
    tell_page(page, print_table(columns, rows), len(found), "workflow")


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@json_option
def show(workflow: str, as_json: bool) -> None:
    """Show one workflow: where it comes from, its templates, how it stands.

    \b
    Example:
      rekindle workflows show sweep
    """
    with opened() as session:
        status = look.status(session, workflow)[0]
        templates = look.templates(session, status.workflow.id)
        revisions = look.history(session, status.workflow.id)
    if as_json:
        document = shapes.workflow_status(status)
        document["templates"] = [shapes.template(template) for template in templates]
        document["revisions"] = [
            {"revision": one.number, "submitted": shapes.iso(one.submitted), "rerun": one.rerun} for one in revisions
        ]
        shapes.emit(document)
        return
    _draw(status, templates)
    if len(revisions) > 1:
        columns = [Column("REVISION", right=True), Column("SUBMITTED"), Column("RERUN", right=True)]
        rows = [(str(one.number), drawing.when(one.submitted), str(one.rerun or "")) for one in revisions]
        click.echo(f"\n{drawing.table(columns, rows)}")


_SPEC = {
    "same": "as in the file",
    "changed": "the file differs",
    "invalid": "the file differs, and has mistakes in it",
    "gone": "the file is gone",
    "unreadable": "the file cannot be read",
}


def _draw(status: WorkflowStatus, templates: list[JobTemplate]) -> None:
    one = status.workflow
    spec = _SPEC.get(status.spec, "")
    click.echo(
        drawing.details(
            [
                ("workflow", f"{one.id} {one.name}"),
                ("project", one.project or ""),
                ("state", status.state),
                ("jobs", drawing.counted(status.counts.items())),
                ("spec", one.source or "(made by the Python API)"),
                ("revision", f"{one.revision}" + (f", {spec}" if spec else "")),
                ("folder", one.directory),
                ("submitted", drawing.clock_time(one.submitted)),
                ("archived", drawing.clock_time(one.archived)),
                ("time", drawing.lasting(status.seconds)),
            ]
        )
    )
    click.echo("")
    columns = [Column("TEMPLATE", cut="end"), Column("STEP"), Column("DOES", cut="end")]
    rows = [
        (template.name if at == 0 else "", step.name, _does(step))
        for template in templates
        for at, step in enumerate(template.steps)
    ]
    click.echo(drawing.table(columns, rows))


def _does(step: Step) -> str:
    if step.call:
        return f"call {step.call}"
    return step.run if isinstance(step.run, str) else " ".join(step.run or ())


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@click.option("--undo", is_flag=True, help="Bring it back.")
@json_option
def archive(workflow: str, undo: bool, as_json: bool) -> None:
    """Set a workflow aside: it is neither run nor listed. Nothing is lost; --undo brings it back.

    \b
    Example:
      rekindle workflows archive sweep
    """
    from rekindle.engine.submitting.submit import archive_workflow

    with reconciled() as session:
        known = look.find_workflow(session, workflow)
        archive_workflow(session, known.id, undo)
    if as_json:
        shapes.emit({"workflow": known.id, "name": known.name, "archived": not undo})
        return
    click.echo(f"{known.name} (workflow {known.id}) is {'back' if undo else 'archived'}")


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@click.option("--files", is_flag=True, help="Remove its attempts' folders and logs too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(workflow: str, files: bool, yes: bool, as_json: bool) -> None:
    """Remove a workflow with all its history. This cannot be undone.

    \b
    Example:
      rekindle workflows delete sweep --files
    """
    from rekindle.engine.submitting.submit import delete_workflow

    with reconciled() as session:
        known = look.find_workflow(session, workflow)
        if not yes:
            if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise Refused(f"deleting {known.name} cannot be undone", hint="add --yes to do it")
            click.confirm(f"Delete {known.name} (workflow {known.id}) and its history?", abort=True, err=True)
        delete_workflow(session, known.id, files=files)
    if as_json:
        shapes.emit({"workflow": known.id, "name": known.name, "deleted": True})
        return
    click.echo(f"{known.name} (workflow {known.id}) is deleted")
