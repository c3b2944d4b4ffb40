"""Workers that have ended, or whose runner is dead: adopt them, kill the processes that they leave, keep their logs.

The death of a worker and that of its runner take the same steps. A runner waits for the killed processes of its own
worker (`worker_process.reap`); whoever adopts the worker of a dead runner looks again later."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.states import Cause
from rekindle.journal.paths import remove_progress, rescue_logs, token_entry, unfinished_copy
from rekindle.journal.processes import (
    CANCEL_SIGNAL,
    boot_id,
    host_name,
    pid_namespace,
    processes_with,
    session_members,
    start_of,
    wait_readable,
)
from rekindle.journal.requests import Request, read_requests, send_request
from rekindle.journal.trees import remove_tree

if TYPE_CHECKING:
    from rekindle.journal.records import Opened

STUCK_SECONDS = 5.0
"""Time after which a killed process that is still alive counts as stuck, and its job is reported."""


SILENT_SECONDS = 60.0
"""Time without a change of its journal after which a worker on another host counts as gone: twice the time after which
a worker that cannot touch its journal ends itself (worker.heartbeat)."""

_GAP_SECONDS = 10.0
"""The longest time between two looks at a journal during which it counts as watched: this process, or the file server,
may have been away."""


class SilenceWatch(msgspec.Struct):
    """Watches the journal of a worker on another host, by the clock of this process alone."""

    journal: str
    limit: float
    over: bool = False  # the worker counts as gone, and its attempts are revoked
    _seen: tuple[int, int] | None = None
    _since: float = 0.0  # monotonic: how long the journal has been as seen
    _looked: float = float("-inf")

    def look(self) -> None:
        """Look at the journal. If it has not changed for too long, revoke the worker's attempts, and look again: a
        worker that lives has touched it, or finds the request the next time."""
        now = time.monotonic()
        try:
            found = _size_and_date(self.journal)
            if found != self._seen or now - self._looked > _GAP_SECONDS:
                self._seen, self._since = found, now
            elif now - self._since >= self.limit:
                send_request(self.journal, Request.REVOKE)
                self.over = _size_and_date(self.journal) == found
        except OSError:
            return  # the spool cannot be reached: this shows nothing of the worker
        self._looked = now


def _size_and_date(path: str) -> tuple[int, int]:
    """Return the size and mtime of a journal. It is opened, because network file systems ask the server then."""
    with open(path, "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


class SurvivingProcesses(msgspec.Struct):
    """Processes that were killed and have not ended."""

    pids: tuple[int, ...]
    since: float = msgspec.field(default_factory=time.monotonic)

    @property
    def stuck(self) -> bool:
        """Return whether they have survived for so long that they may never end."""
        return time.monotonic() - self.since > STUCK_SECONDS


class AttemptsEnd(msgspec.Struct, frozen=True):
    """Why the attempts of a worker ended that it did not report. `started`: the worker had made its journal."""

    cause: Cause
    message: str
    evidence: Mapping[str, Any]
    started: bool = True

    def as_tuple(self) -> tuple[Cause, str, Mapping[str, Any]]:
        """Return the cause, the message and the evidence."""
        return self.cause, self.message, self.evidence


class AdoptedWorker(msgspec.Struct):
    """The process of a worker whose runner is dead. It finishes its running attempt, journals it and exits.

    If it is not visible (on another host, or in another pid namespace), only its journal says whether it lives, and
    requests reach it there."""

    pid: int
    pid_start: int
    boot_id: str
    elsewhere: bool = False  # it works on the store that this one was copied from: here it counts as ended
    host: str = ""  # "": this one
    pid_space: int = 0  # 0: that of this process
    journal: str = ""
    closed: bool = False  # its journal says that it has ended
    silence: SilenceWatch | None = None  # of its journal, if it is not visible
    survivors: SurvivingProcesses | None = None  # processes of its session, after its end
    handle: int = -1  # pidfd; -1: none
    _cancel_sent: bool = False

    def identify(self, opened: Opened) -> None:
        """Take the process that the worker's journal names, in place of the one that its runner started."""
        self.pid, self.pid_start, self.boot_id, self.host = opened.pid, opened.pid_start, opened.boot_id, opened.host
        self.pid_space = opened.pid_space or self.pid_space

    @property
    def is_visible(self) -> bool:
        """Return whether this process can see it, or could while it ran."""
        return self.boot_id == boot_id() and self.pid_space in (0, pid_namespace())

    @property
    def gone(self) -> bool:
        """Return whether the process has ended. One from before the last boot of this host has."""
        if self.elsewhere or self.closed:
            return True
        if self.is_visible:
            return start_of(self.pid) != self.pid_start
        rebooted = self.host in ("", host_name()) and self.boot_id != boot_id()
        return rebooted or (self.silence is not None and self.silence.over)

    @property
    def is_silent(self) -> bool:
        """Return whether only the silence of its journal says that it has ended."""
        return self.silence is not None and self.silence.over and not self.closed

    @property
    def is_stuck(self) -> bool:
        """Return whether processes of its session cannot be killed."""
        return self.survivors is not None and self.survivors.stuck

    def watch(self) -> None:
        """Hold a pidfd of the process if that lives. If it is not visible, look at its journal, and ask it to stop: its
        runner may still live, and give it work."""
        if not self.is_visible:
            if not self.gone:
                self._watch_silence()
            return
        with suppress(ProcessLookupError):
            if self.handle < 0 and not self.gone:
                self.handle = os.pidfd_open(self.pid)
        if self.gone:  # the pidfd is of another process with the same pid
            self.close()

    def _watch_silence(self) -> None:
        if self.silence is None:
            self.silence = SilenceWatch(self.journal, SILENT_SECONDS)
            self._request(Request.STOP)
        self.silence.look()

    def _request(self, request: Request) -> None:
        with suppress(OSError):  # the spool is not there, or is another user's: the worker ends by itself
            if request is not Request.STOP or request not in read_requests(self.journal):
                send_request(self.journal, request)

    def close(self) -> None:
        """Close the pidfd."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    @property
    def may_be_sealed(self) -> bool:
        """Return whether its journal may be sealed if it has not made it."""
        return True

    @property
    def has_queued(self) -> bool:
        """Return whether a cancellation also concerns attempts that it has not started."""
        return False

    @property
    def assigned(self) -> frozenset[str] | None:
        """Return the tokens of the attempts that it may start, where that is known from its orders."""
        return None

    def end_of_attempts(self) -> AttemptsEnd | None:
        """Return why its attempts ended, where that is known; None: with their runner."""
        return None

    def cancel(self, _tokens: Sequence[str] = ()) -> None:
        """Cancel its attempts, once. By signal or request, because it no longer reads orders."""
        if self._cancel_sent or (self.is_visible and self.handle < 0):
            return
        self._cancel_sent = True
        if self.is_visible:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, CANCEL_SIGNAL)
        elif not self.gone:
            self._request(Request.CANCEL)

    def kill_session(self) -> bool:
        """Once it has ended, kill the processes left in the session that it led. Return whether there were any.

        If another process has its pid now, the session is empty: a pid is not reused while a session has that id."""
        self.close()
        if self.elsewhere or not self.is_visible or start_of(self.pid) is not None:
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
                wait_readable((handle,), until - time.monotonic())
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
