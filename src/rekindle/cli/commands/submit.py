"""`rekindle submit`: store a spec as a workflow, or preview that."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import dry_run_option, json_option, spec_options
from rekindle.cli.output import json_output
from rekindle.cli.output.busy import busy, reading_text, storing_progress
from rekindle.cli.output.revisions import draw_preview, print_warnings
from rekindle.cli.sessions import opened_for
from rekindle.domain.errors import UsageError
from rekindle.domain.overrides import pairs
from rekindle.engine.queries.waits import unfit_in_workflow
from rekindle.presentation import documents, revisions, waits, words

if TYPE_CHECKING:
    from rekindle.domain.definition import Definition
    from rekindle.domain.errors import SpecProblem
    from rekindle.engine.results import SubmitResult
    from rekindle.engine.session import Session

_MOST_WARNINGS = 5


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
    definition = loaded(spec, param, new, revise, quiet=as_json)
    with opened_for(spec, dry_run=dry_run) as session:
        if dry_run:
            show_preview(session, definition, name, new, revise, verbose=verbose, as_json=as_json)
            return
        done = stored(session, definition, name=name, new=new, revise=revise, quiet=as_json)
        unfit = unfit_in_workflow(session, done.workflow)
    if as_json:
        json_output.emit({**documents.submitted(done), "unfit": [documents.unfit(one) for one in unfit]})
        return
    if not sys.stdout.isatty():  # for a script; the next line says it to a person
        click.echo(done.workflow)
    print_submitted(done)
    for line in waits.unfit_lines(unfit):
        click.echo(line, err=True)


def stored(
    session: Session, definition: Definition, *, name: str | None, new: bool, revise: bool, quiet: bool
) -> SubmitResult:
    """Submit a definition, with progress on a terminal."""
    from rekindle.engine.submit import submit as engine

    jobs = len(definition.jobs)
    with busy(f"{words.plural(jobs, 'job')}; storing …", quiet=quiet) as show:
        progress = storing_progress(jobs, show)
        return engine.submit(session, definition, name=name, new=new, revise=revise, progress=progress)


def loaded(spec: str, param: tuple[str, ...], new: bool, revise: bool, *, quiet: bool) -> Definition:
    """Load a spec file, with a message on a terminal while this takes long. Raise UsageError for options that exclude
    each other."""
    from rekindle.spec import load

    if new and revise:
        raise UsageError(
            "--new makes another workflow, --revise the next revision of one", hint="leave one of them out"
        )
    warnings: list[SpecProblem] = []
    with busy(reading_text(spec), quiet=quiet):
        definition = load(Path(spec), params=pairs("--param", param), warn=warnings.append)
    for one in warnings[:_MOST_WARNINGS]:
        click.echo(f"warning: {words.one_line(one.render(spec))}", err=True)
    if len(warnings) > _MOST_WARNINGS:
        more = len(warnings) - _MOST_WARNINGS
        click.echo(f"warning: {more:,} more such numbers: rekindle spec check {shlex.quote(spec)}", err=True)
    return definition


def show_preview(
    session: Session,
    definition: Definition,
    name: str | None,
    new: bool,
    revise: bool = False,
    *,
    verbose: bool,
    as_json: bool,
) -> None:
    """Print what submitting a definition would do; nothing is changed."""
    from rekindle.engine.submit import submit as engine

    found = engine.preview(session, definition, name=name, new=new, revise=revise)
    if as_json:
        json_output.emit(revisions.preview_json(found))
        return
    draw_preview(found, verbose=verbose)
    click.echo("a dry run: nothing is changed")


def print_submitted(done: SubmitResult) -> None:
    """Print on stderr what a submission did."""
    jobs = words.plural(done.jobs, "job")
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
    print_warnings(done)
