"""What planning a rerun reads: views of jobs, sets of jobs that are alike, and edges."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.definition import DefinitionChoice, Resources
from rekindle.domain.next_attempt import DEFAULT_NEXT_ATTEMPT, NextAttempt
from rekindle.domain.rerun.request import Workdir
from rekindle.domain.states import State
from rekindle.domain.subtasks import KnownSubtask
from rekindle.domain.texts.substitution import render_text

if TYPE_CHECKING:
    from rekindle.domain.actions import ActionSet  # noqa: TC004  a JobView is never decoded

_ANY = Resources()

OWN = -1
"""In what jobs have in common: the own attempt of each of them, and the nearest selected job above each. In what
differs: none."""


class StepView(msgspec.Struct, frozen=True):
    """A step of an attempt."""

    position: int
    name: str
    state: State
    kept_from: int | None = None


class FanOutView(msgspec.Struct, frozen=True):
    """A fan-out step: the subtasks of the live attempt, and the current items."""

    step: int  # position
    known: tuple[KnownSubtask, ...] = ()
    now: tuple[str, ...] | None = None  # None: the items are known only when the step starts
    changed: frozenset[str] = frozenset()  # completed items (JSON texts) whose files have changed


class AttemptView(msgspec.Struct, frozen=True):
    """The live attempt of a job."""

    id: int
    state: State
    cause: str | None = None
    steps: tuple[StepView, ...] = ()
    # candidates for the folder with the results of its steps; the first that exists is used
    folders: tuple[str, ...] = ()
    started: bool = True  # False: it ended before any of its processes started


class JobView(msgspec.Struct, frozen=True):
    """A job in the planner's input. The input has the selected jobs, their descendants, and the parents of both."""

    id: int
    name: str
    state: State
    version: int
    steps: tuple[str, ...] = ()  # names of the latest definition's steps, in order
    held: str | None = None
    canceled: bool = False
    retired: bool = False
    unmet: int = 0
    attempt: AttemptView | None = None  # the live attempt
    next: NextAttempt = DEFAULT_NEXT_ATTEMPT
    outputs: tuple[str, ...] = ()  # declared by the latest definition
    archived_workflow: bool = False
    workdir: Workdir = "project"
    directory: str = ""  # the project's folder, absolute
    binding: str = "{}"  # JSON text: the matrix values
    resources: Resources = _ANY  # of the job's template
    params: Mapping[str, Any] = msgspec.field(default_factory=dict)  # of the latest revision
    env: Mapping[str, str] = msgspec.field(default_factory=dict)  # of the job's template
    declared: tuple[str, ...] = ()  # the unrendered texts of `outputs`
    action_set: ActionSet | None = None  # the dynamic actions in force
    added: bool = False  # by a dynamic action
    fan_outs: tuple[FanOutView, ...] = ()  # of the latest definition, in order; read if a rerun may resume one
    last: int | None = None  # the newest attempt; read if no attempt is live
    aggregate: bool = False
    when_finished: bool = False  # its parents need only be finished, not completed
    given_up: bool = False  # of a job that is only a parent: it failed, was canceled, or is unreachable
    template: int = 0  # the row of the definition in this view
    source: AttemptView | None = None  # the attempt named by the request to resume from
    recovered: bool = False  # the job runs again because its attempt was lost, without a user's request
    undecided: bool = False  # it failed, and that waits for a decision: it may run again
    definition: DefinitionChoice = "latest"  # the definition that reruns use unless they name another
    rerun_forbidden: str = ""  # why the job must not run twice; "": it may

    @property
    def runs_once(self) -> bool:
        """Whether the job must not run again: reruns are forbidden, and its live attempt has started."""
        return bool(self.rerun_forbidden) and self.attempt is not None and self.attempt.started

    @property
    def runs_whenever(self) -> bool:
        """Whether the job runs again whenever anything it needs has run. Its attempts are never reused."""
        return self.aggregate or self.when_finished


JobColumns = tuple[int, str, int, int, int, str]
"""What a job does not share with jobs that are alike: (position of its kind, name, version, its own attempt (live, else
the newest; OWN: none), unmet, binding)."""

_ALIKE = -1  # the id in a view of a kind of jobs


