"""Print what a restart does: each job with its reason, the files that it overwrites, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rekindle.dialects.torc.torc_options import print_json, torc_options
from rekindle.dialects.torc.torc_status import RunNumbers
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import State

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.results import PlannedRestart
    from rekindle.engine.session import Session

_MAX_NAMES = 5
_MAX_LINES = 20
_USER_DATA = "user_data_"

_TEXTS = {
    ReasonKind.UPSTREAM: "{name} runs again",
    ReasonKind.RELEASED: "it was reset",
    ReasonKind.RESULT: "the result of {name} changed",
    ReasonKind.PARAMETER: "the parameter {name} changed",
    ReasonKind.DEFINITION: "its definition changed",
    ReasonKind.NEEDS: "its dependencies changed",
    ReasonKind.CODE: "the code of {name} changed",
    ReasonKind.ENVIRONMENT: "its environment changed",
    ReasonKind.AGGREGATE: "{name} runs again",
    ReasonKind.OPAQUE: "{name} has run again",
}


def report_restart(
    session: Session, workflow: Workflow, found: PlannedRestart, resets: Sequence[str], *, dry_run: bool
) -> None:
    """Print a restart. `resets`: names of the user data that it resets."""
    planned = found.proposal.plan.jobs if found.proposal is not None else ()
    refused = found.proposal.plan.refused if found.proposal is not None else ()
    overwrites = found.proposal.plan.overwrites if found.proposal is not None else ()
    if torc_options().as_json:
        print_json(
            {
                "workflow_key": str(workflow.id),
                "run_id": RunNumbers(session, workflow).current,
                "dry_run": dry_run,
                "jobs": [
                    {
                        "key": str(job.id),
                        "name": job.name,
                        "status": "ready" if job.after is State.READY else "blocked",
                        "reasons": [{"kind": reason.kind.value, **reason.detail} for reason in job.reasons],
                    }
                    for job in planned
                ],
                "overwrites": list(overwrites),
                "resets": list(resets),
                "running": [{"key": str(job.id), "name": job.name} for job in found.running],
                "done": [{"key": str(job.id), "name": job.name} for job in found.stays],
                "refused": [{"key": str(one.id), "name": one.name, "why": one.why} for one in refused],
            }
        )
        return
    if planned:
        would = "would run again" if dry_run else "run again"
        click.echo(f"{job_count(len(planned))} {would}: {first_names([job.name for job in planned])}")
        _print_lines([f"{job.name}: {_reasons_text(job.reasons)}" for job in planned])
    else:
        click.echo("nothing to restart")
    if overwrites:
        click.echo(f"{'would overwrite' if dry_run else 'overwrites'}:")
        _print_lines(overwrites)
    if resets:
        click.echo(f"{'would reset' if dry_run else 'resets'} ephemeral user data: {first_names(resets)}")
    if found.running:
        click.echo(f"left alone, because they run: {first_names([job.name for job in found.running])}")
    if found.stays:
        click.echo(f"done, with a return code that is not 0: {first_names([job.name for job in found.stays])}")
    for one in refused:
        click.echo(f"left alone: {one.name}: {one.why}")
    if dry_run:
        click.echo("a dry run: nothing is changed")


def job_count(number: int) -> str:
    """Return `1 job` or `2 jobs`."""
    return "1 job" if number == 1 else f"{number:,} jobs"


def first_names(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    more = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines[:_MAX_LINES]:
        click.echo(f"  {line}")
    if len(lines) > _MAX_LINES:
        click.echo(f"  and {len(lines) - _MAX_LINES:,} more; -F json lists all")


def _reasons_text(reasons: Sequence[Reason]) -> str:
    """Return the reasons; that a job was selected is one only where nothing else says why."""
    causes = [one for one in reasons if one.kind is not ReasonKind.SELECTED or one.detail.get("cause")]
    return ", ".join(dict.fromkeys(map(_reason_text, causes or reasons)))


def _reason_text(reason: Reason) -> str:
    kind, detail = reason.kind, reason.detail
    name = str(detail.get("name") or detail.get("job") or "")
    if kind is ReasonKind.SELECTED:
        return f"it ended with the cause {detail['cause']}" if detail.get("cause") else "it did not finish"
    if kind in (ReasonKind.INPUT, ReasonKind.OUTPUT):
        what = f"user data {name.removeprefix(_USER_DATA)}" if name.startswith(_USER_DATA) else f"file {name}"
        if detail.get("after") is None:
            return f"the {what} is missing" if kind is ReasonKind.OUTPUT else f"the {what} is not there"
        return f"the {what} {'changed' if detail.get('before') else 'is new'}"
    return _TEXTS[kind].format(name=name) if kind in _TEXTS else f"{kind.value} {name}".strip()
