"""`rekindle rerun`: plan, show, ask, apply."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from rekindle.cli.asking import ask
from rekindle.cli.commands import flaky
from rekindle.cli.commands.reattach import check_reattach, reattach_option, reattach_shown
from rekindle.cli.commands.rerunsubmit import check_submit, proposed, tell_unknown
from rekindle.cli.howoptions import how_options
from rekindle.cli.opening import opened
from rekindle.cli.options import (
    check_then_work,
    json_option,
    plan_options,
    revise_option,
    selection_options,
    then_work_options,
    wanted_to_act,
)
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import canaries, drawing, revisionshapes, revisionshow, shapes
from rekindle.cli.showing.planshow import draw_plan
from rekindle.cli.showing.reading import reading_shown
from rekindle.cli.showing.specnote import spec_note
from rekindle.cli.showing.subtasks import FanOutFlags, fan_out_options
from rekindle.cli.showing.working import work_shown
from rekindle.domain.errors import PlanRefused
from rekindle.domain.rerunning.asking import how_to_json
from rekindle.domain.rerunning.rerun import How, Reason, ReasonKind
from rekindle.domain.selection import Selection
from rekindle.domain.texts.quantities import format_size
from rekindle.engine.changes import staleness
from rekindle.engine.looking import look
from rekindle.engine.looking.whereabouts import refuse_without_folder, workflows_of
from rekindle.engine.nesting import refuse_inside_job
from rekindle.engine.rerunning import rerun as engine
from rekindle.engine.rerunning import resubmitting
from rekindle.engine.results import Applied, Proposal, WorkOptions
from rekindle.engine.session import Session
from rekindle.query.selections import Flags


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to become of the plan, as the options say."""

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
@reattach_option
@click.option(
    "--canary",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of the jobs that failed alike run N first, and the others only when these pass.",
)
@click.option("--submit", "spec", metavar="SPEC", help="Submit SPEC as the next revision first, in the same step.")
@click.option("--param", multiple=True, metavar="K=V", help="With --submit: set a parameter; repeat for more.")
@revise_option
@click.option("--save-plan", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan; do not apply it.")
@plan_options
@then_work_options
@json_option
def rerun(
    flags: Flags,
    how: How,
    fan_out: FanOutFlags,
    reattach: bool,
    **wishes: Any,
) -> int:
    """Plan a rerun of a SELECTION, show it, and apply it.

    The selected jobs run again, and every job that needs one of them (`--downstream changed` spares those for which
    nothing comes out different). Their earlier attempts are archived, never lost; `rekindle undo` takes the rerun back
    as long as nothing of it has started.

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
    selection = wanted_to_act(flags, "rerun")
    wanted = Wishes(**wishes)
    check_then_work(wanted.and_work, wanted.slots)
    check_submit(wanted.spec, wanted.param, wanted.save_plan, revise=wanted.revise)
    if not reattach:
        return _rerun(flags, selection, fan_out.how(how), wanted)
    check_reattach(how, fan_out, wanted.spec, wanted.param, wanted.save_plan, wanted.note)
    with opened() as session:
        only = {"dry_run": wanted.dry_run, "yes": wanted.yes, "and_work": wanted.and_work, "json": wanted.as_json}
        return reattach_shown(session, selection, wanted.slots, **only)


def _rerun(flags: Flags, selection: Selection, how: How, wanted: Wishes) -> int:
    if selection.changed:
        how = replace(how, keep_modified=True)  # what is modified is not stale for that: it stays
    canary = wanted.canary
    asked = how_to_json(how) | ({} if canary is None else {"canary": canary})
    request = {"selection": flags.typed(), "how": asked}
    note, slots, as_json, keeps = wanted.note, wanted.slots, wanted.as_json, wanted.dry_run or wanted.save_plan
    with reconciled() as session:
        applied = None
        if wanted.spec is not None:
            spec, param = wanted.spec, wanted.param
            only = {"revise": wanted.revise, "as_json": as_json}
            proposal = proposed(session, spec, param, selection, how, request, note, slots, canary, **only)
        else:
            at_once = wanted.yes and how.cancel_running and not (how.keep_outputs or keeps)
            proposal, applied = _planned(
                session, selection, how, request, note, slots, canary, as_json, at_once=at_once
            )
        if proposal is None:
            return 0
        if not as_json:
            _draw(session, proposal, wanted.verbose)
        if keeps:
            _keep(session, proposal, wanted.save_plan, as_json)
            return 0
        if applied is None:
            ask(wanted.yes, as_json)
            if wanted.and_work:
                touched = workflows_of(session, [job.id for job in proposal.plan.jobs])
                refuse_inside_job(session, touched[0] if len(touched) == 1 else None)
            applied = resubmitting.apply(session, proposal, saving_shown())
        return _carry_out(session, proposal, applied, wanted.and_work, slots, as_json, how.repeats is not None)


def _changed(session: Session, selection: Selection) -> Mapping[int, tuple[Reason, ...]]:
    """Those of the selected jobs that are stale, with the reasons; those that are unknown are counted."""
    ids = look.select(session, replace(selection, changed=False))
    with reading_shown() as tell:
        found = staleness.changed(session, ids, tell, strict=selection.changed == "all")
    tell_unknown(len(found.unknown))
    return found.stale


def _planned(
    session: Session,
    selection: Selection,
    how: How,
    request: Mapping[str, object],
    note: str | None,
    slots: int | None,
    canary: int | None,
    as_json: bool,
    *,
    at_once: bool,
) -> tuple[Proposal | None, Applied | None]:
    """The plan, and what became of it if it is applied at once; None, and it is said, where nothing is selected."""
    why = _changed(session, selection) if selection.changed else None
    ids = list(why) if why is not None else look.select(session, selection)
    if not ids:
        tell_nothing(as_json, "nothing is stale" if selection.changed else "nothing selected")
        return None, None
    workflows = workflows_of(session, ids)
    refuse_without_folder(session, workflows)
    tell_spec_changed(session, workflows)
    try:
        if at_once:
            return engine.plan_and_apply(session, [(ids, how)], request, note, why, slots=slots, canary=canary)
        return engine.plan(session, [(ids, how)], request, note, why, slots=slots, canary=canary), None
    except PlanRefused as refusal:
        if as_json:
            shapes.emit(shapes.nothing_planned(refusal.refused))
        raise


def tell_nothing(as_json: bool, text: str = "nothing selected") -> None:
    """That there is nothing to do, and why."""
    if as_json:
        shapes.emit(shapes.nothing_planned())
    else:
        click.echo(text)


def _document(proposal: Proposal, applied: Applied | None) -> dict[str, object]:
    """The plan in JSON; with the submission that it rests on."""
    document = shapes.plan(proposal.plan, applied.rerun if applied else None)
    document["canaries"] = [canaries.choice_shape(one) for one in proposal.canaries]
    if proposal.foreseen is None:
        return document
    preview = proposal.foreseen.preview
    told = revisionshapes.preview(preview)
    if applied is not None and applied.submitted is not None:
        told |= {"dry_run": False, "rerun": applied.submitted.rerun}
    return {**document, "submitted": told}


def _carry_out(
    session: Session,
    proposal: Proposal,
    applied: Applied,
    and_work: bool,
    slots: int | None,
    as_json: bool,
    repeated: bool,
) -> int:
    """Say what was applied, and run it where that was asked for. What was repeated ends with how often it has failed,
    which in JSON stands beside the plan."""
    measures = and_work and repeated
    if as_json and not measures:
        shapes.emit(_document(proposal, applied))
    workflows = workflows_of(session, [job.id for job in applied.plan.jobs])
    code = finish(session, applied, workflows, and_work, slots, as_json)
    if measures:
        jobs = [job.id for job in applied.plan.jobs if any(one.kind is ReasonKind.SELECTED for one in job.reasons)]
        found, rows = flaky.measured(session, jobs, every=True)
        if as_json:
            shapes.emit({**_document(proposal, applied), **flaky.document(found, rows)})
        else:
            click.echo("")
            flaky.draw(found, rows, len(jobs))
    return code


def _draw(session: Session, proposal: Proposal, verbose: bool) -> None:
    if proposal.foreseen is not None:
        revisionshow.draw_preview(proposal.foreseen.preview, verbose=verbose)
        click.echo("")
    else:
        _tell_definition(session, proposal)
    draw_plan(proposal.plan, proposal.children, verbose=verbose)
    canaries.draw_choices(proposal.canaries)


def _keep(session: Session, proposal: Proposal, path: Path | None, as_json: bool) -> None:
    """The plan is not applied: save it where that was asked for, and say so."""
    if path is not None:
        engine.save(session, proposal, path)
    if as_json:
        shapes.emit(_document(proposal, None))
    if path is not None:
        click.echo(f"saved: `rekindle apply {path}` applies it, unless its jobs have moved by then", err=as_json)
    elif not as_json:
        click.echo("a dry run: nothing is changed")


def tell_elsewhere(session: Session, workflows: list[int]) -> None:
    """Note which workflows run in another folder than this one, although a file that is called as their spec is here:
    this folder may be a copy of theirs."""
    here = Path.cwd()
    for number in workflows:
        one = look.find_workflow(session, str(number))
        elsewhere = Path(one.directory) != here and Path(one.directory).is_dir()
        if one.source and elsewhere and (here / Path(one.source).name).is_file():
            click.echo(f"note: {drawing.flat(one.name)} runs in {drawing.flat(one.directory)}, not here", err=True)


def tell_spec_changed(session: Session, workflows: list[int]) -> None:
    """That the file on disk is not what runs."""
    tell_elsewhere(session, workflows)
    for workflow in workflows:
        status = look.status(session, str(workflow))[0]
        if (note := spec_note(status)) is not None:
            click.echo(f"note: {drawing.flat(status.workflow.name)}: {note[0]}", err=True)
            takes_in = "; `--submit FILE` takes it in" if status.spec == "changed" else ""
            click.echo(f"  hint: `{note[1]}` shows it{takes_in}", err=True)


def _tell_definition(session: Session, proposal: Proposal) -> None:
    """Which revision is meant, where there are several."""
    workflows = workflows_of(session, [job.id for job in proposal.plan.jobs])
    latest = {one: look.status(session, str(one))[0].workflow.revision for one in workflows}
    if max(latest.values()) == 1:
        return
    newest = ", ".join(sorted({f"revision {number}" for number in latest.values()}))
    pinned = look.revisions(session, [job.pinned_to for job in proposal.plan.jobs if job.pinned_to is not None])
    if not pinned:
        click.echo(f"definition: {newest}, the latest")
        return
    earlier = ", ".join(f"revision {number}" for number in pinned)
    click.echo(f"definition: pinned to {earlier} (the latest is {newest})")


def finish(
    session: Session, applied: Applied, workflows: list[int], and_work: bool, slots: int | None, as_json: bool
) -> int:
    """Say what was applied, and run it where that was asked for; the exit code."""
    if not as_json:
        tell_applied(applied, and_work=and_work)
    if not and_work:
        return 0
    only = str(workflows[0]) if len(workflows) == 1 else None
    return work_shown(session, WorkOptions(workflow=only, slots=slots), quiet=as_json).exit_code


def saving_shown() -> Callable[[int, int], None] | None:
    """Shows on a terminal how far the saving of outputs is."""
    if not sys.stderr.isatty():
        return None
    shown = 0.0

    def show(done: int, whole: int) -> None:
        nonlocal shown
        over = done >= whole
        if time.monotonic() - shown > _SHOWN_EVERY or (over and shown):
            shown = time.monotonic()
            text = f"\rsaving outputs: {format_size(done)} of {format_size(whole)}"
            click.echo(text + ("\n" if over else ""), err=True, nl=False)

    return show


_SHOWN_EVERY = 0.2


def tell_applied(applied: Applied, *, and_work: bool = False) -> None:
    """`rerun 3 is applied: 12 ready; no runner is alive: rekindle work`."""
    held = f", {applied.held:,} held until `rekindle restart`" if applied.held else ""
    text = f"rerun {applied.rerun} is applied: {applied.ready:,} ready{held}"
    if ending := sum(reason.kind is ReasonKind.CANCELS for job in applied.plan.jobs for reason in job.reasons):
        text += f" once {drawing.many(ending, 'running job')} {'has' if ending == 1 else 'have'} ended"
    if waiting := sum(len(one.waits) for one in applied.canaries):
        text += f", {waiting:,} wait{'s' if waiting == 1 else ''} for canaries"
    if applied.ready and not applied.runner_alive and not and_work:
        text += "; no runner is alive: rekindle work"
    click.echo(text)
