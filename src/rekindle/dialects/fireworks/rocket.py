"""`launch_rocket` and `rapidfire` for scripts, with the signatures of FireWorks' rocket_launcher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.launch_output import LaunchOutput
from rekindle.dialects.fireworks.launchpad_base import LaunchPadNotFound, existing_fireworks
from rekindle.dialects.fireworks.rocket_launcher import (
    SLEEP,
    RapidfireOptions,
    as_fworker,
    launch_many,
    launch_offline,
    launch_one,
)
from rekindle.domain.errors import Refused
from rekindle.engine.running.signals import deliver

if TYPE_CHECKING:
    from rekindle.dialects.fireworks.launchpad import LaunchPad


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
    output = LaunchOutput(strm_lvl, err_file=err_file)
    if launchpad is None:
        output.log("Launching Rocket")
        ran = launch_offline(as_fworker(fworker), Path.cwd())
        output.log("Rocket finished")
        deliver(ran.interrupted_by)
        return True
    with launchpad.opened() as session:
        if fw_id is not None:
            existing_fireworks(session, [fw_id])
        done = launch_one(session, as_fworker(fworker), Path.cwd(), fw_id, output)
    if not done.launches:
        output.log("No FireWorks are ready to run and match query!")
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
    output = LaunchOutput(strm_lvl, local_redirect=local_redirect)
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
        done = launch_many(session, as_fworker(fworker), directory, how, output)
    if not done.launches:
        output.log("No FireWorks are ready to run and match query!")
    deliver(done.report.signal if done.report else None)


def setup_offline_job(launchpad: LaunchPad, fw: Any, launch_id: int) -> None:
    """Write the files into the working directory with which the reserved launch of a firework is run where the store
    is not: `rlaunch singleshot --offline`. Then `lpad recover_offline` records what became of it."""
    launchpad.add_offline_run(launch_id, fw.fw_id, fw.name)


def _refuse_debugger(requested: bool) -> None:
    if requested:
        raise Refused(
            "pdb_on_exception: tasks run in processes of their own, without a terminal",
            hint="the traceback is kept: get_fw_dict_by_id",
        )
