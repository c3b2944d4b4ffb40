"""Fan-outs for people: which subtasks a rerun shall run, and how they stand."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from rekindle.cli.showing import drawing
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.shapes import seconds
from rekindle.domain.errors import UsageError
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.states import State
from rekindle.domain.subtasks import Choice, Subtask, counts
from rekindle.domain.texts.surrogates import shown_json
from rekindle.engine.looking.lists import Page

FIRST = 20
"""Rows of a fan-out that are shown without -v."""

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class FanOutFlags:
    """What `--subtasks` and `--accept-partial` said."""

    subtasks: Choice | None = None
    accept_partial: bool = False

    def how(self, how: How) -> How:
        """The manner of a rerun with these in it."""
        return dataclasses.replace(how, subtasks=self.subtasks, accept_partial=self.accept_partial)


def fan_out_options(command: Command) -> Command:
    """Give a command `--subtasks` and `--accept-partial`; it gets them as one argument, `fan_out`."""

    @functools.wraps(command)
    def with_flags(*args: Any, **kwargs: Any) -> Any:
        subtasks, accept = kwargs.pop("subtasks"), kwargs.pop("accept_partial")
        flags = FanOutFlags(None if subtasks is None else parse_subtasks(subtasks), accept)
        return command(*args, fan_out=flags, **kwargs)

    accept = click.option(
        "--accept-partial", is_flag=True, help="Go on behind the fan-out that failed, without what failed of it."
    )
    which = click.option(
        "--subtasks",
        metavar="failed|all|0,3-5",
        help="Which items run, where a fan-out is resumed. [default: those that are not complete]",
    )
    decorated: Any = which(accept(with_flags))
    return decorated  # type: ignore[no-any-return]


def parse_subtasks(word: str, option: str = "--subtasks") -> Choice:
    """`failed`, `all`, or indices and ranges: `0,3-5`. UsageError for anything else."""
    if word == "failed":
        return "failed"
    if word == "all":
        return "all"
    indices: set[int] = set()
    for part in word.replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"{option} takes failed, all or numbers like 0,3-5, not {part!r}")
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high - low >= 10_000_000:
            raise UsageError(f"{option}: {part!r} is no range", hint="the smaller number comes first: 3-5")
        indices.update(range(low, high + 1))
    if not indices:
        raise UsageError(f"{option} names none", hint="it takes failed, all or numbers like 0,3-5")
    return tuple(sorted(indices))


def subtasks_table(step: str, subtasks: Sequence[Subtask], page: Page) -> str:
    """How the subtasks of a step stand: their number by state, then a line each, those that are not complete first."""
    columns = [
        Column("SUBTASK", right=True),
        Column("ITEM", cut="middle"),
        Column("STATE"),
        Column("CAUSE", drop=True),
        Column("TRIES", right=True),
        Column("TIME", right=True, drop=True),
        Column("ATTEMPT", right=True),
    ]
    first = page.of(sorted(subtasks, key=lambda one: (one.state is State.COMPLETED, one.index)))
    head = f"subtasks of {drawing.flat(step)}: {drawing.counted(counts(subtasks).items()) or 'none'}"
    rows = [
        (
            str(one.index),
            shown_json(one.item),
            "never started" if one.state is State.WAITING else one.state.label,
            _cause(one),
            str(one.attempts),
            drawing.lasting(seconds(one.started, one.ended)),
            str(one.attempt),
        )
        for one in first
    ]
    lines = [head, drawing.table(columns, rows, indent=2)] if rows else [head]
    if len(first) < len(subtasks):
        lines.append(f"  … and {len(subtasks) - len(first):,} more (-v or --limit 0 shows all)")
    return "\n".join(lines)


def _cause(one: Subtask) -> str:
    if one.cause is None:
        return ""
    number = one.exit_code if one.cause == "exit" else one.signal if one.cause == "signal" else None
    return one.cause.value if number is None else f"{one.cause.value} {number}"
