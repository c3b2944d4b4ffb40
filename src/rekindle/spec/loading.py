"""Load a spec: read the file, check the tree, and return a Definition or report every problem at once."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from rekindle.domain.definition import WORKFLOW_NAME_HINT, Definition, is_workflow_name, normalize_name
from rekindle.domain.errors import RekindleError, SpecError, SpecProblem
from rekindle.domain.graph import find_cycle
from rekindle.domain.texts import substitution
from rekindle.domain.texts.display import closest_word, did_you_mean
from rekindle.spec.file_edges import FileEdges
from rekindle.spec.hook_entries import read_hooks
from rekindle.spec.job_entries import JobDraft, read_defaults, read_job_entry
from rekindle.spec.job_index import EdgeSet, JobIndex, NeedEdges
from rekindle.spec.nodes import ListNode, MappingNode, Node, Problems, SourcePlace, describe, from_python
from rekindle.spec.values import (
    JOB_NAME,
    VALUE_NAME,
    changed_number,
    check_keys,
    data,
    named,
    plain_text,
    scalars_within,
    table,
    texts_within,
)
from rekindle.spec.yaml_reader import read_yaml, typed_value


def load(
    path: Path, *, params: Mapping[str, str] | None = None, warn: Callable[[SpecProblem], object] | None = None
) -> Definition:
    """Read and check a spec file: YAML, JSON (`.json`) or TOML (`.toml`).

    `params` are `--param` values as typed, for parameters that the spec declares. The file's folder becomes the
    project's folder. `warn` is called with each number that is not what was written. Raise SpecError with every
    problem, each with its line and column.
    """
    content = read_bytes(path)
    directory = path.parent.resolve()
    source = SpecSource(str(directory), str(directory / path.name), blake3(content).hexdigest())
    problems = Problems(str(path))
    with _collection_paused():
        root = read_tree(content, path.suffix, problems)
        check_kind(path, root)
        definition = assemble(root, params or {}, source, problems)
    if warn is not None:
        for warning in changed_numbers(root, params or {}):
            warn(warning)
    return definition


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Pause the collection of cyclic garbage: a tree of many nodes has no cycles, and each collection walks it all."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def check_kind(path: Path, root: Node | None) -> None:
    """Raise SpecError if a file that was read as a spec is a file of another kind."""
    kind = _OTHER_FILES.get(path.suffix.lower(), "") or _OTHER_FILES.get(path.name.lower(), "")
    if not kind or (isinstance(root, MappingNode) and "jobs" in root.entries):
        return
    tool = {"a Snakefile": "snakemake", "a Makefile": "make"}.get(kind)
    hint = f"`rekindle init --from {tool} {path}` converts it" if tool is not None else _near(path, specs_only=True)
    raise SpecError(str(path), [SpecProblem(0, 0, f"is {kind}, not a spec", hint)])


_OTHER_FILES = {
    ".py": "a Python file",
    ".ipynb": "a notebook",
    ".sh": "a shell script",
    ".r": "an R script",
    ".csv": "a table",
    ".txt": "a text file",
    ".md": "a text file",
    ".smk": "a Snakefile",
    "snakefile": "a Snakefile",
    ".mk": "a Makefile",
    "makefile": "a Makefile",
}


def changed_numbers(root: Node | None, given: Mapping[str, str]) -> Iterator[SpecProblem]:
    """Yield the numbers of matrices, parameters and arguments that do not keep their digits: 3.10 is 3.1."""
    found: dict[SpecProblem, None] = {}
    for node in _values_within(root) if isinstance(root, MappingNode) else ():
        for one in scalars_within(node):
            if message := changed_number(one.value, one.text):
                found[SpecProblem(*one.place[:2], message, f'quote it to keep it: "{one.text}"')] = None
    yield from sorted(found)
    for name, written in given.items():
        if message := changed_number(typed_value(written), written):
            yield SpecProblem(0, 0, f"--param {name}: {message}", f"to keep it: --param '{name}=\"{written}\"'")


def _values_within(root: MappingNode) -> Iterator[Node]:
    """Yield the mappings of a spec whose values are data."""
    if (params := root.get("params")) is not None:
        yield params
    pending = [root.get("defaults"), root.get("jobs")]
    pending[1:] = [entry.node for entry in pending[1].entries.values()] if isinstance(pending[1], MappingNode) else []
    while pending:
        node = pending.pop()
        if isinstance(node, ListNode):
            pending += node.items
        elif isinstance(node, MappingNode):
            for key, entry in node.entries.items():
                if key in ("matrix", "zip", "args"):
                    yield entry.node
                elif key in ("steps", "each"):
                    pending.append(entry.node)


_TOP_KEYS = ("name", "project", "params", "defaults", "workdir", "env", "stale_on", "implicit_inputs", "jobs", "on")
_EXTENSION_PREFIX = "x-"
_MAX_CYCLE_NAMES = 12
_OUTLINE = "a spec is `name: …` and `jobs: …`, with a `run` for each job"


class SpecSource(msgspec.Struct, frozen=True):
    """The origin of a spec: see Definition."""

    directory: str
    source: str | None = None
    digest: str | None = None


def assemble(root: Node | None, given: Mapping[str, str], source: SpecSource, problems: Problems) -> Definition:
    """Return the definition that a tree describes, with `given` (`--param`) replacing declared parameters.

    Raise SpecError with every problem found here and earlier.
    """
    if root is None:
        if not problems:
            problems.add(SourcePlace(), "the spec is empty", _OUTLINE)
        problems.raise_any()
    top = table(root, "the spec", problems)
    if top is None:
        problems.raise_any()
        raise AssertionError("a spec that is no mapping was reported")
    _check_keys(top, problems)
    name, project = _name(top, problems), plain_text(top.get("project"), "`project`", problems)
    params = _params(top, given, problems)
    drafts, unknown = _read_jobs(top, params, problems)
    job_index = JobIndex(drafts, unknown, params, problems)
    edges = _edges(job_index, source.directory, problems)
    hooks = read_hooks(top.get("on"), problems)
    problems.raise_any()
    return Definition(
        name=name,
        directory=source.directory,
        templates=tuple(draft.template for draft in drafts),
        jobs=job_index.jobs,
        edges=edges,
        project=project,
        params=params,
        source=source.source,
        source_digest=source.digest,
        hooks=hooks,
    )


def _check_keys(top: MappingNode, problems: Problems) -> None:
    """Report unknown keys. Keys that begin with `x-` are ignored, so they can hold anchors."""
    read = {key: entry for key, entry in top.entries.items() if not key.startswith(_EXTENSION_PREFIX)}
    check_keys(MappingNode(top.place, read), _TOP_KEYS, "a spec", problems)


def _name(top: MappingNode, problems: Problems) -> str:
    if "name" not in top.entries:
        problems.add(top.place, "the spec has no `name`", "as in `name: sweep`; the workflow is known by it")
        return ""
    node = top.entries["name"].node
    name = normalize_name(plain_text(node, "`name`", problems) or "")
    if name and not is_workflow_name(name):
        problems.add(node.place, f"{name!r:.60} cannot be a workflow's name", WORKFLOW_NAME_HINT)
    return name


def _params(top: MappingNode, given: Mapping[str, str], problems: Problems) -> dict[str, Any]:
    params = {}
    for name, entry in named(top.get("params"), "`params`", VALUE_NAME, problems).items():
        for written, place in texts_within(entry.node):
            _check_literal(written, place, problems)
        params[name] = data(entry.node, f"the parameter {name!r}", problems)
    for typed, written in given.items():
        name = normalize_name(typed)
        place = SourcePlace(path=f"--param {name}")
        if name in params:
            params[name] = data(_parse_param(written, place, problems), f"the parameter {name!r}", problems)
        else:
            hint = _matrix_hint(top, name) or did_you_mean(name, params) or "see `params:`"
            problems.add(place, f"the spec declares no parameter {name!r}", hint)
    return params


def _matrix_hint(top: MappingNode, name: str) -> str:
    """Return a hint if a name is a key of the matrix of a job, and not a parameter."""
    jobs = top.get("jobs")
    for job, entry in jobs.entries.items() if isinstance(jobs, MappingNode) else ():
        for kind in ("matrix", "zip"):
            axes = entry.node.get(kind) if isinstance(entry.node, MappingNode) else None
            if isinstance(axes, MappingNode) and name in axes.entries:
                return f"{name} is a key of the `{kind}` of {job}: change its values in the spec"
    return ""


def _check_literal(written: str, place: SourcePlace, problems: Problems) -> None:
    """Report a `${…}` in a parameter's value, because parameters are not substituted."""
    try:
        found = substitution.find_references(written)
    except RekindleError:
        return
    if found:
        problems.add(place, f"{found[0].text} is not filled in within `params`", "put it where the parameter is used")


