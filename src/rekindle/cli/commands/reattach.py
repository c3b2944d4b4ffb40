"""`rekindle rerun --reattach`: adopt or record the attempts of runners that vanished."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rekindle.cli.output import json_output, terminal
from rekindle.cli.output.plans import confirm
from rekindle.cli.output.runs import work_with_summary
from rekindle.cli.output.terminal import Column
from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.rerun.request import How
from rekindle.engine.queries import selections
from rekindle.engine.queries.job_queries import workflows_of
from rekindle.engine.results import ReattachedJob, ReattachResult, WorkOptions
from rekindle.engine.running import reconcile
from rekindle.presentation import documents, words

if TYPE_CHECKING:
    from rekindle.cli.rerun_options import FanOutFlags
    from rekindle.domain.selection import Selection
    from rekindle.engine.session import Session


def check_reattach(
    how: How, fan_out: FanOutFlags, spec: str | None, param: tuple[str, ...], save_plan: Path | None, note: str | None
) -> None:
    """Raise UsageError for options of a rerun, which --reattach does not do."""
    if fan_out.how(how) != How() or spec is not None or param or save_plan is not None or note is not None:
        raise UsageError(
            "--reattach reruns nothing, and takes no option that says how a rerun is done",
            hint="give it a selection; --dry-run, --yes, --work, -j and --json can be added",
        )


def reattach_jobs(
    session: Session, selection: Selection, slots: int | None, *, dry_run: bool, yes: bool, and_work: bool, json: bool
) -> int:
    """Print what is found, ask, record it, and with `and_work` run jobs. Return the exit code."""
    ids = selections.select(session, selection)
    if not ids:
        _print_nothing(json)
        return 0
    found = reconcile.plan_reattach(session, ids)
    nothing = all(one.found in ("none", "attended") for one in found.jobs)
    if json and dry_run and not nothing:
        json_output.emit(reattachment_json(found))
    elif not json and (nothing or dry_run or not yes):
        _draw(found)
    if nothing:
        refusal = Refused("there is nothing to reattach: nothing is changed", hint="without --reattach, jobs run again")
        refusal.document = reattachment_json(found)
        raise refusal
    if dry_run:
        if not json:
            click.echo("a dry run: nothing is changed")
        return 0
    confirm(yes, (lambda: reattachment_json(found)) if json else None)
    found = reconcile.reattach(session, ids)
    _show(found, as_json=json)
    if not and_work:
        return 0
    workflows = workflows_of(session, ids)
    only = str(workflows[0]) if len(workflows) == 1 else None
    return work_with_summary(session, WorkOptions(workflow=only, slots=slots), quiet=json).exit_code


def _show(found: ReattachResult, *, as_json: bool) -> None:
    if as_json:
        json_output.emit(reattachment_json(found))
        return
    _draw(found)
    if found.rerun is not None:
        click.echo(f"rerun {found.rerun} is applied: what was lost runs again")
    run_on = sum(one.found == "running" for one in found.jobs)
    if run_on and not found.runner_alive:
        of = "its end" if run_on == 1 else "their ends"
        click.echo(f"{run_on:,} run{'s' if run_on == 1 else ''} on: `rekindle work` records {of}")


def _print_nothing(as_json: bool) -> None:
    if as_json:
        json_output.emit(reattachment_json(ReattachResult((), runner_alive=False)))
    else:
        click.echo("nothing selected")


def reattachment_json(found: ReattachResult) -> dict[str, Any]:
    """Return the document of `rerun --reattach --json`."""
    return {"reattached": [_job(one) for one in found.jobs], "rerun": found.rerun}


def _job(one: ReattachedJob) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "found": one.found,
        "state": one.state.label,
        "cause": one.cause and one.cause.value,
        "pid": one.pid,
        "worker": one.worker,
        "since": documents.iso(one.since),
        "why": one.why,
    }


_WORDS = {
    "finished": "finished meanwhile",
    "running": "runs on",
    "gone": "gone",
    "attended": "attended",
    "none": "nothing to reattach",
}


def _draw(found: ReattachResult) -> None:
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
    click.echo(terminal.table(columns, rows))


def _detail(one: ReattachedJob) -> str:
    """Return the running process, or why there is none."""
    if one.found == "running" and one.worker:
        return f"since {words.short_time(one.since)}, pid {one.pid}, worker {one.worker}"
    return one.why or ""
