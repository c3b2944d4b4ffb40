"""What the actions of an attempt do to the graph when it completes, and what taking them out of force undoes.

The actions of an attempt are one set. At most one set of a job is in force: that of the last attempt which completed
and acted. A new set replaces it: jobs are matched by their names within the adding job, so that none is ever there
twice; what the new set does not add any more is retired, with whatever the retired jobs had added themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rekindle.domain.actions import Action, BadAction, Change, Told, apply_change
from rekindle.domain.graph import Edge, find_cycle

SET, HOLD, CANCEL = "set", "hold", "cancel"
"""Kinds of patches: a change of parameters, a hold with its reason, a cancellation."""


@dataclass(frozen=True, slots=True)
class Patch:
    """What a set does to one job that was there: one of the kinds, and its content."""

    job: int
    kind: str
    content: Any  # SET: a Change; HOLD: the reason; CANCEL: True


@dataclass(frozen=True, slots=True)
class ActingSet:
    """A set in force, as the archive has it."""

    attempt: int
    job: int
    added: Mapping[int, str] = field(default_factory=dict)  # jobs that are not retired, with their names
    edges: tuple[Edge, ...] = ()
    patches: tuple[Patch, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the jobs that it added, by id."""
        return tuple(self.added[job] for job in sorted(self.added))


@dataclass(frozen=True, slots=True)
class Addition:
    """A job to add, its definition checked: what it needs outside, and which jobs of its own action."""

    name: str
    detour: bool = False
    needs: tuple[int, ...] = ()  # jobs that are there
    siblings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands when an attempt completes."""

    job: int
    name: str
    attempt: int
    in_force: ActingSet | None = None  # the job's set until now
    own: Mapping[str, int] = field(default_factory=dict)  # every job that it has ever added
    taken: Mapping[str, str] = field(default_factory=dict)  # names of other jobs, and whose they are
    sets: Mapping[int, ActingSet] = field(default_factory=dict)  # in force, of what it has added, and so on downwards
    children: tuple[int, ...] = ()  # what needs it now: not retired, none of its own additions
    descendants: tuple[int, ...] = ()  # and what comes after these, where something is for all of them
    held: Collection[int] = ()  # of the children
    idle: Collection[int] = ()  # of the children and, when the workflow is stopped or held, of all: not started, not
    # canceled
    next_job: int = 1  # the first id that is free
    edges: Sequence[Edge] = ()  # all of the workflow's, where something added needs what may come after it


@dataclass(frozen=True, slots=True)
class Effects:
    """What to write. Edges and patches are the whole new set's; what was there of the old ones goes."""

    ids: Mapping[str, int] = field(default_factory=dict)  # of every job in the set
    new: tuple[int, ...] = ()
    redefined: tuple[int, ...] = ()
    retired: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()  # attempts whose sets are in force no more
    edges: tuple[Edge, ...] = ()
    patches: tuple[Patch, ...] = ()


def decide_effects(scene: Scene, action: Action, changes: Sequence[Told], additions: Sequence[Addition]) -> Effects:
    """What the merged actions of the attempt do. BadAction, with nothing done, for a name that is another job's and
    for jobs that would need each other in a circle."""
    for one in additions:
        if one.name in scene.taken:
            raise BadAction(
                f"the name {one.name!r:.80} is taken by {scene.taken[one.name]}", hint="give the added job another"
            )
    ids = _numbered(scene, additions)
    known = set(scene.own.values())
    gone, ended = retired_with([scene.in_force] if scene.in_force else [], scene.sets, keep=set(ids.values()))
    edges = tuple(dict.fromkeys(_edges(scene, additions, ids)))
    if scene.edges:
        _refuse_circle(scene, ids, gone, edges)
    near, added = scene.children, sorted(ids.values())
    far = tuple(dict.fromkeys((*near, *scene.descendants)))
    patches = [Patch(job, SET, one.change) for one in changes for job in (*(far if one.deep else near), *added)]
    return Effects(
        ids=ids,
        new=tuple(job for job in ids.values() if job not in known),
        redefined=tuple(job for job in ids.values() if job in known),
        retired=gone,
        ended=ended,
        edges=edges,
        patches=(*patches, *_flags(scene, action)),
    )


