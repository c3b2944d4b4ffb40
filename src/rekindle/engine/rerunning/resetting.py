"""Resetting: jobs go back to before they ran, and wait there until somebody lets them go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rekindle.domain.rerunning.asking import how_to_json
from rekindle.domain.rerunning.rerun import RESET_HOLD, How
from rekindle.engine.rerunning import rerun
from rekindle.engine.results import Proposal
from rekindle.engine.session import Session


def plan_reset(
    session: Session,
    ids: Sequence[int],
    request: Mapping[str, Any],
    note: str | None = None,
    *,
    cancel_running: bool = False,
) -> Proposal:
    """What resetting these jobs would do: their attempts are archived, everything below them is reset too, and they
    are held; with `cancel_running` those that run are canceled first. PlanRefused, with every job's reason, when none
    can be reset."""
    how = How(hold=RESET_HOLD, cancel_running=cancel_running)
    asked = {**request, "how": how_to_json(how)}
    return replace(rerun.plan(session, [(ids, how)], asked, note), kind="reset")
