"""Subtasks that run at once: each a process group with its own log and folder, or a call in one of several hosts."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from rekindle.domain.definition import Step
from rekindle.domain.subtasks import Known
from rekindle.files.leaves import open_own
from rekindle.files.modes import make_folder
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.places import (
    HOST,
    STREAMS,
    clear_scratch,
    log_path,
    remove_empty,
    subtask_folder,
    subtasks_folder,
)
from rekindle.journal.processes import children_of
from rekindle.worker.activity import Activity
from rekindle.worker.calls import CallStep, Hosts
from rekindle.worker.capture import TAIL, BadLog, is_at, put_in_place
from rekindle.worker.commands import Command
from rekindle.worker.findings import StartError, StepEnd
from rekindle.worker.frame import Frame, frame_of_subtask
from rekindle.worker.reaping import orphans, signal_trees
from rekindle.worker.tools import Tools
from rekindle.worker.wire import Subtask


@dataclass(frozen=True, slots=True)
class Site:
    """Where a fan-out runs: whose step it is, and with what."""

    tools: Tools
    recipe: Recipe
    assignment: Assignment
    position: int
    frame: Frame

    @property
    def step(self) -> Step:
        """The fan-out step."""
        return self.recipe.steps[self.position]


class Pool:
    """Room for `size` subtasks at once."""

    def __init__(self, site: Site, size: int) -> None:
        self._site, self.size = site, size
        self._commands: dict[int, Command] = {}
        self._idle: list[Hosts] = []
        self._busy: dict[int, Hosts] = {}
        self._hosts: list[Hosts] = []

    def start(self, one: Known) -> Activity:
        """Start a subtask. StartError, BadValue or UnknownWord when it cannot be started."""
        site = self._site
        folder = subtask_folder(site.assignment.beside, site.position, one.index)
        subtask = Subtask(one.index, one.item, folder)
        if site.step.call is not None:
            hosts = self._idle.pop() if self._idle else self._another()
            self._busy[one.index] = hosts
            return CallStep(hosts, site.recipe, site.assignment, site.position, subtask=subtask)
        try:
            site.tools.folders.make(folder)
        except OSError as error:
            raise StartError(f"cannot make the subtask's folder {folder}: {error.strerror}") from error
        frame = frame_of_subtask(site.frame, subtask)
        try:
            log = site.tools.teller.storage.insist(lambda: Log(folder, site.position))
        except OSError as error:
            raise StartError(f"cannot open the subtask's log in {folder}: {error.strerror}") from error
        try:
            own = msgspec.structs.replace(site.assignment, folder=folder, own="")
            command = Command(site.step, site.position, frame, own, log, self._others)
        except BaseException:  # it did not start, for whatever reason: its log is not left open
            log.keep(folder, site.position)
            raise
        self._commands[one.index] = command
        return command

    def clear(self, one: Known, end: StepEnd) -> None:
        """A subtask has ended: free its room, remove its folder if that is empty."""
        site = self._site
        folder = subtask_folder(site.assignment.beside, site.position, one.index)
        if one.index in self._busy:
            self._idle.append(self._busy.pop(one.index))
            site.tools.teller.storage.insist(lambda: _keep_traceback(end, log_path(folder, site.position, "err")))
            return
        self._commands.pop(one.index, None)
        site.tools.folders.clear(folder, quiet=True)

    def strays(self) -> list[int]:
        """What subtasks have left behind: living children of this process that no subtask is, nor a host."""
        return orphans({*self._all_hosts(), *(command.pid for command in self._commands.values())})

    def signal_strays(self, number: int) -> None:
        """Send a signal to what subtasks have left behind, and to all that this has started."""
        signal_trees(0, self.strays(), number)

    def close(self) -> None:
        """All have ended: let extra hosts go, and remove folders that nothing is in."""
        for number, hosts in enumerate(self._hosts):
            hosts.retire()
            clear_scratch(self._scratch(number))
        remove_empty(subtasks_folder(self._site.assignment.beside))

    def _another(self) -> Hosts:
        """A host more. With room for one only, it is the worker's own."""
        tools = self._site.tools
        if self.size == 1:
            return tools.hosts
        scratch = self._scratch(len(self._hosts))
        tools.teller.storage.insist(lambda: make_folder(scratch))
        spares = self._site.recipe.leave_running
        hosts = Hosts(tools.teller.journal.path, scratch, tools.teller.storage, self._all_hosts, spares=spares)
        self._hosts.append(hosts)
        return hosts

    def _scratch(self, number: int) -> str:
        return f"{self._site.tools.scratch}/{HOST}{number}"

    def _all_hosts(self) -> Collection[int]:
        return [pid for hosts in (self._site.tools.hosts, *self._hosts) for pid in hosts.own()]

    def _others(self) -> Collection[int]:
        """Every child of this process: when one subtask has ended, what another has left behind cannot be told from
        what it still needs, so that only the group of the first is killed. Those that are dead are reaped here."""
        mine = {*self._site.tools.hosts.own(), *(command.pid for command in self._commands.values())}
        children = children_of(os.getpid())
        for pid in children:
            if pid not in mine:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        return children


class Log:
    """What one subtask prints: straight into the files where it stays, behind what its earlier runs printed."""

    def __init__(self, folder: str, position: int) -> None:
        self._paths = [log_path(folder, position, stream) for stream in STREAMS]
        self._fds = [open_own(path, os.O_RDWR | os.O_APPEND) for path in self._paths]
        self._before = os.fstat(self.err).st_size

    @property
    def out(self) -> int:
        """The descriptor for stdout."""
        return self._fds[0]

    @property
    def err(self) -> int:
        """The descriptor for stderr."""
        return self._fds[1]

    def tail(self) -> str:
        """The end of what this run wrote to stderr."""
        size = os.fstat(self.err).st_size
        begin = max(self._before, size - TAIL)
        return os.pread(self.err, TAIL, begin).decode(errors="backslashreplace") if size > begin else ""

    def keep(self, folder: str, position: int, quiet: bool = True) -> None:  # noqa: ARG002 - they are in place
        """It has ended: close the files, and remove those that are empty. BadLog, once that is done, when the subtask
        has put something else in the place of a file."""
        wrong = ""
        for path, fd in zip(self._paths, self._fds, strict=True):
            try:
                if not is_at(fd, path):
                    wrong = put_in_place(fd, path, path) or wrong
                if not os.fstat(fd).st_size:
                    os.unlink(path)
            except OSError as error:
                if os.fstat(fd).st_size:  # an empty log is no loss
                    wrong = f"the log {path} cannot be written: {error.strerror}"
            os.close(fd)
        if wrong:
            raise BadLog(wrong)


def _keep_traceback(end: StepEnd, path: str) -> None:
    """What a call that failed raised, in its log: a subtask's row has no room for it."""
    if end.failure is None or not (end.failure.traceback or end.failure.message):
        return
    make_folder(os.path.dirname(path))
    with open(open_own(path, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8", errors="replace") as file:
        file.write((end.failure.traceback or end.failure.message).rstrip("\n") + "\n")


def lean(assignment: Assignment) -> Assignment:
    """An assignment without what only the worker itself needs."""
    return msgspec.structs.replace(assignment, fan_outs=(), seen=(), began=None)
