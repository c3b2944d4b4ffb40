"""Checks of the store: its rows, its folder, its disk, its runners and its clock."""

from __future__ import annotations

import os
from pathlib import Path

from rekindle.domain.errors import RekindleError, missing_extra
from rekindle.domain.texts.quantities import format_duration, format_size
from rekindle.engine.doctor.findings import Finding, Installation, Status, not_used, ok
from rekindle.engine.presence import Presence, presence
from rekindle.files.store_files import database_of, is_open_to_others, is_shared
from rekindle.store.health import ServerFacts, StoreFacts, find_damage, read_facts, read_server
from rekindle.store.opening import NETWORKED, file_system, folder_of, is_in_postgres, rows_folder

_LEAST_BYTES, _FEW_BYTES = 64 << 20, 1 << 30
_LEAST_FILES, _FEW_FILES = 1_000, 20_000

_SKEW_SECONDS = 5.0
"""Differences between clocks that nobody needs to mend."""

NO_STORE = "there is no store yet"
UNREAD = "the store cannot be read"
_MAKE = "rekindle run SPEC"


def check_store(place: Installation) -> Finding:
    """Check the file of a store in SQLite, and its version."""
    if place.location is None:
        return not_used(f"{NO_STORE} at or above {place.folder}", _MAKE)
    if is_in_postgres(place.location):
        return not_used("its rows are in PostgreSQL: see postgresql")
    folder = rows_folder(place.location)
    facts = place.once("store", lambda: read_facts(folder))
    if damage := find_damage(folder):
        return Finding(Status.PROBLEM, f"{folder} is damaged: {damage}", "rekindle store check --deep")
    if facts.version < facts.newest:
        text = f"{folder} has version {facts.version}; the next command upgrades it to {facts.newest}"
        return Finding(Status.WARNING, text, "rekindle status")
    number = f"{facts.workflows:,} workflow{'' if facts.workflows == 1 else 's'}"
    return ok(f"{folder} is sound (version {facts.version}): {number}")


def server_url(location: str) -> str:
    """Return the URL of a store in PostgreSQL, which a spool names."""
    return location if "://" in location else database_of(folder_of(location)) or location


def _facts(place: Installation) -> StoreFacts | None:
    """Return what is known of the store in either database; None if there is none, or it cannot be read."""
    location = place.location
    if location is None:
        return None
    try:
        if is_in_postgres(location):
            return server_facts(place).store
        return place.once("store", lambda: read_facts(rows_folder(location)))
    except RekindleError:
        return None  # the checks `store` and `postgresql` say so


def server_facts(place: Installation) -> ServerFacts:
    """Return what is known of the database server."""
    location = place.location or ""
    try:
        return place.once("server", lambda: read_server(server_url(location), place.clock()))
    except ModuleNotFoundError as error:
        raise missing_extra(error, "a store in PostgreSQL", "postgres") from None


def _spool(place: Installation) -> Path | None:
    """Return the folder with journals and attempts' folders, if there is one."""
    facts = _facts(place)
    return Path(facts.spool) if facts is not None and facts.spool else None


def check_permissions(place: Installation) -> Finding:
    """Check who may read and write the store's folder."""
    folder = _spool(place)
    if folder is None:
        return not_used(NO_STORE if place.location is None else UNREAD)
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(Status.WARNING, f"{folder} cannot be written by this user: it can only look", f"ls -ld {folder}")
    if is_open_to_others(folder) and not is_shared(folder):
        todo = f"chmod 700 {folder}"
        return Finding(Status.WARNING, f"other users may read {folder}, with the logs and variables of jobs", todo)
    return ok(f"{folder} is {'shared with its group' if is_shared(folder) else 'private to this user'}")


def check_file_system(place: Installation) -> Finding:
    """Check that SQLite's file is not on a file system that several hosts use."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return not_used("/proc/self/mountinfo cannot be read, so the file system is not known")
    on_server = place.location is not None and is_in_postgres(place.location)
    folder = place.folder if place.location is None or on_server else rows_folder(place.location)
    kind = file_system(folder.resolve(), mounts) or "unknown"
    if kind not in NETWORKED:
        return ok(f"{folder} is on a local file system ({kind})")
    if on_server:
        return ok(f"{folder} is on {kind}; rows are on the server")
    text = f"{folder} is on a network file system ({kind}): SQLite's log is not safe there"
    return Finding(Status.PROBLEM, text, "export REKINDLE_STORE=/a/local/folder")


def check_disk(place: Installation) -> Finding:
    """Check the free space and the free inodes of the disk."""
    folder = _spool(place) or place.folder
    found = os.statvfs(folder)
    free, files = found.f_bavail * found.f_frsize, found.f_favail
    return judge_disk(folder, free, files if found.f_files else None)


def judge_disk(folder: Path, free: int, files: int | None) -> Finding:
    """Return whether the free bytes and inodes suffice. None: the file system makes inodes as they are needed."""
    text = f"{format_size(free)} free at {folder}" + ("" if files is None else f", {files:,} more files")
    todo = f"df -h {folder}; df -i {folder}"
    if free < _LEAST_BYTES or (files is not None and files < _LEAST_FILES):
        return Finding(Status.PROBLEM, text, todo)
    if free < _FEW_BYTES or (files is not None and files < _FEW_FILES):
        return Finding(Status.WARNING, text, todo)
    return ok(text)


def check_runners(place: Installation) -> Finding:
    """Check whether runners are alive, and whether dead ones have left attempts."""
    facts = _facts(place)
    if facts is None:
        return not_used(NO_STORE if place.location is None else UNREAD)
    conditions = [(one, presence(one, place.clock())) for one in facts.runners]
    dead = [one for one, condition in conditions if condition is not Presence.ALIVE]
    alive = len(conditions) - len(dead)
    if dead:
        first = dead[0]
        more = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
        text = f"runner {first.id} (pid {first.pid} on {first.host}){more} died, and nobody has its attempts"
        return Finding(Status.WARNING, text, "rekindle work")
    return ok(f"{alive} alive" if alive else "none is alive, and none has left anything")


def check_clock(place: Installation) -> Finding:
    """Compare the clock with that of the database server, and with the times in the store."""
    now = place.clock()
    if place.location is None:
        return not_used(NO_STORE)
    if is_in_postgres(place.location):
        ahead = server_facts(place).ahead
        if abs(ahead) > _SKEW_SECONDS:
            word = "behind" if ahead > 0 else "ahead of"
            text = f"this clock is {format_duration(abs(ahead))} {word} that of the database server"
            return Finding(Status.WARNING, text, "timedatectl set-ntp true")
        return ok("equals that of the database server")
    facts = _facts(place)
    if facts is None:
        return not_used(UNREAD)
    last = facts.last_event
    if last is not None and last - now > _SKEW_SECONDS:
        text = f"this clock is {format_duration(last - now)} behind the last event of the store: it was set back"
        return Finding(Status.WARNING, text, "timedatectl set-ntp true")
    return ok("not behind the store's last event")
