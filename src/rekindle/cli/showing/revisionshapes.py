"""The JSON of revisions compared and submissions foreseen: keys are added, never renamed."""

from __future__ import annotations

from typing import Any

from rekindle.cli.showing import shapes
from rekindle.domain.changes.differences import Difference
from rekindle.domain.changes.revisions import RevisionDiff
from rekindle.engine.results import Preview


def revision_diff(one: RevisionDiff | None) -> dict[str, Any]:
    """What differs between two revisions; None: there is nothing to compare with."""
    diff = one or RevisionDiff()
    return {
        "added": [job for group in diff.added for job in group.jobs],
        "retired": [job for group in diff.removed for job in group.jobs],
        "changed": [job for group in diff.changed for job in group.jobs],
        "params": [_field(each) for each in diff.params],
        "changes": [
            {"template": group.template, "jobs": list(group.jobs), "fields": [_field(each) for each in group.fields]}
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


def _field(one: Difference) -> dict[str, Any]:
    absent = {} if one.not_set is None else {"not_set": one.not_set}
    return {"field": one.field, "before": one.a, "after": one.b, **absent}


def preview(one: Preview) -> dict[str, Any]:
    """What a submission would do."""
    done = one.submitted
    told = {**shapes.submitted(done), "rerun": None, "dry_run": True, "diff": revision_diff(one.diff)}
    return {**told, "plan": None if done.plan is None else shapes.plan(done.plan, None)}
