"""`rekindle failures` and `flaky`: how attempts failed, and how often."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import json_option, workflow_option
from rekindle.cli.output import attempt_tables, json_output, terminal
from rekindle.cli.output.file_progress import reading_progress
from rekindle.cli.output.pages import page_options, print_page_note
from rekindle.cli.output.runs import again_line
from rekindle.cli.output.terminal import Column
from rekindle.cli.selection_options import selection_options
from rekindle.cli.sessions import opened
from rekindle.domain.models import FailureGroup, PartialOfFailure
from rekindle.domain.states import State
from rekindle.engine.queries import failure_queries, selections
from rekindle.engine.queries.failure_queries import FailureExample, failure_examples
from rekindle.engine.queries.flaky_queries import flaky_jobs_with_rows
from rekindle.engine.queries.workflow_queries import names_of_groups
from rekindle.presentation import answers, attempts, words
from rekindle.presentation import failures as failure_texts
from rekindle.presentation.batch_documents import flaky_jobs
from rekindle.presentation.workflows import quarantine_lines, undecided_lines
from rekindle.query.selections import SelectionFlags, parse_selection

if TYPE_CHECKING:
    from rekindle.domain.batches.flakiness import Flakiness
    from rekindle.engine.results import JobRow, PageRequest

Partial = Mapping[str, Sequence[PartialOfFailure]]
"""The partial outputs of failed attempts, by signature."""

_FIRST = 5
"""Groups with an example, hosts of a group, and lines of an example, without -v."""


@click.command()
@workflow_option
@click.option("--archived", "--all", "archived", is_flag=True, help="Include archived attempts: all that ever failed.")
@click.option("-v", "--verbose", is_flag=True, help="Show ids of jobs, every host, and a longer example of each group.")
@page_options
@json_option
def failures(workflow: str | None, archived: bool, verbose: bool, page: PageRequest, as_json: bool) -> None:
    """Group failed attempts by their error, the largest group first.

    Numbers, times, addresses, folders and temporary names in errors are ignored. Each group has a count, the first and
    last time, the hosts, and the end of its newest error.

    \b
    Example:
      rekindle failures -w sweep
      rekindle failures --archived -v
      rekindle rerun --signature 3f9a0c --canary 2
    """
    with opened() as session:
        if as_json:
            json_output.emit_list(answers.failures(session, workflow, page, archived=archived))
            return
        every = failure_queries.failures(session, workflow, archived)
        groups = page.of(every)
        shown = groups if verbose else groups[:_FIRST]
        found = failure_examples(session, shown)
        partial = failure_queries.partial_outputs_of_failures(session, shown, archived)
        names = names_of_groups(session, [] if verbose else [group.jobs for group in groups])
        quarantined = failure_queries.quarantined(session, workflow)
        undecided = Counter(failure_queries.undecided(session, every).values())
        again = again_line(session, workflow, State.FAILED, "to run them again:")
    if not every:
        click.echo("no failures")
        return
    if groups:
        click.echo(attempt_tables.failures_table(groups, names))
    for line in (*quarantine_lines(quarantined), *undecided_lines(undecided)):
        click.echo(line)
    print_page_note(page, len(groups), len(every), "kind")
    _draw_examples(groups, found, partial, verbose)
    if archived or not groups:
        return
    jobs = words.plural(len({job for group in every for job in group.jobs}), "job")
    click.echo(f"\n{jobs} failed. `rekindle jobs show ID` shows one of them; {again}")
    if not again.endswith(":"):  # every one must not run twice
        return
    first, few = groups[0].signature[:10], len(groups[0].jobs) < _FIRST
    canary = "" if few else " --canary 1"
    click.echo(f"  rekindle rerun --signature {first}{canary}    the first kind{'' if few else ', one of it first'}")
    click.echo("  rekindle rerun -s failed")


def _draw_examples(
    groups: Sequence[FailureGroup], found: Mapping[str, FailureExample], partial: Partial, verbose: bool
) -> None:
    for group in groups:
        example = found.get(group.signature)
        if example is None:
            continue
        on = failure_texts.hosts(group, None if verbose else _FIRST)
        click.echo(f"\n{group.signature[:10]}  {failure_texts.times(group)}{f', on {on}' if on else ''}")
        at = f", step {words.one_line(example.step)}" if example.step and len(example.attempt.steps) > 1 else ""
        one = example.attempt
        click.echo(
            f"  {words.one_line(example.name)} ({one.job}), attempt {one.number}{at}: {attempts.full_cause(one)}"
        )
        if error := attempts.unshown_error(one, example.tail):
            click.echo(terminal.folded(error, indent=4, further=4))
        for line in example.tail if verbose else example.tail[-_FIRST:]:
            click.echo(f"  {click.style('│', dim=True)} {words.printable(line)}")
        if example.step and example.subtask is not None:
            logs = f"logs {one.job} --attempt {one.number} --step {shlex.quote(example.step)}"
            click.echo(f"  `rekindle {logs} --subtask {example.subtask}` prints what its item printed")
        left = partial.get(group.signature, [])
        for each in left if verbose else left[:_FIRST]:
            click.echo(f"  {attempts.partial_output(each.output, each.directory)}")
        if not verbose and len(left) > _FIRST:
            click.echo(f"  … and {words.plural(len(left) - _FIRST, 'more partial output')} (-v shows all)")
    if more := len(groups) - len(found):
        click.echo(f"\n… and {words.plural(more, 'more example')} (-v shows all)")


@click.command()
@selection_options
@click.option("--all-jobs", is_flag=True, help="Include jobs that always pass, or have never passed.")
@click.option("-v", "--verbose", is_flag=True, help="Show each signature and host.")
@page_options
@json_option
def flaky(flags: SelectionFlags, all_jobs: bool, verbose: bool, page: PageRequest, as_json: bool) -> None:
    """Show which jobs fail sometimes, and how often: of all jobs, or of a SELECTION. The highest certain rate comes
    first.

    All attempts count, archived ones too, except lost and canceled ones. A job is flaky if it passed and failed with
    the same definition, parameters, resources, inputs and upstream results. Only recorded inputs are compared: a
    script that no job declares may have changed. A job that was modified before it passed is "passed modified". The
    rate has its 95 % confidence interval (Wilson's).

    \b
    Example:
      rekindle flaky -w nightly
      rekindle rerun 'test*' --repeat 20 --downstream none --work
      rekindle flaky 'test*' --all-jobs
    """
    selection = parse_selection(flags)
    with opened() as session, reading_progress() as on_read:
        ids = selections.select(session, selection, on_read)
        every, rows = flaky_jobs_with_rows(session, ids, every=all_jobs)
    found = page.of(every)
    if as_json:
        json_output.emit_rows("flaky", flaky_jobs(found, rows))
        return
    if found or not every:
        draw_flaky(found, rows, len(ids), verbose=verbose)
    print_page_note(page, len(found), len(every), "job")


def draw_flaky(found: Sequence[Flakiness], rows: Mapping[int, JobRow], compared: int, *, verbose: bool = False) -> None:
    """Print a table of flaky jobs, and how many failures are not counted."""
    if not found:
        click.echo(f"none of {words.plural(compared, 'job')} is known to be flaky" if compared else "nothing selected")
        return
    columns = [
        Column("ID", right=True),
        Column("JOB", cut="middle", keep=True),
        Column("FAILED", right=True),
        Column("RATE", right=True, optional=True),
        Column("95 %", right=True, optional=True),
        Column("NOW", cut="end"),
        Column("VERIFIED", drop=True, optional=True),
        Column("LAST FAILED", drop=True, extra=True),
        Column("SIGNATURE", drop=True, extra=True),
        Column("ERROR", cut="middle", drop=True, optional=True),
    ]
    click.echo(terminal.table(columns, [_cells(one, rows[one.job].job.name) for one in found]))
    if verbose:
        for one in found:
            click.echo(f"\n{one.job} {words.one_line(rows[one.job].job.name)}")
            click.echo(_more(one))
    if others := sum(one.elsewhere for one in found):
        text = f"{words.plural(others, 'failure')} under conditions under which the job never passed"
        click.echo(f"\n{text} {'is' if others == 1 else 'are'} not counted")


def _cells(one: Flakiness, name: str) -> tuple[str, ...]:
    way = one.signatures[0] if one.signatures else None
    return (
        str(one.job),
        name,
        f"{one.failures:,} of {one.failures + one.passes:,}",
        failure_texts.percent(one.rate),
        f"{failure_texts.percent(one.interval[0]).removesuffix(' %')}-{failure_texts.percent(one.interval[1])}",
        failure_texts.PASSED_WORDS[one.passed],
        one.verified.outcome if one.verified else "",
        words.short_time(one.last_failure),
        f"{way.signature[:10]}{f' +{len(one.signatures) - 1}' if len(one.signatures) > 1 else ''}" if way else "",
        failure_texts.kind_error(way) if way else "",
    )


def _more(one: Flakiness) -> str:
    ways = [
        f"{way.count:,} × {way.signature[:10]} {failure_texts.kind_error(way)} (attempt {way.newest})"
        for way in one.signatures
    ]
    hosts = [f"{words.one_line(on.host)}: {on.failures:,} of {on.failures + on.passes:,} failed" for on in one.hosts]
    pairs = [("failed with", "\n".join(ways)), ("on", "\n".join(hosts)), ("last", words.full_time(one.last))]
    lost = [("left out", f"{words.plural(one.lost, 'attempt')} lost or canceled" if one.lost else "")]
    return terminal.details([*pairs, *lost], indent=2)
