"""`ziggy console restart`: restart tasks, each in its mode, as one rerun.

RESUME_MONITORING reattaches running tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from rekindle.dialects.command_session import open_reconciled, open_store
from rekindle.dialects.ziggy.options import (
    check_work,
    instance_option,
    monitor,
    parse_assignments,
    selected_tasks,
    task_ids,
    tasks_option,
    warn_no_runner,
    warn_ready,
    work_now,
    work_options,
)
from rekindle.dialects.ziggy.restart_modes import Mode, default_mode, options_for_mode, parse_mode, refusals_by_mode
from rekindle.dialects.ziggy.tasks import ProcessingStep, Task, read_tasks
from rekindle.domain.errors import PlanRefused, Refused, UsageError
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.plan import PlannedJob, ReasonKind, RerunPlan
from rekindle.domain.rerun.request import FROM_BEGINNING, How
from rekindle.domain.states import ACTIVE
from rekindle.domain.subtasks import format_ranges
from rekindle.engine.queries import selections
from rekindle.engine.rerun import rerun as engine
from rekindle.engine.running import reconcile

if TYPE_CHECKING:
    from rekindle.engine.plan_inputs import ChosenRequests
    from rekindle.engine.results import ReattachedJob
    from rekindle.engine.session import Session

Requests = list[tuple[list[int], How]]


class RestartCommand(click.Command):
    """A command that keeps the words of --restartMode and --task in the order in which they were typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, and keep the order of the two options."""
        options, _, order = self.make_parser(ctx).parse_args(list(args))
        words = {name: iter(options.get(name, ())) for name in ("mode", "task")}
        ctx.meta[_GIVEN] = [(one.name, next(words[one.name])) for one in order if one.name in words]
        return super().parse_args(ctx, args)


_GIVEN = f"{__name__}.given"


def read_modes(given: Sequence[tuple[str, str]]) -> Mode | dict[int, Mode] | None:
    """Return the one mode given, for every task; or of several modes, by task, the one before it; or None.

    `given`: the words of "mode" and "task" in their order. Raise UsageError if a task has no mode before it, or two of
    them, or if a mode has no task behind it.
    """
    words = [word for name, word in given if name == "mode"]
    if len(words) < 2:
        return parse_mode(words[0]) if words else None
    found: dict[int, Mode] = {}
    mode: Mode | None = None
    for at, (name, word) in enumerate(given):
        if name == "mode":
            mode = parse_mode(word)
            if [name for name, _ in given[at + 1 : at + 2]] != ["task"]:
                raise UsageError(f"no --task is behind --restartMode {word}", hint=_ORDER)
            continue
        if mode is None:
            raise UsageError(f"--task {word} has no --restartMode before it", hint=_ORDER)
        for task in task_ids([word]):
            if found.setdefault(task, mode) is not mode:
                raise UsageError(f"task {task} has two modes: {found[task].typed} and {mode.typed}", hint=_ORDER)
    return found


_ORDER = "for instance --restartMode resubmit --task 3 --restartMode resume-current-step --task 4,5"


@click.command(cls=RestartCommand)
@click.option(
    "-r",
    "--restartMode",
    "mode",
    multiple=True,
    metavar="MODE",
    help="resubmit, resume-current-step, restart-from-beginning or resume-monitoring. Of several modes, each holds for "
    "the --task options behind it. [default: for each task, the mode that keeps the most results and gives up no "
    "subtask]",
)
@instance_option
@tasks_option
@click.option(
    "--set", "set_", multiple=True, metavar="K=V", help="Set a parameter for these tasks. The change is recorded."
)
@click.option("--memory", metavar="SIZE|xF", help="Set the memory limit (8G), or multiply the current one (x1.5).")
@click.option("--time", metavar="DURATION|xF", help="Set the time limit (2h), or multiply the current one (x1.5).")
@click.option("--cpus", type=float, metavar="N", help="Set the number of cpus.")
@click.option("--dry-run", is_flag=True, help="Show the plan without changing anything.")
@click.option(
    "--detach", is_flag=True, help="With resume-monitoring: do not stay until the tasks that still run have ended."
)
@work_options
@click.pass_context
def restart(
    context: click.Context,
    mode: tuple[str, ...],
    instance: str | None,
    task: tuple[str, ...],
    set_: tuple[str, ...],
    memory: str | None,
    time: str | None,
    cpus: float | None,
    dry_run: bool,
    detach: bool,
    and_work: bool,
    slots: int | None,
) -> int:
    """Restart the given tasks, or all failed and halted tasks of an instance.

    The restart is a single rerun; `rekindle undo` reverts it until one of its tasks starts. A task for which the mode
    is not offered is reported with the reason, and the others are restarted. If no mode is offered for any task,
    nothing changes. Earlier attempts are kept as history. Parameters keep their earlier values unless --set changes
    them.

    Tasks that are monitored again are recorded as they end, and the command ends with the last of them; Ctrl-C and
    SIGTERM end the command only. With --work it also runs what is ready; with --detach it ends at once.

    \b
    Example:
      rekindle ziggy console restart --restartMode resubmit --task 2 --task 3,4,7-10
      rekindle ziggy console restart --restartMode RESUME_CURRENT_STEP --instance 1 --work
      rekindle ziggy console restart --restartMode resubmit --task 3 --restartMode resume-current-step --task 4
    """
    check_work(and_work, slots)
    if and_work and detach:
        raise UsageError("--work and --detach cannot be combined", hint="leave out one of them")
    given = read_modes(context.meta[_GIVEN])
    by_task = given if isinstance(given, dict) else {}
    chosen = None if isinstance(given, dict) else given
    overrides = _overrides(set_, memory, time, cpus)
    monitoring = Mode.RESUME_MONITORING in {chosen, *by_task.values()} or (not mode and bool(task))
    with open_store() if monitoring else open_reconciled() as session:
        seen, tasks = _read_selected(session, instance, task, chosen)
        if not tasks:
            click.echo(f"instance {instance} has no task to restart")
            return 0
        modes = {one.id: by_task.get(one.id) or chosen or default_mode(one) for one in tasks}
        lost = [one for one in tasks if modes[one.id] is Mode.RESUME_MONITORING]
        again = [one for one in tasks if modes[one.id] is not Mode.RESUME_MONITORING]
        running, refused = resume_monitoring(session, lost, dry_run=dry_run) if lost else ([], {})
        stays = bool(running) and not (dry_run or detach or and_work)
        warn_idle = not (and_work or stays)
        if again:
            refused |= _rerun_tasks(session, again, seen, modes, overrides, dry_run=dry_run, warn_idle=warn_idle)
        _print_refused(tasks, refused)
        if len(refused) == len(tasks):
            raise Refused("nothing is restarted", hint=_available_modes(session, tasks[0], overrides))
        instances = sorted({one.instance for one in tasks})
        if and_work and not dry_run:
            return work_now(session, instances, slots)
        return _monitor(session, instances, stays=stays) if lost and not dry_run else 0


def _read_selected(
    session: Session, instance: str | None, task: Sequence[str], mode: Mode | None
) -> tuple[selections.SelectedJobs, list[Task]]:
    """Return the versions of the named tasks, or of all tasks of an instance, and the tasks that a restart includes."""
    seen = selections.with_versions(session, selected_tasks(session, instance, task))
    tasks = read_tasks(session, list(seen.versions))
    return seen, [one for one in tasks if instance is None or _is_selected(one, mode)]


def _monitor(session: Session, instances: Sequence[int], *, stays: bool) -> int:
    """Monitor the running tasks if the command `stays`, then print the command that runs the other jobs."""
    code = monitor(session, instances) if stays else 0
    warn_ready(session, instances)
    return code


def _is_selected(task: Task, mode: Mode | None) -> bool:
    """Return whether a restart of a whole instance includes the task.

    RESUME_MONITORING includes running tasks. The other modes include failed and halted tasks, but not a task that was
    halted while it waited for others: restarting the others restarts it too.
    """
    if mode is Mode.RESUME_MONITORING:
        return task.state in ACTIVE
    return task.restartable and task.step is not ProcessingStep.INITIALIZING


def _overrides(set_: Sequence[str], memory: str | None, time: str | None, cpus: float | None) -> Overrides | None:
    from rekindle.spec.yaml_reader import typed_value

    params = {name: typed_value(text) for name, text in parse_assignments("--set", set_).items()}
    asked = Overrides(params, {}, memory, time, cpus)
    return None if asked == Overrides() else asked


# --- tasks that run again


def _rerun_tasks(
    session: Session,
    tasks: Sequence[Task],
    seen: selections.SelectedJobs,
    modes: dict[int, Mode],
    overrides: Overrides | None,
    *,
    dry_run: bool,
    warn_idle: bool,
) -> dict[int, str]:
    """Plan and apply one rerun of the tasks, except those that have changed since they were `seen`. Return the reason
    for each refused task."""

    def chosen() -> ChosenRequests:
        return [(seen.only(ids), how) for ids, how in requests]

    try:
        requests, refused = _rerun_requests(tasks, modes, overrides)
        if not requests:
            return refused
        plan = engine.plan(session, chosen(), {}).plan
        if below := _below_selected(plan):
            modes.update(dict.fromkeys(below, Mode.RESTART_FROM_BEGINNING))
            requests, refused = _rerun_requests(tasks, modes, overrides)
            plan = engine.plan(session, chosen(), {}).plan
        applied = None
        if not dry_run:
            proposal, applied = engine.plan_and_apply(session, chosen(), _request_record(requests, modes))
            plan = proposal.plan
    except PlanRefused as refusal:
        return refused | {one.id: one.why for one in refusal.refused}
    refused |= {one.id: one.why for one in plan.refused}
    _print_plan(tasks, modes, refused, plan)
    if applied is None:
        click.echo("a dry run: nothing is changed")
    else:
        click.echo(f"rerun {applied.rerun}: {applied.ready:,} ready")
        if warn_idle:
            warn_no_runner(applied.ready, applied.runner_alive)
    return refused


def _request_record(requests: Requests, modes: Mapping[int, Mode]) -> dict[str, Any]:
    """Return the request for the record of the rerun."""
    jobs = sorted(job for ids, _ in requests for job in ids)
    return {"selection": {"jobs": jobs}, "how": {"restart mode": sorted({modes[job].typed for job in jobs})}}


def _below_selected(plan: RerunPlan) -> list[int]:
    """Return selected tasks that need other selected tasks, whose marshaled inputs will be made again."""
    named = {ReasonKind.SELECTED, ReasonKind.UPSTREAM}
    return [job.id for job in plan.jobs if job.start != FROM_BEGINNING and named <= {one.kind for one in job.reasons}]


def _rerun_requests(
    tasks: Sequence[Task], modes: Mapping[int, Mode], overrides: Overrides | None
) -> tuple[Requests, dict[int, str]]:
    """Group the tasks by their options.

    Return the groups, and the reason for each task whose state does not allow the mode.
    """
    requests: Requests = []
    refused: dict[int, str] = {}
    for task in tasks:
        how = options_for_mode(task, modes[task.id], overrides)
        if isinstance(how, str):
            refused[task.id] = how
            continue
        same = next((ids for ids, other in requests if other == how), None)
        if same is None:
            requests.append(([task.id], how))
        else:
            same.append(task.id)
    return requests, refused


def _print_plan(tasks: Sequence[Task], modes: Mapping[int, Mode], refused: Mapping[int, str], plan: RerunPlan) -> None:
    """Print the restarted tasks by instance and mode, with the parts that run and the parts that are kept."""
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
            click.echo(f"  {one.id} {one.name}: {_describe_job(planned[one.id])}")
    named = {one.id for one in restarted}
    below = [job for job in plan.jobs if job.id not in named and job.archives]
    if below:
        click.echo(f"  and their descendants: {format_ranges(job.id for job in below)}")
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)


def _describe_job(job: PlannedJob) -> str:
    """Return `starts at process: 1 of its subtasks to run, 3 left alone`."""
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


def _print_refused(tasks: Sequence[Task], refused: Mapping[int, str]) -> None:
    for task in tasks:
        if task.id in refused:
            click.echo(f"not restarted: task {task.id} {task.name}: {refused[task.id]}", err=True)


def _available_modes(session: Session, task: Task, overrides: Overrides | None) -> str:
    """Return a hint: `for task 3 there is: resubmit, restart-from-beginning`."""
    can = [mode.typed for mode, why in refusals_by_mode(session, task, overrides).items() if why is None]
    return f"for task {task.id} there is: {', '.join(can)}" if can else f"no mode is offered for task {task.id}"


def resume_monitoring(session: Session, tasks: Sequence[Task], *, dry_run: bool) -> tuple[list[int], dict[int, str]]:
    """Reattach running tasks that have no live runner. Return those that run on, and the reason for each refused task.

    Tasks that a runner attends, and tasks that do not run, are refused.
    """
    ids = [task.id for task in tasks]
    found = reconcile.plan_reattach(session, ids)
    refused = {one.id: one.why or one.found for one in found.jobs if one.found in ("none", "attended")}
    left = [task for task in tasks if task.id not in refused]
    if not left:
        return [], refused
    for instance, group in groupby(left, key=lambda one: one.instance):
        listed = ", ".join(str(one.id) for one in group)
        mode = Mode.RESUME_MONITORING.value
        click.echo(f"Restarting task(s) {listed} in instance {instance} with restart mode {mode}")
    if not dry_run:
        found = reconcile.reattach(session, [task.id for task in left])
    names = {task.id: task.name for task in left}
    for one in found.jobs:
        if one.id in names:
            click.echo(f"  {one.id} {names[one.id]}: {_describe_outcome(one)}")
    if dry_run:
        click.echo("a dry run: nothing is changed")
        return [], refused
    if found.rerun is not None:
        click.echo(f"rerun {found.rerun}: lost tasks run again")
    return [one.id for one in found.jobs if one.found == "running"], refused


def _describe_outcome(one: ReattachedJob) -> str:
    if one.found == "running":
        return "runs on" + (f", pid {one.pid}" if one.pid else "")
    if one.found == "finished":
        return f"has finished meanwhile: {one.state.label}"
    return one.why or one.found
