"""`resim batches get|tests|logs|cancel`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from rekindle.dialects.opening import opened, reconciled, report_ending
from rekindle.dialects.resim import documents
from rekindle.dialects.resim.options import Which, batch_options, the_batch
from rekindle.dialects.resim.words import EXIT_CODES, TERMINAL, Batch, Member, read_batch, read_ids
from rekindle.domain.errors import NotFound, UsageError
from rekindle.engine.looking import look
from rekindle.engine.running import reconciling


@click.command()
@batch_options
@click.option(
    "--exit-status",
    is_flag=True,
    help="Print nothing, and exit with the batch's status: 0 succeeded, 2 error, 3 submitted, 4 running, 5 cancelled.",
)
@click.option("--markdown", is_flag=True, help="Print a summary in Markdown.")
@click.option("--slack", is_flag=True, help="Print a summary as a Slack webhook's payload.")
def get(which: Which, exit_status: bool, markdown: bool, slack: bool) -> int:
    """Print a batch as JSON.

    \b
    Example:
      rekindle resim batches get --project car --batch-name tonight
      rekindle resim batches get --batch-id 3 --exit-status
    """
    with reconciled(looks=True) as session:
        batch = read_batch(session, the_batch(session, which))
    if exit_status:
        return EXIT_CODES[batch.status]
    if markdown:
        click.echo(documents.markdown(batch), nl=False)
    else:
        _emit(documents.slack(batch) if slack else documents.batch_document(batch))
    return 0


@click.command()
@batch_options
def tests(which: Which) -> None:
    """Print the tests of a batch as JSON, as they stand.

    \b
    Example:
      rekindle resim batches tests --batch-id 3 | jq -r '.[] | select(.conflatedStatus == "ERROR") | .jobID'
    """
    with opened() as session:
        batch = read_batch(session, the_batch(session, which))
    _emit([documents.test_document(batch, one) for one in batch.tests])


@click.command()
@batch_options
@click.option("--test-ids", multiple=True, metavar="IDS", help="Those of these tests only.")
@click.option("--attempt", type=int, metavar="N", help="Those of the Nth attempt of each, superseded or not.")
def logs(which: Which, test_ids: tuple[str, ...], attempt: int | None) -> None:
    """Print where the logs of a batch are, as JSON: of every attempt of its tests and its batch metrics.

    \b
    Example:
      rekindle resim batches logs --batch-id 3
      rekindle resim batches logs --batch-id 3 --test-ids 7 --attempt 1
    """
    with opened() as session:
        batch = read_batch(session, the_batch(session, which))
        members = {one.job.id: one for one in (*batch.tests, *batch.metrics)}
        ids = read_ids("--test-ids", test_ids)
        meant = tests_of(batch, ids) if ids else list(members)
        attempts = [one for one in look.attempts(session, meant) if attempt in (None, one.number)]
        found = [log for one in attempts for log in documents.log_documents(session, batch, members[one.job], one)]
    _emit(found)


@click.command()
@batch_options
def cancel(which: Which) -> None:
    """Cancel a batch: what runs is ended, and what has not started does not start.

    \b
    Example:
      rekindle resim batches cancel --project car --batch-name tonight
    """
    with opened() as session:
        batch = read_batch(session, the_batch(session, which))
        if batch.status in TERMINAL:
            click.echo(f"{batch.name} has ended already: {batch.status}; nothing is cancelled")
            return
        done = reconciling.cancel(session, [one.job.id for one in (*batch.tests, *batch.metrics)])
    report_ending(done)
    click.echo("Batch cancelled successfully!")


def tests_of(batch: Batch, ids: Sequence[int]) -> list[int]:
    """These, when all of them are tests of the batch. NotFound names each that is none."""
    known: dict[int, Member] = {one.job.id: one for one in batch.tests}
    metrics = {one.job.id for one in batch.metrics}
    if metrics & {*ids}:
        number = min(metrics & {*ids})
        raise UsageError(f"{number} is the batch-metrics stage of {batch.name}", hint="it runs again with any test")
    missing = [str(one) for one in ids if one not in known]
    if missing:
        raise NotFound(
            f"{batch.name} has no such test: {', '.join(missing)}",
            hint=f"`resim batches tests --batch-id {batch.workflow.id}` lists their IDs (jobID)",
        )
    return list(ids)


def _emit(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
