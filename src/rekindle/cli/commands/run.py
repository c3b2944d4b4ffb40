"""`rekindle run`: submit a spec, rerun stale jobs, and run until no job is left."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from rekindle.cli.commands.submit import loaded, print_submitted, show_preview
from rekindle.cli.options import (
    capacity_options,
    dry_run_option,
    fail_on_option,
    json_option,
    read_duration,
    report_options,
    spec_options,
)
from rekindle.cli.output import json_output
from rekindle.cli.output.busy import busy, storing_progress
from rekindle.cli.output.file_progress import reading_progress, saving_progress
from rekindle.cli.output.plans import Names, draw_plan, draw_refused, plan_index
from rekindle.cli.output.revisions import draw_preview
from rekindle.cli.output.runs import (
    again_line,
    print_quarantine,
    print_summary,
    print_undecided,
    verdict_exit_code,
    work_with_progress,
)
from rekindle.cli.sessions import opened_for
from rekindle.domain.errors import PlanOutdated, Refused, UsageError
from rekindle.domain.judging import JUDGE
from rekindle.domain.packing import capacity_of
from rekindle.domain.rerun.selected import FORBIDDEN
from rekindle.domain.states import State
from rekindle.engine.hooks import end_run
from rekindle.engine.machine import capacity_owner, processors
from rekindle.engine.queries import failure_queries, job_queries, workflow_queries
from rekindle.engine.queries.waits import unfit_in_workflow
from rekindle.engine.rerun.resubmit import RunOutcome, WorkflowUpdate, apply_update, plan_update, run_outcome
from rekindle.presentation import batch_documents, documents, revisions, waits, words
from rekindle.presentation.attempts import id_ranges

if TYPE_CHECKING:
    from rekindle.cli.output.reports import RunReports
    from rekindle.domain.definition import Definition
    from rekindle.domain.verdicts import VerdictLevel
    from rekindle.engine.results import AppliedRerun, SubmitResult, WorkOptions, WorkReport
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.assessments import WorkflowAssessment

_TO_DO = (State.READY, State.QUEUED, State.RUNNING)
_NAMED = 5
_MOST_PLANS = 5
"""Number of times a plan is made again because other commands change its jobs."""


@click.command()
@spec_options
@capacity_options
@click.option(
    "--wait-timeout",
    callback=read_duration,
    metavar="D",
    help="Exit with 6 after this time; running jobs continue.",
)
@click.option("--no-rerun", is_flag=True, help="Run only jobs that never ran; exit 1 if completed jobs are stale.")
@click.option("--retry-failed", is_flag=True, help="Run failed jobs again, too.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before completed jobs run again.")
@fail_on_option
@report_options
@dry_run_option
@click.option("-v", "--verbose", is_flag=True, help="Show every row of a long plan.")
@json_option
def run(
    spec: str,
    param: tuple[str, ...],
    name: str | None,
    new: bool,
    revise: bool,
    capacity: WorkOptions,
    wait_timeout: float | None,
    no_rerun: bool,
    retry_failed: bool,
    yes: bool,
    fail_on: frozenset[VerdictLevel],
    reports: RunReports,
    dry_run: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Submit SPEC and bring its workflow up to date.

    Runs the jobs that are new, ready, interrupted, or stale (an input, command, parameter, function or result that
    they depend on has changed), and every job below these. The plan is printed and recorded; on a terminal, `run` asks
    before completed jobs run again. Failed jobs stay failed until `rerun` or --retry-failed.

    Exit code, for the whole workflow at the end: 0 all jobs completed and none is stale, 1 stale jobs are left or jobs
    cannot start, 2 jobs have failed (not counting those in quarantine: see `quarantine:` of specs), 5 jobs are
    canceled (Ctrl-C), 6 timed out; with --fail-on, where it would be 0: 7 if a job has the verdict BLOCKER, 8 if one
    has WARNING.

    \b
    Example:
      rekindle run sweep.yaml -j 4 --param alpha=0.2
      rekindle run sweep.yaml --dry-run
      rekindle run sweep.yaml --retry-failed --yes
      rekindle run nightly.yaml --junit junit.xml --ci auto
    """
    if no_rerun and retry_failed:
        raise UsageError("--no-rerun and --retry-failed exclude each other", hint="leave out one of them")
    definition = loaded(spec, param, new, revise, quiet=as_json)
    with opened_for(spec, dry_run=dry_run) as session:
        began = session.clock()
        naming = {"name": name, "new": new, "revise": revise}
        plan = _planner(session, definition, **naming, rerun_stale=not no_rerun, retry_failed=retry_failed)
        if dry_run:
            how = {"verbose": verbose, "as_json": as_json, "reuse": capacity.reuse}
            _show_dry_run(session, plan(), (definition, name, new, revise), **how)
            return 0
        how = {"yes": yes or as_json, "verbose": verbose, "as_json": as_json, "reuse": capacity.reuse}
        update, done, applied = _applied(session, plan, **how)
        options = replace(capacity, workflow=str(done.workflow), wait_timeout=wait_timeout)
        forbidden = {one.id for one in update.refused if one.kind == FORBIDDEN}
        with reports.kept_on_interrupt(session, done.workflow, began):
            again = _command(spec, param, name)
            report, outcome = _worked(session, options, again, reports, forbidden, update.found, quiet=as_json)
        code = outcome.exit_code or verdict_exit_code(session, str(done.workflow), fail_on)
        reports.finish(session, done.workflow, began, code)
    if as_json:
        json_output.emit(_document(update, done, applied, outcome, report, code, reuse=capacity.reuse))
    return code


