"""Read one entry of `jobs:` into a job template, the jobs that its matrix makes, and its needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, TypeVar

import msgspec

from rekindle.domain.definition import (
    DEFAULT_GRACE,
    STALE_ON_OPTIONS,
    DefinitionChoice,
    JobTemplate,
    OnUnknownFailure,
    Quarantine,
    Resources,
    RetryRule,
    When,
    normalize_name,
)
from rekindle.domain.texts.quantities import parse_duration, parse_size
from rekindle.spec.failure_policy import read_judge, read_on_unknown
from rekindle.spec.matrix import Expansion, read_expansion
from rekindle.spec.nodes import (
    ListNode,
    MappingEntry,
    MappingNode,
    Node,
    PlacedText,
    Problems,
    ScalarNode,
    SourcePlace,
    describe,
)
from rekindle.spec.references import KnownNames, check_text
from rekindle.spec.retries import read_retry
from rekindle.spec.steps import FAN_OUT_KEYS, read_steps
from rekindle.spec.values import (
    VALUE_NAME,
    VARIABLE_NAME,
    check_keys,
    named,
    number,
    one_of,
    plain_text,
    quantity,
    table,
    text,
    whole_number,
    yes_or_no,
)

Workdir = Literal["project", "attempt"]
Partial = Literal["keep", "aside"]
_Key = TypeVar("_Key")
_Word = TypeVar("_Word", bound=str)

_WORKDIRS: tuple[Workdir, ...] = ("project", "attempt")
_DEFINITIONS: tuple[DefinitionChoice, ...] = ("latest", "pinned")
_PARTIALS: tuple[Partial, ...] = ("keep", "aside")
_WHENS: tuple[When, ...] = ("completed", "finished")

JOB_KEYS = (
    "run",
    "call",
    "args",
    "steps",
    "shell",
    *FAN_OUT_KEYS,
    "inputs",
    "outputs",
    "matrix",
    "zip",
    "needs",
    "priority",
    "resources",
    "workdir",
    "env",
    "aggregate",
    "when",
    "retry",
    "grace",
    "stale_on",
    "implicit_inputs",
    "leave_running",
    "definition",
    "partial",
    "labels",
    "quarantine",
    "manual",
    "on_unknown_failure",
    "judge",
    "cache",
    "pure",
)
_DEFAULTS_KEYS = (
    *("resources", "workdir", "env", "shell", "priority", "files", "retry", "grace"),
    *("stale_on", "implicit_inputs", "leave_running", "partial", "labels", "quarantine", "manual", "cache", "pure"),
    *("on_unknown_failure", "judge", "definition"),
)
_RESERVED_VARIABLE = re.compile(r"REKINDLE_(WORKFLOW|JOB|JOB_NAME|ATTEMPT|STEP|ITEM|DIR|INPUTS|RESULT|VERDICT|ACTION)")


class FileComparison(msgspec.Struct, frozen=True):
    """How a file is compared with its earlier version."""

    mtime_from: int | None = None  # bytes from which size and mtime are compared; None: always content


class Defaults(msgspec.Struct, frozen=True):
    """Values for keys that a job does not set."""

    resources: Resources
    workdir: Workdir
    env: Mapping[str, PlacedText]
    shell: str | None
    priority: int
    files: FileComparison
    retry: tuple[RetryRule, ...] = ()
    grace: float = DEFAULT_GRACE
    stale_on: tuple[str, ...] = ()
    implicit_inputs: bool = True
    leave_running: bool = False
    definition: DefinitionChoice = "latest"
    partial: Partial = "keep"
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    quarantine: Quarantine | None = None
    rerun_forbidden: str = ""
    on_unknown_failure: OnUnknownFailure = "continue"
    judge: str | tuple[str, ...] | None = None
    cache: bool = False
    pure: bool | None = None


class JobDraft(msgspec.Struct, frozen=True):
    """An entry of `jobs:` that was read. Invalid texts have been reported and are left out."""

    template: JobTemplate
    place: SourcePlace
    expansion: Expansion
    needs: tuple[PlacedText, ...]
    inputs: Mapping[str, PlacedText]
    outputs: Mapping[str, PlacedText]


def read_defaults(root: MappingNode, problems: Problems) -> Defaults:
    """Read `defaults:`, falling back to the spec's own `workdir`, `env`, `stale_on` and `implicit_inputs`."""
    found = table(root.get("defaults"), "`defaults`", problems) or MappingNode(root.place)
    check_keys(found, _DEFAULTS_KEYS, "`defaults`", problems)
    return Defaults(
        resources=read_resources(found.get("resources"), Resources(), problems),
        workdir=_inherited_word(
            "workdir", found, _WORKDIRS, _inherited_word("workdir", root, _WORKDIRS, "project", problems), problems
        ),
        env={**read_env(root.get("env"), problems), **read_env(found.get("env"), problems)},
        shell=plain_text(found.get("shell"), "`shell`", problems),
        priority=whole_number(found.get("priority"), "`priority`", problems) or 0,
        files=read_file_comparison(found.get("files"), problems),
        retry=read_retry(found.get("retry"), (), None, problems),
        grace=_grace(found, DEFAULT_GRACE, problems),
        stale_on=_stale_on(found, _stale_on(root, (), problems), problems),
        implicit_inputs=_inherited_bool(
            "implicit_inputs", found, _inherited_bool("implicit_inputs", root, True, problems), problems
        ),
        leave_running=_inherited_bool("leave_running", found, False, problems),
        definition=_inherited_word("definition", found, _DEFINITIONS, "latest", problems),
        partial=_inherited_word("partial", found, _PARTIALS, "keep", problems),
        labels=_labels(found.get("labels"), problems),
        quarantine=_quarantine(found, None, problems),
        rerun_forbidden=_rerun_forbidden(found.get("manual"), "", problems),
        on_unknown_failure=read_on_unknown(found, "continue", problems),
        judge=read_judge(found, None, problems),
        cache=_inherited_bool("cache", found, False, problems),
        pure=_pure(found, None, problems),
    )


