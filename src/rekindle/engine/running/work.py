"""Start a runner: register it, run its loop on an executor, and end or abandon it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.domain.errors import BadValue, Refused, StoreError, StoreUnreachable
from rekindle.domain.models import Runner, RunnerCapacity, Workflow
from rekindle.domain.packing import capacity_of
from rekindle.domain.states import State
from rekindle.domain.texts.quantities import format_duration
from rekindle.engine.machine import capacity_owner, memory, processors, raise_file_limit
from rekindle.engine.notify import Notifier
from rekindle.engine.preconditions import refuse_inside_job, refuse_without_folder, workflows_without_folder
from rekindle.engine.presence import this_process
from rekindle.engine.queries.selections import find_workflow
from rekindle.engine.running.claims import ClaimScope
from rekindle.engine.running.detached import release_canceled
from rekindle.engine.running.lease import LEASE_SECONDS, Lease
from rekindle.engine.running.runner_loop import RunnerLoop
from rekindle.engine.running.signals import Interrupts, StopHandle
from rekindle.engine.running.statistics import RunStatistics

if TYPE_CHECKING:
    from rekindle.engine.results import Progress, WorkOptions, WorkReport
    from rekindle.engine.session import Session
    from rekindle.executors.pool import Executor
    from rekindle.store.archive import Transaction


OUTAGE_SECONDS = 600.0
"""How long a run waits for a database server that does not answer."""

OUTAGE_POLL_SECONDS = 1.0


def work(
    session: Session,
    options: WorkOptions,
    show: Callable[[Progress], None] | None = None,
    executor: Executor | None = None,
    stop: StopHandle | None = None,
) -> WorkReport:
    """Run until no job is ready, running or adoptable (with `watch`: until interrupted).

    The first SIGINT, SIGTERM or SIGHUP cancels running attempts, records that, and ends the run with `interrupted`; a
    second SIGINT or SIGTERM skips grace periods. With `leave_on_interrupt`, running attempts continue instead. `stop`
    ends the run from another thread. Where an exception ends the run, Superseded among them, running attempts continue,
    and the next runner ingests their outcomes. Raise Refused in a process of a job that the run would wait for. `show`
    is called with the progress a few times a second. `executor` replaces the one that the options name.

    Where the store's database server stops answering, running attempts continue; once it answers again, within
    OUTAGE_SECONDS, another runner of this process adopts them. Otherwise StoreUnreachable ends the run.
    """
    statistics, began = RunStatistics(), time.monotonic()
    while True:
        try:
            return _run(session, _with_time_left(options, began), show, executor, stop, statistics)
        except _Outage as outage:
            if executor is not None or options.most is not None:
                raise outage.error from None
            _wait_for_server(session, outage, stop)


class _Outage(Exception):
    """The database server stopped answering a runner, whose running attempts continue."""

    def __init__(self, error: StoreUnreachable, runner: Runner) -> None:
        super().__init__()
        self.error, self.runner = error, runner


def _with_time_left(options: WorkOptions, began: float) -> WorkOptions:
    """Return the options with their durations reduced by the time since `began` (monotonic)."""
    passed = time.monotonic() - began
    wait, claim = (None if one is None else max(0.0, one - passed) for one in (options.wait_timeout, options.claim_for))
    return replace(options, wait_timeout=wait, claim_for=claim)


def _wait_for_server(session: Session, outage: _Outage, stop: StopHandle | None) -> None:
    """Wait until the server answers, and mark the runner as dead, so that the next one adopts its attempts. Raise the
    error of the outage once OUTAGE_SECONDS have passed, or `stop` was called."""
    if session.note is not None:
        session.note(f"{outage.error.message}; running jobs go on; trying again for {format_duration(OUTAGE_SECONDS)}")
    limit = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            with session.store.write() as archive:
                archive.runners.abandon(outage.runner.id, outage.runner.epoch)
            return
        except StoreUnreachable:
            if time.monotonic() >= limit or (stop is not None and stop.is_stopped):
                raise outage.error from None
            time.sleep(OUTAGE_POLL_SECONDS)


def _run(
    session: Session,
    options: WorkOptions,
    show: Callable[[Progress], None] | None,
    executor: Executor | None,
    stop: StopHandle | None,
    statistics: RunStatistics,
) -> WorkReport:
    """Run as `work` does, with one runner. Raise _Outage if the database server stops answering it."""
    workflow = _checked_workflow(session, options)
    stopped = {} if workflow is not None else _without_folder(session)
    slots = options.slots or processors()
    raise_file_limit(slots)
    release_canceled(session)
    executor, stop = executor or load_executor(options.executor, session), stop or StopHandle()
    offer = offer_of(options, slots, workflow.id if workflow else None)
    place, now = this_process(), session.clock()
    with session.store.write() as archive:
        archive.queue.ready(0, 0, only=options.only)  # refuses an invalid condition before the runner is registered
        runner = archive.runners.register(place, executor.name, slots, now, LEASE_SECONDS, options.label, offer)
    lease = Lease(session, runner)
    scope = ClaimScope(
        offer.workflow,
        capacity_of(offer),
        runner.id,
        session.store.folder,
        runner.host,
        options.only,
        options.place,
        stopped,
        owner=capacity_owner(capacity_of(offer)),
    )
    try:
        with (
            closing(Notifier(session.store.folder, runner.id)) as notifier,
            stop.waking(notifier.notify),
            Interrupts() as interrupts,
        ):
            loop = RunnerLoop(
                session, executor, runner, lease, scope, options, notifier, interrupts, stop, show, slots, statistics
            )
            report = loop.run()
            if loop.leaves:
                executor.leave()
            else:
                executor.close(grace=0.0)
            with lease.write(session.clock()) as archive:
                held = _end(archive, session.clock(), runner, scope, report, leaves=loop.leaves)
    except StoreUnreachable as error:
        executor.leave()
        raise _Outage(error, runner) from error
    except BaseException:  # whatever ended the run, the next runner resolves its attempts
        executor.leave()
        _abandon(session, runner)
        raise
    return replace(report, held=held)


def _without_folder(session: Session) -> dict[int, str]:
    """Return the workflows whose jobs cannot run, each with the reason."""
    with session.store.read() as archive:
        directories = archive.workflows.directories()
    if all(Path(one).is_dir() for one in directories):
        return {}
    with session.store.read() as archive:
        workflows = archive.workflows.listing()
    missing = workflows_without_folder(session, workflows)
    return {one.id: f"its workflow's folder is missing: {one.directory}" for one in missing}


def _checked_workflow(session: Session, options: WorkOptions) -> Workflow | None:
    """Return the workflow that the options name. Raise Refused if it is archived, if its folder is missing, or in a
    process of a job that the run would wait for."""
    workflow = find_workflow(session, options.workflow) if options.workflow else None
    if workflow is not None and workflow.archived is not None:
        raise Refused(f"{workflow.name} is archived", hint=f"rekindle workflows archive --undo {workflow.id}")
    if options.linger:
        refuse_inside_job(session, workflow.id if workflow else None)
    if workflow is not None:
        refuse_without_folder(session, [workflow])
    return workflow


def _end(
    archive: Transaction, now: float, runner: Runner, scope: ClaimScope, report: WorkReport, *, leaves: bool
) -> dict[str, int]:
    """Record the end of the run, and return how many of the jobs left are held, by reason."""
    if leaves:
        archive.runners.abandon(runner.id, runner.epoch)
    else:
        archive.runners.end(runner.id, now)
    if report.completed or report.failed or report.canceled or report.reinstated:
        archive.events.add(now, "worked", scope.workflow, _event_detail(runner, report))
    return archive.jobs.count_held(scope.workflow) if report.counts.get(State.READY) else {}


def _event_detail(runner: Runner, report: WorkReport) -> dict[str, int | bool | str]:
    signal = {"signal": report.signal.name} if report.signal else {}
    return {
        "runner": runner.id,
        "completed": report.completed,
        "failed": report.failed,
        "canceled": report.canceled,
        "reinstated": report.reinstated,
        "interrupted": report.interrupted,
        **signal,
    }


def _abandon(session: Session, runner: Runner) -> None:
    """Mark the runner as dead, so that the next runner resolves its attempts at once."""
    try:
        with session.store.write() as archive:
            archive.runners.abandon(runner.id, runner.epoch)
    except StoreError:
        return  # the end of this process will show it


def offer_of(options: WorkOptions, slots: int, workflow: int | None = None) -> RunnerCapacity:
    """Return the capacity that a runner with these options offers to jobs."""
    return RunnerCapacity(
        cpus=float(max(slots, processors())),
        memory=options.memory if options.memory is not None else memory(),
        gpus=options.gpus,
        licences=dict(options.licences),
        workflow=workflow,
        chosen=options.only is not None,
    )


def load_executor(name: str, session: Session) -> Executor:
    """Return the executor of that name. Its module is imported only now."""
    if name == "local":
        from rekindle.executors.local import LocalExecutor

        return LocalExecutor(session.store.folder)
    if name in ("slurm", "dask"):
        raise BadValue(f"the {name} executor is not there yet", hint="--executor local")
    raise BadValue(f"unknown executor {name!r}", hint="executors are local, slurm, dask")
