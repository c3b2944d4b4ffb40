"""`ziggy console restart`: the mode of each task becomes a manner of rerunning it, all of them one rerun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import click

from rekindle.dialects.opening import opened, reconciled
from rekindle.dialects.ziggy.modes import Mode, default_mode, meaning, parse_mode
from rekindle.dialects.ziggy.monitoring import resume_monitoring
from rekindle.dialects.ziggy.offering import offered
from rekindle.dialects.ziggy.options import (
    assigned,
    check_work,
    instance_option,
    tasks_option,
    tell_ready,
    wanted,
    work_now,
    work_options,
)
from rekindle.dialects.ziggy.tasks import Step, Task, read_tasks
from rekindle.domain.errors import PlanRefused, Refused
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, How, PlannedJob, ReasonKind, RerunPlan
from rekindle.domain.states import ACTIVE
from rekindle.domain.subtasks import ranges
from rekindle.engine.rerunning import rerun as engine
from rekindle.engine.session import Session

Requests = list[tuple[list[int], How]]


@click.command()
@click.option(
    "-r",
    "--restartMode",
    "mode",
    metavar="MODE",
    help="resubmit, resume-current-step, restart-from-beginning or resume-monitoring. [default: of each task the one "
    "that keeps what has succeeded and gives nothing up]",
)
@instance_option
@tasks_option
@click.option("--set", "set_", multiple=True, metavar="K=V", help="Set a parameter for these tasks, recorded as such.")
@click.option("--memory", metavar="SIZE|xF", help="Allow so much memory, or F times as much as now.")
@click.option("--time", metavar="DURATION|xF", help="Allow so much time, or F times as much as now.")
@click.option("--cpus", type=float, metavar="N", help="Take N cpus.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@work_options
def restart(
    mode: str | None,
    instance: str | None,
    task: tuple[str, ...],
    set_: tuple[str, ...],
    memory: str | None,
    time: str | None,
    cpus: float | None,
    dry_run: bool,
    and_work: bool,
    slots: int | None,
) -> int:
    """Restart the given tasks, or all tasks of an instance that failed or were halted.

    All is one rerun, and `rekindle undo` takes it back as long as nothing of it has started. A task for which the mode
    is not offered is named with the reason, and the others are restarted; without any other nothing is done. Nothing
    is deleted: what ran before stays as history. Parameters are those of before, but for what --set changes.

    \b
    Example:
      rekindle ziggy console restart --restartMode resubmit --task 2 --task 3,4,7-10
      rekindle ziggy console restart --restartMode RESUME_CURRENT_STEP --instance 1 --work
    """
    check_work(and_work, slots)
    chosen = None if mode is None else parse_mode(mode)
    overrides = _overrides(set_, memory, time, cpus)
    monitoring = chosen is Mode.RESUME_MONITORING or (chosen is None and bool(task))
    with opened() if monitoring else reconciled() as session:
        tasks = read_tasks(session, wanted(session, instance, task))
        if instance is not None:
            tasks = [one for one in tasks if _meant(one, chosen)]
        if not tasks:
            click.echo(f"instance {instance} has no task to restart")
            return 0
        modes = {one.id: chosen or default_mode(one) for one in tasks}
        lost = [one for one in tasks if modes[one.id] is Mode.RESUME_MONITORING]
        again = [one for one in tasks if modes[one.id] is not Mode.RESUME_MONITORING]
        nobody = not and_work  # then it is said where nobody works
        refused = resume_monitoring(session, lost, dry_run=dry_run, tell=nobody) if lost else {}
        if again:
            refused |= _rerun(session, again, modes, overrides, dry_run=dry_run, tell=nobody)
        _tell_refused(tasks, refused)
        if len(refused) == len(tasks):
            raise Refused("nothing is restarted", hint=_offered(session, tasks[0], overrides))
        if dry_run or not and_work:
            return 0
        return work_now(session, sorted({one.instance for one in tasks}), slots)


def _meant(task: Task, mode: Mode | None) -> bool:
    """Of an instance: what runs is meant where monitoring is to be resumed, and what failed or was halted where it is
    not; what was halted while it waited for others comes with these."""
    if mode is Mode.RESUME_MONITORING:
        return task.state in ACTIVE
    return task.restartable and task.step is not Step.INITIALIZING


def _overrides(set_: Sequence[str], memory: str | None, time: str | None, cpus: float | None) -> Overrides | None:
    from rekindle.spec.scalars import typed_value

    params = {name: typed_value(text) for name, text in assigned("--set", set_).items()}
    asked = Overrides.asked(params, {}, memory, time, cpus)
    return None if asked == Overrides() else asked


# --- tasks that run again


def _rerun(
    session: Session,
    tasks: Sequence[Task],
    modes: dict[int, Mode],
    overrides: Overrides | None,
    *,
    dry_run: bool,
    tell: bool,
) -> dict[int, str]:
    """Plan and apply one rerun of these tasks; those that are refused, and why."""
    try:
        requests, refused = _requests(tasks, modes, overrides)
        if not requests:
            return refused
        plan = engine.plan(session, requests, {}).plan
        if below := _below_others(plan):
            modes.update(dict.fromkeys(below, Mode.RESTART_FROM_BEGINNING))
            requests, refused = _requests(tasks, modes, overrides)
            plan = engine.plan(session, requests, {}).plan
        applied = None
        if not dry_run:
            proposal, applied = engine.plan_and_apply(session, requests, _request(requests, modes))
            plan = proposal.plan
    except PlanRefused as refusal:
        return refused | {one.id: one.why for one in refusal.refused}
    refused |= {one.id: one.why for one in plan.refused}
    _tell_plan(tasks, modes, refused, plan)
    if applied is None:
        click.echo("a dry run: nothing is changed")
    else:
        click.echo(f"rerun {applied.rerun}: {applied.ready:,} ready")
        if tell:
            tell_ready(applied.ready, applied.runner_alive)
    return refused


def _request(requests: Requests, modes: Mapping[int, Mode]) -> dict[str, Any]:
    """What was asked, for the record."""
    jobs = sorted(job for ids, _ in requests for job in ids)
    return {"selection": {"jobs": jobs}, "how": {"restart mode": sorted({modes[job].typed for job in jobs})}}


def _below_others(plan: RerunPlan) -> list[int]:
    """Tasks that were named and that need others that were: what they marshaled is made anew."""
    named = {ReasonKind.SELECTED, ReasonKind.UPSTREAM}
    return [job.id for job in plan.jobs if job.start != FROM_BEGINNING and named <= {one.kind for one in job.reasons}]


def _requests(
    tasks: Sequence[Task], modes: Mapping[int, Mode], overrides: Overrides | None
) -> tuple[Requests, dict[int, str]]:
    """The tasks by how they run again, and those whose state does not allow it."""
    requests: Requests = []
    refused: dict[int, str] = {}
    for task in tasks:
        how = meaning(task, modes[task.id], overrides)
        if isinstance(how, str):
            refused[task.id] = how
            continue
        same = next((ids for ids, other in requests if other == how), None)
        if same is None:
            requests.append(([task.id], how))
        else:
            same.append(task.id)
    return requests, refused


def _tell_plan(tasks: Sequence[Task], modes: Mapping[int, Mode], refused: Mapping[int, str], plan: RerunPlan) -> None:
    """What is restarted, by instance and mode, each task with what runs of it and what is kept."""
    restarted = [task for task in tasks if task.id not in refused]
    planned = {job.id: job for job in plan.jobs}
    for (instance, mode), group in groupby(
        sorted(restarted, key=lambda one: (one.instance, modes[one.id], one.id)),
        key=lambda one: (one.instance, modes[one.id]),
    ):
        among = list(group)
        ids = ", ".join(str(one.id) for one in among)
        click.echo(f"Restarting task(s) {ids} in instance {instance} with restart mode {mode.value}")
        for one in among:
            click.echo(f"  {one.id} {one.name}: {_what(planned[one.id])}")
    named = {one.id for one in restarted}
    below = [job for job in plan.jobs if job.id not in named and job.archives]
    if below:
        click.echo(f"  and what needs them: {ranges(job.id for job in below)}")
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)


def _what(job: PlannedJob) -> str:
    """`starts at process: 1 of its subtasks to run, 3 left alone`."""
    details = {one.kind: one.detail for one in job.reasons}
    if (partial := details.get(ReasonKind.PARTIAL)) is not None:
        given_up, good = partial["given_up"], partial["completed"]
        return f"starts at {job.start} with {good} of {good + given_up} subtasks: {given_up} given up"
    if (fan_out := details.get(ReasonKind.SUBTASKS)) is not None:
        return f"starts at {job.start}: {fan_out['run']} of its subtasks to run, {fan_out['keep']} left alone"
    if job.start != FROM_BEGINNING:
        return f"starts at {job.start}"
    above = details.get(ReasonKind.UPSTREAM)
    return "starts from the beginning" + (f": {above['name']}, which it needs, runs again" if above else "")


# --- tasks that are not restarted


def _tell_refused(tasks: Sequence[Task], refused: Mapping[int, str]) -> None:
    for task in tasks:
        if task.id in refused:
            click.echo(f"not restarted: task {task.id} {task.name}: {refused[task.id]}", err=True)


def _offered(session: Session, task: Task, overrides: Overrides | None) -> str:
    """`for task 3 there is: resubmit, restart-from-beginning`."""
    can = [mode.typed for mode, why in offered(session, task, overrides).items() if why is None]
    return f"for task {task.id} there is: {', '.join(can)}" if can else f"no mode is offered for task {task.id}"
