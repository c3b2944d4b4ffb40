"""Where things belong: jobs to workflows, attempts to the folders that their processes ran in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rekindle.domain.errors import Refused
from rekindle.domain.models import Attempt, Workflow
from rekindle.engine.session import Session
from rekindle.store.port import Archive


def workflows_of(session: Session, jobs: Sequence[int]) -> list[int]:
    """The ids of the workflows that these jobs are of, each once, in order."""
    with session.store.read() as archive:
        return archive.jobs.workflows(jobs)


def workdirs(session: Session, attempts: Sequence[Attempt]) -> dict[int, str | None]:
    """The working directory of each attempt, by its id: the project's folder, or the attempt's own."""
    with session.store.read() as archive:
        return workdirs_in(archive, attempts)


def workdirs_in(archive: Archive, attempts: Sequence[Attempt]) -> dict[int, str | None]:
    """The same, within a transaction."""
    own = {one: archive.workflows.template(one).workdir == "attempt" for one in {a.template for a in attempts}}
    found = {one: archive.workflows.find(one) for one in {a.workflow for a in attempts}}
    projects = {number: owner.directory if owner else None for number, owner in found.items()}
    return {one.id: one.folder if own[one.template] else projects[one.workflow] for one in attempts}


def without_folder(session: Session, workflows: Iterable[int] | None = None) -> list[Workflow]:
    """Return those of some workflows, or of all that are not archived, whose folder is missing and whose jobs run or
    read files in it."""
    with session.store.read() as archive:
        if workflows is None:
            found = archive.workflows.listing()
        else:
            found = [one for number in workflows if (one := archive.workflows.find(number)) is not None]
        gone = [one for one in found if not Path(one.directory).is_dir()]
        return [
            one
            for one in gone
            if any(body.workdir == "project" or body.inputs for _, body in archive.workflows.templates(one.id))
        ]


def refuse_without_folder(session: Session, workflows: Iterable[int]) -> None:
    """Raise Refused, naming the first of these workflows whose folder is missing."""
    for one in without_folder(session, workflows):
        raise Refused(
            f"the folder of workflow {one.name!r} is missing: {one.directory}",
            hint="put it back there, or submit its spec from where it is now: rekindle run SPEC --as NAME",
        )
