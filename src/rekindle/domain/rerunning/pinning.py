"""Whose definition a job that runs again takes: the latest, or that of an earlier attempt of it."""

from __future__ import annotations

from collections.abc import Mapping

from rekindle.domain.graph import descendants
from rekindle.domain.rerunning.reach import Requests, spreading
from rekindle.domain.rerunning.rerun import Graph, How, JobView


def pin(view: JobView, how: How) -> int | None:
    """The attempt whose definition the job takes from now on, when it runs again as `how` says; None: the latest.
    What is made over again by itself is made as it was."""
    if how.again or how.automatic or how.release:
        return view.pinned_to
    if how.definition == "latest":
        return None
    return view.attempt.id if view.attempt else view.last


def pins(views: Mapping[int, JobView], graph: Graph, requests: Requests) -> dict[int, int]:
    """Every job that requests may pin, and the attempt to which: for whoever looks up what that attempt was."""
    found: dict[int, int] = {}
    starts = spreading(requests)
    for jobs, how in requests:
        below = descendants(graph.children, [job for job in jobs if job in starts and how.definition == "pinned"])
        for job in {*jobs, *below}:
            attempt = pin(views[job], how) if job in views else None
            if attempt is not None:
                found[job] = attempt
    return found


def as_defined(view: JobView, pinned_to: int | None, earlier: Mapping[int, JobView]) -> JobView:
    """The job with the definition that it will have: the latest, or that of the attempt to which it is pinned, where
    `earlier` has it."""
    return view if pinned_to is None else earlier.get(view.id, view)
