"""Reports of a run to other programs: a JUnit file, and what a CI server shows (`--junit`, `--ci`)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rekindle.domain.errors import Refused, RekindleError
from rekindle.presentation import words

if TYPE_CHECKING:
    from rekindle.engine.queries.batch_reports import BatchReport
    from rekindle.engine.session import Session

Server = Literal["github", "gitlab"]


class RunReports:
    """Writes the reports of one run. Without a JUnit file and a CI server it does nothing."""

    def __init__(self, junit: Path | None = None, server: Server | None = None) -> None:
        self._junit, self._server = junit, server
        self._token, self._sections = os.urandom(8).hex(), 0

    @property
    def is_asked_for(self) -> bool:
        """Whether it writes anything."""
        return self._junit is not None or self._server is not None

    @property
    def has_sections(self) -> bool:
        """Whether a CI server folds sections of the log."""
        return self._server is not None

    @contextmanager
    def section(self, session: Session, title: str) -> Iterator[None]:
        """Print a section of the log that the CI server folds."""
        if self._server is None:
            yield
            return
        from rekindle.presentation import ci_reports

        self._sections += 1
        number = self._sections
        start = ci_reports.section_start(self._server, number, title, session.clock(), self._token)
        click.echo(start, err=True, color=True)  # with the escapes that GitLab requires, although stderr is a pipe
        try:
            yield
        finally:
            end = ci_reports.section_end(self._server, number, session.clock(), self._token)
            click.echo(end, err=True, color=True)

    @contextmanager
    def kept_on_interrupt(self, session: Session, workflow: int, since: float) -> Iterator[None]:
        """Write the reports also if a KeyboardInterrupt ends the command outside of its runner."""
        try:
            yield
        except KeyboardInterrupt:
            self.finish(session, workflow, since, 128 + signal.SIGINT)
            raise

    def finish(self, session: Session, workflow: int, since: float, exit_code: int) -> None:
        """Write the reports of a workflow after a run that began at `since` and exits with `exit_code`. Raise Refused
        if the JUnit file cannot be written. Failures to report to a CI server are warnings."""
        if self._junit is None and self._server is None:
            return
        from rekindle.engine.queries.batch_reports import batch_report

        report = None
        try:
            report = batch_report(session, workflow, since)
            if self._server is not None:
                self._report(session, report, self._server, exit_code)
        except (OSError, RekindleError) as error:
            if report is None and self._junit is not None:
                raise
            click.echo(f"warning: --ci {self._server}: {words.one_line(str(error))}", err=True)
        if self._junit is not None and report is not None:
            _write_junit(self._junit, report, exit_code)

    def _report(self, session: Session, report: BatchReport, server: Server, exit_code: int) -> None:
        from rekindle.presentation import ci_reports

        for title, lines in ci_reports.failure_sections(report):
            with self.section(session, title):
                for line in lines:
                    click.echo(words.printable(line), err=True)
        if server == "gitlab":
            click.echo(ci_reports.artifact_hint(None if self._junit is None else str(self._junit)), err=True)
            return
        source = report.status.workflow.source
        for one in ci_reports.job_annotations(report, _in_repository(source), _entry_lines(source)):
            click.echo(ci_reports.github_command(one), err=True)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            path = Path(summary)
            room = ci_reports.SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0)
            with path.open("a", encoding="utf-8") as file:
                file.write(ci_reports.step_summary(report, exit_code, room))


def detected_server() -> Server | None:
    """Return the CI server in whose job this process runs."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return "github"
    return "gitlab" if os.environ.get("GITLAB_CI") == "true" else None


def _write_junit(path: Path, report: BatchReport, exit_code: int) -> None:
    from rekindle.files.store_files import replace_file
    from rekindle.presentation.junit import junit_xml

    try:
        replace_file(path, junit_xml(report, exit_code))
    except OSError as error:
        raise Refused(
            f"--junit {path}: cannot be written: {error.strerror}", hint="--junit names another file"
        ) from error


def _in_repository(source: str | None) -> str | None:
    """Return the path of a spec file relative to the repository of a job of GitHub; None: it is elsewhere."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    if source is None or not Path(source).resolve().is_relative_to(root):
        return None
    return Path(source).resolve().relative_to(root).as_posix()


def _entry_lines(source: str | None) -> dict[str, int]:
    from rekindle.spec.loading import entry_lines

    return {} if source is None else entry_lines(Path(source))
