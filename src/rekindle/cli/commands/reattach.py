"""`rekindle rerun --reattach`: what has become of jobs whose runner vanished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rekindle.cli.asking import ask
from rekindle.cli.showing import drawing, shapes
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.subtasks import FanOutFlags
from rekindle.cli.showing.working import work_shown
from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.selection import Selection
from rekindle.engine.looking import look
from rekindle.engine.looking.whereabouts import workflows_of
from rekindle.engine.results import Reattached, Reattachment, WorkOptions
from rekindle.engine.running import reconciling
from rekindle.engine.session import Session

reattach_option = click.option(
    "--reattach",
    is_flag=True,
    help="Run nothing again: of jobs whose runner vanished, adopt what runs on and take in what finished unseen.",
)
"""`reattach`."""


def check_reattach(
    how: How, fan_out: FanOutFlags, spec: str | None, param: tuple[str, ...], save_plan: Path | None, note: str | None
) -> None:
    """UsageError for whatever says how to run again: nothing is."""
    if fan_out.how(how) != How() or spec is not None or param or save_plan is not None or note is not None:
        raise UsageError(
            "--reattach does not go with what says how a rerun is done: it finds out what has become of jobs that run",
            hint="give it a selection alone; --dry-run, --yes, --work, -j and --json go with it",
        )


def reattach_shown(
    session: Session, selection: Selection, slots: int | None, *, dry_run: bool, yes: bool, and_work: bool, json: bool
) -> int:
    """Say what is found, ask, take it in, and work where that was asked for; the exit code."""
    ids = look.select(session, selection)
    if not ids:
        _tell_nothing(json)
        return 0
    found = reconciling.plan_reattach(session, ids)
    nothing = all(one.found in ("none", "attended") for one in found.jobs)
    if json and (nothing or dry_run):
        shapes.emit(document(found))
    elif not json and (nothing or dry_run or not yes):
        _draw(found)
    if nothing:
        raise Refused("there is nothing to reattach: nothing is changed", hint="without --reattach, jobs run again")
    if dry_run:
        if not json:
            click.echo("a dry run: nothing is changed")
        return 0
    ask(yes, json)
    found = reconciling.reattach(session, ids)
    _show(found, as_json=json)
    if not and_work:
        return 0
    workflows = workflows_of(session, ids)
    only = str(workflows[0]) if len(workflows) == 1 else None
    return work_shown(session, WorkOptions(workflow=only, slots=slots), quiet=json).exit_code


def _show(found: Reattachment, *, as_json: bool) -> None:
    if as_json:
        shapes.emit(document(found))
        return
    _draw(found)
    if found.rerun is not None:
        click.echo(f"rerun {found.rerun} is applied: what was lost runs again")
    run_on = sum(one.found == "running" for one in found.jobs)
    if run_on and not found.runner_alive:
        of = "its end" if run_on == 1 else "their ends"
        click.echo(f"{run_on:,} run{'s' if run_on == 1 else ''} on: `rekindle work` takes in {of}")


def _tell_nothing(as_json: bool) -> None:
    if as_json:
        shapes.emit(document(Reattachment((), runner_alive=False)))
    else:
        click.echo("nothing selected")


def document(found: Reattachment) -> dict[str, Any]:
    """In JSON."""
    return {"reattached": [_job(one) for one in found.jobs], "rerun": found.rerun}


def _job(one: Reattached) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "found": one.found,
        "state": one.state.label,
        "cause": one.cause and one.cause.value,
        "pid": one.pid,
        "worker": one.worker,
        "since": shapes.iso(one.since),
        "why": one.why,
    }


_WORDS = {
    "finished": "finished meanwhile",
    "running": "runs on",
    "gone": "gone",
    "attended": "attended",
    "none": "nothing to reattach",
}


def _draw(found: Reattachment) -> None:
    columns = [
        Column("ID", right=True),
        Column("JOB", cut="middle", keep=True),
        Column("FOUND"),
        Column("STATE"),
        Column("CAUSE", drop=True),
        Column("DETAIL", cut="end", drop=True),
    ]
    rows = [
        (str(one.id), one.name, _WORDS[one.found], one.state.label, one.cause.value if one.cause else "", _detail(one))
        for one in found.jobs
    ]
    click.echo(drawing.table(columns, rows))


def _detail(one: Reattached) -> str:
    """Which process, or why."""
    if one.found == "running" and one.worker:
        return f"since {drawing.when(one.since)}, pid {one.pid}, worker {one.worker}"
    return one.why or ""
