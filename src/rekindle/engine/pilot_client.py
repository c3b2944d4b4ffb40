"""Run jobs for a server: what `rekindle work --server URL` does."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rekindle.domain.errors import Refused
from rekindle.engine.allocation import Allocation
from rekindle.engine.machine import memory, processors, raise_file_limit
from rekindle.executors.pilot_agent import AWAY_SECONDS, Connection, PilotAgent
from rekindle.executors.pilot_messages import Done, OpenPilot
from rekindle.journal.processes import host_name

if TYPE_CHECKING:
    from rekindle.engine.results import WorkOptions

TOKEN_VARIABLE = "REKINDLE_API_TOKEN"
"""The environment variable with the token for the server."""


def work_for_server(
    url: str,
    token: str,
    options: WorkOptions,
    note: Callable[[str], None],
    *,
    cancels: bool = False,
    away: float = AWAY_SECONDS,
) -> Done:
    """Run jobs of a server's store until the server lets this pilot end. `note` receives messages for the user;
    `cancels`: see OpenPilot; `away`: how long the server may be away.

    Of the options, those about capacity, the workflow and `watch` count."""
    allocation = options.allocation or Allocation(name=f"the pilot on {host_name()}")
    cpus = allocation.cpus or processors()
    slots = options.slots or cpus
    raise_file_limit(slots)
    opening = OpenPilot(
        host=host_name(),
        name=allocation.name,
        slots=slots,
        cpus=max(slots, cpus),
        memory=options.memory or allocation.memory or memory(),
        gpus=options.gpus or allocation.gpus,
        seconds=None if allocation.until is None else allocation.until - time.monotonic(),
        grace=allocation.grace,
        workflow=options.workflow,
        watch=options.watch,
        cancels=cancels,
    )
    return PilotAgent(Connection(url, token), opening, note, away).run()


def read_token(file: str | None, environment: Mapping[str, str]) -> str:
    """Return the token from a file that nobody else may read, or from $REKINDLE_API_TOKEN. Raise Refused if there is
    none."""
    if file is None:
        if token := environment.get(TOKEN_VARIABLE, "").strip():
            return token
        raise Refused(
            "a server needs a token", hint=f"`rekindle token new --scope pilot`; set ${TOKEN_VARIABLE}, or --token-file"
        )
    try:
        with open(file) as content:
            if stat.S_IMODE(os.fstat(content.fileno()).st_mode) & 0o077:
                raise Refused(f"others may read the token in {file}", hint=f"chmod 600 {file}")
            return content.read().strip()
    except OSError as error:
        raise Refused(f"the token in {file} cannot be read: {error.strerror}") from error


def write_token(file: str, token: str) -> None:
    """Write a token to a new file that nobody else may read."""
    descriptor = os.open(Path(file), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w") as content:
        content.write(token + "\n")
