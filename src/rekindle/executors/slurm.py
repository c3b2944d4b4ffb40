"""Slurm as a placement: a batch is a job array, an element one of its tasks.

Slurm's ids prove nothing: a controller that is killed right after `sbatch` may forget the job, and give its id to
another one; an `sbatch` that was cut off may have submitted a job. So a handle is `ID:TOKEN`, and those jobs are the
batch's whose names end with the token, whatever their ids are. The id is for accounting only.

The queue (`squeue --states=all`, which lists ended jobs for some minutes too) says how far elements are. Accounting is
asked only for the causes of bad ends and for elements that the queue does not list any more: it was seen without jobs
that ran, and with jobs as running that had ended. All commands are those of Slurm's user, found on PATH."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from rekindle.domain.errors import ExecutorError
from rekindle.executors import slurm_states
from rekindle.executors.placement import (
    CALL_SECONDS,
    Batch,
    PlacementBusy,
    PlacementRefused,
    PlacementUnreachable,
    Seen,
)
from rekindle.executors.slurm_states import Element
from rekindle.journal.paths import TOKEN_VARIABLE

_KEPT_VARIABLES = ("SLURM_CONF", "SLURM_JWT")
"""Variables that say which Slurm is meant. Others of Slurm's are options, or those of an enclosing job."""

_VARIABLE = re.compile(r"(SLURMD?|SBATCH|SQUEUE|SACCT|SCANCEL|SCONTROL)_")

_RESERVED = ("--array", "--clusters", "--wait", "--wrap", "--test-only", "--help", "--usage", "--version")
_RESERVED_LETTERS = ("-a", "-M", "-W", "-h", "-V")

_UNREACHABLE = re.compile(
    r"Unable to (contact|establish)|timed out|Connection (refused|reset)|Zero Bytes|Communication|authentication|"
    r"standby mode|Unexpected message|Transport endpoint|resolve",
    re.IGNORECASE,
)

_RETRIES = "temporarily unable to accept job"  # sbatch says so, and tries again for minutes

_BUSY = re.compile(
    rf"{_RETRIES}|SubmitJob|violates accounting/QOS policy|[Tt]ry again|I/O error writing script|not available now"
)

_SIZE = "elements"
"""The file in a batch's folder with the number of its elements: Slurm does not say how many an array had."""

_ACCOUNTING_PAUSE = 60.0  # seconds without calls of sacct after one that failed
_ACCOUNTING_TRIES = 7  # answers about the same elements: after 0, 1, 2, ... 32 seconds
_ADOPTED_DAYS = 7  # how far back accounting is searched for batches that the queue does not list


class _Watch(msgspec.Struct):
    """A batch that is polled."""

    size: int = 0  # how many elements it has, once known
    elements: dict[int, Element] = {}  # as they were seen last, by index
    unclear: set[int] = set()  # those whose end accounting may explain
    answers: int = 0  # how often accounting has answered since one was added
    next_question: float = 0.0  # when accounting is asked again


