"""Start a runner: register it, run its loop on an executor, and end or abandon it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.domain.errors import Refused, StoreError, StoreUnreachable
from rekindle.domain.packing import capacity_of
from rekindle.domain.states import State
from rekindle.domain.texts.quantities import format_duration
from rekindle.engine.allocation import find_allocation
from rekindle.engine.hooks import end_run, hooks_watched
from rekindle.engine.machine import capacity_owner, raise_file_limit
from rekindle.engine.notify import Notifier
from rekindle.engine.preconditions import refuse_inside_job, refuse_without_folder, workflows_without_folder
from rekindle.engine.presence import this_process
from rekindle.engine.queries.selections import find_workflow
from rekindle.engine.reuse_offers import offer_reuse
from rekindle.engine.running.claims import ClaimScope
from rekindle.engine.running.detached import release_canceled
from rekindle.engine.running.executor_choice import (
    LOCAL,
    EngineThreads,
    load_executor,
    offer_of,
    processors_of,
    with_executor,
)
from rekindle.engine.running.lease import LEASE_SECONDS, Lease
from rekindle.engine.running.runner_loop import RunnerLoop
from rekindle.engine.running.signals import Interrupts, StopHandle
from rekindle.engine.running.statistics import RunStatistics

if TYPE_CHECKING:
    from rekindle.domain.models import Runner, Workflow
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
    ends the run from another thread. In an allocation, its size bounds what runs at once; a grace period before its
    end, or at a SIGTERM, running attempts are canceled, their jobs become ready again, and the run ends.

    Where an exception ends the run, Superseded among them, running attempts continue, and the next runner ingests their
    outcomes. Raise Refused in a process of a job that the run would wait for. `show` is called with the progress a few
    times a second. `executor` replaces the one that the options name.

    Where the store's database server stops answering, running attempts continue; once it answers again, within
    OUTAGE_SECONDS, another runner of this process adopts them. Otherwise StoreUnreachable ends the run.

    Hooks of workflows whose runs have ended run before this returns.
    """
    steps = work_in_steps(session, options, show, executor, stop)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            report: WorkReport = end.value
            return report


Steps = Generator[None, None, "WorkReport"]
"""A run that its caller continues after each iteration."""


def work_in_steps(
    session: Session,
    options: WorkOptions,
    show: Callable[[Progress], None] | None = None,
    executor: Executor | None = None,
    stop: StopHandle | None = None,
) -> Steps:
    """Run as `work` does, and yield after each iteration: several runs can take turns in one thread."""
    workflow = find_workflow(session, options.workflow).id if options.workflow else None
    with session.store.read() as archive:
        first, reuses = archive.queue.next_attempt(), options.reuse and archive.reuse_candidates.has_reusable()
    if reuses:
        with session.store.write() as archive:
            offer_reuse(archive, [workflow] if workflow else archive.reuse_candidates.workflows())
    with hooks_watched(session, options):
        report = yield from _run_through_outages(session, options, show, executor, stop)
    end_run(session, workflow, report, first)
    return report


def _run_through_outages(
    session: Session,
    options: WorkOptions,
    show: Callable[[Progress], None] | None,
    executor: Executor | None,
    stop: StopHandle | None,
) -> Steps:
    options, statistics, began = with_executor(options, os.environ), RunStatistics(), time.monotonic()
    if options.executor == LOCAL and options.allocation is None:
        options = replace(options, allocation=find_allocation(os.environ, session.note))
    runner: Runner | None = None  # the last one, whose server stopped answering
    while True:
        try:
            return (yield from _run(session, _with_time_left(options, began), show, executor, stop, statistics))
        except _Outage as outage:
            if executor is not None or options.most is not None:
                raise outage.error from None
            error, runner = outage.error, outage.runner
        except StoreUnreachable as found:
            if runner is None:
                raise
            error = found  # the server stopped again before the next runner was registered
        _wait_for_server(session, error, runner, stop)


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


def _wait_for_server(session: Session, error: StoreUnreachable, runner: Runner, stop: StopHandle | None) -> None:
    """Wait until the server answers, and mark the runner as dead, so that the next one adopts its attempts. Raise the
    error once OUTAGE_SECONDS have passed, or `stop` was called."""
    if session.note is not None:
        session.note(f"{error.message}; running jobs go on; trying again for {format_duration(OUTAGE_SECONDS)}")
    limit = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            with session.store.write() as archive:
                archive.runners.abandon(runner.id, runner.epoch)
            return
        except StoreUnreachable:
            if time.monotonic() >= limit or (stop is not None and stop.is_stopped):
                raise error from None
            time.sleep(OUTAGE_POLL_SECONDS)


def _run(
    session: Session,
    options: WorkOptions,
    show: Callable[[Progress], None] | None,
    executor: Executor | None,
    stop: StopHandle | None,
    statistics: RunStatistics,
) -> Steps:
    """Run as `work` does, with one runner. Raise _Outage if the database server stops answering it."""
    workflow = _checked_workflow(session, options)
    stopped = {} if workflow is not None else _without_folder(session)
    release_canceled(session)
    executor, stop = executor or load_executor(options, session), stop or StopHandle()
    slots = options.slots or executor.supply.workers or processors_of(options)
    raise_file_limit(slots)
    try:
        runner = _register(session, options, executor, slots, workflow.id if workflow else None)
    except BaseException:  # a runner that is refused, or interrupted, leaves no worker and no open file
        executor.leave()
        raise
    lease, scope = Lease(session, runner), _claim_scope(session, options, runner, stopped)
    try:
        with (
            closing(Notifier(session.store.folder, runner.id, listener=session.store.listen(runner.id))) as notifier,
            stop.waking(notifier.notify),
            Interrupts() as interrupts,
            closing(EngineThreads(session, options, executor, notifier)) as threads,
        ):
            loop = RunnerLoop(
                session,
                executor,
                runner,
                lease,
                scope,
                options,
                notifier,
                interrupts,
                stop,
                show,
                slots,
                statistics,
                threads.of,
            )
            report = yield from loop.steps()
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


def _register(session: Session, options: WorkOptions, executor: Executor, slots: int, workflow: int | None) -> Runner:
    offer, place = offer_of(options, slots, workflow, placed=not executor.supply.refills), this_process()
    with session.store.write() as archive:
        archive.queue.ready(0, 0, only=options.only)  # refuses an invalid condition before the runner is registered
        return archive.runners.register(
            place, executor.name, slots, session.clock(), LEASE_SECONDS, options.label, offer
        )


def _claim_scope(session: Session, options: WorkOptions, runner: Runner, stopped: Mapping[int, str]) -> ClaimScope:
    assert runner.offer is not None
    total = capacity_of(runner.offer)
    return ClaimScope(
        runner.offer.workflow,
        total,
        runner.id,
        session.store.folder,
        runner.host,
        options.only,
        options.place,
        stopped,
        owner=capacity_owner(total),
    )


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
