"""`ziggy console display`: instances and tasks, in Ziggy's tables and terms."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from rekindle.dialects.command_session import open_store
from rekindle.dialects.ziggy.alerts import read_alerts
from rekindle.dialects.ziggy.options import find_instance, instance_option, read_type, task_ids
from rekindle.dialects.ziggy.restart_modes import refusals_by_mode
from rekindle.dialects.ziggy.tasks import ProcessingStep, SubtaskCounts, Task, read_tasks
from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.selection import Selection
from rekindle.domain.states import ENDED_BADLY, State
from rekindle.engine.queries import job_queries, selections, workflow_queries

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.engine.results import WorkflowStatus
    from rekindle.engine.session import Session


class DisplayType(enum.StrEnum):
    """The display types."""

    ALERTS = "alerts"
    ERRORS = "errors"
    FULL = "full"
    STATISTICS = "statistics"
    STATISTICS_DETAILED = "statistics-detailed"


@click.command()
@click.option("-d", "--displayType", "kind", metavar="TYPE", help="alerts, errors, full or statistics.")
@instance_option
@click.option("-t", "--task", metavar="ID", help="Show this task and its restart modes.")
def display(kind: str | None, instance: str | None, task: str | None) -> None:
    """Display the instances, the tasks of an instance by node, or one task. --displayType selects more.

    \b
    Example:
      rekindle ziggy console display
      rekindle ziggy console display --instance 2 --displayType full
      rekindle ziggy console display --task 3
    """
    shown = None if kind is None else read_type(DisplayType, "display type", kind)
    if instance is not None and task is not None:
        raise UsageError("--instance and --task cannot be combined", hint="leave one out")
    if shown is not None and instance is None:
        raise UsageError("an instance is not specified", hint="--displayType goes with --instance ID")
    if shown is DisplayType.STATISTICS_DETAILED:
        raise Refused("there is no detailed report in PDF", hint="--displayType statistics shows times by node")
    with open_store() as session:
        if task is not None:
            _show_task(session, task)
        elif instance is None:
            _show_instances("Pipeline Instances", workflow_queries.status(session))
        else:
            _show_instance(session, instance, shown)


# --- instances


def instance_state(one: WorkflowStatus) -> str:
    """Return an instance's state in Ziggy's terms."""
    counts = one.counts
    bad = sum(counts.get(state, 0) for state in ENDED_BADLY)
    moving = one.state in ("running", "ready")
    if bad:
        return "ERRORS_RUNNING" if moving else "ERRORS_STALLED"
    if one.state == "completed":
        return "COMPLETED"
    return "INITIALIZED" if one.seconds is None else "PROCESSING"


def _show_instances(title: str, found: Iterable[WorkflowStatus]) -> None:
    rows = [
        (
            str(one.workflow.id),
            one.workflow.name,
            format_time(one.workflow.submitted),
            instance_state(one),
            format_duration(one.seconds),
        )
        for one in found
    ]
    print_table(title, ("ID", "Pipeline", "Date", "Status", "Time"), rows, right=("ID",))


def _show_instance(session: Session, key: str, shown: DisplayType | None) -> None:
    number = find_instance(session, key).id
    if shown is DisplayType.ALERTS:
        _show_alerts(session, number)
        return
    tasks = read_tasks(session, selections.select(session, Selection(workflow=str(number))))
    if shown is DisplayType.ERRORS:
        _show_tasks("Task Summary", [one for one in tasks if one.error], session.clock())
        return
    if shown is not DisplayType.STATISTICS:
        _show_instances("Instance Summary", workflow_queries.status(session, str(number)))
    _show_node_summary(tasks)
    if shown is DisplayType.FULL:
        _show_tasks("Pipeline Tasks", tasks, session.clock())
    if shown is DisplayType.STATISTICS:
        _show_statistics(tasks, session.clock())
        _show_costs(tasks, job_queries.attempts(session, None, number), session.clock())
    lost = workflow_queries.status(session, str(number))[0].dead_runners
    if any(one.keeper is None for one in lost) and any(one.state is State.RUNNING for one in tasks):
        click.echo(f"\nnobody monitors the running tasks: rekindle work -w {number}", err=True)


_WAITING = (State.WAITING, State.READY)
_PROCESSING = (State.QUEUED, State.RUNNING)


def _show_node_summary(tasks: Sequence[Task]) -> None:
    rows = [(node, *_node_totals(found)) for node, found in _by_node(tasks).items()]
    columns = ("Node", "Waiting", "Processing", "Completed", "Failed", "Subtasks")
    print_table("Instance Task Summary", columns, [*rows, ("", *_node_totals(tasks))], right=columns[1:-1])


def _by_node(tasks: Iterable[Task]) -> dict[str, list[Task]]:
    """Group tasks by node, in the order of each node's first task."""
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(task.node, []).append(task)
    return found


