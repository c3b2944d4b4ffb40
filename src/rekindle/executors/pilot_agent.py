"""A pilot of a server: runs workers on this host, as a runner in `rekindle serve` commands.

The main thread owns the workers. A second thread holds one exchange open, through which commands arrive at once. If the
server does not answer, the workers go on with what they have. If another server answers, it does not know this pilot:
the workers finish what they run, the new server's runners read it in their journals, and the pilot opens again."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from rekindle.domain.errors import BadValue, ExecutorError, JournalError, Refused
from rekindle.executors.local import LocalExecutor
from rekindle.executors.pilot_messages import (
    PILOTS,
    POLL_SECONDS,
    AssignWork,
    CancelWork,
    CloseWorkers,
    Command,
    Commands,
    Done,
    LeaveWorkers,
    OpenPilot,
    OpenWorker,
    PilotOpened,
    RecallWork,
    Report,
    read_commands,
    read_pilot_opened,
)
from rekindle.journal.encoding import to_json

AWAY_SECONDS = 600.0
"""How long a server may be away before the pilot ends its workers."""

CALL_SECONDS = 10.0
"""How long an exchange that does not wait may take."""

RETRY_SECONDS = 1.0
"""Time between two attempts to reach a server."""

LATE_SECONDS = 5.0
"""How long the server may be late at ending what runs when the grace period begins."""


class _Away(Exception):
    """The server does not answer, or says that it cannot now."""


class _Unknown(Exception):
    """The server does not know this pilot."""


def _is_server_url(url: str) -> bool:
    """Return whether a URL has a host, and nothing that a server's URL has not."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.query or parts.fragment or parts.username)
            and url.isprintable()
            and " " not in url
        )
    except ValueError:  # of the port, or of an address in brackets
        return False


class Connection:
    """The server's address, with a token for each request. Not for use by several threads at once."""

    def __init__(self, url: str, token: str) -> None:
        if not _is_server_url(url):
            raise BadValue(f"{url!r} is not the URL of a server", hint="--server http://host:8642")
        self._parts, self._token = urlsplit(url), token
        self._open: http.client.HTTPConnection | None = None

    def again(self) -> Connection:
        """Return another connection to the same server."""
        return Connection(self._parts.geturl(), self._token)

    def post(self, path: str, message: Any, seconds: float) -> bytes:
        """Send a message, and return the answer. Raise _Away, _Unknown, or Refused."""
        connection = self._open or self._connect(seconds)
        self._open = None
        try:
            if connection.sock is not None:
                connection.sock.settimeout(seconds)
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            connection.request("POST", self._parts.path.rstrip("/") + path, to_json(message), headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _Away(str(error)) from error
        self._open = connection
        if answer.status == http.HTTPStatus.OK:
            return body
        text = body.decode(errors="replace")[:500]
        if answer.status == http.HTTPStatus.NOT_FOUND:
            raise _Unknown(text)
        if answer.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _Away(text)
        raise Refused(f"the server refuses this pilot ({answer.status}): {text}")

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=seconds)


