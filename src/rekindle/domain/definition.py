"""Workflow definitions: templates, the jobs made from them, edges, matrix labels, and partial definitions.

A matrix is one template and many bindings; nothing is copied for each job."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Literal, get_args

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import BadValue, NotFound, Refused
from rekindle.domain.graph import Edge, descendants
from rekindle.domain.states import Cause
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.texts.quantities import Amount
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.domain.texts.substitution import format_word

DEFAULT_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL, unless a job sets another time."""


STALE_ON_OPTIONS = ("environment",)
"""Differences that make a job stale only if `stale_on` names them. Otherwise they are warnings."""


When = Literal["completed", "finished"]
"""Which final states of its parents a job waits for."""


DefinitionChoice = Literal["latest", "pinned"]
"""What reruns run: the definition of the latest revision, or that of the job's earlier attempt."""

OnUnknownFailure = Literal["continue", "hold"]
"""What happens to a job that fails as no attempt of the store has."""


HookEvent = Literal["failed", "stopped", "finished"]
"""When a hook runs. A run of a workflow ends when no job of it is claimed or running, or can start by itself.

- failed: a run has ended, and failed jobs are left
- stopped: a run was interrupted, timed out, or ended by the guards of `supervise`; or jobs were canceled
- finished: a run has ended, whatever the states of its jobs
"""

HOOK_EVENTS: tuple[HookEvent, ...] = get_args(HookEvent)


class Resources(msgspec.Struct, frozen=True):
    """The resources of one attempt."""

    cpus: float = 1.0
    memory: int = 0  # bytes; 0: no request
    gpus: int = 0
    time: float | None = None  # seconds of wall time; None: no limit
    licences: tuple[tuple[str, int], ...] = ()  # (name, count), sorted by name
    options: tuple[str, ...] = ()  # for the engine of a batch executor (sbatch: "--partition=gpu"), as the user wrote


class Each(msgspec.Struct, frozen=True):
    """The items of a fan-out step (from one of `glob`, `items`, `run` and `call`), and how they run."""

    glob: str | None = None  # a pattern, relative to the step's working directory; or one `${…}` that is a list
    items: tuple[Any, ...] | None = None
    run: str | tuple[str, ...] | None = None  # prints one item per line
    shell: str | None = None
    call: str | None = None  # returns a list
    args: Mapping[str, Any] = msgspec.field(default_factory=dict)
    max_failed: int = 0  # up to this many failed items, the step still completes, partially
    resubmit: int = 0  # how often failed items run again within an attempt
    parallel: int | None = None  # None: one for each whole cpu of the job, at least one


class Step(msgspec.Struct, frozen=True):
    """A step of a job: a command (`run`) or a Python callable (`call`); with `each`, once per item."""

    name: str
    run: str | tuple[str, ...] | None = None  # a shell command line, or an argument vector
    shell: str | None = None  # a shell name, for a command line; None: /bin/sh if a shell is needed
    call: str | None = None  # "module:function"
    args: Mapping[str, Any] = msgspec.field(default_factory=dict)
    each: Each | None = None


class RetryRule(msgspec.Struct, frozen=True):
    """When and how a failed job runs again automatically: see rerun.retry. All requirements given (`causes`,
    `exit_codes`, `error`) must match."""

    max: int  # retries since a user last reset the job
    causes: tuple[Cause, ...] = ()
    exit_codes: tuple[int, ...] = ()
    error: str | None = None  # a regular expression searched in the attempt's error texts
    delay: float = 0.0  # seconds before the first retry
    backoff: float = 1.0  # the factor from each delay to the next
    max_delay: float | None = None
    jitter: float = 0.0  # the share of the delay by which it varies, up or down
    memory: Amount | None = None
    time: Amount | None = None
    max_memory: int | None = None  # bytes: the limit of growth
    max_time: float | None = None
    other_host: bool = False  # not on the host of the failure, while another host works
    start: Literal["beginning", "failed-step"] = "beginning"


class Quarantine(msgspec.Struct, frozen=True):
    """A known problem of a job: its failures do not fail the batch before the end of the day `until`, in UTC."""

    until: date
    why: str


