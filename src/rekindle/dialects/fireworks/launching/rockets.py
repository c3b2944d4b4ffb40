"""Launching: a runner that claims what an fworker launches, one firework or as many as there are."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rekindle.dialects.fireworks.launching.fworkers import FWorker
from rekindle.dialects.fireworks.launching.places import Launch, LaunchPlaces
from rekindle.dialects.fireworks.queries import select_fireworks
from rekindle.dialects.fireworks.tasks.fworkers import FWORKER_VARIABLE
from rekindle.domain.errors import NotFound
from rekindle.domain.selection import Compare, Every, Op
from rekindle.domain.states import ACTIVE
from rekindle.engine.results import WorkOptions, WorkReport
from rekindle.engine.session import Session

SLEEP = 60.0
"""Seconds between two loops, as FireWorks has it."""


@dataclass(frozen=True, slots=True)
class Rapidfire:
    """How to launch many. `most`: so many at the most, None: as long as there are any; `endless`: then wait for more.
    `loops`: look so often, `sleep` seconds apart; None: go on by itself. `timeout`: launch nothing after so many
    seconds. `parallel`: so many at once."""

    most: int | None = None
    endless: bool = False
    loops: int | None = None
    sleep: float = SLEEP
    timeout: float | None = None
    parallel: int = 1


@dataclass(frozen=True, slots=True)
class Launched:
    """What was launched, and how the last runner's work ended."""

    launches: tuple[Launch, ...]
    report: WorkReport | None = None
    places: LaunchPlaces = field(default_factory=lambda: LaunchPlaces(""))


def launch_one(
    session: Session,
    fworker: FWorker,
    directory: Path,
    firework: int | None = None,
    tell: Callable[[Launch], None] | None = None,
) -> Launched:
    """Launch one ready firework in `directory`, or this one, whatever the fworker launches else. NotFound for one that
    is not there."""
    only = fworker.launches
    if firework is not None:
        if not select_fireworks(session, {"fw_id": firework}):
            raise NotFound(f"there is no firework {firework}", hint="`lpad get_fws -d ids` lists them")
        only = Every((Compare("id", Op.EQ, firework),))
    places = LaunchPlaces(str(directory), here=True, tell=tell)
    options = WorkOptions(slots=1, only=only, most=1, linger=False, place=places, label=fworker.name)
    return _launched(session, fworker, options, places)


def launch_many(
    session: Session,
    fworker: FWorker,
    directory: Path,
    how: Rapidfire,
    tell: Callable[[Launch], None] | None = None,
) -> Launched:
    """Launch what the fworker launches, each in a new folder in `directory`."""
    places = LaunchPlaces(str(directory), tell=tell)
    options = WorkOptions(
        slots=how.parallel,
        only=fworker.launches,
        most=how.most,
        watch=how.endless,
        claim_for=how.timeout,
        place=places,
        label=fworker.name,
    )
    if how.loops is None:
        return _launched(session, fworker, options, places)
    return _looped(session, fworker, options, places, how, how.loops)


def _looped(
    session: Session, fworker: FWorker, options: WorkOptions, places: LaunchPlaces, how: Rapidfire, loops: int
) -> Launched:
    """So many looks at what is ready; between them nobody wakes it."""
    began, done = time.monotonic(), Launched((), places=places)
    for loop in range(loops):
        left = None if how.timeout is None else how.timeout - (time.monotonic() - began)
        most = None if how.most is None else how.most - len(places.launches)
        if most == 0 or (left is not None and left <= 0):
            break
        once = replace(options, watch=False, linger=False, most=most, claim_for=left)
        done = _launched(session, fworker, once, places)
        assert done.report is not None
        if done.report.interrupted or not (how.endless or any(done.report.counts.get(one) for one in ACTIVE)):
            break
        if loop < loops - 1:
            time.sleep(how.sleep if left is None else min(how.sleep, left))
    return done


def _launched(session: Session, fworker: FWorker, options: WorkOptions, places: LaunchPlaces) -> Launched:
    from rekindle.engine.running.run import work

    with _told(fworker):
        report = work(session, options)
    return Launched(tuple(places.launches), report, places)


@contextmanager
def _told(fworker: FWorker) -> Iterator[None]:
    """Launches find the fworker in their environment."""
    before = os.environ.get(FWORKER_VARIABLE)
    os.environ[FWORKER_VARIABLE] = json.dumps(fworker.document)
    try:
        yield
    finally:
        if before is None:
            del os.environ[FWORKER_VARIABLE]
        else:
            os.environ[FWORKER_VARIABLE] = before
