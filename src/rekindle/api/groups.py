"""The calls of `Client` about one noun, as the commands of one noun: `client.workflows.list()`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rekindle.api import arguments
from rekindle.api.hints import no_call, python_hints
from rekindle.domain.errors import NotFound, Refused, UsageError, missing_extra
from rekindle.domain.selection import Selection
from rekindle.engine.queries import job_queries, lists, selections
from rekindle.engine.results import LogFile, PageRequest, PlannedRerun
from rekindle.engine.running import reconcile
from rekindle.presentation import answers, documents
from rekindle.presentation.batch_values import (
    Rerun,
    RerunDetails,
    StoreCheck,
    StoredWorkflow,
    Token,
    WorkflowDetails,
)
from rekindle.presentation.cache_values import CachedAttempt, CachePruneReport, CacheVerification
from rekindle.presentation.comparison_values import AttemptDiff, RunComparison, WorkflowDiff
from rekindle.presentation.row_lists import RowList
from rekindle.presentation.values import Attempt, AttemptDetails, Job, JobDetails, Log
from rekindle.query.job_keys import parse_job_words

if TYPE_CHECKING:
    from rekindle.domain.rerun.plan import RerunRecord
    from rekindle.engine.session import Session

_ALL = PageRequest()


class _Calls:
    """Calls on the store of a client."""

    def __init__(self, session: Session) -> None:
        self._session = session

    if not TYPE_CHECKING:  # type checkers report a call that does not exist

        def __getattr__(self, name: str) -> Any:
            noun = type(self).__name__.removesuffix("Calls").lower()
            raise AttributeError(name) if name.startswith("_") else no_call(self, noun, name)


@python_hints
class WorkflowCalls(_Calls):
    """Look at, archive and delete workflows: `client.workflows`. A workflow is given by its name or id."""

    def list(self, *, archived: bool = False) -> RowList[StoredWorkflow]:
        """Return the workflows of the store, oldest first; with `archived`, archived ones too."""
        found = answers.workflows_list(self._session, _ALL, archived=archived)
        return RowList.of(StoredWorkflow, found["workflows"])

    def show(self, workflow: str | int) -> WorkflowDetails:
        """Return a workflow with its status, templates and revisions. NotFound if there is none of this name or id."""
        return WorkflowDetails.of(msgspec.to_builtins(answers.workflows_show(self._session, str(workflow))))

    def diff(
        self,
        workflow: str | int,
        *revisions: int,
        spec: str | os.PathLike[str] | None = None,
        params: dict[str, Any] | None = None,
    ) -> WorkflowDiff:
        """Return what differs between two revisions of a workflow, or from a spec file. Nothing is stored.

        Args:
            workflow: Its name or id.
            revisions: Two revisions; or one, which is compared with the latest. Without any, the workflow's spec file
                is compared, or, if that is unchanged, the latest revision with the one before.
            spec: Compare with this spec file, with `params` as in `--param`.
        """
        texts = arguments.param_texts(params or {})
        file = None if spec is None else Path(spec)
        found = answers.workflows_diff(self._session, str(workflow), revisions, file, texts)
        return WorkflowDiff.of(msgspec.to_builtins(found))

    def compare(self, a: str | int, b: str | int) -> RunComparison:
        """Return where two workflows (names or ids) part: the first jobs whose attempts differ, and why. NotFound if
        one does not exist."""
        return RunComparison.of(msgspec.to_builtins(answers.workflows_compare(self._session, str(a), str(b))))

    def archive(self, workflow: str | int, *, undo: bool = False) -> None:
        """Archive a workflow: it is neither run nor listed. Nothing is deleted; `undo` restores it."""
        from rekindle.engine.submit.submit import archive_workflow

        reconcile.reconcile(self._session)
        archive_workflow(self._session, selections.find_workflow(self._session, str(workflow)).id, undo)

    def delete(self, workflow: str | int, *, files: bool = False) -> None:
        """Remove a workflow with all its history; with `files`, its attempts' folders and logs, too. This cannot be
        undone, and asks nothing. Refused while a job of it runs."""
        from rekindle.engine.submit.submit import delete_workflow

        reconcile.reconcile(self._session)
        delete_workflow(self._session, selections.find_workflow(self._session, str(workflow)).id, files=files)

    def report(self, workflow: str | int, path: str | os.PathLike[str]) -> Path:
        """Write a workflow as one HTML file, and return its path. RekindleError without the extra `web`."""
        try:
            from rekindle.web.report import write_report
        except ModuleNotFoundError as error:
            raise missing_extra(error, "a report", "web") from None
        write_report(self._session, str(workflow), Path(path))
        return Path(path)


@python_hints
class JobCalls(_Calls):
    """Look at jobs: `client.jobs(…)` lists them, `client.jobs.show(…)` tells all about one."""

    def __call__(self, jobs: arguments.Jobs | None = None) -> RowList[Job]:
        """Return jobs with the ends of their live attempts.

        Args:
            jobs: A selection, ids, or one id. None: all jobs of the store.
        """
        if jobs is None:
            with lists.jobs(self._session, Selection(everything=True), _ALL) as found:
                return RowList.of(Job, [documents.job(row) for row in found.rows])
        rows = job_queries.jobs(self._session, arguments.job_ids(self._session, jobs))
        stale = True if isinstance(jobs, Selection) and jobs.changed else None
        return RowList.of(Job, [documents.job(row, stale) for row in rows])

    def show(self, job: int | str) -> JobDetails:
        """Return everything about a job, given by its id or name. Reads the files of the job, to find out whether it is
        stale."""
        number = one_job(self._session, job)
        return JobDetails.of(msgspec.to_builtins(answers.jobs_show(self._session, [number])))


@python_hints
class AttemptCalls(_Calls):
    """Look at attempts: `client.attempts(…)` lists them, `client.attempts.show(…)` tells all about one, and
    `client.attempts.diff(a, b)` compares two."""

    def __call__(self, jobs: arguments.Jobs | None = None, *, live: bool = False) -> RowList[Attempt]:
        """Return attempts with their steps, the oldest first; archived ones too.

        Args:
            jobs: A selection, ids, or one id: the attempts of these jobs. None: of all jobs.
            live: Leave out archived attempts.
        """
        ids = None if jobs is None else arguments.job_ids(self._session, jobs)
        found = job_queries.attempts(self._session, ids, live=live)
        return RowList.of(Attempt, map(answers.attempt_row, lists.attempt_rows(self._session, found)))

    def show(self, attempt: int) -> AttemptDetails:
        """Return everything about an attempt: files, steps and subtasks, environment. NotFound if there is none."""
        return AttemptDetails.of(msgspec.to_builtins(answers.attempts_show(self._session, attempt, _ALL)))

    def diff(self, a: int, b: int) -> AttemptDiff:
        """Return what differs between two attempts (ids), of one job or of two: parameters, definition, resources,
        code, environment, inputs, results, ends, outputs and logs."""
        return AttemptDiff.of(msgspec.to_builtins(answers.attempts_diff(self._session, a, b)))


@python_hints
class RerunCalls(_Calls):
    """Look at the reruns that were applied: `client.reruns`. `client.undo` undoes one."""

    def list(self, workflow: str | int | None = None, *, limit: int | None = None) -> RowList[Rerun]:
        """Return the applied reruns of a workflow, or of all; newest first, at most `limit`."""
        found = answers.reruns_list(self._session, arguments.workflow_key(workflow), PageRequest(limit))
        return RowList.of(Rerun, found["reruns"])

    def show(self, rerun: int) -> RerunDetails:
        """Return an applied rerun with its request and plan. NotFound if there is none."""
        from rekindle.engine.queries import workflow_queries

        record: RerunRecord = workflow_queries.rerun(self._session, rerun)
        document = documents.rerun(record, len(record.plan.jobs))
        checked = workflow_queries.reuse_checks(self._session, rerun)
        groups = workflow_queries.canary_groups(self._session, rerun)
        return RerunDetails(
            **msgspec.structs.asdict(Rerun.of(document)),
            plan=record.plan,
            checked=checked,
            canaries=[documents.canary_group(one) for one in groups],
        )


@python_hints
class PlanCalls(_Calls):
    """Keep plans in files: `client.plans`. `client.plan_rerun` makes one, and `client.apply` applies it."""

    def save(self, plan: PlannedRerun, path: str | os.PathLike[str]) -> None:
        """Save a plan, with the versions of the jobs that it has read. `rekindle apply` takes it, too."""
        from rekindle.engine.rerun import rerun

        arguments.check_plan(plan)
        rerun.save(self._session, plan, Path(path))

    def load(self, path: str | os.PathLike[str]) -> PlannedRerun:
        """Return a saved plan. Refused if it is of another store."""
        from rekindle.engine.rerun import rerun

        return rerun.load(self._session, Path(path))


@python_hints
class LogCalls(_Calls):
    """Read what jobs printed: `client.logs(7)`, and `client.logs.follow(7)` while the job runs. A job is given by its
    id or name."""

    def __call__(
        self,
        job: int | str,
        *,
        attempt: int | None = None,
        step: str | None = None,
        subtasks: Literal["all", "failed"] | Sequence[int] | int | None = None,
        stream: Literal["stdout", "stderr"] | None = None,
    ) -> list[Log]:
        """Return what an attempt printed: a log for each step, or item of a fan-out, and stream. Logs without text are
        left out.

        Args:
            job: Its id or name.
            attempt: The number of the attempt within the job. None: the newest.
            step: Only this step.
            subtasks: Only items of a fan-out: "all", "failed", an index, or indexes.
            stream: Only "stdout", or only "stderr".

        Raises:
            NotFound: There is no such job, attempt, step or item.
        """
        from rekindle.engine.queries import logs

        number, which = one_job(self._session, job), _subtasks(subtasks)
        files = logs.log_files(self._session, number, attempt, step) if which is None else []
        files += logs.item_log_files(self._session, number, attempt, step, which or "all")
        read = (_log(one) for one in files if stream in (None, one.stream))
        return [one for one in read if one.text]

    def follow(
        self,
        job: int | str,
        *,
        attempt: int | None = None,
        step: str | None = None,
        subtasks: Literal["all", "failed"] | Sequence[int] | int | None = None,
        stream: Literal["stdout", "stderr"] = "stdout",
    ) -> Iterator[str]:
        """Yield what an attempt prints, as it appears, until the attempt has ended. Arguments as for a call."""
        import codecs

        from rekindle.engine.queries import logs

        number, which = one_job(self._session, job), _subtasks(subtasks)
        watch = reconcile.DeadRunnerWatch(self._session).look
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for piece in logs.follow(self._session, number, attempt, step, stream, which, watch):
            if isinstance(piece, bytes) and (text := decoder.decode(piece)):
                yield text


@python_hints
class TokenCalls(_Calls):
    """Make and revoke the tokens of `rekindle serve`: `client.tokens`."""

    def new(self, scopes: str | Sequence[str], name: str = "") -> str:
        """Make a token, and return it. The store keeps a digest of it only.

        Args:
            scopes: What it allows: "read", "rerun", "submit", "pilot"; several with commas, or as a list.
            name: Whose it is: recorded with what the token changes.
        """
        from rekindle.engine import api_tokens

        words = scopes.split(",") if isinstance(scopes, str) else scopes
        return api_tokens.new_token(self._session, [word.strip() for word in words], name)

    def list(self) -> list[Token]:
        """Return all tokens, without their secrets."""
        from rekindle.engine import api_tokens

        return [
            Token.of(
                {
                    **msgspec.to_builtins(one),
                    "created": documents.iso(one.created),
                    "last_used": documents.iso(one.last_used),
                    "revoked": documents.iso(one.revoked),
                }
            )
            for one in api_tokens.list_tokens(self._session)
        ]

    def revoke(self, token: int) -> None:
        """Revoke a token, by its id. Whoever has it is refused from now on."""
        from rekindle.engine import api_tokens

        api_tokens.revoke_token(self._session, token)


@python_hints
class StoreCalls(_Calls):
    """Check, copy or compact the store of a client: `client.store`."""

    @property
    def name(self) -> str:
        """The folder or URL of the store."""
        return self._session.store.name

    def check(self, *, deep: bool = False) -> StoreCheck:
        """Check whether the store is sound; nothing is written. With `deep`, also read every row, journal and saved
        output."""
        from rekindle.store.inspection import inspect, inspect_opened
        from rekindle.store.opening import is_in_postgres, rows_folder

        if is_in_postgres(self.name):
            found = inspect_opened(self._session.store, deep=deep, progress=_ignore)
        else:
            found = inspect(rows_folder(self.name), deep=deep, progress=_ignore)
        return StoreCheck.of(
            {
                "store": found.folder,
                "version": found.version,
                "deep": deep,
                "sound": not found.problems,
                "checked": found.checked,
                "problems": msgspec.to_builtins(found.problems),
            }
        )

    def copy(self, target: arguments.StorePath) -> None:
        """Copy the store to another folder or URL, which must not exist yet, and compare every row. Refused while a
        runner works on the store."""
        from contextlib import closing

        from rekindle.store.copying import copy_store
        from rekindle.store.opening import open_store

        reconcile.reconcile(self._session)
        source = self._session.store
        spool = Path(source.folder).parent / ".rekindle-postgres"
        with closing(open_store(os.fspath(target), create=True, spool=spool)) as made:
            copy_store(source, made, _ignore)

    def vacuum(self) -> tuple[int, int]:
        """Give the free pages of the database back to the file system. Return its bytes before and after. Refused while
        a runner works on the store."""
        from rekindle.engine.retention.vacuum import vacuum_store

        reconcile.reconcile(self._session)
        return vacuum_store(self._session)


@python_hints
class CacheCalls(_Calls):
    """Look at, prune and verify the kept outputs of jobs with `cache: true`: `client.cache`."""

    def list(self, workflow: str | int | None = None) -> RowList[CachedAttempt]:
        """Return the attempts whose outputs are kept, of all workflows or of one, the least recently used first."""
        from rekindle.engine.retention import cache
        from rekindle.presentation.cache import cached_attempt

        found = cache.look(self._session, self._workflow(workflow)).attempts
        return RowList.of(CachedAttempt, map(cached_attempt, found))

    def prune(
        self,
        workflow: str | int | None = None,
        *,
        older_than: float | str | None = None,
        max_size: int | str | None = None,
        dry_run: bool = False,
    ) -> CachePruneReport:
        """Remove kept outputs, and return what was removed. No output in a project is touched.

        Args:
            workflow: Only of this workflow, by name or id.
            older_than: Those that were used longer ago: seconds, or a text such as "30d".
            max_size: The least recently used ones, until the rest has this size: bytes, or a text such as "20G".
            dry_run: Remove nothing, and return what would be removed.
        """
        from rekindle.engine.retention import cache
        from rekindle.presentation.cache import cache_prune_document

        age, most = arguments.seconds("older_than", older_than), arguments.size("max_size", max_size)
        reconcile.reconcile(self._session)
        only = self._workflow(workflow)
        plan = cache.plan_prune(self._session, only=only, older_than=age, max_size=most)
        done = None if dry_run else cache.prune(self._session, plan)
        return CachePruneReport.of(cache_prune_document(plan, done))

    def verify(self) -> CacheVerification:
        """Read all contents, set those aside that have changed on the disk, and return what was found."""
        from rekindle.engine.retention import cache
        from rekindle.presentation.cache import verification_document

        reconcile.reconcile(self._session)
        return CacheVerification.of(verification_document(cache.verify(self._session, _ignore)))

    def _workflow(self, workflow: str | int | None) -> int | None:
        return None if workflow is None else selections.find_workflow(self._session, str(workflow)).id


def one_job(session: Session, job: int | str) -> int:
    """Return the id of a job given by its id or name. Refused if several jobs have the name."""
    ids = selections.select(session, Selection(jobs=parse_job_words([str(job)])))
    if not ids:
        raise NotFound(f"no such job: {job}", hint="`rekindle jobs list` names them")
    if len(ids) > 1:
        raise Refused(f"{job} means {len(ids):,} jobs", hint=f"give an id: {', '.join(map(str, ids[:8]))}")
    return ids[0]


def _subtasks(given: Literal["all", "failed"] | Sequence[int] | int | None) -> Any:
    if given is None or given in ("all", "failed"):
        return given
    if isinstance(given, str):
        raise UsageError(f"subtasks={given!r} is neither all, failed nor indexes", hint="subtasks=(0, 3, 4)")
    return (given,) if isinstance(given, int) else tuple(given)


def _log(file: LogFile) -> Log:
    from rekindle.engine.queries.log_reading import open_log

    text = ""
    if (opened := open_log(file)) is not None:
        with opened:
            text = opened.read().decode(errors="replace")
    item = file.subtask
    return Log(
        attempt=file.attempt,
        step=file.step,
        stream=file.stream,
        path=file.path,
        text=text,
        subtask=None if item is None else item.index,
        item=None if item is None else json.loads(item.item),
        state=None if item is None else item.state.label,  # type: ignore[arg-type]
    )


def _ignore(_: str) -> None:
    """Take no note of progress."""
