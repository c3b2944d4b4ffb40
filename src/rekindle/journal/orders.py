"""Orders that an executor sends to a worker: one JSON document a line on the worker's stdin. The worker reports a
failing disk on the pipe that wakes its runner, because a full disk takes no record of that."""

from __future__ import annotations

import os
from typing import Any, Literal

import msgspec

from rekindle.domain.changes.fingerprints import FileFingerprints, FileRecord
from rekindle.domain.definition import DEFAULT_GRACE, Step
from rekindle.domain.models import PartialOutput
from rekindle.domain.subtasks import KnownSubtask, SubtaskChoice
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.domain.verdicts import Verdict


class TaskTemplate(msgspec.Struct, tag="recipe", frozen=True, omit_defaults=True):
    """The data that all attempts of one job template under one revision share. An executor sends it once to each
    worker before use."""

    id: int  # assigned by the engine
    workflow: str
    directory: str  # the project's folder
    steps: tuple[Step, ...]
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    env: dict[str, str] = {}
    params: dict[str, Any] = {}
    workdir: str = "project"
    time: float | None = None  # seconds of wall time for an attempt
    store: str = ""  # absolute: the store, for the environment
    cpus: float = 1.0
    by_mtime: dict[str, int] = {}  # by input or output: the size in bytes from which its mtime stands for its content
    memory: int = 0  # bytes that an attempt's processes may hold together; 0: no limit
    grace: float = DEFAULT_GRACE  # seconds between SIGTERM and SIGKILL
    workflow_id: int = 0
    implicit_inputs: bool = True  # record the files that the commands name
    optional: tuple[str, ...] = ()  # inputs that may be missing
    leave_running: bool = False  # do not kill processes that steps of a completed attempt leave
    partial: Literal["keep", "aside"] = "keep"  # what happens to outputs of an incomplete attempt
    gpus: int = 0
    options: tuple[str, ...] = ()  # for the engine of a batch executor, as the user gave them
    cache: bool = False  # keep the outputs of completed attempts in the content store

    @property
    def keeps_folder(self) -> bool:
        """Whether an attempt's folder stays when it is empty: a later attempt may continue from a step in a copy of
        it."""
        return self.workdir == "attempt" and len(self.steps) > 1


class FanOut(msgspec.Struct, array_like=True, frozen=True):
    """The subtasks of a fan-out step in the earlier attempt `base`."""

    step: int
    base: int
    choice: SubtaskChoice  # which run again, if the attempt starts at this step
    known: tuple[KnownSubtask, ...]


class Assignment(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True):
    """One attempt to make. Most jobs leave the fields from `binding` on at their defaults."""

    attempt: int
    token: str
    job: int
    name: str
    number: int
    template: int
    folder: str  # absolute; made by the worker, and removed if it is empty and the attempt's own
    binding: dict[str, Any] = {}
    start_step: int = 0
    kept: dict[str, Any] = {}  # results of the kept steps, by name
    inputs: str = ""  # JSON text for REKINDLE_INPUTS; "": the job needs no other
    params: dict[str, Any] | None = None  # if different from the template's
    env: dict[str, str] | None = None  # added to the template's
    time: float | None = None  # if different from the template's
    unset: tuple[str, ...] = ()  # parameters of the template that this attempt lacks
    own: str = ""  # absolute: prefix of its own files; "": the folder is the attempt's own
    copy_from: str = ""  # absolute: the folder to copy to `folder` before the first step; "": none
    fan_outs: tuple[FanOut, ...] = ()  # fan-outs before the start step, and the resumed one
    cpus: float | None = None  # if different from the template's
    seen: tuple[FileRecord, ...] = ()  # known digests of larger inputs, valid while the stat is equal
    began: FileFingerprints | None = None  # fingerprint of the attempt that this one continues
    memory: int | None = None  # if different from the template's
    verdict: Verdict | None = None  # verdict of the kept steps
    given: bool = False  # the user named the folder; it is made if missing
    before: str = ""  # JSON text: how the job's previous attempt ended; "": there was none
    aside: tuple[PartialOutput, ...] = ()  # outputs that continued attempts have set aside

    @property
    def file_prefix(self) -> str:
        """The path that the names of the attempt's own files begin with."""
        return self.own or self.folder

    @property
    def report_prefix(self) -> str:
        """The path that the names of the files begin with in which steps report a result, action or verdict: in the
        attempt's folder or, if other attempts may share that folder, beside the attempt's own path."""
        return self.own or f"{self.folder}/"


class Assign(msgspec.Struct, tag="assign", frozen=True, omit_defaults=True):
    """Run these attempts in this order."""

    work: tuple[Assignment, ...]


class Cancel(msgspec.Struct, tag="cancel", frozen=True, omit_defaults=True):
    """End these attempts. Running ones are killed, and all are journaled as CANCELED. `allocation`: the allocation that
    ends, if that is why."""

    tokens: tuple[str, ...]
    allocation: str = ""


class Recall(msgspec.Struct, tag="recall", frozen=True):
    """Give back (journal `Returned`) all attempts that have not started."""


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Give back unstarted attempts, finish running ones, journal `Closed` and exit. A closed stdin means the same."""


class Drain(msgspec.Struct, tag="drain", frozen=True):
    """Exit once all assigned attempts have ended. Start none after `seconds` have passed since this order was read:
    give back those that are left. A worker that starts with its assignments in a file has no other end of its work."""

    seconds: float


Order = TaskTemplate | Assign | Cancel | Recall | Stop | Drain


_TROUBLE = lazy_regex(rb"\?(\d+) ([^\n]*)\n")


def encode_disk_error(journal: str, number: int) -> bytes:
    """Return the message that the journal cannot be written because of error `number`. It can stand between wake
    bytes (`!`)."""
    return b"?%d %b\n" % (number, os.fsencode(journal)[-1024:])


def find_disk_error(content: bytes) -> tuple[str, int] | None:
    """Return (journal, error number) of the first such message in the bytes that were read; None if there is none."""
    found = _TROUBLE.search(content)
    return (os.fsdecode(found[2]), int(found[1])) if found else None
