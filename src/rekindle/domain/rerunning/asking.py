"""A How as it was asked for: whether it makes sense, and its form in the record of a rerun."""

from __future__ import annotations

from typing import Any

from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.overrides import Overrides, check_overrides
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, How
from rekindle.domain.texts.quantities import Amount
from rekindle.domain.texts.secrets import masked

MOST_RUNS = 10_000
"""So often a rerun runs its jobs at the most."""


def check_how(how: How) -> None:
    """UsageError for a manner that contradicts itself, BadValue for a value that is not one."""
    if how.workdir not in (None, "new", "copy", "same"):
        raise BadValue(f"the working directory cannot be {how.workdir!r}", hint="new, copy or same")
    if how.recovery not in (None, "keep", "clear"):
        raise BadValue(f"the resume point cannot be {how.recovery!r}", hint="keep or clear")
    if how.downstream not in ("all", "changed", "none"):
        raise BadValue(f"downstream cannot be {how.downstream!r}", hint="all, changed or none")
    if how.definition not in ("latest", "pinned"):
        raise BadValue(f"the definition cannot be {how.definition!r}", hint="latest or pinned")
    if how.undo_dynamic and how.downstream == "none":
        raise UsageError(
            "--undo-dynamic does not go with --downstream none: actions may have added or changed what is below",
            hint="--downstream all or changed",
        )
    if how.overrides is not None:
        check_overrides(how.overrides)
    if how.attempt is not None and how.start == FROM_BEGINNING and how.workdir not in ("copy", "same"):
        raise UsageError(
            "an attempt is named to go on from, and nothing of it is kept", hint="start at the failed step"
        )
    if how.release and how != How(release=True):
        raise UsageError("`release` only lets go what was reset: it takes nothing beside it")
    if how.repeats is not None and not 0 <= how.repeats < MOST_RUNS:
        raise BadValue(f"jobs cannot run {how.repeats + 1:,} times", hint=f"1 to {MOST_RUNS:,}")
    if how.repeats and how.hold is not None:
        raise UsageError("what is held does not run: it cannot be repeated")
    if how.again and how != How(again=True):
        raise UsageError("`again` is the last attempt as it was: it takes nothing beside it")


def how_to_json(how: How) -> dict[str, Any]:
    """What was asked, for the record; what was left at its default is left out, but for where to start."""
    asked: dict[str, Any] = {"from": how.start, "downstream": how.downstream}
    if how.definition != "latest":
        asked["definition"] = how.definition
    if how.hold is not None:
        asked["hold"] = how.hold
    if how.workdir is not None:
        asked["workdir"] = how.workdir
    if how.repeats is not None:
        asked["repeat"] = how.repeats + 1
    if how.attempt is not None:
        asked["attempt"] = how.attempt
    if how.recovery is not None:
        asked[f"{how.recovery}_recovery"] = True
    if how.subtasks is not None:
        asked["subtasks"] = list(how.subtasks) if isinstance(how.subtasks, tuple) else how.subtasks
    asked |= _overrides(how.overrides) if how.overrides is not None else {}
    flags = {
        "accept_partial": how.accept_partial,
        "keep_modified": how.keep_modified,
        "keep_outputs": how.keep_outputs,
        "undo_dynamic": how.undo_dynamic,
        "release": how.release,
        "cancel_running": how.cancel_running,
    }
    return asked | {name: True for name, on in flags.items() if on}


def _overrides(asked: Overrides) -> dict[str, Any]:
    given = {
        "set": dict(asked.params),
        "env": masked(asked.env),
        "memory": _amount(asked.memory),
        "time": _amount(asked.time),
        "cpus": asked.cpus,
    }
    return {name: value for name, value in given.items() if value not in (None, {})}


def _amount(amount: Amount | None) -> float | str | None:
    if amount is None:
        return None
    return amount.value if amount.factor is None else f"x{amount.factor:g}"
