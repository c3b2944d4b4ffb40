"""`rekindle work`: run ready jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from msgspec.structs import replace

from rekindle.cli.options import capacity_options, fail_on_option, json_option, read_duration, workflow_option
from rekindle.cli.output import json_output
from rekindle.cli.output.runs import verdict_exit_code, work_with_summary
from rekindle.cli.sessions import opened
from rekindle.engine.pilots import cancel_unneeded
from rekindle.engine.queries.selections import selection_condition
from rekindle.presentation import documents
from rekindle.query.selections import SelectionFlags, parse_selection

if TYPE_CHECKING:
    from rekindle.domain.verdicts import VerdictLevel
    from rekindle.engine.allocation import Allocation
    from rekindle.engine.results import WorkOptions


class _Within(NamedTuple):
    """The options about an allocation, or a server."""

    time_left: float | None
    grace: float
    pilot: bool
    server: str | None
    token_file: str | None


def _allocation_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options about an allocation to a command, which gets them as `within`."""

    @wraps(command)
    def grouped(**values: Any) -> int:
        return command(within=_Within(*(values.pop(name) for name in _Within._fields)), **values)

    for decorate in reversed(
        (
            click.option(
                "--time-left",
                callback=read_duration,
                metavar="D",
                help="End in this time, as in an allocation. [default: in a job of Slurm, as long as that has]",
            ),
            click.option(
                "--grace",
                callback=read_duration,
                default="60s",
                show_default=True,
                metavar="D",
                help="End running jobs this long before the time is over. They run again later.",
            ),
            click.option("--server", metavar="URL", help="Run jobs for the server at this URL: see `rekindle serve`."),
            click.option(
                "--token-file", metavar="FILE", help="With --server: the token. [default: $REKINDLE_API_TOKEN]"
            ),
            click.option("--pilot", is_flag=True, help="At the end, if nothing is left to run, cancel queued pilots."),
        )
    ):
        grouped = decorate(grouped)
    return grouped


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
@_allocation_options
@fail_on_option
@json_option
def work(
    jobs: tuple[str, ...],
    workflow: str | None,
    most: int | None,
    capacity: WorkOptions,
    watch: bool,
    wait_timeout: float | None,
    within: _Within,
    fail_on: frozenset[VerdictLevel],
    as_json: bool,
    **selected: Any,
) -> int:
    """Run ready jobs until none is left.

    JOBs, -i, -n, -f and -q narrow the selection: only matching jobs run, also ones that are added later.

    When a runner dies, its running attempts continue, and another records their ends: at once if its process is known
    to be gone, else after the lease of 30 s. A runner that was taken for dead writes nothing more and exits with 1.

    In a job of Slurm, or with --time-left, jobs start that can end in time, by their limit or earlier attempts. Those
    that run at the grace, or at a SIGTERM, get SIGTERM and become ready again, to continue with their step.

    Exit code: 0 all jobs that ran completed or failed in quarantine, 2 some failed, 5 canceled (Ctrl-C), 6 timed
    out; with --fail-on, instead of 0: 7 if a job has the verdict BLOCKER, 8 if one has WARNING.

    \b
    Example:
      rekindle work -j 4
      rekindle work -n "train*" --most 10
      rekindle work --time-left 2h --grace 5m
    """
    selection = parse_selection(SelectionFlags(jobs=jobs, workflow=workflow, **selected))
    options = replace(
        capacity,
        workflow=workflow,
        watch=watch,
        wait_timeout=wait_timeout,
        most=most,
    )
    options = replace(options, allocation=_allocation(options, within))
    if within.server is not None:
        return _work_for_server(within, options, restricted=any([jobs, *selected.values()]))
    with opened() as session:
        options = replace(options, only=selection_condition(session, selection))
        report = work_with_summary(session, options, quiet=as_json)
        if within.pilot:
            cancel_unneeded(session, _note)
        code = report.exit_code or verdict_exit_code(session, workflow, fail_on)
    if as_json:
        json_output.emit({**documents.report(report), "exit_code": code})
    return code


def _allocation(options: WorkOptions, within: _Within) -> Allocation | None:
    """Return the allocation that bounds the run: of Slurm, or of the time that the options give."""
    from rekindle.engine.allocation import Allocation, find_allocation
    from rekindle.engine.running.executor_choice import LOCAL, with_executor

    is_local = with_executor(options, os.environ).executor == LOCAL
    found = find_allocation(os.environ, _note, within.grace) if is_local else None
    if within.time_left is None:
        return found
    return replace(found or Allocation(), until=time.monotonic() + within.time_left, grace=within.grace)


def _work_for_server(within: _Within, options: WorkOptions, *, restricted: bool) -> int:
    """Run jobs for a server, and return the exit code."""
    from rekindle.domain.errors import UsageError
    from rekindle.engine.pilot_client import read_token, work_for_server

    if (
        restricted
        or options.most is not None
        or options.retries_at_most is not None
        or options.wait_timeout is not None
        or options.licences
    ):
        raise UsageError(
            "--server takes no selection but -w, no --most, no --wait-timeout, no --retries-at-most and no --licence"
        )
    token = read_token(within.token_file, os.environ)
    done = work_for_server(within.server or "", token, options, _note, cancels=within.pilot)
    if done.summary:
        _note(done.summary)
    return done.exit_code


def _note(text: str) -> None:
    click.echo(text, err=True)
