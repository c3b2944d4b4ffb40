"""`rekindle supervise`: run a workflow, and rerun its failures within guards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec.structs import replace

from rekindle.cli.commands import submit
from rekindle.cli.commands.simulations import simulation_options
from rekindle.cli.options import (
    capacity_options,
    check_text,
    fail_on_option,
    json_option,
    read_duration,
    report_options,
    submit_options,
)
from rekindle.cli.output import attempt_tables, json_output, terminal
from rekindle.cli.output.runs import inherited_line, ran_line, retry_limit_line, stuck_line, work_with_progress
from rekindle.cli.output.terminal import Column
from rekindle.cli.sessions import opened, opened_for
from rekindle.domain.batches.flakiness import PassHistory
from rekindle.domain.batches.supervision import Budget, Guards, check_guards, parse_causes, parse_statuses
from rekindle.domain.batches.supervision_report import FixedJob, RoundReport, SupervisionReport
from rekindle.domain.errors import BadValue, NotFound, UsageError
from rekindle.domain.verdicts import Status, VerdictLevel
from rekindle.engine.queries.selections import find_workflow
from rekindle.engine.queries.workflow_queries import names_of_groups
from rekindle.engine.results import (
    JobNames,
    NoLiveRunner,
    SubmitResult,
    SuperviseOptions,
    SupervisionStarted,
    WorkOptions,
    WorkReport,
)
from rekindle.engine.supervising import supervise as engine
from rekindle.presentation import documents, words
from rekindle.presentation.batch_documents import supervision
from rekindle.presentation.workflows import quarantine_lines

if TYPE_CHECKING:
    from rekindle.cli.output.reports import RunReports
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
        help="Rerun jobs with these statuses: error, blocker, warning, canceled. Without canceled, one canceled job "
        "ends all reruns. [default: error]",
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
@click.argument("target", metavar="WORKFLOW|SPEC")
@submit_options
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
@report_options
@json_option
@simulation_options
def supervise(
    target: str,
    guards: Guards,
    poll: float,
    wait_timeout: float | None,
    no_work: bool,
    take_over: bool,
    note: str | None,
    capacity: WorkOptions,
    fail_on: frozenset[VerdictLevel],
    reports: RunReports,
    as_json: bool,
    **submission: Any,
) -> int:
    """Run WORKFLOW, and rerun its failures, within guards. WORKFLOW is an id, or a name (of several, the newest).

    SPEC, a file, is submitted first, as `rekindle submit` does; completed jobs that are stale do not run again.
    If a workflow has the name of a file, the workflow is meant, and ./FILE means the file.

    When no job can run, the matching jobs run again, and every job that needs one, up to --max-reruns times. The
    report lists jobs that a rerun fixed, jobs that still fail, and jobs that were not rerun with the reason. If the
    supervisor dies, the same command continues; `rekindle reruns list` shows its reruns.

    If a job was canceled, nothing is rerun, as the batch is taken for canceled; with --on error,canceled, canceled
    jobs run again too. Failed jobs in quarantine (see `quarantine:` of specs) match no guard and are not rerun.

    Exit code for the whole workflow at the end: 0 no error is left, 2 errors are left, 5 canceled, 6 timed out; with
    --on or --fail-on: 7 blockers are left, 8 warnings are left.

    \b
    Example:
      rekindle supervise sweep -j 4
      rekindle supervise nightly.yaml --junit junit.xml --ci auto
      rekindle supervise nightly --max-reruns 3 --on-cause lost,timeout --max-attempts 100
      rekindle supervise nightly --group-by host --max-group-percent 40 --no-work
      rekindle supervise nightly --simulate --max-reruns 3 --canary 1
    """
    if poll <= 0:
        raise BadValue(f"--poll {poll:g}s is not more than 0", hint="--poll 30s")
    for option, given in (("-j", capacity.slots), ("--retries-at-most", capacity.retries_at_most)):
        if no_work and given is not None:
            raise UsageError(f"{option} and --no-work exclude each other", hint="leave out one of them")
    capacity = replace(capacity, wait_timeout=wait_timeout)
    with opened_for(target) if Path(target).is_file() else opened() as session:
        began = session.clock()
        number, submitted = _submitted(session, target, submission, quiet=as_json)
        workflow = str(number)
        options = SuperviseOptions(workflow, guards, poll, wait_timeout, note, take_over)
        run = None if no_work else _worker(session, workflow, capacity, reports, quiet=as_json)
        with reports.kept_on_interrupt(session, number, began):
            report = engine.supervise(session, options, run, _print_news)
        code = report.exit_code(fail_on | {word for word in VerdictLevel if Status(word.value) in guards.on})
        if as_json:
            document = {"submitted": documents.submitted(submitted)} if submitted else {}
            json_output.emit({**supervision(report, code), **document})
        else:
            draw_report(report, names_of_groups(session, [one.jobs for one in report.failing[:_MOST]]))
        reports.finish(session, report.workflow, report.began, code)
        engine.acknowledge(session, report)
    return code


def _submitted(
    session: Session, target: str, submission: Mapping[str, Any], *, quiet: bool
) -> tuple[int, SubmitResult | None]:
    """Return the workflow that `target` names, or submit it as a file. Raise NotFound if it is neither, and UsageError
    for the options of a submission with a workflow."""
    is_file = Path(target).is_file()
    try:
        known = find_workflow(session, target)
    except NotFound as none:
        if is_file:
            name, new, revise = submission["name"], submission["new"], submission["revise"]
            definition = submit.loaded(target, submission["param"], new, revise, quiet=quiet)
            done = submit.stored(session, definition, name=name, new=new, revise=revise, quiet=quiet)
            submit.print_submitted(done)
            return done.workflow, done
        raise NotFound(f"no such workflow or spec file: {target}", hint=none.hint) from None
    if is_file:
        path = words.one_line(target)
        click.echo(f"note: {path} is workflow {known.id} and a file; ./{path} submits the file", err=True)
    if any(submission.values()):
        raise UsageError(
            f"--param, --as, --new and --revise are for a spec file, and {words.one_line(target)} is a workflow",
            hint="leave them out, or name the file",
        )
    return known.id, None


def _worker(
    session: Session, workflow: str, capacity: WorkOptions, reports: RunReports, *, quiet: bool
) -> Callable[[float | None], WorkReport]:
    title = f"rekindle: jobs of {find_workflow(session, workflow).name}"

    def run(left: float | None) -> WorkReport:
        retries = engine.retries_left(session, workflow, capacity.retries_at_most)
        options = replace(capacity, workflow=workflow, wait_timeout=left, retries_at_most=retries)
        with reports.section(session, title):
            report = work_with_progress(session, options, quiet=quiet)
            if reports.has_sections:
                click.echo(ran_line(report), err=True)
        if report.not_retried:
            click.echo(retry_limit_line(report.not_retried), err=True)
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
            click.echo(f"supervision {number} continues: {words.plural(reruns, 'rerun')} so far", err=True)
        case SupervisionStarted(supervision=number, given_up=earlier):
            ended = f"; supervision {earlier}, which died and had other options, is given up" if earlier else ""
            click.echo(f"supervision {number} begins{ended}", err=True)
        case RoundReport():
            of = f"{news.matching:,} of {words.plural(news.total, 'job')} match ({news.percent:.1f} %)"
            aggregates = f", and {words.plural(news.aggregates, 'aggregate')}" if news.aggregates else ""
            click.echo(f"round {news.number}: {of}{aggregates}: rerun {news.rerun}", err=True)
            for group, percent in news.stopped.items():
                click.echo(f"  left alone: {words.one_line(group) or '(none)'}, {percent:.1f} % of it", err=True)
        case NoLiveRunner():
            left = words.plural(news.claimable + news.active, "job")
            click.echo(f"{left} to run; no runner is alive: rekindle work", err=True)


def draw_report(report: SupervisionReport, names: JobNames) -> None:
    """Print the report. `names`: of the jobs that still fail."""
    for part in _parts(report, names):
        click.echo(part)


def _parts(report: SupervisionReport, names: JobNames) -> Iterator[str]:
    again = words.plural(report.reruns, "rerun") if report.reruns else "no rerun"
    why = words.one_line(report.why or report.end.value)
    yield f"{words.one_line(report.name)}: {again}; it ended because {why}"
    counts = ", ".join(f"{number:,} {terminal.coloured(status.value)}" for status, number in report.statuses.items())
    yield f"jobs now: {counts or 'none'}"
    if report.held:
        command = f"rekindle release -w {report.workflow} -f held=true"
        yield f"held: {words.plural(report.held, 'job')}    let go: {command}"
    yield from quarantine_lines(report.quarantined)
    for name, asks in report.never_fit:
        yield f"{words.one_line(name)} can never start here: {asks}"
    if len(report.rounds) > 1 or report.reruns:
        yield "\n" + _rounds(report)
    if report.fixed:
        yield f"\nfixed by running again ({len(report.fixed):,}):\n" + _fixed(report.fixed)
    if report.failing:
        yield f"\nfailing still ({sum(len(one.jobs) for one in report.failing):,}):\n" + _failing(report, names)
    if report.left:
        yield f"\nnot run again ({len(report.left):,}):\n" + _left(report)
    if report.reruns:
        core = words.duration(report.core_seconds)
        yield f"\nthe reruns took {words.plural(report.attempts, 'attempt')}, {core} of a core"
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


def _failing(report: SupervisionReport, names: JobNames) -> str:
    columns = [
        Column("COUNT", right=True),
        Column("SIGNATURE"),
        Column("CAUSE", optional=True),
        Column("ERROR", cut="middle"),
        Column("JOBS", cut="end", keep=True),
    ]
    rows = [
        (
            f"{len(one.jobs):,}",
            one.signature[:10],
            one.cause,
            ": ".join(part for part in (one.type, words.one_line(one.message)) if part) or one.cause,
            attempt_tables.jobs_cell(one.jobs, names),
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