def _parse_param(written: str, place: SourcePlace, problems: Problems) -> Node:
    """Return the node of a `--param` value: JSON if it looks like JSON, else an unquoted YAML scalar."""
    return from_python(typed_value(written), place, problems)


def _read_jobs(top: MappingNode, params: Mapping[str, Any], problems: Problems) -> tuple[list[JobDraft], set[str]]:
    """Read `jobs:`. Return the valid entries and the names of the invalid ones."""
    base = read_defaults(top, problems)
    if "jobs" not in top.entries:
        problems.add(top.place, "the spec has no `jobs`", _OUTLINE)
        return [], set()
    node = top.entries["jobs"].node
    jobs = table(node, "`jobs`", problems)
    if jobs is None:
        return [], set()
    if not jobs.entries:
        problems.add(node.place, "`jobs` is empty", _OUTLINE)
        return [], set()
    drafts = []
    unknown = set()
    seen: set[str] = set()
    for typed, entry in jobs.entries.items():
        name = normalize_name(typed)
        if name in seen:
            problems.add(
                entry.place, f"the job {name!r} is there already", "the two differ only in Unicode composition"
            )
        seen.add(name)
        named_well = JOB_NAME.matches(name)
        if not named_well:
            problems.add(entry.place, f"{name!r:.60} cannot be the name of a job", JOB_NAME.rule)
        if not isinstance(entry.node, MappingNode):
            problems.add(
                entry.node.place, f"the job {name!r:.60} must be a mapping, and is {describe(entry.node)}", _OUTLINE
            )
            unknown.add(name)
            continue
        draft = read_job_entry(name, entry.place, entry.node, base, params, problems)
        if named_well and draft.expansion.valid:
            drafts.append(draft)
        else:
            unknown.add(name)
    return drafts, unknown


