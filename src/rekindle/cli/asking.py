"""Asking before something is done."""

from __future__ import annotations

import sys

import click

from rekindle.domain.errors import Refused


def ask(yes: bool, as_json: bool) -> None:
    """Refused when the user does not want it, or cannot be asked."""
    if yes:
        return
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused("nothing is changed: there is no terminal to ask on", hint="add --yes to apply the plan")
    if not click.confirm("Apply it?", err=True):
        raise Refused("nothing is changed")
