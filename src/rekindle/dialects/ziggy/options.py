"""Options that several commands share, and their interpretation."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rekindle.domain.errors import BadSelection, BadValue, UsageError
from rekindle.domain.selection import Compare, Op, Selection
from rekindle.domain.states import ACTIVE, State
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.results import WorkOptions, WorkReport
from rekindle.query.job_keys import parse_ids
from rekindle.streams import outlives_reader

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])
Type = TypeVar("Type", bound=enum.StrEnum)

instance_option = click.option("-i", "--instance", metavar="ID", help="An instance: the ID of a workflow.")

tasks_option = click.option(
    "-t", "--task", "task", multiple=True, metavar="IDS", help="Task IDs: 3, 3,4 or 7-10. Can be repeated."
)


def work_options(command: Command) -> Command:
    """Add --work and -j (`and_work`, `slots`), for commands that can run the tasks that they make ready."""
    command = click.option("--work", "and_work", is_flag=True, help="Run the tasks now.")(command)
    slots = click.IntRange(min=1)
    option = click.option(
        "-j", "--jobs", "slots", type=slots, metavar="N", help="With --work: run up to N tasks at once."
    )
    return outlives_reader(option(command))


def selected_tasks(session: Session, instance: str | None, task: Sequence[str]) -> list[int]:
    """Return the ids of the named tasks, or of all tasks of an instance.

    Raise UsageError if neither or both are given, and NotFound if a task or instance does not exist.
    """
    if instance is not None and task:
        raise UsageError(
            "--instance and --task cannot be combined", hint="name tasks, or an instance for all its tasks"
        )
    if instance is not None:
        return selections.select(session, Selection(workflow=str(find_instance(session, instance).id)))
    if not task:
        raise UsageError("no task is given", hint="--task 3,4,7-10, or --instance N for all tasks of an instance")
    return selections.select(session, Selection(jobs=task_ids(task)))


def read_type(types: type[Type], name: str, word: str) -> Type:
    """Return the type that a word names, or raise BadValue. `name` is "display type" or "config type"."""
    try:
        return types(word.strip().lower().replace("_", "-"))
    except ValueError:
        raise BadValue(f"the {name} {word!r} is not recognized", hint="types are " + ", ".join(types)) from None


def task_ids(words: Sequence[str]) -> tuple[int, ...]:
    """Parse task IDs and ranges, separated by commas."""
    try:
        return parse_ids(words)
    except BadSelection as bad:
        raise BadSelection(f"--task: {bad.message}", hint="for instance --task 3,4,7-10") from None


def find_instance(session: Session, key: str) -> Workflow:
    """Return the workflow of an instance ID."""
    if not key.isdigit():
        raise BadValue(f"--instance takes an ID, not {key!r}", hint="`ziggy console display` lists them")
    return selections.find_workflow(session, key)


def parse_assignments(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Parse `NAME=VALUE` words; blanks in names count as `_`. Raise BadValue, naming an invalid word."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise BadValue(f"{option} takes NAME=VALUE, not {text!r}", hint=f"for instance {option} alpha=0.2")
        found["_".join(name.split())] = value
    return found


def check_work(and_work: bool, slots: int | None) -> None:
    """Raise UsageError for -j without --work."""
    if slots is not None and not and_work:
        raise UsageError("-j has no effect without --work", hint="add --work, or leave -j out")


def work_now(session: Session, instances: Sequence[int], slots: int | None) -> int:
    """Run ready tasks, of the instance if there is only one. Return the exit code."""
    from rekindle.engine.running.work import work

    only = str(instances[0]) if len(instances) == 1 else None
    report = work(session, WorkOptions(workflow=only, slots=slots))
    _print_report(report)
    return report.exit_code


def monitor(session: Session, instances: Sequence[int]) -> int:
    """Record the ends of tasks that run without a runner, until the last has ended; start none. Return the exit code.

    A signal ends this process and no task.
    """
    from rekindle.engine.running.signals import deliver
    from rekindle.engine.running.work import work

    only = str(instances[0]) if len(instances) == 1 else None
    nothing = Compare("id", Op.EQ, 0)
    report = work(session, WorkOptions(workflow=only, slots=1, only=nothing, linger=False, leave_on_interrupt=True))
    deliver(report.signal)
    _print_report(report)
    return report.exit_code


def warn_ready(session: Session, instances: Sequence[int]) -> None:
    """Print the command to type if tasks of the instances are ready or run, and no runner is alive."""
    found = [workflow_queries.status(session, str(one))[0] for one in instances]
    left = sum(one.counts.get(state, 0) for one in found for state in (State.READY, *ACTIVE))
    warn_no_runner(left, any(one.runners for one in found))


def _print_report(report: WorkReport) -> None:
    click.echo(f"ran: {report.completed:,} completed, {report.failed:,} failed, {report.canceled:,} halted", err=True)
    for name, asks in report.never_fit:
        click.echo(f"{name} can never start here: {asks}", err=True)


def warn_no_runner(ready: int, runner_alive: bool) -> None:
    """Print the command to type if tasks are ready and no runner is alive."""
    if ready and not runner_alive:
        click.echo("no runner is alive: rekindle work", err=True)
