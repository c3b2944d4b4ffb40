"""`rekindle ziggy console`: Ziggy's commands. An instance is a workflow, a task is a job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import click

from rekindle.dialects.command_session import open_store, print_canceled
from rekindle.dialects.original_commands import OriginalGroup
from rekindle.dialects.ziggy.alerts import HALTED, acknowledge
from rekindle.dialects.ziggy.display import display
from rekindle.dialects.ziggy.options import find_instance, instance_option, selected_tasks, task_ids, tasks_option
from rekindle.dialects.ziggy.pipelines import config, start
from rekindle.dialects.ziggy.restart import restart
from rekindle.dialects.ziggy.tasks import Task, read_tasks
from rekindle.domain.errors import Refused, UnknownWord, UsageError
from rekindle.domain.selection import Compare, Op, Selection
from rekindle.domain.states import ENDED, State
from rekindle.engine.queries import job_queries, logs, selections
from rekindle.engine.running import reconcile
from rekindle.files.kept_logs import open_log_file

if TYPE_CHECKING:
    from rekindle.engine.results import LogFile
    from rekindle.engine.session import Session


@click.command()
@instance_option
@tasks_option
def halt(instance: str | None, task: tuple[str, ...]) -> None:
    """Halt the given tasks, or all incomplete tasks of an instance.

    Running processes are terminated, and waiting tasks do not start. Complete subtasks are kept: a restart runs the
    others. Each halted task raises an alert.

    \b
    Example:
      rekindle ziggy console halt --task 2 --task 3,4,7-10
      rekindle ziggy console halt --instance 2
    """
    with open_store() as session:
        tasks = read_tasks(session, selected_tasks(session, instance, task))
        ended = [one for one in tasks if one.state in ENDED]
        left = [one for one in tasks if one.state not in ENDED]
        for number, group in groupby(left, key=lambda one: one.instance):
            click.echo(f"Halting task(s) {', '.join(str(one.id) for one in group)} in instance {number}")
        done = reconcile.cancel(session, [one.id for one in left], HALTED)
        print_canceled(done)
        if task:
            for one in ended:
                click.echo(f"not halted: task {one.id} {one.name}: it is {one.status}", err=True)
        if not left and task:
            raise Refused("nothing is halted: all these tasks have ended")
        if not left:
            click.echo(f"instance {instance} has no incomplete task")


@click.command()
@click.option("-t", "--task", multiple=True, metavar="IDS", help="Task IDs. Can be repeated.")
@click.option("-e", "--errors", is_flag=True, help="Select all failed tasks.")
@instance_option
def log(task: tuple[str, ...], errors: bool, instance: str | None) -> None:
    """Print the logs of the given tasks, or of all failed tasks: their steps and their failed subtasks.

    \b
    Example:
      rekindle ziggy console log --task 3
      rekindle ziggy console log --errors --instance 2
    """
    if bool(task) == errors:
        raise UsageError("no task is given", hint="--task ID, or --errors for all failed tasks")
    with open_store() as session:
        workflow = None if instance is None else str(find_instance(session, instance).id)
        if errors:
            selection = Selection(workflow=workflow, where=Compare("state", Op.EQ, State.FAILED), everything=True)
        else:
            selection = Selection(workflow=workflow, jobs=task_ids(task))
        for one in read_tasks(session, selections.select(session, selection)):
            for file in _log_files(session, one):
                _print_log(one, file)


def _log_files(session: Session, task: Task) -> Iterator[LogFile]:
    """Yield the logs of the steps and failed subtasks of the task's newest attempt, archived or not."""
    attempts = job_queries.attempts(session, [task.id])
    if not attempts:
        click.echo(f"task {task.id} {task.name} has not run yet", err=True)
        return
    attempt = attempts[-1]
    yield from logs.log_files(session, task.id, attempt.number)
    names = job_queries.step_names(session, attempt)
    for position, subtasks in job_queries.subtasks(session, attempt).items():
        for one in subtasks:
            if one.state is State.FAILED:
                yield from logs.subtask_log_files(session, task.id, attempt.number, names[position], one.index)


def _print_log(task: Task, file: LogFile) -> None:
    try:
        with open_log_file(file.path) as log:
            content = log.read()
    except FileNotFoundError:
        return  # the step printed nothing
    if content:
        step = file.step if file.subtask is None else f"{file.step} {file.subtask.index}"
        click.echo(f"==> task {task.id} {task.name}, {step}, {file.stream} <==")
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


class AbbreviatedGroup(OriginalGroup):
    """A group whose commands can be abbreviated to a unique prefix."""

    def full_name(self, typed: str) -> str:
        """Return the command that a prefix means, or the word. Raise UnknownWord if the prefix is ambiguous."""
        found = [typed] if typed in self.commands else [one for one in self.commands if one.startswith(typed)]
        if len(found) > 1:
            raise UnknownWord(f"{typed!r} could be {' or '.join(found)}", hint="write one letter more")
        return found[0] if found else typed


@click.group(cls=AbbreviatedGroup)
def ziggy() -> None:
    """Speak Ziggy: the commands of its console.

    \b
    Example:
      rekindle ziggy console start sample.yaml "Test 1"
      rekindle ziggy console display --instance 1 --displayType full
      rekindle ziggy console restart --restartMode resubmit --task 3,4,7-10
    """


@click.group(cls=AbbreviatedGroup)
def console() -> None:
    """Start, show, halt and restart pipelines. Command names can be abbreviated.

    An instance is a workflow, and its ID is the workflow's; a task is a job, and its ID is the job's. `rekindle work`
    runs the tasks that these commands start.

    \b
    Example:
      rekindle ziggy console start sample.yaml "Test 2" permuter flip
      rekindle ziggy console display --instance 2
      rekindle ziggy console halt --task 2 --task 3,4,7-10
    """


@click.command()
def version() -> None:
    """Display the version.

    \b
    Example:
      rekindle ziggy console version
    """
    from rekindle import __version__

    click.echo(f"rekindle {__version__}")


ziggy.add_command(console)
for command in (acknowledge, config, display, halt, log, restart, start, version):
    console.add_command(command)
