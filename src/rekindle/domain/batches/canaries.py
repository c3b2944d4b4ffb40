"""Canaries: of jobs that failed with the same signature, rerun a few first, and the rest only if these pass."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.rerun.request import How
from rekindle.domain.states import ENDED, State
from rekindle.domain.texts.display import list_names

SIGNATURE_DIGITS = 10
"""Displayed digits of a signature."""


class GroupOutcome(enum.StrEnum):
    """The outcome of a group."""

    RELEASED = "released"  # its canaries passed: the rest is rerun
    STOPPED = "stopped"  # a canary did not pass
    DROPPED = "dropped"  # the rerun of its canaries was undone


class FailedJob(msgspec.Struct, frozen=True):
    """A job whose live attempt failed."""

    job: int
    name: str
    workflow: int
    template: int
    attempt: int
    host: str | None
    signature: str
    type: str = ""
    message: str = ""


class CanaryChoice(msgspec.Struct, frozen=True):
    """A group divided into canaries and waiting jobs, both ordered by id."""

    workflow: int
    signature: str
    type: str
    message: str
    how: How  # the rerun options of both parts
    canaries: tuple[tuple[int, str], ...]  # (job, name)
    waits: tuple[tuple[int, int], ...]  # (job, its live attempt)

    def without(self, jobs: Iterable[int]) -> CanaryChoice:
        """Return the choice without these waiting jobs."""
        excluded = frozenset(jobs)
        waits = tuple(one for one in self.waits if one[0] not in excluded)
        return CanaryChoice(self.workflow, self.signature, self.type, self.message, self.how, self.canaries, waits)


class Canary(msgspec.Struct, frozen=True):
    """A canary, in its current state."""

    job: int
    name: str
    state: State
    held: str | None = None
    retired: bool = False
    signature: str | None = None  # of its live attempt, if that failed


class CanaryGroup(msgspec.Struct, frozen=True):
    """A group whose canaries were rerun first, in its current state."""

    id: int
    rerun: int  # the rerun of the canaries
    workflow: int
    signature: str
    type: str
    message: str
    canaries: tuple[Canary, ...]
    waiting: int = 0  # jobs that are unchanged since the group was formed
    outcome: GroupOutcome | None = None  # None: not decided
    why: str = ""
    released: int | None = None  # the rerun of the rest
    ended: float | None = None  # the time of the decision


class CanaryDecision(msgspec.Struct, frozen=True):
    """The outcome decided for a group, and why."""

    outcome: GroupOutcome
    why: str


def check_canary(n: int, how: How) -> None:
    """Raise BadValue for an invalid number, UsageError for options that exclude canaries."""
    if n < 1:
        raise BadValue(f"{n} is not a number of canaries", hint="1 or more")
    if how.repeats is not None:
        raise UsageError("a canary is judged by how it ends once: --canary does not go with --repeat")
    if how.keep_outputs:
        raise UsageError(
            "--canary does not go with --keep-outputs: outputs are saved when somebody asks for a rerun, and the rest "
            "of a group runs again by itself",
            hint="rerun the canaries by name first",
        )
    if how.hold is not None:
        raise UsageError("held jobs do not run, so they cannot be canaries")


def choose_canaries(failed: Sequence[FailedJob], n: int, how: How) -> list[CanaryChoice]:
    """Choose `n` canaries in each group (workflow and signature) of more than `n` jobs, spread over templates and then
    hosts, by lowest id. The jobs of smaller groups all run at once."""
    groups: dict[tuple[int, str], list[FailedJob]] = {}
    for one in sorted(failed, key=lambda one: one.job):
        groups.setdefault((one.workflow, one.signature), []).append(one)
    chosen = []
    for (workflow, signature), members in sorted(groups.items()):
        if len(members) <= n:
            continue
        first = {one.job for one in _choose_spread(members, n)}
        chosen.append(
            CanaryChoice(
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


def _choose_spread(members: Sequence[FailedJob], n: int) -> list[FailedJob]:
    """Choose `n` jobs, each time from the template, then the kind, then the host chosen least often so far."""
    alike: dict[tuple[int, str | None], list[FailedJob]] = {}
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


def decide_group(group: CanaryGroup) -> CanaryDecision | None:
    """Decide a group from the state of its canaries; None: not all have ended. Retired canaries do not count."""
    canaries = [one for one in group.canaries if not one.retired]
    if any(one.state not in ENDED for one in canaries):
        return None
    bad = [one for one in canaries if one.state is not State.COMPLETED]
    if bad:
        return CanaryDecision(
            GroupOutcome.STOPPED, "; ".join(_format_ends(ends) for ends in _group_by_end(group.signature, bad).items())
        )
    if not canaries:
        return CanaryDecision(GroupOutcome.STOPPED, "its workflow has none of its canaries any more")
    passed = list_names([one.name for one in canaries])
    return CanaryDecision(
        GroupOutcome.RELEASED, f"its {'canary' if len(canaries) == 1 else 'canaries'} {passed} passed"
    )


def _group_by_end(signature: str, bad: Sequence[Canary]) -> Mapping[str, list[str]]:
    """Return the names of the canaries that did not pass, by how they ended."""
    found: dict[str, list[str]] = {}
    for one in bad:
        if one.state is State.CANCELED:
            ended = "canceled"
        elif one.signature == signature:
            ended = "failed again the same way"
        else:
            ended = (
                f"failed again another way ({one.signature[:SIGNATURE_DIGITS]})" if one.signature else "failed again"
            )
        found.setdefault(ended, []).append(one.name)
    return found


def _format_ends(ends: tuple[str, Sequence[str]]) -> str:
    ended, names = ends
    verb = ("was " if len(names) == 1 else "were ") if ended == "canceled" else ""
    return f"its {'canary' if len(names) == 1 else 'canaries'} {list_names(names)} {verb}{ended}"
