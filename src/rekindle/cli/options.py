"""Options that several commands share, each written once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.selection import Changed, Selection
from rekindle.domain.texts.jobnames import composed
from rekindle.domain.verdicts import Word
from rekindle.query.selections import Flags, parse_selection
from rekindle.streams import outlives_reader

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else.")
"""`as_json`."""

dry_run_option = click.option("--dry-run", is_flag=True, help="Show what submitting would do, and change nothing.")
"""`dry_run`."""

workflow_option = click.option("-w", "--workflow", metavar="ID|NAME", help="Only this workflow.")
"""`workflow`."""


class _OptionalValue(click.Option):
    """An option whose value, if any, is joined to it: `--changed` or `--changed=all`. Click itself would take the
    word behind `--changed` for its value."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        super().add_to_parser(parser, ctx)
        match = parser._match_long_opt

        def match_long(name: str, value: str | None, state: Any) -> None:
            match(name, self.flag_value if value is None and name in self.opts else value, state)

        parser._match_long_opt = match_long


def _changed(_: click.Context, __: click.Parameter, value: str | None) -> Changed:
    return "all" if value == "all" else value is not None


_SELECTION = (
    click.argument("jobs", nargs=-1, metavar="[JOB]..."),
    click.option("-w", "--workflow", metavar="ID|NAME", help="Jobs of this workflow; alone: all of them."),
    click.option("-i", "--id", "ids", multiple=True, metavar="IDS", help="Jobs by id: 7, 1,2 or 4-9."),
    click.option(
        "-n", "--name", "names", multiple=True, metavar="NAME|GLOB", help="By name; * and ? match, brackets do not."
    ),
    click.option("-s", "--state", "states", multiple=True, metavar="STATE", help="In this state; repeat it for more."),
    click.option(
        "-f",
        "--filter",
        "filters",
        multiple=True,
        metavar="FIELD=VALUE",
        help="With a field = != < <= > >= or ~ VALUE; a time takes an age: ended<2d.",
    ),
    click.option(
        "-q", "--query", "queries", multiple=True, metavar="JSON", help="By a document: $in $gt $regex $or $not …"
    ),
    click.option("--error", metavar="REGEX", help="Whose error, traceback or end of stderr matches."),
    click.option("--archived", is_flag=True, help="Let --error look at archived attempts too."),
    click.option("--signature", metavar="ID", help="That failed alike: an id that `failures` lists."),
    click.option(
        "--changed",
        cls=_OptionalValue,
        is_flag=False,
        flag_value="stale",
        type=click.Choice(["stale", "all"]),
        metavar="[=all]",
        callback=_changed,
        help="Stale jobs; =all: also those whose interpreter, installed distributions or programs differ.",
    ),
    click.option("--all", "everything", is_flag=True, help="Every job of the store."),
)

_FLAG_NAMES = tuple(Flags.__dataclass_fields__)


def selection_options(command: Command) -> Command:
    """Give a command the flags of a SELECTION; it gets them as one argument, `flags`."""

    @functools.wraps(command)
    def with_flags(*args: Any, **kwargs: Any) -> Any:
        flags = Flags(**{name: kwargs.pop(name) for name in _FLAG_NAMES})
        return command(*args, flags=flags, **kwargs)

    decorated: Any = with_flags
    for decorate in reversed(_SELECTION):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


def wanted_to_act(flags: Flags, verb: str, for_instance: str = "-s failed") -> Selection:
    """The selection of a command that acts; UsageError when nothing at all was selected."""
    selection = parse_selection(flags)
    if selection.empty:
        raise UsageError(
            f"say which jobs to {verb}", hint=f"for instance `rekindle {verb} {for_instance}`, -w WORKFLOW, or --all"
        )
    return selection


