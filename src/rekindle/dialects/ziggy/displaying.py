"""`ziggy console display`: instances and tasks, in Ziggy's tables and words."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import click

from rekindle.dialects.opening import opened
from rekindle.dialects.ziggy.offering import offered
from rekindle.dialects.ziggy.options import instance_option, task_ids, the_instance
from rekindle.dialects.ziggy.tables import clock, date, print_table
from rekindle.dialects.ziggy.tasks import Counts, Step, Task, read_tasks
from rekindle.domain.errors import BadValue, Refused, UsageError
from rekindle.domain.models import Attempt
from rekindle.domain.selection import Selection
from rekindle.domain.states import ENDED_BADLY, State
from rekindle.engine.looking import look
from rekindle.engine.results import WorkflowStatus
from rekindle.engine.session import Session


class Shown(enum.StrEnum):
    """The display types."""

    ALERTS = "alerts"
    ERRORS = "errors"
    FULL = "full"
    STATISTICS = "statistics"
    STATISTICS_DETAILED = "statistics-detailed"


@click.command()
@click.option("-d", "--displayType", "kind", metavar="TYPE", help="alerts, errors, full or statistics.")
@instance_option
@click.option("-t", "--task", metavar="ID", help="A task by ID, with the restart modes that are offered for it.")
def display(kind: str | None, instance: str | None, task: str | None) -> None:
    """Display the instances, or the tasks of one by node; with a type more of it, or one task.

    \b
    Example:
      rekindle ziggy console display
      rekindle ziggy console display --instance 2 --displayType full
      rekindle ziggy console display --task 3
    """
    shown = None if kind is None else _read_kind(kind)
    if instance is not None and task is not None:
        raise UsageError("both --instance and --task: which of them?", hint="leave one out")
    if shown is not None and instance is None:
        raise UsageError("an instance is not specified", hint="--displayType goes with --instance ID")
    if shown is Shown.STATISTICS_DETAILED:
        raise Refused("there is no detailed report in PDF", hint="--displayType statistics shows times by node")
    with opened() as session:
        if task is not None:
            _show_task(session, task)
        elif instance is None:
            _show_instances("Pipeline Instances", look.status(session))
        else:
            _show_instance(session, instance, shown)


def _read_kind(word: str) -> Shown:
    try:
        return Shown(word.strip().lower().replace("_", "-"))
    except ValueError:
        raise BadValue(f"the display type {word!r} is not recognized", hint="types are " + ", ".join(Shown)) from None


# --- instances


def instance_state(one: WorkflowStatus) -> str:
    """An instance's state in Ziggy's words."""
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
        (str(one.workflow.id), one.workflow.name, date(one.workflow.submitted), instance_state(one), clock(one.seconds))
        for one in found
    ]
    print_table(title, ("ID", "Pipeline", "Date", "Status", "Time"), rows, right=("ID",))


def _show_instance(session: Session, key: str, shown: Shown | None) -> None:
    number = the_instance(session, key).id
    if shown is Shown.ALERTS:
        _show_alerts(look.attempts(session, None, number), session)
        return
    tasks = read_tasks(session, look.select(session, Selection(workflow=str(number))))
    if shown is Shown.ERRORS:
        _show_tasks("Task Summary", [one for one in tasks if one.error], session.clock())
        return
    if shown is not Shown.STATISTICS:
        _show_instances("Instance Summary", look.status(session, str(number)))
    _show_nodes(tasks)
    if shown is Shown.FULL:
        _show_tasks("Pipeline Tasks", tasks, session.clock())
    if shown is Shown.STATISTICS:
        _show_times(tasks, session.clock())
    lost = look.status(session, str(number))[0].dead_runners
    if any(one.keeper is None for one in lost) and any(one.state is State.RUNNING for one in tasks):
        again = f"ziggy console restart --restartMode resume-monitoring --instance {number}"
        click.echo(f"\nnobody monitors what runs: {again}", err=True)


_WAITING = (State.WAITING, State.READY)
_PROCESSING = (State.QUEUED, State.RUNNING)


def _show_nodes(tasks: Sequence[Task]) -> None:
    rows = [(node, *_summed(found)) for node, found in _by_node(tasks).items()]
    columns = ("Node", "Waiting", "Processing", "Completed", "Failed", "Subtasks")
    print_table("Instance Task Summary", columns, [*rows, ("", *_summed(tasks))], right=columns[1:-1])


def _by_node(tasks: Iterable[Task]) -> dict[str, list[Task]]:
    """The tasks of each node, nodes in the order of their first tasks."""
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(task.node, []).append(task)
    return found


def _summed(tasks: Iterable[Task]) -> tuple[str, ...]:
    found = list(tasks)
    total = sum((one.counts for one in found), Counts())
    return (
        str(sum(one.state in _WAITING for one in found)),
        str(sum(one.state in _PROCESSING for one in found)),
        str(sum(one.step is Step.COMPLETE for one in found)),
        str(sum(one.error or one.halted for one in found)),
        str(total),
    )


# --- tasks


def _show_tasks(title: str, tasks: Sequence[Task], now: float) -> None:
    columns = ("ID", "Node", "UOW", "Worker", "Status", "Subtasks", "Time")
    rows = [
        (str(one.id), one.node, one.unit, one.worker, one.status, str(one.counts), clock(_elapsed(one, now)))
        for one in tasks
    ]
    print_table(title, columns, rows, right=("ID",))


def _show_task(session: Session, word: str) -> None:
    ids = look.select(session, Selection(jobs=task_ids([word])))
    tasks = read_tasks(session, ids)
    _show_tasks("Task Summary", tasks, session.clock())
    for task in tasks:
        rows = [(mode.typed, "yes" if why is None else "no", why or "") for mode, why in offered(session, task).items()]
        print_table(f"Restart Modes of Task {task.id}", ("Mode", "Offered", "Why not"), rows)


def _show_alerts(attempts: Sequence[Attempt], session: Session) -> None:
    """Everything that has failed or was halted, reruns since or not."""
    bad = [one for one in attempts if one.state in ENDED_BADLY]
    tasks = {one.id: one for one in read_tasks(session, sorted({one.job for one in bad}))}
    rows = [
        (
            date(one.ended),
            str(one.job),
            tasks[one.job].name,
            "ERROR" if one.cause != "canceled" else "HALTED",
            _said(one),
        )
        for one in bad
    ]
    print_table("Alerts", ("Date", "Task", "Source", "Severity", "Message"), rows, right=("Task",))


def _said(attempt: Attempt) -> str:
    cause = attempt.cause.value if attempt.cause else ""
    code = f" {attempt.exit_code}" if attempt.cause == "exit" else ""
    message = attempt.failure.message if attempt.failure else ""
    return f"{cause}{code}" + (f": {message}" if message else "")


def _show_times(tasks: Sequence[Task], now: float) -> None:
    rows = []
    for node, found in _by_node(tasks).items():
        times = [seconds for one in found if (seconds := _elapsed(one, now)) is not None]
        if times:
            mean = clock(sum(times) / len(times))
            rows.append((node, str(len(times)), clock(sum(times)), mean, clock(min(times)), clock(max(times))))
    columns = ("Node", "Tasks", "Total", "Mean", "Min", "Max")
    print_table("Processing Time Statistics", columns, rows, right=("Tasks",))


def _elapsed(task: Task, now: float) -> float | None:
    return None if task.begun is None else max(0.0, (task.ended or now) - task.begun)
