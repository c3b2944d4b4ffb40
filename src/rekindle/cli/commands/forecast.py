"""`rekindle forecast`: when the unfinished jobs will be done, and which of them decide it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rekindle.cli.options import json_option, read_duration, workflow_option
from rekindle.cli.output import json_output, terminal
from rekindle.cli.output.terminal import Column
from rekindle.cli.sessions import reconciled
from rekindle.engine.queries.forecasts import ForecastOptions, forecast_store
from rekindle.presentation import forecasts, words

if TYPE_CHECKING:
    from rekindle.engine.queries.forecasts import PastPath, StoreForecast

_LAST = 15
"""Jobs of the path that are printed without -v: the last ones."""


@click.command()
@workflow_option
@click.option(
    "-j",
    "--jobs",
    "slots",
    type=click.IntRange(min=1, max=1_000_000),
    metavar="N",
    help="Forecast one runner here that runs N jobs at once. [default: the runners that are alive, else one for each "
    "processor]",
)
@click.option(
    "--assume",
    "assumed",
    callback=read_duration,
    metavar="D",
    help="Let a job without history take this long: no attempt of it, or of another one with its template, has "
    "completed. [default: as any other job]",
)
@click.option("--seed", type=int, default=0, metavar="N", help="Draw other durations. [default: 0]")
@click.option("-v", "--verbose", is_flag=True, help="List every job of the path.")
@json_option
def forecast(
    workflow: str | None, slots: int | None, assumed: float | None, seed: int, verbose: bool, as_json: bool
) -> None:
    """Show when the unfinished jobs will be done, and which of them decide it.

    Runs of the jobs are simulated in the order in which runners take them, with durations drawn from earlier attempts
    and retries at their measured rate. Listed are the jobs of the critical path: each starts when the one before it
    ends. SLACK is how much later a job could start if only needs counted; "AN HOUR MORE" is how much later all is done
    if the job takes an hour longer. Of a workflow that has ended, the path that decided its end is shown.

    \b
    Example:
      rekindle forecast
      rekindle forecast -w sweep -j 16
    """
    with reconciled(looks=True) as session:
        found = forecast_store(session, ForecastOptions(workflow, slots, assumed, seed))
    if as_json:
        json_output.emit(forecasts.forecast(found))
        return
    _draw(found, None if verbose else _LAST)


def _draw(found: StoreForecast, most: int | None) -> None:
    if not found.found.jobs and found.past is not None:
        _draw_past(found.past, most)
        for line in list(forecasts.forecast_lines(found))[1:]:
            click.echo(line)
        return
    for line in forecasts.forecast_lines(found):
        click.echo(terminal.folded(line, further=2))
    path = found.found.path
    if not path:
        return
    columns = [
        Column("PATH", cut="middle", keep=True),
        Column("START"),
        Column("TIME", right=True),
        Column("WAITS FOR"),
        Column("SLACK", right=True, optional=True),
        Column("AN HOUR MORE", right=True, optional=True),
    ]
    shown = path if most is None else path[-most:]
    click.echo("")
    if found.found.path_jobs > len(shown):
        click.echo(f"… {words.plural(found.found.path_jobs - len(shown), 'job')} before these (-v lists more)")
    click.echo(terminal.table(columns, [forecasts.path_cells(one, found) for one in shown]))


def _draw_past(past: PastPath, most: int | None) -> None:
    lines = list(forecasts.past_lines(past))
    if not lines:
        click.echo(f"{words.one_line(past.workflow.name)}: no job has run")
        return
    for line in lines:
        click.echo(terminal.folded(words.one_line(line), further=2))
    columns = [
        Column("PATH", cut="middle", keep=True),
        Column("START"),
        Column("TIME", right=True),
        Column("REPEATED", right=True, optional=True),
        Column("WAITED", right=True, optional=True),
        Column("IDLE", right=True, optional=True),
    ]
    shown = past.jobs if most is None else past.jobs[-most:]
    click.echo("")
    if len(past.jobs) > len(shown):
        click.echo(f"… {words.plural(len(past.jobs) - len(shown), 'job')} before these (-v lists all)")
    click.echo(terminal.table(columns, [forecasts.past_cells(one) for one in shown]))
