"""Workers that have ended, or whose runner is dead: adopt them, kill the processes that they leave, keep their logs.

The death of a worker and that of its runner take the same steps. A runner waits for the killed processes of its own
worker (`worker_process.reap`); whoever adopts the worker of a dead runner looks again later."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from rekindle.journal.paths import remove_progress, rescue_logs, token_entry, unfinished_copy
from rekindle.journal.processes import CANCEL_SIGNAL, boot_id, processes_with, session_members, start_of
from rekindle.journal.trees import remove_tree

if TYPE_CHECKING:
    from rekindle.journal.records import Opened

STUCK_SECONDS = 5.0
"""Time after which a killed process that is still alive counts as stuck, and its job is reported."""


class SurvivingProcesses(msgspec.Struct):
    """Processes that were killed and have not ended."""

    pids: tuple[int, ...]
    since: float = msgspec.field(default_factory=time.monotonic)

    @property
    def stuck(self) -> bool:
        """Return whether they have survived for so long that they may never end."""
        return time.monotonic() - self.since > STUCK_SECONDS


class AdoptedWorker(msgspec.Struct):
    """The process of a worker whose runner is dead. It finishes its running attempt, journals it and exits."""

    pid: int
    pid_start: int
    boot_id: str
    elsewhere: bool = False  # it works on the store that this one was copied from: here it counts as ended
    survivors: SurvivingProcesses | None = None  # processes of its session, after its end
    handle: int = -1  # pidfd; -1: none
    _cancel_sent: bool = False

    def identify(self, opened: Opened) -> None:
        """Take the process that the worker's journal names, in place of the one that its runner started."""
        self.pid, self.pid_start, self.boot_id = opened.pid, opened.pid_start, opened.boot_id

    @property
    def gone(self) -> bool:
        """Return whether the process has ended."""
        return self.elsewhere or self.boot_id != boot_id() or start_of(self.pid) != self.pid_start

    @property
    def is_stuck(self) -> bool:
        """Return whether processes of its session cannot be killed."""
        return self.survivors is not None and self.survivors.stuck

    def watch(self) -> None:
        """Hold a pidfd of the process, if that lives."""
        with suppress(ProcessLookupError):
            if self.handle < 0 and not self.gone:
                self.handle = os.pidfd_open(self.pid)
        if self.gone:  # the pidfd is of another process with the same pid
            self.close()

    def close(self) -> None:
        """Close the pidfd."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def cancel(self) -> None:
        """Cancel its attempts, once. By signal, because it no longer reads orders."""
        if not self._cancel_sent and self.handle >= 0:
            self._cancel_sent = True
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, CANCEL_SIGNAL)

    def kill_session(self) -> bool:
        """Once it has ended, kill the processes left in the session that it led. Return whether there were any.

        If another process has its pid now, the session is empty: a pid is not reused while a session has that id."""
        self.close()
        if self.elsewhere or self.boot_id != boot_id() or start_of(self.pid) is not None:
            return False
        members = session_members(self.pid)
        if not members:
            self.survivors = None
            return False
        kill(members)
        since = self.survivors.since if self.survivors else time.monotonic()
        self.survivors = SurvivingProcesses(tuple(members), since)
        return True


def kill(pids: Iterable[int], until: float | None = None) -> None:
    """Send SIGKILL to these processes, which need not be children, and wait for the end of each until `until`
    (monotonic); None: do not wait. Skip those that this user may not kill."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if until is not None:
                poll = select.poll()
                poll.register(handle, select.POLLIN)
                poll.poll(max(0.0, until - time.monotonic()) * 1000)
        except (ProcessLookupError, PermissionError):
            continue
        finally:
            os.close(handle)


def kill_with_tokens(tokens: Collection[str], until: float | None = None) -> dict[str, list[int]]:
    """Kill every process that has the token of an attempt in its environment, also outside of its worker's session.
    Return their pids by token. `until`: see `kill`."""
    entries = {token_entry(token).encode(): token for token in tokens}
    found: dict[str, list[int]] = {}
    for pid, token in processes_with(entries) if entries else ():
        found.setdefault(token, []).append(pid)
    for pids in found.values():
        kill(pids, until)
    return found


def clear_up(scratch: str | None, own: str, folder: str, token: str, position: int) -> None:
    """Keep the logs of the step at `position` of an attempt whose processes are gone, and remove a partial copy of its
    folder. `scratch`: of its worker; None: it had none. `own` is the prefix of the attempt's own files."""
    if scratch is not None:
        rescue_logs(scratch, own, position)
    remove_progress(own)
    remove_tree(unfinished_copy(own, folder, token))
