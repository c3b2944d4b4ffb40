"""`rekindle rerun` and `apply`: plan a rerun, print the plan, ask, and apply it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from rekindle.cli.options import (
    check_then_work,
    json_option,
    plan_options,
    revise_option,
    then_work_options,
)
from rekindle.cli.output.file_progress import reading_progress, saving_progress
from rekindle.cli.output.plans import confirm, draw_plan, draw_section, finish_applied, plan_index, print_nothing
from rekindle.cli.output.workflow_notes import note_spec_changes
from rekindle.cli.rerun_options import FanOutFlags, fan_out_options, how_options
from rekindle.cli.selection_options import required_selection, selection_options
from rekindle.cli.sessions import opened, reconciled
from rekindle.domain.errors import PlanRefused, UsageError
from rekindle.domain.rerun.plan import PlannedJobs, ReasonKind
from rekindle.domain.rerun.request import How, how_to_json
from rekindle.domain.selection import Selection
from rekindle.engine.preconditions import refuse_inside_job
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.queries.job_queries import workflows_of
from rekindle.engine.rerun import rerun as engine
from rekindle.engine.results import AppliedRerun, PlannedRerun, SubmitPreview
from rekindle.engine.session import Session
from rekindle.presentation import plans, words
from rekindle.query.selections import SelectionFlags

if TYPE_CHECKING:
    from rekindle.domain.rerun.plan import PlannedJob
    from rekindle.domain.selection import Selection
    from rekindle.engine.session import Session
    from rekindle.query.selections import SelectionFlags


class RerunFlags(msgspec.Struct, frozen=True):
    """The options that say what happens with the plan."""

    canary: int | None
    note: str | None
    spec: str | None
    param: tuple[str, ...]
    revise: bool
    dry_run: bool
    save_plan: Path | None
    yes: bool
    and_work: bool
    slots: int | None
    verbose: bool
    as_json: bool


@click.command()
@selection_options
@how_options
@fan_out_options
@click.option(
    "--reattach",
    is_flag=True,
    help="For jobs whose runner vanished: adopt running attempts and record finished ones; rerun nothing.",
)
@click.option(
    "--canary",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run N jobs of each signature first, and the others only if these pass.",
)
@click.option(
    "--submit", "spec", metavar="SPEC", help="Submit SPEC as the next revision first, in the same transaction."
)
@click.option("--param", multiple=True, metavar="K=V", help="With --submit: set a parameter; repeat for more.")
@revise_option
@click.option("--save-plan", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan; do not apply it.")
@plan_options
@then_work_options
@json_option
def rerun(
    flags: SelectionFlags,
    how: How,
    fan_out: FanOutFlags,
    reattach: bool,
    **more: Any,
) -> int:
    """Plan a rerun of a SELECTION, show it, and apply it.

    The selected jobs run again, and every job that needs one of them; with `--downstream changed` only if a result
    that the job needs changes. Earlier attempts are archived, never deleted. `rekindle undo` undoes the rerun until
    one of its jobs has started.

    \b
    Example:
      rekindle rerun -s failed --dry-run
      rekindle rerun -s failed --from failed-step --work -j 4
      rekindle rerun --error 'out of memory' --memory x2 --save-plan plan.json
      rekindle rerun train --set alpha=0.2 --work
      rekindle rerun prepare --downstream changed --work
      rekindle rerun train --definition pinned
      rekindle rerun slices --from failed-step --subtasks 0,3-5
      rekindle rerun slices --accept-partial
      rekindle rerun -w sweep --changed --work
      rekindle rerun 'train*' --submit sweep.yaml
      rekindle rerun -s running --reattach --work
      rekindle rerun 'test*' --repeat 20 --downstream none --work
      rekindle rerun -s failed --canary 2 --work
    """
    selection = required_selection(flags, "rerun")
    options = RerunFlags(**more)
    check_then_work(options.and_work, options.slots)
    _check_submit(options.spec, options.param, options.save_plan, revise=options.revise)
    if not reattach:
        return _rerun(flags, selection, fan_out.how(how), options)
    from rekindle.cli.commands.reattach import check_reattach, reattach_jobs

    check_reattach(how, fan_out, options.spec, options.param, options.save_plan, options.note)
    with opened() as session:
        only = {"dry_run": options.dry_run, "yes": options.yes, "and_work": options.and_work, "json": options.as_json}
        return reattach_jobs(session, selection, options.slots, **only)


def _rerun(flags: SelectionFlags, selection: Selection, how: How, options: RerunFlags) -> int:
    if selection.changed:
        how = replace(how, keep_modified=True)  # a modified parameter does not make a job stale, so keep it
    requested = how_to_json(how) | ({} if options.canary is None else {"canary": options.canary})
    request = {"selection": flags.typed(), "how": requested}
    as_json, only_plan = options.as_json, options.dry_run or options.save_plan is not None
    with reconciled() as session:
        applied = None
        if options.spec is not None:
            proposal = _plan_submission(session, options.spec, selection, how, request, options)
        else:
            at_once = options.yes and how.cancel_running and not (how.keep_outputs or only_plan)
            proposal, applied = _plan(session, selection, how, request, options, at_once=at_once)
        if proposal is None:
            return 0
        if not as_json:
            _draw(session, proposal, options.verbose)
        if only_plan:
            _save(session, proposal, options.save_plan, as_json)
            return 0
        if applied is None:
            confirm(options.yes, partial(_document, proposal, None) if as_json else None)
            if options.and_work:
                touched = workflows_of(session, proposal.plan.jobs.ids)
                refuse_inside_job(session, touched[0] if len(touched) == 1 else None)
            applied = _apply(session, proposal)
        return _report_and_work(session, proposal, applied, options, repeated=how.repeats is not None)


def _changed(session: Session, selection: Selection) -> selections.SelectedJobs:
    """Return the stale jobs of the selection, and print how many are unknown."""
    with reading_progress() as on_read:
        found = selections.select_stale(session, selection, on_read)
    _print_unknown(len(found.unknown))
    return found


def _plan(
    session: Session,
    selection: Selection,
    how: How,
    request: Mapping[str, object],
    options: RerunFlags,
    *,
    at_once: bool,
) -> tuple[PlannedRerun | None, AppliedRerun | None]:
    """Return the plan, and the applied rerun with `at_once`. If no job is selected, print that and return None."""
    chosen = _changed(session, selection) if selection.changed else selection
    requests = [(chosen, how)]
    note, slots, canary = options.note, options.slots, options.canary
    applied = None
    try:
        if at_once:
            found, applied = engine.plan_and_apply(session, requests, request, note, slots=slots, canary=canary)
        else:
            found = engine.plan(session, requests, request, note, slots=slots, canary=canary)
    except PlanRefused as refusal:
        if not refusal.refused:
            print_nothing(options.as_json, "nothing is stale" if selection.changed else "nothing selected")
            return None, None
        note_spec_changes(workflow_queries.owners(session, [one.id for one in refusal.refused]))
        refusal.document = _nothing_planned(refusal)
        raise
    note_spec_changes(found.workflows)
    return found, applied


def _apply(session: Session, proposal: PlannedRerun) -> AppliedRerun:
    if proposal.planned_submission is None:
        return engine.apply(session, proposal, saving_progress())
    from rekindle.engine.rerun import resubmit

    return resubmit.apply(session, proposal, saving_progress())


def _document(proposal: PlannedRerun, applied: AppliedRerun | None) -> dict[str, object]:
    from rekindle.presentation import batch_documents

    return batch_documents.planned_rerun(proposal, applied)


def _emit(document: Mapping[str, Any]) -> None:
    from rekindle.cli.output import json_output

    json_output.emit(document)


def _emit_plan(proposal: PlannedRerun, applied: AppliedRerun | None) -> None:
    """Print the document of a plan, its jobs one by one."""
    from rekindle.cli.output import json_output
    from rekindle.presentation import documents

    plan = proposal.plan if applied is None else applied.plan
    without = replace(proposal, plan=replace(proposal.plan, jobs=PlannedJobs()))
    document = _document(without, applied and replace(applied, plan=without.plan))
    json_output.emit_with_rows(document, "jobs", documents.planned_jobs(plan.jobs))


def _nothing_planned(refusal: PlanRefused | None = None) -> dict[str, Any]:
    """Return the document of a plan without jobs."""
    from rekindle.presentation import documents

    return documents.nothing_planned(refusal.refused if refusal is not None else ())


def _report_and_work(
    session: Session, proposal: PlannedRerun, applied: AppliedRerun, options: RerunFlags, *, repeated: bool
) -> int:
    """Print what was applied, and with `and_work` run the jobs. After `--repeat`, print how often the jobs failed.
    Return the exit code."""
    measures = options.and_work and repeated
    if options.as_json and not measures:
        _emit_plan(proposal, applied)
    workflows = workflows_of(session, applied.plan.jobs.ids) if options.and_work else []
    code = finish_applied(session, applied, workflows, options.and_work, options.slots, options.as_json)
    if measures:
        from rekindle.cli.commands.failures import draw_flaky
        from rekindle.engine.queries.flaky_queries import flaky_jobs_with_rows
        from rekindle.presentation.batch_documents import flaky_jobs

        jobs = applied.plan.jobs.having(_is_selected).ids
        found, rows = flaky_jobs_with_rows(session, jobs, every=True)
        if options.as_json:
            _emit({**_document(proposal, applied), "flaky": flaky_jobs(found, rows)})
        else:
            click.echo("")
            draw_flaky(found, rows, len(jobs))
    return code


def _is_selected(job: PlannedJob) -> bool:
    return any(one.kind is ReasonKind.SELECTED for one in job.reasons)


def _draw(session: Session, proposal: PlannedRerun, verbose: bool) -> None:
    if proposal.planned_submission is not None:
        from rekindle.cli.output.revisions import draw_preview

        draw_preview(proposal.planned_submission.preview, verbose=verbose)
        click.echo("")
    else:
        _print_definition(session, proposal)
    draw_plan(proposal.plan, proposal.children, plan_index(session, proposal.plan), verbose=verbose)
    if proposal.canaries:
        from rekindle.presentation import waits

        draw_section("canaries", [waits.canary_choice_line(one) for one in proposal.canaries], None, "group")


def _save(session: Session, proposal: PlannedRerun, path: Path | None, as_json: bool) -> None:
    """Save the plan if `path` is given, and print that nothing is changed."""
    if path is not None:
        engine.save(session, proposal, path)
    if as_json:
        _emit_plan(proposal, None)
    if path is not None:
        click.echo(f"saved: `rekindle apply {path}` applies it, unless its jobs have changed by then", err=as_json)
    elif not as_json:
        click.echo("a dry run: nothing is changed")


def _print_definition(session: Session, proposal: PlannedRerun) -> None:
    """Print the revision of the definition, if a workflow has several."""
    latest = {one.revision for one in proposal.workflows}
    if max(latest) == 1:
        return
    newest = ", ".join(sorted(f"revision {number}" for number in latest))
    pinned = proposal.plan.jobs.having(lambda job: job.next.pinned_to is not None)
    earlier_ones = job_queries.revisions_run(  # an attempt's revision never changes
        session,
        [job.next.pinned_to for job in pinned if job.next.pinned_to is not None],
    )
    if not earlier_ones:
        click.echo(f"definition: {newest}, the latest")
        return
    earlier = ", ".join(f"revision {number}" for number in earlier_ones)
    click.echo(f"definition: pinned to {earlier} (the latest is {newest})")


def _check_submit(spec: str | None, param: tuple[str, ...], save_plan: Path | None, *, revise: bool) -> None:
    """Raise UsageError for flags that exclude each other."""
    if revise and spec is None:
        raise UsageError("--revise needs --submit", hint="--submit SPEC --revise")
    if param and spec is None:
        raise UsageError("--param needs --submit: it sets a parameter of a spec", hint="--submit SPEC, or --set K=V")
    if spec is not None and save_plan is not None:
        raise UsageError(
            "--save-plan cannot be used with --submit: a saved plan is for the jobs in their current state, and "
            "the new revision would change them",
            hint="`rekindle submit` first, then save the plan",
        )


def _plan_submission(
    session: Session, spec: str, selection: Selection, how: How, request: Mapping[str, Any], options: RerunFlags
) -> PlannedRerun | None:
    """Return what submitting the spec and rerunning the selection would do. If no job is selected, print that and
    return None."""
    from rekindle.cli.commands.submit import loaded
    from rekindle.engine.rerun import resubmit

    revise = options.revise
    definition = loaded(spec, options.param, new=False, revise=revise, quiet=True)
    definition = resubmit.definition_for_workflow(session, definition, selection.workflow, revise=revise)
    if selection.changed:
        with reading_progress() as on_read:
            changed = resubmit.stale_after_revision(session, definition, selection, on_read, revise=revise)
        _print_unknown(len(changed.unknown))
        pick = resubmit.requests_for_jobs(changed, how)
    else:
        pick = resubmit.requests_for_selection(session, definition, selection, how)
    request = {**request, "submit": definition.source}
    note, slots, canary = options.note, options.slots, options.canary
    try:
        found = resubmit.plan_resubmit(
            session, definition, pick, request, note, slots=slots, canary=canary, revise=revise
        )
    except PlanRefused as refusal:
        refusal.document = _nothing_planned(refusal)
        raise
    if isinstance(found, PlannedRerun):
        return found
    _print_nothing_submitted(
        found, spec, options.as_json, "nothing is stale" if selection.changed else "nothing selected"
    )
    return None


def _print_unknown(number: int) -> None:
    """Print how many of the selected jobs are unknown."""
    if number:
        click.echo(
            f"{words.unknown_jobs(number)}: there is nothing to compare; -n NAME selects a job by name", err=True
        )


def _print_nothing_submitted(found: SubmitPreview, spec: str, as_json: bool, text: str) -> None:
    if as_json:
        _emit(_nothing_planned())
        return
    click.echo(text)
    if not found.submitted.unchanged:
        click.echo(f"  nothing is submitted: `rekindle submit {words.one_line(spec)}` submits it", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@json_option
def apply(file: Path, as_json: bool) -> None:
    """Apply a plan that `rerun --save-plan` saved. Refused if a job of the plan has changed since.

    \b
    Example:
      rekindle rerun -s failed --save-plan plan.json
      rekindle apply plan.json
    """
    with reconciled() as session:
        applied = engine.apply(session, engine.load(session, file), saving_progress())
    if as_json:
        from rekindle.cli.output import json_output
        from rekindle.presentation import documents

        document = documents.plan(replace(applied.plan, jobs=PlannedJobs()), applied.rerun)
        json_output.emit_with_rows(document, "jobs", documents.planned_jobs(applied.plan.jobs))
        return
    click.echo(plans.summary(applied.plan))
    click.echo(plans.applied_text(applied))
