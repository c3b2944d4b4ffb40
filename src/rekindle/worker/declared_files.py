"""Declared inputs and outputs of an attempt: check inputs before it starts and outputs when it ends; name, set aside
and restore outputs of incomplete attempts. Large files are read in a thread, so that the worker's loop continues."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import BadValue, RekindleError
from rekindle.domain.models import Failure
from rekindle.domain.states import Cause, State
from rekindle.files.store_files import kind_name, make_folder
from rekindle.journal import partial_outputs
from rekindle.journal.paths import partial_outputs_folder
from rekindle.journal.trees import relative_below
from rekindle.worker.attempt_environment import (
    AttemptEnvironment,
    absolute_paths,
    base_environment,
    build_environment,
    set_inputs,
)
from rekindle.worker.attempt_folders import AttemptFolders, reject_end
from rekindle.worker.fingerprints import absent_inputs
from rekindle.worker.steps import StartError, StepEnd, missing_message, never_started, stopped_step, wall_time

if TYPE_CHECKING:
    from rekindle.files.digests import OnRead
    from rekindle.journal.orders import Assignment, TaskTemplate
    from rekindle.journal.records import Ended


def prepare(
    template: TaskTemplate, assignment: Assignment, base_variables: Mapping[str, str], folders: AttemptFolders
) -> AttemptEnvironment | Ended:
    """Make the attempt's folder and check its inputs. Return its environment, or its end if it cannot start."""
    try:
        env = build_environment(template, assignment, base_variables)
    except RekindleError as error:
        return never_started(assignment, State.FAILED, Cause.START, str(error))
    if assignment.own and not assignment.given and not os.path.isdir(assignment.folder):
        message = f"the folder of the earlier attempt, {assignment.folder}, is gone"
        return never_started(assignment, State.FAILED, Cause.START, message)
    try:
        if not assignment.own and not assignment.copy_from:
            folders.make(assignment.folder)
        else:
            folders.take_back()
        if assignment.given and not assignment.copy_from:
            folders.storage.retry(lambda: os.makedirs(assignment.folder, exist_ok=True))
        if assignment.own:
            make_folder(os.path.dirname(assignment.own))
        folders.storage.retry(lambda: set_inputs(env, assignment))
    except (OSError, ValueError) as error:  # a path given by the user may be invalid
        why = error.strerror if isinstance(error, OSError) else error
        message = f"cannot make the attempt's folder {assignment.folder}: {why}"
        return never_started(assignment, State.FAILED, Cause.START, message)
    absent = {name: path for name, path in env.absent(env.inputs).items() if _is_required(name, template, env)}
    if absent:
        if not assignment.own:
            folders.clear(assignment.folder, left_nothing=True)
        end = never_started(assignment, State.FAILED, Cause.MISSING_INPUT, missing_message("input", absent))
        return msgspec.structs.replace(end, prints=absent_inputs(env, absent))
    return env


def _is_required(name: str, template: TaskTemplate, env: AttemptEnvironment) -> bool:
    """Return whether a job cannot start without an input that does not exist under its own name."""
    return name not in template.optional and not (name in env.patterns and env.scope["inputs"][name])


class BadOutput(BadValue):
    """A declared output that is neither a file nor a directory."""


def check_outputs(end: StepEnd, env: AttemptEnvironment, stderr: str = "") -> StepEnd:
    """Return the end of a completed last step: a failure if a declared output is missing."""
    absent = env.absent(env.outputs) if env.outputs else {}
    if absent:
        failure = Failure(message=missing_message("output", absent), stderr=stderr)
        return msgspec.structs.replace(end, state=State.FAILED, cause=Cause.MISSING_OUTPUT, failure=failure)
    for name, path in env.outputs.items():
        mode = os.stat(os.path.join(env.directory, path)).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return reject_end(end, BadOutput(f"the output {name} ({path}) is {kind_name(mode)}, not a file"), stderr)
    return end


