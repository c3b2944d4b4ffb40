"""Refuse to run a workflow from inside one of its own jobs: the run would wait for the job, and the job for the run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rekindle.domain.errors import Refused
from rekindle.engine.session import Session
from rekindle.journal.places import TOKEN

_CALL_HOST = "rekindle.worker.host"


def refuse_inside_job(session: Session, workflow: int | None) -> None:
    """Refused when this process belongs to a running job of `workflow` (None: of any workflow of the store), or imports
    a module for one. A job may work on another workflow and in another store."""
    refuse_while_imported("runs")
    token = os.environ.get(TOKEN)
    if token is None:
        return
    with session.store.read() as archive:
        around = next((one for one in archive.attempts.active() if one.token == token), None)
        if around is None or workflow not in (None, around.workflow):
            return
        [job] = archive.jobs.get([around.job])
        owner = archive.workflows.find(around.workflow)
    name = owner.name if owner else str(around.workflow)
    raise Refused(
        f"this is a process of the job {job.name} of the workflow {name}: it would wait for its own end",
        hint="no job can wait for its own workflow: `rekindle submit` adds what its runner shall run, --store FOLDER "
        "names another store",
    )


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
                f"{Path(frame.f_code.co_filename).name} {does} a workflow while a worker imports it to call a function",
                hint='put what only the script itself does under `if __name__ == "__main__":`, '
                "as for multiprocessing: a worker imports the script again",
            )
        frame = frame.f_back
