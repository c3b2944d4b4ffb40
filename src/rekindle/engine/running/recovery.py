"""What a dead runner has left, settled piece by piece: nothing waits for more than it has to.

What a worker gives back is ready again with the turn that reads it. What a worker had started and not ended is lost
once the worker and all that it had started are gone. What no worker has told of is given back once none can begin it
any more. The dead runner's row stays open until all is settled; should the runner that took over die too, the next one
finds everything as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rekindle.domain.models import Attempt, Runner
from rekindle.domain.states import State
from rekindle.engine.running.claiming import give_back
from rekindle.engine.running.lost import Lost, end_lost
from rekindle.engine.running.orphans import Clinging, Orphan, kill
from rekindle.journal.copies import remove_tree
from rekindle.journal.places import (
    attempt_folder,
    clear_scratch,
    copy_part,
    forget_progress,
    rescue_logs,
    scratch_path,
    variable_of,
)
from rekindle.journal.processes import started_with
from rekindle.store.paths import moved
from rekindle.store.port import Archive


@dataclass(slots=True)
class Estate:
    """What a dead runner left behind. `active` are the attempts that had not ended when it was taken over."""

    runner: Runner  # with the epoch since it was taken over
    orphans: list[Orphan]
    active: dict[int, Attempt]
    store_folder: str
    clinging: dict[int, Clinging] = field(default_factory=dict)  # by attempt: what lives still after its worker's end
    ran: set[int] = field(default_factory=set)  # of those, what had processes though nothing told that it had begun
    lost: int = 0
    unstarted: int = 0

    @property
    def ripe(self) -> bool:
        """Something can be settled that could not before."""
        return any(orphan.told for orphan in self.orphans)

    def stuck(self) -> dict[int, tuple[int, ...]]:
        """Attempts that cannot be ended, because processes of theirs cannot: these."""
        found = {number: one.pids for number, one in self.clinging.items() if one.stuck}
        left = {one.worker: one.left.pids for one in self.orphans if one.left is not None and one.left.stuck}
        return found | {number: left[one.worker] for number, one in self.active.items() if one.worker in left}


@dataclass(slots=True)
class Settled:
    """What has become of a part of an estate: attempts that were given back, that were lost, and that run on in the
    care of whoever took over. `over`: nothing is left of it."""

    unstarted: tuple[int, ...]
    lost: Lost
    adopted: tuple[int, ...]
    over: bool


def take_over_dead(archive: Archive, dead: Iterable[Runner], keeper: int | None, store_folder: str) -> list[Estate]:
    """The estates of these runners, as far as nobody else has taken them over: `keeper` is the runner that does."""
    estates = []
    for runner in dead:
        if not archive.runners.take_over(runner.id, runner.epoch, keeper):
            continue
        found = archive.runners.find(runner.id)
        assert found is not None
        estates.append(estate_of(archive, found, store_folder))
    return estates


def estate_of(archive: Archive, runner: Runner, store_folder: str) -> Estate:
    """What a runner has left, as its rows tell. The workers of one that works elsewhere count as those of another boot:
    they are neither there, nor signaled."""
    boot_id = "" if runner.elsewhere else runner.boot_id
    convert = moved(runner.store or store_folder, store_folder)
    orphans = [
        Orphan(worker, Path(store_folder, path), pid, pid_start, boot_id, position, convert)
        for worker, path, pid, pid_start, position in archive.runners.journals(runner.id)
    ]
    active = {attempt.id: attempt for attempt in archive.attempts.active(runner.id)}
    return Estate(runner, orphans, active, store_folder)


def is_held(archive: Archive, estate: Estate) -> bool:
    """Nobody has taken it over since."""
    found = archive.runners.find(estate.runner.id)
    return found is not None and found.ended is None and found.epoch == estate.runner.epoch


def settle(archive: Archive, estate: Estate, returned: Collection[str], now: float) -> Settled:
    """Settle what can be; its workers' journals are ingested as far as they have been read. `returned` are the tokens
    that they have given back since the last time. Where a journal cannot be read it may have told that something had
    started: then all that nobody has given back counts as started."""
    left = archive.attempts.active(estate.runner.id)
    wanted = {number for number, _ in archive.attempts.wanted_cancel(estate.runner.id)}
    damages = archive.runners.damages(estate.runner.id)
    lost, unstarted = _to_settle(estate, left, returned, unread=bool(damages))
    for attempt in (*lost, *unstarted):
        _clear(archive, estate, attempt)
    give_back(archive, sorted(one.id for one in unstarted), now)
    ended = end_lost(archive, lost, wanted, estate.runner, damages, now, estate.store_folder)
    settled = {one.id for one in (*lost, *unstarted)}
    estate.active = {one.id: one for one in left if one.id not in settled}
    estate.lost, estate.unstarted = estate.lost + len(lost), estate.unstarted + len(unstarted)
    _close(archive, estate, now)
    living = {orphan.worker for orphan in estate.orphans if not orphan.gone}
    adopted = tuple(one.id for one in estate.active.values() if one.worker in living)
    return Settled(tuple(one.id for one in unstarted), ended, adopted, over=not estate.active)


def _to_settle(
    estate: Estate, left: Sequence[Attempt], returned: Collection[str], *, unread: bool
) -> tuple[list[Attempt], list[Attempt]]:
    """Of the attempts that have not ended: those that are lost, and those that were never started and will not be. What
    has a process still is none of these, before that has ended."""
    workers = [orphan for orphan in estate.orphans if not orphan.told]
    names = {orphan.worker for orphan in workers}
    begun = [one for one in left if one.state is State.RUNNING and one.worker not in names]
    queued = [one for one in left if one.state is State.QUEUED]
    told = [one for one in queued if one.token in returned]
    untold = [one for one in queued if one.token not in returned and not _may_begin(workers, one)]
    free = _without_processes(estate, [*begun, *untold])
    ran = {one.id for one in (left if unread else begun)} | estate.ran
    lost = [one for one in [*begun, *untold] if one.id in free and one.id in ran]
    return lost, [*told, *(one for one in untold if one.id in free and one.id not in ran)]


def _may_begin(workers: Sequence[Orphan], attempt: Attempt) -> bool:
    return any(worker.could_begin(attempt.token) for worker in workers)


def _without_processes(estate: Estate, attempts: Sequence[Attempt]) -> set[int]:
    """Kill every process that belongs to one of these attempts (its environment says so), wherever it has gone; the
    attempts that have none. Processes of a runner that works elsewhere are left alone."""
    if estate.runner.elsewhere:
        return {one.id for one in attempts}
    tokens = {one.token: one.id for one in attempts}
    wanted = {variable_of(token).encode(): token for token in tokens}
    found: dict[int, list[int]] = {}
    for pid, token in started_with(wanted) if wanted else ():
        found.setdefault(tokens[token], []).append(pid)
    for number, pids in found.items():
        kill(pids)
        known = estate.clinging.get(number)
        estate.clinging[number] = Clinging(tuple(pids)) if known is None else Clinging(tuple(pids), known.since)
    for number in [number for number in estate.clinging if number not in found]:
        del estate.clinging[number]
    estate.ran |= found.keys()
    return {one.id for one in attempts} - found.keys()


def _clear(archive: Archive, estate: Estate, attempt: Attempt) -> None:
    """Keep what its last step had printed, and remove the folder that it was copying, when its worker died."""
    own = attempt_folder(estate.store_folder, attempt.id)
    known = archive.attempts.get(attempt.id)
    if attempt.worker is not None and known is not None:
        position = max([attempt.start_step, *(step.position + 1 for step in known.steps)])
        rescue_logs(scratch_path(estate.store_folder, attempt.worker), own, position)
    forget_progress(own)
    remove_tree(copy_part(own, attempt.folder or own, attempt.token))


def _close(archive: Archive, estate: Estate, now: float) -> None:
    """Close the journals of workers that are gone; all of them, and the runner, when nothing that any worker could
    begin or end is left."""
    over = not estate.active
    for orphan in [orphan for orphan in estate.orphans if over or orphan.told]:
        archive.runners.close_journal(orphan.worker)
        orphan.forget()
        estate.orphans.remove(orphan)
        if orphan.gone:
            clear_scratch(scratch_path(estate.store_folder, orphan.worker))
    if over:
        archive.runners.end(estate.runner.id, now)
        detail = {"runner": estate.runner.id, "lost": estate.lost, "never_started": estate.unstarted}
        archive.events.add(now, "recovered", None, detail)
