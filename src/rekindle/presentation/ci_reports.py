"""What a CI server shows of a run: annotations and a step summary on GitHub, sections of the log on GitHub and GitLab.

Sources: "Workflow commands for GitHub Actions" and "Adding a job summary" of GitHub's documentation, with the escapes
of @actions/toolkit; "Custom collapsible sections" of GitLab's."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.batches.quarantine import covered_jobs
from rekindle.domain.states import State
from rekindle.presentation import attempts, words
from rekindle.presentation.workflows import quarantine_lines

if TYPE_CHECKING:
    from rekindle.domain.models import FailureGroup
    from rekindle.engine.queries.batch_reports import BatchReport, ReportedJob

MOST_ANNOTATIONS = 10
"""Annotations of one type that GitHub keeps of a step; it drops the others without a word."""

SUMMARY_BYTES = 1024 * 1024
"""The largest summary of a step; GitHub drops a larger one as a whole."""

_CUT = "\nMore did not fit in this summary.\n"
_MOST_NAMES = 5
_MOST_ROWS = 50
_MARKUP = re.compile(r"[\\`*_\[\]#!|~@:]")


class Annotation(msgspec.Struct, frozen=True):
    """A message that GitHub shows beside a line of a file."""

    level: str  # error or warning
    title: str
    message: str
    file: str | None = None  # relative to the repository
    line: int | None = None


def job_annotations(report: BatchReport, file: str | None, lines: Mapping[str, int]) -> list[Annotation]:
    """Return an error for each signature of failures that count, and a warning for each quarantine and each flaky job;
    at most MOST_ANNOTATIONS of each. `lines`: the line of each entry in the spec `file`."""
    jobs, failed = {one.job.id: one for one in report.jobs}, _counted(report)

    def annotation(level: str, title: str, message: str, template: str) -> Annotation:
        return Annotation(level, title, message, file, lines.get(template) if file else None)

    errors = [
        annotation("error", f"{_names(group.jobs, jobs)} failed", _error(group), jobs[group.jobs[0]].template)
        for group in failed
    ]
    warnings = [
        annotation("warning", f"{one.template} failed", line, one.template)
        for one in report.status.quarantined
        for line in quarantine_lines([one])
    ] + [
        annotation("warning", f"{one.job.name} is flaky", f"it completed after {_flaky(one)}", one.template)
        for one in report.jobs
        if one.is_flaky
    ]
    return [*_first(errors, "kinds of failures"), *_first(warnings, "warnings")]


def _first(found: Sequence[Annotation], what: str) -> Sequence[Annotation]:
    """Return the annotations that GitHub keeps; if there are more, the last one says how many."""
    if len(found) <= MOST_ANNOTATIONS:
        return found
    kept = found[: MOST_ANNOTATIONS - 1]
    more = f"and {len(found) - len(kept):,} more {what}"
    return [*kept, Annotation(found[0].level, more, f"{more}: see the summary and the log of this step")]


def github_command(one: Annotation) -> str:
    """Return the workflow command of an annotation: `::error file=spec.yaml,line=3,title=x failed::exit 3`."""
    parts = {"file": one.file, "line": one.line, "title": one.title}
    properties = ",".join(f"{name}={_property(str(value))}" for name, value in parts.items() if value is not None)
    return f"::{one.level} {properties}::{_data(one.message)}"


def _data(text: str) -> str:
    return words.printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def section_start(kind: str, number: int, title: str, now: float, token: str) -> str:
    """Return the text that begins a section of the log, which the server folds. On GitHub, no line of the section is
    taken for a command until `token` ends it."""
    title = words.one_line(title)
    if kind == "github":
        return f"::group::{title}\n::stop-commands::{token}"
    return f"\x1b[0Ksection_start:{now:.0f}:rekindle_{token}_{number}[collapsed=true]\r\x1b[0K{title}"


def section_end(kind: str, number: int, now: float, token: str) -> str:
    """Return the text that ends a section of the log."""
    if kind == "github":
        return f"::{token}::\n::endgroup::"
    return f"\x1b[0Ksection_end:{now:.0f}:rekindle_{token}_{number}\r\x1b[0K"


def failure_sections(report: BatchReport) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the title and lines of a section for each signature: the end of what its newest attempt printed."""
    jobs = {one.job.id: one for one in report.jobs}
    for group in report.status.failures[:MOST_ANNOTATIONS]:
        one = jobs.get(group.newest_job or 0)
        if one is not None and one.failure is not None and one.failure.tail:
            yield f"{_names(group.jobs, jobs)}: {_error(group)}", one.failure.tail


