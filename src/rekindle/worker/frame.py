"""What one attempt sees: its directory, its files, its environment, and what `${…}` stands for in its texts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from rekindle.domain.texts.globs import is_pattern, location
from rekindle.domain.texts.substitution import Words, render, word
from rekindle.files.leaves import open_own
from rekindle.files.modes import make_folder
from rekindle.files.reading import matching
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.places import TOKEN
from rekindle.worker.wire import Subtask

LONGEST_INPUTS = 96 * 1024
"""Bytes of REKINDLE_INPUTS that fit into an environment; the kernel takes 128 KiB a variable."""

RESULT_NAME = ".rekindle.result"
ACTION_NAME = ".rekindle.action"
VERDICT_NAME = ".rekindle.verdict"


class Frame(msgspec.Struct):
    """An attempt's surroundings, written out. `inputs` and `outputs` are paths, relative ones to `directory`."""

    directory: str  # absolute
    variables: dict[str, str]  # what the attempt's processes see beside `surroundings`
    surroundings: Mapping[str, str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    scope: dict[str, Any]
    time: float | None  # seconds
    memory: int  # bytes; 0: no limit
    patterns: dict[str, tuple[str, str]] = {}  # inputs that are patterns: their location, and their text
    leave_running: bool = False  # processes that its steps leave are not killed once the attempt has completed

    @property
    def environment(self) -> dict[str, str]:
        """All that the attempt's processes see."""
        return {**self.surroundings, **self.variables}

    def absent(self, files: Mapping[str, str]) -> dict[str, str]:
        """Those of `files` that are not there."""
        directory = self.directory
        return {name: path for name, path in files.items() if not os.path.exists(os.path.join(directory, path))}

    def keep_result(self, step: str, result: Any) -> None:
        """Make a step's result visible to the steps behind it."""
        self.scope["steps"][step] = {"result": result}


def frame_of(recipe: Recipe, assignment: Assignment, surroundings: Mapping[str, str]) -> Frame:
    """Write out an attempt's surroundings over those of this process. Raises BadValue or UnknownWord for a text that
    has no value here."""
    params = recipe.params if assignment.params is None else {**recipe.params, **assignment.params}
    if assignment.unset:
        params = {name: value for name, value in params.items() if name not in assignment.unset}
    scope: dict[str, Any] = {
        "params": params,
        "matrix": assignment.binding,
        "job": {
            "name": assignment.name,
            "id": assignment.job,
            "workflow": recipe.workflow_id,
            "attempt": assignment.number,
        },
        "steps": {name: {"result": result} for name, result in assignment.kept.items()},
    }
    texts = recipe.env if assignment.env is None else {**recipe.env, **assignment.env}
    scope["env"] = surroundings  # what a variable is made from is the worker's own: `PATH: bin:${env.PATH}`
    variables = {name: render(text, scope) for name, text in texts.items()}
    scope["env"] = {**surroundings, **variables}
    scope["inputs"] = inputs = {name: render(path, scope) for name, path in recipe.inputs.items()}
    scope["outputs"] = outputs = {name: render(path, scope) for name, path in recipe.outputs.items()}
    directory = assignment.folder if recipe.workdir == "attempt" else recipe.directory
    patterns = _patterns(inputs, recipe.directory)
    if recipe.workdir == "attempt":  # what a job reads is the project's, wherever it runs
        inputs.update((name, os.path.join(recipe.directory, path)) for name, path in inputs.items())
    if patterns:
        apart, own = recipe.workdir == "attempt", absolute(directory, outputs).values()
        sets = {name: matching(*pattern, own) for name, pattern in patterns.items()}
        scope["inputs"] = {**inputs, **{name: Words(one.values() if apart else one) for name, one in sets.items()}}
    folder = assignment.folder
    variables["REKINDLE_WORKFLOW"] = recipe.workflow
    variables["REKINDLE_JOB"] = str(assignment.job)
    variables["REKINDLE_JOB_NAME"] = assignment.name
    variables["REKINDLE_ATTEMPT"] = str(assignment.number)
    variables["REKINDLE_DIR"] = folder
    variables[TOKEN] = assignment.token
    return Frame(
        directory=directory,
        variables=variables,
        surroundings=surroundings,
        inputs=inputs,
        outputs=outputs,
        scope=scope,
        time=time_limit(recipe, assignment),
        memory=memory_limit(recipe, assignment),
        patterns=patterns,
        leave_running=recipe.leave_running,
    )


def absolute(directory: str, files: Mapping[str, str]) -> dict[str, str]:
    """Declared files with absolute paths."""
    return {name: os.path.normpath(os.path.join(directory, path)) for name, path in files.items()}


def _patterns(inputs: Mapping[str, str], directory: str) -> dict[str, tuple[str, str]]:
    """The inputs that are patterns; a path at which there is something is no pattern."""
    return {
        name: (location(directory, text), text)
        for name, text in inputs.items()
        if is_pattern(text) and not os.path.lexists(os.path.join(directory, text))
    }


def frame_of_subtask(frame: Frame, subtask: Subtask) -> Frame:
    """The surroundings of one item of a fan-out step."""
    item = from_json(subtask.item)
    own = {
        "REKINDLE_ITEM": word(item),
        "REKINDLE_SUBTASK": str(subtask.index),
        "REKINDLE_SUBTASK_DIR": subtask.folder,
    }
    return msgspec.structs.replace(frame, variables={**frame.variables, **own}, scope={**frame.scope, "item": item})


def time_limit(recipe: Recipe, assignment: Assignment) -> float | None:
    """Seconds of wall time that the attempt has; None: as long as it takes."""
    return recipe.time if assignment.time is None else assignment.time


def memory_limit(recipe: Recipe, assignment: Assignment) -> int:
    """Bytes that the attempt's processes may hold together; 0: as much as there is."""
    return recipe.memory if assignment.memory is None else assignment.memory


def tell_inputs(frame: Frame, assignment: Assignment, *, there: bool = False) -> None:
    """Set REKINDLE_INPUTS: the document itself, or where it is too long the file that holds it (`there`: it has been
    written, and others may read it now)."""
    document = assignment.inputs or "{}"
    if len(document.encode()) > LONGEST_INPUTS:
        path = inputs_path(assignment)
        if not there:
            make_folder(os.path.dirname(path))
            with open(open_own(path, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as file:
                file.write(document)
        document = to_json({"file": path}).decode()
    frame.variables["REKINDLE_INPUTS"] = document


def forget_inputs(assignment: Assignment) -> None:
    """Remove the file that `tell_inputs` may have written."""
    if len(assignment.inputs) * 4 > LONGEST_INPUTS:
        with contextlib.suppress(OSError):
            os.unlink(inputs_path(assignment))


def inputs_path(assignment: Assignment) -> str:
    """Where REKINDLE_INPUTS is kept when it is too long: beside the attempt's folder."""
    return f"{assignment.beside}.inputs.json"


def own_surroundings() -> dict[str, str]:
    """This process's environment without what rekindle set for an attempt around it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


_OURS = (
    "REKINDLE_WORKFLOW",
    "REKINDLE_JOB",
    "REKINDLE_ATTEMPT",
    "REKINDLE_STEP",
    "REKINDLE_ITEM",
    "REKINDLE_SUBTASK",
    "REKINDLE_DIR",
    TOKEN,
    "REKINDLE_INPUTS",
    "REKINDLE_RESULT",
    "REKINDLE_VERDICT",
    "REKINDLE_ACTION",
)
