"""`rekindle work`."""

from __future__ import annotations

from dataclasses import replace

import click

from rekindle.cli.opening import opened
from rekindle.cli.options import capacity_options, fail_on_option, json_option, licences, read_duration, workflow_option
from rekindle.cli.showing import shapes
from rekindle.cli.showing.working import found_code, work_shown
from rekindle.domain.verdicts import Word
from rekindle.engine.looking.conditions import condition
from rekindle.engine.results import WorkOptions
from rekindle.query.selections import Flags, parse_selection


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@workflow_option
@click.option("-i", "--id", "ids", multiple=True, metavar="IDS", help="Only jobs of these ids: 7, 1,2 or 4-9.")
@click.option("-n", "--name", "names", multiple=True, metavar="NAME|GLOB", help="Only jobs of such a name.")
@click.option("-f", "--filter", "filters", multiple=True, metavar="FIELD=VALUE", help="Only jobs with such a field.")
@click.option("-q", "--query", "queries", multiple=True, metavar="JSON", help="Only jobs that a document describes.")
@click.option("--most", type=click.IntRange(min=1), metavar="N", help="Start at most so many attempts, and end.")
@capacity_options
@click.option("--watch", is_flag=True, help="When nothing is left to run, wait for more.")
@click.option(
    "--wait-timeout",
    callback=read_duration,
    metavar="D",
    help="Exit 6 after this time; running jobs go on.",
)
@fail_on_option
@json_option
def work(
    jobs: tuple[str, ...],
    workflow: str | None,
    ids: tuple[str, ...],
    names: tuple[str, ...],
    filters: tuple[str, ...],
    queries: tuple[str, ...],
    most: int | None,
    slots: int | None,
    executor: str,
    memory: int | None,
    gpus: int,
    licence: tuple[str, ...],
    watch: bool,
    wait_timeout: float | None,
    fail_on: frozenset[Word],
    as_json: bool,
) -> int:
    """Run what is ready until nothing is left to run.

    With JOBs, or -i, -n, -f, -q, which narrow each other, only such jobs are run, with those that are added meanwhile;
    others stay as they are.

    Several may work on one store. When one dies, what it ran goes on to its end, and another takes that in: at once
    where it can see that the process is gone, else when the lease of 30 s is over. One that was taken for dead writes
    nothing more and exits 1.

    Exit code: 0 all that ran completed, 2 some failed, 5 canceled (Ctrl-C), 6 timed out; with --fail-on, where it would
    be 0: 7 while blockers stand (of the workflow, or of all), 8 while warnings do.

    \b
    Example:
      rekindle work -j 4
      rekindle work -w sweep --wait-timeout 2h
      rekindle work -n "train*" --most 10
    """
    meant = parse_selection(Flags(jobs=jobs, workflow=workflow, ids=ids, names=names, filters=filters, queries=queries))
    options = WorkOptions(
        workflow=workflow,
        slots=slots,
        executor=executor,
        watch=watch,
        wait_timeout=wait_timeout,
        memory=memory,
        gpus=gpus,
        licences=licences(licence),
        most=most,
    )
    with opened() as session:
        options = replace(options, only=condition(session, meant))
        report = work_shown(session, options, quiet=as_json)
        code = report.exit_code or found_code(session, workflow, fail_on)
    if as_json:
        shapes.emit({**shapes.report(report), "exit_code": code})
    return code
