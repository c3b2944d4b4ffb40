"""`rekindle flaky`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from rekindle.cli.opening import opened
from rekindle.cli.options import json_option, selection_options
from rekindle.cli.showing import drawing, explaining, shapes
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.lists import emit_rows, page_options, tell_page
from rekindle.cli.showing.reading import reading_shown
from rekindle.domain.batches.flakiness import Failing, Flakiness, Passed
from rekindle.engine.looking import look
from rekindle.engine.looking.flaky import flaky as engine_flaky
from rekindle.engine.looking.lists import Page
from rekindle.engine.results import JobRow
from rekindle.engine.session import Session
from rekindle.query.selections import Flags, parse_selection

WORDS = {
    Passed.PLAIN: "passed",
    Passed.FLAKY: "flaky",
    Passed.MODIFIED: "passed modified",
    Passed.MIXED: "failed, has passed",
    Passed.FAILING: "failing",
}


@click.command()
@selection_options
@click.option("--all-jobs", is_flag=True, help="Also those that always pass, or have never passed.")
@click.option("-v", "--verbose", is_flag=True, help="Show each signature and host.")
@page_options
@json_option
def flaky(flags: Flags, all_jobs: bool, verbose: bool, page: Page, as_json: bool) -> None:
    """Show which jobs fail now and then, and how often: all of them, or a SELECTION. What certainly fails most often
    comes first.

    All attempts count, archived ones too, but those that were lost or canceled. A job is flaky when it has passed and
    failed with the same definition, parameters, resources, inputs and upstream results, as far as they are recorded: a
    script that no job declares as an input may have been mended in between. What was changed before it passed is
    "passed modified". The rate stands beside the interval in which it lies in 95 % of cases (Wilson's).

    \b
    Example:
      rekindle flaky -w nightly
      rekindle rerun 'test*' --repeat 20 --downstream none --work
      rekindle flaky 'test*' --all-jobs
    """
    selection = parse_selection(flags)
    with opened() as session, reading_shown() as tell:
        ids = look.select(session, selection, tell)
        every, rows = measured(session, ids, every=all_jobs)
    found = page.of(every)
    if as_json:
        emit_rows("flaky", document(found, rows)["flaky"])
        return
    if found or not every:
        draw(found, rows, len(ids), verbose=verbose)
    tell_page(page, len(found), len(every), "job")


def measured(session: Session, ids: Sequence[int], *, every: bool) -> tuple[list[Flakiness], dict[int, JobRow]]:
    """How flaky jobs are, and the jobs that are told of."""
    found = engine_flaky(session, ids, every=every)
    return found, {row.job.id: row for row in look.jobs(session, sorted(one.job for one in found))}


def document(found: Sequence[Flakiness], rows: dict[int, JobRow]) -> dict[str, Any]:
    """All that is known, in JSON."""
    return {"flaky": [_shape(one, rows[one.job]) for one in found]}


def _shape(one: Flakiness, row: JobRow) -> dict[str, Any]:
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
        "last": shapes.iso(one.last),
        "last_failure": shapes.iso(one.last_failure),
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


def draw(found: Sequence[Flakiness], rows: dict[int, JobRow], looked: int, *, verbose: bool = False) -> None:
    """A table, and what it leaves out."""
    if not found:
        click.echo(f"none of {drawing.many(looked, 'job')} is known to be flaky" if looked else "nothing selected")
        return
    columns = [
        Column("ID", right=True),
        Column("JOB", cut="middle", keep=True),
        Column("FAILED", right=True),
        Column("RATE", right=True),
        Column("95 %", right=True),
        Column("NOW", cut="end"),
        Column("LAST FAILED", drop=True, spare=True),
        Column("SIGNATURE", drop=True, spare=True),
        Column("ERROR", cut="middle", drop=True, keep=True),
    ]
    click.echo(drawing.table(columns, [_cells(one, rows[one.job].job.name) for one in found]))
    if verbose:
        for one in found:
            click.echo(f"\n{one.job} {drawing.flat(rows[one.job].job.name)}")
            click.echo(_more(one))
    if others := sum(one.elsewhere for one in found):
        told = f"{drawing.many(others, 'failure')} under conditions under which the job never passed"
        click.echo(f"\n{told} {'is' if others == 1 else 'are'} not counted")


def _cells(one: Flakiness, name: str) -> tuple[str, ...]:
    way = one.signatures[0] if one.signatures else None
    return (
        str(one.job),
        name,
        f"{one.failures:,} of {one.failures + one.passes:,}",
        _percent(one.rate),
        f"{_percent(one.interval[0]).removesuffix(' %')}-{_percent(one.interval[1])}",
        WORDS[one.passed],
        drawing.when(one.last_failure),
        f"{way.signature[:10]}{f' +{len(one.signatures) - 1}' if len(one.signatures) > 1 else ''}" if way else "",
        _said(way) if way else "",
    )


def _more(one: Flakiness) -> str:
    ways = [f"{way.count:,} × {way.signature[:10]} {_said(way)} (attempt {way.newest})" for way in one.signatures]
    hosts = [f"{drawing.flat(on.host)}: {on.failures:,} of {on.failures + on.passes:,} failed" for on in one.hosts]
    pairs = [("failed with", "\n".join(ways)), ("on", "\n".join(hosts)), ("last", drawing.clock_time(one.last))]
    lost = [("left out", f"{drawing.many(one.lost, 'attempt')} lost or canceled" if one.lost else "")]
    return drawing.details([*pairs, *lost], indent=2)


def _said(way: Failing) -> str:
    return explaining.example(way.type, way.message, way.newest_message, way.count) or way.cause


def _percent(share: float) -> str:
    """Two digits where there are two to tell: `0.3 %`, `4.2 %`, `38 %`."""
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < percent < 9.95 else f"{percent:.0f} %"
