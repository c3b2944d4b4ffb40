"""Copy a folder before an attempt's first step, in a separate process that can be killed at any time.

`python -P -m rekindle.worker.folder_copy SOURCE PART OWN` copies SOURCE to PART and records its progress beside the
attempt's own path OWN. The worker renames a complete copy and removes an incomplete one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rekindle.domain.states import Cause, State
from rekindle.files.store_files import make_folder
from rekindle.journal.paths import TOKEN_VARIABLE, remove_progress, unfinished_copy, write_progress
from rekindle.journal.trees import copy_tree, remove_tree, tree_size
from rekindle.worker.attempt_environment import ACTION_NAME, RESULT_NAME, VERDICT_NAME
from rekindle.worker.command_steps import has_ended, kill_group, spawn
from rekindle.worker.logs import BadLog, StepLogs
from rekindle.worker.steps import StepEnd, failed_step, signal_name, stopped_step, wall_time

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment

PROGRESS_INTERVAL = 0.2
"""Seconds between two progress reports."""


class FolderCopy:
    """A running copy. Its end is COMPLETED when `folder` is complete."""

    def __init__(
        self, assignment: Assignment, position: int, base_variables: Mapping[str, str], capture: StepLogs
    ) -> None:
        """Start the copy. Raise StartError or OSError on failure."""
        self._source, self._folder, self._own = assignment.copy_from, assignment.folder, assignment.file_prefix
        self._position, self._capture = position, capture
        self._part = unfinished_copy(self._own, self._folder, assignment.token)
        self._stopped: tuple[Cause, str] | None = None
        self.left_nothing = True
        self.started = wall_time()
        parent = os.path.dirname(self._folder)
        if self._folder == self._own:
            make_folder(parent)
        else:
            os.makedirs(parent, exist_ok=True)
        remove_tree(self._part)
        argv = [sys.executable, "-P", "-m", "rekindle.worker.folder_copy", self._source, self._part, self._own]
        environment = {**base_variables, "REKINDLE_DIR": self._folder, TOKEN_VARIABLE: assignment.token}
        self._pid = spawn(argv, environment, parent, capture.out, capture.err)
        self._handle = os.pidfd_open(self._pid)

    @property
    def handles(self) -> list[int]:
        """The process's pidfd."""
        return [self._handle]

    @property
    def due(self) -> float | None:
        """Never due."""
        return None

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:  # noqa: ARG002 - at once
        """Kill the process."""
        if self._stopped is None:
            self._stopped = cause, message
            kill_group(self._pid)

    def cut_grace(self, now: float) -> None:
        """Do nothing: `stop` kills at once."""

    def poll(self, now: float) -> StepEnd | None:  # noqa: ARG002 - it has no clock of its own
        """Reap the process if it has ended, and rename the copy."""
        if not has_ended(self._handle):
            return None
        os.close(self._handle)
        _, status, _ = os.wait4(self._pid, 0)
        end = self._conclude(os.waitstatus_to_exitcode(status))
        with contextlib.suppress(BadLog):  # the copy runs nothing of the job's
            self._capture.keep(self._own, self._position)
        remove_progress(self._own)
        if not end.completed:
            remove_tree(self._part)
        return end

    def _conclude(self, code: int) -> StepEnd:
        if self._stopped is not None:
            return stopped_step(self.started, *self._stopped)
        if code:
            said = self._capture.tail().strip().splitlines()
            why = f"it was killed by {signal_name(-code)}" if code < 0 else said[-1] if said else f"exit code {code}"
            return self._failed(why)
        try:
            os.rename(self._part, self._folder)
        except OSError as error:
            return self._failed(error.strerror or str(error))
        return StepEnd(State.COMPLETED, self.started, wall_time())

    def _failed(self, why: str) -> StepEnd:
        return failed_step(self.started, Cause.START, f"cannot copy the folder {self._source}: {why}")


def main(arguments: list[str]) -> int:
    """Copy and record progress; return the exit code."""
    source, part, own = arguments
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        whole = tree_size(source)
        done, told = 0, 0.0

        def tell(copied: int) -> None:
            nonlocal done, told
            done += copied
            if time.monotonic() - told > PROGRESS_INTERVAL:
                told = time.monotonic()
                write_progress(own, done, whole)

        tell(0)
        copy_tree(source, part, tell, (RESULT_NAME, ACTION_NAME, VERDICT_NAME))
    except OSError as error:
        print(error.strerror or error, f"({error.filename})" if error.filename else "", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