def _planner(session: Session, definition: Definition, **how: Any) -> Callable[[], WorkflowUpdate]:
    """Return a function that plans the update of a workflow; `how`: the options of `plan_update`."""

    def plan() -> WorkflowUpdate:
        with reading_progress() as on_read:
            return plan_update(session, definition, progress=on_read, **how)

    return plan


def _worked(
    session: Session,
    options: WorkOptions,
    again: str,
    reports: RunReports,
    forbidden: Collection[int],
    found: WorkflowAssessment | None,
    *,
    quiet: bool,
) -> tuple[WorkReport | None, RunOutcome]:
    """Run until no job is left, and print the outcome. `again`: the command that continues the run. `forbidden`: jobs
    that must not run twice. `found`: what planning has found, if it changes nothing."""
    before = workflow_queries.status(session, options.workflow)[0]
    report: WorkReport | None = None
    if any(before.counts.get(state) for state in _TO_DO) or JUDGE in before.undecided:
        _print_unfit(session, before.workflow.id, options)
        with reports.section(session, f"rekindle: jobs of {before.workflow.name}"):
            report = work_with_progress(session, options, quiet=quiet)
        print_summary(session, options.workflow, report, again)
    else:
        end_run(session, before.workflow.id)
    with reading_progress() as on_read:
        known = found if report is None else None
        outcome = run_outcome(session, before.workflow.id, report, on_read, known)
    _show_outcome(session, outcome, report, again, forbidden)
    return report, outcome


def _print_unfit(session: Session, workflow: int, options: WorkOptions) -> None:
    """Print the jobs that ask more than the runner will have."""
    from rekindle.engine.running.executor_choice import offer_of, with_executor

    room = capacity_of(offer_of(with_executor(options, os.environ), options.slots or processors()))
    for line in waits.unfit_lines(unfit_in_workflow(session, workflow, room), this=capacity_owner(room)):
        click.echo(line, err=True)


def _command(spec: str, param: Sequence[str], name: str | None) -> str:
    """Return the command that continues this run."""
    words = ["rekindle", "run", spec, *(word for text in param for word in ("--param", text))]
    return shlex.join([*words, "--as", name] if name is not None else words)


def _applied(
    session: Session, plan: Callable[[], WorkflowUpdate], *, yes: bool, verbose: bool, as_json: bool, reuse: bool
) -> tuple[WorkflowUpdate, SubmitResult, AppliedRerun | None]:
    """Plan, print, ask and apply. Plan again if jobs have changed in between."""
    for left in reversed(range(_MOST_PLANS)):
        update = plan()
        if update.preview is not None:
            print_submitted(update.preview.submitted)
        if update.proposal is not None and not as_json:
            index = plan_index(session, update.proposal.plan)
            _draw(update, index, verbose=verbose, reuse=reuse)
        elif update.refused and not as_json:
            click.echo("cannot run again:")
            draw_refused(update.refused, None if verbose else _NAMED)
        _ask(update, yes)
        try:
            jobs = len(update.definition.jobs)
            with busy(f"{words.plural(jobs, 'job')}; storing …", quiet=as_json or update.preview is not None) as show:
                done, applied = apply_update(session, update, saving_progress(), storing_progress(jobs, show))
        except PlanOutdated:
            if not left:
                raise
            continue
        if update.preview is None:
            print_submitted(done)
        return update, done, applied
    raise AssertionError("the last plan was applied or refused")


def _draw(update: WorkflowUpdate, index: Names, *, verbose: bool, reuse: bool) -> None:
    """Print the plan of an update."""
    proposal = update.proposal
    if proposal is not None:
        names, reuses = [update.definition.name], proposal.reuses if reuse else {}
        draw_plan(proposal.plan, proposal.children, index, verbose=verbose, reuses=reuses, workflows=names)


def _planned_document(update: WorkflowUpdate, applied: AppliedRerun | None, *, reuse: bool) -> dict[str, object]:
    """Return the plan of an update, applied or not."""
    proposal = update.proposal
    if proposal is None:
        return {**documents.nothing_planned(update.refused), "reuses": []}
    plan = documents.plan(applied.plan, applied.rerun) if applied else documents.plan(proposal.plan, None)
    return {**plan, "reuses": batch_documents.reuses(proposal.reuses if reuse else {})}


