"""The state of workflows as text: what waits or is held, how the spec file differs, dead runners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from rekindle.domain.judging import JUDGE
from rekindle.domain.states import State
from rekindle.domain.verdicts import VerdictLevel
from rekindle.presentation import words

if TYPE_CHECKING:
    from rekindle.domain.batches.quarantine import QuarantinedJobs
    from rekindle.domain.definition import Quarantine
    from rekindle.domain.models import Workflow
    from rekindle.engine.results import DeadRunner, SpecState, WorkflowStatus
    from rekindle.journal.batches import ElementWait
    from rekindle.presentation.words import Paint


def held_lines(held: Mapping[str, int], workflow: str | None, paint: Paint = str) -> Iterator[str]:
    """Yield `3 jobs are held: reset    let go: rekindle restart -w 1` for each reason."""
    scope = f" -w {workflow}" if workflow else ""
    for reason, number in held.items():
        from rekindle.domain.rerun.request import RESET_HOLD

        jobs = f"{words.plural(number, 'job')} {'is' if number == 1 else 'are'} {paint('held')}"
        what = f": {words.one_line(reason)}" if reason != "held" else ""
        way = f"restart{scope}" if reason == RESET_HOLD else f"release{scope} -f held=true"
        yield f"{jobs}{what}    let go: rekindle {way}"


def undecided_lines(undecided: Mapping[str, int], paint: Paint = str, *, commands: bool = True) -> Iterator[str]:
    """Yield `3 failed jobs are held: unknown failure` for each thing that failures wait for, with the commands that
    decide them if `commands`."""
    for why, number in undecided.items():
        jobs = f"{words.plural(number, 'failed job')} {'is' if number == 1 else 'are'}"
        if why == JUDGE:
            yield f"{jobs} with a judge, who is asked"
        else:
            decide = "    rekindle release ID, or rerun ID" if commands else ""
            yield f"{jobs} {paint('held')}: {words.one_line(why)}{decide}"


def spec_note(one: Workflow, spec: SpecState) -> tuple[str, str] | None:
    """Return how the spec file differs from the stored revision, and a command; None if it is unchanged."""
    folder = words.one_line(one.directory)
    file, revision = words.one_line(one.source or ""), f"revision {one.revision}"
    return {
        "no_folder": (f"its folder is missing: {folder}; its jobs cannot run", f"rekindle workflows show {one.id}"),
        "changed": (f"the spec file differs from {revision}, which is what runs", f"rekindle workflows diff {one.id}"),
        "invalid": (
            f"the spec file has changed since {revision}, and has mistakes in it",
            f"rekindle workflows diff {one.id}",
        ),
        "gone": (f"the spec file is gone; {revision} runs without it", f"rekindle workflows show {one.id}"),
        "unreadable": (f"the spec file cannot be read; {revision} runs without it", f"ls -l {file}"),
    }.get(spec)


def quarantine_text(one: Quarantine) -> str:
    """Return `until 2030-01-31: fails on slow machines`."""
    return f"until {one.until.isoformat()}: {words.one_line(one.why)}"


def quarantine_lines(found: Iterable[QuarantinedJobs], waiting: int = 0) -> Iterator[str]:
    """Yield which failed jobs are in quarantine, which quarantines have ended, and that `waiting` jobs do not start."""
    groups = list(found)
    for one in groups:
        name, failed = words.one_line(one.template), words.plural(len(one.jobs), "failed job")
        if one.ended:
            day, why = one.quarantine.until.isoformat(), words.one_line(one.quarantine.why)
            yield f"the quarantine of {name} ended with {day} ({why}): its {failed} count{_s(len(one.jobs))} again"
        else:
            yield f"in quarantine: {failed} of {name}, {quarantine_text(one.quarantine)}"
    if waiting and not all(one.ended for one in groups):
        do, they = ("does", "it needs") if waiting == 1 else ("do", "they need")
        yield f"{words.plural(waiting, 'job')} {do} not start, because {they} a job that failed"


def _s(number: int) -> str:
    return "s" if number == 1 else ""


def status_lines(one: WorkflowStatus, paint: Paint = str) -> Iterator[str]:
    """Yield what is to be known of a workflow's jobs and spec file besides its counts and failures; indented lines are
    hints."""
    if one.overtaken:
        are, they = ("is", "it needs") if one.overtaken == 1 else ("are", "they need")
        yield f"{words.plural(one.overtaken, 'completed job')} {are} stale: {they} a job that is not done"
        yield f"  why: rekindle why -w {one.workflow.id} --changed"
    if one.by_hand:
        yield f"{words.plural(one.by_hand, 'job')} completed by hand"
    if one.found:
        yield f"found: {', '.join(f'{one.found[word]:,} {word.value}' for word in VerdictLevel if word in one.found)}"
    if one.delayed:
        yield f"{one.delayed:,} wait{'s' if one.delayed == 1 else ''} for a retry"
    if one.leaving:
        have = "has" if one.leaving == 1 else "have"
        yield f"{words.plural(one.leaving, 'canceled attempt')} {have} not ended: jobs that would disturb it wait"
    if one.unfit or one.canaries:
        from rekindle.presentation import waits

        yield from waits.unfit_lines(one.unfit)
        yield from map(waits.canary_line, one.canaries)
    yield from quarantine_lines(one.quarantined, one.counts.get(State.WAITING, 0))
    yield from undecided_lines(one.undecided, paint)
    yield from held_lines(one.held, str(one.workflow.id), paint)
    if (note := spec_note(one.workflow, one.spec)) is not None:
        yield note[0]
        yield f"  look: {note[1]}"


def element_wait_lines(waits: Mapping[ElementWait, int]) -> Iterator[str]:
    """Yield why elements of the store's runners wait in another engine."""
    for wait, number in waits.items():
        they, wait_for = ("it", "waits") if number == 1 else ("they", "wait")
        cannot = f"; {they} cannot start without a change" if wait.never else ""
        yield f"{words.plural(number, 'element')} of a batch {wait_for}: {wait.reason}{cannot}"


_DEATHS = {
    "gone": "is dead",
    "elsewhere": "works on the store that this one was copied from",
    "expired": "has let its lease expire",
    "superseded": "was taken for dead, and does not know yet",
}


def dead_runner_line(one: DeadRunner) -> str:
    """Return that a runner with orphaned attempts is dead, and who resolves them."""
    who = f"runner {one.runner.id} ({one.runner.host}, pid {one.runner.pid}) {_DEATHS[one.why]}"
    if one.keeper is not None:
        return f"{who}; runner {one.keeper} resolves its attempts"
    return f"{who}; `rekindle work` records how its jobs end"
