"""Where things belong: jobs to workflows, attempts to the folders that their processes ran in."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.domain.models import Attempt
from rekindle.engine.session import Session


def workflows_of(session: Session, jobs: Sequence[int]) -> list[int]:
    """The ids of the workflows that these jobs are of, each once, in order."""
    with session.store.read() as archive:
        return archive.jobs.workflows(jobs)


def workdirs(session: Session, attempts: Sequence[Attempt]) -> dict[int, str | None]:
    """The working directory of each attempt, by its id: the project's folder, or the attempt's own."""
    with session.store.read() as archive:
        own = {one: archive.workflows.template(one).workdir == "attempt" for one in {a.template for a in attempts}}
        found = {one: archive.workflows.find(one) for one in {a.workflow for a in attempts}}
    projects = {number: owner.directory if owner else None for number, owner in found.items()}
    return {one.id: one.folder if own[one.template] else projects[one.workflow] for one in attempts}