def read_job_entry(
    name: str,
    place: SourcePlace,
    job: MappingNode,
    base: Defaults,
    params: Mapping[str, Any],
    problems: Problems,
    values: Mapping[str, Any] | None = None,
) -> JobDraft:
    """Read one entry of `jobs:`. With `values`, the entry is a single job with these matrix values."""
    check_keys(job, JOB_KEYS, "a job", problems)
    expansion = read_expansion(job, params, problems, values)
    early_names = KnownNames(params, matrix=expansion.keys)
    env_names = KnownNames(params, matrix=expansion.keys, env=True)
    inputs, outputs = (read_declared_files(job.get(kind), kind, base.files, problems) for kind in ("inputs", "outputs"))
    step_names = KnownNames(params, matrix=expansion.keys, inputs=inputs.paths, outputs=outputs.paths, env=True)
    env = {**base.env, **read_env(job.get("env"), problems)}
    priority = whole_number(job.get("priority"), "`priority`", problems)
    resources = read_resources(job.get("resources"), base.resources, problems)
    template = JobTemplate(
        name=name,
        steps=read_steps(name, place, job, base.shell, step_names, problems),
        inputs={key: path.text for key, path in inputs.paths.items()},
        outputs={key: path.text for key, path in outputs.paths.items()},
        env={key: value.text for key, value in _with_known_references(env, env_names, problems).items()},
        resources=resources,
        priority=base.priority if priority is None else priority,
        workdir=_inherited_word("workdir", job, _WORKDIRS, base.workdir, problems),
        by_mtime=by_mtime(inputs, outputs, problems),
        aggregate=yes_or_no(job.get("aggregate"), "`aggregate`", problems),
        when=_inherited_word("when", job, _WHENS, "completed", problems),
        retry=read_retry(job.get("retry"), base.retry, resources, problems),
        grace=_grace(job, base.grace, problems),
        stale_on=_stale_on(job, base.stale_on, problems),
        implicit_inputs=_inherited_bool("implicit_inputs", job, base.implicit_inputs, problems),
        optional=inputs.optional,
        leave_running=_inherited_bool("leave_running", job, base.leave_running, problems),
        definition=_inherited_word("definition", job, _DEFINITIONS, base.definition, problems),
        partial=_inherited_word("partial", job, _PARTIALS, base.partial, problems),
        labels={**base.labels, **_labels(job.get("labels"), problems)},
        quarantine=_quarantine(job, base.quarantine, problems),
        rerun_forbidden=_rerun_forbidden(job.get("manual"), base.rerun_forbidden, problems),
        temporary=outputs.temporary,
        on_unknown_failure=read_on_unknown(job, base.on_unknown_failure, problems),
        judge=read_judge(job, base.judge, problems),
        cache=_inherited_bool("cache", job, base.cache, problems),
        pure=_pure(job, base.pure, problems),
    )
    needs = dict(enumerate(_needs(job.get("needs"), problems)))
    return JobDraft(
        template,
        place,
        expansion,
        needs=tuple(_with_known_references(needs, early_names, problems).values()),
        inputs=_with_known_references(inputs.paths, early_names, problems),
        outputs=_with_known_references(outputs.paths, early_names, problems),
    )


