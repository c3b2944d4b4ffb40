"""The environment of an attempt: its directory, files and variables, and the values of `${…}` in its texts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.texts.patterns import glob_location, is_glob
from rekindle.domain.texts.substitution import Words, format_word, render_text
from rekindle.files.file_patterns import matching_files
from rekindle.files.store_files import make_folder, open_store_file
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.paths import JOB_PROJECT_VARIABLE, JOB_STORE_VARIABLE, TOKEN_VARIABLE

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment, TaskTemplate
    from rekindle.worker.call_protocol import SubtaskRun

MAX_INPUTS = 96 * 1024
"""Bytes of REKINDLE_INPUTS that fit into an environment; the kernel allows 128 KiB for a variable."""

RESULT_NAME = ".rekindle.result"
ACTION_NAME = ".rekindle.action"
VERDICT_NAME = ".rekindle.verdict"


class AttemptEnvironment(msgspec.Struct):
    """An attempt's rendered environment. `inputs` and `outputs` are paths, relative ones to `directory`."""

    directory: str  # absolute
    variables: dict[str, str]  # the attempt's variables, beside `base_variables`
    base_variables: Mapping[str, str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    scope: dict[str, Any]
    time: float | None  # seconds
    memory: int  # bytes; 0: no limit
    patterns: dict[str, tuple[str, str]] = {}  # inputs that are patterns: their location, and their text
    leave_running: bool = False  # processes that its steps leave are not killed once the attempt has completed

    @property
    def environment(self) -> dict[str, str]:
        """All variables of the attempt's processes."""
        return {**self.base_variables, **self.variables}

    def absent(self, files: Mapping[str, str]) -> dict[str, str]:
        """Return the files that do not exist."""
        directory = self.directory
        return {name: path for name, path in files.items() if not os.path.exists(os.path.join(directory, path))}

    def keep_result(self, step: str, result: Any) -> None:
        """Make a step's result visible to later steps."""
        self.scope["steps"][step] = {"result": result}


def build_environment(
    template: TaskTemplate, assignment: Assignment, base_variables: Mapping[str, str]
) -> AttemptEnvironment:
    """Render an attempt's environment over the variables of this process. Raise BadValue or UnknownWord for a text
    that has no value here."""
    params = template.params if assignment.params is None else {**template.params, **assignment.params}
    if assignment.unset:
        params = {name: value for name, value in params.items() if name not in assignment.unset}
    scope: dict[str, Any] = {
        "params": params,
        "matrix": assignment.binding,
        "job": {
            "name": assignment.name,
            "id": assignment.job,
            "workflow": template.workflow_id,
            "attempt": assignment.number,
        },
        "steps": {name: {"result": result} for name, result in assignment.kept.items()},
    }
    texts = template.env if assignment.env is None else {**template.env, **assignment.env}
    scope["env"] = base_variables  # variables refer to the worker's own: `PATH: bin:${env.PATH}`
    variables = {name: render_text(text, scope) for name, text in texts.items()}
    if variables:
        scope["env"] = {**base_variables, **variables}
    scope["inputs"] = inputs = {name: render_text(path, scope) for name, path in template.inputs.items()}
    scope["outputs"] = outputs = {name: render_text(path, scope) for name, path in template.outputs.items()}
    directory = assignment.folder if template.workdir == "attempt" else template.directory
    patterns = _patterns(inputs, template.directory) if inputs else {}
    if template.workdir == "attempt":  # inputs are the project's files, wherever the job runs
        inputs.update((name, os.path.join(template.directory, path)) for name, path in inputs.items())
    if patterns:
        apart, own = template.workdir == "attempt", absolute_paths(directory, outputs).values()
        sets = {name: matching_files(*pattern, own) for name, pattern in patterns.items()}
        scope["inputs"] = {**inputs, **{name: Words(one.values() if apart else one) for name, one in sets.items()}}
    folder = assignment.folder
    variables["REKINDLE_WORKFLOW"] = template.workflow
    variables["REKINDLE_JOB"] = str(assignment.job)
    variables["REKINDLE_JOB_NAME"] = assignment.name
    variables["REKINDLE_ATTEMPT"] = str(assignment.number)
    variables["REKINDLE_DIR"] = folder
    variables[JOB_STORE_VARIABLE] = template.store
    variables[JOB_PROJECT_VARIABLE] = template.directory
    if "REKINDLE_STORE" in base_variables:  # the runner's may be relative, and --store may have overridden it
        variables.setdefault("REKINDLE_STORE", template.store)
    variables[TOKEN_VARIABLE] = assignment.token
    return AttemptEnvironment(
        directory=directory,
        variables=variables,
        base_variables=base_variables,
        inputs=inputs,
        outputs=outputs,
        scope=scope,
        time=time_limit(template, assignment),
        memory=memory_limit(template, assignment),
        patterns=patterns,
        leave_running=template.leave_running,
    )


def absolute_paths(directory: str, files: Mapping[str, str]) -> dict[str, str]:
    """Return declared files with absolute paths."""
    return {name: os.path.normpath(os.path.join(directory, path)) for name, path in files.items()}


def _patterns(inputs: Mapping[str, str], directory: str) -> dict[str, tuple[str, str]]:
    """Return the inputs that are patterns. A path that exists is no pattern."""
    return {
        name: (glob_location(directory, text), text)
        for name, text in inputs.items()
        if is_glob(text) and not os.path.lexists(os.path.join(directory, text))
    }


def subtask_environment(env: AttemptEnvironment, subtask: SubtaskRun) -> AttemptEnvironment:
    """Return the environment of one item of a fan-out step."""
    item = from_json(subtask.item)
    own = {
        "REKINDLE_ITEM": format_word(item),
        "REKINDLE_SUBTASK": str(subtask.index),
        "REKINDLE_SUBTASK_DIR": subtask.folder,
    }
    return msgspec.structs.replace(env, variables={**env.variables, **own}, scope={**env.scope, "item": item})


def time_limit(template: TaskTemplate, assignment: Assignment) -> float | None:
    """Return the attempt's limit of wall time in seconds; None if it has none."""
    return template.time if assignment.time is None else assignment.time


def memory_limit(template: TaskTemplate, assignment: Assignment) -> int:
    """Return the memory limit of the attempt's processes together, in bytes; 0 if they have none."""
    return template.memory if assignment.memory is None else assignment.memory


def set_inputs(env: AttemptEnvironment, assignment: Assignment, *, there: bool = False) -> None:
    """Set REKINDLE_INPUTS: the document itself or, if it is too long, the file that holds it (`there`: the file is
    written already)."""
    document = assignment.inputs or "{}"
    if len(document.encode()) > MAX_INPUTS:
        path = inputs_path(assignment)
        if not there:
            make_folder(os.path.dirname(path))
            with open(open_store_file(path, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as file:
                file.write(document)
        document = to_json({"file": path}).decode()
    env.variables["REKINDLE_INPUTS"] = document


def remove_inputs_file(assignment: Assignment) -> None:
    """Remove the file that `set_inputs` may have written."""
    if len(assignment.inputs) * 4 > MAX_INPUTS:
        with contextlib.suppress(OSError):
            os.unlink(inputs_path(assignment))


def inputs_path(assignment: Assignment) -> str:
    """Return the file, beside the attempt's folder, that holds REKINDLE_INPUTS if it is too long."""
    return f"{assignment.file_prefix}.inputs.json"


def base_environment() -> dict[str, str]:
    """Return this process's environment without the variables that rekindle sets for an attempt."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_ATTEMPT_VARIABLES)}


_ATTEMPT_VARIABLES = (
    "REKINDLE_WORKFLOW",
    "REKINDLE_JOB",
    "REKINDLE_ATTEMPT",
    "REKINDLE_STEP",
    "REKINDLE_ITEM",
    "REKINDLE_SUBTASK",
    "REKINDLE_DIR",
    TOKEN_VARIABLE,
    "REKINDLE_INPUTS",
    "REKINDLE_RESULT",
    "REKINDLE_VERDICT",
    "REKINDLE_ACTION",
)