class JobTemplate(msgspec.Struct, frozen=True):
    """The part of a job definition shared by all jobs of one spec entry. Texts may contain `${…}` (see
    texts.substitution)."""

    name: str
    steps: tuple[Step, ...]
    inputs: Mapping[str, str] = msgspec.field(default_factory=dict)  # name -> path or pattern, relative to the project
    outputs: Mapping[str, str] = msgspec.field(default_factory=dict)  # name -> path, relative to the working directory
    env: Mapping[str, str] = msgspec.field(default_factory=dict)  # the workflow's and the job's variables, merged
    resources: Resources = Resources()
    priority: int = 0  # higher first
    workdir: Literal["project", "attempt"] = "project"
    # Inputs and outputs compared by size and mtime, not content, from this size in bytes on (0: always).
    by_mtime: Mapping[str, int] = msgspec.field(default_factory=dict)
    aggregate: bool = False  # runs again whenever anything it needs has run again
    when: When = "completed"  # "finished": parents may also be failed, canceled or unreachable
    retry: tuple[RetryRule, ...] = ()  # the first rule that matches a failure decides
    grace: float = DEFAULT_GRACE  # seconds between SIGTERM and SIGKILL on cancellation or timeout
    stale_on: tuple[str, ...] = ()  # further differences that make it stale, from STALE_ON_OPTIONS
    implicit_inputs: bool = True  # compare the files named in its commands
    optional: tuple[str, ...] = ()  # inputs that may be missing
    leave_running: bool = False  # do not kill processes left by its steps after a completed attempt
    definition: DefinitionChoice = "latest"  # the definition that reruns use unless they name another
    partial: Literal["keep", "aside"] = "keep"  # what happens to the outputs of an attempt that does not complete
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)  # to filter by; they have no effect on a run
    quarantine: Quarantine | None = None
    rerun_forbidden: str = ""  # why the job must not run twice; "": it may
    temporary: tuple[str, ...] = ()  # outputs that are removed once all jobs that need this one are done
    on_unknown_failure: OnUnknownFailure = "continue"  # "hold": a failure that no attempt has had waits for a person
    judge: str | tuple[str, ...] | None = None  # a command that decides about failures; a line for a shell, or words
    cache: bool = False  # keep the outputs of completed attempts in the content store
    pure: bool | None = None  # whether the result depends only on what is compared; None: if it has outputs

    @property
    def runs_whenever(self) -> bool:
        """Whether the job runs again whenever a job it needs has run, and receives how each of them ended."""
        return self.aggregate or self.when == "finished"


class JobNode(msgspec.Struct, frozen=True):
    """A job: a template and its matrix values."""

    name: str
    template: int  # position in Definition.templates
    binding: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Hook(msgspec.Struct, frozen=True):
    """A command or a URL, and the event that it is for."""

    event: HookEvent
    run: str | tuple[str, ...] | None = None  # a shell command line, or an argument vector
    url: str | None = None  # http or https; may contain ${env.NAME}

    @property
    def target(self) -> str:
        """The command, or the URL as far as it is safe to show: its path may be a secret."""
        if self.url is not None:
            scheme, _, rest = self.url.partition("://")
            host = rest.partition("/")[0].partition("?")[0]
            return f"{scheme}://{host.rpartition('@')[2]}" + ("/…" if len(host) < len(rest) else "")
        return self.run if isinstance(self.run, str) else " ".join(self.run or ())


class Definition(msgspec.Struct, frozen=True):
    """A checked workflow: names are unique, edges have no cycle, every `${…}` is known."""

    name: str
    # absolute project folder: the working directory of `workdir: project` jobs, and the base of relative paths
    directory: str
    templates: Sequence[JobTemplate]
    jobs: Sequence[JobNode]
    edges: Sequence[tuple[int, int]]  # (parent, child) as positions in `jobs`, without duplicates
    project: str | None = None  # a label for grouping and filtering
    params: Mapping[str, Any] = msgspec.field(default_factory=dict)  # with `--param` applied
    source: str | None = None  # absolute path of the spec file; None: built by the Python API
    source_digest: str | None = None  # BLAKE3 of the spec file
    hooks: tuple[Hook, ...] = ()  # at most one for each event


