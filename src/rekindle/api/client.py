"""A client of a store: what the command line does, as calls that return values."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.api import arguments, shown_plans
from rekindle.api.hints import python_hints
from rekindle.api.reproducer import Reproducer
from rekindle.api.workflow import run_definition
from rekindle.domain.batches.supervision import Guards
from rekindle.domain.errors import PlanRefused, UsageError
from rekindle.domain.rerun.request import How, how_to_json
from rekindle.domain.selection import Selection
from rekindle.engine.queries import selections
from rekindle.engine.queries.workflow_queries import name_index
from rekindle.engine.rerun import control, rerun, restart, resubmit
from rekindle.engine.rerun.accept import accept
from rekindle.engine.rerun.complete import CompletedByHand, CompleteOptions, complete, user_name
from rekindle.engine.rerun.restart import plan_restart, workflow_to_restart
from rekindle.engine.results import (
    AcceptedChanges,
    AppliedRerun,
    CancelResult,
    HoldResult,
    PlannedRerun,
    PlannedRestart,
    ReattachResult,
    SubmitPreview,
    SubmitResult,
    SuperviseOptions,
    UndoneRerun,
    WorkOptions,
    WorkReport,
)
from rekindle.engine.running import reconcile
from rekindle.engine.running.signals import StopHandle, deliver
from rekindle.engine.running.work import work
from rekindle.engine.submit.submit import preview, submit
from rekindle.engine.supervising.supervise import acknowledge, supervise
from rekindle.presentation.batch_values import PruneReport
from rekindle.presentation.bundles import ImportedBundle

if TYPE_CHECKING:
    from signal import Signals

    from rekindle.domain.batches.supervision_report import SupervisionReport
    from rekindle.engine.session import Session
    from rekindle.engine.supervising.simulation import SimulatedSupervision

shown_plans.show_results()
shown_plans.resolve_annotations()


@python_hints
class Client(Reproducer):
    """A store, and what the command line does with it. Use it as a context manager, or close it.

    Calls about one noun are together: `client.workflows.list()`, `client.jobs(…)`, `client.attempts.diff(a, b)`,
    `client.logs(job)`, `client.reruns.show(id)`, `client.plans.load(path)`, `client.tokens.list()`,
    `client.store.check()`. Jobs are given as a selection (`client.selection(state="failed")`), as ids
    (`client.select(…)`), or as one id. Times are datetimes in UTC.

    Args:
        store: A folder, or a URL such as `postgresql://host/database`. By default the store is found as by the command
            line: $REKINDLE_STORE, else the nearest `.rekindle` folder, else a new one here.
        create: Whether to make the store if there is none.

    Raises:
        NotFound: There is no store, and `create` is false.
        StoreError: The store cannot be opened.

    Example:
        >>> from rekindle import Client, How, Overrides
        >>> with Client() as client:
        ...     failed = client.selection(state="failed")
        ...     how = How(start="failed-step", overrides=Overrides(memory="x2"))
        ...     plan = client.plan_rerun(failed, how)
        ...     print(plan)
        ...     client.apply(plan)
        ...     client.work(jobs=4)
    """

    def _reconciled(self) -> Session:
        """Return the session after resolving the attempts of dead runners."""
        reconcile.reconcile(self._session)
        return self._session

    def submit(
        self, spec: arguments.Spec, *, name: str | None = None, new: bool = False, revise: bool = False, **params: Any
    ) -> SubmitResult:
        """Store a workflow, and run nothing.

        Args:
            spec: A Workflow, its definition, or the path of a spec file.
            name: Another name than the workflow's.
            new: Make another workflow of the same name, and no revision.
            revise: Become the next revision of a workflow of its name that was submitted from another file.
            params: Parameters of a spec file, as in `--param`.

        Raises:
            SpecError: The spec has mistakes. The error names each, with its line and column.
            SubmitRefused: The store has another workflow of this name, or a job of it is running.
        """
        return submit(self._session, arguments.definition(spec, params), name=name, new=new, revise=revise)

    def preview(self, spec: arguments.Spec, *, revise: bool = False, **params: Any) -> SubmitPreview:
        """Return what `submit` would do; nothing is changed. Arguments and errors are those of `submit`."""
        return preview(self._session, arguments.definition(spec, params), revise=revise)

    def run(
        self,
        spec: arguments.Spec,
        *,
        jobs: int | None = None,
        executor: str | None = None,
        address: str | None = None,
        name: str | None = None,
        new: bool = False,
        wait_timeout: float | str | None = None,
        rerun: bool = True,
        retry_failed: bool = False,
        revise: bool = False,
        reuse: bool = True,
        **params: Any,
    ) -> WorkReport:
        """Store a workflow and bring it up to date, as `rekindle run` does; see `Workflow.run`, also for Ctrl-C.

        Args:
            spec: A Workflow, its definition, or the path of a spec file.
            jobs: At most this many jobs run at once. None: one for each processor.
            executor: "local", "slurm" or "dask".
            address: Of the executor's engine, such as Dask's scheduler.
            name: Another name than the workflow's.
            new: Make another workflow of the same name, and no revision.
            wait_timeout: End after this time, in seconds or as a text such as "1h30m". Running jobs go on.
            rerun: Whether stale jobs run.
            retry_failed: Whether failed jobs run again.
            reuse: Whether earlier attempts, of any workflow, complete jobs with the same definition and inputs.
            revise: Become the next revision of a workflow of its name that was submitted from another file.
            params: Parameters of a spec file, as in `--param`.

        Returns:
            The numbers of jobs that ran, with the exit code of `rekindle run`.
        """
        slots, limit = arguments.count("jobs", jobs), arguments.seconds("wait_timeout", wait_timeout)
        options = WorkOptions(slots=slots, wait_timeout=limit, executor=executor, address=address, reuse=reuse)
        definition = arguments.definition(spec, params)
        report = run_definition(
            self._session, definition, options, name, new=new, rerun=rerun, retry_failed=retry_failed, revise=revise
        )
        deliver(report.signal)
        return report

    def work(
        self,
        workflow: str | int | None = None,
        *,
        jobs: int | None = None,
        stop: StopHandle | None = None,
        executor: str | None = None,
        address: str | None = None,
        watch: bool = False,
        wait_timeout: float | str | None = None,
        reuse: bool = True,
    ) -> WorkReport:
        """Run ready jobs until none is left. Ctrl-C cancels the running jobs and raises KeyboardInterrupt after that is
        recorded.

        Args:
            workflow: Only jobs of this workflow, by name or id.
            jobs: At most this many jobs run at once. None: one for each processor.
            stop: Ends the run from any thread.
            executor: "local", "slurm" or "dask".
            address: Of the executor's engine, such as Dask's scheduler.
            watch: Wait for new jobs when none is left.
            wait_timeout: End after this time, in seconds or as a text such as "1h30m". Running jobs go on.
            reuse: Whether earlier attempts, of any workflow, complete jobs with the same definition and inputs.

        Returns:
            The numbers of jobs that ran. Its `exit_code` covers these: 0 all completed, 2 some failed, 5 canceled,
            6 timed out.
        """
        options = WorkOptions(
            arguments.workflow_key(workflow),
            slots=arguments.count("jobs", jobs),
            executor=executor,
            address=address,
            watch=watch,
            wait_timeout=arguments.seconds("wait_timeout", wait_timeout),
            reuse=reuse,
        )
        report = work(self._session, options, stop=stop)
        deliver(report.signal)
        return report

    def supervise(
        self,
        workflow: str | int,
        guards: Guards | None = None,
        *,
        jobs: int | None = None,
        elsewhere: bool = False,
        wait_timeout: float | str | None = None,
        note: str | None = None,
    ) -> SupervisionReport:
        """Run a workflow, and rerun its failures, within guards, as `rekindle supervise` does. Ctrl-C as for `work`.

        Args:
            workflow: Its name or id.
            guards: What is rerun, how often, and when to stop. None: the defaults of the command.
            jobs: At most this many jobs run at once.
            elsewhere: Other runners run the jobs.
            wait_timeout: Of each round, in seconds or as a text such as "1h30m".
            note: Recorded with the reruns.
        """
        slots, limit = arguments.count("jobs", jobs), arguments.seconds("wait_timeout", wait_timeout)
        key = str(workflow)
        interrupted_by: Signals | None = None

        def run(left: float | None) -> WorkReport:
            nonlocal interrupted_by
            report = work(self._session, WorkOptions(key, slots=slots, wait_timeout=left))
            interrupted_by = report.signal
            return report

        options = SuperviseOptions(key, guards or Guards(), wait_timeout=limit, note=note)
        report = supervise(self._session, options, None if elsewhere else run)
        acknowledge(self._session, report)
        deliver(interrupted_by)
        return report

    def simulate(
        self,
        workflow: str | int,
        guards: Guards | None = None,
        *,
        jobs: int | None = None,
        retries_at_most: int | None = None,
        wait_timeout: float | str | None = None,
        seed: int = 0,
    ) -> SimulatedSupervision:
        """Return what `supervise` with these guards would have done on the history of a workflow. Nothing runs, and
        nothing is written. Refused if the workflow has no attempt that completed or failed.

        Args:
            workflow: Its name or id.
            guards: As in `supervise`.
            jobs: At most this many jobs run at once. None: as many as have in the history.
            retries_at_most: Retries of all jobs together.
            wait_timeout: Of each round, in seconds or as a text such as "1h30m".
            seed: For attempts without a record, which are drawn from similar ones.
        """
        from rekindle.engine.supervising.simulation import SimulationOptions, simulate

        slots, limit = arguments.count("jobs", jobs), arguments.seconds("wait_timeout", wait_timeout)
        most = arguments.count("retries_at_most", retries_at_most)
        return simulate(self._session, SimulationOptions(str(workflow), guards or Guards(), slots, most, limit, seed))

    def plan_rerun(
        self,
        selection: arguments.Jobs,
        how: How | None = None,
        *,
        note: str | None = None,
        submit: arguments.Spec | None = None,
        canary: int | None = None,
        revise: bool = False,
    ) -> PlannedRerun:
        """Return the plan of a rerun; nothing is changed. `print(plan)` shows it as the command line does, and `apply`
        applies it.

        Args:
            selection: The jobs: a selection, ids, or one id.
            how: Where the jobs start, what is kept, and what runs below them. None: from the beginning.
            note: Recorded with the rerun.
            submit: A workflow that becomes the next revision first; `apply` does both, or neither.
            canary: Run this many jobs of each signature first, and the others only after these have passed.
            revise: With `submit`: also if the revision comes from another file.

        Raises:
            PlanRefused: No job is selected, or none can be rerun: `refused` has each job with the reason.
            BadValue: The jobs are neither a selection nor ids.
        """
        canary = arguments.count("canary", canary)
        chosen = arguments.checked_jobs(selection)
        session = self._reconciled()
        how = how or How()
        request: dict[str, Any] = {"how": how_to_json(how) | ({} if canary is None else {"canary": canary})}
        try:
            if submit is None:
                return _completed(session, rerun.plan(session, [(chosen, how)], request, note, canary=canary))
            definition = arguments.definition(submit, {})
            request = {**request, "submit": definition.source}
            pick = _requests(session, definition, chosen, how, revise=revise)
            found = resubmit.plan_resubmit(session, definition, pick, request, note, canary=canary, revise=revise)
        except PlanRefused as refusal:
            if not refusal.refused:
                raise arguments.no_job(selection) from None
            raise
        if not isinstance(found, PlannedRerun):
            raise UsageError("no job is selected", hint="`submit` alone makes the new revision")
        return _completed(session, found)

    def apply(self, plan: PlannedRerun) -> AppliedRerun:
        """Apply a plan, in one transaction.

        Raises:
            PlanOutdated: One of its jobs has changed since the plan was made.
            BadValue: It is no plan of a rerun.
        """
        arguments.check_plan(plan)
        applied = resubmit.apply(self._reconciled(), plan)
        self._reconciled()  # resolve the attempts of dead runners that the plan cancels
        return applied

    def undo(self, rerun_id: int | None = None) -> UndoneRerun:
        """Undo a rerun: the newest that a user requested, or the given one.

        Raises:
            UndoRefused: A job of the rerun has started since.
        """
        rerun_id = arguments.count("rerun_id", rerun_id)
        session = self._reconciled()
        return rerun.undo(session, rerun_id)

    def plan_restart(
        self,
        workflow: str | int | None = None,
        *,
        only_uninitialized: bool = False,
        cancel_running: bool = False,
        note: str | None = None,
    ) -> PlannedRestart:
        """Return the plan of restarting a workflow, by default the only one of the store: see `restart`."""
        session = self._reconciled()
        chosen = workflow_to_restart(session, arguments.workflow_key(workflow))
        return plan_restart(
            session, chosen, only_uninitialized=only_uninitialized, cancel_running=cancel_running, note=note
        )

    def restart(
        self,
        workflow: str | int | None = None,
        *,
        only_uninitialized: bool = False,
        cancel_running: bool = False,
        note: str | None = None,
    ) -> AppliedRerun | None:
        """Rerun the jobs of a workflow that were killed, lost or canceled, are stale, or are held by `reset`.

        Args:
            workflow: Its name or id. None: the only one of the store.
            only_uninitialized: Only jobs that are held by `reset`.
            cancel_running: Cancel running jobs below them first.
            note: Recorded with the rerun.

        Returns:
            The rerun; None if there was nothing to do.
        """
        found = self.plan_restart(
            workflow, only_uninitialized=only_uninitialized, cancel_running=cancel_running, note=note
        )
        return None if found.proposal is None else self.apply(found.proposal)

    def plan_reattach(self, jobs: arguments.Jobs) -> ReattachResult:
        """Return what `reattach` would find for these jobs; nothing is changed."""
        return reconcile.plan_reattach(self._session, arguments.job_ids(self._session, jobs))

    def reattach(self, jobs: arguments.Jobs) -> ReattachResult:
        """Resolve the attempts of these jobs, whose runner has vanished: record the finished ones and rerun the lost
        ones. Running attempts continue, and `work` records their ends."""
        return reconcile.reattach(self._session, arguments.job_ids(self._session, jobs))

    def reset(self, jobs: arguments.Jobs, *, cancel_running: bool = False, note: str | None = None) -> AppliedRerun:
        """Archive the attempts of these jobs and of all jobs below them, and hold the jobs until a restart. With
        `cancel_running`, running jobs are canceled first."""
        chosen = arguments.checked_jobs(jobs)
        session = self._reconciled()
        proposal = restart.plan_reset(session, chosen, {}, note, cancel_running=cancel_running)
        return self.apply(_completed(session, proposal))

    def accept(self, jobs: arguments.Jobs, *, note: str | None = None) -> AcceptedChanges:
        """Accept the changes of these jobs, so that they are not stale. Recorded, and undoable."""
        session = self._reconciled()
        chosen = arguments.checked_jobs(jobs)
        if not isinstance(chosen, Selection):
            return accept(session, chosen, {"jobs": list(chosen)}, note)
        found = selections.select_stale(session, replace(chosen, changed=chosen.changed or True))
        return accept(session, found, {"jobs": list(found.versions)}, note)

    def complete(
        self,
        jobs: arguments.Jobs,
        *,
        outputs: Mapping[str, str | os.PathLike[str]] | None = None,
        result: Any = None,
        note: str | None = None,
        dry_run: bool = False,
    ) -> CompletedByHand:
        """Record these jobs as completed, with the files as they are: the results come from elsewhere. The jobs that
        need them go on. Recorded, and undoable.

        Args:
            jobs: A selection, ids, or one id.
            outputs: Of one job: where declared outputs lie, by name. They are copied into place.
            result: What each job hands to those that need it, as JSON. None: nothing.
            note: Recorded with it.
            dry_run: Change nothing.

        Raises:
            PlanRefused: No job can be completed: `refused` has each job with the reason.
        """
        session, chosen = self._reconciled(), arguments.checked_jobs(jobs)
        given = {name: os.fspath(path) for name, path in (outputs or {}).items()}
        asked = {} if isinstance(chosen, Selection) else {"jobs": list(chosen)}
        text = None if result is None else json.dumps(result)
        options = CompleteOptions(given, text, note, dry_run)
        return complete(session, chosen, {**asked, "by": user_name()}, options)

    def cancel(self, jobs: arguments.Jobs, note: str | None = None) -> CancelResult:
        """End running jobs, and keep others from starting."""
        return reconcile.cancel(self._session, arguments.checked_jobs(jobs), note)

    def hold(self, jobs: arguments.Jobs, reason: str = "held") -> HoldResult:
        """Keep jobs from being claimed until they are released."""
        return control.hold(self._reconciled(), arguments.checked_jobs(jobs), reason)

    def release(self, jobs: arguments.Jobs, note: str | None = None) -> HoldResult:
        """Release held jobs."""
        return control.release(self._reconciled(), arguments.checked_jobs(jobs), note)

    def prune(
        self,
        jobs: arguments.Jobs,
        *,
        older_than: float | str | None = None,
        keep_last: int | None = None,
        compress_logs: bool = False,
        workflows: bool = False,
        events: bool = False,
        note: str | None = None,
        dry_run: bool = False,
    ) -> PruneReport:
        """Remove the content of archived attempts of these jobs, and return what was removed. Their rows stay. This
        cannot be undone, and asks nothing.

        Args:
            jobs: A selection, ids, or one id.
            older_than: Only attempts that ended longer ago: seconds, or a text such as "30d".
            keep_last: Keep the last attempts of each job, this many.
            compress_logs: Compress logs instead of removing them.
            workflows: Also delete workflows that were archived longer ago. Of a selection of a workflow, or of all.
            events: Also delete older events.
            note: Recorded with the prune.
            dry_run: Remove nothing, and return what would be removed.
        """
        from rekindle.domain.retention import RetentionRules
        from rekindle.engine.retention import prune
        from rekindle.presentation.retention import prune_document

        chosen, age = arguments.checked_jobs(jobs), arguments.seconds("older_than", older_than)
        rules = RetentionRules(age, keep_last, "compressed" if compress_logs else "removed")
        session = self._reconciled()
        plan = prune.plan_prune(session, chosen, prune.PruneRequest(rules, workflows, events))
        if dry_run or plan.empty:
            return PruneReport.of(prune_document(plan))
        asked = {} if isinstance(chosen, Selection) else {"jobs": list(chosen)}
        return PruneReport.of(prune_document(plan, prune.prune(session, plan, asked, note)))

    def import_bundle(
        self,
        path: arguments.StorePath,
        *,
        name: str | None = None,
        into: arguments.StorePath | None = None,
        dry_run: bool = False,
    ) -> ImportedBundle:
        """Import a workflow that `export` wrote. It is archived: nothing of it runs before
        `client.workflows.archive(workflow, undo=True)`.

        Args:
            path: The file.
            name: The workflow's name in this store. None: that in the bundle.
            into: The workflow's folder, in which files are unpacked. None: a folder with its name beside the store.
            dry_run: Verify the file, and import nothing.

        Raises:
            Refused: The file is damaged or of a newer rekindle, or its name or a file is taken. Nothing is imported.
        """
        from rekindle.engine.bundles.importing import Bundle, import_bundle
        from rekindle.presentation.bundles import import_document

        folder = None if into is None else Path(into)
        with Bundle(Path(path)) as bundle:
            report = import_bundle(self._session, bundle, name=name, into=folder, dry_run=dry_run)
        return ImportedBundle.of(import_document(report))


def _requests(
    session: Session, definition: Any, chosen: Selection | Sequence[int], how: How, *, revise: bool
) -> resubmit.RequestBuilder:
    """Return the request of a rerun after a revision."""
    if not isinstance(chosen, Selection):
        return resubmit.requests_for_jobs(tuple(chosen), how)
    if chosen.changed:
        stale = resubmit.stale_after_revision(session, definition, chosen, revise=revise)
        return resubmit.requests_for_jobs(stale, how)
    return resubmit.requests_for_selection(session, definition, chosen, how)


def _completed(session: Session, planned: PlannedRerun) -> PlannedRerun:
    """Return the plan with the ids of the selected jobs in its record, and with the names that it is shown with."""
    names = name_index(session, planned.plan.jobs.ids)
    return replace(planned, request={"jobs": list(planned.selected), **planned.request}, names=names)
