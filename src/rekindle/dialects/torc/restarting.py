"""What a restart does to ephemeral user data: what jobs have made of it counts as gone, and is made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rekindle.dialects.torc.records import Datum, Records, write_text
from rekindle.dialects.torc.words import jobs_of
from rekindle.domain.models import Workflow
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.states import ACTIVE
from rekindle.engine.looking import look
from rekindle.engine.session import Session


@dataclass(slots=True)
class Clearing:
    """Which jobs run again for it, and why; which values go, and once which job is to run again."""

    jobs: dict[int, tuple[Reason, ...]] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)  # name -> the job that makes it, or 0


def plan_clearing(session: Session, workflow: Workflow, records: Records) -> Clearing:
    """Look at the ephemeral data of a workflow. What a job has made goes, and that job runs again; what the spec gives
    becomes that again, and where it was something else the jobs that read it run again. What neither makes stays."""
    found = Clearing()
    ephemeral = {name: one for name, one in records.user_data.items() if one.ephemeral}
    if not ephemeral:
        return found
    bodies = {body.name: body for body in look.templates(session, workflow.id)}
    rows = [row for row in jobs_of(session, workflow) if row.job.name in bodies and not row.job.retired]
    makers = _by_path({row.job.id: bodies[row.job.name].outputs for row in rows})
    readers = _by_path({row.job.id: bodies[row.job.name].inputs for row in rows})
    active = {row.job.id for row in rows if row.job.state in ACTIVE}
    for name, one in ephemeral.items():
        _look_at(name, one, workflow, makers, readers, active, found)
    return found


def clear(workflow: Workflow, records: Records, found: Clearing, reset: set[int]) -> None:
    """Remove, or give back, the values whose makers are reset."""
    for name, maker in found.values.items():
        one = records.user_data[name]
        if maker and maker not in reset:
            continue
        if one.given is None:
            Path(workflow.directory, one.path).unlink(missing_ok=True)
        else:
            write_text(Path(workflow.directory, one.path), one.given)


def _look_at(
    name: str,
    one: Datum,
    workflow: Workflow,
    makers: Mapping[str, list[int]],
    readers: Mapping[str, list[int]],
    active: set[int],
    found: Clearing,
) -> None:
    path = Path(workflow.directory, one.path)
    if not path.exists():
        return
    made_by = makers.get(one.path, [])
    detail = {"name": f"user_data_{name}", "path": str(path), "before": None, "after": None}
    if made_by:
        if made_by[0] not in active:
            found.values[name] = made_by[0]
            found.jobs[made_by[0]] = (Reason(ReasonKind.OUTPUT, detail),)
    elif one.given is not None and path.read_text().strip() != one.given:
        touched = readers.get(one.path, [])
        if not active.intersection(touched):
            found.values[name] = 0
            found.jobs.update((job, (Reason(ReasonKind.INPUT, detail),)) for job in touched if job not in found.jobs)


def _by_path(paths: Mapping[int, Mapping[str, str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for job, named in paths.items():
        for path in named.values():
            found.setdefault(path, []).append(job)
    return found
