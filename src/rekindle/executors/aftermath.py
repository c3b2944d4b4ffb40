"""After a worker's end: what it started and did not end is ended, and what it did not tell is told for it."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rekindle.domain.causes import Cause
from rekindle.domain.errors import ExecutorError
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.states import State
from rekindle.executors.workers import WorkerProcess
from rekindle.journal.copies import remove_tree
from rekindle.journal.ledger import Writer, mend
from rekindle.journal.oomkills import OomKills
from rekindle.journal.orders import Assignment
from rekindle.journal.places import clear_scratch, copy_part, forget_progress, rescue_logs, variable_of
from rekindle.journal.processes import session_members, started_with
from rekindle.journal.records import Closed, Ended, Record, Returned, Started

_PATIENCE = 5.0  # seconds for a killed process to go


def settle(worker: WorkerProcess, kills: OomKills) -> None:
    """The worker's process has ended and is not reaped yet: end all that is left of it, complete its journal, reap it.
    `kills`: how often the kernel has killed for want of memory. JournalError when the journal cannot be completed: the
    next runner finds it as it is, and concludes the same.

    Until it is reaped its number is not given to another, so that its session is surely its own."""
    worker.catch_up()
    _end_session(worker.info.pid)
    _end_strays(worker)
    mend(worker.info.journal)
    worker.catch_up()
    code = worker.reap()
    try:
        if worker.given or code != 0:
            _tell(worker, code, kills.since(worker.kills) if code == -signal.SIGKILL else None)
        clear_scratch(worker.scratch)
    except OSError as error:
        raise ExecutorError(
            f"what worker {worker.info.name} has left in {worker.scratch} cannot be put away: {error.strerror}",
            hint="check its disk, and who may write there; then `rekindle work` goes on",
        ) from error


def _tell(worker: WorkerProcess, code: int, oom: Mapping[str, Any] | None) -> None:
    """Tell of what it was given and has not told: it is lost, where it had started, or where its journal is damaged and
    may have told the start."""
    now = time.monotonic()
    begun = worker.given if worker.damaged else worker.started
    lost = [one for token, one in worker.given.items() if token in begun]
    never = [one for token, one in worker.given.items() if token not in begun]
    records: list[Record] = [_lost(worker, one, code, oom, now) for one in lost]
    if never:
        records.append(Returned(tuple(one.token for one in never), tuple(one.attempt for one in never)))
    for one in lost:
        if one.token in worker.begun:
            rescue_logs(worker.scratch, one.beside, worker.begun[one.token][0])
        forget_progress(one.beside)
        remove_tree(copy_part(one.beside, one.folder, one.token))
        if not one.own and not worker.recipes[one.recipe].keeps_folder:
            _remove_if_empty(one.folder)
    journal = Writer(worker.info.journal)
    journal.append(*records, Closed(at=time.time()))
    journal.close()


def _lost(worker: WorkerProcess, assignment: Assignment, code: int, oom: Mapping[str, Any] | None, now: float) -> Ended:
    """The end of what a worker ran when it died. `oom`: the evidence that memory had run out; `now` is monotonic."""
    cause = Cause.LOST if oom is None else Cause.OOM
    start = worker.started.get(assignment.token) or Started(assignment.attempt, assignment.token, time.time())
    position, begun = worker.begun.get(assignment.token, (assignment.start_step, start.at))
    ended = max(begun, start.now(now))
    steps = worker.recipes[assignment.recipe].steps
    outcomes = tuple(  # none behind the last step, where an attempt begins that has nothing left to do
        StepOutcome(position, step.name, State.FAILED, cause, started=begun, ended=ended)
        for step in steps[position : position + 1]
    )
    death = f"was killed by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
    message = f"its worker (pid {worker.info.pid}) {death}"
    if oom is not None:
        message += ": the kernel was out of memory"
    evidence: dict[str, Any] = {
        **(oom or {}),
        "worker": worker.info.name,
        "pid": worker.info.pid,
        "exit_code": code,
        "stderr": worker.said(),
    }
    if worker.damaged:
        evidence["damaged"] = worker.damaged
        message += "; its journal is damaged, and may have told the end"
    return Ended(
        attempt=assignment.attempt,
        token=assignment.token,
        at=ended,
        state=State.FAILED,
        started=start.at,
        cause=cause,
        failure=Failure(message=message),
        evidence=json.dumps(evidence),
        steps=outcomes,
    )


def _end_session(leader: int) -> None:
    """Kill what still runs in the session that the worker leads: its call host, commands, and what they started."""
    limit = time.monotonic() + _PATIENCE
    while (members := session_members(leader)) and time.monotonic() < limit:
        for pid in members:
            _kill(pid, limit)


def _end_strays(worker: WorkerProcess) -> None:
    """Kill what has left that session and still has an attempt's token in its environment."""
    tokens = {variable_of(token).encode(): token for token in worker.given}
    limit = time.monotonic() + _PATIENCE
    while tokens and (strays := started_with(tokens)) and time.monotonic() < limit:
        for pid, _ in strays:
            _kill(pid, limit)


def _kill(pid: int, limit: float) -> None:
    """Kill a process, whoever's child it is, and wait until it has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(max(0.0, limit - time.monotonic()) * 1000)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _remove_if_empty(folder: str) -> None:
    try:
        Path(folder).rmdir()
    except OSError:
        return  # something is in it, or it was never made


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
