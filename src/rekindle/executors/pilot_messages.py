"""What a pilot and its server say to each other over HTTP, in JSON.

A pilot opens once and then exchanges: it reports what has happened, and gets commands. Commands are numbered. The
server repeats those that the pilot has not acknowledged, and the pilot carries each out once, in order. What the pilot
reports may arrive twice, which changes nothing. Journals, logs and outputs are in the spool, which both see."""

from __future__ import annotations

import msgspec

from rekindle.journal.encoding import json_reader
from rekindle.journal.orders import Assignment, TaskTemplate

PILOTS = "/api/v1/pilots"
"""The path that opens a pilot. `PILOTS/ID/exchange` is that of its exchanges."""

POLL_SECONDS = 20.0
"""How long the server holds an exchange that has nothing to say."""


class OpenPilot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pilot's first message: its capacity, and what it is for."""

    host: str
    name: str  # of its allocation
    slots: int
    cpus: int
    memory: int  # bytes
    gpus: int = 0
    seconds: float | None = None  # until its processes are killed; None: no end is known
    grace: float = 0.0
    workflow: str | None = None  # None: all
    watch: bool = False
    cancels: bool = False  # at its end, queued pilots are canceled if nothing is left for them


class PilotOpened(msgspec.Struct, frozen=True):
    """The answer: the pilot's id, and the absolute path of the spool."""

    pilot: str
    spool: str
    identity: str  # of the store: a file in the spool shows that it is the same


class OpenWorker(msgspec.Struct, tag="open", frozen=True):
    """Start a worker with this name."""

    worker: str


class AssignWork(msgspec.Struct, tag="assign", frozen=True):
    """Give work to a worker, with the task templates that it does not have."""

    worker: str
    tasks: tuple[TaskTemplate, ...]
    work: tuple[Assignment, ...]


class CancelWork(msgspec.Struct, tag="cancel", frozen=True):
    """Cancel attempts."""

    worker: str
    tokens: tuple[str, ...]
    allocation: str = ""


class RecallWork(msgspec.Struct, tag="recall", frozen=True):
    """Ask a worker for what it has not started."""

    worker: str


class RetireWorker(msgspec.Struct, tag="retire", frozen=True):
    """Ask a worker to finish its running attempt and exit."""

    worker: str


class LeaveWorkers(msgspec.Struct, tag="leave", frozen=True):
    """Retire all workers."""


class CloseWorkers(msgspec.Struct, tag="close", frozen=True):
    """Stop all workers, and kill those that have not ended after `grace` seconds."""

    grace: float


class Done(msgspec.Struct, tag="done", frozen=True):
    """The run has ended: the pilot exits with this code after its workers have ended."""

    exit_code: int
    summary: str


Command = OpenWorker | AssignWork | CancelWork | RecallWork | RetireWorker | LeaveWorkers | CloseWorkers | Done


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An exchange from the pilot's side."""

    acknowledged: int = 0  # the last command that it has carried out
    gone: tuple[str, ...] = ()  # workers that have ended, and whose journals are complete
    terminated: bool = False  # its batch system has announced its end
    trouble: str = ""  # a worker cannot start, or cannot write its journal
    wait: bool = False  # hold the answer until there is a command


class Commands(msgspec.Struct, frozen=True):
    """The answer: commands from number `first` on."""

    first: int
    commands: tuple[Command, ...]


read_pilot_opened = json_reader(PilotOpened)
read_commands = json_reader(Commands)
