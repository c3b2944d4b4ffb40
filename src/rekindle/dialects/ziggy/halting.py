"""`ziggy console halt`."""

from __future__ import annotations

from itertools import groupby

import click

from rekindle.dialects.opening import opened, report_ending
from rekindle.dialects.ziggy.options import instance_option, tasks_option, wanted
from rekindle.dialects.ziggy.tasks import read_tasks
from rekindle.domain.errors import Refused
from rekindle.domain.states import ENDED
from rekindle.engine.running import reconciling


@click.command()
@instance_option
@tasks_option
def halt(instance: str | None, task: tuple[str, ...]) -> None:
    """Halt the given tasks, or all incomplete tasks of an instance.

    What has not started does not start, and the processes of what runs are ended. The subtasks that are complete are
    kept: a restart goes on with the others.

    \b
    Example:
      rekindle ziggy console halt --task 2 --task 3,4,7-10
      rekindle ziggy console halt --instance 2
    """
    with opened() as session:
        tasks = read_tasks(session, wanted(session, instance, task))
        ended = [one for one in tasks if one.state in ENDED]
        left = [one for one in tasks if one.state not in ENDED]
        for number, group in groupby(left, key=lambda one: one.instance):
            click.echo(f"Halting task(s) {', '.join(str(one.id) for one in group)} in instance {number}")
        done = reconciling.cancel(session, [one.id for one in left])
        report_ending(done)
        if task:
            for one in ended:
                click.echo(f"not halted: task {one.id} {one.name}: it is {one.status}", err=True)
        if not left and task:
            raise Refused("nothing is halted: all of these have ended")
        if not left:
            click.echo(f"instance {instance} has no incomplete task")
