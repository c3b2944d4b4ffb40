"""A job, its attempts and its logs on the screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from rekindle.domain.states import ACTIVE
from rekindle.presentation import attempts, words
from rekindle.presentation.facts import job_facts
from rekindle.tui import texts

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.engine.queries.details import JobDetails
    from rekindle.tui.store_reads import LogTail

_MOST_LINES = 2_000
_ERROR_LINES = 20


def job_lines(found: JobDetails, now: float, width: int) -> Iterator[Text]:
    """Yield a job's facts, and its attempts with the causes of their ends, the newest first."""
    for name, value in job_facts(found)[1:]:
        for number, line in enumerate(value.splitlines()):
            shown = words.one_line(line)
            yield Text.assemble((f"{'' if number else name:<11}", "dim"), (shown, texts.STYLES.get(shown, "")))
    if not found.attempts:
        yield texts.line("")
        yield texts.line("no attempts yet")
    for one in reversed(found.attempts):
        yield texts.line("")
        yield from _attempt(one, now, width)


def _attempt(one: Attempt, now: float, width: int) -> Iterator[Text]:
    ended = now if one.state in ACTIVE else one.ended
    parts = [
        words.short_time(one.started),
        words.duration(words.seconds(one.started, ended)),
        one.host or "",
        f"archived by rerun {one.archived_by}" if one.archived_by is not None else "",
        attempts.builds_on(one) if one.start_step else "",
        "modified" if one.overrides is not None else "",
    ]
    state = (one.state.label, texts.STYLES.get(one.state.label, ""))
    yield Text.assemble((f"attempt {one.number} ", "bold"), state, f"  {', '.join(filter(None, parts))}")
    if one.cause is None:
        return
    yield Text.assemble("  cause: ", (attempts.full_cause(one), "bold"))
    if error := attempts.error(one):
        yield Text(f"  {error}")
    if seen := attempts.evidence(one.evidence):
        yield Text(f"  evidence: {seen}")
    text = (one.failure.traceback or one.failure.stderr) if one.failure is not None else ""
    for line in words.printable(text).rstrip().splitlines()[-_ERROR_LINES:]:
        yield Text(f"  │ {words.cut(line.expandtabs(), width - 4)}", no_wrap=True)


def log_lines(job: int, tails: Sequence[LogTail], width: int) -> Iterator[Text]:
    """Yield the ends of a job's logs."""
    if not tails:
        yield texts.line("nothing was printed")
    for one in tails:
        yield texts.line(f"==> {one.heading} <==", "bold")
        if one.skipped:
            yield texts.line(f"… {one.skipped:,} bytes before this: rekindle logs {job}", "dim")
        for line in words.printable(one.text).splitlines()[-_MOST_LINES:]:
            yield Text(words.cut(line.expandtabs(), width), no_wrap=True)


HELP = """\
The table shows the jobs of the store, or those of a filter, and is live.

  ↑ ↓ PgUp PgDn   move; Home and End go to the first and the last job
  Tab             go to the failures and back
  /               filter, in the words of the command line: -s failed
                  -n 'train*' -f 'exit_code=3' --error 'out of memory'
                  An empty filter shows all jobs.
  Space           pick the job, or drop it; Shift with ↑ ↓ picks several
  a               pick all jobs that match the filter; again: none
  r               rerun the picked jobs, or the one under the cursor. The
                  plan is shown first: s, d and o change what is kept, y
                  applies it. On a failure: the jobs of its group.
  u               undo the rerun
  l               the end of the job's logs, live
  Enter           the job with its attempts; on a failure: filter by it
  Esc             drop what is picked, then the filter
  q               quit; the jobs go on

Picked jobs and the state of a job are marked by a sign and a word, too:
> is the cursor, * a picked job.
"""
