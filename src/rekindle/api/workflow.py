"""Workflows that are defined in Python."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.api import arguments
from rekindle.api.hints import python_hints
from rekindle.domain.states import Cause
from rekindle.engine.preconditions import WHILE_IMPORTED, refuse_while_imported
from rekindle.engine.queries import failure_queries
from rekindle.engine.rerun.resubmit import apply_update, plan_update, run_outcome
from rekindle.engine.results import SubmitResult, WorkOptions, WorkReport
from rekindle.engine.running import reconcile
from rekindle.engine.running.signals import deliver
from rekindle.engine.running.work import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import submit
from rekindle.spec.builder import Workflow as _Builder

if TYPE_CHECKING:
    from rekindle.domain.definition import Definition


@python_hints
class Workflow(_Builder):
    """A workflow defined in Python. Add jobs with `job`; then `submit` the workflow, or `run` it to the end. Keys and
    values are those of a spec file.

    Args:
        name: The name of the workflow in the store. The same name again is a new revision.
        params: Parameters by name, used as `${params.NAME}`.
        env: Environment variables of all jobs.
        project: A name under which workflows are listed.
        directory: The project's folder: jobs run in it, and relative paths start there. The default is the folder of
            the calling file, or the working directory if the caller is not in a file.
        workdir: Where jobs run: "project" (the default) or "attempt", a folder of each attempt.
        defaults: What jobs have unless they say otherwise, such as `{"resources": {"memory": "2G"}}`.
        stale_on: What else makes jobs stale: `["environment"]`.
        implicit_inputs: Whether files that commands name count as inputs.
        on: Hooks at the end of a run: commands or URLs by event, such as `{"failed": "./notify.sh"}`.

    Example:
        >>> from rekindle import Workflow
        >>> sweep = Workflow("sweep", params={"steps": 100})
        >>> train = sweep.job(
        ...     "train",
        ...     run="python train.py ${matrix.alpha} ${params.steps} ${outputs.model}",
        ...     matrix={"alpha": [0.1, 1.0]},
        ...     outputs={"model": "models/${matrix.alpha}.npz"},
        ... )
        >>> report = sweep.job("report", run="python report.py", needs=train)
        >>> report = sweep.run(jobs=2)
        >>> report.exit_code
        0
    """

    def submit(
        self,
        store: arguments.StorePath | None = None,
        *,
        name: str | None = None,
        new: bool = False,
        revise: bool = False,
    ) -> SubmitResult:
        """Store the workflow, and run nothing.

        Args:
            store: A folder or URL. By default the store is found as by the command line.
            name: Another name than the workflow's.
            new: Make another workflow of the same name, and no revision.
            revise: Become the next revision of a workflow of this name that was submitted from a spec file.

        Returns:
            The workflow's id, its revision, and what it changed.

        Raises:
            SpecError: The workflow has mistakes. The error names each, with its job and key.
            SubmitRefused: The store has another workflow of this name, or a job of it is running.
        """
        refuse_while_imported("submits")
        with open_session(arguments.store_url(store)) as session:
            return submit(session, self.definition(), name=name, new=new, revise=revise)

    def run(
        self,
        store: arguments.StorePath | None = None,
        *,
        jobs: int | None = None,
        name: str | None = None,
        new: bool = False,
        wait_timeout: float | str | None = None,
        rerun: bool = True,
        retry_failed: bool = False,
        revise: bool = False,
        reuse: bool = True,
    ) -> WorkReport:
        """Store the workflow and bring it up to date, as `rekindle run` does: run its new, ready, stale and interrupted
        jobs, and every job below these.

        Ctrl-C cancels the running jobs and raises KeyboardInterrupt after that is recorded. SIGTERM and SIGHUP cancel
        the jobs, too, and then have their usual effect. Outside the main thread no signal is handled.

        Args:
            store: A folder or URL. By default the store is found as by the command line.
            jobs: At most this many jobs run at once. None: one for each processor.
            name: Another name than the workflow's.
            new: Make another workflow of the same name, and no revision.
            wait_timeout: End after this time, in seconds or as a text such as "1h30m". Running jobs go on.
            rerun: Whether stale jobs run.
            retry_failed: Whether failed jobs run again.
            reuse: Whether earlier attempts, of any workflow, complete jobs with the same definition and inputs.
            revise: Become the next revision of a workflow of this name that was submitted from a spec file.

        Returns:
            The numbers of jobs that ran. Its `exit_code` is for the whole workflow, as that of the command line: 0 all
            completed and current, 1 stale jobs are left, 2 jobs have failed, 5 jobs are canceled, 6 timed out.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            SpecError: The workflow has mistakes.
            Refused: It cannot run, for instance within one of its own jobs.
        """
        refuse_while_imported("runs")
        slots, limit = arguments.count("jobs", jobs), arguments.seconds("wait_timeout", wait_timeout)
        with open_session(arguments.store_url(store)) as session:
            options = WorkOptions(slots=slots, wait_timeout=limit, reuse=reuse)
            report = run_definition(
                session,
                self.definition(),
                options,
                name,
                new=new,
                rerun=rerun,
                retry_failed=retry_failed,
                revise=revise,
            )
        deliver(report.signal)
        return report


def run_definition(
    session: Session,
    definition: Definition,
    options: WorkOptions,
    name: str | None = None,
    *,
    new: bool,
    rerun: bool,
    retry_failed: bool,
    revise: bool,
) -> WorkReport:
    """Store a definition and bring its workflow up to date. The exit code is for the whole workflow."""
    reconcile.reconcile(session)
    update = plan_update(
        session, definition, name=name, new=new, revise=revise, rerun_stale=rerun, retry_failed=retry_failed
    )
    stored, _ = apply_update(session, update)
    report = work(session, replace(options, workflow=str(stored.workflow)))
    report = replace(report, exit_code=run_outcome(session, stored.workflow, report).exit_code)
    if report.failed:
        _warn_of_imports(session, stored.workflow)
    return report


def _warn_of_imports(session: Session, workflow: int) -> None:
    """Warn about jobs that did not start because the module of their function runs or submits a workflow at import. The
    report does not explain this failure."""
    for group in failure_queries.failures(session, str(workflow)):
        if group.cause is Cause.START and WHILE_IMPORTED in group.newest_message:
            count = len(group.jobs)
            text = f"{count:,} job{'' if count == 1 else 's'} did not start: {group.newest_message}"
            warnings.warn(text, RuntimeWarning, stacklevel=5)
