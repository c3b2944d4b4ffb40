"""What a job's parameters are: the revision's, with the changes in force made in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rekindle.domain.acting import SET
from rekindle.domain.actions import Change, effective, read_action
from rekindle.domain.models import StepOutcome
from rekindle.journal.encoding import from_json
from rekindle.store.port import Archive


def changes_in_force(archive: Archive, jobs: Sequence[int]) -> dict[int, list[Change]]:
    """The changes that sets in force make to the parameters of these jobs; of most jobs there are none."""
    found: dict[int, list[Change]] = {}
    for job, patches in archive.acts.patches(jobs).items():
        changes = [one.content for one, _ in patches if one.kind == SET]
        if changes:
            found[job] = changes
    return found


def patched(params: Mapping[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    """The parameters that changes in force make differ, with their values; None for one that is gone."""
    differing, gone = told(params, changes, {})
    return {**dict.fromkeys(gone), **(differing or {})}


def staged_changes(steps: Sequence[StepOutcome]) -> list[Change]:
    """The changes that kept steps made for the steps behind them."""
    actions = [read_action(from_json(step.action)) for step in steps if step.action is not None]
    return [action.set for action in actions if action.set]


def told(
    params: Mapping[str, Any], changes: Sequence[Change], modified: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """(the parameters that differ, the names of those that are gone), as an assignment has them. What a rerun has
    `modified` stands over what actions change."""
    if not changes and not modified:
        return None, ()
    now = {**effective(params, changes), **modified}
    differing = {name: value for name, value in now.items() if name not in params or params[name] != value}
    return differing or None, tuple(name for name in params if name not in now)
