"""What happens to each job that a rerun reaches, why, and what a user should know before saying yes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from rekindle.domain.finishing import given_up
from rekindle.domain.lifecycle import derive_state
from rekindle.domain.rerunning.manner import Course, Exists, as_it_stands, overwritten, reset_below, with_saves
from rekindle.domain.rerunning.naming import named
from rekindle.domain.rerunning.pinning import as_defined, pin
from rekindle.domain.rerunning.reach import Reach
from rekindle.domain.rerunning.rerun import Graph, How, JobView, Manner, PlannedJob, Reason, ReasonKind
from rekindle.domain.rerunning.resume import BEGINNING
from rekindle.domain.rerunning.undynamic import Away
from rekindle.domain.states import ACTIVE, ENDED, ENDED_BADLY, State

Why = Mapping[int, tuple[Reason, ...]]
"""For which reasons jobs asked for are stale."""


@dataclass(frozen=True, slots=True)
class Root:
    """A job asked for: how, and what that means for it."""

    how: How
    course: Course


@dataclass(frozen=True)
class Scope:
    """Everything that a rerun reaches: its roots, the course of each, and the jobs below them."""

    away: Away
    earlier: Mapping[int, JobView]  # with the definition to which a job may be pinned
    asked: Mapping[int, Root]
    reach: Reach
    exists: Exists
    saving: bool  # outputs that are written over are saved first
    why: Why

    @property
    def views(self) -> Mapping[int, JobView]:
        """The jobs as they stand."""
        return self.away.views

    @property
    def graph(self) -> Graph:
        """As it will be."""
        return self.away.graph

    @cached_property
    def roots(self) -> dict[int, Root]:
        """The jobs asked for that are reset."""
        return {job: root for job, root in self.asked.items() if not root.how.release}

    @cached_property
    def reset(self) -> set[int]:
        """The jobs that have no live attempt afterwards."""
        return {*self.roots, *self.reach.above, *self.away.freed}

    @cached_property
    def left(self) -> set[int]:
        """The jobs that are not reset, and of which something is written all the same: those let go, and those of
        which less is done than before of what they need."""
        ends = (child for job in self.roots for child in self.graph.children.get(job, ()) if child in self.reach.beside)
        lenient = (job for job in self.reach.beside if self.views[job].when_finished)
        moved = {job for job in {*ends, *lenient} if self._unmet(self.views[job]) != self.views[job].unmet}
        return (moved | self.asked.keys()) - self.reset

    @cached_property
    def _acted(self) -> set[int]:
        """The jobs whose actions are taken back, and those that go with them."""
        return {one.job for one in self.away.taken} | self.away.retired

    def planned(self) -> tuple[PlannedJob, ...]:
        """What happens to each, by id."""
        every = sorted(self.reset | self.left)
        return tuple((self._leave if job in self.left else self._decide)(self.views[job]) for job in every)

    def _decide(self, view: JobView) -> PlannedJob:
        root = self.roots.get(view.id)
        start = root.course.start if root else BEGINNING
        unmet = self._unmet(view)
        pinned_to = self._pinned_to(view)
        return PlannedJob(
            id=view.id,
            name=view.name,
            version=view.version,
            before=view.state,
            after=derive_state(None, False, unmet),
            start=start.label,
            reasons=self._reasons(view),
            archives=(view.attempt.id,) if view.attempt else (),
            keeps=start.keeps,
            resume_attempt=root.course.attempt if root else None,
            resume_step=start.position,
            unmet=unmet,
            manner=self._manner(as_defined(view, pinned_to, self.earlier), root),
            subtasks=start.subtasks,
            reserve=self._reserve(view),
            pinned_to=pinned_to,
            holds=root.how.hold if root else None,
            releases=self._is_let_go(view),
        )

    def _leave(self, view: JobView) -> PlannedJob:
        """Its attempt, or what its next one would do, is left as it is."""
        unmet = self._unmet(view)
        job = PlannedJob(
            id=view.id,
            name=view.name,
            version=view.version,
            before=view.state,
            after=derive_state(view.attempt.state if view.attempt else None, view.canceled, unmet),
            start=BEGINNING.label,
            reasons=self._reasons(view),
            unmet=unmet,
            reserve=view.reserve,
            pinned_to=view.pinned_to,
            stays=True,
            releases=self._is_let_go(view),
        )
        return as_it_stands(job, view)

    def _unmet(self, view: JobView) -> int:
        parents = self.graph.parents.get(view.id, ())
        hopeless = self._given_up if view.when_finished else ()
        return sum(
            parent not in hopeless and (parent in self.reset or not is_done(self.views[parent])) for parent in parents
        )

    @cached_property
    def _given_up(self) -> set[int]:
        """The jobs that will not complete as the rerun leaves them."""
        left = [view for job, view in self.views.items() if job not in self.reset]
        badly = {view.id for view in left if view.given_up or view.state in ENDED_BADLY}
        idle = self.reset | {view.id for view in left if view.attempt is None and view.state is State.WAITING}
        lenient = {view.id for view in self.views.values() if view.when_finished}
        return given_up(badly, idle - lenient, self.graph.children)

    def _is_let_go(self, view: JobView) -> bool:
        return view.id in self.asked and self.asked[view.id].how.release

    def _pinned_to(self, view: JobView) -> int | None:
        root = self.roots.get(view.id) or self.asked.get(self.reach.above.get(view.id, view.id))
        return view.pinned_to if root is None else pin(view, root.how)

    def _reserve(self, view: JobView) -> int | None:
        """The attempt that may be live again without running: none of a job that is to run whatever happens, or
        whose actions are taken back with this rerun."""
        if view.id in self.away.freed:
            return view.reserve
        if view.id not in self.reach.spared or view.runs_whenever or view.id in self._acted:
            return None
        if view.attempt is None:
            return view.reserve
        return view.attempt.id if view.attempt.state is State.COMPLETED else None

    def _manner(self, view: JobView, root: Root | None) -> Manner:
        manner = root.course.manner if root else reset_below(view)
        made = view.attempt is not None and view.state not in ACTIVE  # what runs is still at its outputs
        return with_saves(manner, view, self.exists) if self.saving and made else manner

    def overwrites(self, jobs: Iterable[PlannedJob]) -> tuple[str, ...]:
        """The outputs of earlier attempts that are there and will be written again, saved before or not."""
        named = (overwritten(job.manner, self._as_planned(job), self.exists) for job in jobs if job.archives)
        return tuple(dict.fromkeys(path for paths in named for path, _ in paths))

    def _as_planned(self, job: PlannedJob) -> JobView:
        return as_defined(self.views[job.id], job.pinned_to, self.earlier)

    def _reasons(self, view: JobView) -> tuple[Reason, ...]:
        reasons = []
        root = self.roots.get(view.id)
        if root is not None:
            cause = view.attempt.cause if view.attempt else None
            reasons.append(Reason(ReasonKind.SELECTED, {"state": view.state.label, "cause": cause}))
        if view.id in self.reset and view.state in ACTIVE and view.attempt is not None:
            reasons.append(Reason(ReasonKind.CANCELS, {"attempt": view.attempt.id, "state": view.state.label}))
        reasons += self.why.get(view.id, ())
        if root is not None and (more := root.course.start.reason) is not None:
            reasons.append(more)
        if self._is_let_go(view):
            reasons.append(Reason(ReasonKind.RELEASED, {"held": view.held}))
        above = self.reach.above.get(view.id)
        if above is not None:
            reasons.append(Reason(ReasonKind.UPSTREAM, {"job": above, "name": self.views[above].name}))
        elif view.id in self.reach.beside and not self._is_let_go(view):
            beside = self.reach.beside[view.id]
            kind = ReasonKind.STAYS if view.state in ENDED else ReasonKind.UPSTREAM
            reasons.append(Reason(kind, {"job": beside, "name": self.views[beside].name}))
        if (reserve := self._reserve(view)) is not None and view.id in self.reach.spared:
            reasons.append(Reason(ReasonKind.RESERVE, {"attempt": reserve}))
        if root is not None and root.course.kept_by is not None:
            reasons.append(Reason(ReasonKind.RECOVERY, {"rerun": root.course.kept_by}))
        return tuple(reasons)

    def reads(self) -> tuple[tuple[int, int], ...]:
        """Parents from outside, done or not: the plan rests on them and leaves them as they are."""
        every = self.reset | self.left
        outside = {parent for job in every for parent in self.graph.parents.get(job, ())}
        return tuple((job, self.views[job].version) for job in sorted(outside - every))

    def warnings(self, refused: Mapping[int, str]) -> Iterable[str]:
        """What a user should know before saying yes. `refused` are selected jobs; those among them that run again
        all the same, because something above them does, are told here."""
        above = self.reach.above
        below = [self.views[job] for job in sorted(above)]
        if held := [view.name for view in below if view.held is not None and not self._is_let_go(view)]:
            yield f"{named(held)} stay{'' if len(held) > 1 else 's'} held: release with rekindle release"
        if revived := [view.name for view in below if view.state is State.CANCELED and view.id not in self.roots]:
            were = "were" if len(revived) > 1 else "was"
            yield f"{named(revived)} {were} canceled and will run again"
        if lost := [view.name for view in below if view.keep_recovery is not None and view.id not in self.roots]:
            loses = "loses" if len(lost) == 1 else "lose"
            yield f"{named(lost)} {loses} the resume point that was kept: what it rests on runs again"
        if canceled := [self.views[job].name for job in sorted(self.reset) if self.views[job].state in ACTIVE]:
            run, are = ("run", "are") if len(canceled) > 1 else ("runs", "is")
            yield f"{named(canceled)} {run} now and {are} canceled first: nothing that would disturb it starts before"
        yield from self._stale_warnings()
        for job, root in self.roots.items():
            start = root.course.start
            if root.course.warning:
                yield root.course.warning
            if start.position and job in above:
                yield (
                    f"`{self.views[job].name}` starts at `{start.label}` and keeps {named(start.keeps)}, "
                    f"though `{self.views[above[job]].name}`, which it needs, runs again"
                )
        for view in below:
            if view.id in refused and view.attempt is not None and view.held is None:
                root_name = self.views[above[view.id]].name
                yield f"`{view.name}` runs from the beginning, because `{root_name}` runs again: {refused[view.id]}"

    def _stale_warnings(self) -> Iterable[str]:
        """What is done and stays so although what it rests on is made anew."""
        below = (self.views[job] for job in sorted(self.reach.beside))
        if stale := [view.name for view in below if is_done(view)]:
            stay = "stays as it is" if len(stale) == 1 else "stay as they are"
            yield (
                f"{named(stale)} {stay}, and stale should something above come out changed: "
                "rekindle rerun --changed runs what is stale"
            )


def is_done(view: JobView) -> bool:
    """Its children need not wait for it."""
    return view.state is State.COMPLETED
