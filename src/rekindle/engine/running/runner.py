"""A runner's loop. One turn is one transaction: what the journals tell goes in, what is ready comes out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rekindle.domain.models import Runner
from rekindle.domain.packing import Room
from rekindle.domain.states import ACTIVE, State
from rekindle.engine.planning.retrying import ErrorSearch
from rekindle.engine.results import Progress, WorkOptions, WorkReport
from rekindle.engine.running.alarm import Alarm
from rekindle.engine.running.bench import STOCK_SECONDS, Bench, Flight, Pace
from rekindle.engine.running.checks import Checks
from rekindle.engine.running.claiming import Claimed, Scope, claim, give_back, without_patterns
from rekindle.engine.running.estates import Estates
from rekindle.engine.running.ingest import Page, Told, failures_of, ingest, read_page
from rekindle.engine.running.lease import Lease
from rekindle.engine.running.lost import rerun_unread
from rekindle.engine.running.neighbours import Neighbours
from rekindle.engine.running.recipes import Recipes
from rekindle.engine.running.signals import Interrupts
from rekindle.engine.running.tally import Tally
from rekindle.engine.running.telling import Telling, counts_of
from rekindle.engine.session import Session
from rekindle.engine.wake import Bell, ring
from rekindle.executors.port import Executor, WorkerInfo
from rekindle.store.port import Archive

BATCH_SECONDS = 0.02
"""While every worker has work before it, outcomes gather for so long before they are written together."""

IDLE_SECONDS = 2.0
"""How often a runner that waits looks at the store although nobody has rung: from another host nobody can."""

RECALL_SECONDS = 0.1
"""When a worker has nothing to do and another's work has not moved for so long, that one gives back."""

RETURN_SECONDS = 1.0
"""How long a run that has timed out waits for its workers to give back what has not started."""

PATIENCE_SECONDS = 3.0
"""How long an interrupted run waits, beyond their graces, for the ends of what it cancels."""


