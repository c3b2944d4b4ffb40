"""The two ends of every attempt, command or call: what must hold before it begins, and when it is done."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

import msgspec

from rekindle.domain.causes import Cause
from rekindle.domain.errors import BadValue, RekindleError
from rekindle.domain.models import Failure
from rekindle.domain.states import State
from rekindle.files.leaves import kind_of
from rekindle.files.modes import make_folder
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.records import Ended
from rekindle.worker.findings import StepEnd, missing, never_started
from rekindle.worker.fingerprints import absent_inputs
from rekindle.worker.folders import Folders
from rekindle.worker.frame import Frame, frame_of, tell_inputs
from rekindle.worker.staging import spoiled


def prepare(recipe: Recipe, assignment: Assignment, surroundings: Mapping[str, str], folders: Folders) -> Frame | Ended:
    """The attempt's surroundings, with its folder made and its inputs there; or its end, where it cannot begin."""
    try:
        frame = frame_of(recipe, assignment, surroundings)
    except RekindleError as error:
        return never_started(assignment, State.FAILED, Cause.START, str(error))
    if assignment.own and not assignment.given and not os.path.isdir(assignment.folder):
        message = f"the folder of the earlier attempt, {assignment.folder}, is gone"
        return never_started(assignment, State.FAILED, Cause.START, message)
    try:
        if assignment.given and not assignment.copy_from:
            folders.storage.insist(lambda: os.makedirs(assignment.folder, exist_ok=True))
        elif not assignment.own and not assignment.copy_from:
            folders.make(assignment.folder)
        if assignment.own:
            make_folder(os.path.dirname(assignment.own))
        folders.storage.insist(lambda: tell_inputs(frame, assignment))
    except (OSError, ValueError) as error:  # a path that was given may hold what no path can
        why = error.strerror if isinstance(error, OSError) else error
        message = f"cannot make the attempt's folder {assignment.folder}: {why}"
        return never_started(assignment, State.FAILED, Cause.START, message)
    absent = {name: path for name, path in frame.absent(frame.inputs).items() if _is_missed(name, recipe, frame)}
    if absent:
        if not assignment.own:
            folders.clear(assignment.folder, quiet=True)
        end = never_started(assignment, State.FAILED, Cause.MISSING_INPUT, missing("input", absent))
        return msgspec.structs.replace(end, prints=absent_inputs(frame, absent))
    return frame


def _is_missed(name: str, recipe: Recipe, frame: Frame) -> bool:
    """Whether a job cannot begin without an input that does not exist under its own name."""
    return name not in recipe.optional and not (name in frame.patterns and frame.scope["inputs"][name])


class BadOutput(BadValue):
    """A declared output that is neither a file nor a directory."""


def with_outputs(end: StepEnd, frame: Frame, stderr: str = "") -> StepEnd:
    """The end of a last step that completed: a failure where a declared output is not there."""
    absent = frame.absent(frame.outputs) if frame.outputs else {}
    if absent:
        failure = Failure(message=missing("output", absent), stderr=stderr)
        return msgspec.structs.replace(end, state=State.FAILED, cause=Cause.MISSING_OUTPUT, failure=failure)
    for name, path in frame.outputs.items():
        mode = os.stat(os.path.join(frame.directory, path)).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return spoiled(end, BadOutput(f"the output {name} ({path}) is {kind_of(mode)}, not a file"), stderr)
    return end
