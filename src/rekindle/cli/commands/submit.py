"""`rekindle submit`."""

from __future__ import annotations

from pathlib import Path

import click

from rekindle.cli.options import dry_run_option, json_option, pairs, spec_options
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import drawing, revisionshapes, revisionshow, shapes, waiting
from rekindle.domain.definition import Definition
from rekindle.domain.errors import UsageError
from rekindle.engine.looking.waits import unfit_of
from rekindle.engine.results import Submitted
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

    A spec whose workflow is in the store already becomes its next revision, if it has changed. Another file of the
    same name is refused, unless --revise makes it the next revision; --as gives it a name of its own.

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
        never = unfit_of(session, done.workflow)
    if as_json:
        shapes.emit({**shapes.submitted(done), "unfit": [shapes.unfit(one) for one in never]})
        return
    click.echo(done.workflow)
    tell_submitted(done)
    for line in waiting.unfit_lines(never):
        click.echo(line, err=True)


def submitted(
    session: Session, spec: str, param: tuple[str, ...], name: str | None, new: bool, revise: bool = False
) -> Submitted:
    """Load a spec file and submit it."""
    from rekindle.engine.submitting import submit as engine

    definition = loaded(spec, param, new, revise)
    return engine.submit(session, definition, name=name, new=new, revise=revise)


def loaded(spec: str, param: tuple[str, ...], new: bool, revise: bool) -> Definition:
    """Load a spec file; UsageError where the options contradict each other."""
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
    """Show what submitting a spec file would do; nothing is changed."""
    from rekindle.engine.submitting import submit as engine

    definition = loaded(spec, param, new, revise)
    with reconciled(create=True) as session:
        found = engine.preview(session, definition, name=name, new=new, revise=revise)
    if as_json:
        shapes.emit(revisionshapes.preview(found))
        return
    revisionshow.draw_preview(found, verbose=verbose)
    click.echo("a dry run: nothing is changed")


def tell_submitted(done: Submitted) -> None:
    """Report on stderr what a submission did."""
    jobs = drawing.many(done.jobs, "job")
    if done.created:
        click.echo(f"{done.name}: workflow {done.workflow}, {jobs}", err=True)
    elif done.unchanged:
        click.echo(f"{done.name}: workflow {done.workflow}, unchanged since revision {done.revision}, {jobs}", err=True)
    else:
        counts = [("added", done.added), ("retired", done.retired), ("changed", done.changed)]
        parts = [f"{len(names):,} {what}" for what, names in counts if names] + revisionshow.rewired(done.plan)
        if parts or not done.params:
            parts = [*(parts or ["no job changed"]), jobs]
        said = "; ".join([", ".join(parts)] * bool(parts) + revisionshow.changed_parameters(done))
        click.echo(f"{done.name}: workflow {done.workflow}, revision {done.revision}: {said}", err=True)
    revisionshow.tell_warnings(done)
