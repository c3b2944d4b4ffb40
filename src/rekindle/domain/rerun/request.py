"""Rerun requests: the options of a rerun as they are typed, their validation, and their JSON form."""

from __future__ import annotations

import enum
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rekindle.domain.definition import DefinitionChoice
from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.overrides import Overrides
from rekindle.domain.texts.display import mask_env

if TYPE_CHECKING:
    from rekindle.domain.texts.quantities import Amount

FROM_BEGINNING = "beginning"


FROM_FAILED_STEP = "failed-step"


KEEP_MOST = "failed-step-or-beginning"
"""Start at the failed step if that is possible, else at the beginning."""


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
    """How the jobs of one selection are rerun: the options of `rekindle rerun`. The default runs each job again from
    its beginning, and every job that needs it.

    Args:
        start: Where a job starts: "beginning", "failed-step", "failed-step-or-beginning" (the failed step if that is
            possible), or the name of a step. Earlier steps are kept.
        downstream: The jobs that need the selected ones. "all" run again; with "changed" each runs again only if a
            result that it needs has changed; with "none" they stay as they are, and are stale.
        definition: "latest": the newest revision; "pinned": the definition of each job's earlier attempt. None: as the
            job's `definition` says.
        hold: Hold the jobs for this reason until they are released. None: do not hold them.
        workdir: The folder of a job with `workdir: attempt`: "new", a "copy" of the earlier attempt's, or the "same".
            None: new if the job starts at its beginning, else a copy.
        subtasks: The items that a resumed fan-out runs: "failed", "all", or their indexes, such as (0, 3, 4). None:
            the failed ones.
        accept_partial: Start after a failed fan-out, with the items that succeeded. The attempt is marked partial.
        keep_outputs: Save declared outputs with the earlier attempt before they are overwritten.
        recovery: "keep" makes the start the resume point of later plain reruns; "clear" drops an earlier one. None:
            leave it.
        undo_dynamic: Roll back the dynamic actions of the archived attempts.
        overrides: Other parameters, environment and resources for the next attempts.
        keep_modified: Keep the overrides of earlier reruns below the new ones.
        cancel_running: Cancel running jobs first. Otherwise they are refused.
        repeats: Run each job this many more times after the first, whatever the outcome, at most 9,999. None: once.
        attempt: Resume this attempt (id) of the job. None: the live attempt.

    Raises:
        BadValue: A value is not one of those above.
        UsageError: Options contradict each other.
    """

    start: str = FROM_BEGINNING
    downstream: Literal["all", "changed", "none"] = "all"
    definition: DefinitionChoice | None = None
    hold: str | None = None
    workdir: Literal["new", "copy", "same"] | None = None
    subtasks: Literal["failed", "all"] | tuple[int, ...] | None = None
    accept_partial: bool = False
    keep_outputs: bool = False
    recovery: Literal["keep", "clear"] | None = None
    undo_dynamic: bool = False
    overrides: Overrides | None = None
    keep_modified: bool = False
    cancel_running: bool = False
    repeats: int | None = None
    attempt: int | None = None

    def __post_init__(self) -> None:
        _check_values(self)


class InternalHow(How, frozen=True):
    """A How with what only rekindle itself requests."""

    mode: RequestMode = RequestMode.RERUN
    not_before: float | None = None  # the time before which a delayed retry does not start
    avoids: str | None = None  # the host of the failed attempt: not used while another host works


def mode_of(how: How) -> RequestMode:
    """Return which kind of rerun a request is."""
    return how.mode if isinstance(how, InternalHow) else RequestMode.RERUN


def is_automatic(how: How) -> bool:
    """Return whether rekindle started the rerun, not a user."""
    return mode_of(how) in (RequestMode.RESUME, RequestMode.REPEAT)


def resets_downstream(how: How) -> bool:
    """Return whether jobs downstream are reset. An automatic rerun follows an attempt that never completed, so no
    completed job has used its results. A release resets nothing."""
    return mode_of(how) is RequestMode.RERUN


MAX_RUNS = 10_000
"""The largest number of runs that a rerun may ask for."""


def check_how(how: How) -> None:
    """Raise UsageError for options that the kind of the request does not take."""
    mode = mode_of(how)
    if mode is RequestMode.RELEASE and how != InternalHow(mode=mode):
        raise UsageError("`release` only releases jobs that were reset: it takes no other option")
    if mode is RequestMode.REPEAT and how != InternalHow(mode=mode):
        raise UsageError("the last attempt is repeated as it was: this takes no other option")


_CHOICES: Mapping[str, tuple[str, tuple[str | None, ...]]] = {
    "downstream": ("downstream", ("all", "changed", "none")),
    "definition": ("the definition", ("latest", "pinned", None)),
    "workdir": ("the working directory", ("new", "copy", "same", None)),
    "recovery": ("the resume point", ("keep", "clear", None)),
}


