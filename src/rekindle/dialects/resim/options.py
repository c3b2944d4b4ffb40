"""Options that several commands share, and their interpretation."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from rekindle.dialects.resim.batches import read_ids
from rekindle.domain.errors import BadValue, NotFound, UsageError
from rekindle.domain.texts.display import did_you_mean
from rekindle.engine.queries import workflow_queries
from rekindle.engine.supervising.batch_wait import WaitLimits
from rekindle.streams import outlives_reader

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])


class BatchSelector(msgspec.Struct, frozen=True):
    """The options that select a batch."""

    project: str | None
    batch_id: str | None
    batch_name: str | None


def batch_options(command: Command) -> Command:
    """Add --project, --batch-id and --batch-name, passed as `selector`."""

    @functools.wraps(command)
    def with_selector(
        *args: Any, project: str | None, batch_id: str | None, batch_name: str | None, **kwargs: Any
    ) -> Any:
        if batch_id and batch_name:
            raise UsageError("--batch-id and --batch-name cannot be combined", hint="leave one out")
        if not batch_id and not batch_name:
            raise UsageError("neither --batch-id nor --batch-name is given", hint="for instance --batch-id 3")
        return command(*args, selector=BatchSelector(project, batch_id, batch_name), **kwargs)

    decorated: Any = with_selector
    for decorate in (
        click.option("--batch-name", metavar="NAME", help="The batch's name. Selects the newest batch of that name."),
        click.option("--batch-id", metavar="ID", help="The batch's ID, which is its workflow's ID."),
        click.option("--project", metavar="NAME", help="The batch's project."),
    ):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


def find_batch(session: Session, selector: BatchSelector) -> Workflow:
    """Return the selected workflow, the newest of that name. Raise NotFound if there is none in the project."""
    known = workflow_queries.workflows(session, archived=True)
    if selector.batch_id:
        numbers = read_ids("--batch-id", [selector.batch_id])
        found = [one for one in known if numbers == (one.id,)]
        what = f"--batch-id {selector.batch_id}"
    else:
        found = [one for one in known if one.name == selector.batch_name]
        what = f"--batch-name {selector.batch_name}"
    if not found:
        hint = did_you_mean(selector.batch_name or "", [one.name for one in known]) or "`rekindle workflows list`"
        raise NotFound(f"{what}: there is no such batch", hint=hint)
    here = [one for one in found if selector.project in (None, one.project)]
    if not here:
        of = (
            f"the batch belongs to the project {found[-1].project}" if found[-1].project else "the batch has no project"
        )
        raise NotFound(
            f"{what}: the project {selector.project} has no such batch", hint=f"{of}; --project can be left out"
        )
    return here[-1]


def wait_options(command: Command) -> Command:
    """Add --poll-every and --wait-timeout, passed as `limits`."""

    @functools.wraps(command)
    def with_limits(*args: Any, poll_every: str, wait_timeout: str, **kwargs: Any) -> Any:
        poll = parse_go_duration("--poll-every", poll_every, above_zero=True)
        limit = parse_go_duration("--wait-timeout", wait_timeout)
        return command(*args, limits=WaitLimits(poll, limit), **kwargs)

    decorated: Any = with_limits
    for decorate in (
        click.option("--wait-timeout", default="1h", metavar="D", help="Wait at most this long. [default: 1h]"),
        click.option("--poll-every", default="30s", metavar="D", help="Poll at least this often. [default: 30s]"),
    ):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


class WorkRequest(msgspec.Struct, frozen=True):
    """Whether and how a command that waits runs the tests of its batch."""

    no_work: bool
    slots: int | None
    cancel_on_interrupt: bool


def work_options(command: Command) -> Command:
    """Add --no-work, -j and --cancel-on-interrupt, passed as `work`."""

    @functools.wraps(command)
    def with_work(*args: Any, no_work: bool, slots: int | None, cancel_on_interrupt: bool, **kwargs: Any) -> Any:
        given = {"-j": slots is not None, "--cancel-on-interrupt": cancel_on_interrupt}
        for option in (name for name, is_given in given.items() if no_work and is_given):
            raise UsageError(f"{option} and --no-work cannot be combined", hint="leave out one of them")
        return command(*args, work=WorkRequest(no_work, slots, cancel_on_interrupt), **kwargs)

    decorated: Any = with_work
    for decorate in (
        click.option(
            "--cancel-on-interrupt",
            is_flag=True,
            help="Cancel the running tests on Ctrl-C or SIGTERM. [default: they continue]",
        ),
        click.option(
            "-j", "--jobs", "slots", type=click.IntRange(min=1), metavar="N", help="Run up to N tests at once."
        ),
        click.option("--no-work", is_flag=True, help="Run no tests, even if no runner is alive."),
    ):
        decorated = decorate(decorated)
    return outlives_reader(decorated)  # type: ignore[no-any-return]


fail_on_option = click.option(
    "--fail-on-states",
    metavar="STATES",
    help="Exit with 7 if a Blocker remains, or 8 if a Warning remains, where these states are named.",
)

quiet_option = click.option("--quiet", is_flag=True, help="Print no progress.")


def split(texts: Iterable[str]) -> list[str]:
    """Return the distinct words of comma-separated lists."""
    return list(dict.fromkeys(word.strip() for text in texts for word in text.split(",") if word.strip()))


def parameters(texts: Iterable[str]) -> dict[str, str]:
    """Parse `NAME=VALUE` or `NAME:VALUE`, separated by commas. The first `=` separates, or else a single `:`."""
    found: dict[str, str] = {}
    for word in split(texts):
        name, mark, value = word.partition("=")
        if not mark and word.count(":") == 1:
            name, mark, value = word.partition(":")
        if not mark or not name.strip():
            raise BadValue(f"--parameter takes NAME=VALUE, not {word!r:.60}", hint="for instance --parameter speed=30")
        found[name.strip()] = value
    return found


_SECONDS = {
    "ns": Fraction(1, 1_000_000_000),
    "us": Fraction(1, 1_000_000),
    "µs": Fraction(1, 1_000_000),  # micro sign
    "μs": Fraction(1, 1_000_000),  # Greek mu
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_PART = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<unit>ns|us|µs|μs|ms|s|m|h)")
_HOW = "in Go's format: 30s, 1h30m, 1.5h, 200ms; units are ns, us, ms, s, m and h"
_MOST = Fraction(2**63 - 1, 1_000_000_000)


def parse_go_duration(option: str, text: str, *, above_zero: bool = False) -> float:
    """Return the seconds of a duration as Go's `time.ParseDuration` reads it.

    Raise BadValue if the duration is invalid or negative, or with `above_zero` if it is zero.
    """
    sign, rest = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    seconds = _sum(rest)
    if seconds is None:
        raise BadValue(f"{option}: {text!r:.60} is not a duration", hint=_HOW)
    if seconds > _MOST:
        raise BadValue(f"{option}: {text!r:.60} is too long", hint="the maximum is 292 years")
    if sign == "-" and seconds:
        raise BadValue(f"{option} {text}: it cannot be negative", hint=_HOW)
    if above_zero and not seconds:
        raise BadValue(f"{option} {text}: it must be above 0", hint=f"{option} 30s")
    return float(seconds)


def _sum(text: str) -> Fraction | None:
    if text == "0":
        return Fraction(0)
    at, seconds = 0, Fraction(0)
    while found := _PART.match(text, at):
        seconds += Fraction(found["number"].removesuffix(".")) * _SECONDS[found["unit"]]
        at = found.end()
    return seconds if at and at == len(text) else None
