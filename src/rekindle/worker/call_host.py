"""The call host: a warm process beside a worker that runs Python functions. A function that kills its process kills
this one and not the worker.

`python -P -m rekindle.worker.call_host JOURNAL SCRATCH WORKER-PID PROJECT`, with the descriptors of
worker.call_protocol.

The host checks whether its loaded code is still the code on disk: project files before every call, installed files at
most once a second. It compares (mtime, ctime, size, inode): one of the others shows a change within one tick of a
coarse clock, or with the old mtime restored. Python's own cache of compiled files compares whole seconds only; it is
not used for a source that changed less than two seconds before it was compiled."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.substitution import render_value
from rekindle.files.store_files import is_fully_durable
from rekindle.journal.log import JournalWriter, encode_line
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.journal.processes import start_of
from rekindle.journal.records import Ended, Record, Started
from rekindle.worker.attempt_environment import (
    AttemptEnvironment,
    base_environment,
    build_environment,
    memory_limit,
    remove_inputs_file,
    set_inputs,
    subtask_environment,
)
from rekindle.worker.attempt_folders import AttemptFolders, apply_action, check_in_place, reject_end
from rekindle.worker.call_protocol import (
    REPLIES_FD,
    REPORT_INTERVAL,
    STATUS_FD,
    TASKS_FD,
    WAKE_FD,
    BatchReply,
    BatchTask,
    LineReader,
    SharedStatus,
    StepReply,
    StepTask,
    Task,
    send,
)
from rekindle.worker.command_steps import become_subreaper, die_with_parent, has_no_children, left_running
from rekindle.worker.declared_files import PartialOutputs, check_outputs, prepare
from rekindle.worker.fan_out_steps import items_step
from rekindle.worker.fingerprints import Fingerprinter
from rekindle.worker.function_calls import CallResult, Context, FunctionCache, call_function
from rekindle.worker.heartbeat import REVOKED_EXIT_CODE, RevocationCheck
from rekindle.worker.limits import held_at_most
from rekindle.worker.logs import BadLog, StepLogs
from rekindle.worker.process_state import ProcessState
from rekindle.worker.reporter import DiskRetry, wake_runner
from rekindle.worker.steps import (
    CLOCK,
    StepEnd,
    StepTotals,
    crashed_step,
    ended_record,
    failed_step,
    started_record,
    step_outcome,
    wall_time,
)

if TYPE_CHECKING:
    from types import CodeType

    from rekindle.domain.definition import Step


class CallServer:
    """Runs the worker's tasks, one call after the other."""

    def __init__(self, journal: str, scratch: str) -> None:
        self._status = status = SharedStatus(STATUS_FD)
        self._journal = JournalWriter(journal, durable=is_fully_durable(os.environ))
        self._journal.before_write = RevocationCheck(journal, lambda: os._exit(REVOKED_EXIT_CODE))
        self._storage = DiskRetry(status.report_disk_error, lambda: self._journal.gone)
        self._pending_end: Ended | None = None  # journaled together with the next start
        self._capture = StepLogs(f"{scratch}/call.", self._storage)
        self._folders = AttemptFolders(f"{scratch}/call.spare", self._storage)
        self._functions = FunctionCache()
        self._fingerprints = Fingerprinter()
        self._loaded_code = LoadedCode()
        self._templates: dict[int, TaskTemplate] = {}
        self._base_variables = base_environment()
        self._state = ProcessState()
        self._module: str | None = None  # the only one whose calls may run here: its import has changed the state
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._children_cpu = 0.0
        self._folder_unused = False  # the last call's, when it had ended
        self._pid = os.getpid()
        self._pid_start = start_of(self._pid)
        self._has_called = False  # no call has been made here
        self._clean = True  # no call has left a process or a thread behind, or a state that cannot be put back
        self._redirect()

    def serve(self) -> None:
        """Work until the worker closes its end, or until this process cannot be used again."""
        lines = LineReader(TASKS_FD, Task)
        while not lines.ended:
            for task in lines.take():
                if isinstance(task, TaskTemplate):
                    self._templates[task.id] = task
                    continue
                reply = self._batch(task) if isinstance(task, BatchTask) else self._one(task)
                send(REPLIES_FD, reply)
                if not reply.fresh:
                    return

    def _batch(self, batch: BatchTask) -> BatchReply:
        until = time.monotonic() + REPORT_INTERVAL
        done = 0
        fresh = True
        for position, assignment in enumerate(batch.work):
            if done and time.monotonic() >= until:
                break
            fresh = self._can_run(self._templates[assignment.template].steps[0], assignment)
            if not fresh or not self._status.claim(position):
                break
            self._attempt(assignment, batch.code)
            done += 1
            if not self._clean:
                fresh = False
                break
        self._folders.take_back()
        if self._pending_end is not None:
            self._record()
        wake_runner(WAKE_FD)  # not by way of the worker: jobs that need these may be waiting
        return BatchReply(done, fresh)

    def _can_run(self, step: Step, assignment: Assignment) -> bool:
        """Return whether a call may run in this process: its code is current, earlier calls have not left too much
        memory, and no other module's import has changed the state."""
        if self._module is not None and self._module != _module(step):
            return False
        return self._loaded_code.changed() is None and not self._is_over_limit(assignment)

    def _is_over_limit(self, assignment: Assignment) -> bool:
        """Return whether earlier calls have left more memory here than this call's limit. Memory held before does
        not count for the call."""
        limit = memory_limit(self._templates[assignment.template], assignment)
        if not limit:
            return False
        self._status.held = held = held_at_most(self._pid)
        return self._has_called and held > limit

    def _record(self, *records: Record) -> None:
        """Journal records, behind the pending end."""
        if self._pending_end is not None:
            records = (self._pending_end, *records)
        lines = b"".join(map(encode_line, records))
        self._storage.retry(lambda: self._journal.write(lines))
        self._pending_end = None

    def _attempt(self, assignment: Assignment, code: str | None) -> None:
        """Run an attempt of one step. Its end is journaled before, and together with, the next start."""
        CLOCK.set()
        template = self._templates[assignment.template]
        step = template.steps[0]
        env = prepare(template, assignment, self._base_variables, self._folders)
        if isinstance(env, Ended):
            self._record(env)
            return
        start = started_record(assignment, self._pid, self._pid_start)
        self._record(start)
        self._status.start = time.monotonic()
        try:
            self._pending_end = self._run_attempt(step, env, template, assignment, start, code)
        except Exception as error:
            if self._storage.disk_error or self._storage.gone:
                raise
            self._clean = False  # this process serves no other call
            end = crashed_step(start.at, error)
            self._pending_end = ended_record(
                assignment, start.at, step_outcome(0, step.name, end), end, StepTotals(), code=code
            )

    def _run_attempt(
        self,
        step: Step,
        env: AttemptEnvironment,
        template: TaskTemplate,
        assignment: Assignment,
        start: Started,
        code: str | None,
    ) -> Ended:
        left = PartialOutputs(template, assignment, env)
        fingerprint = self._fingerprints.begin(template, assignment, env)
        if fingerprint is not None:
            fingerprint.take_inputs()
        end, _ = apply_action(self._perform(step, 0, env, template, assignment, last=True), env)
        self._status.start = 0.0
        if not assignment.own:
            self._folders.clear(assignment.folder, self._clean, unused=self._folder_unused)
        remove_inputs_file(assignment)
        totals = StepTotals(end.cpu_seconds, end.max_rss_bytes, end.verdict, end.left)
        ended = ended_record(assignment, start.at, step_outcome(0, step.name, end), end, totals, code=code)
        if fingerprint is not None:
            if end.completed:
                fingerprint.take_outputs()
                ended = msgspec.structs.replace(ended, cached=fingerprint.keep_outputs(assignment.attempt))
            ended = fingerprint.complete(ended)
        return left.complete(ended)

    def _one(self, task: StepTask) -> StepReply:
        """Run one step of an attempt whose folder and records are the worker's."""
        CLOCK.set()
        assignment = task.assignment
        template = self._templates[assignment.template]
        env = build_environment(template, assignment, self._base_variables)
        set_inputs(env, assignment, there=True)
        step = template.steps[task.position]
        last = task.position == len(template.steps) - 1 and step.each is None
        if task.items:
            step = items_step(step)
        if not self._can_run(step, assignment):
            return StepReply(None, fresh=False)
        if task.subtask is not None:
            env = subtask_environment(env, task.subtask)
            assignment = msgspec.structs.replace(assignment, folder=task.subtask.folder, own="")
        started = wall_time()
        try:
            end = self._perform(step, task.position, env, template, assignment, last)
        except Exception as error:  # noqa: BLE001 - as in worker.attempts.abandon
            self._clean = False
            end = crashed_step(started, error)
        return StepReply(end, self._clean)

    def _perform(
        self,
        step: Step,
        position: int,
        env: AttemptEnvironment,
        template: TaskTemplate,
        assignment: Assignment,
        last: bool,
    ) -> StepEnd:
        """Call the step's function; return its end, with its logs in place."""
        self._has_called, self._folder_unused = True, False
        started = wall_time()
        before = time.process_time()
        try:
            os.chdir(env.directory)
        except OSError as error:
            return failed_step(started, Cause.START, f"cannot enter {env.directory}: {error.strerror}")
        env.variables["REKINDLE_STEP"] = step.name
        self._state.enter(env.variables)
        finding = self._call(step, env, template, assignment)
        if os.getpid() != self._pid:  # the call has forked, and its child has returned too
            os._exit(0)
        alone, restored = has_no_children(), self._state.restore()
        self._clean = alone and restored
        self._redirect()
        tail = self._capture.tail() if finding.cause is not None or (last and env.outputs) else ""
        end = _end_of(finding, started, time.process_time() - before + self._cpu_of_children(), tail)
        if not alone:
            end = msgspec.structs.replace(end, left=left_running(()))
        if last and end.completed:
            end = check_outputs(end, env, tail)
        self._folder_unused = not assignment.own and self._folders.is_unused(assignment.folder)
        if not self._folder_unused:
            end = check_in_place(end, assignment.report_prefix)
        replaced = self._capture.replaced
        try:
            self._capture.keep(assignment.file_prefix, position, self._clean)
        except BadLog as error:
            end = reject_end(end, error, tail)
        if self._capture.replaced != replaced:
            self._redirect()
        return end

    def _call(self, step: Step, env: AttemptEnvironment, template: TaskTemplate, assignment: Assignment) -> CallResult:
        name = step.call or ""
        known = name in self._functions
        found = self._functions.find(name)
        if not known and name in self._functions and self._state.keep_imported():
            self._module = _module(step)
        if isinstance(found, CallResult):
            return found
        function, takes_context = found
        try:
            arguments: dict[str, Any] = render_value(step.args, env.scope)
        except RekindleError as error:
            return CallResult.not_started(str(error))
        if not takes_context or "ctx" in arguments:
            return call_function(function, arguments)
        context = Context(template, assignment, step.name, env.scope["params"], env.scope.get("item"))
        finding = call_function(function, {**arguments, "ctx": context})
        return finding if context.given is None else msgspec.structs.replace(finding, verdict=context.given)

    def _cpu_of_children(self) -> float:
        """Return the processor time of processes that ended since the last call."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        before, self._children_cpu = self._children_cpu, usage.ru_utime + usage.ru_stime
        return self._children_cpu - before

    def _redirect(self) -> None:
        """Point stdin, stdout and stderr to their files, wherever a call has pointed them."""
        os.dup2(self._null, 0)
        os.dup2(self._capture.out, 1)
        os.dup2(self._capture.err, 2)


def _module(step: Step) -> str:
    return (step.call or "").partition(":")[0]


def _end_of(finding: CallResult, started: float, cpu_seconds: float, stderr: str) -> StepEnd:
    failure = finding.failure
    if failure is not None and stderr:
        failure = msgspec.structs.replace(failure, stderr=stderr)
    return StepEnd(
        State.COMPLETED if finding.cause is None else State.FAILED,
        started,
        wall_time(),
        finding.cause,
        finding.exit_code,
        failure=failure,
        result=finding.result,
        passed_on=finding.passed_on,
        action=finding.action,
        verdict=finding.verdict if finding.cause is None else None,
        cpu_seconds=cpu_seconds,
        # The highest that this process ever had: a call's own share is at most that.
        max_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def main(arguments: list[str]) -> None:
    """Set up the process and serve."""
    journal, scratch, worker, project = arguments
    die_with_parent(int(worker))
    become_subreaper()
    for fd in (TASKS_FD, REPLIES_FD, STATUS_FD, WAKE_FD):
        os.set_inheritable(fd, False)
    sys.argv = [""]
    sys.path.insert(0, project)
    CallServer(journal, scratch).serve()


_SETTLED = 2_000_000_000  # nanoseconds
_PACKAGES = ("/site-packages/", "/dist-packages/")
_STDLIB = os.path.dirname(os.__file__) + "/"
_SECOND = 1.0

_Stat = tuple[int, int, int, int]


def _stat(path: str) -> _Stat | None:
    """Return the values that identify a file's content without reading it; None if it does not exist."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