class PartialOutputs:
    """The declared outputs of one attempt, as they were before its first step."""

    def __init__(
        self,
        template: TaskTemplate,
        assignment: Assignment,
        env: AttemptEnvironment,
        before: partial_outputs.OutputsBefore | None = None,
    ):
        """`before` is given where the attempt has ended already."""
        self._template, self._assignment = template, assignment
        self._outputs = absolute_paths(env.directory, env.outputs) if env.outputs else {}
        self._before = before or (partial_outputs.observe_outputs(self._outputs) if self._outputs else None)
        self._aside = assignment.aside

    def bring_back(self) -> None:
        """Before the first step: restore outputs that continued attempts have set aside. Raise StartError if this
        fails."""
        aside, self._aside = self._aside, ()
        if not aside:
            return
        try:
            missing = partial_outputs.missing_copies(aside)
            if not missing:
                partial_outputs.restore_outputs(aside, self._template.directory)
        except FileExistsError as error:
            raise StartError(
                f"the partial output of an earlier attempt cannot be put back, for there is another {error.filename}; "
                f"move that, or {error.filename2}, away"
            ) from error
        except OSError as error:
            raise StartError(
                f"the partial outputs of an earlier attempt cannot be put back: {error.strerror or error} "
                f"({error.filename})"
            ) from error
        if missing:
            raise StartError(
                f"{partial_outputs.missing_text(missing)}; {partial_outputs.missing_hint(self._assignment.job)}"
            )

    def complete(self, ended: Ended) -> Ended:
        """Return the record of the attempt's end with its partial outputs."""
        if self._before is None or ended.state == State.COMPLETED:
            return ended
        found = partial_outputs.partial_outputs(self._outputs, self._before)
        if not found:
            return ended
        if self._template.partial == "aside":
            own = self._assignment.folder if self._template.workdir == "attempt" else None
            apart = [
                one for one in found if own is not None and relative_below(own, one.path) is not None
            ]  # seen by no other
            moved = partial_outputs.move_aside(
                [one for one in found if one not in apart],
                list(self._outputs),
                self._before,
                self._template.directory,
                partial_outputs_folder(self._assignment.file_prefix),
            )
            found = (*apart, *moved)
        return msgspec.structs.replace(ended, left=found)


def with_partial_outputs(ended: Ended, template: TaskTemplate, assignment: Assignment) -> Ended:
    """Add the partial outputs to the end of an attempt whose process has died."""
    if not template.outputs or ended.started is None:
        return ended
    try:
        env = build_environment(template, assignment, base_environment())
    except RekindleError:
        return ended
    return PartialOutputs(template, assignment, env, partial_outputs.changes_between(ended.started)).complete(ended)


class _ReadStopped(Exception):
    """The reading has been stopped."""


class BackgroundRead:
    """A thread that reads files, and checks after each chunk whether it must stop."""

    def __init__(self, read: Callable[[OnRead], None]) -> None:
        """Start the thread. `read` calls its argument after each chunk."""
        self.left_nothing = True
        self.started = wall_time()
        self._read = read
        self._stopped: tuple[Cause, str] | None = None
        self._error: BaseException | None = None
        import threading

        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def handles(self) -> list[int]:
        """Where the end is seen."""
        return [self._event]

    @property
    def due(self) -> float | None:
        """Never due."""
        return None

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:  # noqa: ARG002 - at once
        """Stop behind the current chunk."""
        if self._stopped is None:
            self._stopped = cause, message

    def cut_grace(self, now: float) -> None:
        """Do nothing: `stop` ends it as soon as possible."""

    def poll(self, now: float) -> StepEnd | None:  # noqa: ARG002 - it has no clock of its own
        """Return COMPLETED when everything is read."""
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            return None
        self._thread.join()
        os.close(self._event)
        if self._error is not None:
            raise self._error
        if self._stopped is None:
            return StepEnd(State.COMPLETED, self.started, wall_time())
        return stopped_step(self.started, *self._stopped)

    def _run(self) -> None:
        try:
            self._read(self._check_stopped)
        except _ReadStopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where the loop sees it
            self._error = error
        finally:
            os.eventfd_write(self._event, 1)

    def _check_stopped(self, count: int) -> None:  # noqa: ARG002 - how much does not matter
        if self._stopped is not None:
            raise _ReadStopped
