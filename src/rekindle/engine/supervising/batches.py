"""A workflow as a batch: whether it has come to rest, and how each of its jobs stands then."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rekindle.domain.batches.supervising import Candidate, Grouped, Member, group_of
from rekindle.domain.definition import JobTemplate
from rekindle.domain.models import Workflow
from rekindle.domain.states import ACTIVE, State
from rekindle.store.port import Archive


@dataclass(frozen=True, slots=True)
class Unrest:
    """What may still happen to a workflow by itself: jobs that run, and those that may be claimed, now or when their
    time has come."""

    active: int = 0
    claimable: int = 0

    def __bool__(self) -> bool:
        return bool(self.active or self.claimable)


def unrest(archive: Archive, workflow: int) -> Unrest:
    """See Unrest; reads counts, not jobs. What is held, or waits behind what failed, is at rest."""
    found = archive.workflows.find(workflow)
    counts: Mapping[State, int] = found.counts if found is not None else {}
    ready = counts.get(State.READY, 0)
    held = sum(archive.jobs.held_back(workflow).values()) if ready else 0
    return Unrest(sum(counts.get(state, 0) for state in ACTIVE), ready - held)


def batch(archive: Archive, workflow: Workflow, group_by: str | None) -> tuple[list[Member], list[Candidate]]:
    """The jobs, and what of them decides about a rerun."""
    members = archive.supervisions.batch(workflow.id)
    templates = dict(archive.workflows.templates(workflow.id))
    return members, candidates(members, templates, group_by)


def candidates(
    members: Sequence[Member], templates: Mapping[int, JobTemplate], group_by: str | None
) -> list[Candidate]:
    """What of these jobs decides about a rerun."""
    return [
        Candidate(
            one.id,
            one.status,
            one.cause,
            one.signature,
            group_of(group_by, _grouped(one, templates[one.template], group_by)),
            templates[one.template].aggregate,
        )
        for one in members
    ]


def _grouped(one: Member, template: JobTemplate, group_by: str | None) -> Grouped:
    matrix = json.loads(one.binding or "{}") if group_by and group_by.startswith("matrix.") else {}
    return Grouped(one.host, one.signature, one.cause, template.name, matrix)
