"""`rekindle supervise`: run, watch, and run again what fails."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from rekindle.cli.opening import opened
from rekindle.cli.options import capacity_options, check_text, fail_on_option, json_option, licences, read_duration
from rekindle.cli.showing import drawing, shapes
from rekindle.cli.showing.supervised import draw_report, report_document
from rekindle.cli.showing.working import inherited_line, progress_shown, stuck_line
from rekindle.domain.batches.guards import Budget, Guards, check_guards, read_causes, read_statuses
from rekindle.domain.batches.supervised import Round
from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.verdicts import Status, Word
from rekindle.engine.results import Begun, Idle, SuperviseOptions, WorkOptions, WorkReport
from rekindle.engine.session import Session
from rekindle.engine.supervising import supervise as engine

Command = TypeVar("Command", bound=Callable[..., Any])

_GUARDS = (
    click.option("--max-reruns", type=int, default=1, metavar="N", help="Run it again N times at most. [default: 1]"),
    click.option(
        "--max-failure-percent",
        type=float,
        default=50.0,
        metavar="P",
        help="Stop when more than P percent of the jobs match; aggregates do not count. [default: 50]",
    ),
    click.option(
        "--on",
        multiple=True,
        default=("error",),
        metavar="STATUSES",
        help="What to run again: error, blocker, warning, canceled. [default: error]",
    ),
    click.option("--on-cause", multiple=True, metavar="CAUSES", help="Of what failed, only for these causes."),
    click.option(
        "--group-by", metavar="WORD", help="Groups by host, signature, cause, template or matrix.NAME; see the next."
    ),
    click.option(
        "--max-group-percent",
        type=float,
        metavar="P",
        help="Leave groups alone of which more than P percent match; of all jobs, for signature and cause.",
    ),
    click.option(
        "--canary",
        type=int,
        metavar="N",
        help="In each round run N of those that failed alike first, and the others only when these pass.",
    ),
    click.option("--max-attempts", type=int, metavar="N", help="All reruns together take N attempts at most."),
    click.option("--max-core-hours", type=float, metavar="H", help="They take H hours of a core at most."),
    click.option("--max-time", callback=read_duration, metavar="D", help="None begins later than D after the start."),
)

_GUARD_NAMES = (
    "max_reruns",
    "max_failure_percent",
    "on",
    "on_cause",
    "group_by",
    "max_group_percent",
    "canary",
    "max_attempts",
    "max_core_hours",
    "max_time",
)


def guard_options(command: Command) -> Command:
    """Give a command the guards; it gets them as one argument, `guards`, read and checked."""

    @functools.wraps(command)
    def with_guards(*args: Any, **kwargs: Any) -> Any:
        guards = _guards(**{name: kwargs.pop(name) for name in _GUARD_NAMES})
        return command(*args, guards=guards, **kwargs)

    decorated: Any = with_guards
    for decorate in reversed(_GUARDS):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


def _guards(**given: Any) -> Guards:
    hours: float | None = given["max_core_hours"]
    guards = Guards(
        max_reruns=given["max_reruns"],
        max_failure_percent=given["max_failure_percent"],
        on=read_statuses("--on", given["on"]),
        on_causes=read_causes("--on-cause", given["on_cause"]),
        group_by=given["group_by"],
        max_group_percent=given["max_group_percent"],
        canary=given["canary"],
        budget=Budget(given["max_attempts"], None if hours is None else hours * 3600, given["max_time"]),
    )
    check_guards(guards)
    return guards


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@guard_options
@click.option(
    "--poll",
    callback=read_duration,
    default="30s",
    metavar="D",
    help="Look at least so often, should nobody ring. [default: 30s]",
)
@click.option(
    "--wait-timeout",
    callback=read_duration,
    metavar="D",
    help="End, with exit code 6, when a round takes longer than this; running jobs go on.",
)
@click.option("--no-work", is_flag=True, help="Run nothing here: others work on it.")
@click.option("--take-over", is_flag=True, help="Go on for a supervisor elsewhere of which you know that it is dead.")
@click.option(
    "--note", metavar="TEXT", callback=check_text, help="Kept with each rerun, for whoever reads the history."
)
@capacity_options
@fail_on_option
@json_option
def supervise(
    workflow: str,
    guards: Guards,
    poll: float,
    wait_timeout: float | None,
    no_work: bool,
    take_over: bool,
    note: str | None,
    slots: int | None,
    executor: str,
    memory: int | None,
    gpus: int,
    licence: tuple[str, ...],
    fail_on: frozenset[Word],
    as_json: bool,
) -> int:
    """Run WORKFLOW, and run again what fails, within guards. WORKFLOW is an id, or a name: the newest of it.

    When nothing of it can run any more, the jobs that match run again with all that needs them, up to a number of
    times. It ends with what a rerun has fixed, what fails still, and what was not run again and why. Should it die,
    the same command goes on where it was; `rekindle reruns list` shows what it did.

    Exit code, as the batch stands at the end: 0 all well, 2 errors are left, 5 canceled, 6 timed out; 7 blockers and
    8 warnings are left, where --on or --fail-on names them.

    \b
    Example:
      rekindle supervise sweep -j 4
      rekindle supervise nightly --max-reruns 3 --on-cause lost,timeout --max-attempts 100
      rekindle supervise nightly --group-by host --max-group-percent 40 --no-work
    """
    if poll <= 0:
        raise BadValue(f"--poll {poll:g}s: it has to be more than nothing", hint="--poll 30s")
    if no_work and slots is not None:
        raise UsageError("-j says how to work, and --no-work not to", hint="leave out one of them")
    capacity = WorkOptions(
        slots=slots, executor=executor, memory=memory, gpus=gpus, licences=licences(licence), wait_timeout=wait_timeout
    )
    options = SuperviseOptions(workflow, guards, poll, wait_timeout, note, take_over)
    with opened() as session:
        run = None if no_work else _worker(session, workflow, capacity, quiet=as_json)
        report = engine.supervise(session, options, run, _tell)
        code = report.exit_code(fail_on | {word for word in Word if Status(word.value) in guards.on})
        if as_json:
            shapes.emit(report_document(report, code))
        else:
            draw_report(report)
        engine.told(session, report)
    return code


def _worker(
    session: Session, workflow: str, capacity: WorkOptions, *, quiet: bool
) -> Callable[[float | None], WorkReport]:
    def run(left: float | None) -> WorkReport:
        report = progress_shown(session, replace(capacity, workflow=workflow, wait_timeout=left), quiet=quiet)
        if report.inherited.found:
            click.echo(inherited_line(report.inherited), err=True)
        for name, pids in report.stuck:
            click.echo(stuck_line(name, pids), err=True)
        return report

    return run


def _tell(news: Begun | Round | Idle) -> None:
    """What happens meanwhile, on stderr."""
    match news:
        case Begun(supervision=number, resumed=True, reruns=reruns):
            click.echo(f"supervision {number} goes on: {drawing.many(reruns, 'rerun')} so far", err=True)
        case Begun(supervision=number, given_up=earlier):
            ended = (
                f"; supervision {earlier}, which died and was asked for other things, is given up" if earlier else ""
            )
            click.echo(f"supervision {number} begins{ended}", err=True)
        case Round():
            of = f"{news.matching:,} of {drawing.many(news.total, 'job')}"
            click.echo(f"round {news.number}: {of} match ({news.percent:.1f} %): rerun {news.rerun}", err=True)
            for group, percent in news.stopped.items():
                click.echo(f"  left alone: {drawing.flat(group) or '(none)'}, {percent:.1f} % of it", err=True)
        case Idle():
            left = drawing.many(news.claimable + news.active, "job")
            click.echo(f"{left} to run; no runner is alive: rekindle work", err=True)
