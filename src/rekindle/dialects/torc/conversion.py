"""Convert a torc spec file to a spec of rekindle that needs no torc command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rekindle.dialects.torc.spec_parts import tables
from rekindle.dialects.torc.torc_spec import IGNORED_KEYS, read_torc_tree, translate
from rekindle.spec.conversion import Conversion, ConvertedJob, Omission
from rekindle.spec.loading import read_bytes
from rekindle.spec.nodes import MappingEntry, MappingNode, Node, Problems, SourcePlace
from rekindle.spec.values import data

_DATA = "user_data_"
_VARIABLE = re.compile(r"TORC_[A-Z_]+")
_COMMAND = re.compile(r"(?:^|[;&|(\s])torc\s")
_KEPT_KEYS = ("user", "description", "metadata")
_REASONS = {
    "slurm_schedulers": "Slurm's options are given to the runner: rekindle run SPEC --executor slurm",
    "slurm_defaults": "Slurm's options are given to the runner: rekindle run SPEC --executor slurm",
    "resource_monitor": "rekindle always records time and memory: rekindle attempts list",
}


def convert(path: Path) -> Conversion:
    """Return the jobs of a torc spec. Raise SpecError for an invalid one."""
    problems = Problems(str(path))
    root = read_torc_tree(read_bytes(path), path, problems)
    made, _ = translate(root, str(Path.cwd()), lambda _: "user_data", problems)
    if made is None:
        problems.add(SourcePlace(), "the file is empty", "a torc spec is `name: …` and `jobs: […]`")
    problems.raise_any()
    assert isinstance(root, MappingNode)
    assert isinstance(made, MappingNode)
    name = data(made.entries["name"].node, "`name`", problems) if "name" in made.entries else path.stem
    found = Conversion("torc", path.name, str(name))
    if "project" in made.entries:
        found.top["project"] = data(made.entries["project"].node, "`project`", problems)
    entries = made.get("jobs")
    jobs = entries.entries if isinstance(entries, MappingNode) else {}
    writers = _data_writers(jobs)
    for job, entry in jobs.items():
        _add_job(found, job, entry, writers)
    _add_environment(found, made.get("env"))
    _list_omissions(found, root, problems)
    return found


def _data_writers(jobs: dict[str, MappingEntry]) -> dict[str, list[str]]:
    """Return the jobs that write each item of user data."""
    writers: dict[str, list[str]] = {}
    for job, entry in jobs.items():
        outputs = entry.node.get("outputs") if isinstance(entry.node, MappingNode) else None
        for name in outputs.entries if isinstance(outputs, MappingNode) else ():
            if name.startswith(_DATA):
                writers.setdefault(name, []).append(job)
    return writers


def _add_job(found: Conversion, job: str, entry: MappingEntry, writers: dict[str, list[str]]) -> None:
    plain: dict[str, Any] = data(entry.node, "a job", Problems(found.source))
    needs = plain.pop("needs", [])
    for kind in ("inputs", "outputs"):
        files = plain.pop(kind, {})
        kept = {name: path for name, path in files.items() if not name.startswith(_DATA)}
        if kept:
            plain[kind] = kept
        if kind == "inputs":
            needs += [one for name in files if name not in kept for one in writers.get(name, ()) if one not in needs]
    if needs:
        plain["needs"] = needs
    found.jobs.append(ConvertedJob(job, plain, entry.place.line))
    if _COMMAND.search(str(plain.get("run", ""))):
        reason = f"{job} calls torc: `rekindle dialects install` makes that command, for a store with `torc create`"
        found.omissions.append(Omission(entry.place.line, reason))


def _add_environment(found: Conversion, env: Node | None) -> None:
    """Add torc's variables, if a command uses them."""
    used = {name for job in found.jobs for name in _VARIABLE.findall(str(job.entry.get("run", "")))}
    plain = data(env, "`env`", Problems(found.source)) if env is not None else {}
    kept = {name: value for name, value in plain.items() if name in used}
    if kept:
        found.top["env"] = kept


def _list_omissions(found: Conversion, root: MappingNode, problems: Problems) -> None:
    for key, entry in root.entries.items():
        if key in _REASONS or (key in IGNORED_KEYS and key not in _KEPT_KEYS):
            reason = _REASONS.get(key, "a setting of torc itself")
            found.omissions.append(Omission(entry.place.line, f"`{key}`: {reason}"))
    for one in tables(root.get("user_data"), "`user_data`", problems):
        name = data(one.entries["name"].node, "`name`", problems) if "name" in one.entries else ""
        reason = f"user data {name}: rekindle passes data in files; the jobs that use it keep their order"
        found.omissions.append(Omission(one.place.line, reason))
    for one in tables(root.get("actions"), "`actions`", problems):
        kind = one.get("action_type")
        if kind is not None and data(kind, "`action_type`", problems) == "schedule_nodes":
            found.omissions.append(
                Omission(one.place.line, f"an action that schedules nodes: {_REASONS['slurm_schedulers']}")
            )
    for one in tables(root.get("resource_requirements"), "`resource_requirements`", problems):
        nodes = one.get("num_nodes")
        if nodes is not None and data(nodes, "`num_nodes`", problems) not in (1, None):
            found.omissions.append(Omission(nodes.place.line, "`num_nodes`: a job of rekindle runs on one node"))