class LoadedCode:
    """The code that this process has loaded, and its files' stat at that time."""

    def __init__(self) -> None:
        """Watch imports from now on; earlier modules count as installed."""
        self._own: dict[str, _Stat | None] = {}
        self._installed: dict[str, _Stat | None] = {}
        self._known: set[str] = set()
        self._checked_at = time.monotonic()
        self._scan(self._installed)
        self._watch_imports()

    def changed(self) -> str | None:
        """Return a file that has changed since it was loaded; None if there is none."""
        if len(sys.modules) != len(self._known):
            self._scan(self._own)
        for path, seen in self._own.items():
            if _stat(path) != seen:
                return path
        now = time.monotonic()
        if now - self._checked_at >= _SECOND:
            self._checked_at = now
            for path, seen in self._installed.items():
                if _stat(path) != seen:
                    return path
        return None

    def loading(self, path: str) -> None:
        """Note a project's source file that is about to be read."""
        self._own[path] = _stat(path)

    def _scan(self, own: dict[str, _Stat | None]) -> None:
        """Add newly loaded modules; those of the project that have a source are known already."""
        for name, module in list(sys.modules.items()):
            if name in self._known:
                continue
            self._known.add(name)
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or path in self._own or path in self._installed:
                continue
            if any(part in path for part in _PACKAGES):
                self._installed[path] = _stat(path)
            elif not path.startswith(_STDLIB):
                own[path] = _stat(path)
        self._known.intersection_update(sys.modules)

    def _watch_imports(self) -> None:
        machinery = importlib.machinery
        loaded_code = self

        class Loader(machinery.SourceFileLoader):
            """Notes how a file looks before it is read, and does not take compiled code that may be older."""

            def get_code(self, fullname: str) -> CodeType | None:
                path = self.get_filename(fullname)
                loaded_code.loading(path)
                if _cache_is_safe(path):
                    return super().get_code(fullname)
                return self.source_to_code(self.get_data(path), path)

        hook = machinery.FileFinder.path_hook(
            (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
            (Loader, machinery.SOURCE_SUFFIXES),
            (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
        )

        def project_only(entry: str) -> object:
            folder = entry.rstrip("/") + "/"
            if folder.startswith(_STDLIB) or any(part in folder for part in _PACKAGES):
                raise ImportError(f"{entry} is not a project's")
            return hook(entry)

        sys.path_hooks.insert(0, project_only)  # type: ignore[arg-type]
        sys.path_importer_cache.clear()


def _cache_is_safe(path: str) -> bool:
    """Return whether the source was two seconds old when it was compiled, or is that old and was never compiled."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    try:
        compiled = os.stat(importlib.util.cache_from_source(path)).st_mtime_ns
    except (OSError, NotImplementedError):
        compiled = time.time_ns()
    return compiled - changed > _SETTLED


if __name__ == "__main__":
    main(sys.argv[1:])