def _with_known_references(
    texts: Mapping[_Key, PlacedText], known: KnownNames, problems: Problems
) -> dict[_Key, PlacedText]:
    """Return the texts whose references are all known. Report the unknown references of the others."""
    good = {}
    for key, found in texts.items():
        before = len(problems)
        check_text(found.text, found.place, known, problems)
        if len(problems) == before:
            good[key] = found
    return good


def _grace(found: MappingNode, base: float, problems: Problems) -> float:
    given = quantity(found.get("grace"), "grace", parse_duration, problems, _GRACE_HINT, allow_zero=True)
    return base if given is None else given


_GRACE_HINT = "as in `grace: 30s`: how long after SIGTERM before SIGKILL"


def _stale_on(found: MappingNode, base: tuple[str, ...], problems: Problems) -> tuple[str, ...]:
    node = found.get("stale_on")
    if node is None:
        return base
    each = node.items if isinstance(node, ListNode) else [node]
    words = (one_of(one, STALE_ON_OPTIONS, "an entry of `stale_on`", problems) for one in each)
    return tuple(dict.fromkeys(word for word in words if word is not None))


def _inherited_bool(key: str, found: MappingNode, base: bool, problems: Problems) -> bool:
    return yes_or_no(found.get(key), f"`{key}`", problems) if key in found.entries else base


def _inherited_word(key: str, found: MappingNode, words: tuple[_Word, ...], base: _Word, problems: Problems) -> _Word:
    word = one_of(found.get(key), words, f"`{key}`", problems)
    return base if word is None else words[words.index(word)]


def _pure(found: MappingNode, base: bool | None, problems: Problems) -> bool | None:
    return yes_or_no(found.get("pure"), "`pure`", problems) if "pure" in found.entries else base


def _labels(node: Node | None, problems: Problems) -> dict[str, str]:
    """Read labels. The value of any scalar is its text as written."""
    labels = {}
    for name, entry in named(node, "`labels`", VALUE_NAME, problems).items():
        value = entry.node
        if isinstance(value, ScalarNode) and value.value is not None and value.text.isprintable():
            labels[name] = value.text
        else:
            problems.add(
                value.place, f"the label {name} must be a text, and is {describe(value)}", "as in `team: optics`"
            )
    return labels


_QUARANTINE_FORM = "as in `quarantine: {until: 2030-01-31, why: fails on slow machines}`"


def _quarantine(found: MappingNode, base: Quarantine | None, problems: Problems) -> Quarantine | None:
    node = found.get("quarantine")
    known = table(node, "`quarantine`", problems)
    if node is None or known is None:
        return base
    check_keys(known, ("until", "why"), "`quarantine`", problems)
    for key in ("until", "why"):
        if key not in known.entries:
            problems.add(known.place, f"`quarantine` has no `{key}`", _QUARANTINE_FORM)
    day, why = _date(known.get("until"), "`until`", problems), plain_text(known.get("why"), "`why`", problems)
    return base if day is None or why is None else Quarantine(day, " ".join(why.split()))


def _date(node: Node | None, what: str, problems: Problems) -> date | None:
    written = text(node, what, problems)
    if node is None or written is None:
        return None
    try:
        day = date.fromisoformat(written)
    except ValueError:
        day = None
    if day is None or day.isoformat() != written:
        problems.add(node.place, f"{what} must be a date, and is {written!r:.60}", "as in `until: 2030-01-31`")
        return None
    return day


