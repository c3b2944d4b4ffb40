"""`ziggy console log`: what tasks printed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from rekindle.dialects.opening import opened
from rekindle.dialects.ziggy.options import instance_option, task_ids, the_instance
from rekindle.dialects.ziggy.tasks import Task, read_tasks
from rekindle.domain.errors import UsageError
from rekindle.domain.selection import Compare, Op, Selection
from rekindle.domain.states import State
from rekindle.engine.looking import logs, look
from rekindle.engine.results import LogFile
from rekindle.engine.session import Session


@click.command()
@click.option("-t", "--task", multiple=True, metavar="IDS", help="Tasks by ID; repeat it for more.")
@click.option("-e", "--errors", is_flag=True, help="Select all failed tasks.")
@instance_option
def log(task: tuple[str, ...], errors: bool, instance: str | None) -> None:
    """Print the logs of the given tasks, or of all that failed: their steps and their subtasks that failed.

    \b
    Example:
      rekindle ziggy console log --task 3
      rekindle ziggy console log --errors --instance 2
    """
    if bool(task) == errors:
        raise UsageError("say which tasks", hint="--task ID, or --errors for all that failed")
    with opened() as session:
        workflow = None if instance is None else str(the_instance(session, instance).id)
        if errors:
            selection = Selection(workflow=workflow, where=Compare("state", Op.EQ, State.FAILED), everything=True)
        else:
            selection = Selection(workflow=workflow, jobs=task_ids(task))
        for one in read_tasks(session, look.select(session, selection)):
            for file in _files(session, one):
                _print(one, file)


def _files(session: Session, task: Task) -> Iterator[LogFile]:
    """Those of the steps of its newest attempt, archived or not, and of its subtasks that failed."""
    attempts = look.attempts(session, [task.id])
    if not attempts:
        click.echo(f"task {task.id} {task.name} has not run yet", err=True)
        return
    attempt = attempts[-1]
    yield from logs.log_files(session, task.id, attempt.number)
    names = look.step_names(session, attempt)
    for position, subtasks in look.subtasks(session, attempt).items():
        for one in subtasks:
            if one.state is State.FAILED:
                yield from logs.subtask_log_files(session, task.id, attempt.number, names[position], one.index)


def _print(task: Task, file: LogFile) -> None:
    try:
        content = Path(file.path).read_bytes()
    except FileNotFoundError:
        return  # nothing was printed
    if content:
        step = file.step if file.subtask is None else f"{file.step} {file.subtask.index}"
        click.echo(f"==> task {task.id} {task.name}, {step}, {file.stream} <==")
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
