"""Views of jobs, attempts and edges: the input of the rerun planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rekindle.domain.actions import ActionSet
from rekindle.domain.definition import Resources
from rekindle.domain.next_attempt import DEFAULT_NEXT_ATTEMPT, NextAttempt
from rekindle.domain.rerun.request import Workdir
from rekindle.domain.states import State
from rekindle.domain.subtasks import KnownSubtask

_ANY = Resources()


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

    @property
    def runs_whenever(self) -> bool:
        """Whether the job runs again whenever anything it needs has run. Its attempts are never reused."""
        return self.aggregate or self.when_finished


class JobGraph(msgspec.Struct, frozen=True):
    """Edges: `children[parent]` and `parents[child]`, both complete for the jobs that a plan changes."""

    children: Mapping[int, Sequence[int]]
    parents: Mapping[int, Sequence[int]]