_MANUAL_HINT = "as in `manual: {rerun: forbidden, reason: it pays the invoices}`"


def _rerun_forbidden(node: Node | None, base: str, problems: Problems) -> str:
    """Read `manual`: return why a job must not run twice, or "" if it may."""
    found = table(node, "`manual`", problems)
    if found is None:
        return base
    check_keys(found, ("rerun", "reason"), "`manual`", problems)
    word = one_of(found.get("rerun"), ("forbidden", "allowed"), "`rerun` of `manual`", problems)
    if word == "allowed":
        return ""
    reason = plain_text(found.get("reason"), "`reason` of `manual`", problems)
    missing = [key for key in ("rerun", "reason") if key not in found.entries]
    if missing:
        problems.add(found.place, f"`manual` has no `{missing[0]}`", _MANUAL_HINT)
    return " ".join((reason or "").split())


def read_env(node: Node | None, problems: Problems) -> dict[str, PlacedText]:
    """Read variables. The value of any scalar is its text as written."""
    env = {}
    for name, entry in named(node, "`env`", VARIABLE_NAME, problems).items():
        value = entry.node
        if _RESERVED_VARIABLE.fullmatch(name):
            problems.add(entry.place, f"{name} is set by rekindle for each step", "use another name")
        elif not isinstance(value, ScalarNode) or value.value is None:
            problems.add(value.place, f"the variable {name} must be a text, and is {describe(value)}", 'as in `X: ""`')
        elif "\0" in value.text:
            problems.add(value.place, f"the variable {name} holds a NUL character")
        else:
            env[name] = PlacedText(value.text, value.place)
    return env


def _needs(node: Node | None, problems: Problems) -> list[PlacedText]:
    if node is None:
        return []
    found = []
    for item in node.items if isinstance(node, ListNode) else [node]:
        name = text(item, "an entry of `needs`", problems)
        if name is not None:
            found.append(PlacedText(normalize_name(name), item.place))
    return found


_COMPARISON_KEYS = ("by", "over")
_COMPARISONS = ("content", "mtime")
_FILE_KEYS = {"inputs": ("path", "by", "over", "optional"), "outputs": ("path", "by", "over", "temp")}
_FILE_HINT = "as in `raw: data/raw.csv` or `raw: {path: data/raw.csv, by: mtime}`"
_WILDCARD = re.compile(r"[*?]")
_OVER_HINT = "as in `{by: mtime, over: 1G}`: smaller files are compared by content"


class DeclaredFiles(msgspec.Struct):
    """The inputs or outputs of a job."""

    paths: dict[str, PlacedText] = msgspec.field(default_factory=dict)
    by_mtime: dict[str, int] = msgspec.field(default_factory=dict)
    optional: tuple[str, ...] = ()  # sorted names
    temporary: tuple[str, ...] = ()  # sorted names


def read_file_comparison(node: Node | None, problems: Problems) -> FileComparison:
    """Read `files:` of `defaults:`."""
    found = table(node, "`files`", problems)
    if found is None:
        return FileComparison()
    check_keys(found, _COMPARISON_KEYS, "`files`", problems)
    return _file_comparison(found, FileComparison(), problems)


def read_declared_files(node: Node | None, kind: str, base: FileComparison, problems: Problems) -> DeclaredFiles:
    """Read `inputs:` or `outputs:`. `base` applies to files that set neither `by` nor `over`."""
    declared = DeclaredFiles()
    if isinstance(node, ListNode | ScalarNode):
        message = f"`{kind}` must be a mapping of names to paths, and is {describe(node)}"
        problems.add(node.place, message, f"name each, as in `{kind}: {{data: build/data.npz}}`")
        return declared
    for name, entry in named(node, f"`{kind}`", VALUE_NAME, problems).items():
        path, comparison = _file(name, entry, kind, base, problems)
        if path is not None:
            declared.paths[name] = path
        if comparison.mtime_from is not None:
            declared.by_mtime[name] = comparison.mtime_from
        if isinstance(entry.node, MappingNode) and yes_or_no(entry.node.get("optional"), "`optional`", problems):
            declared.optional = tuple(sorted((*declared.optional, name)))
        if isinstance(entry.node, MappingNode) and yes_or_no(entry.node.get("temp"), "`temp`", problems):
            declared.temporary = tuple(sorted((*declared.temporary, name)))
    return declared


