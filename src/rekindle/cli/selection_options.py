"""The options of commands that take a SELECTION."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rekindle.domain.errors import UsageError
from rekindle.query.selections import SelectionFlags, parse_selection

if TYPE_CHECKING:
    from rekindle.domain.selection import Selection, StaleFilter

Command = TypeVar("Command", bound=Callable[..., Any])


class _OptionalValue(click.Option):
    """An option with an optional value after `=`: `--changed` or `--changed=all`. Click would take the word after
    `--changed` as its value."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        super().add_to_parser(parser, ctx)
        match = parser._match_long_opt

        def match_long(name: str, value: str | None, state: Any) -> None:
            match(name, self.flag_value if value is None and name in self.opts else value, state)

        parser._match_long_opt = match_long


def _changed(_: click.Context, __: click.Parameter, value: str | None) -> StaleFilter:
    return "all" if value == "all" else value is not None


_SELECTION = (
    click.argument("jobs", nargs=-1, metavar="[JOB]..."),
    click.option("-w", "--workflow", metavar="ID|NAME", help="Select jobs of this workflow; alone: all of its jobs."),
    click.option("-i", "--id", "ids", multiple=True, metavar="IDS", help="Select jobs by id: 7, 1,2 or 4-9."),
    click.option(
        "-n",
        "--name",
        "names",
        multiple=True,
        metavar="NAME|GLOB",
        help="Select by name; * and ? are wildcards, brackets are not.",
    ),
    click.option(
        "-s", "--state", "states", multiple=True, metavar="STATE", help="Select jobs in this state; repeat for more."
    ),
    click.option(
        "-f",
        "--filter",
        "filters",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Select by a field: = != < <= > >= or ~ VALUE; times take ages: ended<2d.",
    ),
    click.option(
        "-q",
        "--query",
        "queries",
        multiple=True,
        metavar="JSON",
        help="Select by a document: $in $gt $regex $or $not …",
    ),
    click.option("--error", metavar="REGEX", help="Select jobs whose error, traceback or end of stderr matches."),
    click.option("--archived", is_flag=True, help="Let --error search archived attempts, too."),
    click.option(
        "--signature", metavar="ID", help="Select jobs that failed with this signature; `failures` lists them."
    ),
    click.option(
        "--changed",
        cls=_OptionalValue,
        is_flag=False,
        flag_value="stale",
        type=click.Choice(["stale", "all"]),
        metavar="[=all]",
        callback=_changed,
        help="Select stale jobs; =all: also jobs whose interpreter, installed distributions or programs differ.",
    ),
    click.option(
        "--from-file",
        "from_files",
        multiple=True,
        type=click.Path(),
        metavar="PATH",
        help="Select jobs whose last attempt read this file.",
    ),
    click.option(
        "--tainted-by",
        multiple=True,
        type=click.IntRange(min=1),
        metavar="ATTEMPT",
        help="Select the job of an attempt, and all jobs that used its results.",
    ),
    click.option("--all", "everything", is_flag=True, help="Select every job of the store."),
)

_FLAG_NAMES = tuple(SelectionFlags.__struct_fields__)


def selection_options(command: Command) -> Command:
    """Add the flags of a SELECTION to a command. The command gets them as one argument, `flags`."""

    @functools.wraps(command)
    def with_flags(*args: Any, **kwargs: Any) -> Any:
        flags = SelectionFlags(**{name: kwargs.pop(name) for name in _FLAG_NAMES})
        return command(*args, flags=flags, **kwargs)

    decorated: Any = with_flags
    for decorate in reversed(_SELECTION):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


def required_selection(flags: SelectionFlags, verb: str, for_instance: str = "-s failed") -> Selection:
    """Return the selection of a command that changes jobs. Raise UsageError without any selection flag."""
    selection = parse_selection(flags)
    if selection.empty:
        raise UsageError(
            f"say which jobs to {verb}", hint=f"for instance `rekindle {verb} {for_instance}`, -w WORKFLOW, or --all"
        )
    return selection
