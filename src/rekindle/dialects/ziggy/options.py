"""Options that several commands share, and what is meant by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from rekindle.domain.errors import BadSelection, BadValue, UsageError
from rekindle.domain.models import Workflow
from rekindle.domain.selection import Selection
from rekindle.engine.looking import look
from rekindle.engine.results import WorkOptions, WorkReport
from rekindle.engine.session import Session
from rekindle.query.words import parse_ids
from rekindle.streams import outlives_reader

Command = TypeVar("Command", bound=Callable[..., Any])

instance_option = click.option("-i", "--instance", metavar="ID", help="An instance: the ID of a workflow.")
"""`instance`."""

tasks_option = click.option(
    "-t", "--task", "task", multiple=True, metavar="IDS", help="Tasks by ID: 3, 3,4 or 7-10; repeat it for more."
)
"""`task`."""


def work_options(command: Command) -> Command:
    """`and_work` and `slots`: of whatever may run what it has made ready."""
    command = click.option("--work", "and_work", is_flag=True, help="Run it at once.")(command)
    slots = click.IntRange(min=1)
    option = click.option("-j", "--jobs", "slots", type=slots, metavar="N", help="With --work: N tasks at once.")
    return outlives_reader(option(command))


def wanted(session: Session, instance: str | None, task: Sequence[str]) -> list[int]:
    """The tasks that are meant: those named, or all of an instance. UsageError for none and for both, NotFound for
    what is not there."""
    if instance is not None and task:
        raise UsageError("both --instance and --task: which of them?", hint="name tasks, or an instance for all of its")
    if instance is not None:
        return look.select(session, Selection(workflow=str(the_instance(session, instance).id)))
    if not task:
        raise UsageError("say which tasks", hint="--task 3,4,7-10, or --instance N for all of an instance")
    return look.select(session, Selection(jobs=task_ids(task)))


def task_ids(words: Sequence[str]) -> tuple[int, ...]:
    """IDs, separated by commas, and ranges of them."""
    try:
        return parse_ids(words)
    except BadSelection as bad:
        raise BadSelection(f"--task: {bad.message}", hint="for instance --task 3,4,7-10") from None


def the_instance(session: Session, key: str) -> Workflow:
    """The workflow of that ID."""
    if not key.isdigit():
        raise BadValue(f"--instance takes an ID, not {key!r}", hint="`ziggy console display` lists them")
    return look.find_workflow(session, key)


def assigned(option: str, texts: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` words as a mapping; BadValue names the one that is none."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise BadValue(f"{option} takes NAME=VALUE, not {text!r}", hint=f"for instance {option} alpha=0.2")
        found[name] = value
    return found


def check_work(and_work: bool, slots: int | None) -> None:
    """UsageError for a number of tasks at once where none are run."""
    if slots is not None and not and_work:
        raise UsageError("-j says how to work", hint="add --work, or leave it out")


def work_now(session: Session, instances: Sequence[int], slots: int | None) -> int:
    """Run what is ready, of the instance if it is only one; the exit code."""
    from rekindle.engine.running.run import work

    only = str(instances[0]) if len(instances) == 1 else None
    report = work(session, WorkOptions(workflow=only, slots=slots))
    _tell(report)
    return report.exit_code


def _tell(report: WorkReport) -> None:
    click.echo(f"ran: {report.completed:,} completed, {report.failed:,} failed, {report.canceled:,} halted", err=True)
    for name, asks in report.never_fit:
        click.echo(f"{name} can never start here: {asks}", err=True)


def tell_ready(ready: int, runner_alive: bool) -> None:
    """That nobody runs what is ready, and what to type."""
    if ready and not runner_alive:
        click.echo("no runner is alive: rekindle work", err=True)
