"""Convert a workflow file of FireWorks to a spec of rekindle: each firework becomes a job, each task a step.

A task that has no counterpart becomes a step that fails and says so: a job that went on without it would be wrong.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.flow import Firework, Flow, job_name, short_name, unique_job_names, workflow_name
from rekindle.dialects.fireworks.flow_file import read_flow_file
from rekindle.spec.conversion import Conversion, ConvertedJob, Omission, literal
from rekindle.spec.loading import read_bytes, read_tree
from rekindle.spec.nodes import ListNode, MappingNode, Problems, ScalarNode

Task = Mapping[str, Any]


class _NotConverted(Exception):
    """Why a task has no counterpart."""


def convert(path: Path) -> Conversion:
    """Return the jobs of a workflow file. Raise SpecError for an invalid one."""
    flow = read_flow_file(path)
    lines = _lines(path)
    found = Conversion("fireworks", path.name, workflow_name(flow.name))
    names = dict(
        zip((one.id for one in flow.fireworks), unique_job_names(one.name for one in flow.fireworks), strict=True)
    )
    if flow.metadata:
        found.omissions.append(Omission(0, "`metadata`: labels of jobs are the nearest: labels: {NAME: VALUE}"))
    for firework in flow.fireworks:
        found.jobs.append(_job(firework, flow, names, lines.get(firework.id, 0), found.omissions))
    return found


def _lines(path: Path) -> dict[int, int]:
    """Return the line at which each firework begins, by its id."""
    root = read_tree(read_bytes(path), path.suffix, Problems(str(path)))
    fireworks = root.get("fws") if isinstance(root, MappingNode) else None
    if not isinstance(fireworks, ListNode):
        return {-1: 1}
    ids = [(one.get("fw_id"), one.place.line) for one in fireworks.items if isinstance(one, MappingNode)]
    return {int(key.text): line for key, line in ids if isinstance(key, ScalarNode)}


_CONVERTED_KEYS = {"_tasks", "_priority", "_allow_fizzled_parents", "_launch_dir", "_fw_name", "_category", "_fworker"}
_REASONS = {
    "_category": "which workers run it: give its runner labels or options instead",
    "_fworker": "which worker runs it: rekindle runs it where a runner is free",
    "_dupefinder": "duplicates: rekindle reuses results of unchanged jobs by itself",
    "_queueadapter": "options of the queue: resources: {options: […]}",
    "_files_in": "files between fireworks: declare `outputs` and `inputs` with paths in the project",
    "_files_out": "files between fireworks: declare `outputs` and `inputs` with paths in the project",
    "_files_prev": "files between fireworks: declare `outputs` and `inputs` with paths in the project",
    "_background_tasks": "tasks in the background: start them in `run` with &",
    "_pass_job_info": "facts about parents: jobs find results in files",
    "_add_launchpad_and_fw_id": "access to the LaunchPad: rekindle.Client has the store",
}


def _job(
    firework: Firework, flow: Flow, names: Mapping[int, str], line: int, omissions: list[Omission]
) -> ConvertedJob:
    spec = firework.spec
    name = names[firework.id]
    for key in spec:
        if key in _REASONS:
            omissions.append(Omission(line, f"{name}: `{key}`: {_REASONS[key]}"))
        elif key not in _CONVERTED_KEYS:
            what = (
                "a setting of FireWorks"
                if key.startswith("_")
                else "data of the spec; give it to a task as a parameter"
            )
            omissions.append(Omission(line, f"{name}: `{key}`: {what}"))
    entry: dict[str, Any] = {}
    parents = [names[parent] for parent, children in flow.links.items() if firework.id in children]
    if parents:
        entry["needs"] = parents
    if spec.get("_allow_fizzled_parents"):
        entry["when"] = "finished"
    if isinstance(spec.get("_priority"), int):
        entry["priority"] = spec["_priority"]
    if "_launch_dir" not in spec:
        entry["workdir"] = "attempt"
    steps = list(_steps(firework, name, line, omissions)) or [{"run": "true"}]
    single = steps[0] if len(steps) == 1 else None
    work = (
        {"steps": _named(steps)} if single is None else {key: value for key, value in single.items() if key != "name"}
    )
    return ConvertedJob(name, {**entry, **work}, line)


def _named(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**step, "name": f"{number}-{step['name']}"} for number, step in enumerate(steps, 1)]


def _steps(firework: Firework, name: str, line: int, omissions: list[Omission]) -> Iterator[dict[str, Any]]:
    folder = firework.spec.get("_launch_dir")
    for number, task in enumerate(firework.tasks, 1):
        kind = short_name(str(task.get("_fw_name", "task")))
        try:
            if kind not in _TASKS:
                raise _NotConverted("no counterpart: write it as a command or a Python function")
            work = _convert_task(kind, task)
            if folder and "call" in work:
                raise _NotConverted("a function that runs in `_launch_dir`")
        except _NotConverted as why:
            omissions.append(Omission(line, f"{name}: task {number}, {kind}: {why}; a step that fails stands for it"))
            work = {"run": f"echo {shlex.quote(f'{kind} was not converted: {why}')} >&2; exit 1"}
        if folder and "run" in work:
            work["run"] = f"cd {shlex.quote(str(folder))} && {{\n{work['run']}\n}}"
        yield {"name": job_name(kind), **work}


def _convert_task(kind: str, task: Task) -> dict[str, Any]:
    try:
        return _TASKS[kind](task)
    except (KeyError, TypeError, AttributeError):
        raise _NotConverted("its parameters are not those that FireWorks takes") from None


def _only(task: Task, keys: Sequence[str]) -> None:
    """Raise _NotConverted for options that are set and are not in `keys`."""
    others = [
        key for key, value in task.items() if key not in (*keys, "_fw_name") and value not in (None, False, [], "")
    ]
    if others:
        raise _NotConverted(f"its option `{others[0]}`")


def _script(task: Task) -> dict[str, Any]:
    _only(task, ("script", "use_shell", "shell_exe", "stdin_file", "stdout_file", "stderr_file", "fizzle_bad_rc"))
    if task.get("fizzle_bad_rc", True) is not True:
        raise _NotConverted("`fizzle_bad_rc: false`, which goes on after a failure")
    scripts = task.get("script")
    commands = [scripts] if isinstance(scripts, str) else list(scripts or ())
    if not commands or not all(isinstance(one, str) for one in commands):
        raise _NotConverted("it has no `script`")
    redirects = "".join(
        f" {sign} {shlex.quote(str(task[key]))}"
        for key, sign in (("stdin_file", "<"), ("stdout_file", ">>"), ("stderr_file", "2>>"))
        if task.get(key)
    )
    if redirects:
        commands = [f"{{\n{one}\n}}{redirects}" for one in commands]
    text = commands[0] if len(commands) == 1 else "\n".join(["set -e", *(f"(\n{one}\n)" for one in commands)])
    shell = {"shell": str(task["shell_exe"])} if task.get("shell_exe") else {}
    return {"run": literal(text), **shell}


def _call(task: Task) -> dict[str, Any]:
    _only(task, ("func", "args", "kwargs"))
    func = str(task.get("func", ""))
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", func):
        raise _NotConverted(f"its function {func!r}")
    module, _, name = func.rpartition(".")
    if task.get("args"):
        call = f"import {module}, sys, json; {module}.{name}(*json.loads(sys.argv[1]), **json.loads(sys.argv[2]))"
        return {
            "run": [
                "python3",
                "-c",
                call,
                literal(json.dumps(task["args"])),
                literal(json.dumps(task.get("kwargs") or {})),
            ]
        }
    kwargs = task.get("kwargs")
    return {"call": f"{module}:{name}", **({"args": kwargs} if kwargs else {})}


def _write(task: Task) -> dict[str, Any]:
    _only(task, ("files_to_write", "dest"))
    lines = []
    for file in task.get("files_to_write") or ():
        target = Path(str(task.get("dest") or "."), str(file["filename"]))
        lines.append(f"printf %s {shlex.quote(str(file['contents']))} > {shlex.quote(str(target))}")
    return {"run": literal("\n".join(["set -e", *lines]))}


def _delete(task: Task) -> dict[str, Any]:
    _only(task, ("files_to_delete", "dest", "ignore_errors"))
    files = [str(Path(str(task.get("dest") or "."), str(one))) for one in task.get("files_to_delete") or ()]
    force = "-f " if task.get("ignore_errors", True) else ""
    return {"run": literal(f"rm {force}-- {shlex.join(files)}")}


_MODES = {"move": "mv", "mv": "mv", "copy": "cp", "cp": "cp", "copy2": "cp -p", "copyfile": "cp", "copytree": "cp -r"}


def _transfer(task: Task) -> dict[str, Any]:
    _only(task, ("mode", "files", "dest"))
    if task.get("mode") not in _MODES:
        raise _NotConverted(f"its mode {task.get('mode')!r}")
    lines = ["set -e"]
    for file in task.get("files") or ():
        source, target = (file.get("src"), file.get("dest")) if isinstance(file, Mapping) else (file, None)
        words = [str(source), str(target or task.get("dest"))]
        if any(set(word) & set("~$") for word in words):
            raise _NotConverted("paths with ~ or variables")
        lines.append(f"{_MODES[task['mode']]} -- {shlex.join(words)}")
    return {"run": "\n".join(lines)}


_TASKS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "ScriptTask": _script,
    "PyTask": _call,
    "FileWriteTask": _write,
    "FileDeleteTask": _delete,
    "FileTransferTask": _transfer,
}
