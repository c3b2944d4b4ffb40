"""Read a torc spec file (YAML, JSON or JSON5) into a Definition and its TorcRecords."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from rekindle.dialects.torc.json5 import read_json5
from rekindle.dialects.torc.spec_parts import (
    NamedItems,
    Sweep,
    expand_entries,
    read_named_items,
    read_parameters,
    without_nulls,
)
from rekindle.dialects.torc.torc_jobs import (
    JOB_KEYS,
    TorcJob,
    action_jobs,
    job_entry,
    read_torc_job,
    resolve_regex_needs,
)
from rekindle.dialects.torc.torc_records import FOLDER_PARAM, OUTPUT_FOLDER, TorcRecords, UserDatum
from rekindle.domain.definition import Definition
from rekindle.domain.errors import SpecError, SpecProblem
from rekindle.spec.loading import SpecSource, assemble, read_bytes, read_tree
from rekindle.spec.nodes import MappingEntry, MappingNode, Node, Problems, ScalarNode, SourcePlace, from_python
from rekindle.spec.values import check_keys, data, table

_MAIN_KEYS = ("name", "project", "parameters", "parameter_mode", "jobs", "files", "user_data", "resource_requirements")
_OTHER_KEYS = ("failure_handlers", "slurm_schedulers", "actions")
IGNORED_KEYS = (
    *("user", "description", "metadata", "slurm_defaults", "resource_monitor", "execution_config", "config"),
    *("compute_node_expiration_buffer_seconds", "compute_node_wait_for_new_jobs_seconds", "limit_resources"),
    *("compute_node_ignore_workflow_completion", "compute_node_wait_for_healthy_database_minutes"),
    *("compute_node_min_time_for_new_jobs_seconds", "jobs_sort_method", "use_pending_failed", "enable_ro_crate"),
)
"""Settings of torc itself. Accepted and ignored, so that files are read unchanged."""


FolderOf = Callable[[str], str]
"""Returns the folder, below the project's, for the user data of a workflow of this name."""


class TorcSpec(msgspec.Struct, frozen=True):
    """A torc spec, read and checked."""

    definition: Definition
    records: TorcRecords
    source: str  # as JSON


def load_spec(path: Path, directory: Path, folder_of: FolderOf, name: str | None = None) -> TorcSpec:
    """Read and check a torc spec. Raises SpecError with every problem and its place. `directory`: the folder in which
    the jobs run, and from which their relative paths are taken. `name`: another name for the workflow."""
    content = read_bytes(path)
    problems = Problems(str(path))
    root = read_torc_tree(content, path, problems)
    if name is not None and isinstance(root, MappingNode):
        root.entries["name"] = MappingEntry(root.place, ScalarNode(name, name, root.place))
    found = _spec(root, directory, folder_of, problems)
    digest = blake3(content + found.records.folder.encode()).hexdigest()
    return replace(found, definition=replace(found.definition, source_digest=digest))


def read_torc_tree(content: bytes, path: Path, problems: Problems) -> Node | None:
    """Return the tree of a torc spec; None if it is empty or invalid."""
    if path.suffix.lower() == ".kdl":
        hint = "save the spec as YAML, JSON or JSON5: the keys are the same"
        raise SpecError(str(path), [SpecProblem(0, 0, "KDL files are not read here", hint)])
    return (
        _json5(content, path, problems)
        if path.suffix.lower() == ".json5"
        else read_tree(content, path.suffix, problems)
    )


def load_commands(
    path: Path, directory: Path, folder_of: FolderOf, *, name: str, resources: dict[str, Any] | None = None
) -> TorcSpec:
    """Read a file with a command on each line: each becomes a job without dependencies. `directory`: see `load_spec`.
    `resources`: the requirements of each job, as in a spec; none where None."""
    lines = read_bytes(path).decode(errors="replace").splitlines()
    commands = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    needs = {key: value for key, value in (resources or {}).items() if value is not None}
    spec = {
        "name": name,
        "resource_requirements": [{"name": "each", **needs}],
        "jobs": [
            {"name": f"job{number}", "command": command, "resource_requirements": "each"}
            for number, command in enumerate(commands, 1)
        ],
    }
    problems = Problems(str(path))
    return _spec(from_python(spec, SourcePlace(), problems), directory, folder_of, problems)


