"""A workflow as JUnit XML: one test suite, and a test case for each job.

The elements and attributes are those of the schema junit-10 of Jenkins' xUnit plugin, which pytest and Maven Surefire
write too. A job that failed in this run and then completed has `flakyFailure` elements; one that failed after its
reruns has `rerunFailure` elements. The schema allows properties for suites only, so that those of a job are named
`attempts[JOB]`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from rekindle.domain.states import Cause, State
from rekindle.domain.texts.display import show_bytes
from rekindle.presentation import attempts, words
from rekindle.presentation.workflows import quarantine_text

if TYPE_CHECKING:
    from rekindle.engine.queries.batch_reports import BatchReport, FailedAttempt, ReportedJob

_ERRORS = frozenset({Cause.SIGNAL, Cause.OOM, Cause.TIMEOUT, Cause.LOST, Cause.START, Cause.MISSING_INPUT})
"""Causes that are no outcome of the job's own: an `error`. The others are a `failure`."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, even as references."""


def junit_xml(report: BatchReport, exit_code: int) -> bytes:
    """Return the report of a workflow as JUnit XML. `exit_code`: of the command that ran it."""
    workflow = report.status.workflow
    cases = [_case(one, workflow.name) for one in report.jobs]
    kinds = Counter(child.tag for case in cases for child in case)
    root = Element("testsuites")
    suite = SubElement(
        root,
        "testsuite",
        name=_text(workflow.name),
        tests=str(len(cases)),
        failures=str(kinds["failure"]),
        errors=str(kinds["error"]),
        skipped=str(kinds["skipped"]),
        time=f"{report.now - report.since:.3f}",
        timestamp=datetime.fromtimestamp(report.since, UTC).isoformat(timespec="seconds"),
    )
    properties = SubElement(suite, "properties")
    for name, value in _properties(report, exit_code):
        SubElement(properties, "property", name=_text(name), value=_text(value))
    suite.extend(cases)
    indent(root)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _properties(report: BatchReport, exit_code: int) -> Iterator[tuple[str, str]]:
    workflow = report.status.workflow
    yield "workflow", str(workflow.id)
    yield "revision", str(workflow.revision)
    yield "exit_code", str(exit_code)
    if workflow.source:
        yield "spec", workflow.source
    for one in report.jobs:
        if one.job.attempts > 1:
            yield f"attempts[{one.job.name}]", str(one.job.attempts)
        if one.quarantine is not None and one.failure is not None:
            ended = "" if one.in_quarantine else "ended "
            yield f"quarantine[{one.job.name}]", ended + quarantine_text(one.quarantine)


def _case(one: ReportedJob, workflow: str) -> Element:
    live = one.attempt
    case = Element("testcase", name=_text(one.job.name), classname=_text(f"{workflow}/{one.template}"))
    seconds = None if live is None else words.seconds(live.started, live.ended)
    case.set("time", f"{seconds or 0.0:.3f}")
    if one.failure is not None and one.job.state is State.FAILED:
        _add_failure(case, one, one.failure)
    elif one.job.state is State.FAILED:  # imported without its attempts
        SubElement(case, "failure", type="unknown", message="failed")
    elif one.job.state is not State.COMPLETED:
        SubElement(case, "skipped", type=one.job.state.label, message=_text(_why_skipped(one)))
    for each in one.earlier:
        kind = "flaky" if one.is_flaky else "rerun"
        again = SubElement(case, f"{kind}{_kind(each).title()}", type=_type(each), message=_message(each))
        if each.tail:
            SubElement(again, "stackTrace").text = _tail(each)
    return case


def _add_failure(case: Element, one: ReportedJob, failed: FailedAttempt) -> None:
    """Add the failure of a job; of a job in quarantine as `skipped`, which fails no batch."""
    if one.quarantine is not None and one.in_quarantine:
        message = f"in quarantine {quarantine_text(one.quarantine)}; failed: {_message(failed)}"
        element = SubElement(case, "skipped", type="quarantine", message=_text(message))
    else:
        element = SubElement(case, _kind(failed), type=_type(failed), message=_message(failed))
    element.text = _tail(failed)
    failure = failed.attempt.failure
    if failure is not None and failure.traceback.strip() and failure.stderr.strip():
        SubElement(case, "system-err").text = _text(failure.stderr)


def _why_skipped(one: ReportedJob) -> str:
    """Return why a job has not completed, although it has not failed."""
    state = one.job.state
    if state is State.WAITING and one.blocked_by is not None:
        return f"waiting: it needs {one.blocked_by.name} ({one.blocked_by.state.label})"
    if one.job.held is not None:
        return f"{state.label}, held: {one.job.held}"
    return state.label


def _kind(failed: FailedAttempt) -> str:
    return "error" if failed.attempt.cause in _ERRORS else "failure"


def _type(failed: FailedAttempt) -> str:
    failure = failed.attempt.failure
    return _text((failure.type if failure else "") or (failed.attempt.cause or Cause.EXIT).value)


def _message(failed: FailedAttempt) -> str:
    """Return the cause and the error in one line: `exit 3: too cold`."""
    cause, error = attempts.full_cause(failed.attempt), attempts.error(failed.attempt)
    plain = error in ("", f"exit code {failed.attempt.exit_code}")
    return _text(cause if plain else f"{cause}: {error}")


def _tail(failed: FailedAttempt) -> str:
    return _text("\n".join(failed.tail))


def _text(text: str) -> str:
    r"""Return a text that XML can hold: without colours, and with other control characters as `\x1b`."""
    return _NOT_XML.sub(lambda found: f"\\x{ord(found[0]):02x}", _COLOURS.sub("", show_bytes(text)))
