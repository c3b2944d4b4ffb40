"""`rekindle top`: jobs, failures and runners live in the terminal."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import json_option, workflow_option
from rekindle.cli.selection_options import selection_options
from rekindle.cli.sessions import opened
from rekindle.domain.errors import Refused, RekindleError, UsageError
from rekindle.engine.queries.selections import find_workflow
from rekindle.engine.session import open_session, store_url

if TYPE_CHECKING:
    from rekindle.query.selections import SelectionFlags


@click.command()
@workflow_option
@json_option
def top(workflow: str | None, as_json: bool) -> int:
    """Show jobs, failures and runners live in the terminal, and rerun jobs from the keyboard.

    Needs the extra `rekindle[tui]`. In it, `?` shows the keys. A rerun is planned, shown, and applied only if it is
    still the plan that was shown; `u` undoes it.

    \b
    Example:
      rekindle top
      rekindle top -w sweep
    """
    if as_json:
        raise UsageError("top is a screen and has no JSON", hint="rekindle status --json")
    try:
        from rekindle.tui.app import TopApp
    except ModuleNotFoundError as error:
        raise RekindleError(
            f"top needs the Python module {error.name}, which is not installed", hint="pip install 'rekindle[tui]'"
        ) from None
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise Refused("top needs a terminal", hint="`rekindle status` prints what there is now")
    with opened() as session:
        if workflow is not None:
            find_workflow(session, workflow)
    url = store_url(click.get_current_context().find_root().params.get("store"))
    app = TopApp(lambda: open_session(url, create=False), filter_flags, workflow)
    app.run()
    if app.error is not None:
        raise app.error
    return app.return_code or 0


@click.command(add_help_option=False)
@selection_options
def _selection(flags: SelectionFlags) -> SelectionFlags:
    return flags


def filter_flags(text: str) -> SelectionFlags:
    """Return the flags of a SELECTION that was typed as a filter. Raise UsageError for what no command takes."""
    try:
        flags: SelectionFlags = _selection.main(args=shlex.split(text), prog_name="filter", standalone_mode=False)
    except ValueError as error:
        raise UsageError(f"cannot read {text!r}: {error}") from None
    except click.UsageError as error:
        raise UsageError(error.format_message(), hint="for instance: -s failed") from None
    return flags