def _edges(job_index: JobIndex, directory: str, problems: Problems) -> Sequence[tuple[int, int]]:
    """Return the edges that needs and files make. Report a cycle with its jobs."""
    edges = EdgeSet(job_index, problems)
    NeedEdges(job_index, edges, problems).add_edges()
    FileEdges(job_index, edges, directory, problems).add_edges()
    pairs = edges.pairs()
    cycle = find_cycle(len(job_index.jobs), pairs)
    if cycle:
        place = edges.place(cycle[-1], cycle[0])
        problems.add(
            place,
            f"jobs need each other in a cycle: {_describe_cycle(cycle, job_index)}",
            "take one of these needs out",
        )
    return pairs


def _describe_cycle(cycle: Sequence[int], job_index: JobIndex) -> str:
    """Return `a needs b needs a`, shortened if long."""
    names = [job_index.jobs[job].name for job in (cycle[0], *reversed(cycle))]
    if len(names) > _MAX_CYCLE_NAMES:
        left_out = len(names) - _MAX_CYCLE_NAMES
        names[_MAX_CYCLE_NAMES // 2 : -_MAX_CYCLE_NAMES // 2] = [f"… ({left_out} more) …"]
    return " needs ".join(names)


def read_bytes(path: Path) -> bytes:
    """Return the file's content. Raise SpecError with a hint if the file cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        message, hint = "there is no such file", _near(path)
        if str(path) == "-":
            message, hint = "a spec is read from a file, not from stdin", "write it to a file: `rekindle run spec.yaml`"
    except IsADirectoryError:
        message, hint = "is a folder, not a spec file", _near(path / "spec")
    except PermissionError:
        message, hint = "may not be read", f"chmod u+r {path}"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        message, hint = f"cannot be read: {getattr(error, 'strerror', None) or error}", ""
    raise SpecError(str(path), [SpecProblem(0, 0, message, hint)])


def _near(path: Path, *, specs_only: bool = False) -> str:
    """Return a hint that lists spec files in the same folder. `specs_only`: without a guess."""
    try:
        found = sorted(
            entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml", ".json", ".toml")
        )
    except OSError:
        return f"nor a folder {path.parent}"
    if len(found) > 1 and not specs_only and (close := closest_word(path.name, found)) is not None:
        return f"did you mean `{path.parent / close}`?"
    return f"in {path.parent} there are: {', '.join(found[:10])}" if found else f"no spec is in {path.parent}"


def entry_lines(path: Path) -> dict[str, int]:
    """Return the line of each entry of `jobs:`, by name. Empty if the file cannot be read; a format without lines
    (JSON, TOML) may have none."""
    try:
        root = read_tree(read_bytes(path), path.suffix, Problems(str(path)))
    except SpecError:
        return {}
    jobs = root.get("jobs") if isinstance(root, MappingNode) else None
    if not isinstance(jobs, MappingNode):
        return {}
    return {normalize_name(name): entry.place.line for name, entry in jobs.entries.items() if entry.place.line}


def read_tree(content: bytes, suffix: str, problems: Problems) -> Node | None:
    """Return the tree of a spec, or None if it is empty or invalid (invalid text is reported).

    The suffixes `.json` and `.toml` select their formats; any other suffix means YAML.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", errors="ignore")
        place = SourcePlace(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        problems.add(place, f"not UTF-8: the byte 0x{content[error.start]:02x}", "save the file as UTF-8")
        return None
    match suffix.lower():
        case ".json":
            from rekindle.spec.json_reader import read_json as read
        case ".toml":
            from rekindle.spec.toml_reader import read_toml as read
        case _:
            read = read_yaml
    return read(text, problems)
