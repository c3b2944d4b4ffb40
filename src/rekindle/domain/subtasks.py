"""The items of a fan-out step: which run, which are kept, and how attempts that build on each other read as one.

A subtask's identity is its item, not its position. Its index is a number that it keeps through the attempts that build
on each other, so that it can be named.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rekindle.domain.causes import Cause
from rekindle.domain.states import State
from rekindle.domain.texts.surrogates import escape

Choice = Literal["failed", "all"] | tuple[int, ...]
"""Which subtasks run where a fan-out is resumed: those that are not complete, all, or those of these indices."""


@dataclass(frozen=True, slots=True)
class Subtask:
    """One item of a fan-out step, as it stands. WAITING: it was never started."""

    index: int
    item: str  # JSON text
    state: State
    attempts: int  # how often it has been started, over all attempts that build on each other
    attempt: int  # the attempt of the job that it ran in last, or was to
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    started: float | None = None
    ended: float | None = None
    result: str | None = None  # JSON text
    digest: str | None = None  # of what the item's file held; None: not compared


@dataclass(frozen=True, slots=True)
class SubtaskEnd:
    """How one subtask ended, in one of its runs."""

    index: int
    state: State
    started: float
    ended: float
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What an attempt needs to know of a subtask of the attempts that it builds on."""

    index: int
    item: str
    complete: bool = False
    attempts: int = 0
    result: str | None = None
    digest: str | None = None  # see Subtask


@dataclass(frozen=True, slots=True)
class Layer:
    """What one attempt did of a fan-out: its own subtasks, and those of the attempt it builds on that are no more."""

    own: Sequence[Subtask]
    gone: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Division:
    """A fan-out's items divided: those to run (new ones too), those kept as they are, those that are gone."""

    run: tuple[Known, ...]
    kept: tuple[Known, ...]
    gone: tuple[Known, ...]
    new: tuple[Known, ...]


def compose(layers: Iterable[Layer]) -> list[Subtask]:
    """The subtasks by index, of layers that build on each other, newest first: the newest that tells of an item."""
    found: dict[int, Subtask] = {}
    gone: set[int] = set()
    for layer in layers:
        for one in layer.own:
            if one.index not in gone:
                found.setdefault(one.index, one)
        gone.update(layer.gone)
    return [found[index] for index in sorted(found)]


def divide(items: Iterable[str], known: Sequence[Known], choice: Choice) -> Division:
    """Match the items (as `item_text`, without doubles) with those that are known, and choose what runs. An item that
    is new runs, whatever the choice, and gets the next free index."""
    earlier = {one.item: one for one in known}
    following = max((one.index for one in known), default=-1) + 1
    run, kept, new = [], [], []
    for item in items:
        one = earlier.pop(item, None)
        if one is None:
            new.append(Known(following, item))
            run.append(new[-1])
            following += 1
        elif choice == "all" or (one.index in choice if isinstance(choice, tuple) else not one.complete):
            run.append(one)
        else:
            kept.append(one)
    return Division(tuple(run), tuple(kept), tuple(earlier.values()), tuple(new))


def item_text(item: Any) -> str:
    """An item as JSON text; equal items have equal texts."""
    return escape(json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def repeated(items: Sequence[str]) -> str | None:
    """The first item that is there twice."""
    return next((item for item, n in Counter(items).items() if n > 1), None)


def known_of(subtasks: Iterable[Subtask]) -> tuple[Known, ...]:
    """What the next attempt needs to know of these."""
    return tuple(
        Known(one.index, one.item, one.state is State.COMPLETED, one.attempts, one.result, one.digest)
        for one in subtasks
    )


def counts(subtasks: Iterable[Subtask]) -> Mapping[State, int]:
    """How many are in which state."""
    return Counter(one.state for one in subtasks)


def ranges(indices: Iterable[int]) -> str:
    """`0, 3-5, 9`."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