def _ask(update: WorkflowUpdate, yes: bool) -> None:
    """On a terminal, ask before completed jobs run again. Raise Refused if the answer is no."""
    number = update.reruns_completed
    if yes or not number or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    if not click.confirm(f"Run {words.plural(number, 'completed job')} again?", err=True):
        raise Refused("nothing is changed", hint="--no-rerun runs only what never ran")


def _show_dry_run(
    session: Session,
    update: WorkflowUpdate,
    submission: tuple[Definition, str | None, bool, bool],
    *,
    verbose: bool,
    as_json: bool,
    reuse: bool,
) -> None:
    """Print the submission and the plan."""
    if update.preview is None:
        show_preview(session, *submission, verbose=verbose, as_json=as_json)
        return
    proposal = update.proposal
    if as_json:
        planned = _planned_document(update, None, reuse=reuse)
        json_output.emit({**revisions.preview_json(update.preview), "update": planned})
        return
    draw_preview(update.preview, verbose=verbose)
    if proposal is not None:
        click.echo("")
        _draw(update, plan_index(session, proposal.plan), verbose=verbose, reuse=reuse)
    click.echo("a dry run: nothing is changed")


def _show_outcome(
    session: Session, outcome: RunOutcome, report: WorkReport | None, again: str, forbidden: Collection[int]
) -> None:
    """Print why the exit code is not 0 with the next commands, or that there was nothing to run."""
    status, stale = outcome.status, sorted(outcome.changed.stale)
    scope, counts = f"-w {status.workflow.id}", status.counts
    if report is not None and (report.interrupted or report.exit_code == 6):
        return
    failed, canceled = counts.get(State.FAILED, 0), counts.get(State.CANCELED, 0)
    if failed and not (report and report.failed):
        have = "has" if failed == 1 else "have"
        click.echo(f"{words.plural(failed, 'job')} {have} failed before: not run again", err=True)
        if outcome.failed_changed:
            click.echo(f"changed since: {_named(session, outcome.failed_changed)}", err=True)
        line = again_line(session, str(status.workflow.id), State.FAILED, f"again: {again} --retry-failed")
        click.echo(f"look: rekindle failures {scope}    {line}", err=True)
        if line.startswith("again"):
            click.echo(f"or choose: rekindle rerun {scope} -s failed --work", err=True)
    if not (report and report.failed):
        print_quarantine(status)
        if status.undecided:
            print_undecided(session, failure_queries.failures(session, str(status.workflow.id)))
    if canceled and not (report and report.canceled):
        click.echo(f"{words.plural(canceled, 'job')} {'is' if canceled == 1 else 'are'} canceled", err=True)
        line = f"again: rekindle rerun {scope} -s canceled --work"
        click.echo(again_line(session, str(status.workflow.id), State.CANCELED, line), err=True)
    if stale:
        are = "is" if len(stale) == 1 else "are"
        click.echo(f"{words.plural(len(stale), 'job')} {are} stale: {_named(session, stale)}", err=True)
        kept = f"keep the results: rekindle accept -i {id_ranges(stale)}"
        follows = kept if set(stale) <= set(forbidden) else f"again: {again}"
        click.echo(f"why: rekindle why {scope} --changed    {follows}", err=True)
    if report is None and outcome.exit_code == 0:
        click.echo(f"nothing to run: {_current(outcome)}", err=True)


def _named(session: Session, jobs: Sequence[int]) -> str:
    """Return the names of the first jobs."""
    names = ", ".join(words.one_line(row.job.name) for row in job_queries.jobs(session, jobs[:_NAMED]))
    return f"{names}, …" if len(jobs) > _NAMED else names


def _current(outcome: RunOutcome) -> str:
    """Return `4 completed jobs, all current`, or how many are unknown."""
    total, unknown = outcome.status.counts.get(State.COMPLETED, 0), len(outcome.changed.unknown)
    jobs = words.plural(total, "completed job")
    if not unknown:
        return f"{jobs}, current" if total == 1 else f"{jobs}, all current"
    current = f"{total - unknown:,} current, " if total > unknown else ""
    return f"{jobs}: {current}{unknown:,} unknown (nothing to compare)"


def _document(
    update: WorkflowUpdate,
    done: SubmitResult,
    applied: AppliedRerun | None,
    outcome: RunOutcome,
    report: WorkReport | None,
    code: int,
    *,
    reuse: bool,
) -> dict[str, object]:
    planned = _planned_document(update, applied, reuse=reuse)
    return {
        **documents.workflow_status(outcome.status),
        "exit_code": code,
        "submitted": documents.submitted(done),
        "update": planned,
        "ran": documents.report(report) if report else None,
        "stale": sorted(outcome.changed.stale),
        "unknown": sorted(outcome.changed.unknown),
    }