def artifact_hint(junit: str | None) -> str:
    """Return how GitLab gets the JUnit report."""
    if junit is None:
        return "GitLab shows failed jobs in merge requests with `--junit FILE` and artifacts: reports: junit: FILE"
    return f"GitLab shows {junit} with: artifacts: {{when: always, reports: {{junit: {junit}}}}}"


def step_summary(report: BatchReport, exit_code: int, room: int = SUMMARY_BYTES) -> str:
    """Return a summary in Markdown, in at most `room` bytes: tables of failures by signature, flaky jobs, quarantines
    and jobs that did not end."""
    parts, left, cut = [], room - len(_CUT), False
    if left < 0:
        return ""
    for part in _summary_parts(report, exit_code):
        size = len(part.encode())
        if size > left:
            cut = True
            continue
        parts.append(part)
        left -= size
    return "".join(parts) + (_CUT if cut else "")


def _summary_parts(report: BatchReport, exit_code: int) -> Iterator[str]:
    workflow, jobs = report.status.workflow, {one.job.id: one for one in report.jobs}
    counts = ", ".join(f"{number:,} {state.label}" for state, number in sorted(report.status.counts.items()))
    failed = _counted(report)
    yield f"## rekindle: {_md(workflow.name)}\n\n{counts or 'no jobs'}; exit code {exit_code}\n"
    yield from _table(
        "Failed",
        ("Count", "Cause", "Error", "Jobs", "Signature"),
        [
            (f"{len(group.jobs):,}", group.cause.value, _error(group), _names(group.jobs, jobs), group.signature[:10])
            for group in failed
        ],
        sum(len(group.jobs) for group in failed),
    )
    known = report.status.quarantined
    yield from _table(
        "Quarantine",
        ("Failed", "Jobs", "Until", "Why"),
        [
            (
                f"{len(one.jobs):,}",
                _names(one.jobs, jobs),
                one.quarantine.until.isoformat() + (" (ended: these failures count)" if one.ended else ""),
                one.quarantine.why,
            )
            for one in known
        ],
        sum(len(one.jobs) for one in known),
    )
    yield from _table(
        "Rerun in this run",
        ("Job", "Now", "Failed before"),
        [(one.job.name, one.job.state.label, _flaky(one)) for one in report.jobs if one.earlier],
    )
    unended = Counter(
        (one.template, one.job.state.label, one.blocked_by.name if one.blocked_by else "")
        for one in report.jobs
        if one.job.state not in (State.COMPLETED, State.FAILED)
    )
    rows = [(f"{number:,}", *what) for what, number in unended.items()]
    yield from _table("Not run to the end", ("Count", "Entry", "State", "Needs"), rows, unended.total())


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], number: int | None = None
) -> Iterator[str]:
    """Yield a table with `number` (None: that of its rows) in its title, and what is left out."""
    if not rows:
        return
    head = f"\n### {title}: {len(rows) if number is None else number:,}\n\n"
    head += f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n"
    lines = [f"| {' | '.join(map(_md, row))} |\n" for row in rows[:_MOST_ROWS]]
    yield head + "".join(lines)
    if len(rows) > _MOST_ROWS:
        yield f"\n{len(rows) - _MOST_ROWS:,} more are not shown.\n"


def _md(text: str) -> str:
    """Return a text that Markdown shows as it is, also in a cell of a table."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", html.escape(words.one_line(text), quote=False))


def _counted(report: BatchReport) -> list[FailureGroup]:
    """Return the failures by signature, each without its jobs in quarantine."""
    covered = covered_jobs(report.status.quarantined)
    left = [
        msgspec.structs.replace(group, jobs=tuple(job for job in group.jobs if job not in covered))
        for group in report.status.failures
    ]
    return [group for group in left if group.jobs]


def _error(group: FailureGroup) -> str:
    return attempts.newest_error(group)


def _flaky(one: ReportedJob) -> str:
    """Return `1 failed attempt: too cold`: how often a job failed before in this run, with the last error."""
    number, last = len(one.earlier), one.earlier[-1].attempt
    error = attempts.error(last) or attempts.cause(last)
    return f"1 failed attempt: {error}" if number == 1 else f"{number:,} failed attempts, the last: {error}"


def _names(ids: Sequence[int], jobs: Mapping[int, ReportedJob]) -> str:
    names = [jobs[job].job.name for job in ids if job in jobs]
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(words.one_line(name) for name in names[:_MOST_NAMES]) + more