class JobTable(Mapping[int, JobView]):
    """The views of jobs by id, held as kinds of jobs that are alike: all jobs of one template in one state are one kind
    and a row of columns each. A view is made when it is asked for.

    A kind is a view without id, name, version, unmet, binding and outputs, and with OWN in place of the job's own
    attempt. A kind with an id is the whole view of one job."""

    def __init__(self, kinds: list[JobView], rows: dict[int, JobColumns]) -> None:
        self.kinds, self.rows = kinds, rows

    @classmethod
    def of(cls, views: Mapping[int, JobView]) -> JobTable:
        """Return the table of views, each a kind of its own; a table as it is."""
        return views if isinstance(views, JobTable) else cls([], {}).with_views(views)

    def __getitem__(self, job: int) -> JobView:
        kind, name, version, own, unmet, binding = self.rows[job]
        view = self.kinds[kind]
        if view.id != _ALIKE:
            return view
        return replace(
            view,
            id=job,
            name=name,
            version=version,
            unmet=unmet,
            binding=binding,
            attempt=None if view.attempt is None else replace(view.attempt, id=own),
            last=None if view.last is None else own,
            next=view.next.with_attempt(OWN, own),
            outputs=_rendered(view, job, name, binding) if view.declared else (),
        )

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, job: object) -> bool:
        return job in self.rows

    def kind(self, job: int) -> JobView:
        """Return the kind of a job: a view that has in common with the job's all but what JobColumns has."""
        return self.kinds[self.rows[job][0]]

    def name(self, job: int) -> str:
        """Return the name of a job."""
        return self.rows[job][1]

    def version(self, job: int) -> int:
        """Return the version of a job."""
        return self.rows[job][2]

    def any(self, holds: Callable[[JobView], bool]) -> bool:
        """Return whether any kind is so. `holds` reads nothing of a view that is in JobColumns."""
        return any(map(holds, self.kinds))

    def having(self, holds: Callable[[JobView], bool]) -> set[int]:
        """Return the jobs of the kinds that are so. `holds` reads nothing of a view that is in JobColumns."""
        found = {number for number, view in enumerate(self.kinds) if holds(view)}
        return {job for job, row in self.rows.items() if row[0] in found} if found else set()

    def with_views(self, views: Mapping[int, JobView]) -> JobTable:
        """Return the table with other views of some jobs, each a kind of its own."""
        if not views:
            return self
        kinds, rows = [*self.kinds], {**self.rows}
        for job, view in views.items():
            rows[job] = (
                len(kinds),
                view.name,
                view.version,
                OWN if (own := own_attempt(view)) is None else own,
                view.unmet,
                view.binding,
            )
            kinds.append(view)
        return JobTable(kinds, rows)


def own_attempt(view: JobView) -> int | None:
    """Return the live attempt of a job, else its newest one."""
    return view.attempt.id if view.attempt is not None else view.last


def kind_of(view: JobView) -> JobView:
    """Return the kind of a job with this view: what it has in common with jobs that are alike."""
    own = own_attempt(view)
    return replace(
        view,
        id=_ALIKE,
        name="",
        version=0,
        unmet=0,
        binding="{}",
        attempt=None if view.attempt is None else replace(view.attempt, id=OWN),
        last=None if view.last is None else OWN,
        next=view.next if own is None else view.next.with_attempt(own, OWN),
        outputs=(),
    )


def _rendered(view: JobView, job: int, name: str, binding: str) -> tuple[str, ...]:
    """Return the outputs that a job of a kind declares."""
    scope = {"params": view.params, "matrix": json.loads(binding), "job": {"name": name, "id": job}}
    return tuple(render_text(path, scope) for path in view.declared)


class JobGraph(msgspec.Struct, frozen=True, dict=True):
    """Edges: `children[parent]` and `parents[child]`, both complete for the jobs that a plan changes."""

    children: Mapping[int, Sequence[int]]

    @cached_property
    def parents(self) -> Mapping[int, Sequence[int]]:
        """Return the parents by child, in the order of `children`."""
        found: dict[int, list[int]] = {}
        for parent, below in self.children.items():
            for child in below:
                found.setdefault(child, []).append(parent)
        return found
