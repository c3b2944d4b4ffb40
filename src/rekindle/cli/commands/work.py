"""`rekindle work`."""

from __future__ import annotations

import click

from rekindle.cli.opening import opened
from rekindle.cli.options import capacity_options, fail_on_option, json_option, licences, read_duration, workflow_option
from rekindle.cli.showing import shapes
from rekindle.cli.showing.working import found_code, work_shown
from rekindle.domain.verdicts import Word
from rekindle.engine.results import WorkOptions


@click.command()
@workflow_option
@capacity_options
@click.option("--watch", is_flag=True, help="When nothing is left to run, wait for more.")
@click.option("--wait-timeout", callback=read_duration, metavar="D", help="Start nothing new after so long; exit 6.")
@fail_on_option
@json_option
def work(
    workflow: str | None,
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

    Several may work on one store. When one dies, what it ran goes on to its end, and another takes that in: at once
    where it can see that the process is gone, else when the lease of 30 s is over. One that was taken for dead writes
    nothing more and exits 1.

    Exit code: 0 all that ran completed, 2 some failed, 5 canceled (Ctrl-C), 6 timed out; with --fail-on, where it would
    be 0: 7 while blockers stand (of the workflow, or of all), 8 while warnings do.

    \b
    Example:
      rekindle work -j 4
      rekindle work -w sweep --wait-timeout 2h
    """
    options = WorkOptions(
        workflow=workflow,
        slots=slots,
        executor=executor,
        watch=watch,
        wait_timeout=wait_timeout,
        memory=memory,
        gpus=gpus,
        licences=licences(licence),
    )
    with opened() as session:
        report = work_shown(session, options, quiet=as_json)
        code = report.exit_code or found_code(session, workflow, fail_on)
    if as_json:
        shapes.emit({**shapes.report(report), "exit_code": code})
    return code
