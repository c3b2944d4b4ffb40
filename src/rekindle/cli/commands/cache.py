"""`rekindle cache`: the content store, which keeps the outputs of jobs with `cache: true`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import (
    JsonForm,
    json_option,
    json_rows_options,
    read_duration,
    read_size,
    workflow_option,
)
from rekindle.cli.output import json_output
from rekindle.cli.output.pages import page_options, print_page_note, print_table
from rekindle.cli.output.plans import confirm
from rekindle.cli.output.terminal import Column
from rekindle.cli.sessions import opened, reconciled
from rekindle.domain.texts.quantities import format_size
from rekindle.engine.queries.selections import find_workflow
from rekindle.engine.retention import cache as engine
from rekindle.presentation import cache as presentation
from rekindle.presentation import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rekindle.engine.results import PageRequest
    from rekindle.engine.session import Session
    from rekindle.store.cached_outputs import CachedAttempt

COMMANDS = {
    "list": Entry("rekindle.cli.commands.cache:list_cached", "List the attempts whose outputs are kept."),
    "prune": Entry("rekindle.cli.commands.cache:prune", "Remove outputs that were not used for long, or are too much."),
    "verify": Entry("rekindle.cli.commands.cache:verify", "Read all contents, and set poisoned ones aside."),
}

_MOST_ROWS = 20
_COLUMNS = (
    Column("ATTEMPT", right=True),
    Column("JOB", cut="middle", keep=True),
    Column("WORKFLOW", cut="middle", drop=True),
    Column("FILES", right=True, drop=True),
    Column("SIZE", right=True),
    Column("KEPT", optional=True),
    Column("USED"),
)


@click.group("cache", cls=LazyGroup, entries=COMMANDS)
def cache() -> None:
    """Look at, prune and verify the outputs that are kept of jobs with `cache: true`.

    \b
    Example:
      rekindle cache list
      rekindle cache prune --max-size 20G
    """


@click.command("list")
@workflow_option
@page_options
@json_rows_options
def list_cached(workflow: str | None, page: PageRequest, as_json: JsonForm | None) -> None:
    """List the attempts whose outputs are kept: the least recently used first, which are removed first.

    \b
    Example:
      rekindle cache list -w sweep
    """
    with opened() as session:
        found = engine.look(session, _workflow(session, workflow))
    rows = page.of(found.attempts)
    if as_json == "lines":
        json_output.emit_rows("attempts", map(presentation.cached_attempt, rows), as_json)
    elif as_json:
        documents = map(presentation.cached_attempt, rows)
        json_output.emit_with_rows(presentation.contents_document(found), "attempts", documents)
    else:
        if rows:
            shown = print_table(_COLUMNS, map(_cells, rows))
            print_page_note(page, shown, len(found.attempts), "attempt")
        click.echo(presentation.contents_line(found))


@click.command()
@workflow_option
@click.option(
    "--older-than",
    metavar="D",
    callback=read_duration,
    help="Remove outputs that were kept, and restored last, longer ago than this: 30d, 12h.",
)
@click.option(
    "--max-size",
    metavar="SIZE",
    callback=read_size,
    help="Remove the least recently used outputs until the cache has at most this size: 20G.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def prune(
    workflow: str | None, older_than: float | None, max_size: int | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Remove outputs that were not used for long, or are too much.

    A content stays as long as another attempt has left it too, and outputs that are being restored stay. No output in a
    project is touched. A runner does this by itself when the cache is larger than $REKINDLE_CACHE_SIZE.

    \b
    Example:
      rekindle cache prune --older-than 30d --dry-run
      rekindle cache prune --max-size 20G --yes
    """
    with reconciled() as session:
        plan = engine.plan_prune(session, only=_workflow(session, workflow), older_than=older_than, max_size=max_size)
        if not as_json:
            _draw(plan.attempts)
            click.echo(presentation.cache_prune_line(plan))
        if dry_run or not plan.attempts:
            if not dry_run:
                engine.sweep(session)  # what killed processes have left
            if as_json:
                json_output.emit(presentation.cache_prune_document(plan))
            return
        confirm(yes, (lambda: presentation.cache_prune_document(plan)) if as_json else None)
        done = engine.prune(session, plan)
    if as_json:
        json_output.emit(presentation.cache_prune_document(plan, done))
    else:
        for line in presentation.cache_pruned_lines(done):
            click.echo(line)


@click.command()
@json_option
def verify(as_json: bool) -> int:
    """Read all contents, and set poisoned ones aside. Exit code 1 if there are any.

    A poisoned content has changed on the disk. It is never restored: a restore verifies what it copies.

    \b
    Example:
      rekindle cache verify
    """
    from rekindle.cli.output.busy import busy

    with reconciled() as session, busy("verifying …", quiet=as_json) as show:
        found = engine.verify(session, lambda what: show(f"verifying {what}"))
    if as_json:
        json_output.emit(presentation.verification_document(found))
    else:
        for line in presentation.verification_lines(found):
            click.echo(line)
    return 0 if found.sound else 1


def _workflow(session: Session, key: str | None) -> int | None:
    return None if key is None else find_workflow(session, key).id


def _draw(attempts: Iterable[CachedAttempt]) -> None:
    """Print the first attempts of a plan."""
    rows = list(attempts)
    if rows:
        print_table(_COLUMNS, map(_cells, rows[:_MOST_ROWS]))
        if (more := len(rows) - _MOST_ROWS) > 0:
            click.echo(f"… and {more:,} more: `rekindle cache list` shows all")
        click.echo("")


def _cells(one: CachedAttempt) -> tuple[str, ...]:
    return (
        str(one.attempt),
        one.name,
        one.workflow_name,
        f"{one.contents:,}",
        format_size(one.bytes),
        words.short_time(one.kept),
        words.short_time(one.used),
    )
