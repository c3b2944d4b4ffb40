"""Where two workflows part, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rekindle.presentation import reasons, words

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.queries.run_comparison import PartedJob, RunComparison


def parted_groups(found: RunComparison) -> list[tuple[str, list[str], list[PartedJob]]]:
    """Return (template, why, jobs) of the jobs at which two workflows part: those of one template that part for the
    same reasons are together."""
    groups: dict[tuple[str, ...], list[PartedJob]] = {}
    for one in found.first:
        groups.setdefault((one.name.partition("[")[0], *_lines(one)), []).append(one)
    return [(template, lines, jobs) for (template, *lines), jobs in groups.items()]


def _lines(one: PartedJob) -> Iterator[str]:
    """Yield why the attempts of a job differ, or that nothing explains it."""
    for reason in one.reasons:
        yield from reasons.full(reason)
    before, after = one.states
    if before is not after:
        yield f"{before.label} -> {after.label}"
    if not one.reasons:
        ended = "ended otherwise" if before is not after else f"made other {', '.join(one.results)}"
        yield f"{ended} with the same definition, inputs and code"


def summary_lines(found: RunComparison) -> Iterator[str]:
    """Yield at how many jobs two workflows part, and which jobs were not compared."""
    first, below = len(found.first), len(found.parted) - len(found.first)
    if not found.parted:
        yield f"  {words.plural(found.same, 'job')} compared: no difference"
    else:
        rest = f"; {words.plural(below, 'job')} below" if below else ""
        yield f"they part at {words.plural(first, 'job')}{rest}; the same: {found.same:,}"
    for names, where in ((found.only_a, found.a), (found.only_b, found.b)):
        if names:
            yield f"only in {workflow_name(where)}: {words.plural(len(names), 'job')}"
    if found.not_compared:
        yield f"not compared: {words.plural(len(found.not_compared), 'job')} that did not end in both"


def workflow_name(one: Workflow) -> str:
    """Return a workflow's name and id, as `sweep (workflow 3)`."""
    return f"{words.one_line(one.name)} (workflow {one.id})"