class Shift:
    """One run of a runner, from its first claim to its report."""

    def __init__(
        self,
        session: Session,
        executor: Executor,
        runner: Runner,
        lease: Lease,
        scope: Scope,
        options: WorkOptions,
        bell: Bell,
        interrupts: Interrupts,
        tell: Callable[[Progress], None] | None,
    ) -> None:
        self._session, self._executor, self._runner, self._scope = session, executor, runner, scope
        self._options, self._bell, self._interrupts = options, bell, interrupts
        self._lease, self._neighbours = lease, Neighbours(runner.id)
        self._benches: dict[str, Bench] = {}
        self._returned: list[Flight] = []
        self._canceled: set[int] = set()  # attempts whose workers have been asked to end them
        self._estates = Estates(scope.store_folder)
        self._pace, self._tally = Pace(), Tally()
        self._recipes = Recipes(session.store.identity)
        self._errors = ErrorSearch(session)
        self._checks = Checks(session, scope.workflow, os.environ, lambda: ring(scope.store_folder, [runner.id]))
        self._began_at = session.clock()
        self._began = self._turned = time.monotonic()
        self._telling = None if tell is None else Telling(session, scope.workflow, tell)
        self._left = options.most  # so many more attempts may be started; None: any number
        self._seen_version = -1
        self._alarm = Alarm()  # for the next delayed job
        self._more_ready = True
        self._limit = min((one for one in (options.wait_timeout, options.claim_for) if one is not None), default=None)
        self._stopping = self._timed_out = False
        self._canceled_at: float | None = None
        self._kill_at: float | None = None
        self._heeded = 0  # interrupts

    def run(self, slots: int) -> WorkReport:
        """Work until there is nothing left to do, or to be waited for."""
        self._open(slots)
        try:
            while True:
                self._turn()
                self._report_progress()
                if self._finished():
                    return self._report()
                self._pause()
                self._heed_interrupts()
                self._look_around()
        finally:
            self._estates.close()
            self._neighbours.close()
            self._checks.close()

    # --- workers

    def _open(self, slots: int) -> None:
        self._take_over()
        workers = self._executor.open(slots)
        with self._lease.write(self._session.clock()) as archive:
            for info in workers:
                self._seat(archive, info)
        ring(self._scope.store_folder, self._neighbours.others)

    def _seat(self, archive: Archive, info: WorkerInfo) -> None:
        path = str(Path(info.journal).relative_to(self._scope.store_folder))
        archive.runners.open_journal(self._runner.id, info.name, path, info.pid, info.pid_start)
        self._benches[info.name] = Bench(info)

    # --- one turn

    def _turn(self) -> None:
        gone = [worker.name for worker in self._executor.gone()]
        gathered = self._gather()
        version = self._session.store.data_version()
        looked = version != self._seen_version
        checked, now = self._checks.done, self._session.clock()
        due = self._alarm.seconds(now) == 0 or time.monotonic() >= self._lease.due
        ripe, back = self._estates.ripe, self._alarm.set_back(now)
        if not (gathered or gone or looked or self._more_ready or self._returned or ripe or checked or due or back):
            return
        errors = self._errors.search(failures_of(gathered))
        scope = self._scope if self._stopping else without_patterns(self._session, self._scope, self._open_benches())
        with self._lease.write(now) as archive:
            told = ingest(archive, gathered, self._runner.host, now, errors)
            rerun_unread(archive, told, now)
            self._take_in(told)
            replaced = self._bury(archive, gone)
            self._settle_estates(archive, told, now)
            reinstated = self._checks.settle(archive, now) if checked else 0
            wanted = archive.attempts.wanted_cancel(self._runner.id) if looked or self._returned else []
            self._give_back(archive, wanted, now)
            archive.queue.fall_due(self._alarm.latest(now))
            if back:
                archive.queue.hasten(now)
            claimed = None if self._stopping else self._claim(archive, scope, now)
            self._alarm.set(archive.queue.next_due(self._scope.workflow, now), now)
            news = bool(told.ended or told.returned or gone or ripe or checked)
            others = archive.runners.with_room() if news and self._concerns_others(claimed) else []
        self._turned = time.monotonic()
        self._seen_version = self._session.store.data_version()
        if scope is not self._scope:  # jobs that became ready since then were not candidates: take another turn
            self._seen_version, self._more_ready = version, news or due or back
        ring(self._scope.store_folder, ())
        if checked:
            self._checks.settled()
            self._tally.reinstated += reinstated
        if not self._stopping:
            self._checks.begin()
        self._advance(gathered)
        for info in replaced:
            self._benches[info.name].heard = self._turned
        if claimed is not None:
            self._hand_out(claimed)
        self._cancel(wanted)
        ring(self._scope.store_folder, [one for one in others if one != self._runner.id])

    def _gather(self) -> list[Page]:
        found = []
        for bench in self._benches.values():
            page = read_page(bench.info.name, Path(bench.info.journal), bench.position)
            if page is None:
                continue
            found.append(page)
            if page.damaged and not bench.retired:  # what it has told is known for sure once it has ended
                bench.retired = True
                self._executor.retire(bench.info.name)
        return found + self._estates.gather()

    def _advance(self, gathered: Sequence[Page]) -> None:
        """The pages are in the store: read on behind them."""
        for page in gathered:
            bench = self._benches.get(page.worker)
            if bench is not None:
                bench.position, bench.heard = page.position, self._turned
        self._estates.advance(gathered)

    def _take_in(self, told: Told) -> None:
        owners = {attempt: bench for bench in self._benches.values() for attempt in bench.flights}
        for attempt, state, seconds in told.ended:
            bench = owners.get(attempt)
            flight = bench.flights.pop(attempt) if bench else None
            if flight is not None:
                self._pace.learn(flight.template, seconds)
                if attempt not in told.archived:  # its job runs again, and has not come to an end by that
                    self._tally.ended(flight.job, state, again=flight.job in told.again)
        self._tally.damaged += told.damaged
        self._tally.warnings += told.warnings
        tokens = set(told.returned)
        if tokens:
            for bench in self._benches.values():
                back = [one for one, flight in bench.flights.items() if flight.assignment.token in tokens]
                self._returned += [bench.flights.pop(attempt) for attempt in back]
                bench.recalled = bench.recalled and not back
        self._more_ready = bool(told.ended or told.returned)

    def _bury(self, archive: Archive, gone: Sequence[str]) -> list[WorkerInfo]:
        """Workers have died (their journals say of what, and are read): others take their places."""
        replaced = []
        for name in gone:
            bench = self._benches.pop(name)
            self._returned += bench.flights.values()
            archive.runners.close_journal(name)
            if not self._stopping:
                info = self._executor.replace(name)
                self._seat(archive, info)
                replaced.append(info)
        return replaced

    def _concerns_others(self, claimed: Claimed | None) -> bool:
        """After a turn that ended something: there is more to do than was claimed, or nothing at all."""
        if not self._neighbours.others:
            return False
        return claimed is None or claimed.left > 0 or not (claimed.any or self._busy)

    def _settle_estates(self, archive: Archive, told: Told, now: float) -> None:
        if not self._estates:
            return
        self._more_ready |= self._estates.ripe
        for job, state in self._estates.settle(archive, told, now):
            self._tally.ended(job, state, again=False)
        self._tally.inherited = self._estates.found.counts()
        self._estates.cancel_wanted(archive)

    def _give_back(self, archive: Archive, wanted: Sequence[tuple[int, str]], now: float) -> None:
        """Of what no worker has: what is not to run, and when stopping everything."""
        unwanted = {attempt for attempt, _ in wanted}
        gone = [one for one in self._returned if self._stopping or one.assignment.attempt in unwanted]
        if gone:
            back = {one.assignment.attempt for one in gone}
            give_back(archive, sorted(back), now)
            self._count_claims(-len(back))
            self._returned = [one for one in self._returned if one.assignment.attempt not in back]

    # --- giving out work

    @property
    def _busy(self) -> bool:
        return any(not bench.idle for bench in self._benches.values())

    def _free(self) -> Room:
        free = self._scope.total
        for bench in self._benches.values():
            if not bench.idle:
                free = free.take(bench.resources)
        return free

    def _claim(self, archive: Archive, scope: Scope, now: float) -> Claimed:
        benches = [bench for bench in self._open_benches() if not self._returned or not bench.idle]
        claimed = claim(archive, scope, benches, self._pace, self._recipes, now, self._free(), self._left)
        self._count_claims(sum(map(len, claimed.work.values())))
        self._tally.never_fit = dict(claimed.never_fit)
        self._more_ready = False
        return claimed

    def _count_claims(self, number: int) -> None:
        if self._left is not None:
            self._left -= number

    def _open_benches(self) -> list[Bench]:
        """Those that are given work."""
        return [bench for bench in self._benches.values() if not bench.retired]

    def _hand_out(self, claimed: Claimed) -> None:
        for name, flights in claimed.work.items():
            self._assign(self._benches[name], flights)
        self._hand_out_returned()

    def _hand_out_returned(self) -> None:
        """What was given back goes to idle workers: in turn, as far as it fits, short work several at a time."""
        idle = [bench for bench in self._open_benches() if bench.idle]
        while self._returned and idle:
            first = self._returned[0]
            if not self._free().fits(first.resources):
                return
            kind = (first.template, first.resource_class)
            alike = [flight for flight in self._returned if (flight.template, flight.resource_class) == kind]
            share = min(self._pace.depth(first.template), -(-len(alike) // len(idle)))
            self._assign(idle.pop(), alike[:share])
            given = {flight.assignment.attempt for flight in alike[:share]}
            self._returned = [flight for flight in self._returned if flight.assignment.attempt not in given]
            self._more_ready = True

    def _assign(self, bench: Bench, flights: Sequence[Flight]) -> None:
        if bench.idle:
            bench.heard = self._turned
            bench.resource_class = flights[0].resource_class
        for flight in flights:
            bench.flights[flight.assignment.attempt] = flight
        bench.resources = flights[0].resources
        recipes = {flight.assignment.recipe: self._recipes[flight.assignment.recipe] for flight in flights}
        self._executor.assign(bench.info.name, list(recipes.values()), [flight.assignment for flight in flights])

    def _cancel(self, wanted: Sequence[tuple[int, str]]) -> None:
        """Once each: to be told again means to have no grace."""
        for attempt, token in wanted:
            for bench in self._benches.values():
                if attempt in bench.flights and attempt not in self._canceled:
                    self._canceled.add(attempt)
                    self._executor.cancel(bench.info.name, [token])

    def _recall_what_is_stuck(self) -> None:
        """A worker has nothing to do while others have work lying before them that does not move."""
        now = time.monotonic()
        if self._returned or not any(bench.idle for bench in self._benches.values()):
            return
        for bench in self._benches.values():
            if len(bench.flights) > 1 and not bench.recalled and now - bench.heard > RECALL_SECONDS:
                bench.recalled = True
                self._executor.recall(bench.info.name)

    # --- waiting and ending

    def _pause(self) -> None:
        others = self._estates.handles if self._stopping else (*self._estates.handles, *self._neighbours.handles)
        readable = self._executor.wait(self._timeout(), (self._bell.fd, self._interrupts.fd, *others))
        if self._bell.fd in readable:
            self._bell.hush()
            self._seen_version = -1
        if self._interrupts.fd in readable:
            self._interrupts.hush()
            return
        if readable:  # one has come, or ended
            self._neighbours.due = self._turned
        self._recall_what_is_stuck()
        rest = self._turned + BATCH_SECONDS - time.monotonic()
        if rest > 0 and self._well_stocked():
            time.sleep(rest)

    def _well_stocked(self) -> bool:
        half = STOCK_SECONDS / 2
        return all(not bench.idle and self._pace.stock(bench) >= half for bench in self._benches.values())

    def _timeout(self) -> float:
        """Until something is due that nobody wakes us for."""
        timeout = IDLE_SECONDS
        if self._more_ready:
            timeout = 0.0
        elif self._returned:
            timeout = 0.05
        elif any(bench.idle for bench in self._benches.values()) and any(
            len(bench.flights) > 1 and not bench.recalled for bench in self._benches.values()
        ):
            timeout = RECALL_SECONDS
        dues = [self._lease.due]
        if not self._stopping:
            dues.append(self._neighbours.due)
            if self._limit is not None:
                dues.append(self._began + self._limit)
        elif self._leaving:
            dues.append(self._began + (self._limit or 0.0) + RETURN_SECONDS)
        elif self._kill_at is not None:
            dues.append(self._kill_at)
        if self._telling is not None:
            dues.append(self._telling.due)
        if self._estates:
            dues.append(self._estates.due)
        return max(0.0, min(timeout, min(dues) - time.monotonic(), self._alarm.seconds(self._session.clock())))

    def _heed_interrupts(self) -> None:
        if self._limit is not None and not self._stopping and time.monotonic() - self._began > self._limit:
            self._stopping = self._timed_out = True
            self._recall_all()
        if self._interrupts.count <= self._heeded:
            if self._kill_at is not None and time.monotonic() > self._kill_at:
                self._executor.close(grace=0.0)
            return
        self._heeded = self._interrupts.count
        if self._canceled_at is None:
            self._stopping, self._canceled_at = True, time.monotonic()
            self._kill_at = self._canceled_at + self._longest_grace() + PATIENCE_SECONDS
            self._recall_all()
        for bench in self._benches.values():
            self._executor.cancel(bench.info.name, [one.assignment.token for one in bench.flights.values()])

    def _longest_grace(self) -> float:
        flights = [flight for bench in self._benches.values() for flight in bench.flights.values()]
        return max((self._recipes[flight.assignment.recipe].grace for flight in flights), default=0.0)

    def _recall_all(self) -> None:
        for bench in self._benches.values():
            if bench.flights:
                bench.recalled = True
                self._executor.recall(bench.info.name)

    @property
    def leaves(self) -> bool:
        """The run has timed out while jobs run: they go on without it."""
        return self._leaving and self._busy

    @property
    def _leaving(self) -> bool:
        return self._timed_out and self._options.wait_timeout is not None and self._canceled_at is None

    def _finished(self) -> bool:
        if self._leaving and not self._returned:
            unstarted = any(len(bench.flights) > 1 for bench in self._benches.values())
            if not unstarted or time.monotonic() - self._began > (self._limit or 0.0) + RETURN_SECONDS:
                return True
        if self._returned or self._more_ready or self._busy or any(one.retired for one in self._benches.values()):
            return False
        if self._stopping or self._left == 0:
            return True
        if self._estates.goes_on or self._checks.under_way:
            return False
        if not self._options.linger:
            return True
        if self._options.watch or self._alarm.is_set:
            return False
        with self._session.store.read() as archive:
            counts = counts_of(archive, self._scope.workflow)
            leaving = archive.queue.leaving(self._scope.workflow)
        return sum(counts.get(state, 0) for state in ACTIVE) + leaving <= len(self._stuck())

    # --- the others

    def _look_around(self) -> None:
        """See whether another runner has died, also while there is enough to do; take over from one that has."""
        if self._stopping or time.monotonic() < self._neighbours.due:
            return
        with self._session.store.read() as archive:
            dead = self._neighbours.look(archive, self._session.clock())
        if dead:
            self._take_over()

    def _take_over(self) -> None:
        """One runner alone succeeds for each that is dead."""
        now = self._session.clock()
        with self._lease.write(now) as archive:
            self._estates.take_over(archive, self._neighbours.look(archive, now), self._runner.id)

    # --- telling

    def _report_progress(self) -> None:
        if self._telling is not None:
            self._telling.tell(self._tally, self._benches.values(), delayed=self._alarm.is_set)

    def _report(self) -> WorkReport:
        stuck = dict(self._stuck())
        with self._session.store.read() as archive:
            counts = counts_of(archive, self._scope.workflow)
            decided = archive.canaries.decided(self._scope.workflow, self._began_at)
            named = tuple((job.name, stuck[job.id]) for job in archive.jobs.get(sorted(stuck)))
        left = self.leaves or any(counts.get(state) for state in (State.READY, State.WAITING))
        interrupted, timed_out = self._canceled_at is not None, self._timed_out and left
        report = self._tally.report(counts, interrupted=interrupted, timed_out=timed_out)
        return replace(report, stuck=named, canaries=tuple(decided), signal=self._interrupts.first)

    def _stuck(self) -> list[tuple[int, tuple[int, ...]]]:
        """(job, processes) of what it works on and cannot wait for."""
        here = self._scope.workflow
        return [(one.job, pids) for one, pids in self._estates.stuck().values() if here in (None, one.workflow)]
