"""Pilots: batch jobs of another engine that each run a runner on the jobs of a store.

The files of each submission are in the store's spool, in `pilots/TOKEN`: the script, the handle, and what the engine
writes. The token is in the name of the engine's job too, so that a submission that was cut off is found again."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import ExecutorError, Refused
from rekindle.domain.packing import Capacity
from rekindle.domain.pilots import PilotAdvice, ReadyGroup, advise
from rekindle.domain.states import ACTIVE
from rekindle.engine.allocation import GRACE_SECONDS
from rekindle.engine.api_tokens import new_token
from rekindle.engine.pilot_client import write_token
from rekindle.executors.placement import Batch, Phase, Seen
from rekindle.files.store_files import make_folder, write_file
from rekindle.journal.encoding import json_reader, to_json
from rekindle.store.database import NO_LIMIT

if TYPE_CHECKING:
    from rekindle.domain.models import ReadyJob
    from rekindle.engine.session import Session
    from rekindle.executors.placement import Placement
    from rekindle.store.archive import Snapshot

SERVER_VARIABLE = "REKINDLE_SERVER"
"""The environment variable with the URL of a store's server."""

FOLDER = "pilots"
"""The folder in the spool that holds those of submissions."""

_SCRIPT, _HANDLE, _TOKEN = "pilot.sh", "handle.json", "token"


class PilotOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What pilots are asked for. None: as much as the ready jobs ask for, and the time that the engine gives."""

    count: int | None = None  # None: as many as are of use
    workflow: int | None = None  # None: all
    cpus: int | None = None
    memory: int | None = None  # bytes
    gpus: int | None = None
    seconds: float | None = None
    grace: float = GRACE_SECONDS
    options: tuple[str, ...] = ()  # further ones of the engine
    work: tuple[str, ...] = ()  # further words of `rekindle work`
    command: tuple[str, ...] = ()  # words of rekindle to run in place of `work …`
    before: str = ""  # lines of the script before that
    server: str | None = None  # the URL of `rekindle serve`; None: pilots open the store


class PlannedPilots(msgspec.Struct, frozen=True):
    """Pilots that can be submitted. `script` is what each runs."""

    batch: Batch
    script: str
    advice: PilotAdvice
    server: bool = False  # they work for a server, with a token of their own


class SubmittedPilots(msgspec.Struct, frozen=True):
    """Pilots that were submitted together. `handle` is None if the submission was cut off and is not found."""

    token: str
    handle: str | None
    count: int
    seen: tuple[Seen, ...] = ()


class _Handle(msgspec.Struct):
    """The content of the file beside the script."""

    count: int
    handle: str | None = None


_read_handle = json_reader(_Handle)


def slurm_placement() -> Placement:
    """Return the placement that pilots are submitted to."""
    from rekindle.executors.slurm import SlurmPlacement

    return SlurmPlacement()


def sbatch_command(batch: Batch) -> str:
    """Return the command line that submits a batch to Slurm."""
    from rekindle.executors.slurm import sbatch_arguments

    return shlex.join(sbatch_arguments(batch))


def plan_pilots(session: Session, options: PilotOptions) -> PlannedPilots:
    """Return the pilots to submit, and how many would be of use. Raise Refused if other hosts cannot open the store,
    and no server is named."""
    if options.server is None and not session.store.is_on_server:
        raise Refused(
            f"the rows of {session.store.name} are in a file, which runners on other hosts cannot share",
            hint=f"`rekindle serve` here, and its URL in ${SERVER_VARIABLE}; or `rekindle store copy` to PostgreSQL",
        )
    with session.store.read() as archive:
        groups = _ready_groups(archive, options.workflow)
    cpus = options.cpus or max([1, *(math.ceil(one.resources.cpus) for one in groups)])
    memory = options.memory or max([0, *(_memory_of_full(one, cpus) for one in groups)])
    gpus = options.gpus if options.gpus is not None else max([0, *(one.resources.gpus for one in groups)])
    seconds = None if options.seconds is None else max(0.0, options.seconds - options.grace)
    advice = advise(groups, Capacity(float(cpus), memory or sys.maxsize, gpus, seconds=seconds))
    token = os.urandom(8).hex()
    folder = Path(session.store.folder, FOLDER, token)
    batch = Batch(
        token=token,
        name=f"rk-pilot-{session.store.identity[:8]}-{token}",
        argv=("/bin/sh", str(folder / _SCRIPT)),
        elements=options.count or max(1, advice.useful),
        folder=str(folder),
        cpus=cpus,
        memory=memory,
        gpus=gpus,
        seconds=options.seconds,
        # Slurm's signal is of use where the end of the job moves; it goes to the shell, which is the runner by then.
        options=(f"--signal=B:TERM@{math.ceil(options.grace)}", *options.options),
    )
    return PlannedPilots(batch, _script(session, options, batch.folder), advice, options.server is not None)


def submit_pilots(session: Session, planned: PlannedPilots, placement: Placement) -> str:
    """Submit pilots, and return the engine's handle. Their folder is there before the engine knows them."""
    batch = planned.batch
    make_folder(batch.folder)
    write_file(f"{batch.folder}/{_SCRIPT}", planned.script)
    if planned.server:
        write_token(f"{batch.folder}/{_TOKEN}", new_token(session, ["pilot"]))
    note = _Handle(batch.elements)
    write_file(f"{batch.folder}/{_HANDLE}", to_json(note).decode())
    note.handle = placement.submit(batch)
    write_file(f"{batch.folder}/{_HANDLE}", to_json(note).decode())
    with session.store.write() as archive:
        archive.events.add(session.clock(), "pilots", None, {"token": batch.token, "pilots": batch.elements})
    return note.handle


