"""A rerun in FireWorks' words: which manner of rerunning each firework that means, in one plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rekindle.dialects.fireworks.standing import Standing, standing
from rekindle.domain.errors import PlanRefused
from rekindle.domain.rerunning.asking import how_to_json
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, FROM_FAILED_STEP, How, ReasonKind
from rekindle.engine.rerunning import rerun as engine
from rekindle.engine.session import Session

NO_LAUNCHES: Mapping[int, int] = {}


@dataclass(frozen=True, slots=True)
class Recovery:
    """What FireWorks calls recovery: where a firework starts, and in which folder."""

    task_level: bool = False
    folder: Literal["copy", "same"] | None = None  # of the previous launch; None: a new one
    clear: bool = False  # what was kept of an earlier recovery
    undo_dynamic: bool = False

    def how(self) -> How:
        """The manner of rerunning that it means."""
        start = FROM_FAILED_STEP if self.task_level else FROM_BEGINNING
        workdir = self.folder or ("new" if self.task_level else None)
        recovery: Literal["keep", "clear"] | None = "clear" if self.clear else "keep" if self.task_level else None
        return How(start, workdir=workdir, recovery=recovery, undo_dynamic=self.undo_dynamic, cancel_running=True)


@dataclass(frozen=True, slots=True)
class Rerun:
    """What became of it. Pairs are (fw_id, why)."""

    planned: int  # of the fireworks that were meant
    below: int  # that need these, and are reset with them
    skipped: tuple[tuple[int, str], ...]  # have not run: there is nothing to rerun
    refused: tuple[tuple[int, str], ...]
    warnings: tuple[str, ...]
    number: int | None = None  # of the rerun; None: nothing is changed


def rerun_fireworks(
    session: Session,
    ids: Sequence[int],
    recovery: Recovery,
    selection: Mapping[str, Any],
    launches: Mapping[int, int] = NO_LAUNCHES,
    *,
    dry_run: bool = False,
) -> Rerun:
    """Rerun these fireworks, as far as their states allow it, in one transaction. `launches`: by fw_id, the launch from
    which a task-level rerun goes on, where that is not the latest."""
    how = recovery.how()
    fireworks = standing(session, ids)
    skipped = [(one.id, f"it is {one.word} already") for one in fireworks if _has_nothing(one, recovery)]
    refused = {one.id: _REFUSED[one.word].format(one.id) for one in fireworks if one.word in _REFUSED}
    left = {*refused, *(number for number, _ in skipped)}
    wanted = [one.id for one in fireworks if one.id not in left]
    requests = _requests(wanted, how, launches)
    if not requests:
        return Rerun(0, 0, tuple(skipped), tuple(refused.items()), ())
    request = {"selection": dict(selection), "how": how_to_json(how)}
    try:
        if dry_run:
            plan, number = engine.plan(session, requests, request).plan, None
        else:
            proposal, applied = engine.plan_and_apply(session, requests, request)
            plan, number = proposal.plan, applied.rerun
    except PlanRefused as refusal:
        refused |= {one.id: one.why for one in refusal.refused}
        return Rerun(0, 0, tuple(skipped), tuple(sorted(refused.items())), ())
    refused |= {one.id: one.why for one in plan.refused}
    selected = sum(any(one.kind is ReasonKind.SELECTED for one in job.reasons) for job in plan.jobs)
    below = sum(not job.stays for job in plan.jobs) - selected
    return Rerun(selected, below, tuple(skipped), tuple(sorted(refused.items())), plan.warnings, number)


_REFUSED = {
    "DEFUSED": "it is defused: `lpad reignite_fws -i {}` first",
    "PAUSED": "it is paused: `lpad resume_fws -i {}` first",
    "ARCHIVED": "its workflow is archived",
}


def _has_nothing(firework: Standing, recovery: Recovery) -> bool:
    """It has not run since it was reset, and nothing is asked for that changes how it will."""
    cleared = recovery.clear and firework.job.resume_attempt is not None
    return firework.word == "WAITING" or (firework.word == "READY" and not cleared)


def _requests(ids: Sequence[int], how: How, launches: Mapping[int, int]) -> list[tuple[list[int], How]]:
    plain = [one for one in ids if one not in launches]
    named = [([one], replace(how, attempt=launches[one])) for one in ids if one in launches]
    return [*([(plain, how)] if plain else []), *named]
