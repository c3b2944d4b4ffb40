"""`rekindle doctor`: check the installation and the store, and say what to do."""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import json_option
from rekindle.cli.output import json_output
from rekindle.domain.errors import NotFound
from rekindle.engine.session import store_url
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.engine.doctor.findings import Checked

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "not used": None}


@click.command()
@click.option("--address", metavar="URL", help="Check this Dask scheduler, too. [default: $REKINDLE_ADDRESS]")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8642, show_default=True, help="Check this port of the console."
)
@json_option
def doctor(address: str | None, port: int, as_json: bool) -> int:
    """Check the installation and the store, and say what to do.

    Each check is ok, a warning, a problem, or of something that is not used. All run at once, for at most 5 seconds.
    Nothing is written, also not to a store that is damaged or of an older version.

    Exit code: 0 no problem, 1 problems.

    \b
    Example:
      rekindle doctor
      rekindle doctor --address tcp://scheduler.example.org:8786 --json
    """
    from rekindle.engine.doctor.all_checks import CHECKS
    from rekindle.engine.doctor.findings import Installation, run_checks

    began = time.monotonic()
    try:
        location: str | None = store_url(click.get_current_context().find_root().params.get("store"))
    except NotFound:
        location = None
    found = run_checks(CHECKS, Installation(location, address, port))
    counts, seconds = Counter(one.finding.status.value for one in found), time.monotonic() - began
    if as_json:
        json_output.emit(_document(found, counts, seconds))
    else:
        _draw(found, counts, seconds)
    return 1 if counts["problem"] else 0


def _document(found: Sequence[Checked], counts: Counter[str], seconds: float) -> dict[str, object]:
    checks = [
        {
            "name": one.name,
            "status": one.finding.status.value,
            "text": one.finding.text,
            "todo": one.finding.todo or None,
            "seconds": round(one.seconds, 3),
        }
        for one in found
    ]
    return {
        "checks": checks,
        "problems": counts["problem"],
        "warnings": counts["warning"],
        "seconds": round(seconds, 3),
    }


def _draw(found: Sequence[Checked], counts: Counter[str], seconds: float) -> None:
    """Print a line for each check, with what to do below."""
    width = max(len(one.name) for one in found)
    indent = " " * (len("not used") + width + 4)
    for one in found:
        status, todo = one.finding.status.value, one.finding.todo
        lines = textwrap.wrap(
            one.finding.text, max(20, terminal_columns() - len(indent)), break_long_words=False, break_on_hyphens=False
        )
        mark = click.style(f"{status:<8}", fg=_COLOURS[status])
        click.echo(f"{mark}  {one.name:<{width}}  {lines[0]}")
        for line in lines[1:]:
            click.echo(f"{indent}{line}")
        if todo:
            click.echo(f"{indent}try: {todo}")
    plural = {"warning": "warnings", "problem": "problems"}
    shown = [
        f"{counts[word]} {word if counts[word] == 1 else plural.get(word, word)}" for word in _COLOURS if counts[word]
    ]
    click.echo(f"\n{', '.join(shown)}, in {seconds:.1f} s")
