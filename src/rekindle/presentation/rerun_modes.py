"""The ways to rerun jobs, as users choose them: a mode for each job, which becomes the options of its rerun.

Other systems have words of their own for their workflows: a dialect offers its ModeSet (see MODE_SETS of the command
line). Which modes a job's state allows is decided by the planner, not here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from rekindle.domain.errors import BadValue
from rekindle.domain.models import Workflow
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.request import FROM_FAILED_STEP, KEEP_MOST, How
from rekindle.domain.states import ACTIVE
from rekindle.engine.queries import job_queries
from rekindle.engine.rerun.rerun import refused_by_name
from rekindle.engine.running import reconcile
from rekindle.engine.session import Session

REATTACH: Literal["reattach"] = "reattach"

KEEP = "keep"
"""The key of the mode that is chosen unless a user chooses another: it keeps most."""

_STEP = "step:"
_MOST_STEPS = 20


class Mode(msgspec.Struct, frozen=True):
    """A way to rerun a job, with its name for users and what it does."""

    key: str
    label: str
    about: str


class Impossible(msgspec.Struct, frozen=True):
    """Why a mode is not possible for a job."""

    why: str


Choice = How | Literal["reattach"] | Impossible
"""What a mode means for a job."""


class ModeSet(msgspec.Struct, frozen=True):
    """The modes for the workflows of one system.

    `offered` returns the modes for some jobs, KEEP first. `choose` returns what the mode of each job means for it."""

    is_for: Callable[[Workflow], bool]
    offered: Callable[[Session, Sequence[int]], Sequence[Mode]]
    choose: Callable[[Session, Mapping[int, str], Overrides | None], Mapping[int, Choice]]


def mode_set_for(workflows: Sequence[Workflow], sets: Sequence[ModeSet]) -> ModeSet:
    """Return the set whose words all these workflows share; the plain one if there is none."""
    return next((one for one in sets if workflows and all(map(one.is_for, workflows))), PLAIN)


def refused_modes(
    session: Session, modes: ModeSet, jobs: Sequence[int], offered: Sequence[Mode]
) -> dict[int, dict[str, str]]:
    """Return, for each job, the modes that its state does not allow, with the reasons."""
    found: dict[int, dict[str, str]] = {job: {} for job in jobs}
    named: dict[str, dict[int, How]] = {}
    attached: dict[str, list[int]] = {}
    for mode in offered:
        for job, choice in modes.choose(session, dict.fromkeys(jobs, mode.key), None).items():
            if isinstance(choice, Impossible):
                found[job][mode.key] = choice.why
            elif isinstance(choice, How):
                named.setdefault(mode.key, {})[job] = choice
            else:
                attached.setdefault(mode.key, []).append(job)
    for key, refused in refused_by_name(session, named).items():
        for job, why in refused.items():
            found[job][key] = why
    for key, several in attached.items():
        for job, why in refused_reattach(session, several).items():
            found[job][key] = why
    return found


def refused_reattach(session: Session, jobs: Sequence[int]) -> dict[int, str]:
    """Return the jobs for which there is nothing to reattach, with the reasons."""
    rows = {row.job.id: row.job for row in job_queries.jobs(session, jobs)}
    found = {
        job: f"nothing of it runs: it is {row.state.label}" for job, row in rows.items() if row.state not in ACTIVE
    }
    active = [job for job in rows if job not in found]
    for one in reconcile.plan_reattach(session, active).jobs if active else ():
        if one.found in ("none", "attended"):
            found[one.id] = one.why or one.found
    return found


def how_of(mode: str) -> How | Literal["reattach"]:
    """Return the options of a plain mode. Raise BadValue for an unknown one."""
    if mode == REATTACH:
        return REATTACH
    if mode.startswith(_STEP) and len(mode) > len(_STEP):
        return How(mode.removeprefix(_STEP))
    if mode not in _HOWS:
        raise BadValue(f"there is no mode {mode!r}", hint=f"modes are {', '.join(_HOWS)}, {REATTACH}, {_STEP}NAME")
    return _HOWS[mode]


_HOWS = {
    KEEP: How(KEEP_MOST),
    "failed-step": How(FROM_FAILED_STEP),
    "accept-partial": How(accept_partial=True),
    "beginning": How(recovery="clear"),
}


def _offered(session: Session, jobs: Sequence[int]) -> list[Mode]:
    rows = [row.job for row in job_queries.jobs(session, jobs)]
    templates = job_queries.templates_of(session, rows).values()
    steps = dict.fromkeys(step.name for template in templates for step in template.steps[1:])
    fans_out = any(step.each is not None for template in templates for step in template.steps)
    return [
        Mode(KEEP, "Keep most", "From the failed step where there is one, else from the beginning"),
        Mode("failed-step", "From the failed step", "Completed steps and subtasks are kept"),
        *(
            Mode(_STEP + name, f"From step {name}", "The steps before it are kept")
            for name in list(steps)[:_MOST_STEPS]
        ),
        *([Mode("accept-partial", "Go on without the failed subtasks", "What they would add is given up")] * fans_out),
        Mode("beginning", "From the beginning", "Every step and subtask runs again"),
        Mode(REATTACH, "Reattach", "Adopt what still runs although its runner is gone; run nothing again"),
    ]


def _choose(_: Session, modes: Mapping[int, str], overrides: Overrides | None) -> dict[int, Choice]:
    hows = {mode: how_of(mode) for mode in set(modes.values())}
    made = {mode: _modified(how, overrides) for mode, how in hows.items()}
    return {job: made[mode] for job, mode in modes.items()}


def _modified(how: How | Literal["reattach"], overrides: Overrides | None) -> Choice:
    return msgspec.structs.replace(how, overrides=overrides) if isinstance(how, How) else how


PLAIN = ModeSet(lambda _: True, _offered, _choose)
"""rekindle's own modes."""
