"""The Python API: workflows made in Python, and a client that does what the command line does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from signal import Signals
from typing import Any, Self

from rekindle.domain.batches.guards import Guards
from rekindle.domain.batches.supervised import Report
from rekindle.domain.causes import Cause
from rekindle.domain.definition import Definition
from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.models import Attempt, FailureGroup
from rekindle.domain.rerunning.asking import how_to_json
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.domain.texts.quantities import MOST_INTEGER, parse_duration
from rekindle.engine.changes import staleness
from rekindle.engine.changes.staleness import Explained
from rekindle.engine.looking import look
from rekindle.engine.nesting import WHILE_IMPORTED, refuse_while_imported
from rekindle.engine.rerunning import accepting, control, rerun, resetting, resubmitting
from rekindle.engine.rerunning.restart import plan_restart, the_workflow
from rekindle.engine.rerunning.updating import apply_update, conclude, plan_update
from rekindle.engine.results import (
    Accepted,
    Applied,
    Canceled,
    Held,
    JobRow,
    Preview,
    Proposal,
    Reattachment,
    Restarting,
    Submitted,
    SuperviseOptions,
    Undone,
    WorkflowStatus,
    WorkOptions,
    WorkReport,
)
from rekindle.engine.running import reconciling
from rekindle.engine.running.run import work
from rekindle.engine.running.signals import deliver
from rekindle.engine.session import Session, open_session
from rekindle.engine.submitting.submit import preview, submit
from rekindle.engine.supervising.supervise import supervise, told
from rekindle.query.selections import Flags, parse_selection
from rekindle.spec.builder import Workflow as _Builder


class Workflow(_Builder):
    """A workflow made in Python. See spec.builder for `job`; then `submit` it, or `run` it to the end."""

    def submit(
        self, store: str | None = None, *, name: str | None = None, new: bool = False, revise: bool = False
    ) -> Submitted:
        """Store it. `store` is a path or URL; by default the one the command line would take here. With `revise` it
        becomes the next revision of a workflow of its name that was submitted from a spec file."""
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
        """Store it and bring it up to date, as `rekindle run` does: run what is ready, new, stale or was interrupted,
        and every job below these. `jobs` run at once; `wait_timeout` is in seconds, or a text
        such as "1h30m". Without `rerun` stale jobs are
        left; with `retry_failed` failed jobs run again. The report's `exit_code` covers the whole workflow, as that of
        the command line.

        Ctrl-C cancels what runs and raises KeyboardInterrupt once that is recorded; SIGTERM and SIGHUP likewise have
        their usual effect then. Outside the main thread no signal is handled."""
        refuse_while_imported("runs")
        slots, limit = _count("jobs", jobs), _seconds("wait_timeout", wait_timeout)
        with open_session(store) as session:
            reconciling.reconcile(session)
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
            report = replace(report, exit_code=conclude(session, stored.workflow, report).exit_code)
            if report.failed:
                _warn_of_imports(session, stored.workflow)
        deliver(report.signal)
        return report


def _warn_of_imports(session: Session, workflow: int) -> None:
    """Warn if jobs did not start because the module of their function itself runs or submits a workflow at import: the
    report alone would not explain why."""
    for group in look.failures(session, str(workflow)):
        if group.cause is Cause.START and WHILE_IMPORTED in group.newest_message:
            count = len(group.jobs)
            text = f"{count:,} job{'' if count == 1 else 's'} did not start: {group.newest_message}"
            warnings.warn(text, RuntimeWarning, stacklevel=3)


class _Looking:
    """An open store, and what there is to see in it."""

    def __init__(self, store: str | None = None, *, create: bool = True) -> None:
        """Open the store that is meant: a path or URL, else as the command line finds it."""
        self._session: Session = open_session(store, create=create)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self._session.close()

    def status(self, workflow: str | None = None) -> list[WorkflowStatus]:
        """Each workflow at a glance."""
        return look.status(self._session, workflow)

    def select(self, *jobs: int | str, **flags: Any) -> list[int]:
        """Ids of the jobs that the flags of the command line would select: `select("train", state="failed")`,
        `select(workflow="sweep", filter=["exit_code=3"])`, `select(error="out of memory")`, `select(changed=True)`."""
        return look.select(self._session, parse_selection(_flags(jobs, flags), self._session.clock))

    def jobs(self, ids: Sequence[int]) -> list[JobRow]:
        """Jobs with their live attempts."""
        return look.jobs(self._session, ids)

    def attempts(self, ids: Sequence[int] | None = None, *, live: bool = False) -> list[Attempt]:
        """Attempts with their steps, archived ones too unless only `live` ones are wanted."""
        return look.attempts(self._session, ids, live=live)

    def failures(self, workflow: str | None = None, *, archived: bool = False) -> list[FailureGroup]:
        """Live failed attempts, grouped by signature; with `archived` all that ever failed."""
        return look.failures(self._session, workflow, archived)

    def why(self, ids: Sequence[int]) -> list[Explained]:
        """Whether each of these jobs would run again, and why or why not. Files are read to find out."""
        return staleness.explain(self._session, ids)


class Client(_Looking):
    """What the command line gives, as calls. Use it as a context manager, or close it."""

    def _reconciled(self) -> Session:
        """Return the session, after recording what became of the jobs of dead runners."""
        reconciling.reconcile(self._session)
        return self._session

    def submit(self, definition: Definition | Path | str, *, revise: bool = False, **params: str) -> Submitted:
        """Store a definition, or a spec file with `params` as `--param` takes them. With `revise` it becomes the next
        revision of a workflow of its name that was submitted from another file."""
        return submit(self._session, _definition(definition, params), revise=revise)

    def work(self, workflow: str | None = None, *, jobs: int | None = None) -> WorkReport:
        """Run what is ready, to the end. Signals are handled as by `Workflow.run`."""
        report = work(self._session, WorkOptions(workflow, slots=_count("jobs", jobs)))
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
    ) -> Report:
        """Run a workflow, and run again what fails, within guards: see `supervise`. `elsewhere`: others work on it.
        `wait_timeout`, for each round, is in seconds, or a text such as "1h30m". Signals are
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
        told(self._session, report)
        deliver(interrupted_by)
        return report

    def preview(self, definition: Definition | Path | str, *, revise: bool = False, **params: str) -> Preview:
        """What `submit` would do; nothing is changed."""
        return preview(self._session, _definition(definition, params), revise=revise)

    def plan_rerun(
        self,
        selection: Sequence[int],
        how: How | None = None,
        *,
        note: str | None = None,
        submit: Definition | Path | str | None = None,
        canary: int | None = None,
        revise: bool = False,
    ) -> Proposal:
        """What rerunning these jobs would do. PlanRefused when nothing of it can be done. With `submit` a definition
        or a spec file becomes the next revision of its workflow first: `apply` does both, or neither. With `canary` so
        many of those that failed alike run first, and the others only once these have passed."""
        canary = _count("canary", canary)
        session = self._reconciled()
        how = how or How()
        asked = how_to_json(how) | ({} if canary is None else {"canary": canary})
        request: dict[str, Any] = {"jobs": list(selection), "how": asked}
        if submit is None:
            return rerun.plan(session, [(selection, how)], request, note, canary=canary)
        if not selection:
            raise UsageError("no job is selected", hint="`submit` alone makes the new revision")
        definition = _definition(submit, {})
        requests = [(tuple(selection), how)]
        request = {**request, "submit": definition.source}
        found = resubmitting.propose(
            session, definition, lambda _: requests, request, note, canary=canary, revise=revise
        )
        assert isinstance(found, Proposal)
        return found

    def plan_restart(
        self,
        workflow: str | None = None,
        *,
        only_uninitialized: bool = False,
        cancel_running: bool = False,
        note: str | None = None,
    ) -> Restarting:
        """What restarting a workflow (by default the only one of the store) would do: see `restart`."""
        session = self._reconciled()
        chosen = the_workflow(session, workflow)
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
    ) -> Applied | None:
        """Run again whatever has to in a workflow: what was killed, lost or canceled, what is stale, and what `reset`
        holds (`only_uninitialized`: nothing but that). `cancel_running`: also what would disturb a job that runs, which
        is canceled first. None: there is nothing to do, and nothing was written."""
        found = self.plan_restart(
            workflow, only_uninitialized=only_uninitialized, cancel_running=cancel_running, note=note
        )
        return None if found.proposal is None else self.apply(found.proposal)

    def plan_reattach(self, ids: Sequence[int]) -> Reattachment:
        """What `reattach` would find of these jobs; nothing is changed."""
        return reconciling.plan_reattach(self._session, ids)

    def reattach(self, ids: Sequence[int]) -> Reattachment:
        """See what has become of these jobs, whose runner has vanished, and take it in: what finished is recorded, what
        is lost runs again, what runs on is left to it. `work` takes in the ends of that."""
        return reconciling.reattach(self._session, ids)

    def reset(self, ids: Sequence[int], *, cancel_running: bool = False, note: str | None = None) -> Applied:
        """Archive these jobs' attempts, with everything below them, and hold the jobs until a restart.
        `cancel_running`: also of those that run, which are canceled."""
        request = {"jobs": list(ids)}
        proposal = resetting.plan_reset(self._reconciled(), ids, request, note, cancel_running=cancel_running)
        return self.apply(proposal)

    def accept(self, ids: Sequence[int], *, note: str | None = None) -> Accepted:
        """Let what changed of these jobs count as the same, so that they are stale no more."""
        session = self._reconciled()
        return accepting.accept(session, ids, {"jobs": list(ids)}, note)

    def apply(self, plan: Proposal) -> Applied:
        """Do what was planned. PlanOutdated when any of its jobs has moved since."""
        applied = resubmitting.apply(self._reconciled(), plan)
        self._reconciled()  # ends the jobs of dead runners that the plan cancels
        return applied

    def undo(self, rerun_id: int | None = None) -> Undone:
        """Take a rerun back: the newest that somebody asked for, or the one named."""
        rerun_id = _count("rerun_id", rerun_id)
        session = self._reconciled()
        return rerun.undo(session, rerun_id)

    def cancel(self, ids: Sequence[int], note: str | None = None) -> Canceled:
        """End what runs, and keep what has not started from starting."""
        return reconciling.cancel(self._session, ids, note)

    def hold(self, ids: Sequence[int], reason: str = "held") -> Held:
        """Keep jobs from being claimed until they are released."""
        session = self._reconciled()
        return control.hold(session, ids, reason)

    def release(self, ids: Sequence[int], note: str | None = None) -> Held:
        """Take holds back."""
        session = self._reconciled()
        return control.release(session, ids, note)