def _node_totals(tasks: Iterable[Task]) -> tuple[str, ...]:
    found = list(tasks)
    total = sum((one.counts for one in found), SubtaskCounts())
    return (
        str(sum(one.state in _WAITING for one in found)),
        str(sum(one.state in _PROCESSING for one in found)),
        str(sum(one.step is ProcessingStep.COMPLETE for one in found)),
        str(sum(one.error or one.halted for one in found)),
        str(total),
    )


# --- tasks


def _show_tasks(title: str, tasks: Sequence[Task], now: float) -> None:
    columns = ("ID", "Node", "UOW", "Worker", "Status", "Subtasks", "Time")
    rows = [
        (str(one.id), one.node, one.unit, one.worker, one.status, str(one.counts), format_duration(_elapsed(one, now)))
        for one in tasks
    ]
    print_table(title, columns, rows, right=("ID",))


def _show_task(session: Session, word: str) -> None:
    ids = selections.select(session, Selection(jobs=task_ids([word])))
    tasks = read_tasks(session, ids)
    _show_tasks("Task Summary", tasks, session.clock())
    for task in tasks:
        rows = [
            (mode.typed, "yes" if why is None else "no", why or "")
            for mode, why in refusals_by_mode(session, task).items()
        ]
        print_table(f"Restart Modes of Task {task.id}", ("Mode", "Offered", "Why not"), rows)


def _show_alerts(session: Session, instance: int) -> None:
    rows = [
        (format_time(one.at), str(one.task), one.name, one.severity, one.message, format_time(one.acknowledged))
        for one in read_alerts(session, instance)
    ]
    columns = ("Date", "Task", "Source", "Severity", "Message", "Acknowledged")
    print_table("Alerts", columns, rows, right=("Task",))


def _show_statistics(tasks: Sequence[Task], now: float) -> None:
    rows = []
    for node, found in _by_node(tasks).items():
        times = [seconds for one in found if (seconds := _elapsed(one, now)) is not None]
        if times:
            mean = format_duration(sum(times) / len(times))
            rows.append(
                (
                    node,
                    str(len(times)),
                    format_duration(sum(times)),
                    mean,
                    format_duration(min(times)),
                    format_duration(max(times)),
                )
            )
    columns = ("Node", "Tasks", "Total", "Mean", "Min", "Max")
    print_table("Processing Time Statistics", columns, rows, right=("Tasks",))


def _show_costs(tasks: Sequence[Task], attempts: Sequence[Attempt], now: float) -> None:
    """Show the core-hours of all attempts by node, and an estimate for the tasks that are not complete."""
    spent: dict[int, list[float]] = {}
    cpus = {one.id: one.cpus for one in tasks}
    for attempt in attempts:
        if attempt.started is not None and attempt.job in cpus:
            seconds = max(0.0, (attempt.ended or now) - attempt.started)
            spent.setdefault(attempt.job, []).append(seconds * cpus[attempt.job] / 3600)
    rows, totals = [], [0.0, 0.0]
    for node, found in _by_node(tasks).items():
        used = [hours for one in found for hours in spent.get(one.id, ())]
        done = [spent[one.id][-1] for one in found if one.step is ProcessingStep.COMPLETE and one.id in spent]
        left = sum(one.step is not ProcessingStep.COMPLETE for one in found)
        mean = sum(done) / len(done) if done else sum(used) / len(used) if used else None
        estimate = 0.0 if not left else None if mean is None else left * mean
        totals = [totals[0] + sum(used), totals[1] + (estimate or 0.0)]
        rows.append((node, str(len(used)), f"{sum(used):.4f}", str(left), _hours(estimate)))
    rows.append(("", str(sum(map(len, spent.values()))), f"{totals[0]:.4f}", "", f"{totals[1]:.4f}"))
    columns = ("Node", "Attempts", "Core-hours", "Incomplete", "Estimate to complete")
    print_table("Cost Estimate", columns, rows, right=columns[1:])


def _hours(hours: float | None) -> str:
    return "unknown" if hours is None else f"{hours:.4f}"


def _elapsed(task: Task, now: float) -> float | None:
    return None if task.began is None else max(0.0, (task.ended or now) - task.began)


_SPACE = 2


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table. Columns named in `right` are right-aligned. Unprintable characters in cells become spaces."""
    cells = [[_flat(cell) for cell in row] for row in rows]
    widths = [max(len(line[at]) for line in [columns, *cells]) + _SPACE for at in range(len(columns))]
    lines = [
        "".join(_padded(*cell) for cell in zip(line, widths, columns, [right] * len(columns), strict=True)).rstrip()
        for line in [columns, *cells]
    ]
    click.echo("\n".join(["", title, "", lines[0], "-" * sum(widths), *lines[1:]]))


def format_time(at: float | None) -> str:
    """Format a timestamp as local time, or `-` for None."""
    return "-" if at is None else datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def format_duration(seconds: float | None) -> str:
    """Format seconds as `00:01:30`, or `-` for None."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def _flat(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)


def _padded(cell: str, width: int, column: str, right: Sequence[str]) -> str:
    return (cell.rjust(width - _SPACE) + " " * _SPACE) if column in right else cell.ljust(width)