def _check_values(how: How) -> None:
    """Raise UsageError for options that contradict each other, and BadValue for an invalid value."""
    for field, (shown, known) in _CHOICES.items():
        if (given := getattr(how, field)) not in known:
            words = [word for word in known if word]
            raise BadValue(f"{shown} cannot be {given!r}", hint=f"{', '.join(words[:-1])} or {words[-1]}")
    if not isinstance(how.start, str) or not how.start:
        raise BadValue(f"the start cannot be {how.start!r}", hint=f'"{FROM_BEGINNING}", "{FROM_FAILED_STEP}" or a step')
    if how.overrides is not None and not isinstance(how.overrides, Overrides):
        raise BadValue(f"the overrides cannot be {how.overrides!r:.60}", hint='Overrides(memory="8G")')
    if how.undo_dynamic and how.downstream == "none":
        raise UsageError(
            "--undo-dynamic does not go with --downstream none: actions may have added or changed what is below",
            hint="--downstream all or changed",
        )
    if how.attempt is not None and how.start == FROM_BEGINNING and how.workdir not in ("copy", "same"):
        raise UsageError(
            "an attempt to resume is named, but nothing of it would be kept", hint="start at the failed step"
        )
    if how.repeats is not None and not (type(how.repeats) is int and 0 <= how.repeats < MAX_RUNS):
        runs = f"{how.repeats + 1:,}" if type(how.repeats) is int else repr(how.repeats)
        raise BadValue(f"jobs cannot run {runs} times", hint=f"1 to {MAX_RUNS:,}")
    if how.repeats and how.hold is not None:
        raise UsageError("held jobs do not run, so they cannot be repeated")
    _check_subtasks(how.subtasks)


def _check_subtasks(given: object) -> None:
    if given is None or given in ("failed", "all"):
        return
    if not isinstance(given, tuple) or any(type(one) is not int or one < 0 for one in given):
        raise BadValue(f"the subtasks cannot be {given!r:.60}", hint='"failed", "all", or indexes: (0, 3, 4)')


class HowFlags(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from"}):
    """The options of a rerun by their names on the command line, and as a JSON document of the HTTP API."""

    start: str | None = None
    from_attempt: int | None = None
    downstream: Literal["all", "changed", "none"] = "all"
    definition: DefinitionChoice | None = None
    workdir: Literal["new", "copy", "same"] | None = None
    subtasks: Literal["failed", "all"] | Sequence[int] | None = None
    accept_partial: bool = False
    keep_recovery: bool = False
    clear_recovery: bool = False
    set: Mapping[str, Any] = {}
    env: Mapping[str, str] = {}
    memory: str | None = None
    time: str | None = None
    cpus: float | None = None
    keep_modified: bool = False
    keep_outputs: bool = False
    cancel_running: bool = False
    undo_dynamic: bool = False
    repeat: int | None = None


def parse_how(flags: HowFlags) -> How:
    """Return the How of the options. Raise UsageError for options that contradict each other, and BadValue for an
    amount that cannot be read."""
    start = flags.start
    if start is not None and start.startswith("-"):
        raise UsageError(f"--from takes beginning, failed-step or a step's name, not {start!r}")
    if flags.keep_recovery and flags.clear_recovery:
        raise UsageError("--keep-recovery and --clear-recovery contradict each other", hint="give one of them")
    if flags.keep_recovery and start == FROM_BEGINNING:
        raise UsageError(
            "--keep-recovery keeps a resume point, and --from beginning has none", hint="--from failed-step has"
        )
    clear = flags.clear_recovery or start == FROM_BEGINNING
    asked = Overrides(flags.set, flags.env, flags.memory, flags.time, flags.cpus)
    subtasks = flags.subtasks
    return How(
        start=start or FROM_BEGINNING,
        attempt=flags.from_attempt,
        downstream=flags.downstream,
        definition=flags.definition,
        workdir=flags.workdir,
        subtasks=subtasks if subtasks is None or isinstance(subtasks, str) else tuple(subtasks),
        accept_partial=flags.accept_partial,
        recovery="keep" if flags.keep_recovery else "clear" if clear else None,
        keep_modified=flags.keep_modified,
        undo_dynamic=flags.undo_dynamic,
        keep_outputs=flags.keep_outputs,
        cancel_running=flags.cancel_running,
        repeats=None if flags.repeat is None else flags.repeat - 1,
        overrides=None if asked == Overrides() else asked,
    )


def how_to_json(how: How) -> dict[str, Any]:
    """Return the request as JSON for the rerun record. Defaults are omitted, except `from` and `downstream`."""
    asked: dict[str, Any] = {"from": how.start, "downstream": how.downstream}
    if how.definition is not None:
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
        "release": mode_of(how) is RequestMode.RELEASE,
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
