"""`rekindle restart`: plan a rerun of all interrupted, stale and reset jobs of a workflow, ask, and apply it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import check_then_work, json_option, no_reuse_option, plan_options, then_work_options
from rekindle.cli.output import json_output
from rekindle.cli.output.file_progress import reading_progress, saving_progress
from rekindle.cli.output.plans import confirm, draw_plan, finish_applied, plan_index
from rekindle.cli.output.runs import work_with_summary
from rekindle.cli.output.workflow_notes import note_spec_changes
from rekindle.cli.sessions import reconciled
from rekindle.domain.errors import PlanRefused, UsageError
from rekindle.domain.states import State
from rekindle.engine.preconditions import refuse_inside_job, refuse_without_folder
from rekindle.engine.queries import workflow_queries
from rekindle.engine.rerun import rerun as engine
from rekindle.engine.rerun.restart import plan_restart, workflow_to_restart
from rekindle.engine.results import PlannedRestart, WorkOptions
from rekindle.presentation import batch_documents, documents, words

if TYPE_CHECKING:
    from rekindle.domain.models import Job, Workflow
    from rekindle.engine.session import Session

_NAMED = 5


@click.command()
@click.argument("key", required=False, metavar="[WORKFLOW]")
@click.option("-w", "--workflow", metavar="ID|NAME", help="Restart this workflow. [default: the only one of the store]")
@click.option("--only-uninitialized", is_flag=True, help="Restart only the jobs that `reset` holds.")
@click.option("--cancel-running", is_flag=True, help="Cancel running jobs below a job that runs again.")
@plan_options
@then_work_options
@no_reuse_option
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
    no_reuse: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Rerun the interrupted, stale and reset jobs of a workflow.

    These jobs run: jobs that were killed, lost, canceled or never started; jobs whose inputs, definition, parameters
    or code have changed; jobs that `reset` holds; and every job that needs one of them. Jobs that failed by themselves
    and running jobs are left as they are. `rekindle undo` undoes the restart until one of its jobs has started.

    \b
    Example:
      rekindle restart --dry-run
      rekindle restart sweep --yes --work -j 4
      rekindle restart --only-uninitialized --yes
    """
    if key is not None and workflow is not None and key != workflow:
        raise UsageError(f"two workflows are named: {key!r} and -w {workflow!r}", hint="name one workflow")
    check_then_work(and_work, slots, no_reuse=no_reuse)
    with reconciled() as session:
        chosen = _chosen(session, key or workflow, and_work=and_work)
        try:
            with reading_progress() as on_read:
                found = plan_restart(
                    session,
                    chosen,
                    only_uninitialized=only_uninitialized,
                    cancel_running=cancel_running,
                    note=note,
                    progress=on_read,
                )
        except PlanRefused as refusal:
            refusal.document = documents.nothing_planned(refusal.refused)
            raise
        proposal = found.proposal
        if not as_json:
            if proposal is not None:
                draw_plan(proposal.plan, proposal.children, plan_index(session, proposal.plan), verbose=verbose)
            _print_left_out(found)
        if proposal is None or dry_run:
            _print_unapplied(found, as_json, only_uninitialized)
            if dry_run or only_uninitialized:
                return 0
            return _work_on_ready(session, chosen, slots, as_json, and_work=and_work, reuse=not no_reuse)
        confirm(yes, (lambda: batch_documents.restart(found, None)) if as_json else None)
        applied = engine.apply(session, proposal, saving_progress())
        if as_json:
            json_output.emit(batch_documents.restart(found, applied.rerun))
        return finish_applied(session, applied, [chosen.id], and_work, slots, as_json, reuse=not no_reuse)


def _work_on_ready(
    session: Session, workflow: Workflow, slots: int | None, as_json: bool, *, and_work: bool, reuse: bool
) -> int:
    """Unless a runner is alive, run the ready jobs with `and_work`, else print the command that runs them."""
    (status,) = workflow_queries.status(session, str(workflow.id))
    ready = 0 if status.runners else status.counts.get(State.READY, 0) - sum(status.held.values())
    if ready and and_work:
        options = WorkOptions(str(workflow.id), slots=slots, reuse=reuse)
        return work_with_summary(session, options, quiet=as_json).exit_code
    if ready and not as_json:
        click.echo(f"{ready:,} ready: rekindle work -w {workflow.id}")
    return 0


def _chosen(session: Session, key: str | None, *, and_work: bool) -> Workflow:
    """Return the workflow to restart. Raise Refused if its folder is missing, or inside one of its jobs."""
    chosen = workflow_to_restart(session, key)
    if and_work:
        refuse_inside_job(session, chosen.id)
    refuse_without_folder(session, [chosen])
    note_spec_changes([chosen])
    return chosen


def _print_left_out(found: PlannedRestart) -> None:
    """Print the running, failed and unknown jobs that the plan leaves out."""
    if found.running:
        verb = "runs" if len(found.running) == 1 else "run"
        click.echo(f"left alone: {_names(found.running)}, which {verb} now")
    if found.stays:
        verb = "stays" if len(found.stays) == 1 else "stay"
        click.echo(
            f"failed by itself: {_names(found.stays)}, which {verb} so: `rekindle rerun -s failed` runs it again"
        )
    if found.unknown:
        click.echo(f"{words.unknown_jobs(len(found.unknown))}: there is nothing to compare", err=True)


def _names(jobs: Sequence[Job]) -> str:
    more = f" and {len(jobs) - _NAMED:,} more" if len(jobs) > _NAMED else ""
    return ", ".join(f"`{words.one_line(job.name)}`" for job in jobs[:_NAMED]) + more


def _print_unapplied(found: PlannedRestart, as_json: bool, only_uninitialized: bool) -> None:
    if as_json:
        json_output.emit(batch_documents.restart(found, None))
    elif found.proposal is not None:
        click.echo("a dry run: nothing is changed")
    elif only_uninitialized:
        click.echo("nothing to restart: no job is held by a reset")
    else:
        click.echo("nothing to restart: no job was interrupted, is stale or is reset")