class PilotAgent:
    """A pilot, from its first message to its end."""

    def __init__(
        self, connection: Connection, opening: OpenPilot, note: Callable[[str], None], away: float = AWAY_SECONDS
    ) -> None:
        """`note` receives messages for the user."""
        self._connection, self._opening, self._note, self._away = connection, opening, note, away
        self._until = None if opening.seconds is None else time.monotonic() + opening.seconds
        self._wake, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._received: deque[Commands | None] = deque()  # None: the server does not know the pilot
        self._answered = time.monotonic()
        self._executor: LocalExecutor | None = None
        self._opened: PilotOpened | None = None
        self._generation = 0  # of the exchange thread
        self._acknowledged = 0
        self._gone: tuple[str, ...] = ()
        self._terminated = self._cut_off = False
        self._trouble = ""
        self._done: Done | None = None

    def run(self) -> Done:
        """Work until the server lets the pilot end. Raise Refused if it does not take the pilot."""
        previous = {number: signal.signal(number, self._handle_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._open()
            while self._done is None or self._workers:
                self._step()
            with suppress(_Away, _Unknown, Refused):
                self._exchange()
            return self._done
        finally:
            self._generation += 1
            if self._executor is not None:
                self._executor.close(grace=0.0)
            for number, handler in previous.items():
                signal.signal(number, handler)

    @property
    def _workers(self) -> bool:
        return self._executor is not None and bool(self._executor.workers)

    def _handle_signal(self, *_: object) -> None:
        self._terminated = True
        self._notify()

    def _notify(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_writer, b"!")

    def _open(self) -> None:
        """Open the pilot, and start the thread that waits for commands. Wait for a server that is away."""
        while True:
            seconds = None if self._until is None else max(0.0, self._until - time.monotonic())
            try:
                answer = self._connection.post(PILOTS, replace(self._opening, seconds=seconds), CALL_SECONDS)
                break
            except _Unknown as error:
                raise Refused(f"this is no server of rekindle: {error}") from None
            except _Away as error:
                if self._terminated or time.monotonic() - self._answered > self._away:
                    raise Refused(f"the server does not answer: {error}", hint="`rekindle serve` starts it") from None
                time.sleep(RETRY_SECONDS)
        self._answered = time.monotonic()
        self._opened = read_pilot_opened(answer)
        if self._executor is None:
            _check_spool(self._opened)
            self._executor = LocalExecutor(self._opened.spool)
        self._acknowledged, self._gone = 0, ()
        self._generation += 1
        self._received.clear()
        arguments = (self._generation, self._opened.pilot, self._connection.again())
        threading.Thread(target=self._listen, args=arguments, daemon=True).start()

    def _listen(self, generation: int, pilot: str, connection: Connection) -> None:
        """Hold an exchange open, and pass on what the server answers. Runs in a thread."""
        while generation == self._generation:
            report = Report(acknowledged=self._acknowledged, wait=True)
            try:
                answer = connection.post(f"{PILOTS}/{pilot}/exchange", report, POLL_SECONDS + CALL_SECONDS)
            except _Unknown:
                self._received.append(None)
                self._notify()
                return
            except (_Away, Refused):
                time.sleep(RETRY_SECONDS)
                continue
            if generation == self._generation:
                self._answered = time.monotonic()
                found = read_commands(answer)
                if found.commands:
                    self._received.append(found)
                    self._notify()
                    while generation == self._generation and self._acknowledged < found.first + len(found.commands) - 1:
                        time.sleep(0.002)

    def _step(self) -> None:
        """Wait for news, carry out commands and report. If the server takes the pilot no more, end what runs."""
        try:
            self._advance()
        except Refused as error:
            if self._done is None and self._executor is not None:
                self._note(error.message)
                self._cancel_all(self._executor)
                self._done = Done(error.exit_code, "")

    def _advance(self) -> None:
        assert self._executor is not None
        try:
            self._executor.wait(RETRY_SECONDS, (self._wake,))
        except JournalError as error:
            self._trouble = error.message
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)
        self._gone += tuple(one.name for one in self._executor.gone())
        try:
            while self._received:
                found = self._received.popleft()
                if found is None:
                    raise _Unknown
                self._carry_out(found)
            if self._done is None:
                self._carry_out(self._exchange())
        except _Unknown:
            self._open_again()
        except _Away:
            self._end_if_away(self._executor)
        self._end_in_time(self._executor)

    def _exchange(self) -> Commands:
        """Report, and return the commands that are waiting."""
        assert self._opened is not None
        report = Report(
            acknowledged=self._acknowledged, gone=self._gone, terminated=self._terminated, trouble=self._trouble
        )
        answer = self._connection.post(f"{PILOTS}/{self._opened.pilot}/exchange", report, CALL_SECONDS)
        self._answered = time.monotonic()
        self._gone, self._trouble = self._gone[len(report.gone) :], ""
        found: Commands = read_commands(answer)
        return found

    def _open_again(self) -> None:
        """Let the workers finish what they run, and open the pilot at a server that has been started again."""
        assert self._executor is not None
        for name in self._executor.workers:
            self._executor.retire(name)
        if self._done is None:
            self._note("the server has been started again: opening again; running jobs go on")
            self._open()

    def _end_if_away(self, executor: LocalExecutor) -> None:
        """End the pilot if the server has been away for too long."""
        if self._done is None and time.monotonic() - self._answered > self._away:
            self._note(f"the server has not answered for {self._away:g} s: running jobs end")
            self._cancel_all(executor)
            self._done = Done(1, "")

    def _end_in_time(self, executor: LocalExecutor) -> None:
        """End what runs when the grace period begins, if the server has not done so."""
        due = None if self._until is None else self._until - self._opening.grace + LATE_SECONDS
        away = time.monotonic() - self._answered > LATE_SECONDS
        if away and not self._cut_off and (self._terminated or (due is not None and time.monotonic() > due)):
            self._cancel_all(executor)
            self._done = Done(6, "")

    def _cancel_all(self, executor: LocalExecutor) -> None:
        """End all running attempts; their jobs run again. Let all workers exit."""
        self._cut_off = True
        for name, worker in executor.workers.items():
            executor.recall(name)
            executor.cancel(name, [*worker.work.unfinished], self._opening.name)
            executor.retire(name)

    def _carry_out(self, found: Commands) -> None:
        for number, command in enumerate(found.commands, found.first):
            if number > self._acknowledged:
                self._command(command)
                self._acknowledged = number

    def _command(self, command: Command) -> None:
        executor = self._executor
        assert executor is not None
        if isinstance(command, OpenWorker):
            try:
                executor.open(command.worker)
            except ExecutorError as error:
                self._trouble = error.message
        elif isinstance(command, AssignWork):
            if command.worker in executor.workers:  # else its journal says that it has ended without them
                executor.assign(command.worker, command.tasks, command.work)
        elif isinstance(command, CancelWork):
            self._cut_off |= bool(command.allocation)
            executor.cancel(command.worker, command.tokens, command.allocation)
        elif isinstance(command, RecallWork):
            executor.recall(command.worker)
        elif isinstance(command, Done):
            self._done = command
        elif isinstance(command, CloseWorkers):
            executor.close(command.grace)
            self._gone += tuple(one.name for one in executor.gone())
            self._executor = LocalExecutor(self._opened.spool if self._opened else "")
        else:
            for name in executor.workers if isinstance(command, LeaveWorkers) else [command.worker]:
                executor.retire(name)


def _check_spool(opened: PilotOpened) -> None:
    """Raise Refused if this host does not see the server's spool."""
    from pathlib import Path

    if not Path(opened.spool, "journal").is_dir() and not Path(opened.spool).is_dir():
        raise Refused(
            f"the store's folder {opened.spool} is not on this host",
            hint="a pilot needs the file system on which the server's store is",
        )
