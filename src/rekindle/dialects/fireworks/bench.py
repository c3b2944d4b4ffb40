"""What the steps of a firework's job call: each runs one task of the spec, as this attempt is to see it.

It runs where attempts do, and knows of the house no more than they need."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.acting import action_of
from rekindle.dialects.fireworks.fwactions import STOPPING, merged
from rekindle.dialects.fireworks.spec_changes import changed, spec_of
from rekindle.dialects.fireworks.surroundings import around, bring_files, describe, parting
from rekindle.domain.actions import Action

if TYPE_CHECKING:
    from rekindle.worker.context import Context


def perform(task: int, ctx: Context) -> Action:
    """Run the task at a position of `_tasks`. Returns what it did, as FireWorks' FWAction and as our action."""
    given = spec_of(ctx.matrix, ctx.params)
    tasks = list(given.get("_tasks", ()))
    planned = len(ctx.matrix["spec"].get("_tasks", ()))
    if task == 0 and given.get("_dupefinder") and ctx.attempt == 1:
        from rekindle.dialects.fireworks.duplicates import done_alike

        known = done_alike(ctx.job, given)
        if known is not None:
            return action_of({**known, "exit": True} if planned > 1 else known, {}, ctx, task)
    spec = around(given, ctx)
    for _, result in sorted(ctx.steps.items(), key=lambda step: int(step[0].partition("-")[0])):
        spec = changed(spec, result or {})
    describe(given, ctx, again=task > 0)
    bring_files(spec, again=task > 0)
    done: dict[str, Any] = {}
    last = task >= planned - 1
    for one in tasks[task:] if last else tasks[task : task + 1]:
        found = _run(one, spec)
        spec = changed(spec, found)
        done = merged(done, found)
        if any(found.get(key) for key in STOPPING):
            last = True
            break
    return action_of(done, parting(spec, ctx) if last else {}, ctx, task)


def _run(task: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    from rekindle.dialects.fireworks.tasks import run_task

    found: dict[str, Any] = run_task(copy.deepcopy(dict(task)), copy.deepcopy(dict(spec)))
    return {key: value for key, value in found.items() if value}