def read_duration(_: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """An option's callback: seconds, from `90s`, `1h30m` …; BadValue names the option."""
    from rekindle.domain.texts.quantities import parse_duration

    return None if value is None else _named(parse_duration, value, param)


def read_size(_: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """An option's callback: bytes, from `512M`, `8G` …; BadValue names the option."""
    from rekindle.domain.texts.quantities import parse_size

    return None if value is None else int(_named(parse_size, value, param))


def _named(read: Callable[[str], float], text: str, param: click.Parameter) -> float:
    try:
        return read(text)
    except BadValue as bad:
        raise BadValue(f"{param.opts[-1]}: {bad.message}", hint=bad.hint) from None


def pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """`k=v` words as a mapping; BadValue names the one that is none."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise BadValue(f"{option} takes NAME=VALUE, not {text!r}", hint=f"for instance {option} alpha=0.2")
        found[composed(key)] = value
    return found


revise_option = click.option(
    "--revise", is_flag=True, help="Make SPEC the next revision of its workflow, though that is from another file."
)
"""`revise`."""


def spec_options(command: Command) -> Command:
    """`spec`, `param`, `name`, `new` and `revise`: what submitting takes."""
    for decorate in reversed(
        (
            click.argument("spec", metavar="SPEC"),
            click.option("--param", multiple=True, metavar="K=V", help="Set a parameter of the spec; repeat for more."),
            click.option("--as", "name", metavar="NAME", help="Name the workflow so, whatever the spec says."),
            click.option("--new", is_flag=True, help="Make another workflow of the same name, not a revision."),
            revise_option,
        )
    ):
        command = decorate(command)
    return command


def check_text(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return a text that the store keeps. UnicodeEncodeError for bytes that are not UTF-8, before anything is done."""
    if value is not None:
        value.encode()
    return value


def plan_options(command: Command) -> Command:
    """`note`, `dry_run`, `yes` and `verbose`: of whatever shows a plan, asks, and applies it."""
    for decorate in reversed(
        (
            click.option(
                "--note",
                metavar="TEXT",
                callback=check_text,
                help="Kept with the rerun, for whoever reads the history.",
            ),
            click.option("--dry-run", is_flag=True, help="Show the plan and change nothing."),
            click.option("--yes", "-y", is_flag=True, help="Do not ask."),
            click.option("-v", "--verbose", is_flag=True, help="Show every row of a long plan."),
        )
    ):
        command = decorate(command)
    return outlives_reader(command)


def then_work_options(command: Command) -> Command:
    """`and_work` and `slots`: of whatever may run what it has made ready. See `check_then_work`."""
    slots = click.IntRange(min=1)
    for decorate in reversed(
        (
            click.option("--work", "and_work", is_flag=True, help="Run it at once."),
            click.option("-j", "--jobs", "slots", type=slots, metavar="N", help="With --work: N jobs at once."),
        )
    ):
        command = decorate(command)
    return outlives_reader(command)


def check_then_work(and_work: bool, slots: int | None) -> None:
    """UsageError for a number of jobs at once where none are run."""
    if slots is not None and not and_work:
        raise UsageError("-j says how to work", hint="add --work, or leave it out")


def capacity_options(command: Command) -> Command:
    """`slots`, `executor`, `memory`, `gpus` and `licence`: what a runner has to give."""
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
            click.option("--executor", default="local", metavar="local", help="Where attempts run."),
            click.option(
                "--memory", callback=read_size, metavar="SIZE", help="Pack jobs into so much. [default: all there is]"
            ),
            click.option("--gpus", type=click.IntRange(min=0), default=0, metavar="N", help="GPUs that jobs may take."),
            click.option("--licence", multiple=True, metavar="NAME=N", help="Licences that jobs may take."),
        )
    ):
        command = decorate(command)
    return outlives_reader(command)


def fail_on_option(command: Command) -> Command:
    """`fail_on`: which verdicts make the exit code another than 0."""
    help_text = "Exit 7 while blockers stand, 8 while warnings do: blocker, warning, or both with a comma."
    return click.option("--fail-on", callback=_read_words, metavar="VERDICTS", help=help_text)(command)


def _read_words(_: click.Context, param: click.Parameter, text: str | None) -> frozenset[Word]:
    return frozenset(_read_word(param, word) for word in text.split(",")) if text is not None else frozenset()


def _read_word(param: click.Parameter, text: str) -> Word:
    for word in (Word.WARNING, Word.BLOCKER):
        if text.strip().lower() == word.value:
            return word
    raise BadValue(f"{param.opts[-1]}: {text.strip()!r} is neither warning nor blocker", hint="--fail-on blocker")


def licences(texts: tuple[str, ...]) -> dict[str, int]:
    """`NAME=N` words as counts."""
    found: dict[str, int] = {}
    for name, count in pairs("--licence", texts).items():
        if not count.isdigit():
            raise BadValue(f"--licence {name}={count}: {count!r} is not a whole number", hint="--licence matlab=2")
        found[name] = int(count)
    return found
