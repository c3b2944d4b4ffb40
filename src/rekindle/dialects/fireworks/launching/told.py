"""What rlaunch tells: lines as FireWorks logs them, what tasks have printed, and where that is put."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import click

from rekindle.dialects.fireworks.launching.places import Launch
from rekindle.domain.errors import BadValue
from rekindle.domain.models import Attempt
from rekindle.engine.looking import logs, look
from rekindle.engine.session import Session

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""From all to the least."""

REDIRECTED = {"stdout": "FW_job.out", "stderr": "FW_job.error"}
"""The files with what a launch has printed, in its folder."""


class Told:
    """Lines for whoever looks on, as far as a level lets them."""

    def __init__(self, level: str) -> None:
        if level.upper() not in LEVELS:
            raise BadValue(f"--loglvl {level}: there is no such level", hint="levels are " + ", ".join(LEVELS))
        self.informs = LEVELS.index(level.upper()) <= LEVELS.index("INFO")

    def info(self, text: str) -> None:
        """A line, dated."""
        if self.informs:
            date = datetime.now().strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
            with contextlib.suppress(OSError):  # nobody reads on; the launches go on
                click.echo(f"{date} INFO {text}")
                sys.stdout.flush()

    def launch(self, launch: Launch) -> None:
        """A firework is launched."""
        if launch.new:
            self.info(f"Created new dir {launch.folder}")
        self.info("Launching Rocket")
        self.info(f"RUNNING fw_id: {launch.firework} in directory: {launch.folder}")


def show_launch(session: Session, attempt: Attempt) -> None:
    """What the tasks of a launch have printed, and why it failed if it did."""
    click.echo(_printed(session, attempt, "stdout"), nl=False)
    click.echo(_printed(session, attempt, "stderr"), nl=False, err=True)
    if attempt.failure is not None:
        click.echo(attempt.failure.traceback or attempt.failure.message, err=True)


def redirect(session: Session, launches: Iterable[Launch]) -> None:
    """Put what launches have printed into their folders."""
    for attempt in attempts_of(session, launches):
        for stream, name in REDIRECTED.items():
            if attempt.folder and Path(attempt.folder).is_dir():
                Path(attempt.folder, name).write_text(_printed(session, attempt, stream), encoding="utf-8")


def attempts_of(session: Session, launches: Iterable[Launch]) -> list[Attempt]:
    """The attempts that launches were; those that never began are no more."""
    numbers = {one.attempt: one.firework for one in launches}
    return [one for one in look.attempts(session, sorted(set(numbers.values())), None) if one.id in numbers]


def _printed(session: Session, attempt: Attempt, stream: str) -> str:
    files = [one for one in logs.log_files(session, attempt.job, attempt.number) if one.stream == stream]
    paths = [Path(one.path) for one in files]
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in paths if path.exists())