def select_portion(definition: Definition, first: str | None = None, last: str | None = None) -> Definition:
    """Return the part of a definition from the entry `first` and its descendants up to the entry `last` and its
    ancestors. None means no limit.

    Outputs of omitted jobs are expected to exist. Raise NotFound for an unknown entry, and Refused if nothing leads
    from `first` to `last`."""
    kept = set(range(len(definition.jobs)))
    if first is not None:
        starts = _jobs_of_entry(definition, first)
        kept &= starts | descendants(_adjacency(definition.edges), starts)
    if last is not None:
        ends = _jobs_of_entry(definition, last)
        kept &= ends | descendants(_adjacency([(child, parent) for parent, child in definition.edges]), ends)
    if not kept:
        raise Refused(f"{definition.name}: no path leads from {first} to {last}", hint="name the earlier one first")
    jobs = {job: position for position, job in enumerate(sorted(kept))}
    templates = {one: position for position, one in enumerate(sorted({definition.jobs[job].template for job in jobs}))}
    return replace(
        definition,
        templates=[definition.templates[one] for one in templates],
        jobs=[replace(definition.jobs[job], template=templates[definition.jobs[job].template]) for job in jobs],
        edges=[(jobs[parent], jobs[child]) for parent, child in definition.edges if parent in jobs and child in jobs],
    )


def _jobs_of_entry(definition: Definition, name: str) -> set[int]:
    names = [template.name for template in definition.templates]
    if name not in names:
        raise NotFound(f"{definition.name} has no job {name!r}", hint=did_you_mean(name, names))
    return {at for at, job in enumerate(definition.jobs) if names[job.template] == name}


def _adjacency(edges: Sequence[Edge]) -> dict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for one, other in edges:
        found[one].append(other)
    return found


_PARTS = lazy_regex(r'\s*([\w-]+)=("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')


def normalize_name(text: str) -> str:
    """Return a name in Unicode NFC, so that equal names compare equal however they were typed."""
    if text.isascii():
        return text
    import unicodedata

    return unicodedata.normalize("NFC", text)


WORKFLOW_NAME_HINT = "not digits alone (those are ids), and one line"


def is_workflow_name(name: str) -> bool:
    """Return whether a workflow can have this name."""
    return bool(name) and not name.isdecimal() and name == name.strip() and name.isprintable()


def check_workflow_name(name: str) -> str:
    """Return the name of a workflow, normalized. Raise BadValue for a name that no workflow can have."""
    found = normalize_name(name)
    if not is_workflow_name(found):
        raise BadValue(f"{name!r:.60} cannot be a workflow's name", hint=WORKFLOW_NAME_HINT)
    return found


def matrix_label(values: Mapping[str, Any]) -> str:
    """Return matrix values as they appear in a job's name: `alpha=0.1,seed=0`."""
    return ",".join([f"{key}={value_label(value)}" for key, value in values.items()])


def value_label(value: Any) -> str:
    """Return a matrix value as it appears in a job's name. A text that would be ambiguous or unreadable there is quoted
    as a JSON string: with a comma, a bracket, a control character, a leading quotation mark, or a space at either end.
    An empty text is empty: `build[flags=]`."""
    if not isinstance(value, str):
        return format_word(value)
    text = normalize_name(value)
    plain = text.isprintable() and text == text.strip() and not text.startswith('"') and not set(text) & set(",[]")
    if plain:
        return text
    import json

    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in quoted)


def split_job_name(name: str) -> tuple[str, dict[str, str]]:
    """Split a job name into its entry and its labels by key. A name without labels has none."""
    entry, bracket, rest = name.partition("[")
    if not bracket or not rest.endswith("]"):
        return name, {}
    found: dict[str, str] = {}
    at = 0
    rest = rest[:-1]
    while at < len(rest):
        part = _PARTS.match(rest, at)
        if part is None:
            return name, {}
        found[part[1]] = part[2]
        at = part.end()
    return entry, found
