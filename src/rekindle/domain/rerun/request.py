"""Rerun requests: the options of a rerun, their validation, and their JSON form."""

from __future__ import annotations

import enum
from collections.abc import Container, Iterable, Mapping
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


class RequestMode(enum.StrEnum):
    """Which kind of rerun a request is."""

    RERUN = "rerun"  # as a user asked for
    RELEASE = "release"  # only release jobs that were reset by hand: see RESET_HOLD
    RESUME = "resume"  # started by rekindle after a failure: as asked for, but completed jobs downstream are kept
    REPEAT = "repeat"  # started by rekindle: the last attempt again, with the same start and overrides


class How(msgspec.Struct, frozen=True):
    """The options of a rerun, for the jobs of one selection."""

    start: str = FROM_BEGINNING  # "beginning", "failed-step", or the name of a step
    downstream: Literal["all", "changed", "none"] = "all"
    # the latest revision, or the definition of each job's earlier attempt
    definition: Literal["latest", "pinned"] = "latest"
    hold: str | None = None  # hold the reset jobs for this reason until they are released
    workdir: Literal["new", "copy", "same"] | None = None  # None: new from the beginning, copy when steps are kept
    subtasks: Literal["failed", "all"] | tuple[int, ...] | None = None  # None: failed, if a fan-out is resumed
    accept_partial: bool = False  # start after the failed fan-out, with the subtasks that succeeded
    keep_outputs: bool = False  # save declared outputs with the attempt that made them
    recovery: Literal["keep", "clear"] | None = None  # keep the resume point for later plain reruns, or drop it
    undo_dynamic: bool = False  # roll back the dynamic actions of the archived attempts
    overrides: Overrides | None = None
    keep_modified: bool = False  # keep earlier overrides below the new ones
    not_before: float | None = None  # the time before which a delayed retry does not start
    avoids: str | None = None  # the host of the failed attempt: not used while another host works
    cancel_running: bool = False  # cancel running jobs before they are reset
    repeats: int | None = None  # how many more times each job runs, whatever the outcome; None: not repeated
    attempt: int | None = None  # resume this attempt of the job; None: the live attempt
    mode: RequestMode = RequestMode.RERUN

    @property
    def automatic(self) -> bool:
        """Whether rekindle started the rerun, not a user."""
        return self.mode in (RequestMode.RESUME, RequestMode.REPEAT)

    @property
    def resets_downstream(self) -> bool:
        """Whether jobs downstream are reset. An automatic rerun follows an attempt that never completed, so no
        completed job has used its results. A release resets nothing."""
        return self.mode is RequestMode.RERUN


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
    if how.mode is RequestMode.RELEASE and how != How(mode=RequestMode.RELEASE):
        raise UsageError("`release` only releases jobs that were reset: it takes no other option")
    if how.repeats is not None and not 0 <= how.repeats < MAX_RUNS:
        raise BadValue(f"jobs cannot run {how.repeats + 1:,} times", hint=f"1 to {MAX_RUNS:,}")
    if how.repeats and how.hold is not None:
        raise UsageError("held jobs do not run, so they cannot be repeated")
    if how.mode is RequestMode.REPEAT and how != How(mode=RequestMode.REPEAT):
        raise UsageError("the last attempt is repeated as it was: this takes no other option")


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
        "release": how.mode is RequestMode.RELEASE,
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


Downstream = Literal["all", "changed", "none"]


class Requests(msgspec.Struct, frozen=True):
    """The requested jobs, in order, each with its options."""

    hows: Mapping[int, How]
    conflicts: Mapping[int, str] = msgspec.field(default_factory=dict)  # job -> why its options are not clear

    def by_how(self) -> Iterable[tuple[How, list[int]]]:
        """Return the jobs of each list of jobs that was requested with the same options."""
        found: dict[int, tuple[How, list[int]]] = {}
        for job, how in self.hows.items():
            found.setdefault(id(how), (how, []))[1].append(job)
        return found.values()

    def without(self, jobs: Container[int]) -> Requests:
        """Return the requests of all other jobs."""
        return Requests({job: how for job, how in self.hows.items() if job not in jobs}, self.conflicts)


def normalize_requests(pairs: Iterable[tuple[Iterable[int], How]]) -> Requests:
    """Return the requests of lists of jobs, each list with its options. A job with several options has the first of
    them, and a conflict."""
    asked: dict[int, list[How]] = {}
    for jobs, how in pairs:
        for job in jobs:
            hows = asked.setdefault(job, [])
            if how not in hows:
                hows.append(how)
    conflicts = {job: _explain_conflict(hows) for job, hows in asked.items() if len(hows) > 1}
    return Requests({job: hows[0] for job, hows in asked.items()}, conflicts)


def _explain_conflict(hows: Iterable[How]) -> str:
    starts = sorted({f"from {how.start}" for how in hows})
    ways = f", {' and '.join(starts)}" if len(starts) > 1 else ""
    return f"it is requested in different ways{ways}: name one"