def _spec(root: Node | None, directory: Path, folder_of: FolderOf, problems: Problems) -> TorcSpec:
    made, records = translate(root, str(directory), folder_of, problems)
    definition = assemble(made, {}, SpecSource(str(directory)), problems)
    source = data(root, "the spec", problems) if root is not None else None
    return TorcSpec(definition, records, json.dumps(source, indent=2, ensure_ascii=False))


def _json5(content: bytes, path: Path, problems: Problems) -> Node | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(
            str(path), [SpecProblem(0, 0, f"not UTF-8: {error.reason}", "save the file as UTF-8")]
        ) from None
    return read_json5(text, problems)


def translate(
    root: Node | None, directory: str, folder_of: FolderOf, problems: Problems
) -> tuple[Node | None, TorcRecords]:
    """Return the tree of a rekindle spec for that of a torc spec, and the records of its workflow."""
    top = table(root, "the spec", problems)
    if top is None:
        return None, TorcRecords("")
    top = without_nulls(top)
    name = top.get("name")
    folder = folder_of(name.text if isinstance(name, ScalarNode) else "")
    check_keys(top, (*_MAIN_KEYS, *_OTHER_KEYS, *IGNORED_KEYS), "a torc spec", problems)
    shared = read_parameters(top, problems)
    named = read_named_items(top, shared, problems)
    jobs = _jobs(top, shared, named, problems)
    places = {name: f"{folder}/user_data/{name}.json" for name in named.user_data}
    added = action_jobs(top, jobs, named, problems)
    entries: dict[str, MappingEntry] = {}
    for job in jobs:
        if job.name in entries:
            problems.add(
                job.source.place,
                f"there is a job {job.name!r:.60} already",
                "put its parameters into its name; a job that follows them all takes depends_on_regexes",
            )
        entries[job.name] = MappingEntry(job.source.place, job_entry(job, named, places, problems))
    made = MappingNode(top.place, {key: top.entries[key] for key in ("name", "project") if key in top.entries})
    if "jobs" in top.entries:
        place = top.entries["jobs"].place
        made.entries["jobs"] = MappingEntry(place, MappingNode(place, {**entries, **added}))
    env = from_python(_environment(directory), top.place, problems)
    made.entries["env"] = MappingEntry(top.place, env)
    made.entries["params"] = MappingEntry(top.place, from_python({FOLDER_PARAM: folder}, top.place, problems))
    return made, _records(named, places, folder, problems)


def _jobs(top: MappingNode, shared: Sweep, named: NamedItems, problems: Problems) -> list[TorcJob]:
    found: list[TorcJob] = []
    for name, binding, one in expand_entries(top, "jobs", JOB_KEYS, shared, problems):
        job = read_torc_job(name, binding, one, named, problems)
        if job is not None and not (found and found[-1].merge(job)):
            found.append(job)
    resolve_regex_needs(found, problems)
    return found


def _environment(directory: str) -> dict[str, str]:
    return {
        "TORC_WORKFLOW_ID": "${job.workflow}",
        "TORC_JOB_ID": "${job.id}",
        "TORC_JOB_NAME": "${job.name}",
        "TORC_ATTEMPT_ID": "${job.attempt}",
        "TORC_OUTPUT_DIR": f"{directory}/{OUTPUT_FOLDER}".replace("${", "$${"),
    }


def _records(named: NamedItems, places: dict[str, str], folder: str, problems: Problems) -> TorcRecords:
    values: dict[str, Any] = {
        name: data(one.data, f"the data of {name!r}", problems)
        for name, one in named.user_data.items()
        if one.data is not None
    }
    kept = {
        name: UserDatum(places[name], one.ephemeral, json.dumps(values[name]) if name in values else None)
        for name, one in named.user_data.items()
    }
    return TorcRecords(folder, {name: one.text for name, one in named.files.items()}, kept)
