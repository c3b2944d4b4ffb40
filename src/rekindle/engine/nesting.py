"""Refuse to run a workflow from inside one of its own jobs: the run would wait for the job, and the job for the run."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from rekindle.domain.errors import Refused
from rekindle.engine.presence import is_seen
from rekindle.engine.session import Session
from rekindle.journal.places import TOKEN
from rekindle.journal.processes import ancestors_of
from rekindle.store.port import Archive

_CALL_HOST = "rekindle.worker.host"

WHILE_IMPORTED = "while a worker imports it to call a function"
"""The end of the message of a job whose module runs or submits a workflow at its top level."""

START_SECONDS = 2.0
"""The longest time to wait until the runner has recorded which job the worker above this process has started."""


def refuse_inside_job(session: Session, workflow: int | None) -> None:
    """Refused when this process belongs to a running job of `workflow` (None: of any workflow of the store), or imports
    a module for one. A job may work on another workflow and in another store."""
    refuse_while_imported("runs")
    token = os.environ.get(TOKEN)
    with session.store.read() as archive:
        workers = _workers_above(archive)
    if token is None and not workers:
        return
    deadline = time.monotonic() + START_SECONDS
    while True:
        with session.store.read() as archive:
            active = archive.attempts.active()
        found = [one for one in active if (token and one.token == token) or one.worker in workers]
        if found or not workers or time.monotonic() > deadline:
            break
        time.sleep(0.05)  # the runner has not recorded yet that the worker has started the job
    around = next((one for one in found if workflow in (None, one.workflow)), None)
    if around is None:
        return
    with session.store.read() as archive:
        [job] = archive.jobs.get([around.job])
        owner = archive.workflows.find(around.workflow)
    name = owner.name if owner else str(around.workflow)
    raise Refused(
        f"this is a process of the job {job.name} of the workflow {name}: it would wait for its own end",
        hint="no job can wait for its own workflow: `rekindle submit` adds what its runner shall run, --store FOLDER "
        "names another store",
    )


def _workers_above(archive: Archive) -> set[str]:
    """Return the workers of the store that are ancestors of this process: they stay so when a job clears its
    environment, and become so when a process leaves its session, because a worker is the subreaper of its jobs."""
    above = set(ancestors_of(os.getpid()))
    return {
        worker
        for runner in archive.runners.alive()
        if is_seen(runner)
        for worker, _, pid, start, _ in archive.runners.journals(runner.id)
        if (pid, start) in above
    }


def refuse_while_imported(does: str) -> None:
    """Refused while a worker imports a module to call a function of a job: what the module `does` at its top level is
    meant for a script."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or spec.name != _CALL_HOST:
        return
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name == "<module>" and not name.startswith("rekindle.") and name != "__main__":
            raise Refused(
                f"{Path(frame.f_code.co_filename).name} {does} a workflow {WHILE_IMPORTED}",
                hint='put what only the script itself does under `if __name__ == "__main__":`, '
                "as for multiprocessing: a worker imports the script again",
            )
        frame = frame.f_back