class SlurmPlacement:
    """Starts batches as job arrays. See `executors.placement.Placement` for the methods."""

    name = "slurm"

    def __init__(self, address: str | None = None, *, seconds: float = CALL_SECONDS - 1) -> None:
        """`address` is the path of a slurm.conf, if it is not the usual one; a call lasts at most `seconds`.

        Raise ExecutorError if Slurm's commands are not there."""
        self._environment = _environment(address)
        self._seconds = seconds
        self._max_elements: int | None = None
        self._watches: dict[str, _Watch] = {}  # by handle
        self._no_accounting_until = 0.0
        if shutil.which("sbatch") is None:
            raise ExecutorError(
                "sbatch is not on PATH", hint="run this on a host from which jobs are submitted to Slurm"
            )

    def max_elements(self) -> int | None:
        """Return the cluster's limit on the size of arrays."""
        if self._max_elements is None:
            text = self._ask(["scontrol", "show", "config"], self._deadline())
            limits = re.findall(r"^MaxArraySize\s*=\s*(\d+)|\bmax_array_tasks=(\d+)", text, re.MULTILINE)
            self._max_elements = min((int(one or other) for one, other in limits), default=1)
        return self._max_elements

    def submit(self, batch: Batch) -> str:
        """Submit an array. Its script is the batch's command with the task's index."""
        arguments, script, deadline = sbatch_arguments(batch), _script(batch), self._deadline()
        try:
            Path(batch.folder, _SIZE).write_text(f"{batch.elements}\n")
        except OSError as error:
            raise PlacementBusy(f"nothing can be written in {batch.folder}: {error.strerror}") from error
        try:
            code, output, errors = self._call(arguments, deadline - self._seconds / 4, script)
        except _NoAnswer as error:
            if _RETRIES not in error.stderr:
                raise
            # sbatch waited before its next try, unless it was killed in the middle of one.
            if handle := _by_token(self._queue(deadline), [batch.token]).get(batch.token):
                return handle
            raise PlacementBusy(f"Slurm is busy: {_errors(error.stderr)}") from None
        match = re.match(r"\d+", output)
        if code == 0 and match:
            return f"{match[0]}:{batch.token}"
        text = _errors(errors) or f"sbatch ended with code {code}"
        if _UNREACHABLE.search(text):
            raise PlacementUnreachable(f"Slurm does not answer: {text}")
        if _BUSY.search(text) and not slurm_states.OVER_LIMIT.search(text):
            raise PlacementBusy(f"Slurm is busy: {text}")
        raise PlacementRefused(f"Slurm refuses the batch: {text}")

    def poll(self, handles: Collection[str]) -> Sequence[Seen]:
        """Read the queue, and ask accounting about elements that ended badly or have left the queue."""
        deadline = self._deadline()
        listed = _by_handle(self._queue(deadline), handles)
        self._watches = {handle: self._watches.get(handle) or _Watch() for handle in handles}
        for handle, watch in self._watches.items():
            _update(watch, listed[handle])
        self._ask_accounting([handle for handle in handles if not listed[handle]], deadline)
        return [
            slurm_states.describe(handle, element)
            for handle, watch in self._watches.items()
            for index, element in watch.elements.items()
            if element.ended or index in listed[handle] or (element.unlisted and listed[handle])
        ]

    def cancel(self, elements: Mapping[str, Collection[int]]) -> None:
        """Cancel those elements that the queue lists under the batch's name."""
        deadline = self._deadline()
        indices: dict[int, list[int]] = {}  # by job
        wanted: dict[str, set[int]] = {}
        for handle, some in elements.items():
            wanted.setdefault(_token(handle), set()).update(some)
        for element in self._queue(deadline):
            if not element.ended and element.index in wanted.get(element.token, ()):
                indices.setdefault(element.job, []).append(element.index)
        jobs = [f"{job}_[{','.join(slurm_states.index_ranges(found))}]" for job, found in indices.items()]
        if jobs:
            _, _, errors = self._call(["scancel", *jobs], deadline)  # also fails for elements that have ended meanwhile
            if _UNREACHABLE.search(errors):
                raise PlacementUnreachable(f"Slurm does not answer: {_errors(errors)}")

    def adopt(self, tokens: Collection[str]) -> Mapping[str, str]:
        """Find batches by the names of jobs: in the queue, then among those that accounting has of the last days."""
        deadline = self._deadline()
        handles = _by_token(self._queue(deadline), tokens)
        missing = [token for token in tokens if token not in handles]
        if missing:
            options = ["--allocations", f"--user={os.getuid()}", f"--starttime=now-{_ADOPTED_DAYS}days"]
            handles |= _by_token(self._accounting(options, deadline) or [], missing)
        return handles

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _deadline(self) -> float:
        return time.monotonic() + self._seconds

    def _queue(self, deadline: float) -> list[Element]:
        """Return the array tasks of this user that the controller knows."""
        options = ["--noheader", "--array", "--states=all", f"--user={os.getuid()}"]
        return slurm_states.read_queue(
            self._ask(["squeue", *options, f"--Format={slurm_states.QUEUE_FORMAT}"], deadline)
        )

    def _ask_accounting(self, unknown: Collection[str], deadline: float) -> None:
        """Complete what the watches hold by what accounting says of unclear elements, and of batches that the
        controller does not know."""
        asked, now = {}, time.monotonic()
        for handle, watch in self._watches.items():
            unclear = {index for index, element in watch.elements.items() if element.unclear}
            if unclear - watch.unclear:
                watch.answers, watch.next_question = 0, now
            watch.unclear = unclear
            open_ = unclear or handle in unknown
            if open_ and watch.answers < _ACCOUNTING_TRIES and now >= watch.next_question:
                asked[handle] = watch
        if not asked:
            return
        # Without a start, some versions list the jobs since midnight only.
        options = [f"--jobs={','.join(map(_job, asked))}", "--starttime=1970-01-01"]
        rows = self._accounting(options, deadline)
        if rows is None:
            return
        for handle, listed in _by_handle(rows, asked).items():
            watch = asked[handle]
            watch.next_question = now + 2.0**watch.answers
            watch.answers += 1
            rest = listed.pop(slurm_states.REST, None)
            if rest is not None:
                for index in watch.elements.keys() - listed.keys():
                    listed[index] = msgspec.structs.replace(rest, index=index)
            for index, row in listed.items():
                element = watch.elements.get(index)
                if row.ended and (element is None or element.unlisted):  # another state may be that of minutes ago
                    watch.elements[index] = row
                elif row.ended and element is not None and element.state == row.state:
                    element.complete(row)

    def _accounting(self, options: Sequence[str], deadline: float) -> list[Element] | None:
        """Return what accounting says; None if it does not answer, which is no failure: it only adds to the queue."""
        now = time.monotonic()
        if now >= deadline or now < self._no_accounting_until:
            return None
        argv = ["sacct", "--noheader", "--parsable2", "--duplicates", f"--format={slurm_states.ACCOUNTING_FORMAT}"]
        try:
            text = self._ask([*argv, *options], min(deadline, now + self._seconds / 2))
        except PlacementUnreachable:
            self._no_accounting_until = time.monotonic() + _ACCOUNTING_PAUSE
            return None
        return slurm_states.read_accounting(text)

    def _ask(self, argv: Sequence[str], deadline: float) -> str:
        """Return what a command prints. Raise PlacementUnreachable if it fails."""
        code, output, errors = self._call(argv, deadline)
        if code != 0:
            raise PlacementUnreachable(f"Slurm does not answer: {_errors(errors) or f'{argv[0]} ended with {code}'}")
        return output

    def _call(self, argv: Sequence[str], deadline: float, stdin: str = "") -> tuple[int, str, str]:
        """Run a command; return its exit code, output and errors. Raise _NoAnswer if it takes too long."""
        seconds = deadline - time.monotonic()
        try:
            process = subprocess.Popen(
                argv,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="surrogateescape",
                start_new_session=True,
            )
        except OSError as error:
            raise PlacementUnreachable(f"{argv[0]} cannot be started: {error.strerror}") from error
        with process:
            try:
                output, errors = process.communicate(stdin, timeout=seconds)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                _, errors = process.communicate()
                raise _NoAnswer(argv[0], seconds, errors) from None
        return process.returncode, output, errors


