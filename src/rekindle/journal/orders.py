"""What an executor tells a worker, one JSON document a line on the worker's stdin."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from rekindle.domain.changes.prints import FileSeen, Prints
from rekindle.domain.definition import GRACE, Step
from rekindle.domain.models import PartialOutput
from rekindle.domain.subtasks import Choice, Known
from rekindle.domain.verdicts import Verdict


class Recipe(msgspec.Struct, tag="recipe", frozen=True, omit_defaults=True):
    """What all attempts of one template under one revision share; sent once to each worker before use."""

    id: int  # the engine's number for it
    workflow: str
    directory: str  # the project's folder
    steps: tuple[Step, ...]
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    env: dict[str, str] = {}
    params: dict[str, Any] = {}
    workdir: str = "project"
    time: float | None = None  # seconds of wall time for an attempt
    store: str = ""  # identity of the store, for the environment
    cpus: float = 1.0
    by_mtime: dict[str, int] = {}  # inputs and outputs that are told by their mtime, from so many bytes
    memory: int = 0  # bytes that an attempt's processes may hold together; 0: no limit
    grace: float = GRACE  # seconds between SIGTERM and SIGKILL
    workflow_id: int = 0
    implicit_inputs: bool = True  # the files that its commands name are recorded
    optional: tuple[str, ...] = ()  # inputs that need not be there
    leave_running: bool = False  # processes that its steps leave are not killed once an attempt has completed
    partial: Literal["keep", "aside"] = "keep"  # where the outputs of an attempt that does not complete go

    @property
    def keeps_folder(self) -> bool:
        """An attempt's folder stays when it is empty: a later attempt may go on from a step in a copy of it."""
        return self.workdir == "attempt" and len(self.steps) > 1


class FanOut(msgspec.Struct, array_like=True, frozen=True):
    """What an earlier attempt did of a fan-out step. `base` is that attempt."""

    step: int
    base: int
    choice: Choice  # which run again, where the attempt starts at it
    known: tuple[Known, ...]


class Assignment(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True):
    """One attempt to make. Fields from `binding` on are left at their defaults by most jobs."""

    attempt: int
    token: str
    job: int
    name: str
    number: int
    recipe: int
    folder: str  # absolute; the worker makes it, and removes it when it is left empty and the attempt's own
    binding: dict[str, Any] = {}
    start_step: int = 0
    kept: dict[str, Any] = {}  # results of the steps that are kept, by name
    inputs: str = ""  # JSON text for REKINDLE_INPUTS; "": no job is needed
    params: dict[str, Any] | None = None  # where they differ from the recipe's
    env: dict[str, str] | None = None  # added to the recipe's
    time: float | None = None  # where it differs from the recipe's
    unset: tuple[str, ...] = ()  # parameters of the recipe that this attempt does not have
    own: str = ""  # absolute: beside what its own files lie; "": beside the folder, which no other attempt has then
    copy_from: str = ""  # absolute: a folder that `folder` becomes a copy of before the first step; "": none
    fan_outs: tuple[FanOut, ...] = ()  # those before the start, and the one that is resumed
    cpus: float | None = None  # where they differ from the recipe's
    seen: tuple[FileSeen, ...] = ()  # what is known of its larger inputs: an equal look spares reading them
    began: Prints | None = None  # what the attempt that it goes on from depended on
    memory: int | None = None  # where it differs from the recipe's
    verdict: Verdict | None = None  # what the steps that are kept have found
    given: bool = False  # its folder is a place that was given, and is made where it is not there
    before: str = ""  # JSON text: how the job's attempt before this one ended; "": there was none
    aside: tuple[PartialOutput, ...] = ()  # outputs that attempts which it goes on from have set aside

    @property
    def beside(self) -> str:
        """The path that the names of the attempt's own files begin with."""
        return self.own or self.folder

    @property
    def leaves(self) -> str:
        """The path that the names of what its steps write for us begin with: in its folder, or, where that is not its
        own and others may be in it, beside its own path."""
        return self.own or f"{self.folder}/"


class Assign(msgspec.Struct, tag="assign", frozen=True, omit_defaults=True):
    """Do these, in this order."""

    work: tuple[Assignment, ...]


class Cancel(msgspec.Struct, tag="cancel", frozen=True):
    """End these: what runs is killed and told as CANCELED; what has not started is told as CANCELED too."""

    tokens: tuple[str, ...]


class Recall(msgspec.Struct, tag="recall", frozen=True):
    """Give back (journal `Returned`) everything that has not started."""


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Give back what has not started, finish what runs, journal `Closed`, exit. So does a closed stdin."""


Order = Recipe | Assign | Cancel | Recall | Stop
