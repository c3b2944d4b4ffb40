"""Subtasks that run at once: each a process group with its own log and folder, or a call in one of several hosts.
Also the resources that a worker keeps from one attempt to the next."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from rekindle.files.store_files import make_folder, open_store_file
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.journal.paths import (
    HOST_PREFIX,
    clear_scratch,
    log_path,
    remove_empty,
    subtask_folder,
    subtasks_folder,
)
from rekindle.journal.processes import OomKillCounter, children_of
from rekindle.worker.attempt_environment import AttemptEnvironment, subtask_environment
from rekindle.worker.attempt_folders import AttemptFolders
from rekindle.worker.call_protocol import SubtaskRun
from rekindle.worker.call_steps import CallHosts, CallStep
from rekindle.worker.command_steps import CommandStep, signal_trees, stray_children
from rekindle.worker.fingerprints import Fingerprinter
from rekindle.worker.logs import StepLogs, SubtaskLogs
from rekindle.worker.reporter import Reporter
from rekindle.worker.steps import Activity, StartError, StepEnd

if TYPE_CHECKING:
    from rekindle.domain.definition import Step
    from rekindle.domain.subtasks import KnownSubtask


class FanOutContext(msgspec.Struct, frozen=True):
    """The step that a fan-out runs, and its resources."""

    resources: WorkerResources
    template: TaskTemplate
    assignment: Assignment
    position: int
    env: AttemptEnvironment

    @property
    def step(self) -> Step:
        """The fan-out step."""
        return self.template.steps[self.position]


class SubtaskPool:
    """Runs up to `size` subtasks at once."""

    def __init__(self, context: FanOutContext, size: int) -> None:
        self._context, self.size = context, size
        self._commands: dict[int, CommandStep] = {}
        self._idle: list[CallHosts] = []
        self._busy: dict[int, CallHosts] = {}
        self._hosts: list[CallHosts] = []

    def start(self, one: KnownSubtask) -> Activity:
        """Start a subtask. Raise StartError, BadValue or UnknownWord if it cannot be started."""
        context = self._context
        folder = subtask_folder(context.assignment.file_prefix, context.position, one.index)
        subtask = SubtaskRun(one.index, one.item, folder)
        if context.step.call is not None:
            hosts = self._idle.pop() if self._idle else self._new_hosts()
            self._busy[one.index] = hosts
            return CallStep(hosts, context.template, context.assignment, context.position, subtask=subtask)
        try:
            context.resources.folders.make(folder)
        except OSError as error:
            raise StartError(f"cannot make the subtask's folder {folder}: {error.strerror}") from error
        env = subtask_environment(context.env, subtask)
        try:
            log = context.resources.reporter.storage.retry(lambda: SubtaskLogs(folder, context.position))
        except OSError as error:
            raise StartError(f"cannot open the subtask's log in {folder}: {error.strerror}") from error
        try:
            own = msgspec.structs.replace(context.assignment, folder=folder, own="")
            command = CommandStep(
                context.step, context.position, env, own, log, self._children, context.resources.folders
            )
        except BaseException:  # the command did not start: close its log
            log.keep(folder, context.position)
            raise
        self._commands[one.index] = command
        return command

    def clear(self, one: KnownSubtask, end: StepEnd) -> None:
        """Free the room of an ended subtask, and remove its folder if it is empty."""
        context = self._context
        folder = subtask_folder(context.assignment.file_prefix, context.position, one.index)
        if one.index in self._busy:
            self._idle.append(self._busy.pop(one.index))
            context.resources.reporter.storage.retry(
                lambda: _keep_traceback(end, log_path(folder, context.position, "err"))
            )
            return
        self._commands.pop(one.index, None)
        context.resources.folders.clear(folder, left_nothing=True)

    def stray_processes(self) -> list[int]:
        """Return the living children of this process that are neither subtasks nor hosts."""
        return stray_children({*self._all_hosts(), *(command.pid for command in self._commands.values())})

    def signal_stray_processes(self, number: int) -> None:
        """Send a signal to stray processes and their descendants."""
        signal_trees(0, self.stray_processes(), number)

    def close(self) -> None:
        """Retire additional hosts and remove empty folders, after all subtasks have ended."""
        for number, hosts in enumerate(self._hosts):
            hosts.retire()
            clear_scratch(self._scratch(number))
        remove_empty(subtasks_folder(self._context.assignment.file_prefix))

    def _new_hosts(self) -> CallHosts:
        """Return an additional host. With room for one only, return the worker's own."""
        resources = self._context.resources
        if self.size == 1:
            return resources.hosts
        scratch = self._scratch(len(self._hosts))
        resources.reporter.storage.retry(lambda: make_folder(scratch))
        leave_running = self._context.template.leave_running
        hosts = CallHosts(
            resources.reporter.journal.path,
            scratch,
            resources.reporter.storage,
            resources.reporter.wake,
            self._all_hosts,
            leave_running=leave_running,
        )
        self._hosts.append(hosts)
        return hosts

    def _scratch(self, number: int) -> str:
        return f"{self._context.resources.scratch}/{HOST_PREFIX}{number}"

    def _all_hosts(self) -> Collection[int]:
        return [pid for hosts in (self._context.resources.hosts, *self._hosts) for pid in hosts.pids()]

    def _children(self) -> Collection[int]:
        """Return every child of this process, and reap dead ones. A process that another subtask has left may still
        be in use, so that only the group of an ended subtask is killed."""
        mine = {*self._context.resources.hosts.pids(), *(command.pid for command in self._commands.values())}
        children = children_of(os.getpid())
        for pid in children:
            if pid not in mine:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        return children


def _keep_traceback(end: StepEnd, path: str) -> None:
    """Write the error of a failed call to its log: a subtask's row has no room for it."""
    if end.failure is None or not (end.failure.traceback or end.failure.message):
        return
    make_folder(os.path.dirname(path))
    with open(open_store_file(path, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8", errors="replace") as file:
        file.write((end.failure.traceback or end.failure.message).rstrip("\n") + "\n")


def without_history(assignment: Assignment) -> Assignment:
    """Return an assignment without the fields that only the worker needs."""
    if not assignment.fan_outs and not assignment.seen and assignment.began is None:
        return assignment
    return msgspec.structs.replace(assignment, fan_outs=(), seen=(), began=None)


class WorkerResources(msgspec.Struct, frozen=True):
    """The resources of a worker."""

    reporter: Reporter
    capture: StepLogs
    folders: AttemptFolders
    hosts: CallHosts
    fingerprints: Fingerprinter
    kills: OomKillCounter
    base_variables: dict[str, str]  # this process's environment
    scratch: str  # the worker's own folder