def retired_with(
    ending: Iterable[ActingSet], sets: Mapping[int, ActingSet], keep: Collection[int] = ()
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(jobs, attempts): what is retired when these sets end, and the attempts whose sets end with them. A retired
    job's own set, which `sets` has, ends too. `keep`: jobs that are added again."""
    retired: set[int] = set()
    ended: dict[int, None] = {}
    pending = list(ending)
    while pending:
        one = pending.pop()
        ended[one.attempt] = None
        for job in one.added:
            if job in keep or job in retired:
                continue
            retired.add(job)
            if job in sets:
                pending.append(sets[job])
    return tuple(sorted(retired)), tuple(sorted(ended))


def check_changes(params: Iterable[Mapping[str, Any]], changes: Sequence[Change]) -> None:
    """BadAction where a change does not fit the parameters of one of the jobs that it is for."""
    for one in params:
        now: Mapping[str, Any] = one
        for change in changes:
            now = apply_change(now, change)


def hold_reason(scene: Scene) -> str:
    """Why a child is held, naming the job that wants it."""
    return f"by an action of {scene.name}, attempt {scene.attempt}"


def _numbered(scene: Scene, additions: Sequence[Addition]) -> dict[str, int]:
    ids: dict[str, int] = {}
    following = scene.next_job
    for one in additions:
        if one.name in scene.own:
            ids[one.name] = scene.own[one.name]
        else:
            ids[one.name], following = following, following + 1
    return ids


def _refuse_circle(scene: Scene, ids: Mapping[str, int], gone: Collection[int], edges: Sequence[Edge]) -> None:
    """Among all edges as they would be: what the old set brought is taken out first."""
    old = set(scene.in_force.edges) if scene.in_force else set()
    away = set(gone)
    every = [edge for edge in scene.edges if edge not in old and not away.intersection(edge)]
    every += edges
    at = {job: position for position, job in enumerate(sorted({job for edge in every for job in edge}))}
    circle = find_cycle(len(at), [(at[parent], at[child]) for parent, child in every])
    if circle is None:
        return
    names = {number: name for name, number in ids.items()} | {scene.job: scene.name}
    jobs = sorted(at)
    told = [f"`{names[jobs[one]]}`" if jobs[one] in names else f"job {jobs[one]}" for one in circle]
    raise BadAction(
        f"jobs would need each other in a circle: {' before '.join([*told, told[0]])}",
        hint="what is under `add` lets nothing wait for it; what is under `detour` does",
    )


def _edges(scene: Scene, additions: Sequence[Addition], ids: Mapping[str, int]) -> Iterable[Edge]:
    for one in additions:
        job = ids[one.name]
        yield scene.job, job
        yield from ((parent, job) for parent in one.needs)
        yield from ((ids[sibling], job) for sibling in one.siblings)
        if one.detour:
            yield from ((job, child) for child in scene.children)


def _flags(scene: Scene, action: Action) -> Iterable[Patch]:
    """Holds and cancellations of what stood there before the action's own additions."""
    if action.hold_children or action.hold_workflow:
        reason = hold_reason(scene)
        near = scene.children if action.hold_children else ()
        wanted = dict.fromkeys((*near, *(scene.idle if action.hold_workflow else ())))
        yield from (Patch(job, HOLD, reason) for job in wanted if job not in scene.held)
    if action.cancel_children or action.stop_workflow:
        ended = scene.idle if action.stop_workflow else [job for job in scene.children if job in scene.idle]
        yield from (Patch(job, CANCEL, True) for job in sorted(ended))
