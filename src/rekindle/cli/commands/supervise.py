"""`rekindle supervise`: run a workflow, and rerun its failures within guards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec.structs import replace

from rekindle.cli.options import capacity_options, check_text, fail_on_option, json_option, licences, read_duration
from rekindle.cli.output import attempt_text, json_output, terminal
from rekindle.cli.output.runs import inherited_line, stuck_line, work_with_progress
from rekindle.cli.output.terminal import Column
from rekindle.cli.sessions import opened
from rekindle.domain.batches.flakiness import PassHistory
from rekindle.domain.batches.supervision import Budget, Guards, check_guards, parse_causes, parse_statuses
from rekindle.domain.batches.supervision_report import FixedJob, RoundReport, SupervisionReport
from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.verdicts import Status, VerdictLevel
from rekindle.engine.results import NoLiveRunner, SuperviseOptions, SupervisionStarted, WorkOptions, WorkReport
from rekindle.engine.supervising import supervise as engine

if TYPE_CHECKING:
    from rekindle.engine.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])

_MOST = 20
"""Rows of a table; the JSON has all."""

_HOW = {PassHistory.FLAKY: "flaky", PassHistory.MODIFIED: "passed modified"}

_GUARDS = (
    click.option(
        "--max-reruns", type=int, default=1, metavar="N", help="Rerun the failures N times at most. [default: 1]"
    ),
    click.option(
        "--max-failure-percent",
        type=float,
        default=50.0,
        metavar="P",
        help="Stop if more than P percent of the jobs match; aggregates do not count. [default: 50]",
    ),
    click.option(
        "--on",
        multiple=True,
        default=("error",),
        metavar="STATUSES",
        help="Rerun jobs with these statuses: error, blocker, warning, canceled. [default: error]",
    ),
    click.option("--on-cause", multiple=True, metavar="CAUSES", help="Rerun failed jobs only for these causes."),
    click.option(
        "--group-by",
        metavar="WORD",
        help="Group by host, signature, cause, template or matrix.NAME, for --max-group-percent.",
    ),
    click.option(
        "--max-group-percent",
        type=float,
        metavar="P",
        help="Skip a group if more than P percent of it match (signature and cause: of all jobs).",
    ),
    click.option(
        "--canary",
        type=int,
        metavar="N",
        help="In each round run N jobs of each signature first, and the others only if these pass.",
    ),
    click.option("--max-attempts", type=int, metavar="N", help="Limit all reruns together to N attempts."),
    click.option("--max-core-hours", type=float, metavar="H", help="Limit all reruns together to H core hours."),
    click.option(
        "--max-time", callback=read_duration, metavar="D", help="Start no rerun later than D after the start."
    ),
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
    """Add the guards to a command. The command gets them as one checked argument, `guards`."""

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
        on=parse_statuses("--on", given["on"]),
        on_causes=parse_causes("--on-cause", given["on_cause"]),
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
    help="Read the store at least this often. [default: 30s]",
)
@click.option(
    "--wait-timeout",
    callback=read_duration,
    metavar="D",
    help="Exit with 6 if a round takes longer than this; running jobs continue.",
)
@click.option("--no-work", is_flag=True, help="Run nothing here: other runners work on the workflow.")
@click.option("--take-over", is_flag=True, help="Continue for a supervisor on another host that is known to be dead.")
@click.option("--note", metavar="TEXT", callback=check_text, help="Keep a note with each rerun, for the history.")
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
    fail_on: frozenset[VerdictLevel],
    as_json: bool,
) -> int:
    """Run WORKFLOW, and rerun its failures, within guards. WORKFLOW is an id, or a name (of several, the newest).

    When no job can run, the matching jobs run again, and every job that needs one, up to --max-reruns times. The
    report lists jobs that a rerun fixed, jobs that still fail, and jobs that were not rerun with the reason. If the
    supervisor dies, the same command continues; `rekindle reruns list` shows its reruns.

    Exit code for the whole workflow at the end: 0 no error is left, 2 errors are left, 5 canceled, 6 timed out; with
    --on or --fail-on: 7 blockers are left, 8 warnings are left.

    \b
    Example:
      rekindle supervise sweep -j 4
      rekindle supervise nightly --max-reruns 3 --on-cause lost,timeout --max-attempts 100
      rekindle supervise nightly --group-by host --max-group-percent 40 --no-work
    """
    if poll <= 0:
        raise BadValue(f"--poll {poll:g}s is not more than 0", hint="--poll 30s")
    if no_work and slots is not None:
        raise UsageError("-j and --no-work exclude each other", hint="leave out one of them")
    capacity = WorkOptions(
        slots=slots, executor=executor, memory=memory, gpus=gpus, licences=licences(licence), wait_timeout=wait_timeout
    )
    options = SuperviseOptions(workflow, guards, poll, wait_timeout, note, take_over)
    with opened() as session:
        run = None if no_work else _worker(session, workflow, capacity, quiet=as_json)
        report = engine.supervise(session, options, run, _print_news)
        code = report.exit_code(fail_on | {word for word in VerdictLevel if Status(word.value) in guards.on})
        if as_json:
            json_output.emit(report_document(report, code))
        else:
            draw_report(report)
        engine.acknowledge(session, report)
    return code


def _worker(
    session: Session, workflow: str, capacity: WorkOptions, *, quiet: bool
) -> Callable[[float | None], WorkReport]:
    def run(left: float | None) -> WorkReport:
        report = work_with_progress(session, replace(capacity, workflow=workflow, wait_timeout=left), quiet=quiet)
        if report.orphan_counts.found:
            click.echo(inherited_line(report.orphan_counts), err=True)
        for name, pids in report.stuck:
            click.echo(stuck_line(name, pids), err=True)
        return report

    return run


def _print_news(news: SupervisionStarted | RoundReport | NoLiveRunner) -> None:
    """Print news of the supervision on stderr."""
    match news:
        case SupervisionStarted(supervision=number, resumed=True, reruns=reruns):
            click.echo(f"supervision {number} continues: {terminal.plural(reruns, 'rerun')} so far", err=True)
        case SupervisionStarted(supervision=number, given_up=earlier):
            ended = f"; supervision {earlier}, which died and had other options, is given up" if earlier else ""
            click.echo(f"supervision {number} begins{ended}", err=True)
        case RoundReport():
            of = f"{news.matching:,} of {terminal.plural(news.total, 'job')} match ({news.percent:.1f} %)"
            aggregates = f", and {terminal.plural(news.aggregates, 'aggregate')}" if news.aggregates else ""
            click.echo(f"round {news.number}: {of}{aggregates}: rerun {news.rerun}", err=True)
            for group, percent in news.stopped.items():
                click.echo(f"  left alone: {terminal.one_line(group) or '(none)'}, {percent:.1f} % of it", err=True)
        case NoLiveRunner():
            left = terminal.plural(news.claimable + news.active, "job")
            click.echo(f"{left} to run; no runner is alive: rekindle work", err=True)


def report_document(report: SupervisionReport, code: int) -> dict[str, Any]:
    """Return the report as JSON."""
    return {
        "supervision": report.supervision,
        "workflow": report.workflow,
        "name": report.name,
        "end": report.end.value,
        "why": report.why,
        "exit_code": code,
        "reruns": report.reruns,
        "rounds": [_round(one) for one in report.rounds],
        "statuses": {status.value: number for status, number in report.statuses.items()},
        "fixed": [
            {
                "id": one.id,
                "name": one.name,
                "attempts": one.attempts,
                "status": one.status.value,
                "passed": one.passed.value if one.passed else None,
            }
            for one in report.fixed
        ],
        "failing": [
            {
                "signature": one.signature,
                "cause": one.cause,
                "type": one.type,
                "message": one.message,
                "count": len(one.jobs),
                "jobs": list(one.jobs),
            }
            for one in report.failing
        ],
        "left": [{"id": one.id, "name": one.name, "why": one.why} for one in report.left],
        "never_fit": [{"name": name, "asks": asks} for name, asks in report.never_fit],
        "held": report.held,
        "attempts": report.attempts,
        "core_seconds": report.core_seconds,
        "seconds": report.seconds,
    }


def _round(one: RoundReport) -> dict[str, Any]:
    return {
        "round": one.number,
        "percent": one.percent,
        "matching": one.matching,
        "total": one.total,
        "aggregates": one.aggregates,
        "rerun": one.rerun,
        "jobs": one.jobs,
        "stopped": dict(one.stopped),
    }


def draw_report(report: SupervisionReport) -> None:
    """Print the report."""
    for part in _parts(report):
        click.echo(part)


def _parts(report: SupervisionReport) -> Iterator[str]:
    again = terminal.plural(report.reruns, "rerun") if report.reruns else "no rerun"
    why = terminal.one_line(report.why or report.end.value)
    yield f"{terminal.one_line(report.name)}: {again}; it ended because {why}"
    counts = ", ".join(f"{number:,} {terminal.coloured(status.value)}" for status, number in report.statuses.items())
    yield f"jobs now: {counts or 'none'}"
    if report.held:
        command = f"rekindle release -w {report.workflow} -f held=true"
        yield f"held: {terminal.plural(report.held, 'job')}    let go: {command}"
    for name, asks in report.never_fit:
        yield f"{terminal.one_line(name)} can never start here: {asks}"
    if len(report.rounds) > 1 or report.reruns:
        yield "\n" + _rounds(report)
    if report.fixed:
        yield f"\nfixed by running again ({len(report.fixed):,}):\n" + _fixed(report.fixed)
    if report.failing:
        yield f"\nfailing still ({sum(len(one.jobs) for one in report.failing):,}):\n" + _failing(report)
    if report.left:
        yield f"\nnot run again ({len(report.left):,}):\n" + _left(report)
    if report.reruns:
        core = terminal.duration(report.core_seconds)
        yield f"\nthe reruns took {terminal.plural(report.attempts, 'attempt')}, {core} of a core"
    if report.failing:
        yield f"look: rekindle failures -w {report.workflow}"


def _rounds(report: SupervisionReport) -> str:
    columns = [
        Column("ROUND", right=True),
        Column("MATCH", right=True),
        Column("OF", right=True),
        Column("AGGREGATES", right=True, drop=True),
        Column("PERCENT", right=True),
        Column("RERUN", right=True),
        Column("LEFT ALONE", cut="end", drop=True),
    ]
    rows = [
        (
            str(one.number),
            f"{one.matching:,}",
            f"{one.total:,}",
            f"{one.aggregates:,}" if one.aggregates else "",
            f"{one.percent:.1f}",
            "" if one.rerun is None else str(one.rerun),
            ", ".join(f"{group or '(none)'} {percent:.1f} %" for group, percent in one.stopped.items()),
        )
        for one in report.rounds
    ]
    return terminal.table(columns, rows)


def _fixed(fixed: tuple[FixedJob, ...]) -> str:
    columns = [
        Column("ID", right=True),
        Column("NAME", cut="middle", keep=True),
        Column("ATTEMPTS", right=True),
        Column("STATUS"),
        Column("HOW", drop=True),
    ]
    rows = [
        (str(one.id), one.name, str(one.attempts), one.status.value, _HOW.get(one.passed or PassHistory.PLAIN, ""))
        for one in fixed[:_MOST]
    ]
    return terminal.table(columns, rows) + _more(len(fixed))


def _failing(report: SupervisionReport) -> str:
    columns = [
        Column("COUNT", right=True),
        Column("SIGNATURE"),
        Column("CAUSE"),
        Column("ERROR", cut="end"),
        Column("JOBS", cut="end"),
    ]
    rows = [
        (
            f"{len(one.jobs):,}",
            one.signature[:10],
            one.cause,
            ": ".join(part for part in (one.type, terminal.one_line(one.message)) if part) or one.cause,
            attempt_text.id_ranges(one.jobs),
        )
        for one in report.failing[:_MOST]
    ]
    return terminal.table(columns, rows) + _more(len(report.failing))


def _left(report: SupervisionReport) -> str:
    columns = [Column("ID", right=True), Column("NAME", cut="middle", keep=True), Column("WHY", cut="end")]
    rows = [(str(one.id), one.name, one.why) for one in report.left[:_MOST]]
    return terminal.table(columns, rows) + _more(len(report.left))


def _more(number: int) -> str:
    return f"\n… and {number - _MOST:,} more: --json has all" if number > _MOST else ""
