"""`rekindle prune`: remove the content of old attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rekindle.cli.options import check_text, json_option, read_duration
from rekindle.cli.output import json_output, terminal
from rekindle.cli.output.plans import confirm
from rekindle.cli.output.terminal import Column
from rekindle.cli.selection_options import required_selection, selection_options
from rekindle.cli.sessions import reconciled
from rekindle.domain.retention import RetentionRules
from rekindle.domain.texts.quantities import format_size
from rekindle.engine.retention import prune as engine
from rekindle.presentation import retention, words

if TYPE_CHECKING:
    from rekindle.engine.retention.prune import PrunePlan
    from rekindle.query.selections import SelectionFlags

_MOST_ROWS = 20


@click.command()
@selection_options
@click.option(
    "--older-than",
    metavar="D",
    callback=read_duration,
    help="Prune attempts that ended longer ago than this: 30d, 12h.",
)
@click.option("--keep-last", type=click.IntRange(min=0), metavar="N", help="Keep the last N attempts of each job.")
@click.option("--compress-logs", is_flag=True, help="Compress logs instead of removing them; they stay readable.")
@click.option("--workflows", is_flag=True, help="Also delete workflows that were archived longer ago, with their rows.")
@click.option("--events", is_flag=True, help="Also delete older events.")
@click.option("--note", metavar="TEXT", callback=check_text, help="Keep a note with the prune.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("-v", "--verbose", is_flag=True, help="Show every attempt.")
@json_option
def prune(
    flags: SelectionFlags,
    older_than: float | None,
    keep_last: int | None,
    compress_logs: bool,
    workflows: bool,
    events: bool,
    note: str | None,
    dry_run: bool,
    yes: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Remove the content of old archived attempts. It is that of the jobs of a SELECTION: folders, logs, saved outputs,
    results and tracebacks.

    Rows stay in the history, with state, cause and times. Never removed: live attempts, the newest attempt of a job,
    and what another attempt or job builds on. What is pruned cannot be brought back.

    \b
    Example:
      rekindle prune --all --older-than 30d --dry-run
      rekindle prune -w sweep --keep-last 3 --compress-logs --yes
      rekindle prune --all --older-than 1h --workflows --events
    """
    selection = required_selection(flags, "prune", "-w sweep")
    rules = RetentionRules(older_than, keep_last, "compressed" if compress_logs else "removed")
    with reconciled() as session:
        if not dry_run:
            engine.finish_removals(session)
        plan = engine.plan_prune(session, selection, engine.PruneRequest(rules, workflows, events))
        if not as_json:
            _draw(plan, verbose=verbose)
        if plan.empty or dry_run:
            if as_json:
                json_output.emit(retention.prune_document(plan))
            return
        confirm(yes, (lambda: retention.prune_document(plan)) if as_json else None)
        done = engine.prune(session, plan, {"selection": flags.typed()}, note)
    if done.left:
        click.echo(retention.left_line(done.left), err=True)
    if as_json:
        json_output.emit(retention.prune_document(plan, done))
    else:
        click.echo(retention.pruned_line(done))


def _draw(plan: PrunePlan, *, verbose: bool) -> None:
    """Print the attempts of a plan, and what else goes."""
    columns = [
        Column("ID", right=True),
        Column("JOB", cut="middle", keep=True),
        Column("NUMBER", right=True),
        Column("STATE"),
        Column("ENDED", optional=True),
        Column("SIZE", right=True),
    ]
    shown = plan.attempts if verbose else plan.attempts[:_MOST_ROWS]
    rows = [
        (
            str(one.id),
            one.name,
            str(one.number),
            one.state.label,
            words.short_time(one.ended),
            format_size(plan.bytes.get(one.id, 0)),
        )
        for one in shown
    ]
    if rows:
        click.echo(terminal.table(columns, rows))
        if more := len(plan.attempts) - len(shown):
            click.echo(f"… and {more:,} more: --verbose shows all")
        click.echo("")
    for line in retention.prune_lines(plan):
        click.echo(line)
