"""What is known of a job or of an attempt, as names and texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rekindle.domain.batches.flakiness import PassHistory
from rekindle.domain.definition import value_label
from rekindle.domain.next_attempt import ANY_EARLIER
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.texts.display import mask_document, mask_json_text, mask_matrix
from rekindle.domain.texts.quantities import format_size
from rekindle.presentation import attempts, reasons, waits, words
from rekindle.presentation.failures import PASSED_WORDS
from rekindle.presentation.workflows import quarantine_text

if TYPE_CHECKING:
    from rekindle.domain.actions import Patch
    from rekindle.domain.changes.staleness import Assessment
    from rekindle.domain.models import Job
    from rekindle.domain.rerun.plan import Reason
    from rekindle.engine.queries.details import AttemptDetails, JobDetails
    from rekindle.engine.results import JobRow
    from rekindle.presentation.words import Paint
    from rekindle.store.dynamic_actions import AddedBy


def job_facts(one: JobDetails, paint: Paint = str) -> list[tuple[str, str]]:
    """Return what is known of a job: names and texts of one line or more, "" where there is nothing to say."""
    row, job = one.row, one.row.job
    binding = mask_matrix(json.loads(job.binding or "{}"))
    return [
        ("job", f"{job.id} {words.one_line(job.name)}"),
        ("workflow", f"{job.workflow} {row.workflow}"),
        ("state", job.state.label),
        ("verdict", attempts.verdict(row.verdict)),
        ("held", job.held or ""),
        ("waits", attempts.undecided(row.attempt)),
        ("retired", _retired(job)),
        *_past_and_future(one, paint),
        ("partial", _partial(row)),
        ("matrix", ", ".join(f"{key}={value_label(value)}" for key, value in binding.items())),
        ("labels", ", ".join(f"{key}={words.one_line(value)}" for key, value in one.labels.items())),
        ("quarantine", "" if one.quarantine is None else quarantine_text(one.quarantine)),
        ("takes", _resources(row)),
        ("priority", str(job.priority) if job.priority else ""),
        ("needs", _listed(one.needs, paint)),
        ("needed by", _listed(one.needed_by, paint)),
        ("starts at", _resumes(job)),
        (
            "reserve",
            f"attempt {job.next.reuse_candidate}, which stays if nothing changed"
            if job.next.reuse_candidate
            else "any earlier attempt with its definition and inputs"
            if job.next.reuse_candidate == ANY_EARLIER
            else "",
        ),
        (
            "definition",
            f"pinned: that of attempt {job.next.pinned_to}" if job.next.pinned_to is not None else "",
        ),
        ("recovery", f"kept by rerun {job.next.keep_recovery}" if job.next.keep_recovery is not None else ""),
        ("modified", attempts.modifications(job.next.overrides)),
    ]


def _past_and_future(one: JobDetails, paint: Paint) -> list[tuple[str, str]]:
    job = one.row.job
    passing = PASSED_WORDS[one.passed] if one.passed not in (None, PassHistory.PLAIN) else ""
    now = "\n".join(waits.wait_lines(one.waits, job.workflow, paint)).replace(waits.IDS, str(job.id))
    return [
        ("by history", passing),
        ("stale", _stale(job.id, one.assessment)),
        ("next", _next_retry(job, one.due)),
        ("repeats", _repeats(job)),
        ("now", now),
        ("canaries", waits.canary_reason(one.canaries) if one.canaries else ""),
        *_dynamic(one.adder, one.patches),
    ]


def _dynamic(adder: AddedBy | None, patches: Sequence[tuple[Patch, int]]) -> list[tuple[str, str]]:
    """Return the attempt that added the job, and the dynamic actions in force on it."""
    by = f"attempt {adder.number} of {words.one_line(adder.name)}" if adder else ""
    done = [f"{one.kind} {json.dumps(mask_document(one.content))} (attempt {attempt})" for one, attempt in patches]
    return [("added by", by), ("actions", "\n".join(done))]


def _stale(job: int, found: Assessment | None, most: int = 3) -> str:
    if found is None or not found.reasons:
        return ""
    lines = [reasons.short(reason) for reason in found.reasons[:most]]
    more = len(found.reasons) - most
    return "\n".join([*lines, f"… {more:,} more: rekindle why {job}"] if more > 0 else lines)


def _repeats(job: Job) -> str:
    return f"{job.next.repeats:,} more after that" if job.next.repeats and job.state in _TO_COME else ""


_TO_COME = (State.WAITING, State.READY, *ACTIVE)


def _next_retry(job: Job, reason: Reason | None) -> str:
    if reason is None:
        return ""
    due = f"; it starts at {words.short_time(job.next.not_before)}" if job.next.not_before is not None else ""
    return f"{reasons.short(reason)}{due}"


def _retired(job: Job) -> str:
    if not job.retired:
        return ""
    return "a later revision left it out" if job.added_by is None else "the job that added it does not add it any more"


def _partial(row: JobRow) -> str:
    if not row.partial:
        return ""
    own = row.attempt is not None and row.attempt.partial
    return "without the failed subtasks" if own else "it needs a job that continues without its failed subtasks"


def _resources(row: JobRow) -> str:
    asked = row.resources
    parts = [f"{asked.cpus:g} cpu" + ("s" if asked.cpus != 1 else "")]
    parts += [format_size(asked.memory)] if asked.memory else []
    parts += [f"{asked.gpus} gpu" + ("s" if asked.gpus != 1 else "")] if asked.gpus else []
    parts += [f"at most {words.duration(asked.time)}"] if asked.time is not None else []
    parts += [f"{count} {name}" for name, count in asked.licences]
    parts += asked.options
    return ", ".join(parts)


def _listed(jobs: Sequence[Job], paint: Paint, most: int = 6) -> str:
    """Return one line for each of the first jobs, incomplete ones first; for many, with their counts."""
    if not jobs:
        return ""
    first = sorted(jobs, key=lambda job: (job.state is State.COMPLETED, job.id))[:most]
    lines = [f"{job.id} {words.one_line(job.name)} ({paint(job.state.label)})" for job in first]
    if len(jobs) > most:
        counts = words.state_counts(Counter(job.state for job in jobs).items(), paint)
        lines = [f"{len(jobs):,} jobs: {counts}", *lines, f"… {len(jobs) - most:,} more"]
    return "\n".join(lines)


def _resumes(job: Job) -> str:
    if job.next.resume_attempt is None or not job.next.resume_step:
        return ""
    return f"step {job.next.resume_step + 1}, keeping what attempt {job.next.resume_attempt} did before it"


def attempt_facts(details: AttemptDetails) -> list[tuple[str, str]]:
    """Return what is known of an attempt: names and texts, "" where there is nothing to say."""
    one, job, retry, pruned = details.attempt, details.job, details.retry, details.pruned
    where = f"{one.host} (pid {one.pid})" if one.host and one.pid else one.host or ""
    return [
        ("attempt", f"{one.id}, number {one.number} of job {one.job} {words.one_line(job.job.name)}"),
        ("workflow", f"{one.workflow} {job.workflow}, revision {one.revision}"),
        ("definition", f"pinned: that of attempt {one.pinned_to}" if one.pinned_to is not None else ""),
        ("retry", reasons.short(retry) if retry is not None else ""),
        ("state", one.state.label),
        ("cause", attempts.full_cause(one)),
        ("signature", one.signature or ""),
        ("verdict", attempts.verdict(one.verdict)),
        ("partial", "it continues without the failed subtasks" if one.partial else ""),
        ("waits", attempts.undecided(one)),
        ("completed", attempts.by_hand(details.by_hand)),
        ("archived", f"by rerun {one.archived_by}" if one.archived_by is not None else ""),
        ("pruned", f"by prune {pruned.prune}, {words.full_time(pruned.at)}" if pruned is not None else ""),
        ("builds on", attempts.builds_on(one) if one.builds_on else ""),
        ("not run", attempts.reused(one) if one.reused_from is not None else ""),
        ("modified", attempts.modifications(one.overrides)),
        ("started", words.full_time(one.started)),
        ("ended", words.full_time(one.ended)),
        ("time", words.duration(words.seconds(one.started, one.ended))),
        ("cpu", words.duration(one.cpu_seconds)),
        ("memory", format_size(one.max_rss_bytes) if one.max_rss_bytes is not None else ""),
        ("on", where),
        ("in", details.workdir or ""),
        ("own folder", one.folder or ""),
        ("left running", attempts.left_running(one, allowed=details.leaves_running)),
        ("result", words.cut(words.one_line(mask_json_text(one.result) if one.result else ""), 200)),
    ]
