"""`rekindle torc`: torc's own commands."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def torc() -> None:
    """Speak torc: its spec files and its commands.

    \b
    Example:
      rekindle torc workflows create-from-spec workflow.yaml
    """
