"""A torc spec file (YAML, JSON, JSON5) becomes a Definition, and what of it torc's commands tell beside jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from rekindle.dialects.torc.actions import action_jobs
from rekindle.dialects.torc.jobs import JOB_KEYS, Torc, entry_of, follow_patterns, read_torc_job
from rekindle.dialects.torc.json5 import read_json5
from rekindle.dialects.torc.named import Named, read_named, swept
from rekindle.dialects.torc.records import FOLDER_PARAM, OUTPUT_FOLDER, Datum, Records
from rekindle.dialects.torc.sweeps import Sweep, read_parameters
from rekindle.domain.definition import Definition
from rekindle.domain.errors import Problem, SpecError
from rekindle.spec.assemble import Origin, assemble
from rekindle.spec.files import read_bytes, read_tree
from rekindle.spec.nodes import Entry, Node, Scalar, Table, from_python
from rekindle.spec.problems import Place, Problems
from rekindle.spec.values import check_keys, data, table

_READ = ("name", "project", "parameters", "parameter_mode", "jobs", "files", "user_data", "resource_requirements")
_READ_TOO = ("failure_handlers", "slurm_schedulers", "actions")
_WITHOUT_EFFECT = (
    *("user", "description", "metadata", "slurm_defaults", "resource_monitor", "execution_config", "config"),
    *("compute_node_expiration_buffer_seconds", "compute_node_wait_for_new_jobs_seconds", "limit_resources"),
    *("compute_node_ignore_workflow_completion", "compute_node_wait_for_healthy_database_minutes"),
    *("compute_node_min_time_for_new_jobs_seconds", "jobs_sort_method", "use_pending_failed", "enable_ro_crate"),
)
"""Of how torc itself works; taken, so that files are read unchanged."""


FolderOf = Callable[[str], str]
"""Where, below the project's folder, the workflow of a name keeps its user data."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A torc spec, read and checked."""

    definition: Definition
    records: Records


def load(path: Path, folder_of: FolderOf) -> Loaded:
    """Read and check a torc spec.

    Raises SpecError with every problem, each with its line and column."""
    content = read_bytes(path)
    problems = Problems(str(path))
    if path.suffix.lower() == ".json5":
        root = _json5(content, path, problems)
    else:
        root = read_tree(content, path.suffix, problems)
    directory = str(path.parent.resolve())
    made, records = _translated(root, directory, folder_of, problems)
    definition = assemble(made, {}, Origin(directory), problems)
    digest = blake3(content + records.folder.encode()).hexdigest()
    return Loaded(replace(definition, source_digest=digest), records)


def load_commands(path: Path, name: str, folder_of: FolderOf) -> Loaded:
    """A file with a command on each line: a job for each, with nothing between them."""
    lines = read_bytes(path).decode(errors="replace").splitlines()
    commands = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    jobs = [{"name": f"job{number}", "command": command} for number, command in enumerate(commands, 1)]
    problems = Problems(str(path))
    root = from_python({"name": name, "jobs": jobs}, Place(), problems)
    directory = str(path.parent.resolve())
    made, records = _translated(root, directory, folder_of, problems)
    return Loaded(assemble(made, {}, Origin(directory), problems), records)


def _json5(content: bytes, path: Path, problems: Problems) -> Node | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(str(path), [Problem(0, 0, f"not UTF-8: {error.reason}", "save the file as UTF-8")]) from None
    return read_json5(text, problems)


def _translated(
    root: Node | None, directory: str, folder_of: FolderOf, problems: Problems
) -> tuple[Node | None, Records]:
    top = table(root, "the spec", problems)
    if top is None:
        return None, Records("")
    name = top.get("name")
    folder = folder_of(name.text if isinstance(name, Scalar) else "")
    check_keys(top, (*_READ, *_READ_TOO, *_WITHOUT_EFFECT), "a torc spec", problems)
    shared = read_parameters(top, problems)
    named = read_named(top, shared, problems)
    jobs = _jobs(top, shared, named, problems)
    places = {name: f"{folder}/user_data/{name}.json" for name in named.user_data}
    added = action_jobs(top, jobs, named, problems)
    entries: dict[str, Entry] = {}
    for job in jobs:
        if job.name in entries:
            problems.add(job.source.place, f"there is a job {job.name!r:.60} already", "names are of one job each")
        entries[job.name] = Entry(job.source.place, entry_of(job, named, places, problems))
    made = Table(top.place, {key: top.entries[key] for key in ("name", "project") if key in top.entries})
    if "jobs" in top.entries:
        place = top.entries["jobs"].place
        made.entries["jobs"] = Entry(place, Table(place, {**entries, **added}))
    env = from_python(_environment(directory), top.place, problems)
    made.entries["env"] = Entry(top.place, env)
    made.entries["params"] = Entry(top.place, from_python({FOLDER_PARAM: folder}, top.place, problems))
    return made, _records(named, places, folder, problems)


def _jobs(top: Table, shared: Sweep, named: Named, problems: Problems) -> list[Torc]:
    found = []
    for name, binding, one in swept(top, "jobs", JOB_KEYS, shared, problems):
        job = read_torc_job(name, binding, one, named, problems)
        if job is not None:
            found.append(job)
    follow_patterns(found, problems)
    return found


def _environment(directory: str) -> dict[str, str]:
    return {
        "TORC_WORKFLOW_ID": "${job.workflow}",
        "TORC_JOB_ID": "${job.id}",
        "TORC_JOB_NAME": "${job.name}",
        "TORC_ATTEMPT_ID": "${job.attempt}",
        "TORC_OUTPUT_DIR": f"{directory}/{OUTPUT_FOLDER}".replace("${", "$${"),
    }


def _records(named: Named, places: dict[str, str], folder: str, problems: Problems) -> Records:
    values: dict[str, Any] = {
        name: data(one.data, f"the data of {name!r}", problems)
        for name, one in named.user_data.items()
        if one.data is not None
    }
    kept = {
        name: Datum(places[name], one.ephemeral, json.dumps(values[name]) if name in values else None)
        for name, one in named.user_data.items()
    }
    return Records(folder, {name: one.text for name, one in named.files.items()}, kept)
