"""Invariants at the end of a run, whatever faults it had. Each check yields a line for each contradiction."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from soak_faults import WAIT_SECONDS, marked
from soak_project import SoakProject, expected

from rekindle.store.opening import open_store

CUT_OFF = {"lost", "signal", "canceled", "timeout", "oom", "subtasks", "start"}
"""Causes of attempts that may have been killed before their first instruction."""

_GONE_WITHIN = 30.0  # seconds for processes to end
_CONTRADICTIONS = 20  # the most that are reported per check


class Line(NamedTuple):
    """A line of the ledger: the begin or end of a step or a subtask of an attempt."""

    word: str
    job: int
    number: int
    attempt: int
    step: str
    item: str


@dataclass(frozen=True, slots=True)
class Found:
    """The state at the end of a run."""

    jobs: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    lines: list[Line]
    elapsed: float


def contradictions(project: SoakProject, scale: int, elapsed: float) -> list[str]:
    """Return all contradictions. `elapsed`: duration of the run in seconds."""
    found = Found(ask(project, "jobs"), ask(project, "attempts"), _lines(project), elapsed)
    checks = {
        "processes": _processes(project),
        "jobs": _jobs(found, scale),
        "causes": _causes(found),
        "unrecorded": unrecorded(found),
        "missing": missing(found),
        "overlapping": overlapping(found),
        "durations": durations(found),
        "archive": _archive(project),
    }
    return [f"{name}: {line}" for name, check in checks.items() for line in _first(check)]


def _first(check: Iterable[str]) -> Iterator[str]:
    lines = list(check)
    yield from lines[:_CONTRADICTIONS]
    if len(lines) > _CONTRADICTIONS:
        yield f"and {len(lines) - _CONTRADICTIONS} more"


def ask(project: SoakProject, noun: str) -> list[dict[str, Any]]:
    """Return the items of `NOUN list`."""
    done = project.rekindle(noun, "list", "--json", timeout=WAIT_SECONDS)
    assert done.returncode == 0, done.stderr
    answer: list[dict[str, Any]] = json.loads(done.stdout)[noun]
    return answer


def _lines(project: SoakProject) -> list[Line]:
    lines = []
    for text in project.ledger.read_text().splitlines():
        word, job, number, attempt, step, item = text.split()
        lines.append(Line(word, int(job), int(number), int(attempt), step, item))
    return lines


def _processes(project: SoakProject) -> Iterator[str]:
    """Check that no process is left."""
    limit = time.monotonic() + _GONE_WITHIN
    while (left := list(marked(project.mark))) and time.monotonic() < limit:
        time.sleep(0.05)
    for pid, kind in left:
        yield f"process {pid}, a {kind}, is left"


def _jobs(found: Found, scale: int) -> Iterator[str]:
    """Check that all jobs are completed, each by exactly one live attempt."""
    live = defaultdict(list)
    for attempt in found.attempts:
        if not attempt["archived"]:
            live[attempt["job"]].append(attempt)
    there = {job["name"]: job for job in found.jobs if not job["retired"]}
    for name in sorted(expected(scale) ^ set(there)):
        yield f"{name} is {'not there' if name not in there else 'there, and should not be'}"
    for name, job in there.items():
        states = [attempt["state"] for attempt in live[job["id"]]]
        if job["state"] != "completed" or states != ["completed"]:
            yield f"job {job['id']} {name} is {job['state']}, its live attempts {states}"


def _causes(found: Found) -> Iterator[str]:
    """Check that every attempt has ended, with a cause unless it completed."""
    for one in found.attempts:
        if one["ended"] is None or (one["state"] == "completed") != (one["cause"] is None):
            yield f"attempt {one['id']} of job {one['job']}: {one['state']}, cause {one['cause']}, ended {one['ended']}"


def unrecorded(found: Found) -> Iterator[str]:
    """Check that each line of the ledger belongs to a step of a recorded attempt that has started, and occurs once."""
    known = {(one["job"], one["number"], one["id"]): one for one in found.attempts}
    for line, times in Counter(found.lines).items():
        attempt = known.get((line.job, line.number, line.attempt))
        if attempt is None:
            yield f"ran without a record: {line}"
        elif attempt["started"] is None:
            yield f"ran, and is recorded as never started: {line}"
        if times > 1:
            yield f"{times} times in one attempt: {line}"


def missing(found: Found) -> Iterator[str]:
    """Every step that an attempt is recorded to have completed began and ended; every one that failed by its own exit
    code began. Only of what was cut off (killed, lost, canceled) nothing need be there: it may have been killed
    between its record, which is written first, and its first instruction. So, with the check above,

        steps completed or failed by themselves  <=  beginnings  <=  steps begun,

    and the ends are exactly the completed ones and those whose attempt was cut off behind its last line."""
    counted = Counter((line.word, line.attempt, line.step) for line in found.lines)
    cut_off = {one["id"] for one in found.attempts if one["cause"] in CUT_OFF}
    completed = set()
    for one in found.attempts:
        for step in one["steps"]:
            if step["kept_from"] is not None:
                continue
            begun, ended = (counted[word, one["id"], step["name"]] for word in ("begin", "end"))
            least = 0 if step["cause"] in CUT_OFF or step["state"] == "canceled" else 1
            if step["state"] == "completed":
                completed.add((one["id"], step["name"]))
                if ended < 1 or begun != ended:
                    yield f"attempt {one['id']}, {step['name']}, completed: {begun} began, {ended} ended"
            elif begun < least:
                yield f"attempt {one['id']}, {step['name']}, {step['cause']}: {begun} began"
    for word, attempt, step in counted:
        if word == "end" and (attempt, step) not in completed and attempt not in cut_off:
            yield f"attempt {attempt}, {step}: ended, and is not recorded as completed"


def overlapping(found: Found) -> Iterator[str]:
    """Check that no two attempts of a job overlap: after the first line of an attempt there is none of an earlier one.

    Lines are appended, so their order is the order of events."""
    newest: dict[int, Line] = {}
    for line in found.lines:
        last = newest.get(line.job)
        if last is not None and last.number > line.number:
            yield f"{line} behind {last}"
        else:
            newest[line.job] = line


def durations(found: Found) -> Iterator[str]:
    """Check that no duration is negative or longer than the run, however the clock was set. Lost attempts are excluded,
    because another process dates their ends by the wall clock."""
    for one in found.attempts:
        if one["started"] is None or one["ended"] is None or one["cause"] == "lost":
            continue
        seconds = (datetime.fromisoformat(one["ended"]) - datetime.fromisoformat(one["started"])).total_seconds()
        if not 0 <= seconds <= found.elapsed:
            yield f"attempt {one['id']} ({one['state']}, {one['cause']}) took {seconds} s"


def _archive(project: SoakProject) -> Iterator[str]:
    """Check that the store is consistent."""
    store = open_store(str(project.store), create=False)
    try:
        with store.read() as archive:
            yield from archive.check()
    finally:
        store.close()
