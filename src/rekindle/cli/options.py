"""Options that several commands share: specs, plans, runners. Selections are in `selection_options`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rekindle.domain.errors import BadValue, UsageError
from rekindle.streams import outlives_reader

if TYPE_CHECKING:
    from rekindle.domain.subtasks import SubtaskChoice
    from rekindle.domain.verdicts import VerdictLevel

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
"""Passed to the command as `as_json`."""

dry_run_option = click.option("--dry-run", is_flag=True, help="Show what submitting would do, and change nothing.")
"""Passed to the command as `dry_run`."""

workflow_option = click.option("-w", "--workflow", metavar="ID|NAME", help="Restrict the command to this workflow.")
"""Passed to the command as `workflow`."""


def read_duration(_: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return seconds from `90s`, `1h30m`. A click callback; BadValue names the option."""
    from rekindle.domain.texts.quantities import parse_duration

    return None if value is None else _named(parse_duration, value, param)


def read_size(_: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return bytes from `512M`, `8G`. A click callback; BadValue names the option."""
    from rekindle.domain.texts.quantities import parse_size

    return None if value is None else int(_named(parse_size, value, param))


def _named(read: Callable[[str], float], text: str, param: click.Parameter) -> float:
    try:
        return read(text)
    except BadValue as bad:
        raise BadValue(f"{param.opts[-1]}: {bad.message}", hint=bad.hint) from None


def pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """Return `NAME=VALUE` words as a mapping. Raise BadValue for any other word."""
    from rekindle.domain.definition import normalize_name

    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise BadValue(f"{option} takes NAME=VALUE, not {text!r}", hint=f"for instance {option} alpha=0.2")
        found[normalize_name(key)] = value
    return found


revise_option = click.option(
    "--revise", is_flag=True, help="Make SPEC the next revision of its workflow, even if that came from another file."
)
"""Passed to the command as `revise`."""


def spec_options(command: Command) -> Command:
    """Add the options of submitting to a command: `spec`, `param`, `name`, `new` and `revise`."""
    for decorate in reversed(
        (
            click.argument("spec", metavar="SPEC"),
            click.option("--param", multiple=True, metavar="K=V", help="Set a parameter of the spec; repeat for more."),
            click.option("--as", "name", metavar="NAME", help="Name the workflow; overrides the name in the spec."),
            click.option("--new", is_flag=True, help="Make another workflow of the same name, not a revision."),
            revise_option,
        )
    ):
        command = decorate(command)
    return command


def check_text(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return a text that the store keeps. Raise UnicodeEncodeError for bytes that are not UTF-8. A click callback."""
    if value is not None:
        value.encode()
    return value


def plan_options(command: Command) -> Command:
    """Add `note`, `dry_run`, `yes` and `verbose` to a command that shows a plan, asks, and applies it."""
    for decorate in reversed(
        (
            click.option(
                "--note",
                metavar="TEXT",
                callback=check_text,
                help="Keep a note with the rerun, for the history.",
            ),
            click.option("--dry-run", is_flag=True, help="Show the plan and change nothing."),
            click.option("--yes", "-y", is_flag=True, help="Do not ask."),
            click.option("-v", "--verbose", is_flag=True, help="Show every row of a long plan."),
        )
    ):
        command = decorate(command)
    return outlives_reader(command)


def then_work_options(command: Command) -> Command:
    """Add `and_work` and `slots` to a command that can run the jobs that it made ready. See `check_then_work`."""
    slots = click.IntRange(min=1)
    for decorate in reversed(
        (
            click.option("--work", "and_work", is_flag=True, help="Run the jobs at once."),
            click.option("-j", "--jobs", "slots", type=slots, metavar="N", help="With --work: run N jobs at once."),
        )
    ):
        command = decorate(command)
    return outlives_reader(command)


def check_then_work(and_work: bool, slots: int | None) -> None:
    """Raise UsageError for -j without --work."""
    if slots is not None and not and_work:
        raise UsageError("-j needs --work", hint="add --work, or leave -j out")


def capacity_options(command: Command) -> Command:
    """Add `slots`, `executor`, `memory`, `gpus` and `licence` to a command: the capacity of a runner."""
    for decorate in reversed(
        (
            click.option(
                "-j",
                "--jobs",
                "slots",
                type=click.IntRange(min=1),
                metavar="N",
                help="Run N jobs at once. [default: one for each processor]",
            ),
            click.option("--executor", default="local", metavar="local", help="Run attempts with this executor."),
            click.option(
                "--memory",
                callback=read_size,
                metavar="SIZE",
                help="Memory for all running jobs together. [default: all]",
            ),
            click.option(
                "--gpus",
                type=click.IntRange(min=0),
                default=0,
                metavar="N",
                help="Number of GPUs for all running jobs together.",
            ),
            click.option(
                "--licence", multiple=True, metavar="NAME=N", help="Number of licences for all running jobs together."
            ),
        )
    ):
        command = decorate(command)
    return outlives_reader(command)


def fail_on_option(command: Command) -> Command:
    """Add `fail_on` to a command: the verdicts that make its exit code 7 or 8."""
    help_text = "Exit with 7 for verdict blocker, 8 for warning: blocker, warning, or both with a comma."
    return click.option("--fail-on", callback=_read_verdicts, metavar="VERDICTS", help=help_text)(command)


def _read_verdicts(_: click.Context, param: click.Parameter, text: str | None) -> frozenset[VerdictLevel]:
    return frozenset(_read_verdict(param, word) for word in text.split(",")) if text is not None else frozenset()


def _read_verdict(param: click.Parameter, text: str) -> VerdictLevel:
    from rekindle.domain.verdicts import VerdictLevel

    for word in (VerdictLevel.WARNING, VerdictLevel.BLOCKER):
        if text.strip().lower() == word.value:
            return word
    raise BadValue(f"{param.opts[-1]}: {text.strip()!r} is neither warning nor blocker", hint="--fail-on blocker")


def licences(texts: tuple[str, ...]) -> dict[str, int]:
    """Return `NAME=N` words as counts. Raise BadValue for any other word."""
    found: dict[str, int] = {}
    for name, count in pairs("--licence", texts).items():
        if not count.isdigit():
            raise BadValue(f"--licence {name}={count}: {count!r} is not a whole number", hint="--licence matlab=2")
        found[name] = int(count)
    return found


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
            raise UsageError(f"{option} takes failed, all or numbers like 0,3-5, not {part!r}")
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high - low >= 10_000_000:
            raise UsageError(f"{option}: {part!r} is no range", hint="the smaller number comes first: 3-5")
        indices.update(range(low, high + 1))
    if not indices:
        raise UsageError(f"{option} names no subtask", hint="it takes failed, all or numbers like 0,3-5")
    return tuple(sorted(indices))
