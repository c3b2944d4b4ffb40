"""What the front of a torc command line says (`torc -F json -n -k KEY …`), and which workflow it means."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from rekindle.domain.errors import NotFound, Refused
from rekindle.domain.models import Workflow
from rekindle.engine.looking import look
from rekindle.engine.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])

_KEY_VARIABLES = ("TORC_WORKFLOW_KEY", "TORC_WORKFLOW_ID")


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that stand before a command."""

    as_json: bool = False
    prompts: bool = True
    key: str | None = None


def asked() -> Asked:
    """Those of the command that runs."""
    found = click.get_current_context().find_object(Asked)
    return found or Asked()


def key_argument(command: Command) -> Command:
    """`key`: the workflow, which may stand before the command as -k too."""
    return click.argument("key", required=False, metavar="[WORKFLOW_KEY]")(command)


def the_workflow(session: Session, key: str | None) -> Workflow:
    """The workflow that is meant: by its key (or name) here, before the command or in the environment; without a key
    the only one of the store."""
    meant = key or asked().key or next(filter(None, map(os.environ.get, _KEY_VARIABLES)), None)
    if meant is not None:
        return look.find_workflow(session, meant)
    known = look.workflows(session)
    if not known:
        raise NotFound("there is no workflow", hint="rekindle torc workflows create SPEC")
    if len(known) > 1:
        listed = ", ".join(f"{one.id} {one.name}" for one in known[-20:])
        raise Refused(f"there are {len(known)} workflows: {listed}", hint="say which: its key, or -k KEY before it")
    return known[0]


def agreed(question: str) -> None:
    """Ask on a terminal, unless -n forbids it; Abort on a no."""
    if asked().prompts and sys.stdin.isatty():
        click.confirm(f"{question}\nContinue?", abort=True, err=True)
