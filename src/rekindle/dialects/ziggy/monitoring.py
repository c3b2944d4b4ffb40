"""RESUME_MONITORING: what has become of tasks that run and that nobody monitors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import click

from rekindle.dialects.ziggy.modes import Mode
from rekindle.dialects.ziggy.options import tell_ready
from rekindle.dialects.ziggy.tasks import Task
from rekindle.engine.results import Reattached
from rekindle.engine.running import reconciling
from rekindle.engine.session import Session


def resume_monitoring(session: Session, tasks: Sequence[Task], *, dry_run: bool, tell: bool) -> dict[int, str]:
    """Find out what has become of these tasks and take it in; those of which somebody is in charge, or nobody has to
    be, are refused."""
    ids = [task.id for task in tasks]
    found = reconciling.plan_reattach(session, ids)
    refused = {one.id: one.why or one.found for one in found.jobs if one.found in ("none", "attended")}
    left = [task for task in tasks if task.id not in refused]
    if not left:
        return refused
    for instance, group in groupby(left, key=lambda one: one.instance):
        listed = ", ".join(str(one.id) for one in group)
        mode = Mode.RESUME_MONITORING.value
        click.echo(f"Restarting task(s) {listed} in instance {instance} with restart mode {mode}")
    if not dry_run:
        found = reconciling.reattach(session, [task.id for task in left])
    names = {task.id: task.name for task in left}
    for one in found.jobs:
        if one.id in names:
            click.echo(f"  {one.id} {names[one.id]}: {_became(one)}")
    if dry_run:
        click.echo("a dry run: nothing is changed")
        return refused
    if found.rerun is not None:
        click.echo(f"rerun {found.rerun}: what was lost runs again")
    if tell:
        tell_ready(sum(one.found in ("running", "gone") for one in found.jobs), found.runner_alive)
    return refused


def _became(one: Reattached) -> str:
    if one.found == "running":
        return "runs on" + (f", pid {one.pid}" if one.pid else "")
    if one.found == "finished":
        return f"has finished meanwhile: {one.state.label}"
    return one.why or one.found
