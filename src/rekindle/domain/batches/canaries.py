"""Canaries: of what failed alike a few jobs run again first, and the rest only once these have passed."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.rerunning.naming import named
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.states import ENDED, State

SHOWN = 10
"""Digits of a signature that are shown."""


class Outcome(enum.StrEnum):
    """What became of a group."""

    RELEASED = "released"  # its canaries passed: the rest runs again
    STOPPED = "stopped"  # one did not
    DROPPED = "dropped"  # the rerun of its canaries was undone


@dataclass(frozen=True, slots=True)
class Struck:
    """A job that has failed, by its live attempt."""

    job: int
    name: str
    workflow: int
    template: int
    attempt: int
    host: str | None
    signature: str
    type: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A group of which a part runs first. Both parts are in the order of ids."""

    workflow: int
    signature: str
    type: str
    message: str
    how: How  # of both parts
    canaries: tuple[tuple[int, str], ...]  # (job, name)
    waits: tuple[tuple[int, int], ...]  # (job, its live attempt)

    def without(self, jobs: Iterable[int]) -> Choice:
        """The same, but these jobs do not wait."""
        away = frozenset(jobs)
        waits = tuple(one for one in self.waits if one[0] not in away)
        return Choice(self.workflow, self.signature, self.type, self.message, self.how, self.canaries, waits)


@dataclass(frozen=True, slots=True)
class Canary:
    """A canary as it stands."""

    job: int
    name: str
    state: State
    held: str | None = None
    retired: bool = False
    signature: str | None = None  # of its live attempt, where that failed


@dataclass(frozen=True, slots=True)
class Group:
    """A group of which a part ran first, as it stands."""

    id: int
    rerun: int  # that ran the canaries
    workflow: int
    signature: str
    type: str
    message: str
    canaries: tuple[Canary, ...]
    waiting: int = 0  # jobs that still stand as they stood then
    outcome: Outcome | None = None  # None: not decided
    why: str = ""
    released: int | None = None  # the rerun of the rest
    ended: float | None = None  # when it was decided


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is decided of a group, and why."""

    outcome: Outcome
    why: str


def check_canary(n: int, how: How) -> None:
    """BadValue for a number that is none, UsageError for a manner in which nothing can be tried first."""
    if n < 1:
        raise BadValue(f"there cannot be {n} canaries", hint="1 or more")
    if how.repeats is not None:
        raise UsageError("a canary is judged by how it ends once: --canary does not go with --repeat")
    if how.keep_outputs:
        raise UsageError(
            "--canary does not go with --keep-outputs: outputs are saved when somebody asks for a rerun, and the rest "
            "of a group runs again by itself",
            hint="rerun the canaries by name first",
        )
    if how.hold is not None:
        raise UsageError("what is held does not run: it cannot be a canary")


def choose(struck: Sequence[Struck], n: int, how: How) -> list[Choice]:
    """Those groups of `struck`, by workflow and signature, that have more than `n` jobs: `n` of each are its canaries,
    spread over templates and then hosts, the first by id of each. Of all other groups every job runs at once."""
    groups: dict[tuple[int, str], list[Struck]] = {}
    for one in sorted(struck, key=lambda one: one.job):
        groups.setdefault((one.workflow, one.signature), []).append(one)
    chosen = []
    for (workflow, signature), members in sorted(groups.items()):
        if len(members) <= n:
            continue
        first = {one.job for one in _spread(members, n)}
        chosen.append(
            Choice(
                workflow,
                signature,
                members[0].type,
                members[0].message,
                how,
                tuple((one.job, one.name) for one in members if one.job in first),
                tuple((one.job, one.attempt) for one in members if one.job not in first),
            )
        )
    return chosen


def _spread(members: Sequence[Struck], n: int) -> list[Struck]:
    """So many of them, each of the template, of the host within it, and of the host of which there are fewest yet."""
    alike: dict[tuple[int, str | None], list[Struck]] = {}
    for one in reversed(members):
        alike.setdefault((one.template, one.host), []).append(one)
    templates: Counter[int] = Counter()
    kinds: Counter[tuple[int, str | None]] = Counter()
    hosts: Counter[str | None] = Counter()
    chosen = []
    for _ in range(n):
        kind = min(
            (kind for kind, left in alike.items() if left),
            key=lambda kind: (templates[kind[0]], kinds[kind], hosts[kind[1]], alike[kind][-1].job),
        )
        chosen.append(alike[kind].pop())
        templates[kind[0]] += 1
        kinds[kind] += 1
        hosts[kind[1]] += 1
    return chosen


def judge(group: Group) -> Ruling | None:
    """What becomes of a group as its canaries stand; None: not all of them have ended for good. One that a revision
    has left out says nothing."""
    canaries = [one for one in group.canaries if not one.retired]
    if any(one.state not in ENDED for one in canaries):
        return None
    bad = [one for one in canaries if one.state is not State.COMPLETED]
    if bad:
        return Ruling(Outcome.STOPPED, "; ".join(_said(ends) for ends in _together(group.signature, bad).items()))
    if not canaries:
        return Ruling(Outcome.STOPPED, "its workflow has none of its canaries any more")
    passed = named([one.name for one in canaries])
    return Ruling(Outcome.RELEASED, f"its {'canary' if len(canaries) == 1 else 'canaries'} {passed} passed")


def _together(signature: str, bad: Sequence[Canary]) -> Mapping[str, list[str]]:
    """The names of those that did not pass, by how they ended."""
    found: dict[str, list[str]] = {}
    for one in bad:
        if one.state is State.CANCELED:
            ended = "canceled"
        elif one.signature == signature:
            ended = "failed again the same way"
        else:
            ended = f"failed again another way ({one.signature[:SHOWN]})" if one.signature else "failed again"
        found.setdefault(ended, []).append(one.name)
    return found


def _said(ends: tuple[str, Sequence[str]]) -> str:
    ended, names = ends
    verb = ("was " if len(names) == 1 else "were ") if ended == "canceled" else ""
    return f"its {'canary' if len(names) == 1 else 'canaries'} {named(names)} {verb}{ended}"