def list_pilots(session: Session, placement: Placement) -> list[SubmittedPilots]:
    """Return the submissions of the store, oldest first, with what the engine says of each pilot."""
    notes = _notes(session)
    if missing := [token for token, note in notes.items() if note.handle is None]:
        for token, handle in placement.adopt(missing).items():
            notes[token].handle = handle
    handles = [note.handle for note in notes.values() if note.handle is not None]
    seen: dict[str, list[Seen]] = {}
    for one in placement.poll(handles) if handles else ():
        seen.setdefault(one.handle, []).append(one)
    return [
        SubmittedPilots(token, note.handle, note.count, tuple(seen.get(note.handle or "", ())))
        for token, note in notes.items()
    ]


def cancel_pilots(session: Session, placement: Placement, *, queued: bool, job: str | None = None) -> int:
    """Cancel the store's pilots, or only those that have not started, or those of one submission (`job`: its id in the
    engine), and return their number. A running one that is canceled ends as at the end of its time."""
    phases = (Phase.PENDING,) if queued else (Phase.PENDING, Phase.RUNNING)
    wanted: dict[str, list[int]] = {}
    for pilots in list_pilots(session, placement):
        for one in pilots.seen:
            if one.phase in phases and job in (None, one.handle.partition(":")[0]):
                wanted.setdefault(one.handle, []).append(one.element)
    if wanted:
        placement.cancel(wanted)
    return sum(map(len, wanted.values()))


def cancel_unneeded(session: Session, note: Callable[[str], None]) -> None:
    """Cancel the queued pilots if nothing is left for them. If that fails, `note` receives the reason: they then start,
    and end by themselves."""
    if needs_pilots(session):
        return
    try:
        cancel_pilots(session, slurm_placement(), queued=True)
    except ExecutorError as error:
        note(f"queued pilots are not canceled: {error.message}")


def needs_pilots(session: Session) -> bool:
    """Return whether jobs are ready, or may become so: a runner has some, or a retry is delayed."""
    with session.store.read() as archive:
        counts = archive.workflows.total_counts()
        return bool(
            any(counts.get(state) for state in ACTIVE)
            or archive.queue.ready(None, 1)
            or archive.queue.next_due(None, 0.0) is not None
        )


def _notes(session: Session) -> Mapping[str, _Handle]:
    """Return the notes of submissions by token, oldest first."""
    files = sorted(Path(session.store.folder, FOLDER).glob(f"*/{_HANDLE}"), key=lambda path: path.stat().st_mtime)
    return {path.parent.name: _read_handle(path.read_bytes()) for path in files}


def _ready_groups(archive: Snapshot, workflow: int | None) -> list[ReadyGroup]:
    jobs: dict[tuple[int, int], list[ReadyJob]] = {}
    for job in archive.queue.ready(workflow, NO_LIMIT):
        jobs.setdefault((job.template, job.resource_class), []).append(job)
    resources = archive.jobs.resources({number for _, number in jobs})
    seconds = archive.statistics.durations_of_templates({template for template, _ in jobs})
    return [
        ReadyGroup(alike[0].name, len(alike), resources[number], seconds.get(template))
        for (template, number), alike in jobs.items()
    ]


def _memory_of_full(group: ReadyGroup, cpus: int) -> int:
    """Return the memory of as many jobs as these cpus are enough for."""
    asked = group.resources
    return asked.memory * max(1, int(cpus / asked.cpus) if asked.cpus else cpus)


def _script(session: Session, options: PilotOptions, folder: str) -> str:
    """Return the script of a pilot. The runner takes the place of the shell, so that it gets the engine's signals."""
    place = ["--store", session.store.name] if options.server is None else []
    words = ["work", "--pilot", "--grace", f"{options.grace:g}s"]
    if options.server is not None:
        words += ["--server", options.server, "--token-file", f"{folder}/{_TOKEN}"]
    if options.workflow is not None:
        words += ["--workflow", str(options.workflow)]
    command = shlex.join(
        [sys.executable, "-P", "-m", "rekindle", *place, *(options.command or (*words, *options.work))]
    )
    about = "# A pilot of rekindle: a runner for ready jobs, until its allocation ends."
    return "\n".join(filter(None, ["#!/bin/sh", about, options.before, f"exec {command}", ""])) + "\n"
