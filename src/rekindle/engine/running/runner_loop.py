"""The runner's loop: each iteration ingests new journal records and claims ready jobs in one transaction."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.domain.states import ACTIVE, State
from rekindle.engine.automatic_reruns import RetryErrorSearch
from rekindle.engine.notify import Notifier, notify, notify_here
from rekindle.engine.plan_inputs import KnownPaths, UnknownPath
from rekindle.engine.retention.cleanup import Cleanup
from rekindle.engine.running.assignments import TaskTemplates
from rekindle.engine.running.claims import Claims, ClaimScope, claim, give_back, without_patterns
from rekindle.engine.running.delay_timer import DelayTimer
from rekindle.engine.running.dispatch import RECALL_SECONDS, Dispatcher
from rekindle.engine.running.ingest import IngestResult, failures_of, ingest
from rekindle.engine.running.judges import JudgeAsker
from rekindle.engine.running.lease import Lease, PeerWatch
from rekindle.engine.running.lost_attempts import rerun_lost
from rekindle.engine.running.orphan_tracker import OrphanTracker
from rekindle.engine.running.reuse_checks import ReuseChecker
from rekindle.engine.running.statistics import ProgressReporter, RunStatistics, counts_of
from rekindle.engine.running.time_left import TimeLeft
from rekindle.store.archive import NotAlone

if TYPE_CHECKING:
    from rekindle.domain.models import Runner
    from rekindle.engine.results import Progress, WorkOptions, WorkReport
    from rekindle.engine.running.ingest import JournalBatch
    from rekindle.engine.running.orphans import ThreadOf
    from rekindle.engine.running.signals import Interrupts, StopHandle
    from rekindle.engine.session import Session
    from rekindle.executors.pool import Executor, WorkerInfo
    from rekindle.store.archive import Transaction

START_SECONDS = 0.2
"""How long jobs wait for a busy worker before others are started for them, about twice as long as the start of a worker
takes. If more jobs are ready than there are slots, no time is lost: the others are started at once."""

RETURN_SECONDS = 1.0
"""How long a run that leaves its attempts waits for its workers to give back those that have not started."""

SIGNAL_SECONDS = 0.1
"""How long a runner in an allocation waits for a SIGTERM after an attempt has failed: it may have got one too."""


class RunnerLoop:
    """One run of a runner, from its first claim to its report."""

    def __init__(
        self,
        session: Session,
        executor: Executor,
        runner: Runner,
        lease: Lease,
        scope: ClaimScope,
        options: WorkOptions,
        notifier: Notifier,
        interrupts: Interrupts,
        stop: StopHandle,
        show: Callable[[Progress], None] | None,
        slots: int,
        statistics: RunStatistics,
        thread_of: ThreadOf,
    ) -> None:
        self._session, self._executor, self._runner, self._scope = session, executor, runner, scope
        self._options, self._notifier, self._interrupts, self._stop = options, notifier, interrupts, stop
        self._began = self._iterated = time.monotonic()
        self._lease, self._peer_watch = lease, PeerWatch(runner.id)
        self._tasks = TaskTemplates(session.store.folder)
        self._dispatcher = Dispatcher(executor, self._tasks, scope.total, slots)
        # Workers, and when (monotonic). One that can be filled only once is started for jobs that are known.
        self._most_claims = slots * executor.supply.most
        self._to_start, self._start_at = int(executor.supply.refills), self._began
        self._orphans, self._statistics = OrphanTracker(session, thread_of), statistics
        self._errors = RetryErrorSearch(session)
        wake = partial(notify_here, scope.store_folder, [runner.id])  # by path: a check may outlive the notifier
        self._reuse_checks = ReuseChecker(session, scope.workflow, os.environ, wake, reuse=options.reuse)
        self._cleanup, self._completed = Cleanup(session), list[int]()  # by the last iteration
        self._began_at = session.clock()
        self._reporter = None if show is None else ProgressReporter(session, scope.workflow, show)
        self._attempts_left = options.most  # None: unlimited
        self._seen_version, self._more_ready, self._interrupts_handled = -1, True, 0
        self._judges, self._has_asked = JudgeAsker(session, scope.workflow, wake), True
        self._retry_timer, self._time_left = DelayTimer(), TimeLeft(options.allocation)
        self._limit = min((one for one in (options.wait_timeout, options.claim_for) if one is not None), default=None)
        self._stopping = self._timed_out = False  # stopping: nothing more is claimed
        self._canceled_at: float | None = None
        self._leave_at: float | None = None  # the run ends by then, without the attempts that run
        self._kill_at: float | None = None
        self._gave_up = False  # elements did not end in time, and are left to the next runner

    def steps(self) -> Generator[None, None, WorkReport]:
        """Work until no job is left to run or to wait for. Yield after each iteration and its wait."""
        self._adopt_orphans()
        notify_here(self._scope.store_folder, ())
        try:
            self._handle_stop_requests()
            while True:
                self._iterate()
                self._cleanup.look(self._completed)
                self._check_peers()
                self._report_progress()
                self._has_asked = self._has_asked and self._judges.look()
                if self._finished():
                    self._cleanup.finish()
                    return self._report()
                self._wait()
                self._handle_limits()
                self._handle_stop_requests()
                yield
        finally:
            self._orphans.close()
            self._peer_watch.close()
            self._reuse_checks.close()
            self._judges.close()

    @property
    def leaves(self) -> bool:
        """Return whether the run ends while attempts run, which then continue without it."""
        return (self._leaving or self._gave_up) and self._dispatcher.busy

    # --- one iteration

    def _iterate(self) -> None:
        gone = self._executor.gone()
        ended_workers, unreported = [one.name for one in gone], [end for one in gone for end in one.ends]
        started = self._start_workers(len(ended_workers))
        surveyed = self._orphans.survey()
        own, adopted = self._dispatcher.read_journals(), self._orphans.read_journals()
        batches = own + adopted
        ended = self._allocation_ended(batches)
        version = self._session.store.data_version()
        store_changed = version != self._seen_version
        checked, now = self._reuse_checks.done, self._session.clock()
        due = self._retry_timer.seconds(now) == 0
        resolvable, clock_set_back = self._orphans.resolvable, self._retry_timer.was_set_back(now)
        news = batches or ended_workers or started or store_changed or self._more_ready or self._dispatcher.returned
        if not (news or surveyed or resolvable or checked or due or clock_set_back):
            self._lease.renew(now)
            return
        errors, paths = self._errors.search(failures_of(batches, unreported)), KnownPaths()
        scope = self._scope if self._stopping else without_patterns(self._session, self._scope, self._most_claims)
        errors = replace(errors, most=self._statistics.retries_left(self._options.retries_at_most))
        # Whether other jobs change than those that this runner claims or has claimed.
        alone = bool(surveyed or checked or clock_set_back or due or self._orphans or self._dispatcher.returned)
        while True:
            with suppress(UnknownPath, NotAlone), self._lease.write(now, alone=alone) as archive:
                ends_found = [*unreported, *self._orphans.current(archive)]
                result = ingest(archive, batches, now, paths.exists, errors, ends_found, ended)
                rerun_lost(archive, result, now, paths.exists)
                reinstated = self._reuse_checks.record(archive, now, paths.exists) if checked else 0
                paths.check()
                counts = self._take_ends(result)
                self._cleanup.note_templates(archive, self._completed)
                self._register_workers(archive, ended_workers, started)
                self._resolve_orphans(archive, result, now)
                look = store_changed or self._dispatcher.returned
                wanted = archive.attempts.wanted_cancel(self._runner.id) if look else []
                self._give_back(archive, wanted, now)
                self._end_delays(archive, now, alone=alone, clock_set_back=clock_set_back)
                candidates = archive.reuse_candidates.listing(self._scope.workflow, 1)
                claims = None if self._stopping else self._claim(archive, scope, now)
                ends = bool(result.ended or result.returned or ended_workers or surveyed or resolvable or checked)
                peers = self._peer_watch.idle_peers(archive, claims, self._dispatcher.busy) if ends else []
                break
            alone = True
            paths.look()
        self._statistics.count_ends(counts, result.retries, result.not_retried)
        self._iterated = time.monotonic()
        self._seen_version = version  # what was committed since may not have been seen
        if scope is not self._scope:  # jobs that became ready after the search were no candidates: iterate again
            self._more_ready = ends or due or clock_set_back
        self._dispatcher.advance(own, self._iterated)
        if claims is not None:  # first, because workers wait for them
            self._assign(claims)
        self._dispatcher.cancel(wanted)
        self._orphans.committed(adopted)
        if checked:
            self._reuse_checks.committed()
            self._statistics.reinstated += reinstated
        if candidates and not self._stopping:
            self._reuse_checks.begin()
        notify(self._session.store, [one for one in peers if one != self._runner.id])

    def _allocation_ended(self, batches: Sequence[JournalBatch]) -> float | None:
        """Return when the allocation ended (seconds since the epoch), or None. If a SIGTERM has ended an attempt, the
        batch system may be sending one to every process: wait for this one's."""
        if self._options.allocation is not None and self._time_left.ended is None and failures_of(batches):
            time.sleep(SIGNAL_SECONDS)
            self._handle_stop_requests()
        return self._time_left.ended

    def _end_delays(self, archive: Transaction, now: float, *, alone: bool, clock_set_back: bool) -> None:
        """End the delays that are over, and set the timer to the next. In a turn none ends: the timer is then set to
        those that are over too, and the next iteration ends them."""
        if clock_set_back:
            archive.queue.clear_future_delays(now)
        if alone:
            archive.queue.clear_due_delays(self._retry_timer.latest(now))
        self._retry_timer.set(archive.queue.next_due(self._scope.workflow, now if alone else 0.0), now)

    def _take_ends(self, result: IngestResult) -> list[tuple[int, State, bool]]:
        """Take attempts that have ended or were returned from their workers. Return (job, state, whether the job runs
        again) of the ended ones that are not archived, whose jobs have not ended."""
        ended = []
        for number, state, seconds in result.ended:
            attempt = self._dispatcher.pop_ended(number, seconds)
            if attempt is not None and number not in result.archived:
                job = attempt.assignment.job
                ended.append((job, state, job in result.requeued))
        self._completed = [job for job, state, _ in ended if state is State.COMPLETED]
        if ended:
            self._dispatcher.durations.adapt(needed=result.needed)
        self._statistics.damaged += result.damaged
        self._statistics.warnings += result.warnings
        self._dispatcher.take_back(set(result.returned))
        self._more_ready, self._has_asked = bool(result.ended or result.returned), self._has_asked or result.asked
        return ended

    def _start_workers(self, ended: int) -> list[WorkerInfo]:
        """Start as many workers as have ended, and those that jobs have waited for."""
        if self._stopping:
            return []
        number = ended
        if time.monotonic() >= self._start_at:
            number += self._to_start
            self._to_start, self._start_at = 0, math.inf
        return [self._executor.open() for _ in range(number)]

    def _register_workers(self, archive: Transaction, ended: Sequence[str], started: Sequence[WorkerInfo]) -> None:
        """Remove workers that have ended, whose journals have been read, and register others."""
        for name in ended:
            self._dispatcher.remove(name)
            archive.runners.close_journal(name)
        for info in started:
            path = str(Path(info.journal).relative_to(self._scope.store_folder))
            archive.runners.open_journal(self._runner.id, info.name, path, info.pid, info.pid_start)
            self._dispatcher.add(info, self._iterated)

    def _resolve_orphans(self, archive: Transaction, result: IngestResult, now: float) -> None:
        if not self._orphans:
            return
        self._more_ready |= self._orphans.resolvable
        for job, state in self._orphans.resolve(archive, result, now):
            self._statistics.count_end(job, state, requeued=False)
        self._statistics.orphan_counts = self._orphans.found.counts()
        self._orphans.find_canceled(archive)

    def _give_back(self, archive: Transaction, wanted: Sequence[tuple[int, str]], now: float) -> None:
        """Release the claims of returned attempts: of those to be canceled or of unknown duration, and of all when the
        run is stopping."""
        canceled = {attempt for attempt, _ in wanted}
        returned, average = self._dispatcher.returned, self._dispatcher.durations.average
        released = {
            one.assignment.attempt
            for one in returned
            if self._stopping
            or one.assignment.attempt in canceled
            or average(one.template) == math.inf
            or not self._time_left.suffices(one.resources)
        }
        if released:
            give_back(archive, sorted(released), now)
            self._count_claims(-len(released))
            self._dispatcher.returned = [one for one in returned if one.assignment.attempt not in released]

    def _claim(self, archive: Transaction, scope: ClaimScope, now: float) -> Claims:
        dispatcher = self._dispatcher
        # Returned attempts go to idle workers before new claims.
        workers = [one for one in dispatcher.open_workers() if not dispatcher.returned or not one.idle]
        absent = 0 if dispatcher.returned else dispatcher.absent
        free, most = self._time_left.limit(dispatcher.free()), self._attempts_left
        if self._time_left.seconds is not None:
            scope = replace(scope, total=self._time_left.limit(scope.total), time_left=self._time_left)
        if not self._peer_watch.works_elsewhere:
            scope = replace(scope, host="")
        claims = claim(archive, scope, workers, dispatcher.durations, self._tasks, now, free, most, absent)
        self._count_claims(sum(map(len, claims.work.values())))
        self._statistics.never_fit = dict(claims.never_fit)
        self._more_ready = False
        return claims

    def _assign(self, claims: Claims) -> None:
        """Give the claimed attempts to their workers, then returned ones to idle workers."""
        for name, attempts in claims.work.items():
            self._dispatcher.assign(name, attempts, self._iterated)
        self._more_ready |= self._dispatcher.assign_returned(self._iterated)
        idle = any(worker.idle for worker in self._dispatcher.open_workers())
        returned = 0 if idle else len(self._dispatcher.returned)
        self._to_start = min(returned, self._dispatcher.absent) or claims.waiting
        start_at = self._iterated + (0.0 if returned or claims.left else START_SECONDS)
        self._start_at = min(self._start_at, start_at) if self._to_start else math.inf

    def _count_claims(self, number: int) -> None:
        if self._attempts_left is not None:
            self._attempts_left -= number

    # --- waiting

    def _wait(self) -> None:
        if time.monotonic() >= self._start_at and not self._stopping:
            return
        handles = self._orphans.handles
        if not self._stopping:
            handles = (*handles, *self._peer_watch.handles)
        notifiers = self._notifier.handles
        readable = self._executor.wait(self._timeout(), (*notifiers, self._interrupts.fd, *handles))
        if any(handle in readable for handle in notifiers):
            self._notifier.drain()
            self._seen_version = -1
        if self._interrupts.fd in readable:
            self._interrupts.drain()
            return
        if readable:  # a peer has started or ended
            self._peer_watch.due = self._iterated
        self._dispatcher.recall_stalled()
        rest = self._iterated + self._dispatcher.durations.batch_seconds - time.monotonic()
        if rest > 0 and not self._to_start and self._dispatcher.well_supplied:
            time.sleep(rest)

    def _timeout(self) -> float:
        """Return the seconds until something is due that no descriptor reports."""
        timeout = math.inf
        if self._more_ready:
            timeout = 0.0
        elif self._dispatcher.returned:
            timeout = 0.05
        elif self._dispatcher.can_recall:
            timeout = RECALL_SECONDS
        dues = [self._lease.due, self._report_due]
        if not self._stopping:
            dues += [self._peer_watch.due, self._start_at]
        if self._limit is not None and self._may_time_out:
            dues.append(self._began + self._limit)
        if self._time_left.ended is None:
            dues.append(self._time_left.due)
        if self._leave_at is not None and self._leaving:
            dues.append(self._leave_at)
        elif self._kill_at is not None:
            dues.append(self._kill_at)
        if self._orphans:
            dues.append(self._orphans.due)
        return max(0.0, min(timeout, min(dues) - time.monotonic(), self._retry_timer.seconds(self._session.clock())))

    # --- ending

    def _handle_limits(self) -> None:
        now = time.monotonic()
        if self._limit is not None and self._may_time_out and now - self._began > self._limit:
            self._timed_out = True
            if self._options.wait_timeout is not None:
                self._leave()
            self._drain()
        if now >= self._time_left.due:
            self._end_attempts_in_time()
        if self._kill_at is not None and now > self._kill_at and not self._gave_up:
            self._executor.close(grace=0.0)
            self._gave_up = not self._executor.supply.refills  # an engine may be away: its elements are left

    def _handle_stop_requests(self) -> None:
        if self._stop.is_stopped and not self._stopping:
            self._drain()
        interrupted = self._interrupts.count > self._interrupts_handled
        if interrupted and self._options.allocation is not None and self._interrupts.first is signal.SIGTERM:
            self._end_attempts_in_time()  # the batch system announces the end
            interrupted = False
        self._interrupts_handled = self._interrupts.count
        if self._stop.terminates:
            self._end_attempts_in_time()
        if interrupted and self._options.leave_on_interrupt:
            self._leave()
            self._drain()
            interrupted = False
        first = self._canceled_at is None
        if not interrupted and not (self._stop.cancels and first):
            return
        if first:
            self._canceled_at = time.monotonic()
            self._drain()
        grace = self._dispatcher.cancel_all()
        if first:
            self._kill_at = time.monotonic() + grace + self._executor.supply.cancel_seconds

    def _end_attempts_in_time(self) -> None:
        """Before the allocation ends, give back what has not started and cancel what runs, once. Its jobs run again."""
        if self._time_left.ended is not None or self._canceled_at is not None:
            return
        self._time_left.ended, self._timed_out = self._session.clock(), True
        self._drain()
        grace = self._dispatcher.cancel_all(self._time_left.name)
        self._kill_at = time.monotonic() + grace + self._executor.supply.cancel_seconds

    def _leave(self) -> None:
        """End the run soon, and let the attempts that run continue without it."""
        if self._leave_at is None:
            self._leave_at = time.monotonic() + RETURN_SECONDS

    def _drain(self) -> None:
        """Claim nothing more, and recall the attempts that have not started."""
        self._stopping = True
        self._dispatcher.recall_all()

    @property
    def _may_time_out(self) -> bool:
        return not self._timed_out and self._canceled_at is None and self._leave_at is None

    @property
    def _leaving(self) -> bool:
        return self._leave_at is not None and self._canceled_at is None

    def _finished(self) -> bool:
        dispatcher = self._dispatcher
        overdue = self._leave_at is not None and time.monotonic() > self._leave_at
        if self._gave_up or (self._leaving and not dispatcher.returned and (overdue or not dispatcher.has_queued)):
            return True
        if dispatcher.returned or self._more_ready or dispatcher.busy or dispatcher.has_retired:
            return False
        if self._stopping or self._attempts_left == 0:
            return True
        if self._to_start:
            return False
        if self._orphans.has_progress or self._reuse_checks.under_way or self._judges.look():
            return False
        if not self._options.linger:
            return True
        if self._options.watch or self._retry_timer.is_set:
            return False
        with self._session.store.read() as archive:
            counts = counts_of(archive, self._scope.workflow)
            leaving = archive.queue.count_archived_active(self._scope.workflow)
            detached = archive.runners.count_detached(self._scope.workflow)
        return sum(counts.get(state, 0) for state in ACTIVE) + leaving <= len(self._stuck()) + detached

    # --- peers

    def _check_peers(self) -> None:
        """Adopt the orphans of peers that have died. Also done while there are jobs to run."""
        if not self._stopping and time.monotonic() >= self._peer_watch.due:
            self._adopt_orphans()

    def _adopt_orphans(self) -> None:
        """Take over from dead peers. Of several runners only one succeeds for each."""
        now = self._session.clock()
        known = set(self._peer_watch.peers)
        with self._session.store.read() as archive:
            registered = archive.runners.alive()
        dead = self._peer_watch.dead_peers(registered, now)
        # This runner may have left jobs to a peer that it did not know yet, after that one had looked for some.
        if fresh := [peer for peer in self._peer_watch.peers if peer not in known]:
            notify(self._session.store, fresh)
        if dead:
            with self._lease.write(now) as archive:
                self._orphans.take_over(archive, dead, self._runner.id)

    # --- reporting

    @property
    def _report_due(self) -> float:
        """Return when the next progress report is due (monotonic): never while nothing runs and nothing has changed."""
        if self._reporter and (self._dispatcher.busy or self._orphans or self._iterated >= self._reporter.reported):
            return self._reporter.due
        return math.inf

    def _report_progress(self) -> None:
        if self._reporter is not None and time.monotonic() >= self._report_due:
            running = filter(None, (worker.running for worker in self._dispatcher.workers.values()))
            self._reporter.report(self._statistics, running, delayed=self._retry_timer.is_set)

    def _report(self) -> WorkReport:
        stuck = dict(self._stuck())
        with self._session.store.read() as archive:
            counts = counts_of(archive, self._scope.workflow)
            self._statistics.find_quarantined(archive, self._session.clock())
            decided = archive.canaries.decided(self._scope.workflow, self._began_at)
            named = tuple((job.name, stuck[job.id]) for job in archive.jobs.get(sorted(stuck)))
        left = self.leaves or any(counts.get(state) for state in (State.READY, State.WAITING))
        interrupted = self._canceled_at is not None or (self._leaving and not self._timed_out)
        timed_out = self._timed_out and left
        report = self._statistics.report(counts, interrupted=interrupted, timed_out=timed_out)
        first = self._interrupts.first if interrupted or self._time_left.ended is None else None
        return replace(report, stuck=named, canaries=tuple(decided), signal=first, stopped=self._stop.is_stopped)

    def _stuck(self) -> list[tuple[int, tuple[int, ...]]]:
        """Return (job, pids) of orphaned attempts whose processes cannot be killed, within the runner's scope."""
        here = self._scope.workflow
        return [(one.job, pids) for one, pids in self._orphans.stuck().values() if here in (None, one.workflow)]
