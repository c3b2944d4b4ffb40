"""Which restart modes a task is offered now, and why not the others."""

from __future__ import annotations

from rekindle.dialects.ziggy.modes import Mode, meaning
from rekindle.dialects.ziggy.tasks import Task
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.states import ACTIVE
from rekindle.engine.rerunning import rerun as engine
from rekindle.engine.running import reconciling
from rekindle.engine.session import Session


def offered(session: Session, task: Task, overrides: Overrides | None = None) -> dict[Mode, str | None]:
    """For each mode None, or in words why it is not offered for this task now."""
    hows: dict[str, How] = {}
    found: dict[Mode, str | None] = {}
    for mode in Mode:
        if mode is Mode.RESUME_MONITORING and task.state in ACTIVE:
            (one,) = reconciling.plan_reattach(session, [task.id]).jobs
            found[mode] = (one.why or one.found) if one.found in ("none", "attended") else None
            continue
        how = meaning(task, mode, overrides)
        found[mode] = how if isinstance(how, str) else None
        if isinstance(how, How):
            hows[mode.name] = how
    refusals = engine.possible(session, task.id, hows)
    return {mode: refusals.get(mode.name, why) for mode, why in found.items()}
