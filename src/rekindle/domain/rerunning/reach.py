"""Which jobs a rerun reaches: what is reset below those asked for, what has a chance to be spared, what is left."""

from __future__ import annotations

import shlex
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rekindle.domain.graph import nearest_start
from rekindle.domain.rerunning.rerun import Graph, How, JobView
from rekindle.domain.states import ACTIVE, State

Requests = Sequence[tuple[Sequence[int], How]]
"""Jobs, and how they shall run again."""

Downstream = Literal["all", "changed", "none"]


@dataclass(frozen=True, slots=True)
class Reach:
    """Where several jobs asked for reach another, `all` beats `changed`, and `changed` beats `none`."""

    above: Mapping[int, int]  # job that is reset -> the nearest job asked for above it
    spared: frozenset[int]  # of these, those that only `changed` reaches
    beside: Mapping[int, int]  # job that only `none` reaches, and is not reset -> the nearest job asked for above it


def spreading(requests: Requests) -> dict[int, Downstream]:
    """Jobs asked for whose rerun reaches those below them, and how. An attempt that is made over again by itself
    never completed: nothing can have been made of it, so that what completed below has done so for a reason of its
    own. What is only let go reaches nothing."""
    return {
        job: how.downstream for jobs, how in requests if not (how.again or how.automatic or how.release) for job in jobs
    }


def canceling(requests: Requests) -> set[int]:
    """Jobs asked for whose rerun cancels what would be reset under its process."""
    return {job for jobs, how in requests if how.cancel_running for job in jobs}


def find_reach(graph: Graph, roots: Mapping[int, Downstream], cut_short: Mapping[int, int]) -> Reach:
    """What these jobs reach, each in its way. `cut_short`: jobs below those with `none` that are reset all the same,
    because they run (see `running_beside`)."""

    def below(*ways: Downstream) -> dict[int, int]:
        return nearest_start(graph.children, [job for job, way in roots.items() if way in ways])

    everything, reset = below("all"), below("all", "changed")
    above = {**{job: root for job, root in cut_short.items() if job not in roots}, **reset}
    beside = {job: root for job, root in below("none").items() if job not in above and job not in roots}
    return Reach(above, frozenset(reset.keys() - everything.keys() - roots.keys()), beside)


def left_to_the_check(
    views: Mapping[int, JobView], graph: Graph, asked: Mapping[int, How], stale: Container[int]
) -> list[int]:
    """Those of the jobs asked for that are so for nothing but being stale, below others whose rerun may well mend
    that: a file that is missing or altered is there again. What is still stale then runs."""
    plain = How(downstream="changed", keep_modified=True)
    others = [
        job
        for job, how in asked.items()
        if job in stale
        and replace(how, cancel_running=False) == plain
        and _is_complete(views[job])
        and views[job].keep_recovery is None
    ]
    if not others:
        return []
    above = nearest_start(graph.children, list(asked))
    return [job for job in others if job in above]


def _is_complete(view: JobView) -> bool:
    return view.attempt is not None and view.attempt.state is State.COMPLETED


def running_beside(views: Mapping[int, JobView], graph: Graph, roots: Mapping[int, Downstream]) -> dict[int, int]:
    """Jobs that run on what those asked for with `none` have given them -> the first of these."""
    found: dict[int, int] = {}
    for job in sorted(job for job, way in roots.items() if way == "none"):
        for child in graph.children.get(job, ()):
            if views[child].state in ACTIVE:
                found.setdefault(child, job)
    return found


def disturbing(views: Mapping[int, JobView], graph: Graph, roots: Mapping[int, Downstream]) -> dict[int, str]:
    """Jobs whose rerun would reset a job that runs now, or with `none` take away what that has just been given, and
    in words which: nothing is changed under a process."""
    starts = [job for job, way in roots.items() if way != "none"]
    below = nearest_start(graph.children, starts)
    active = [job for job in below if views[job].state in ACTIVE]
    met = nearest_start(graph.parents, active, within={*starts, *below}) if active else {}
    found = {job: met[job] for job in starts if job in met}
    for job in roots.keys() - set(starts):
        running = [child for child in _resting_on(views, graph, job) if views[child].state in ACTIVE]
        if running:
            found[job] = min(running)
    return {job: _disturbed(views[running], views[job]) for job, running in found.items()}


def _resting_on(views: Mapping[int, JobView], graph: Graph, job: int) -> set[int]:
    """What needs a job; and what has not waited for others that need it, since they could not be reached."""
    below = nearest_start(graph.children, [job])
    idle = {child for child in below if views[child].attempt is None and not views[child].when_finished}
    past = {child for one in {job, *idle} for child in graph.children.get(one, ())}
    return {*graph.children.get(job, ()), *(child for child in past if views[child].when_finished)}


def _disturbed(active: JobView, view: JobView) -> str:
    return (
        f"`{active.name}` is {active.state.label}, and it needs `{view.name}`; "
        f"cancel it first: --cancel-running, or rekindle cancel {shlex.quote(active.name)}"
    )
