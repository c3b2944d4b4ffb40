"""Revisions and submissions compared: as text, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rekindle.domain.changes.revisions import RevisionDiff, RewiredJobs
from rekindle.domain.rerun.plan import ReasonKind, RerunPlan
from rekindle.domain.texts.display import NOT_SET, format_change, format_value
from rekindle.domain.texts.quantities import format_size
from rekindle.presentation import documents, words

if TYPE_CHECKING:
    from rekindle.domain.changes.differences import Difference
    from rekindle.domain.states import State
    from rekindle.engine.results import SubmitPreview, SubmitResult
    from rekindle.presentation.words import Paint

_FEW = 5  # parameters that are named in one line

_MADE_BY_KINDS = ((ReasonKind.ADDED, "added"), (ReasonKind.RETIRED, "left out"), (ReasonKind.REDEFINED, "changed"))


def jobs_text(template: str, jobs: Sequence[str]) -> str:
    """Return `900 jobs made from `train``, or the name of a single job."""
    if len(jobs) == 1:
        return words.one_line(jobs[0])
    return f"{words.plural(len(jobs), 'job')} made from `{words.one_line(template)}`"


def text_diff(before: str, after: str) -> Iterable[str]:
    """Yield a unified diff of two texts, without headers. Lines are not shortened."""
    import difflib

    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm="")
    for line in list(lines)[2:]:
        if line.startswith("@@"):
            continue
        yield f"{line[0]} {words.printable(line[1:])}"


def field_value(field: str, value: Any) -> str:
    """Return the value of a field of the definition, with its unit."""
    if value is None:
        return NOT_SET
    if field == "resources.memory":
        return format_size(value)
    if field == "resources.time":
        return words.duration(value)
    return words.one_line(format_value(value))


def parameter_change(one: Difference) -> str:
    """Return `params.k: 1 -> 5`."""
    return f"params.{words.one_line(one.field)}: {words.one_line(format_change(one.a, one.b, one.not_set))}"


def edge_lines(edge: RewiredJobs) -> Iterable[str]:
    """Yield `report needs 3 more of `train``, `fit no longer needs clean`."""
    for pairs, more in ((edge.gained, True), (edge.lost, False)):
        if not pairs:
            continue
        children, parents = ({pair[at]: None for pair in pairs} for at in (1, 0))
        who, need = jobs_text(edge.template, list(children)), "needs" if len(children) == 1 else "need"
        if len(parents) > 1:
            yield f"{who} {need} {len(parents):,} {'more' if more else 'less'} of `{words.one_line(edge.needs)}`"
        else:
            yield f"{who} {'now' if more else 'no longer'} {need} {words.one_line(next(iter(parents)))}"


def changed_parameters(one: SubmitResult) -> list[str]:
    """Return the changed parameters and their use: `params.k: 1 -> 5`, `3 jobs use it`."""
    if not one.params:
        return []
    shown = ", ".join(parameter_change(each) for each in one.params[:_FEW])
    more = f", and {len(one.params) - _FEW:,} more" if len(one.params) > _FEW else ""
    return [shown + more, parameter_users(one)]


def parameter_users(one: SubmitResult) -> str:
    """Return how many jobs use the changed parameters: `3 jobs use it`."""
    what = "it" if len(one.params) == 1 else "them"
    if not one.using:
        return f"no job uses {what}"
    return f"{words.plural(one.using, 'job')} {'uses' if one.using == 1 else 'use'} {what}"


def rewired_counts(plan: RerunPlan | None) -> list[str]:
    """Return how many jobs have changed needs: `1 needs others`; nothing without any."""
    number = plan.jobs.total(lambda job: ReasonKind.REWIRED in {one.kind for one in job.reasons}) if plan else 0
    return [f"{number:,} {'needs' if number == 1 else 'need'} others"] if number else []


def summary(plan: RerunPlan, paint: Paint = str) -> str:
    """Return the changes of a revision, and the new states of the jobs that it adds or moves: `2 added, 1 left out,
    3 changed; then 2 ready, 1 waiting`."""
    kinds: Counter[ReasonKind] = Counter()
    moved: Counter[State] = Counter()
    for one in plan.jobs.sets:
        here = {reason.kind for reason in one.change.reasons}
        kinds.update(dict.fromkeys(here, len(one)))
        if ReasonKind.RETIRED not in here and (ReasonKind.ADDED in here or one.change.before is not one.change.after):
            moved[one.change.after] += len(one)
    parts = [f"{kinds[kind]:,} {word}" for kind, word in _MADE_BY_KINDS if kinds[kind]]
    parts += rewired_counts(plan)
    then = f"; then {words.state_counts(moved.items(), paint)}" if moved else ""
    return f"{', '.join(parts) or 'no job changed'}{then}"


def diff_json(one: RevisionDiff | None) -> dict[str, Any]:
    """Return the differences of two revisions; None: there is nothing to compare with."""
    diff = one or RevisionDiff()
    return {
        "added": [job for group in diff.added for job in group.jobs],
        "retired": [job for group in diff.removed for job in group.jobs],
        "changed": [job for group in diff.changed for job in group.jobs],
        "params": [_field_json(each) for each in diff.params],
        "changes": [
            {
                "template": group.template,
                "jobs": list(group.jobs),
                "fields": [_field_json(each) for each in group.fields],
            }
            for group in diff.changed
        ],
        "needs": [
            {
                "template": each.template,
                "needs": each.needs,
                "gained": [{"job": child, "needs": parent} for parent, child in each.gained],
                "lost": [{"job": child, "needs": parent} for parent, child in each.lost],
            }
            for each in diff.edges
        ],
    }


def _field_json(one: Difference) -> dict[str, Any]:
    absent = {} if one.not_set is None else {"not_set": one.not_set}
    return {"field": one.field, "before": one.a, "after": one.b, **absent}


def preview_json(one: SubmitPreview) -> dict[str, Any]:
    """Return what a submission would do."""
    done = one.submitted
    document = {**documents.submitted(done), "rerun": None, "dry_run": True, "diff": diff_json(one.diff)}
    return {**document, "plan": None if done.plan is None else documents.plan(done.plan, None)}
