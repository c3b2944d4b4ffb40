"""Operations of the API that read: the documents of the command line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from rekindle.domain.errors import NotFound, UsageError
from rekindle.domain.selection import Selection
from rekindle.engine.queries import logs, selections
from rekindle.engine.queries.log_reading import open_log
from rekindle.files.kept_logs import content_size, log_size
from rekindle.presentation import answers
from rekindle.query.selections import parse_selection
from rekindle.web import api_answers, api_bodies
from rekindle.web.api_operations import Operation
from rekindle.web.security import RAW_POLICY

if TYPE_CHECKING:
    from rekindle.engine.results import LogFile
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import ReadProgress
    from rekindle.web.api_operations import Call


READ_SECONDS = 60.0
"""How long the files of jobs are read for one answer."""


def reading_limit() -> ReadProgress:
    """Return what ends the reading of files after READ_SECONDS."""
    until = time.monotonic() + READ_SECONDS

    def check(_: int, __: int) -> None:
        if time.monotonic() > until:
            raise HTTPException(503, f"reading the files of these jobs takes more than {READ_SECONDS:g} s: name fewer")

    return check


def _workflows(session: Session, call: Call) -> dict[str, Any]:
    return answers.workflows_list(session, call.query.page(), archived=call.query.archived)


def _workflow(session: Session, call: Call) -> dict[str, Any]:
    return answers.workflows_show(session, call.path["workflow"])


def _status(session: Session, call: Call) -> dict[str, Any]:
    return answers.status(session, call.query.key, call.query.page())


def _jobs(session: Session, call: Call) -> dict[str, Any]:
    page = call.query.page()
    found = answers.jobs_list(session, call.query.selection(), page, reading_limit())
    rows = found["jobs"]
    return {**found, "next": rows[-1]["id"] if len(rows) == page.limit else None}


def _job(session: Session, call: Call) -> dict[str, Any]:
    return answers.jobs_show(session, selections.select(session, Selection(jobs=(call.id("job"),))), reading_limit())


def _compare(session: Session, call: Call) -> dict[str, Any]:
    return answers.workflows_compare(session, call.path["workflow"], call.path["other"])


def _attempts(session: Session, call: Call) -> dict[str, Any]:
    selection = parse_selection(call.query.flags())
    return answers.attempts_list(session, selection, call.query.page(), live=call.query.live)


def _attempt(session: Session, call: Call) -> dict[str, Any]:
    return answers.attempts_show(session, call.id("attempt"), call.query.page())


def _attempt_diff(session: Session, call: Call) -> dict[str, Any]:
    return answers.attempts_diff(session, call.id("attempt"), call.id("other"), reading_limit())


def _forecast(session: Session, call: Call) -> dict[str, Any]:
    from rekindle.engine.queries.forecasts import ForecastOptions

    asked: api_bodies.ForecastQuery = call.query
    return answers.forecast(session, ForecastOptions(asked.key, asked.slots, asked.assume, asked.seed))


def _failures(session: Session, call: Call) -> dict[str, Any]:
    return answers.failures(session, call.query.key, call.query.page(), archived=call.query.archived)


def _flaky(session: Session, call: Call) -> dict[str, Any]:
    selection = parse_selection(call.query.flags())
    return answers.flaky(session, selection, call.query.page(), reading_limit(), every=call.query.every)


def _reruns(session: Session, call: Call) -> dict[str, Any]:
    return answers.reruns_list(session, call.query.key, call.query.page())


def _rerun(session: Session, call: Call) -> dict[str, Any]:
    return answers.reruns_show(session, call.id("rerun"))


def _events(session: Session, call: Call) -> dict[str, Any]:
    return answers.events_list(session, call.query.key, call.query.page())


def _why(session: Session, call: Call) -> dict[str, Any]:
    return answers.why(session, parse_selection(call.query.flags()), call.query.page(), reading_limit())


def _log(session: Session, call: Call) -> Response:
    """Return a part of a log as the job wrote it. A browser must not show it: it is what a job made."""
    file = _log_file(session, call.id("attempt"), call.query)
    content, size, start = b"", 0, 0
    if (log := open_log(file)) is not None:
        with log:
            size, start = content_size(log), call.query.offset
            start = max(0, size + start) if start < 0 else min(start, size)
            log.seek(start)
            content = log.read(call.query.limit)
    headers = {
        "Content-Disposition": "attachment; filename=log.txt",
        "Content-Security-Policy": RAW_POLICY,
        "Rekindle-Log-Step": file.step if file.step.isascii() and file.step.isprintable() else "?",
        "Rekindle-Log-Offset": str(start),
        "Rekindle-Log-Size": str(size),
    }
    return Response(content, 200, headers, media_type="application/octet-stream")


def _log_file(session: Session, attempt: int, part: api_bodies.LogPart) -> LogFile:
    with session.store.read() as archive:
        found = archive.attempts.get(attempt)
    if found is None:
        raise NotFound(f"no such attempt: {attempt}", hint="`rekindle attempts list` names them")
    if part.subtask is not None:
        if part.step is None:
            raise UsageError("`subtask` is an item of a step", hint="name the step, too")
        files = logs.subtask_log_files(session, found.job, found.number, part.step, part.subtask)
    else:
        files = logs.log_files(session, found.job, found.number, part.step)
    streamed = [one for one in files if one.stream == part.stream]
    return next((one for one in reversed(streamed) if log_size(one.path)), streamed[-1])


def _get(
    path: str, name: str, act: Any, about: str, answer: type[Any] | None, query: type[Any] | None = None
) -> Operation:
    given = api_bodies.NoQuery if query is None else query
    return Operation(method="GET", path=path, name=name, scope="read", about=about, act=act, query=given, answer=answer)


_A, _B = api_answers, api_bodies

OPERATIONS = (
    _get("/workflows", "listWorkflows", _workflows, "List workflows.", _A.Workflows, _B.WorkflowsPage),
    _get("/workflows/{workflow}", "showWorkflow", _workflow, "Show a workflow, by id or name.", _A.WorkflowDetails),
    _get(
        "/workflows/{workflow}/compare/{other}",
        "compareWorkflows",
        _compare,
        "Show where two workflows part, by id or name.",
        _A.RunComparison,
    ),
    _get("/status", "status", _status, "Show each workflow at a glance.", _A.Status, _B.WorkflowPage),
    _get("/jobs", "listJobs", _jobs, "List the jobs of a selection, by id.", _A.Jobs, _B.JobsPage),
    _get("/jobs/{job}", "showJob", _job, "Show everything about a job.", _A.JobDetails),
    _get("/attempts", "listAttempts", _attempts, "List the attempts of a selection.", _A.Attempts, _B.AttemptsPage),
    _get(
        "/attempts/{attempt}",
        "showAttempt",
        _attempt,
        "Show an attempt. The page is of its subtasks.",
        _A.AttemptDetails,
        _B.Page,
    ),
    _get("/attempts/{attempt}/diff/{other}", "diffAttempts", _attempt_diff, "Compare two attempts.", _A.AttemptDiff),
    _get("/attempts/{attempt}/log", "readLog", _log, "Read a part of a log, as the job wrote it.", None, _B.LogPart),
    _get(
        "/forecast",
        "forecast",
        _forecast,
        "Forecast when unfinished jobs will be done, and which decide it.",
        _A.Forecast,
        _B.ForecastQuery,
    ),
    _get("/failures", "listFailures", _failures, "List failed attempts by signature.", _A.Failures, _B.ArchivedPage),
    _get("/flaky", "listFlaky", _flaky, "List jobs that fail sometimes.", _A.Flaky, _B.FlakyPage),
    _get(
        "/reruns", "listReruns", _reruns, "List the reruns that were applied, newest first.", _A.Reruns, _B.WorkflowPage
    ),
    _get("/reruns/{rerun}", "showRerun", _rerun, "Show a rerun with its plan.", _A.RerunDetails),
    _get(
        "/events",
        "listEvents",
        _events,
        "List what happened; a page counts from the newest.",
        _A.Events,
        _B.WorkflowPage,
    ),
    _get("/why", "why", _why, "Explain whether jobs would run again. Reads their files.", _A.Why, _B.SelectionPage),
)
"""What a token with the scope read may do."""
