"""`rekindle submit`: store a spec as a workflow, or preview that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import dry_run_option, json_option, pairs, spec_options
from rekindle.cli.output import json_output, revisions, terminal, waits
from rekindle.cli.sessions import reconciled
from rekindle.domain.errors import UsageError
from rekindle.engine.queries.waits import unfit_in_workflow

if TYPE_CHECKING:
    from rekindle.domain.definition import Definition
    from rekindle.engine.results import SubmitResult
    from rekindle.engine.session import Session


@click.command()
@spec_options
@dry_run_option
@click.option("-v", "--verbose", is_flag=True, help="With --dry-run: name every job.")
@json_option
def submit(
    spec: str,
    param: tuple[str, ...],
    name: str | None,
    new: bool,
    revise: bool,
    dry_run: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Store SPEC as a workflow, and run nothing. Prints the workflow's id.

    A changed spec of a stored workflow becomes its next revision. A spec from another file with the same workflow name
    is refused, unless --revise makes it the next revision or --as gives it another name.

    \b
    Example:
      rekindle submit sweep.yaml --param alpha=0.2
      rekindle submit sweep.yaml --dry-run
      rekindle submit sweep-v2.yaml --revise
      rekindle work
    """
    if dry_run:
        show_preview(spec, param, name, new, revise, verbose=verbose, as_json=as_json)
        return
    with reconciled(create=True) as session:
        done = submitted(session, spec, param, name, new, revise)
        unfit = unfit_in_workflow(session, done.workflow)
    if as_json:
        json_output.emit({**json_output.submitted(done), "unfit": [json_output.unfit(one) for one in unfit]})
        return
    click.echo(done.workflow)
    print_submitted(done)
    for line in waits.unfit_lines(unfit):
        click.echo(line, err=True)


def submitted(
    session: Session, spec: str, param: tuple[str, ...], name: str | None, new: bool, revise: bool = False
) -> SubmitResult:
    """Load a spec file and submit it."""
    from rekindle.engine.submit import submit as engine

    definition = loaded(spec, param, new, revise)
    return engine.submit(session, definition, name=name, new=new, revise=revise)


def loaded(spec: str, param: tuple[str, ...], new: bool, revise: bool) -> Definition:
    """Load a spec file. Raise UsageError for options that exclude each other."""
    from rekindle.spec import load

    if new and revise:
        raise UsageError(
            "--new makes another workflow, --revise the next revision of one", hint="leave one of them out"
        )
    return load(Path(spec), params=pairs("--param", param))


def show_preview(
    spec: str,
    param: tuple[str, ...],
    name: str | None,
    new: bool,
    revise: bool = False,
    *,
    verbose: bool,
    as_json: bool,
) -> None:
    """Print what submitting a spec file would do; nothing is changed."""
    from rekindle.engine.submit import submit as engine

    definition = loaded(spec, param, new, revise)
    with reconciled(create=True) as session:
        found = engine.preview(session, definition, name=name, new=new, revise=revise)
    if as_json:
        json_output.emit(revisions.preview_json(found))
        return
    revisions.draw_preview(found, verbose=verbose)
    click.echo("a dry run: nothing is changed")


def print_submitted(done: SubmitResult) -> None:
    """Print on stderr what a submission did."""
    jobs = terminal.plural(done.jobs, "job")
    if done.created:
        click.echo(f"{done.name}: workflow {done.workflow}, {jobs}", err=True)
    elif done.unchanged:
        click.echo(f"{done.name}: workflow {done.workflow}, unchanged since revision {done.revision}, {jobs}", err=True)
    else:
        counts = [("added", done.added), ("retired", done.retired), ("changed", done.changed)]
        parts = [f"{len(names):,} {what}" for what, names in counts if names] + revisions.rewired_counts(done.plan)
        if parts or not done.params:
            parts = [*(parts or ["no job changed"]), jobs]
        text = "; ".join([", ".join(parts)] * bool(parts) + revisions.changed_parameters(done))
        click.echo(f"{done.name}: workflow {done.workflow}, revision {done.revision}: {text}", err=True)
    revisions.print_warnings(done)
