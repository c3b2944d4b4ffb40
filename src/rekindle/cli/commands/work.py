"""`rekindle work`: run ready jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from rekindle.cli.options import capacity_options, fail_on_option, json_option, licences, read_duration, workflow_option
from rekindle.cli.output import json_output
from rekindle.cli.output.runs import verdict_exit_code, work_with_summary
from rekindle.cli.sessions import opened
from rekindle.engine.queries.selections import selection_condition
from rekindle.engine.results import WorkOptions
from rekindle.query.selections import SelectionFlags, parse_selection

if TYPE_CHECKING:
    from rekindle.domain.verdicts import VerdictLevel


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@workflow_option
@click.option("-i", "--id", "ids", multiple=True, metavar="IDS", help="Run only jobs with these ids: 7, 1,2 or 4-9.")
@click.option("-n", "--name", "names", multiple=True, metavar="NAME|GLOB", help="Run only jobs of this name (* and ?).")
@click.option("-f", "--filter", "filters", multiple=True, metavar="FIELD=VALUE", help="Run only jobs with this field.")
@click.option("-q", "--query", "queries", multiple=True, metavar="JSON", help="Run only jobs that match a document.")
@click.option("--most", type=click.IntRange(min=1), metavar="N", help="Exit after starting N attempts.")
@capacity_options
@click.option("--watch", is_flag=True, help="Wait for new jobs instead of exiting when none is left.")
@click.option(
    "--wait-timeout",
    callback=read_duration,
    metavar="D",
    help="Exit with 6 after this time; running jobs continue.",
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
    fail_on: frozenset[VerdictLevel],
    as_json: bool,
) -> int:
    """Run ready jobs until none is left.

    JOBs and the options -i, -n, -f and -q narrow the selection: only matching jobs run, also ones that are added later.

    Several runners may work on one store. When one dies, its running attempts continue, and another runner records
    their ends: at once if the process is known to be gone, else after the lease of 30 s. A runner that was taken for
    dead writes nothing more and exits with 1.

    Exit code: 0 all jobs that ran completed, 2 some failed, 5 canceled (Ctrl-C), 6 timed out; with --fail-on, instead
    of 0: 7 if a job (of the workflow, or of all) has the verdict BLOCKER, 8 if one has WARNING.

    \b
    Example:
      rekindle work -j 4
      rekindle work -w sweep --wait-timeout 2h
      rekindle work -n "train*" --most 10
    """
    selection = parse_selection(
        SelectionFlags(jobs=jobs, workflow=workflow, ids=ids, names=names, filters=filters, queries=queries)
    )
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
        options = replace(options, only=selection_condition(session, selection))
        report = work_with_summary(session, options, quiet=as_json)
        code = report.exit_code or verdict_exit_code(session, workflow, fail_on)
    if as_json:
        json_output.emit({**json_output.report(report), "exit_code": code})
    return code
