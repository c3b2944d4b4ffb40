"""What a workflow is: templates, the jobs made from them, and the edges between jobs.

A matrix is one template and many bindings; nothing is copied for each job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rekindle.domain.causes import Cause
from rekindle.domain.texts.quantities import Amount

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL, where a job says nothing else."""
STALE_ON = ("environment",)
"""What makes a job stale only where `stale_on` names it: else it is a warning."""

When = Literal["completed", "finished"]
"""What a job waits for, of all that it needs."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one attempt takes while it runs."""

    cpus: float = 1.0
    memory: int = 0  # bytes; 0: nothing asked
    gpus: int = 0
    time: float | None = None  # seconds of wall time; None: no limit
    licences: tuple[tuple[str, int], ...] = ()  # (name, how many), sorted by name


@dataclass(frozen=True, slots=True)
class Each:
    """Where the items of a fan-out step come from (one of `glob`, `items`, `run` and `call`), and how they are done."""

    glob: str | None = None  # a pattern, relative to the step's working directory; or one `${…}` that is a list
    items: tuple[Any, ...] | None = None
    run: str | tuple[str, ...] | None = None  # prints an item a line
    shell: str | None = None
    call: str | None = None  # returns a list
    args: Mapping[str, Any] = field(default_factory=dict)
    max_failed: int = 0  # with so many failed the step still completes, with a part
    resubmit: int = 0  # how often, within an attempt, those that failed are run again
    parallel: int | None = None  # None: one for each whole processor that the job takes, at least one


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a job does: a command (`run`) or a Python callable (`call`); with `each`, once for each item."""

    name: str
    run: str | tuple[str, ...] | None = None  # a shell's line, or the argument vector
    shell: str | None = None  # a shell by name, for a string; None: /bin/sh where one is needed
    call: str | None = None  # "module:function"
    args: Mapping[str, Any] = field(default_factory=dict)
    each: Each | None = None


@dataclass(frozen=True, slots=True)
class RetryRule:
    """When a job that failed runs again by itself, and how: see domain.retrying. What it asks for holds together:
    `causes`, `exit_codes` and `error` where they are given."""

    max: int  # retries of the job since a person last reset it
    causes: tuple[Cause, ...] = ()
    exit_codes: tuple[int, ...] = ()
    error: str | None = None  # a regular expression, found in what the attempt said
    delay: float = 0.0  # seconds before the first retry
    backoff: float = 1.0  # each delay is so many times the one before
    max_delay: float | None = None
    jitter: float = 0.0  # the share of the delay by which it varies, up or down
    memory: Amount | None = None
    time: Amount | None = None
    max_memory: int | None = None  # bytes that growing stops at
    max_time: float | None = None
    other_host: bool = False  # not on the host where it failed, as long as another works
    start: Literal["beginning", "failed-step"] = "beginning"


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """What all jobs of one entry of the spec share. Texts may hold `${…}` (see domain.substitution)."""

    name: str
    steps: tuple[Step, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)  # name -> path or pattern, relative to the project
    outputs: Mapping[str, str] = field(default_factory=dict)  # name -> path, relative to the working directory
    env: Mapping[str, str] = field(default_factory=dict)  # the workflow's and the job's, merged
    resources: Resources = Resources()
    priority: int = 0  # higher first
    workdir: Literal["project", "attempt"] = "project"
    by_mtime: Mapping[str, int] = field(default_factory=dict)  # inputs and outputs told by size and mtime, not by
    # content, when they have so many bytes or more (0: always)
    aggregate: bool = False  # runs again whenever anything it needs has run again
    when: When = "completed"  # or "finished": failed, canceled and unreachable will do too
    retry: tuple[RetryRule, ...] = ()  # the first that fits a failure decides
    grace: float = GRACE  # seconds between SIGTERM and SIGKILL for what is canceled or out of time
    stale_on: tuple[str, ...] = ()  # what makes it stale beyond the rest, of STALE_ON
    implicit_inputs: bool = True  # the files that its commands name are compared
    optional: tuple[str, ...] = ()  # inputs that need not be there
    leave_running: bool = False  # processes that its steps leave are not killed once an attempt has completed
    partial: Literal["keep", "aside"] = "keep"  # where the outputs of an attempt that does not complete go

    @property
    def runs_whenever(self) -> bool:
        """It runs again whenever anything that it needs has run, and is told how each of these ended."""
        return self.aggregate or self.when == "finished"


@dataclass(frozen=True, slots=True)
class JobNode:
    """One job: a template and the matrix values that make it this one."""

    name: str
    template: int  # position in Definition.templates
    binding: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Definition:
    """A whole workflow, checked: names are unique, edges have no cycle, every `${…}` is known."""

    name: str
    directory: str  # absolute: the project, where `workdir: project` jobs run and relative paths start
    templates: Sequence[JobTemplate]
    jobs: Sequence[JobNode]
    edges: Sequence[tuple[int, int]]  # (parent, child) as positions in `jobs`, without doubles
    project: str | None = None  # a label to group and filter by
    params: Mapping[str, Any] = field(default_factory=dict)  # with `--param` applied
    source: str | None = None  # absolute path of the spec file; None: made by the Python API
    source_digest: str | None = None  # BLAKE3 of the file's bytes
