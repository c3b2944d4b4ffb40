"""The Python API: define workflows in Python, and use a store as the command line does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from rekindle.domain.batches.supervision import Guards
from rekindle.domain.definition import Definition
from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.rerun.request import How, how_to_json
from rekindle.domain.selection import Selection
from rekindle.domain.states import Cause
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.texts.quantities import MOST_INTEGER, parse_duration
from rekindle.engine.preconditions import WHILE_IMPORTED, refuse_while_imported
from rekindle.engine.queries import failure_queries, job_queries, selections, workflow_queries
from rekindle.engine.rerun import control, rerun, restart, resubmit
from rekindle.engine.rerun.accept import accept
from rekindle.engine.rerun.restart import plan_restart, workflow_to_restart
from rekindle.engine.rerun.resubmit import apply_update, plan_update, run_outcome
from rekindle.engine.results import (
    AcceptedChanges,
    AppliedRerun,
    CancelResult,
    HoldResult,
    JobRow,
    PlannedRerun,
    PlannedRestart,
    ReattachResult,
    SubmitPreview,
    SubmitResult,
    SuperviseOptions,
    UndoneRerun,
    WorkflowStatus,
    WorkOptions,
    WorkReport,
)
from rekindle.engine.running import reconcile
from rekindle.engine.running.signals import StopHandle, deliver
from rekindle.engine.running.work import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.staleness import stale_jobs
from rekindle.engine.submit.submit import preview, submit
from rekindle.engine.supervising.supervise import acknowledge, supervise
from rekindle.query.selections import SelectionFlags, parse_selection
from rekindle.spec.builder import Workflow as _Builder

if TYPE_CHECKING:
    from signal import Signals

    from rekindle.domain.batches.supervision_report import SupervisionReport
    from rekindle.domain.models import Attempt, FailureGroup
    from rekindle.engine.staleness.stale_jobs import Explanation


class Workflow(_Builder):
    """A workflow defined in Python. Add jobs with `job`; then `submit` the workflow, or `run` it to the end."""

    def submit(
        self, store: str | None = None, *, name: str | None = None, new: bool = False, revise: bool = False
    ) -> SubmitResult:
        """Store the workflow. `store` is a path or URL; by default the store is found as by the command line. With
        `revise` the workflow becomes the next revision of one of its name that was submitted from a spec file."""
        refuse_while_imported("submits")
        with open_session(store) as session:
            return submit(session, self.definition(), name=name, new=new, revise=revise)

    def run(
        self,
        store: str | None = None,
        *,
        jobs: int | None = None,
        name: str | None = None,
        new: bool = False,
        wait_timeout: float | str | None = None,
        rerun: bool = True,
        retry_failed: bool = False,
        revise: bool = False,
    ) -> WorkReport:
        """Store the workflow and bring it up to date, as `rekindle run` does: run its new, ready, stale and interrupted
        jobs, and every job below these.

        At most `jobs` run at once. `wait_timeout` is in seconds, or a text such as "1h30m". With `rerun` false, stale
        jobs do not run; with `retry_failed`, failed jobs run again. The report's `exit_code` is for the whole workflow,
        as that of the command line.

        Ctrl-C cancels the running jobs and raises KeyboardInterrupt after that is recorded. SIGTERM and SIGHUP cancel
        the jobs, too, and then have their usual effect. Outside the main thread no signal is handled."""
        refuse_while_imported("runs")
        slots, limit = _count("jobs", jobs), _seconds("wait_timeout", wait_timeout)
        with open_session(store) as session:
            reconcile.reconcile(session)
            update = plan_update(
                session,
                self.definition(),
                name=name,
                new=new,
                revise=revise,
                rerun_stale=rerun,
                retry_failed=retry_failed,
            )
            stored, _ = apply_update(session, update)
            report = work(session, WorkOptions(str(stored.workflow), slots=slots, wait_timeout=limit))
            report = replace(report, exit_code=run_outcome(session, stored.workflow, report).exit_code)
            if report.failed:
                _warn_of_imports(session, stored.workflow)
        deliver(report.signal)
        return report


def _warn_of_imports(session: Session, workflow: int) -> None:
    """Warn about jobs that did not start because the module of their function runs or submits a workflow at import. The
    report does not explain this failure."""
    for group in failure_queries.failures(session, str(workflow)):
        if group.cause is Cause.START and WHILE_IMPORTED in group.newest_message:
            count = len(group.jobs)
            text = f"{count:,} job{'' if count == 1 else 's'} did not start: {group.newest_message}"
            warnings.warn(text, RuntimeWarning, stacklevel=3)


class _Reader:
    """An open store, and the calls that only read it."""

    def __init__(self, store: str | None = None, *, create: bool = True) -> None:
        """Open a store: a path or URL; by default the store is found as by the command line."""
        self._session: Session = open_session(store, create=create)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self._session.close()

    def status(self, workflow: str | None = None) -> list[WorkflowStatus]:
        """Return the status of each workflow, or of one."""
        return workflow_queries.status(self._session, workflow)

    def select(self, *jobs: int | str, **flags: Any) -> list[int]:
        """Return the ids of the jobs that the flags of the command line select: `select("train", state="failed")`,
        `select(workflow="sweep", filter=["exit_code=3"])`, `select(error="out of memory")`, `select(changed=True)`."""
        return selections.select(self._session, self._parsed(jobs, flags))

    def selection(self, *jobs: int | str, **flags: Any) -> Selection:
        """Return the selection of the flags, which are those of `select`. A call with a selection acts on the jobs that
        match then; jobs that `select` has returned may match no more. UsageError without any flag."""
        found = self._parsed(jobs, flags)
        if found.empty:
            raise UsageError("nothing is selected", hint='selection(state="failed"), or selection(all=True)')
        return found

    def _parsed(self, jobs: Sequence[int | str], flags: Mapping[str, Any]) -> Selection:
        return parse_selection(_flags(jobs, flags), self._session.clock)

    def jobs(self, ids: Sequence[int]) -> list[JobRow]:
        """Return jobs with their live attempts."""
        return job_queries.jobs(self._session, ids)

    def attempts(self, ids: Sequence[int] | None = None, *, live: bool = False) -> list[Attempt]:
        """Return attempts with their steps; archived ones too, unless `live` is true."""
        return job_queries.attempts(self._session, ids, live=live)

    def failures(self, workflow: str | None = None, *, archived: bool = False) -> list[FailureGroup]:
        """Return live failed attempts grouped by signature; with `archived`, all that ever failed."""
        return failure_queries.failures(self._session, workflow, archived)

    def why(self, ids: Sequence[int]) -> list[Explanation]:
        """Explain for each job whether it would run again, and why or why not. Reads the files of the jobs."""
        return stale_jobs.explain(self._session, ids)


class Client(_Reader):
    """A client with the calls of the command line. Use it as a context manager, or close it."""

    def _reconciled(self) -> Session:
        """Return the session after resolving the attempts of dead runners."""
        reconcile.reconcile(self._session)
        return self._session

    def submit(self, definition: Definition | Path | str, *, revise: bool = False, **params: str) -> SubmitResult:
        """Store a definition, or a spec file with `params` as in `--param`. With `revise` it becomes the next revision
        of a workflow of its name that was submitted from another file."""
        return submit(self._session, _definition(definition, params), revise=revise)

    def work(
        self, workflow: str | None = None, *, jobs: int | None = None, stop: StopHandle | None = None
    ) -> WorkReport:
        """Run ready jobs until none is left. Signals are handled as by `Workflow.run`. `stop` ends the run from any
        thread."""
        report = work(self._session, WorkOptions(workflow, slots=_count("jobs", jobs)), stop=stop)
        deliver(report.signal)
        return report

    def supervise(
        self,
        workflow: str,
        guards: Guards | None = None,
        *,
        jobs: int | None = None,
        elsewhere: bool = False,
        wait_timeout: float | str | None = None,
        note: str | None = None,
    ) -> SupervisionReport:
        """Run a workflow, and rerun its failures, within guards, as `rekindle supervise` does. `elsewhere`: other
        runners run the jobs. `wait_timeout`, for each round, is in seconds, or a text such as "1h30m". Signals are
        handled as by `Workflow.run`."""
        slots, limit = _count("jobs", jobs), _seconds("wait_timeout", wait_timeout)
        interrupted_by: Signals | None = None

        def run(left: float | None) -> WorkReport:
            nonlocal interrupted_by
            report = work(self._session, WorkOptions(workflow, slots=slots, wait_timeout=left))
            interrupted_by = report.signal
            return report

        options = SuperviseOptions(workflow, guards or Guards(), wait_timeout=limit, note=note)
        report = supervise(self._session, options, None if elsewhere else run)
        acknowledge(self._session, report)
        deliver(interrupted_by)
        return report

    def preview(self, definition: Definition | Path | str, *, revise: bool = False, **params: str) -> SubmitPreview:
        """Return what `submit` would do; nothing is changed."""
        return preview(self._session, _definition(definition, params), revise=revise)

    def plan_rerun(
        self,
        selection: Selection | Sequence[int],
        how: How | None = None,
        *,
        note: str | None = None,
        submit: Definition | Path | str | None = None,
        canary: int | None = None,
        revise: bool = False,
    ) -> PlannedRerun:
        """Return the plan of rerunning a selection, or ids. Raise PlanRefused if all are refused. With `submit` a
        definition or spec file becomes the next revision of its workflow first; `apply` does both, or neither. With
        `canary`, that number of jobs of each signature run first, and the others only after these have passed."""
        canary = _count("canary", canary)
        session = self._reconciled()
        how = how or How()
        options = how_to_json(how) | ({} if canary is None else {"canary": canary})
        request: dict[str, Any] = {"how": options}
        if submit is None:
            return _with_jobs(rerun.plan(session, [(selection, how)], request, note, canary=canary))
        definition = _definition(submit, {})
        request = {**request, "submit": definition.source}
        if not isinstance(selection, Selection):
            pick = resubmit.requests_for_jobs(tuple(selection), how)
        elif selection.changed:
            pick = resubmit.requests_for_jobs(
                resubmit.stale_after_revision(session, definition, selection, revise=revise), how
            )
        else:
            pick = resubmit.requests_for_selection(session, definition, selection, how)
        found = resubmit.plan_resubmit(session, definition, pick, request, note, canary=canary, revise=revise)
        if not isinstance(found, PlannedRerun):
            raise UsageError("no job is selected", hint="`submit` alone makes the new revision")
        return _with_jobs(found)

    def plan_restart(
        self,
        workflow: str | None = None,
        *,
        only_uninitialized: bool = False,
        cancel_running: bool = False,
        note: str | None = None,
    ) -> PlannedRestart:
        """Return the plan of restarting a workflow, by default the only one of the store: see `restart`."""
        session = self._reconciled()
        chosen = workflow_to_restart(session, workflow)
        return plan_restart(
            session, chosen, only_uninitialized=only_uninitialized, cancel_running=cancel_running, note=note
        )

    def restart(
        self,
        workflow: str | None = None,
        *,
        only_uninitialized: bool = False,
        cancel_running: bool = False,
        note: str | None = None,
    ) -> AppliedRerun | None:
        """Rerun the jobs of a workflow that were killed, lost or canceled, are stale, or are held by `reset` (with
        `only_uninitialized`: only those). With `cancel_running`, running jobs below them are canceled first. Return
        None if there was nothing to do."""
        found = self.plan_restart(
            workflow, only_uninitialized=only_uninitialized, cancel_running=cancel_running, note=note
        )
        return None if found.proposal is None else self.apply(found.proposal)

    def plan_reattach(self, ids: Sequence[int]) -> ReattachResult:
        """Return what `reattach` would find for these jobs; nothing is changed."""
        return reconcile.plan_reattach(self._session, ids)

    def reattach(self, ids: Sequence[int]) -> ReattachResult:
        """Resolve the attempts of these jobs, whose runner has vanished: record the finished ones and rerun the lost
        ones. Running attempts continue, and `work` records their ends."""
        return reconcile.reattach(self._session, ids)

    def reset(
        self, ids: Selection | Sequence[int], *, cancel_running: bool = False, note: str | None = None
    ) -> AppliedRerun:
        """Archive the attempts of these jobs and of all jobs below them, and hold the jobs until a restart. With
        `cancel_running`, running jobs are canceled first."""
        proposal = restart.plan_reset(self._reconciled(), ids, {}, note, cancel_running=cancel_running)
        return self.apply(_with_jobs(proposal))

    def accept(self, ids: Selection | Sequence[int], *, note: str | None = None) -> AcceptedChanges:
        """Accept the changes of these jobs, so that they are not stale."""
        session = self._reconciled()
        if not isinstance(ids, Selection):
            return accept(session, ids, {"jobs": list(ids)}, note)
        found = selections.select_stale(session, replace(ids, changed=ids.changed or True))
        return accept(session, found, {"jobs": list(found.versions)}, note)

    def apply(self, plan: PlannedRerun) -> AppliedRerun:
        """Apply a plan. Raise PlanOutdated if one of its jobs has changed since."""
        applied = resubmit.apply(self._reconciled(), plan)
        self._reconciled()  # resolve the attempts of dead runners that the plan cancels
        return applied

    def undo(self, rerun_id: int | None = None) -> UndoneRerun:
        """Undo a rerun: the newest that a user requested, or the given one."""
        rerun_id = _count("rerun_id", rerun_id)
        session = self._reconciled()
        return rerun.undo(session, rerun_id)

    def cancel(self, ids: Selection | Sequence[int], note: str | None = None) -> CancelResult:
        """End running jobs, and keep others from starting."""
        return reconcile.cancel(self._session, ids, note)

    def hold(self, ids: Selection | Sequence[int], reason: str = "held") -> HoldResult:
        """Keep jobs from being claimed until they are released."""
        session = self._reconciled()
        return control.hold(session, ids, reason)

    def release(self, ids: Selection | Sequence[int], note: str | None = None) -> HoldResult:
        """Release held jobs."""
        session = self._reconciled()
        return control.release(session, ids, note)


def _seconds(name: str, given: float | str | None) -> float | None:
    """Return a duration in seconds, from a number or a text such as "1h30m". BadValue names the argument."""
    if isinstance(given, str):
        try:
            return parse_duration(given)
        except BadValue as bad:
            raise BadValue(f"{name}={given!r}: {bad.message}", hint=bad.hint) from None
    if given is None or (type(given) in (int, float) and 0 <= given <= _MOST_SECONDS):
        return given
    raise BadValue(
        f"{name}={given!r} is neither a number of seconds nor a duration", hint=f'{name}=90 or {name}="1h30m"'
    )


_MOST_SECONDS = 1e12


def _count(name: str, given: int | None) -> int | None:
    """Return a whole number that is at least 1. Raise BadValue with the argument's name for others."""
    if given is None or (type(given) is int and 1 <= given <= MOST_INTEGER):
        return given
    raise BadValue(f"{name}={given!r} is not a whole number of at least 1", hint=f"{name}=2")


def _with_jobs(planned: PlannedRerun) -> PlannedRerun:
    """Return the plan with the ids of the selected jobs in its record."""
    return replace(planned, request={"jobs": list(planned.selected), **planned.request})


def _definition(given: Definition | Path | str, params: Mapping[str, str]) -> Definition:
    if isinstance(given, Definition):
        return given
    from rekindle.spec import load

    return load(Path(given), params=params)


_FLAGS = {"state": "states", "filter": "filters", "query": "queries", "id": "ids", "name": "names", "all": "everything"}
"""Flags whose field of Flags has another name."""


def _flags(jobs: Sequence[int | str], flags: Mapping[str, Any]) -> SelectionFlags:
    given: dict[str, Any] = {"jobs": tuple(str(job) for job in jobs)}
    for flag, value in flags.items():
        name = _FLAGS.get(flag, flag)
        if name not in SelectionFlags.__struct_fields__:
            known = sorted(set(_FLAGS) | {"workflow", "error", "archived", "signature", "changed"})
            raise UsageError(f"select() knows no flag {flag!r}", hint=did_you_mean(flag, known))
        many = name in ("states", "filters", "queries", "ids", "names")
        given[name] = (value,) if many and isinstance(value, str | int) else value
    return SelectionFlags(**given)
