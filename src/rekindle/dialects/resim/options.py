"""Options that several commands share, and what is meant by them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from rekindle.dialects.resim.durations import parse_go_duration
from rekindle.dialects.resim.words import read_ids
from rekindle.domain.errors import BadValue, NotFound, UsageError
from rekindle.domain.models import Workflow
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.engine.looking import look
from rekindle.engine.session import Session
from rekindle.engine.supervising.waiting import Patience
from rekindle.streams import outlives_reader

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Which:
    """Which batch is meant."""

    project: str | None
    batch_id: str | None
    batch_name: str | None


def batch_options(command: Command) -> Command:
    """`which`: --project, and one of --batch-id and --batch-name."""

    @functools.wraps(command)
    def with_which(*args: Any, project: str | None, batch_id: str | None, batch_name: str | None, **kwargs: Any) -> Any:
        if batch_id and batch_name:
            raise UsageError("both --batch-id and --batch-name: which of them?", hint="leave one out")
        if not batch_id and not batch_name:
            raise UsageError("neither --batch-id nor --batch-name", hint="say which batch: --batch-id ID")
        return command(*args, which=Which(project, batch_id, batch_name), **kwargs)

    decorated: Any = with_which
    for decorate in (
        click.option("--batch-name", metavar="NAME", help="The batch's name: the most recent batch of it."),
        click.option("--batch-id", metavar="ID", help="The batch's ID: that of a workflow."),
        click.option("--project", metavar="NAME", help="The project that the batch is of."),
    ):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


def the_batch(session: Session, which: Which) -> Workflow:
    """The workflow that is meant. NotFound where the project has none of that ID or name."""
    known = look.workflows(session, archived=True)
    if which.batch_id:
        numbers = read_ids("--batch-id", [which.batch_id])
        found = [one for one in known if numbers == (one.id,)]
        what = f"--batch-id {which.batch_id}"
    else:
        found = [one for one in known if one.name == which.batch_name]
        what = f"--batch-name {which.batch_name}"
    if not found:
        hint = did_you_mean(which.batch_name or "", [one.name for one in known]) or "`rekindle workflows list`"
        raise NotFound(f"{what}: there is no such batch", hint=hint)
    here = [one for one in found if which.project in (None, one.project)]
    if not here:
        of = f"it is of the project {found[-1].project}" if found[-1].project else "it is of no project"
        raise NotFound(
            f"{what}: the project {which.project} has no such batch", hint=f"{of}; --project may be left out"
        )
    return here[-1]


def patience_options(command: Command) -> Command:
    """`patience`: how long to wait, and how often to look."""

    @functools.wraps(command)
    def with_patience(*args: Any, poll_every: str, wait_timeout: str, **kwargs: Any) -> Any:
        poll = parse_go_duration("--poll-every", poll_every, above_zero=True)
        limit = parse_go_duration("--wait-timeout", wait_timeout)
        return command(*args, patience=Patience(poll, limit), **kwargs)

    decorated: Any = with_patience
    for decorate in (
        click.option("--wait-timeout", default="1h", metavar="D", help="Wait so long for it to finish. [default: 1h]"),
        click.option("--poll-every", default="30s", metavar="D", help="Look so often at least. [default: 30s]"),
    ):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


def work_options(command: Command) -> Command:
    """`no_work` and `slots`: whether what waits for a batch also runs it."""
    slots = click.IntRange(min=1)
    command = click.option("-j", "--jobs", "slots", type=slots, metavar="N", help="Run N tests at once.")(command)
    command = click.option("--no-work", is_flag=True, help="Run nothing here, even where nobody else does.")(command)
    return outlives_reader(command)


def split(texts: Iterable[str]) -> list[str]:
    """The words of comma-separated lists, each once."""
    return list(dict.fromkeys(word.strip() for text in texts for word in text.split(",") if word.strip()))


def parameters(texts: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE` or `NAME:VALUE`, several in one text with commas; the first `=` parts, else the only `:`."""
    found: dict[str, str] = {}
    for word in split(texts):
        name, mark, value = word.partition("=")
        if not mark and word.count(":") == 1:
            name, mark, value = word.partition(":")
        if not mark or not name.strip():
            raise BadValue(f"--parameter takes NAME=VALUE, not {word!r:.60}", hint="for instance --parameter speed=30")
        found[name.strip()] = value
    return found
