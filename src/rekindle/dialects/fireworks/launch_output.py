"""Print launches as FireWorks does: log lines, and what their tasks print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
import msgspec

from rekindle.domain.errors import BadValue
from rekindle.domain.states import ENDED, State
from rekindle.engine.queries import job_queries, logs
from rekindle.files.kept_logs import open_log_file

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.engine.session import Session

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""Log levels, most verbose first."""

REDIRECT_FILES = {"stdout": "FW_job.out", "stderr": "FW_job.error"}
"""The files for the output of a launch, in its folder."""


class Launch(msgspec.Struct, frozen=True):
    """A launch: the fw_id, the attempt's id, and its folder."""

    firework: int
    attempt: int
    folder: str
    new: bool  # made for this launch


class LaunchOutput:
    """Prints launches in the order in which they start and end, with log lines if `level` is at most INFO.

    `local_redirect`: also write the output of tasks into the launch's folder. `err_file` gets their errors."""

    def __init__(self, level: str, *, local_redirect: bool = False, err_file: TextIO | None = None) -> None:
        if level.upper() not in LEVELS:
            raise BadValue(f"there is no log level {level!r}", hint="levels are " + ", ".join(LEVELS))
        self._logs = LEVELS.index(level.upper()) <= LEVELS.index("INFO")
        self._redirects, self._err_file = local_redirect, err_file
        self._taken = 0  # of the launches
        self._open: dict[int, Launch] = {}  # by attempt: not shown to their end
        self._begun: set[int] = set()

    def show(self, session: Session, launches: Sequence[Launch]) -> None:
        """Print what has happened to these launches since the last call. An attempt that was given back before it
        started is never shown."""
        self._open |= {one.attempt: one for one in launches[self._taken :]}
        self._taken = len(launches)
        jobs = sorted({one.firework for one in self._open.values()})
        attempts = [one for one in job_queries.attempts(session, jobs) if one.id in self._open] if jobs else []
        for attempt in sorted(attempts, key=lambda one: (one.ended or float("inf"), one.id)):
            if attempt.state is not State.QUEUED and attempt.id not in self._begun:
                self._begun.add(attempt.id)
                self._log_begin(self._open[attempt.id])
            if attempt.state in ENDED:
                self._show_end(session, attempt)
                del self._open[attempt.id]
        sys.stdout.flush()

    def log(self, text: str) -> None:
        """Print a dated line."""
        if self._logs:
            click.echo(f"{datetime.now().strftime('%Y-%m-%d %H:%M:%S,%f')[:-3]} INFO {text}")

    def _log_begin(self, launch: Launch) -> None:
        if launch.new:
            self.log(f"Created new dir {launch.folder}")
        self.log("Launching Rocket")
        self.log(f"RUNNING fw_id: {launch.firework} in directory: {launch.folder}")

    def _show_end(self, session: Session, attempt: Attempt) -> None:
        printed = dict.fromkeys(REDIRECT_FILES, "")
        for file in logs.log_files(session, attempt.job, attempt.number):
            with suppress(FileNotFoundError), open_log_file(file.path) as log:
                printed[file.stream] += log.read().decode(errors="replace")
        click.echo(printed["stdout"], nl=False)
        click.echo(printed["stderr"], nl=False, err=True)
        if attempt.failure is not None:
            click.echo(attempt.failure.traceback or attempt.failure.message, err=True)
            if self._err_file is not None:
                self._err_file.write(attempt.failure.traceback or attempt.failure.stderr)
        if self._redirects and attempt.folder and Path(attempt.folder).is_dir():
            for stream, name in REDIRECT_FILES.items():
                Path(attempt.folder, name).write_text(printed[stream], encoding="utf-8")
        self.log("Rocket finished")
