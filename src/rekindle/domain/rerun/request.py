"""Rerun requests: the options of a rerun, their validation, and their JSON form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.overrides import Overrides, check_overrides
from rekindle.domain.texts.display import mask_env

if TYPE_CHECKING:
    from rekindle.domain.texts.quantities import Amount

FROM_BEGINNING = "beginning"


FROM_FAILED_STEP = "failed-step"


RESET_HOLD = "reset"
"""The hold reason of a job that was reset by hand. A restart releases jobs held for this reason."""


Workdir = Literal["project", "attempt"]
"""Where a job runs, as its spec says."""


FolderReuse = Literal["copy", "same"]
"""How an attempt takes over the folder of an earlier attempt."""


class How(msgspec.Struct, frozen=True):
    """The options of a rerun, for the jobs of one selection."""

    start: str = FROM_BEGINNING  # "beginning", "failed-step", or the name of a step
    downstream: Literal["all", "changed", "none"] = "all"
    # the latest revision, or the definition of each job's earlier attempt
    definition: Literal["latest", "pinned"] = "latest"
    hold: str | None = None  # hold the reset jobs for this reason until they are released
    release: bool = False  # only release jobs that were reset by hand: see RESET_HOLD
    workdir: Literal["new", "copy", "same"] | None = None  # None: new from the beginning, copy when steps are kept
    subtasks: Literal["failed", "all"] | tuple[int, ...] | None = None  # None: failed, if a fan-out is resumed
    accept_partial: bool = False  # start after the failed fan-out, with the subtasks that succeeded
    keep_outputs: bool = False  # save declared outputs with the attempt that made them
    recovery: Literal["keep", "clear"] | None = None  # keep the resume point for later plain reruns, or drop it
    undo_dynamic: bool = False  # roll back the dynamic actions of the archived attempts
    overrides: Overrides | None = None
    keep_modified: bool = False  # keep earlier overrides below the new ones
    again: bool = False  # repeat the last attempt: same start, same overrides (retries, recovery)
    not_before: float | None = None  # the time before which a delayed retry does not start
    avoids: str | None = None  # the host of the failed attempt: not used while another host works
    cancel_running: bool = False  # cancel running jobs before they are reset
    repeats: int | None = None  # how many more times each job runs, whatever the outcome; None: not repeated
    attempt: int | None = None  # resume this attempt of the job; None: the live attempt
    automatic: bool = False  # started by rekindle, not a user: completed downstream jobs are kept


MAX_RUNS = 10_000
"""The largest number of runs that a rerun may ask for."""


def check_how(how: How) -> None:
    """Raise UsageError for options that contradict each other, and BadValue for an invalid value."""
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
            "an attempt to resume is named, but nothing of it would be kept", hint="start at the failed step"
        )
    if how.release and how != How(release=True):
        raise UsageError("`release` only releases jobs that were reset: it takes no other option")
    if how.repeats is not None and not 0 <= how.repeats < MAX_RUNS:
        raise BadValue(f"jobs cannot run {how.repeats + 1:,} times", hint=f"1 to {MAX_RUNS:,}")
    if how.repeats and how.hold is not None:
        raise UsageError("held jobs do not run, so they cannot be repeated")
    if how.again and how != How(again=True):
        raise UsageError("`again` repeats the last attempt: it takes no other option")


def how_to_json(how: How) -> dict[str, Any]:
    """Return the request as JSON for the rerun record. Defaults are omitted, except `from` and `downstream`."""
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
        "env": mask_env(asked.env),
        "memory": _amount(asked.memory),
        "time": _amount(asked.time),
        "cpus": asked.cpus,
    }
    return {name: value for name, value in given.items() if value not in (None, {})}


def _amount(amount: Amount | None) -> float | str | None:
    if amount is None:
        return None
    return amount.value if amount.factor is None else f"x{amount.factor:g}"


Requests = Sequence[tuple[Sequence[int], How]]
"""Jobs, each list with the options of its rerun."""


Downstream = Literal["all", "changed", "none"]


def downstream_by_job(requests: Requests) -> dict[int, Downstream]:
    """Return the downstream option of each requested job that resets its descendants.

    Automatic reruns are omitted: the repeated attempt never completed, so completed descendants did not use it.
    Releases reset nothing."""
    return {
        job: how.downstream for jobs, how in requests if not (how.again or how.automatic or how.release) for job in jobs
    }


def jobs_with_cancel(requests: Requests) -> set[int]:
    """Return the requested jobs whose rerun cancels running jobs."""
    return {job for jobs, how in requests if how.cancel_running for job in jobs}
