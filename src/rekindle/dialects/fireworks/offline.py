"""Launches for processes without the store: reserved here, set up in a folder, run there, and recovered here.

A launch folder holds FW.json (the firework), FW_offline.json (the launch, its order and what became of it) and the
folder FW_offline with the journal, from which the launch is recovered, and the logs."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rekindle.dialects.fireworks.flow import date_text
from rekindle.dialects.fireworks.fw_documents import firework_documents, firework_name
from rekindle.dialects.fireworks.fw_states import launch_state
from rekindle.dialects.fireworks.queries import fireworks_predicate
from rekindle.dialects.fireworks.spec_changes import EMPTY_ACTION, combined_action
from rekindle.domain.errors import BadValue, NotFound, RekindleError
from rekindle.domain.models import GivenFolder
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries
from rekindle.engine.running.detached import (
    DetachedOrder,
    collect,
    detached_attempts,
    expect_journal,
    fail,
    journal_folders,
    last_sign,
    release,
    reservations,
    reserve,
)
from rekindle.engine.running.detached_run import DetachedEnd, run

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, ReadyJob
    from rekindle.engine.session import Session

FIREWORK_FILE, OFFLINE_FILE, PING_FILE = "FW.json", "FW_offline.json", "FW_ping.json"
"""FireWorks' files in the folder of an offline launch."""

FORGOTTEN = "it was forgotten: its result is not expected any more"
"""Why a launch ended that was given up."""

_FOLDER = "FW_offline"
_ORDER = "order"


def reserve_firework(
    session: Session, query: Mapping[str, Any], fworker: str, directory: Path, firework: int | None = None
) -> DetachedOrder | None:
    """Reserve the first ready firework that matches a filter, or `firework`, to be launched in `directory`. Returns
    None if there is none. `fworker`: the name of the fworker that will launch it."""
    wanted = query if firework is None else {"fw_id": firework}

    def place(job: ReadyJob, attempt: int, _: float) -> GivenFolder:
        if job.next.take == "copy":  # is never mixed with other files
            return GivenFolder(str(directory / f"launch_{attempt}"), shared=False)
        return GivenFolder(str(directory), shared=True)

    return reserve(session, fireworks_predicate(wanted), place, fworker)


def set_up(session: Session, order: DetachedOrder, directory: Path) -> None:
    """Write the files of an offline launch into a folder, and expect its journal there."""
    one = order.assignment
    attempt = job_queries.attempt(session, one.attempt)
    (document,) = firework_documents(session, [one.job])
    expect_journal(session, attempt, str(directory / _FOLDER))
    _write_json(directory / FIREWORK_FILE, document)
    _write_json(directory / OFFLINE_FILE, {"launch_id": one.attempt, _ORDER: msgspec.to_builtins(order)})


def run_offline(directory: Path) -> DetachedEnd:
    """Run the launch that is set up in a folder, there and without any store. What becomes of it is in its journal, and
    in FW_offline.json for scripts that read that."""
    path = directory / OFFLINE_FILE
    known = _read_offline_file(path)
    try:
        order = msgspec.convert(known.get(_ORDER), DetachedOrder)
    except msgspec.ValidationError as error:
        raise BadValue(f"{path} has no order: {error}", hint="`lpad reserve` writes it") from None

    def ping() -> None:
        with contextlib.suppress(OSError):  # the journal alone decides
            _write_json(directory / PING_FILE, {"ping_time": date_text(time.time())})

    with contextlib.suppress(OSError):
        _write_json(path, {**known, "started_on": date_text(time.time())})
    done = run(order, str(directory / _FOLDER), str(directory), ping)
    ping()
    with contextlib.suppress(OSError):
        _write_json(path, {**_read_offline_file(path), **_outcome(done)})
    return done


def offline_folders(directory: Path) -> list[Path]:
    """Return the folders at and below `directory`, in order of their names, in which a launch is set up that has not
    begun."""
    every = [directory, *sorted(one for one in directory.iterdir() if one.is_dir())]
    return [
        one
        for one in every
        if (one / OFFLINE_FILE).is_file() and "started_on" not in _read_offline_file(one / OFFLINE_FILE)
    ]


def printed_output(directory: Path, stream: Literal["out", "err"]) -> str:
    """Return what the tasks of the launch in a folder printed, in their order."""
    found = (directory / _FOLDER).glob(f"*.{stream}")
    every = sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in every)


