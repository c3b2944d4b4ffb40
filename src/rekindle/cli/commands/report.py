"""`rekindle report`: a workflow as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from rekindle.cli.options import json_option
from rekindle.cli.output import json_output
from rekindle.cli.sessions import opened
from rekindle.domain.errors import missing_extra
from rekindle.presentation import words


@click.command()
@click.argument("workflow", metavar="WF")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write here."
)
@json_option
def report(workflow: str, output: Path, as_json: bool) -> None:
    """Write a workflow as one HTML file.

    The report has the counts, failures with their errors, plots, reruns and jobs of the console's pages. It holds no
    script, and needs no server and no other file.

    \b
    Example:
      rekindle report sweep -o sweep.html
    """
    try:
        from rekindle.web.report import write_report
    except ModuleNotFoundError as error:
        raise missing_extra(error, "a report", "web") from None
    with opened() as session:
        size = write_report(session, workflow, output)
    if as_json:
        json_output.emit({"report": str(output), "bytes": size})
    else:
        click.echo(f"wrote {words.one_line(str(output))} ({words.plural(size, 'byte')})")
