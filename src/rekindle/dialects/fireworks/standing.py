"""Fireworks as they stand: jobs, each with FireWorks' word for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rekindle.dialects.fireworks.words import fw_state
from rekindle.domain.models import Job, Workflow
from rekindle.domain.selection import Selection
from rekindle.engine.looking import look
from rekindle.engine.results import JobRow
from rekindle.engine.session import Session


@dataclass(frozen=True, slots=True)
class Standing:
    """A firework: its job, and its state in FireWorks' words."""

    row: JobRow
    word: str

    @property
    def job(self) -> Job:
        """The job that it is."""
        return self.row.job

    @property
    def id(self) -> int:
        """Its fw_id."""
        return self.row.job.id


def standing(session: Session, ids: Sequence[int]) -> list[Standing]:
    """These fireworks, in that order; what is not there is left out."""
    aside = {one.id for one in look.workflows(session, archived=True) if one.archived is not None}
    return [
        Standing(row, fw_state(row.job.state, row.job.held, archived=row.job.workflow in aside))
        for row in look.jobs(session, ids)
    ]


def fireworks_of(session: Session, workflows: Sequence[int]) -> list[int]:
    """The fireworks of workflows, by id; those that are retired are left out."""
    found = (one for key in workflows for one in look.select(session, Selection(workflow=str(key))))
    return sorted(found)


def owners(session: Session, ids: Sequence[int]) -> list[Workflow]:
    """The workflows of these fireworks, by id."""
    wanted = {row.job.workflow for row in look.jobs(session, ids)}
    return [one for one in look.workflows(session, archived=True) if one.id in wanted]
