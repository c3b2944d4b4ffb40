"""A job: its state and why it waits or failed, its attempts, the jobs around it, and whether it would run again. The
chosen attempt in full is in web.pages.attempts."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape
from msgspec.structs import replace
from starlette.responses import RedirectResponse, Response

from rekindle.domain.errors import NotFound
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.selection import Selection
from rekindle.domain.states import ACTIVE, State
from rekindle.engine.queries import job_queries, lists
from rekindle.engine.queries.details import explanations, present_details
from rekindle.engine.results import PageRequest
from rekindle.presentation import attempts as attempt_texts
from rekindle.presentation import facts, reasons, waits, words
from rekindle.presentation.explanations import explanation_lines
from rekindle.web.console import Page, Part, query_of
from rekindle.web.forms import id_of, number_of
from rekindle.web.pages.attempts import chosen_attempt, decisive_step, definition, files_of, row_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.requests import Request

    from rekindle.domain.models import Attempt, Job
    from rekindle.domain.rerun.plan import Reason
    from rekindle.engine.queries.details import Explanations
    from rekindle.engine.queries.job_queries import AdjacentJobs
    from rekindle.engine.queries.lists import AttemptRow
    from rekindle.engine.queries.waits import WaitReason
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import ReadProgress
    from rekindle.engine.staleness.stale_jobs import Explanation
    from rekindle.web.access import Principal
    from rekindle.web.console import Console, Query, Values

MOST_ATTEMPTS = 100
"""The most attempts of one page."""

MOST_ADJACENT = 200
"""The most jobs around a job that are read; of these _SHOWN_ADJACENT are shown."""

READ_SECONDS, LONGEST_READ_SECONDS = 5, 60
"""How long files are read to find out whether a job is stale: at first, and where a user asks for more."""

_SHOWN_ADJACENT = 30
_MOST_REASONS = 50
_WIDTH = 110  # of lines that name what was compared
_ELSEWHERE = frozenset({"job", "workflow", "state", "verdict", "needs", "needed by", "stale", "now", "matrix", "takes"})
"""Facts that the page shows in a place of their own."""


def add(console: Console) -> None:
    """Add the page of a job, its live parts, and what it loads."""
    console.add_page(Page("/jobs/{id}", "job.html", _page))
    console.add_page(Page("/jobs/{id}/why", "job_why.html", _why, slow=True))
    console.add_part(Part("job", "parts/job.html", _job))
    console.add_part(Part("job-attempts", "parts/job_attempts.html", _attempts))
    console.add_part(Part("job-adjacent", "parts/job_adjacent.html", _adjacent))

    async def compare(request: Request, _: Principal) -> Response:
        query = query_of(request)
        return RedirectResponse(await console.readers.run(lambda session: _comparison(session, query)), 303)

    console.add_action("/jobs/{id}/compare", "read", compare, "GET")


def _page(session: Session, query: Query) -> Values:
    row = row_of(session, query)
    attempt = chosen_attempt(session, row.job, query)
    template = job_queries.templates_of(session, [row.job])[row.job.id]
    return {
        "title": words.one_line(row.job.name),
        "row": row,
        "job": row.job,
        "attempt": attempt,
        "chosen": attempt.id if query.get("attempt") and attempt else "",
        "older": number_of(query, "older") or 0,
        "items": number_of(query, "items") or 0,
        "step": query.get("step", ""),
        "template": template,
        "definition": definition(template),
        "files": files_of(session, row.job, attempt, template),
        "compared": (max(1, row.job.attempts - 1), row.job.attempts),
    }


def _job(session: Session, query: Query) -> Values:
    """Return the state of a job: why it waits, failed or runs."""
    details = present_details(session, [id_of(query)])[0]
    row, job, live = details.row, details.row.job, details.row.attempt
    failed = (
        live if live is not None and live.cause is not None and job.state in (State.FAILED, State.CANCELED) else None
    )
    return {
        "row": row,
        "job": job,
        "live": live,
        "chosen": query.get("attempt", ""),
        "failed": failed and _failure(session, failed.id),
        "waits": [*_waits(details.waits, job)],
        "copying": job_queries.copy_progress(session, live) if live is not None else None,
        "facts": [(name, text) for name, text in facts.job_facts(details) if text and name not in _ELSEWHERE],
        "runs": job.state in ACTIVE,
        "reused": _reused(live),
    }


def _failure(session: Session, number: int) -> dict[str, Any]:
    """Return the cause of a failure with its evidence, and where its log is."""
    one = job_queries.attempt(session, number)
    failure, position = one.failure, decisive_step(one)
    log = f"/attempts/{one.id}/log?step={position}&stream="
    return {
        "attempt": one,
        "cause": attempt_texts.full_cause(one),
        "error": attempt_texts.error(one),
        "evidence": attempt_texts.evidence(one.evidence),
        "traceback": failure.traceback if failure else "",
        "stderr": failure.stderr if failure else "",
        "step": job_queries.step_names(session, one)[position],
        "log": log,
        "items": job_queries.subtask_counts(session, [one]).get((one.id, position)),
    }


def _waits(found: Sequence[WaitReason], job: Job) -> Iterator[list[tuple[Markup, str]]]:
    """Yield why a job does not run: sentences with links to the jobs they are about, each with the command that changes
    it."""
    for one in found:
        if one.kind in ("failed", "canceled"):
            continue
        about = [one.detail, *one.detail.get("roots", ())] if one.kind == "needs" else one.detail.get("attempts", ())
        lines = []
        for line in waits.wait_lines([one], job.workflow):
            text, _, command = line.replace(waits.IDS, str(job.id)).strip().partition("    ")
            shown = escape(text)
            for each in about:
                name = words.one_line(each["name"])
                link = Markup('<a href="/jobs/{}">{}</a>').format(each["job"], name)
                shown = shown.replace(escape(f"{each['job']} {name}"), link, 1)
            lines.append((shown, command))
        yield lines


def _attempts(session: Session, query: Query) -> Values:
    """Return the attempts of a job, newest first."""
    row, older = row_of(session, query), number_of(query, "older") or 0
    after = max(0, row.job.attempts - older)
    begin = max(0, after - MOST_ATTEMPTS)
    page = PageRequest(after - begin, begin)
    with lists.attempts(session, Selection(jobs=(row.job.id,)), page, live=False) as found:
        rows = [*found.rows][::-1]
    chosen = chosen_attempt(session, row.job, query)
    hosts = {one.attempt.host for one in rows}
    return {
        "job": row.job,
        "rows": [
            {
                "one": one.attempt,
                "notes": _notes(one),
                "reused": _reused(one.attempt),
                "error": attempt_texts.error(one.attempt),
                "step": decisive_step(one.attempt),
            }
            for one in rows
        ],
        "causes": {one.attempt.id: attempt_texts.cause(one.attempt) for one in rows},
        "items": {one.attempt.id: _item_counts(one) for one in rows},
        "chosen": chosen.id if chosen else None,
        "several_hosts": len(hosts) > 1,
        "older": older + len(rows) if begin else 0,
        "newer": max(0, older - MOST_ATTEMPTS) if older else None,
        "before": {one.attempt.id: other.attempt.id for one, other in itertools.pairwise(rows)},
    }


def _item_counts(row: AttemptRow) -> str:
    """Return how many subtasks of an attempt completed: `3/4`."""
    parts = []
    for step in row.attempt.steps:
        by_state = row.subtasks.get((row.attempt.id, step.position))
        if by_state:
            parts.append(f"{by_state.get(State.COMPLETED, 0):,}/{sum(by_state.values()):,}")
    return ", ".join(parts)


def _reused(one: Attempt | None) -> str:
    """Return which attempt completed an attempt without running; "" if it ran."""
    return attempt_texts.reused(one) if one is not None and one.reused_from is not None else ""


def _notes(row: AttemptRow) -> list[str]:
    one, retry = row.attempt, row.retries.get(row.attempt.id)
    notes = [attempt_texts.retry_text(retry)] if retry is not None else []
    notes += [attempt_texts.verdict(one.verdict)] if one.verdict is not None else []
    notes += [f"pruned by prune {one.pruned_by}"] if one.pruned_by is not None else []
    notes += [attempt_texts.builds_on(one)] if one.start_step else []
    notes += ["definition pinned"] if one.pinned_to is not None else []
    notes += [f"modified: {attempt_texts.modifications(one.overrides)}"] if one.overrides is not None else []
    notes += ["partial"] if one.partial else []
    notes += ["completed by hand"] if one.completed_by is not None else []
    notes += [text] if (text := attempt_texts.undecided(one)) else []
    return notes


def _adjacent(session: Session, query: Query) -> Values:
    needs, needed_by = job_queries.adjacent_jobs(session, id_of(query), MOST_ADJACENT)
    return {"sides": [_side("Needs", needs), _side("Needed by", needed_by)]}


def _side(name: str, found: AdjacentJobs) -> dict[str, Any]:
    first = sorted(found.jobs, key=lambda job: (job.state is State.COMPLETED, job.id))
    by_state = words.state_counts(Counter(job.state for job in found.jobs).items())
    whole = found.total == len(found.jobs)
    return {
        "name": name,
        "jobs": first[:_SHOWN_ADJACENT],
        "total": found.total,
        "more": found.total - len(first[:_SHOWN_ADJACENT]),
        "counts": by_state if whole and found.total > 1 else "",
    }


class _TooLong(Exception):
    """Ends the reading of files."""


def _until(seconds: float) -> ReadProgress:
    deadline = time.monotonic() + seconds

    def progress(_: int, __: int) -> None:
        if time.monotonic() > deadline:
            raise _TooLong

    return progress


def _why(session: Session, query: Query) -> Values:
    """Return whether a job would run again, and its files as they are now. Files are read for a limited time."""
    row = row_of(session, query)
    seconds = min(number_of(query, "seconds") or READ_SECONDS, LONGEST_READ_SECONDS)
    attempt = chosen_attempt(session, row.job, query)
    template = job_queries.templates_of(session, [row.job])[row.job.id]
    values: dict[str, Any] = {
        "job": row.job,
        "attempt": attempt,
        "chosen": query.get("attempt", ""),
        "seconds": seconds,
        "longest": LONGEST_READ_SECONDS,
        "word": None,
    }
    try:
        found = explanations(session, [row.job.id], _until(seconds))
    except _TooLong:
        return {**values, "files": files_of(session, row.job, attempt, template)}
    one = found.jobs[0]
    states = _file_states(one) if attempt is not None and attempt.id == row.job.attempt else {}
    lines = explanation_lines(one, _without_waits(found), _WIDTH, most=_MOST_REASONS)
    return {
        **values,
        "word": one.word,
        "lines": [(line.lstrip(), len(line) - len(line.lstrip()), _change(line)) for line in lines],
        "kinds": list(dict.fromkeys(each.kind.value.replace("_", " ") for each in one.reasons)),
        "about": list(dict.fromkeys(_jobs_of(one.reasons))),
        "again": one.word in ("stale", "upstream", "failed", "canceled"),
        "files": files_of(session, row.job, attempt, template, states),
    }


def _without_waits(found: Explanations) -> Explanations:
    """Leave out what the job waits for: the page shows it above."""
    return replace(found, waits={})


def _change(line: str) -> str:
    """Return the class of a line of a diff."""
    return {"- ": "gone", "+ ": "new"}.get(line.strip()[:2], "")


def _jobs_of(found: Sequence[Reason]) -> Iterator[tuple[int, str]]:
    for one in found:
        if "job" in one.detail:
            yield one.detail["job"], str(one.detail.get("name", one.detail["job"]))


def _file_states(one: Explanation) -> Mapping[tuple[str, str], tuple[str, str]]:
    """Return (class, text) of the files that the job's live attempt was compared by, by kind and name."""
    found = {
        (part.kind.value, part.name): ("unchanged", "unchanged")
        for part in one.compared
        if part.kind in (ReasonKind.INPUT, ReasonKind.OUTPUT)
    }
    for reason in one.reasons:
        if reason.kind in (ReasonKind.INPUT, ReasonKind.OUTPUT, ReasonKind.UNSTABLE):
            kind = "output" if reason.kind is ReasonKind.OUTPUT else "input"
            found[kind, str(reason.detail.get("name"))] = ("changed", reasons.short(reason))
    return found


def _comparison(session: Session, query: Query) -> str:
    """Return the address of the comparison of two attempts that are given by their numbers within the job."""
    job = row_of(session, query).job
    known = {one.number: one.id for one in job_queries.attempts(session, [job.id])}
    a, b = (number_of(query, name) for name in ("a", "b"))
    for number in (a, b):
        if number not in known:
            raise NotFound(f"{words.one_line(job.name)} has no attempt {number}", hint=f"it has {len(known)}")
    return f"/attempts/{known[a or 0]}/diff/{known[b or 0]}"
