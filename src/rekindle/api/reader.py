"""An open store, and the calls of a client that only read it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec

from rekindle.api import arguments
from rekindle.api.groups import (
    AttemptCalls,
    CacheCalls,
    JobCalls,
    LogCalls,
    PlanCalls,
    RerunCalls,
    StoreCalls,
    TokenCalls,
    WorkflowCalls,
)
from rekindle.api.hints import no_call, python_hints
from rekindle.domain.errors import UsageError
from rekindle.domain.selection import Selection
from rekindle.engine.queries import selections
from rekindle.engine.results import PageRequest
from rekindle.engine.session import Session, open_session
from rekindle.presentation import answers
from rekindle.presentation.batch_values import Event, Explanation, FailureGroup, FlakyJob, WorkflowStatus
from rekindle.presentation.bundles import ExportedBundle
from rekindle.presentation.comparison_values import Lineage
from rekindle.presentation.forecast_values import Forecast
from rekindle.presentation.row_lists import RowList

_ALL = PageRequest()


@python_hints
class Reader:
    """An open store, and the calls that only read it."""

    def __init__(self, store: arguments.StorePath | None = None, *, create: bool = True) -> None:
        self._session: Session = open_session(arguments.store_url(store), create=create)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._session.store.name!r})"

    if not TYPE_CHECKING:  # type checkers report a call that does not exist

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name) if name.startswith("_") else no_call(self, "", name)

    def close(self) -> None:
        """Close the store."""
        self._session.close()

    @property
    def workflows(self) -> WorkflowCalls:
        """Look at, compare, archive and delete workflows."""
        return WorkflowCalls(self._session)

    @property
    def jobs(self) -> JobCalls:
        """List jobs, `client.jobs(…)`, and show one."""
        return JobCalls(self._session)

    @property
    def attempts(self) -> AttemptCalls:
        """List attempts, `client.attempts(…)`, show one, and compare two."""
        return AttemptCalls(self._session)

    @property
    def logs(self) -> LogCalls:
        """Read what a job printed, `client.logs(7)`, and follow it."""
        return LogCalls(self._session)

    @property
    def reruns(self) -> RerunCalls:
        """List and show the reruns that were applied."""
        return RerunCalls(self._session)

    @property
    def plans(self) -> PlanCalls:
        """Save plans of reruns in files, and load them."""
        return PlanCalls(self._session)

    @property
    def tokens(self) -> TokenCalls:
        """Make, list and revoke the tokens of `rekindle serve`."""
        return TokenCalls(self._session)

    @property
    def cache(self) -> CacheCalls:
        """List, prune and verify the kept outputs of jobs with `cache: true`."""
        return CacheCalls(self._session)

    @property
    def store(self) -> StoreCalls:
        """Check or copy the store."""
        return StoreCalls(self._session)

    def status(self, workflow: str | int | None = None) -> RowList[WorkflowStatus]:
        """Return the status of each workflow, or of one.

        Args:
            workflow: Its name or id. None: all that are not archived.

        Raises:
            NotFound: There is no such workflow.
        """
        found = answers.status(self._session, arguments.workflow_key(workflow), _ALL)
        return RowList.of(WorkflowStatus, map(msgspec.to_builtins, found["workflows"]))

    def select(self, *jobs: int | str, **flags: Unpack[arguments.SelectFlags]) -> list[int]:
        """Return the ids of the jobs that flags of the command line select. Flags of different kinds narrow each other.
        Without any, and with an empty list of ids, names or states, no job is selected.

        Args:
            jobs: Ids, ranges ("3-5"), names, or patterns with `*` and `?`.
            workflow: Only jobs of this workflow, by name or id.
            id: Ids and ranges.
            name: Names and patterns.
            state: States, such as "failed" or "failed,canceled".
            filter: Conditions on fields, such as "exit_code=3" or "matrix.alpha>0.5". All must hold.
            query: Documents in JSON, such as '{"matrix.alpha": {"$gt": 0.5}}'. All must hold.
            error: A regular expression that the error of the live attempt matches; with `archived`, of any attempt.
            archived: See `error`.
            signature: The beginning of a failure's signature.
            changed: Only stale jobs. Reads the files of jobs. "all": also those with a mere warning.
            from_file: Paths: jobs whose live attempt read one of these files.
            tainted_by: Ids of attempts: their jobs, and all jobs that used their results.
            all: All jobs of the store.

        Raises:
            UsageError: A flag or its value is wrong. The error names the most similar one.
            NotFound: A job, workflow or signature that is named does not exist.

        Example:
            >>> client.select("train*", state="failed")
            [3, 8]
            >>> client.select(workflow="sweep", filter=["exit_code=3"])
            [8]
        """
        found = arguments.selection(self._session, jobs, flags)
        return [] if found.empty else selections.select(self._session, found)

    def selection(self, *jobs: int | str, **flags: Unpack[arguments.SelectFlags]) -> Selection:
        """Return the selection of the flags, which are those of `select`. A call with a selection acts on the jobs that
        match then; jobs that `select` has returned may match no more.

        Raises:
            UsageError: No flag is given, or an empty list of ids, names or states.
        """
        found = arguments.selection(self._session, jobs, flags)
        if found.empty:
            raise UsageError("nothing is selected", hint='selection(state="failed"), or selection(all=True)')
        return found

    def failures(self, workflow: str | int | None = None, *, archived: bool = False) -> RowList[FailureGroup]:
        """Return live failed attempts grouped by signature, the largest group first; with `archived`, all that ever
        failed."""
        found = answers.failures(self._session, arguments.workflow_key(workflow), _ALL, archived=archived)
        return RowList.of(FailureGroup, found["failures"])

    def flaky(self, jobs: arguments.Jobs | None = None, *, every: bool = False) -> RowList[FlakyJob]:
        """Return which jobs fail sometimes, and how often; the highest certain rate comes first.

        Args:
            jobs: A selection, ids, or one id. None: all jobs.
            every: Include jobs that always pass, or have never passed.
        """
        from rekindle.engine.queries.flaky_queries import flaky_jobs_with_rows
        from rekindle.presentation import batch_documents

        every_job = Selection(everything=True)
        ids = arguments.job_ids(self._session, every_job if jobs is None else jobs)
        found, rows = flaky_jobs_with_rows(self._session, ids, every=every)
        return RowList.of(FlakyJob, map(msgspec.to_builtins, batch_documents.flaky_jobs(found, rows)))

    def lineage(self, path: str | os.PathLike[str]) -> Lineage:
        """Return which attempt made a file, from what, whether it is current, and what used it. Reads the file.
        NotFound if it does not exist and no attempt recorded it."""
        return Lineage.of(msgspec.to_builtins(answers.lineage(self._session, os.path.abspath(path))))  # noqa: PTH100

    def forecast(
        self, workflow: str | int | None = None, *, slots: int | None = None, assume: float | None = None, seed: int = 0
    ) -> Forecast:
        """Return when unfinished jobs will be done, and which of them decide it.

        Args:
            workflow: Its name or id. None: all that are not archived. Of one that has ended, the path that decided its
                end is in `past`.
            slots: Forecast one runner here that runs this number of jobs at once. None: the runners that are alive.
            assume: The seconds of a job if no attempt of it, or of another job with its template, has completed.
            seed: By which durations are drawn.
        """
        from rekindle.engine.queries.forecasts import ForecastOptions

        if slots is not None and slots < 1:
            raise UsageError(f"slots={slots} is less than 1", hint="slots=4")
        if assume is not None and not 0 <= assume < math.inf:
            raise UsageError(f"assume={assume:g} is not a number of seconds", hint="assume=600")
        options = ForecastOptions(arguments.workflow_key(workflow), slots, assume, seed)
        return Forecast.of(msgspec.to_builtins(answers.forecast(self._session, options)))

    def why(self, jobs: arguments.Jobs | str) -> list[Explanation]:
        """Explain for each job whether it would run again, and why or why not. Reads the files of the jobs.

        Args:
            jobs: A selection, ids, one id, or a name.
        """
        from rekindle.engine.queries.details import explanations
        from rekindle.presentation import job_documents

        if isinstance(jobs, str):
            jobs = self.selection(jobs)
        strict = isinstance(jobs, Selection) and jobs.changed == "all"
        found = explanations(self._session, arguments.job_ids(self._session, jobs), strict=strict)
        return [Explanation.of(msgspec.to_builtins(one)) for one in job_documents.explanations(found)]

    def export(
        self,
        workflow: str | int,
        path: str | os.PathLike[str] | None = None,
        *,
        logs: bool = True,
        inputs: bool = False,
        outputs: bool = False,
    ) -> ExportedBundle:
        """Write a workflow (a name or id) with its history as one file, and return what is in it; see `rekindle
        export`. The file may have secrets that commands or environment variables have.

        Args:
            workflow: Its name or id.
            path: The file. None: write nothing, and return what would be in it.
            logs: Whether it has what jobs have printed.
            inputs: Whether it has the files that jobs have read.
            outputs: Whether it has the files that jobs have written.
        """
        from rekindle.engine.bundles.exporting import ExportOptions, export_workflow
        from rekindle.presentation.bundles import export_document

        options = ExportOptions(logs=logs, inputs=inputs, outputs=outputs)
        report = export_workflow(self._session, str(workflow), None if path is None else Path(path), options)
        return ExportedBundle.of(export_document(report))

    def events(self, workflow: str | int | None = None, *, limit: int | None = None) -> RowList[Event]:
        """Return what happened, oldest first: submissions, runs, reruns, holds. `limit`: only the newest events."""
        found = answers.events_list(self._session, arguments.workflow_key(workflow), PageRequest(limit))
        return RowList.of(Event, found["events"])