def by_mtime(inputs: DeclaredFiles, outputs: DeclaredFiles, problems: Problems) -> dict[str, int]:
    """Return `by_mtime` of inputs and outputs together. Report a name that both have with different settings."""
    for name in inputs.paths.keys() & outputs.paths.keys():
        if inputs.by_mtime.get(name) != outputs.by_mtime.get(name):
            problems.add(
                outputs.paths[name].place,
                f"the output {name!r} is compared differently from the input of that name",
                "give both the same `by` and `over`, or other names",
            )
    return {**inputs.by_mtime, **outputs.by_mtime}


def _file(
    name: str, entry: MappingEntry, kind: str, base: FileComparison, problems: Problems
) -> tuple[PlacedText | None, FileComparison]:
    node, comparison = entry.node, base
    if isinstance(node, MappingNode):
        check_keys(node, _FILE_KEYS[kind], f"the file {name!r}", problems)
        comparison = _file_comparison(node, base, problems)
        if "path" not in node.entries:
            problems.add(node.place, f"the file {name!r} has no `path`", _FILE_HINT)
            return None, comparison
        node = node.entries["path"].node
    path = text(node, f"the path of {name!r}", problems)
    if kind == "outputs" and path is not None and _WILDCARD.search(path):
        message = f"the output {name!r} is a pattern: {path!r:.80}"
        problems.add(node.place, message, "declare the directory that holds the files, or each file")
    return (None if path is None else PlacedText(path, node.place)), comparison


def _file_comparison(found: MappingNode, base: FileComparison, problems: Problems) -> FileComparison:
    way = one_of(found.get("by"), _COMPARISONS, "`by`", problems)
    if "over" not in found.entries:
        return base if way is None else FileComparison(None if way == "content" else 0)
    if way == "content" or ("by" not in found.entries and base.mtime_from is None):
        problems.add(found.entries["over"].place, "`over` is only for files that are compared by mtime", _OVER_HINT)
        return base
    size = quantity(found.get("over"), "over", parse_size, problems, _OVER_HINT)
    return base if size is None else FileComparison(int(size))


_RESOURCE_KEYS = ("cpus", "memory", "gpus", "time", "licences", "options")


def read_resources(node: Node | None, base: Resources, problems: Problems) -> Resources:
    """Return `base` with the values that the node sets. Licences are merged by name."""
    found = table(node, "`resources`", problems)
    if found is None:
        return base
    check_keys(found, _RESOURCE_KEYS, "`resources`", problems)
    given: dict[str, Any] = {
        "cpus": number(found.get("cpus"), "`cpus`", problems),
        "memory": quantity(found.get("memory"), "memory", parse_size, problems),
        "gpus": whole_number(found.get("gpus"), "`gpus`", problems, least=0),
        "time": quantity(found.get("time"), "time", parse_duration, problems),
        "licences": _licences(found.get("licences"), base, problems),
        "options": _options(found.get("options"), problems),
    }
    return msgspec.structs.replace(base, **{key: value for key, value in given.items() if value is not None})


def _options(node: Node | None, problems: Problems) -> tuple[str, ...] | None:
    """Return the options for the engine of a batch executor, each one argument: `--partition=gpu`."""
    if node is None:
        return None
    items = node.items if isinstance(node, ListNode) else [node]
    return tuple(one for item in items if (one := text(item, "an entry of `options`", problems)) is not None)


def _licences(node: Node | None, base: Resources, problems: Problems) -> tuple[tuple[str, int], ...] | None:
    if node is None:
        return None
    counts = dict(base.licences)
    for name, entry in named(node, "`licences`", VALUE_NAME, problems).items():
        count = whole_number(entry.node, f"the number of licences {name}", problems, least=0)
        if count is not None:
            counts[name] = count
    return tuple(sorted((name, count) for name, count in counts.items() if count))
