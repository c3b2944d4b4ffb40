"""`rekindle restart`: find what has to run again, show it, ask, apply."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rekindle.cli.asking import ask
from rekindle.cli.commands.rerun import finish, saving_shown, tell_spec_changed
from rekindle.cli.options import check_then_work, json_option, plan_options, then_work_options
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import drawing, shapes
from rekindle.cli.showing.planshow import draw_plan
from rekindle.cli.showing.reading import reading_shown
from rekindle.cli.showing.working import work_shown
from rekindle.domain.errors import PlanRefused, UsageError
from rekindle.domain.models import Job, Workflow
from rekindle.domain.states import State
from rekindle.engine.looking import look
from rekindle.engine.looking.whereabouts import refuse_without_folder
from rekindle.engine.nesting import refuse_inside_job
from rekindle.engine.rerunning import rerun as engine
from rekindle.engine.rerunning.restart import plan_restart, the_workflow
from rekindle.engine.results import Restarting, WorkOptions
from rekindle.engine.session import Session

_NAMED = 5


@click.command()
@click.argument("key", required=False, metavar="[WORKFLOW]")
@click.option("-w", "--workflow", metavar="ID|NAME", help="The workflow. [default: the only one of the store]")
@click.option("--only-uninitialized", is_flag=True, help="Only let go what `reset` holds; look for nothing else.")
@click.option("--cancel-running", is_flag=True, help="Cancel what runs below what has to run again.")
@plan_options
@then_work_options
@json_option
def restart(
    key: str | None,
    workflow: str | None,
    only_uninitialized: bool,
    cancel_running: bool,
    note: str | None,
    dry_run: bool,
    yes: bool,
    and_work: bool,
    slots: int | None,
    verbose: bool,
    as_json: bool,
) -> int:
    """Run again whatever has to, in a whole workflow.

    That is: jobs that were killed, lost, canceled or never started; jobs whose inputs, definition, parameters or code
    have changed; jobs that `reset` holds; and everything that needs one of these. A job that failed by itself stays as
    it is, and what runs is left alone. `rekindle undo` takes the restart back as long as nothing of it has started.

    \b
    Example:
      rekindle restart --dry-run
      rekindle restart sweep --yes --work -j 4
      rekindle restart --only-uninitialized --yes
    """
    if key is not None and workflow is not None and key != workflow:
        raise UsageError(f"both {key!r} and -w {workflow!r}: which of them?", hint="name one workflow")
    check_then_work(and_work, slots)
    with reconciled() as session:
        chosen = _chosen(session, key or workflow, and_work=and_work)
        try:
            with reading_shown() as tell:
                found = plan_restart(
                    session,
                    chosen,
                    only_uninitialized=only_uninitialized,
                    cancel_running=cancel_running,
                    note=note,
                    tell=tell,
                )
        except PlanRefused as refusal:
            if as_json:
                shapes.emit(shapes.nothing_planned(refusal.refused))
            raise
        proposal = found.proposal
        if not as_json:
            if proposal is not None:
                draw_plan(proposal.plan, proposal.children, verbose=verbose)
            _tell_left(found)
        if proposal is None or dry_run:
            _tell_unapplied(found, as_json, only_uninitialized)
            if dry_run or only_uninitialized:
                return 0
            return _work_on_ready(session, chosen, slots, as_json, and_work=and_work)
        ask(yes, as_json)
        applied = engine.apply(session, proposal, saving_shown())
        if as_json:
            shapes.emit(shapes.restart(found, applied.rerun))
        return finish(session, applied, [chosen.id], and_work, slots, as_json)


def _work_on_ready(session: Session, workflow: Workflow, slots: int | None, as_json: bool, *, and_work: bool) -> int:
    """Run the jobs that are ready without a restart, or name the command that does, unless a runner is alive."""
    (status,) = look.status(session, str(workflow.id))
    ready = 0 if status.runners else status.counts.get(State.READY, 0) - sum(status.held.values())
    if ready and and_work:
        return work_shown(session, WorkOptions(str(workflow.id), slots=slots), quiet=as_json).exit_code
    if ready and not as_json:
        click.echo(f"{ready:,} ready: rekindle work -w {workflow.id}")
    return 0


def _chosen(session: Session, key: str | None, *, and_work: bool) -> Workflow:
    """Return the workflow to restart. Refused where its folder is missing, and to work from inside one of its jobs."""
    chosen = the_workflow(session, key)
    if and_work:
        refuse_inside_job(session, chosen.id)
    refuse_without_folder(session, [chosen.id])
    tell_spec_changed(session, [chosen.id])
    return chosen


def _tell_left(found: Restarting) -> None:
    """What is not in the plan, where one might look for it."""
    if found.running:
        verb = "runs" if len(found.running) == 1 else "run"
        click.echo(f"left alone: {_names(found.running)}, which {verb} now")
    if found.stays:
        verb = "stays" if len(found.stays) == 1 else "stay"
        click.echo(
            f"failed by itself: {_names(found.stays)}, which {verb} so: `rekindle rerun -s failed` runs it again"
        )
    if found.unknown:
        click.echo(f"{drawing.unknown_jobs(len(found.unknown))}: there is nothing to compare", err=True)


def _names(jobs: Sequence[Job]) -> str:
    more = f" and {len(jobs) - _NAMED:,} more" if len(jobs) > _NAMED else ""
    return ", ".join(f"`{drawing.flat(job.name)}`" for job in jobs[:_NAMED]) + more


def _tell_unapplied(found: Restarting, as_json: bool, only_uninitialized: bool) -> None:
    if as_json:
        shapes.emit(shapes.restart(found, None))
    elif found.proposal is not None:
        click.echo("a dry run: nothing is changed")
    elif only_uninitialized:
        click.echo("nothing to restart: no job is held by a reset")
    else:
        click.echo("nothing to restart: no job was interrupted, is stale or is reset")
