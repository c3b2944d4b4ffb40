"""Subtasks of a fan-out step: which run, which are kept, and the combined view of attempts that build on each other.

A subtask is identified by its item, not its position. Its index stays the same in all attempts that build on each
other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from rekindle.domain.errors import UsageError
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.display import escape_surrogates

SubtaskChoice = Literal["failed", "all"] | tuple[int, ...]
"""The subtasks to run when a fan-out is resumed: the incomplete ones, all, or the given indices."""


def parse_subtasks(word: str, option: str = "--subtasks") -> SubtaskChoice:
    """Return the choice of subtasks: `failed`, `all`, or indices and ranges (`0,3-5`). Raise UsageError otherwise."""
    if word == "failed":
        return "failed"
    if word == "all":
        return "all"
    indices: set[int] = set()
    for part in word.replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"{option} takes failed, all or numbers, not {part!r}", hint=f"{option} 0,3-5")
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high - low >= 10_000_000:
            raise UsageError(f"{option}: {part!r} is no range", hint="the smaller number comes first: 3-5")
        indices.update(range(low, high + 1))
    if not indices:
        raise UsageError(f"{option} names no subtask", hint="it takes failed, all or numbers like 0,3-5")
    return tuple(sorted(indices))


class Subtask(msgspec.Struct, frozen=True):
    """One item of a fan-out step, in its current state. WAITING means never started."""

    index: int
    item: str  # JSON text
    state: State
    attempts: int  # how often it was started, over all attempts that build on each other
    attempt: int  # the job's attempt in which it last ran, or was to run
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    started: float | None = None
    ended: float | None = None
    result: str | None = None  # JSON text
    digest: str | None = None  # of the item's file; None: not compared


class SubtaskEnd(msgspec.Struct, frozen=True):
    """How one run of a subtask ended."""

    index: int
    state: State
    started: float
    ended: float
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    result: str | None = None


class KnownSubtask(msgspec.Struct, frozen=True):
    """A subtask of earlier attempts, as the next attempt needs it."""

    index: int
    item: str
    complete: bool = False
    attempts: int = 0
    result: str | None = None
    digest: str | None = None  # see Subtask


class SubtaskLayer(msgspec.Struct, frozen=True):
    """One attempt's part of a fan-out: its own subtasks, and earlier subtasks that no longer exist."""

    own: Sequence[Subtask]
    gone: Collection[int] = ()


class SubtaskDivision(msgspec.Struct, frozen=True):
    """The items of a fan-out: to run (new ones included), kept, gone, and new."""

    run: tuple[KnownSubtask, ...]
    kept: tuple[KnownSubtask, ...]
    gone: tuple[KnownSubtask, ...]
    new: tuple[KnownSubtask, ...]


def merge_layers(layers: Iterable[SubtaskLayer]) -> list[Subtask]:
    """Return the subtasks by index, from layers that build on each other, newest first. The newest entry of each item
    counts."""
    found: dict[int, Subtask] = {}
    gone: set[int] = set()
    for layer in layers:
        for one in layer.own:
            if one.index not in gone:
                found.setdefault(one.index, one)
        gone.update(layer.gone)
    return [found[index] for index in sorted(found)]


def divide_subtasks(items: Iterable[str], known: Sequence[KnownSubtask], choice: SubtaskChoice) -> SubtaskDivision:
    """Match the items (`item_text`, without duplicates) with the known subtasks, and choose which run. New items always
    run and get the next free indices."""
    earlier = {one.item: one for one in known}
    following = max((one.index for one in known), default=-1) + 1
    run, kept, new = [], [], []
    for item in items:
        one = earlier.pop(item, None)
        if one is None:
            new.append(KnownSubtask(following, item))
            run.append(new[-1])
            following += 1
        elif choice == "all" or (one.index in choice if isinstance(choice, tuple) else not one.complete):
            run.append(one)
        else:
            kept.append(one)
    return SubtaskDivision(tuple(run), tuple(kept), tuple(earlier.values()), tuple(new))


def item_text(item: Any) -> str:
    """Return an item as JSON text. Equal items have equal texts."""
    import json

    return escape_surrogates(json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def first_duplicate(items: Sequence[str]) -> str | None:
    """Return the first item that occurs twice, or None."""
    return next((item for item, n in Counter(items).items() if n > 1), None)


def known_subtasks(subtasks: Iterable[Subtask]) -> tuple[KnownSubtask, ...]:
    """Return the subtasks as the next attempt needs them."""
    return tuple(
        KnownSubtask(one.index, one.item, one.state is State.COMPLETED, one.attempts, one.result, one.digest)
        for one in subtasks
    )


def counts(subtasks: Iterable[Subtask]) -> Mapping[State, int]:
    """Count the subtasks by state."""
    return Counter(one.state for one in subtasks)


def format_ranges(indices: Iterable[int]) -> str:
    """Format indices: `0, 3-5, 9`."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
