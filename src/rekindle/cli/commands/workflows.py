"""`rekindle workflows`: list, show, diff, compare, archive and delete."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import JsonForm, json_option, json_rows_options
from rekindle.cli.output import json_output, terminal
from rekindle.cli.output.pages import page_options, print_page_note, print_table
from rekindle.cli.output.revisions import draw_diff
from rekindle.cli.output.run_comparisons import draw_comparison
from rekindle.cli.output.terminal import Column
from rekindle.cli.sessions import opened, reconciled
from rekindle.domain.errors import Refused
from rekindle.domain.overrides import pairs
from rekindle.domain.texts.function_source import shown_call
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.queries.run_comparison import compare_runs
from rekindle.engine.submit.workflow_diff import diff_workflow
from rekindle.presentation import answers, words
from rekindle.presentation.job_documents import run_comparison

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate, Step
    from rekindle.engine.results import PageRequest, WorkflowStatus

_HERE = "rekindle.cli.commands.workflows"

COMMANDS = {
    "list": Entry(f"{_HERE}:list_workflows", "List the workflows of the store."),
    "show": Entry(f"{_HERE}:show", "Show one workflow: its source, templates and state."),
    "diff": Entry(
        "rekindle.cli.commands.workflows:diff", "Show what differs between two revisions, or from a spec file."
    ),
    "compare": Entry(f"{_HERE}:compare", "Show where two workflows part, and why."),
    "archive": Entry(f"{_HERE}:archive", "Archive a workflow: it is neither run nor listed."),
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
@click.option("--archived", is_flag=True, help="Include archived workflows.")
@page_options
@json_rows_options
def list_workflows(archived: bool, page: PageRequest, as_json: JsonForm | None) -> None:
    """List the workflows of the store.

    \b
    Example:
      rekindle workflows list --archived
    """
    with opened() as session:
        if as_json:
            json_output.emit_list(answers.workflows_list(session, page, archived=archived), as_json)
            return
        found = workflow_queries.workflows(session, archived)
    if not found:
        click.echo("no workflows: `rekindle submit SPEC` stores one")
        return
    columns = [
        Column("ID", right=True),
        Column("NAME", cut="middle", keep=True),
        Column("PROJECT", cut="end", drop=True),
        Column("REV", right=True),
        Column("JOBS", right=True),
        Column("SUBMITTED", optional=True),
        Column("FROM", cut="middle"),
        Column("", drop=True),
    ]
    rows = (
        (
            str(one.id),
            one.name,
            one.project or "",
            str(one.revision),
            f"{sum(one.counts.values()):,}",
            words.short_time(one.submitted),
            one.source or "(Python)",
            "archived" if one.archived is not None else "",
        )
        for one in page.of(found)
    )
    print_page_note(page, print_table(columns, rows), len(found), "workflow")


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@json_option
def show(workflow: str, as_json: bool) -> None:
    """Show one workflow: its source, templates and state.

    \b
    Example:
      rekindle workflows show sweep
    """
    with opened() as session:
        if as_json:
            json_output.emit(answers.workflows_show(session, workflow))
            return
        status = workflow_queries.status(session, workflow)[0]
        templates = workflow_queries.templates(session, status.workflow.id)
        revisions = workflow_queries.revision_history(session, status.workflow.id)
    _draw(status, templates)
    if len(revisions) > 1:
        columns = [Column("REVISION", right=True), Column("SUBMITTED"), Column("RERUN", right=True)]
        rows = [(str(one.number), words.short_time(one.submitted), str(one.rerun or "")) for one in revisions]
        click.echo(f"\n{terminal.table(columns, rows)}")


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
        terminal.details(
            [
                ("workflow", f"{one.id} {one.name}"),
                ("project", one.project or ""),
                ("state", status.state),
                ("jobs", words.state_counts(status.counts.items(), terminal.coloured)),
                ("spec", one.source or "(made by the Python API)"),
                ("revision", f"{one.revision}" + (f", {spec}" if spec else "")),
                ("folder", one.directory),
                ("submitted", words.full_time(one.submitted)),
                ("archived", words.full_time(one.archived)),
                ("time", words.duration(status.seconds)),
            ]
        )
    )
    click.echo("")
    columns = [Column("TEMPLATE", cut="middle", keep=True), Column("STEP", cut="middle"), Column("DOES", cut="end")]
    rows = [
        (template.name if at == 0 else "", step.name, _does(step))
        for template in templates
        for at, step in enumerate(template.steps)
    ]
    click.echo(terminal.table(columns, rows))


def _does(step: Step) -> str:
    if step.call:
        return f"call {shown_call(step.call)}"
    return step.run if isinstance(step.run, str) else " ".join(step.run or ())


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@click.option("--undo", is_flag=True, help="Restore an archived workflow.")
@json_option
def archive(workflow: str, undo: bool, as_json: bool) -> None:
    """Archive a workflow: it is neither run nor listed. Nothing is deleted; --undo restores the workflow.

    \b
    Example:
      rekindle workflows archive sweep
    """
    from rekindle.engine.submit.submit import archive_workflow

    with reconciled() as session:
        known = selections.find_workflow(session, workflow)
        archive_workflow(session, known.id, undo)
    if as_json:
        json_output.emit({"workflow": known.id, "name": known.name, "archived": not undo})
        return
    click.echo(f"{known.name} (workflow {known.id}) is {'back' if undo else 'archived'}")


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@click.option("--files", is_flag=True, help="Remove its attempts' folders and logs, too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(workflow: str, files: bool, yes: bool, as_json: bool) -> None:
    """Remove a workflow with all its history. This cannot be undone.

    \b
    Example:
      rekindle workflows delete sweep --files
    """
    from rekindle.engine.submit.submit import delete_workflow

    with reconciled() as session:
        known = selections.find_workflow(session, workflow)
        if not yes:
            if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise Refused(f"deleting {known.name} cannot be undone", hint="add --yes to do it")
            click.confirm(f"Delete {known.name} (workflow {known.id}) and its history?", abort=True, err=True)
        delete_workflow(session, known.id, files=files)
    if as_json:
        json_output.emit({"workflow": known.id, "name": known.name, "deleted": True})
        return
    click.echo(f"{known.name} (workflow {known.id}) is deleted")


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@click.argument("revisions", nargs=-1, type=click.IntRange(min=1), metavar="[REV [REV]]")
@click.option("--spec", type=click.Path(path_type=Path), metavar="FILE", help="Compare with this spec file.")
@click.option("--param", multiple=True, metavar="K=V", help="Set a parameter of the file; repeat for more.")
@click.option("-v", "--verbose", is_flag=True, help="Name every job.")
@json_option
def diff(
    workflow: str,
    revisions: tuple[int, ...],
    spec: Path | None,
    param: tuple[str, ...],
    verbose: bool,
    as_json: bool,
) -> None:
    """Show what differs between two revisions, or from a spec file. Nothing is stored.

    One REV is compared with the latest. Without REV, the diff is what submitting the workflow's spec file would change,
    or, if the file is unchanged, what the latest revision changed.

    \b
    Example:
      rekindle workflows diff sweep
      rekindle workflows diff sweep 2 4
      rekindle workflows diff sweep 2 --spec other.yaml --param alpha=0.2
    """
    with opened() as session:
        params = pairs("--param", param)
        if as_json:
            json_output.emit(answers.workflows_diff(session, workflow, revisions, spec, params))
            return
        found = diff_workflow(session, workflow, revisions, spec, params)
    name = words.one_line(found.workflow.name)
    if found.differences is None:
        where = "the spec file is as stored in" if found.workflow.source else "made by the Python API,"
        click.echo(f"{name}: {where} revision {found.workflow.revision}, the only one")
        return
    other = words.one_line(str(found.spec)) if found.spec else f"revision {found.b}"
    click.echo(f"{name}: revision {found.a} -> {other}")
    draw_diff(found.differences, verbose=verbose)


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("-v", "--verbose", is_flag=True, help="Name every job that differs, also below the first ones.")
@json_option
def compare(a: str, b: str, verbose: bool, as_json: bool) -> None:
    """Show where two workflows part, and why.

    The jobs of A and B are matched by name. The last attempts of each pair are compared: definition, parameters,
    inputs, code, environment and results. First come the jobs that differ although all that they got from other jobs
    is the same; the jobs below them are counted.

    \b
    Example:
      rekindle workflows compare sweep sweep-2
      rekindle workflows compare 3 7 --json
    """
    with opened() as session:
        found = compare_runs(session, a, b)
    if as_json:
        json_output.emit(run_comparison(found))
    else:
        draw_comparison(found, verbose=verbose)