def _seconds(name: str, given: float | str | None) -> float | None:
    """Return a duration in seconds, from a number of them or a text as the command line takes it. BadValue names the
    argument."""
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
    """Return a whole number that is at least 1. BadValue names the argument."""
    if given is None or (type(given) is int and 1 <= given <= MOST_INTEGER):
        return given
    raise BadValue(f"{name}={given!r} is not a whole number of at least 1", hint=f"{name}=2")


def _definition(given: Definition | Path | str, params: Mapping[str, str]) -> Definition:
    if isinstance(given, Definition):
        return given
    from rekindle.spec import load

    return load(Path(given), params=params)


_FLAGS = {"state": "states", "filter": "filters", "query": "queries", "id": "ids", "name": "names", "all": "everything"}
"""Flags of the command line whose field of Flags has another name; those that repeat take a text or a list."""


def _flags(jobs: Sequence[int | str], flags: Mapping[str, Any]) -> Flags:
    given: dict[str, Any] = {"jobs": tuple(str(job) for job in jobs)}
    for flag, value in flags.items():
        name = _FLAGS.get(flag, flag)
        if name not in Flags.__dataclass_fields__:
            known = sorted(set(_FLAGS) | {"workflow", "error", "archived", "signature", "changed"})
            raise UsageError(f"select() knows no flag {flag!r}", hint=did_you_mean(flag, known))
        many = name in ("states", "filters", "queries", "ids", "names")
        given[name] = (value,) if many and isinstance(value, str | int) else value
    return Flags(**given)
