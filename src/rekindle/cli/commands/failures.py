"""`rekindle failures` and `flaky`: how attempts failed, and how often."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from rekindle.cli.options import json_option, workflow_option
from rekindle.cli.output import attempt_text, json_output, terminal
from rekindle.cli.output.pages import emit_rows, page_options, print_page_note
from rekindle.cli.output.progress import reading_progress
from rekindle.cli.output.terminal import Column
from rekindle.cli.selection_options import selection_options
from rekindle.cli.sessions import opened
from rekindle.domain.batches.flakiness import FailureKind, Flakiness, PassHistory
from rekindle.domain.models import FailureGroup, PartialOfFailure
from rekindle.engine.queries import failure_queries, job_queries, selections
from rekindle.engine.queries.failure_queries import FailureExample, failure_examples
from rekindle.query.selections import SelectionFlags, parse_selection

if TYPE_CHECKING:
    from rekindle.engine.results import JobRow, PageRequest
    from rekindle.engine.session import Session

PASSED_WORDS = {
    PassHistory.PLAIN: "passed",
    PassHistory.FLAKY: "flaky",
    PassHistory.MODIFIED: "passed modified",
    PassHistory.MIXED: "failed, has passed",
    PassHistory.FAILING: "failing",
}

Partial = Mapping[str, Sequence[PartialOfFailure]]
"""The partial outputs of failed attempts, by signature."""

_FIRST = 5
"""Groups with an example, hosts of a group, and lines of an example, without -v."""


@click.command()
@workflow_option
@click.option("--archived", "--all", "archived", is_flag=True, help="Include archived attempts: all that ever failed.")
@click.option("-v", "--verbose", is_flag=True, help="Show every host, and a longer example of each group.")
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
        every = failure_queries.failures(session, workflow, archived)
        groups = page.of(every)
        shown = groups if as_json or verbose else groups[:_FIRST]
        found, partial = (
            failure_examples(session, shown),
            failure_queries.partial_outputs_of_failures(session, shown, archived),
        )
    if as_json:
        emit_rows("failures", (_failure_json(group, found.get(group.signature), partial) for group in groups))
        return
    if not every:
        click.echo("no failures")
        return
    if groups:
        click.echo(attempt_text.failures_table(groups))
    print_page_note(page, len(groups), len(every), "kind")
    _draw_examples(groups, found, partial, verbose)
    if archived or not groups:
        return
    jobs = terminal.plural(len({job for group in every for job in group.jobs}), "job")
    click.echo(f"\n{jobs} failed. `rekindle jobs show ID` tells more of one; run them again with")
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
        click.echo(f"\n{group.signature[:10]}  {_when(group)}{_where(group, verbose)}")
        at = f", step {terminal.one_line(example.step)}" if example.step and len(example.attempt.steps) > 1 else ""
        one = example.attempt
        click.echo(
            f"  {terminal.one_line(example.name)} ({one.job}), attempt {one.number}{at}: {attempt_text.full_cause(one)}"
        )
        for line in example.tail if verbose else example.tail[-_FIRST:]:
            click.echo(f"  {click.style('│', dim=True)} {terminal.printable(line)}")
        if example.step and example.subtask is not None:
            words = f"logs {one.job} --attempt {one.number} --step {shlex.quote(example.step)}"
            click.echo(f"  `rekindle {words} --subtask {example.subtask}` prints what its item printed")
        left = partial.get(group.signature, [])
        for each in left if verbose else left[:_FIRST]:
            click.echo(f"  {attempt_text.partial_output(each.output, each.directory)}")
        if not verbose and len(left) > _FIRST:
            click.echo(f"  … and {terminal.plural(len(left) - _FIRST, 'more partial output')} (-v shows all)")


def _when(group: FailureGroup) -> str:
    if group.first is None or group.last is None:
        return "when is not known"
    first, last = terminal.short_time(group.first), terminal.short_time(group.last)
    return f"at {first}" if first == last else f"first {first}, last {last}"


def _where(group: FailureGroup, verbose: bool) -> str:
    if not group.hosts:
        return ""
    shown = group.hosts if verbose else group.hosts[:_FIRST]
    hosts = ", ".join(
        f"{terminal.one_line(host)} ({count:,})" if len(group.hosts) > 1 else host for host, count in shown
    )
    more = len(group.hosts) - len(shown)
    return f", on {hosts}" + (f" and {terminal.plural(more, 'more host')}" if more else "")


def _failure_json(group: FailureGroup, example: FailureExample | None, partial: Partial) -> dict[str, object]:
    newest = None
    if example is not None:
        one = example.attempt
        newest = {
            "job": one.job,
            "name": example.name,
            "attempt": one.id,
            "number": one.number,
            "step": example.step,
            "subtask": example.subtask,
            "ended": json_output.iso(one.ended),
            "tail": list(example.tail),
        }
    left = [
        {"job": one.job, "attempt": one.attempt, **json_output.partial_output(one.output)}
        for one in partial.get(group.signature, ())
    ]
    return {**json_output.failure(group), "example": newest, "partial_outputs": left}


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
        every, rows = measure_flaky(session, ids, every=all_jobs)
    found = page.of(every)
    if as_json:
        emit_rows("flaky", flaky_json(found, rows)["flaky"])
        return
    if found or not every:
        draw_flaky(found, rows, len(ids), verbose=verbose)
    print_page_note(page, len(found), len(every), "job")


def measure_flaky(session: Session, ids: Sequence[int], *, every: bool) -> tuple[list[Flakiness], dict[int, JobRow]]:
    """Return how flaky jobs are, and the rows of these jobs."""
    from rekindle.engine.queries.flaky_queries import flaky_jobs as engine_flaky

    found = engine_flaky(session, ids, every=every)
    return found, {row.job.id: row for row in job_queries.jobs(session, sorted(one.job for one in found))}


def flaky_json(found: Sequence[Flakiness], rows: dict[int, JobRow]) -> dict[str, Any]:
    """Return the document of `flaky --json`."""
    return {"flaky": [_flaky_row(one, rows[one.job]) for one in found]}


def _flaky_row(one: Flakiness, row: JobRow) -> dict[str, Any]:
    return {
        "job": one.job,
        "name": row.job.name,
        "workflow": row.job.workflow,
        "passed": one.passed.value,
        "passes": one.passes,
        "failures": one.failures,
        "rate": one.rate,
        "interval": list(one.interval),
        "other_failures": one.elsewhere,
        "lost": one.lost,
        "last": json_output.iso(one.last),
        "last_failure": json_output.iso(one.last_failure),
        "signatures": [
            {
                "signature": way.signature,
                "cause": way.cause,
                "type": way.type,
                "message": way.message,
                "count": way.count,
                "attempt": way.newest,
                "newest_message": way.newest_message,
            }
            for way in one.signatures
        ],
        "hosts": [{"host": on.host, "passes": on.passes, "failures": on.failures} for on in one.hosts],
    }


def draw_flaky(found: Sequence[Flakiness], rows: dict[int, JobRow], compared: int, *, verbose: bool = False) -> None:
    """Print a table of flaky jobs, and how many failures are not counted."""
    if not found:
        click.echo(
            f"none of {terminal.plural(compared, 'job')} is known to be flaky" if compared else "nothing selected"
        )
        return
    columns = [
        Column("ID", right=True),
        Column("JOB", cut="middle", keep=True),
        Column("FAILED", right=True),
        Column("RATE", right=True),
        Column("95 %", right=True),
        Column("NOW", cut="end"),
        Column("LAST FAILED", drop=True, optional=True),
        Column("SIGNATURE", drop=True, optional=True),
        Column("ERROR", cut="middle", drop=True, keep=True),
    ]
    click.echo(terminal.table(columns, [_cells(one, rows[one.job].job.name) for one in found]))
    if verbose:
        for one in found:
            click.echo(f"\n{one.job} {terminal.one_line(rows[one.job].job.name)}")
            click.echo(_more(one))
    if others := sum(one.elsewhere for one in found):
        text = f"{terminal.plural(others, 'failure')} under conditions under which the job never passed"
        click.echo(f"\n{text} {'is' if others == 1 else 'are'} not counted")


def _cells(one: Flakiness, name: str) -> tuple[str, ...]:
    way = one.signatures[0] if one.signatures else None
    return (
        str(one.job),
        name,
        f"{one.failures:,} of {one.failures + one.passes:,}",
        _percent(one.rate),
        f"{_percent(one.interval[0]).removesuffix(' %')}-{_percent(one.interval[1])}",
        PASSED_WORDS[one.passed],
        terminal.short_time(one.last_failure),
        f"{way.signature[:10]}{f' +{len(one.signatures) - 1}' if len(one.signatures) > 1 else ''}" if way else "",
        _error(way) if way else "",
    )


def _more(one: Flakiness) -> str:
    ways = [f"{way.count:,} × {way.signature[:10]} {_error(way)} (attempt {way.newest})" for way in one.signatures]
    hosts = [f"{terminal.one_line(on.host)}: {on.failures:,} of {on.failures + on.passes:,} failed" for on in one.hosts]
    pairs = [("failed with", "\n".join(ways)), ("on", "\n".join(hosts)), ("last", terminal.full_time(one.last))]
    lost = [("left out", f"{terminal.plural(one.lost, 'attempt')} lost or canceled" if one.lost else "")]
    return terminal.details([*pairs, *lost], indent=2)


def _error(way: FailureKind) -> str:
    return attempt_text.example_error(way.type, way.message, way.newest_message, way.count) or way.cause


def _percent(share: float) -> str:
    """Return a share in percent, with a decimal below 10: `0.3 %`, `4.2 %`, `38 %`."""
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < percent < 9.95 else f"{percent:.0f} %"