def _read_offline_file(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(
            f"there is no {path.name} in {path.parent}: no launch is set up there",
            hint="`lpad reserve` sets one up; go to its folder",
        ) from None
    except (OSError, ValueError) as error:
        raise RekindleError(f"{path} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def _outcome(done: DetachedEnd) -> dict[str, Any]:
    """Return the keys of FW_offline.json that say how a launch ended."""
    ended = done.ended
    if ended is None:
        return {}
    action = {**EMPTY_ACTION, **combined_action(done.steps)}
    if ended.state is not State.COMPLETED:
        failure = ended.failure
        trace = "" if failure is None else failure.traceback or failure.message
        said = {"_message": "runtime error during task", "_exception": {"_stacktrace": trace, "_details": None}}
        action |= {"stored_data": {**action["stored_data"], **said}, "exit": True}
    return {"state": launch_state(ended.state), "completed_on": date_text(ended.ended), "fwaction": action}


def _write_json(path: Path, document: object) -> None:
    """Write a file that others may read meanwhile."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(document, indent=4, ensure_ascii=False), encoding="utf-8")
    new.replace(path)


def offline_launches(
    session: Session, fireworks: Collection[int] | None = None, fworker: str | None = None
) -> list[Attempt]:
    """Return the reserved and offline launches that have not ended: of some fireworks, or of one fworker."""
    found = detached_attempts(session)
    names = job_queries.runner_names(session, found)
    return [
        one
        for one in found
        if (fireworks is None or one.job in fireworks) and (fworker is None or names.get(one.runner or 0) == fworker)
    ]


def queue_ids(session: Session) -> dict[int, str]:
    """Return, by firework, the id that a queue has given to the job of its live launch."""
    found = reservations(session)
    jobs = sorted({job for job, _ in found.values()})
    live = job_queries.attempts(session, jobs, live=True) if jobs else []
    return {one.job: found[one.id][1] for one in live if one.id in found}


def silent_launches(session: Session, seconds: float) -> list[Attempt]:
    """Return the offline launches, and those of scripts, that run and have given no sign of life for this long."""
    latest = session.clock() - seconds
    running = [one for one in offline_launches(session) if one.state is State.RUNNING]
    return [one for one in running if max(last_sign(session, one), _ping_time(session, one)) <= latest]


def _folder_of(session: Session, launch: Attempt) -> Path | None:
    """Return the folder in which an offline launch is set up; None: a script runs it."""
    folder = journal_folders(session).get(launch.id)
    return None if folder is None else folder.parent


def _ping_time(session: Session, launch: Attempt) -> float:
    folder = _folder_of(session, launch)
    try:
        return 0.0 if folder is None else (folder / PING_FILE).stat().st_mtime
    except OSError:
        return 0.0


def end_reservations(session: Session, fireworks: Collection[int]) -> None:
    """Give back the launches of fireworks that were reserved and have not started: they are launched otherwise."""
    reserved = [one.id for one in offline_launches(session, fireworks) if one.state is State.QUEUED]
    if reserved:
        release(session, reserved, "it was launched otherwise", running=False)


class Recovered(msgspec.Struct, frozen=True):
    """The fireworks whose launches have ended since, those whose launches run, and the launches that cannot be
    recovered, each with its firework and the reason."""

    ended: tuple[int, ...]
    running: tuple[int, ...]
    failed: tuple[tuple[int, int, str], ...]


def recover(session: Session, launches: Sequence[Attempt], *, ignore_errors: bool) -> Recovered:
    """Record what the journals of offline launches say. A launch that still runs stays as it is.

    One whose files are gone, and that has not started, is FIZZLED unless `ignore_errors`. One whose journal cannot be
    read is left for a later call."""
    jobs = {one.id: one.job for one in launches}
    found, folders = collect(session, jobs.keys()), journal_folders(session)
    gone = {}
    for launch in found.unstarted:
        folder = folders[launch].parent if launch in folders else None
        if folder is not None and folder.parent.is_dir() and not (folder / OFFLINE_FILE).exists():
            gone[launch] = f"it can never start: there is no {OFFLINE_FILE} in {folder}"
    if not ignore_errors:
        for launch, why in gone.items():
            fail(session, [launch], why)
    failed = {**found.unreadable, **gone}
    return Recovered(
        tuple(jobs[one] for one in found.ended),
        tuple(jobs[one] for one in found.running),
        tuple((one, jobs[one], why) for one, why in sorted(failed.items())),
    )


def offline_runs(session: Session) -> list[dict[str, Any]]:
    """Return the offline launches that have not ended, as FireWorks' collection `offline_runs` has them."""
    launches = detached_attempts(session, journal_folders(session).keys())
    jobs = {row.job.id: row.job for row in job_queries.jobs(session, [one.job for one in launches])}
    return [
        {
            "fw_id": one.job,
            "launch_id": one.id,
            "name": firework_name(jobs[one.job]),
            "created_on": date_text(one.queued or 0.0),
            "updated_on": date_text(last_sign(session, one)),
            "deprecated": False,
            "completed": False,
        }
        for one in launches
    ]