class _NoAnswer(PlacementUnreachable):
    """A command that took too long and was killed."""

    def __init__(self, command: str, seconds: float, stderr: str) -> None:
        super().__init__(f"Slurm does not answer: {command} took longer than {seconds:.1f} s")
        self.stderr = stderr


def _environment(address: str | None) -> dict[str, str]:
    """Return the variables for Slurm's commands, which `sbatch` passes on to the elements."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES or not _VARIABLE.match(name)}
    kept.pop(TOKEN_VARIABLE, None)  # the elements are no processes of the job that this one may be in
    return kept if address is None else {**kept, "SLURM_CONF": address}


def sbatch_arguments(batch: Batch) -> list[str]:
    """Return the command that submits a batch. Later options override earlier ones: the user's may say how to requeue
    and which gpus, not what the batch itself says."""
    _check_options(batch.options)
    folder = batch.folder.replace("%", "%%")
    limit = "" if batch.at_once is None else f"%{batch.at_once}"
    arguments = ["sbatch", "--parsable", "--no-requeue"]
    if batch.gpus:
        arguments.append(f"--gres=gpu:{batch.gpus}")
    arguments += batch.options
    arguments += [
        f"--job-name={batch.name}",
        f"--array=0-{batch.elements - 1}{limit}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={batch.cpus}",
        f"--chdir={batch.folder}",
        f"--output={folder}/%a.out",
        f"--error={folder}/%a.err",
        "--open-mode=append",
    ]
    if batch.memory:
        arguments.append(f"--mem={math.ceil(batch.memory / 1024**2)}M")
    if batch.seconds is not None:
        arguments.append(f"--time={max(1, math.ceil(batch.seconds / 60))}")
    return arguments


def _check_options(options: Sequence[str]) -> None:
    """Raise PlacementRefused for an option that would change what is submitted, and for a word that is none."""
    value = False  # whether the next word may be the value of the last option
    for word in options:
        name, _, _ = word.partition("=")
        if not (word.startswith("-") or value):
            raise PlacementRefused(f"{word!r} is not an option of sbatch")
        if word.startswith(_RESERVED_LETTERS) or (len(name) > 2 and any(one.startswith(name) for one in _RESERVED)):
            raise PlacementRefused(f"{word} cannot be given: it would change what is submitted")
        value = word.startswith("-") and "=" not in word


def _script(batch: Batch) -> str:
    return f'#!/bin/sh\nexec {shlex.join(batch.argv)} "$SLURM_ARRAY_TASK_ID"\n'


def _update(watch: _Watch, listed: Mapping[int, Element]) -> None:
    """Bring a watch up to date with the queue. What is known of an ended element stays."""
    elements = watch.elements
    for index, element in listed.items():
        if index != slurm_states.REST and not (
            (known := elements.get(index)) and known.ended and element.ended and known.restarts == element.restarts
        ):
            elements[index] = element
    some = next(iter(listed.values()), None)
    if some is not None and not watch.size:
        watch.size = _size(some.folder)
    for index in {*elements, *range(watch.size)} - listed.keys():
        known = elements.get(index)
        if known is not None and not known.ended:
            known.unlisted = True
        elif known is None and some is not None:
            elements[index] = Element(
                job=some.job, index=index, name=some.name, folder=some.folder, state="PENDING", unlisted=True
            )
        # Pending tasks that are canceled vanish; if all of an array are, one row remains for them.
        rest = listed.get(slurm_states.REST)
        if rest is not None and rest.ended and elements[index].unlisted:
            elements[index] = msgspec.structs.replace(rest, index=index)


def _size(folder: str) -> int:
    try:
        return int(Path(folder, _SIZE).read_text())
    except (OSError, ValueError):
        return 0


def _by_handle(elements: Iterable[Element], handles: Iterable[str]) -> dict[str, dict[int, Element]]:
    """Sort elements by handle and index. If a batch was submitted twice, an element that may run counts."""
    tokens = {handle: _token(handle) for handle in handles}
    found: dict[str, dict[int, Element]] = {token: {} for token in tokens.values()}
    for element in elements:
        listed = found.get(element.token)
        if listed is not None:
            other = listed.get(element.index)
            listed[element.index] = element if other is None else max(other, element, key=Element.rank)
    return {handle: dict(found[token]) for handle, token in tokens.items()}


def _by_token(elements: Iterable[Element], tokens: Collection[str]) -> dict[str, str]:
    """Return the handles of batches that elements belong to; of several jobs of one batch, the last counts."""
    jobs: dict[str, int] = {}
    for element in elements:
        jobs[element.token] = max(element.job, jobs.get(element.token, 0))
    return {token: f"{jobs[token]}:{token}" for token in tokens if token in jobs}


def _job(handle: str) -> str:
    return handle.partition(":")[0]


def _token(handle: str) -> str:
    return handle.partition(":")[2]


def _errors(text: str) -> str:
    """Return what a command complains of, without its name before each line."""
    lines = (re.sub(r"^\w+: (error: |fatal: )?", "", line.strip()) for line in text.splitlines())
    return "; ".join(dict.fromkeys(line for line in lines if line))
