"""`rekindle jobs show`: everything about a job."""

from __future__ import annotations

import click

from rekindle.cli.options import json_option
from rekindle.cli.output import attempt_tables, json_output, terminal
from rekindle.cli.output.file_progress import reading_progress
from rekindle.cli.sessions import opened
from rekindle.domain.selection import Selection
from rekindle.engine.queries import selections
from rekindle.engine.queries.details import JobDetails, job_details
from rekindle.presentation import job_documents
from rekindle.presentation.facts import job_facts
from rekindle.query.job_keys import parse_job_words


@click.command()
@click.argument("job", metavar="JOB")
@click.option("-w", "--workflow", metavar="ID|NAME", help="Select the job of this workflow, if several have the name.")
@json_option
def show(job: str, workflow: str | None, as_json: bool) -> None:
    """Show everything about a job: its state, needs, attempts, and last error.

    \b
    Example:
      rekindle jobs show 'train[alpha=0.1,seed=0]'
    """
    with opened() as session, reading_progress() as on_read:
        ids = selections.select(session, Selection(workflow=workflow, jobs=parse_job_words([job])))
        found = job_details(session, ids, on_read)
    if as_json:
        json_output.emit(job_documents.jobs_details(found))
        return
    for at, one in enumerate(found):
        click.echo("\n" if at else "", nl=False)
        _draw(one)


def _draw(one: JobDetails) -> None:
    click.echo(terminal.details(job_facts(one, terminal.coloured)))
    history = one.attempts
    if not history:
        click.echo("\nno attempts yet")
        return
    click.echo("")
    click.echo(attempt_tables.attempts_table(history, one.retries))
    newest = history[-1]
    if newest.cause is not None:
        click.echo("")
        click.echo(attempt_tables.failure_lines(newest))
        click.echo(f"\n`rekindle logs {newest.job}` prints what it printed")
