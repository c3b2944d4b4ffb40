"""A new revision meets what actions have added: it stays while the job that added it does."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.domain.acting import retired_with
from rekindle.domain.definition import Definition
from rekindle.domain.errors import SubmitRefused
from rekindle.domain.graph import find_cycle
from rekindle.domain.models import Workflow
from rekindle.engine.acting.actions import sets_below
from rekindle.store.port import Archive, Revised


def refuse_taken_names(archive: Archive, known: Workflow, definition: Definition) -> None:
    """A job of the spec cannot have the name of one that an action added. SubmitRefused names it."""
    added = set(archive.acts.names(known.id))
    clash = next((job.name for job in definition.jobs if job.name in added), None)
    if clash is None:
        return
    job = archive.jobs.named([clash], known.id)[clash]
    adder = archive.acts.adders(job)[job[0]]
    raise SubmitRefused(
        f"{clash!r:.80} is the name of a job that `{adder.name}` added",
        hint="name one of them otherwise, or submit it as a workflow of its own: --new",
    )


def first_adders(archive: Archive, jobs: Sequence[int]) -> dict[int, str]:
    """The job of the spec to which each of these goes back, over whatever added it."""
    found: dict[int, str] = {}
    pending = {job: job for job in jobs}
    while pending:
        adders = archive.acts.adders(sorted(set(pending.values())))
        for job, at in list(pending.items()):
            if at in adders:
                found[job], pending[job] = adders[at].name, adders[at].job
            else:
                del pending[job]
    return found


def join_revision(archive: Archive, known: Workflow, revised: Revised) -> list[int]:
    """After a revision: what the retired jobs had added goes with them, edges to retired jobs go, and no circle may
    have come about. SubmitRefused where one has; the transaction is then broken off. Returns the added jobs that
    went."""
    went: list[int] = []
    if revised.retired:
        named = archive.jobs.named(list(revised.retired), known.id)
        gone = [job for jobs in named.values() for job in jobs]
        ending = archive.acts.in_force(gone).values()
        retired, ended = retired_with(ending, sets_below(archive, list(ending)))
        went = sorted(set(retired) - set(gone))
        archive.acts.end(ended, sorted({*gone, *retired}))
    if archive.acts.has_edges(known.id):
        edges = archive.workflows.edges(known.id)
        at = {job: position for position, job in enumerate(sorted({job for edge in edges for job in edge}))}
        circle = find_cycle(len(at), [(at[parent], at[child]) for parent, child in edges])
        if circle:
            jobs = sorted(at)
            names = [job.name for job in archive.jobs.get([jobs[one] for one in circle])]
            raise SubmitRefused(
                f"with the jobs that actions added, jobs would need each other in a circle: {' before '.join(names)}",
                hint="rerun the job that added them with --undo-dynamic first",
            )
    return went
