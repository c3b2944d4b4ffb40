"""`launch_rocket` and `rapidfire` for scripts, with the signatures of FireWorks' rocket_launcher."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.launchpad_base import LaunchPadNotFound, existing_fireworks
from rekindle.dialects.fireworks.rocket_launcher import (
    LEVELS,
    SLEEP,
    Launch,
    LaunchLog,
    RapidfireOptions,
    as_fworker,
    attempts_of,
    launch_many,
    launch_offline,
    launch_one,
    redirect,
    show_launch,
)
from rekindle.domain.errors import BadValue, Refused
from rekindle.engine.running.signals import deliver

if TYPE_CHECKING:
    from rekindle.dialects.fireworks.launchpad import LaunchPad
    from rekindle.engine.session import Session


def launch_rocket(
    launchpad: LaunchPad | None,
    fworker: Any = None,
    fw_id: int | None = None,
    strm_lvl: str = "INFO",
    pdb_on_exception: bool = False,
    err_file: Any = None,
) -> bool:
    """Launch one ready firework, or the firework `fw_id`, in the working directory. Returns whether one was launched.

    Without a `launchpad` run the launch that `setup_offline_job` has set up in the working directory. `fworker`: an
    FWorker of rekindle or of FireWorks. `err_file`: gets the stderr of tasks."""
    _refuse_debugger(pdb_on_exception)
    log = _launch_log(strm_lvl)
    if launchpad is None:
        log.info("Launching Rocket")
        ran = launch_offline(as_fworker(fworker), Path.cwd())
        log.info("Rocket finished")
        deliver(ran.interrupted_by)
        return True
    with launchpad.opened() as session:
        if fw_id is not None:
            existing_fireworks(session, [fw_id])
        done = launch_one(session, as_fworker(fworker), Path.cwd(), fw_id, log.launch)
        _show(session, done.launches, log, err_file)
    deliver(done.report.signal if done.report else None)
    return bool(done.launches)


def rapidfire(
    launchpad: LaunchPad,
    fworker: Any = None,
    m_dir: str | None = None,
    nlaunches: int | str = 0,
    max_loops: int = -1,
    sleep_time: float | None = None,
    strm_lvl: str = "INFO",
    timeout: float | None = None,
    local_redirect: bool = False,
    pdb_on_exception: bool = False,
) -> None:
    """Launch fireworks, each in a new folder launcher_… in `m_dir` (default: the working directory).

    `nlaunches`: at most this many; 0: until none is ready; -1 or "infinite": wait for more."""
    _refuse_debugger(pdb_on_exception)
    log = _launch_log(strm_lvl)
    directory = Path.cwd() if m_dir is None else Path(m_dir).resolve()
    if not directory.is_dir():
        raise LaunchPadNotFound(f"there is no folder {directory}", hint="m_dir is where launches take place")
    most = -1 if nlaunches == "infinite" else int(nlaunches)
    how = RapidfireOptions(
        most=most if most > 0 else None,
        endless=most < 0,
        loops=max_loops if max_loops >= 0 else None,
        sleep=SLEEP if sleep_time is None else float(sleep_time),
        timeout=timeout,
    )
    with launchpad.opened() as session:
        done = launch_many(session, as_fworker(fworker), directory, how, log.launch)
        _show(session, done.launches, log, None)
        if local_redirect:
            redirect(session, done.launches)
    deliver(done.report.signal if done.report else None)


def setup_offline_job(launchpad: LaunchPad, fw: Any, launch_id: int) -> None:
    """Write the files into the working directory with which the reserved launch of a firework is run where the store
    is not: `rlaunch singleshot --offline`. Then `lpad recover_offline` records what became of it."""
    launchpad.add_offline_run(launch_id, fw.fw_id, fw.name)


def _show(session: Session, launches: Iterable[Launch], log: LaunchLog, err_file: Any) -> None:
    every = list(launches)
    if not every:
        log.info("No FireWorks are ready to run and match query!")
    for attempt in attempts_of(session, every):
        if log.enabled:
            show_launch(session, attempt)
        if err_file is not None and attempt.failure is not None:
            err_file.write(attempt.failure.traceback or attempt.failure.stderr)
    sys.stdout.flush()


def _launch_log(level: str) -> LaunchLog:
    if level.upper() not in LEVELS:
        raise BadValue(f"there is no level {level!r}", hint="levels are " + ", ".join(LEVELS))
    return LaunchLog(level)


def _refuse_debugger(requested: bool) -> None:
    if requested:
        raise Refused(
            "pdb_on_exception: tasks run in processes of their own, without a terminal",
            hint="the traceback is kept: get_fw_dict_by_id",
        )
