"""Refuse to run where a run cannot work: inside one of its own jobs, during an import, or without the project
folder."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rekindle.domain.errors import Refused
from rekindle.engine.presence import is_visible
from rekindle.journal.paths import TOKEN_VARIABLE
from rekindle.journal.processes import ancestors_of

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot

_CALL_HOST = "rekindle.worker.call_host"

WHILE_IMPORTED = "while a worker imports it to call a function"
"""The end of the error message of a job whose module runs or submits a workflow at its top level."""

START_SECONDS = 2.0
"""How long to wait for the runner to record which job the worker above this process has started."""


def refuse_inside_job(session: Session, workflow: int | None) -> None:
    """Raise Refused if this process belongs to a running job of `workflow` (None: of any workflow in the store), or
    imports a module for one. A job may run other workflows and use other stores."""
    refuse_while_imported("runs")
    token = os.environ.get(TOKEN_VARIABLE)
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
        hint="no job can wait for its own workflow: `rekindle submit` adds jobs for its runner, --store FOLDER "
        "names another store",
    )


def _workers_above(archive: Snapshot) -> set[str]:
    """Return the workers of the store that are ancestors of this process. A worker is the subreaper of its jobs, so
    this also finds jobs that cleared their environment or left their session."""
    above = set(ancestors_of(os.getpid()))
    return {
        worker
        for runner in archive.runners.alive()
        if is_visible(runner)
        for worker, _, pid, start, _ in archive.runners.journals(runner.id)
        if (pid, start) in above
    }


def refuse_while_imported(does: str) -> None:
    """Raise Refused if a worker is importing a module to call one of its functions. Top-level code that `does`
    something to a workflow is meant for a script."""
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


def workflows_without_folder(session: Session, workflows: Iterable[Workflow]) -> list[Workflow]:
    """Return the workflows among these whose folder is missing and whose jobs run or read files in it."""
    gone = [one for one in workflows if not Path(one.directory).is_dir()]
    if not gone:
        return []
    with session.store.read() as archive:
        return [
            one
            for one in gone
            if any(body.workdir == "project" or body.inputs for _, body in archive.workflows.templates(one.id))
        ]


def refuse_without_folder(session: Session, workflows: Iterable[Workflow]) -> None:
    """Raise Refused with the name of the first of these workflows whose folder is missing."""
    for one in workflows_without_folder(session, workflows):
        raise Refused(
            f"the folder of workflow {one.name!r} is missing: {one.directory}",
            hint="put it back there, or submit its spec from where it is now: rekindle run SPEC --as NAME",
        )
