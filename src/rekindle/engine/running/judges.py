"""Ask judges about failures, in a thread beside the runner's loop, and write each answer once.

A question is written in the transaction that ends the attempt. A process takes it before it starts the judge, and
writes the answer with what it leads to in one transaction. If that process dies in between, another one asks again."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.domain.errors import BadValue, StoreError
from rekindle.domain.judging import (
    JUDGE_SECONDS,
    MAX_STARTS,
    MOST_ANSWER,
    Judgement,
    held_by_judge,
    parse_answer,
)
from rekindle.domain.rerun.plan import PlannedJob, Reason, ReasonKind, RerunPlan, planned_jobs, seal_plan
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import InternalHow, RequestMode, Requests
from rekindle.domain.rerun.start import BEGINNING
from rekindle.engine.fan_outs import planning_views
from rekindle.engine.notify import notify
from rekindle.engine.outside_commands import OutsideCommand, Stopped, end_text, own_environment
from rekindle.engine.plan_inputs import KnownPaths, write_with_paths
from rekindle.engine.presence import is_process_alive, live_runners, this_process
from rekindle.engine.session import open_session
from rekindle.files.store_files import make_folder, open_file
from rekindle.store.judgements import Question

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from rekindle.domain.models import Runner
    from rekindle.engine.session import Session
    from rekindle.store.archive import Transaction

AT_ONCE = 4
"""Judges that one runner asks at once."""

TAKEN_SECONDS = 180.0
"""How long a question belongs to a process that is not visible from here; longer than any judge may take."""

_DOCUMENT_SECONDS = 60.0

_POLL_SECONDS = 0.5


class JudgeAsker:
    """Asks the open questions of one or all workflows, while the runner goes on."""

    def __init__(self, session: Session, workflow: int | None, wake: Callable[[], object]) -> None:
        """`wake` is called in another thread when no question is asked any more."""
        self._session, self._workflow, self._wake = session, workflow, wake
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._asking = False

    def look(self) -> bool:
        """Begin to ask, if a question is free, and return whether questions are being asked."""
        if self._asking:
            return True
        now = self._session.clock()
        with self._session.store.read() as archive:
            free = any(_is_free(one, now) for one in archive.judgements.open(self._workflow))
        if not free or self._stopped.is_set():
            return False
        self._asking = True
        self._thread = threading.Thread(target=self._run, name="judges", daemon=True)
        self._thread.start()
        return True

    def close(self) -> None:
        """End the judges that run. Their questions are asked again by the next runner."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        """Ask until no question is free, with a connection of its own."""
        from concurrent.futures import ThreadPoolExecutor

        try:
            with open_session(self._session.store.folder, create=False) as own:
                own = replace(own, clock=self._session.clock, note=self._session.note)
                with ThreadPoolExecutor(AT_ONCE, "judge") as pool:
                    self._ask_all(own, pool)
        except StoreError as error:  # the runner meets it too; the next one asks
            if self._session.note is not None:
                self._session.note(f"judges are asked by the next runner: {error.message}")
        finally:
            self._asking = False
            self._wake()

    def _ask_all(self, session: Session, pool: ThreadPoolExecutor) -> None:
        from concurrent.futures import FIRST_COMPLETED, wait

        asked: dict[Future[Judgement | None], Question] = {}
        while True:
            for question in self._take(session, AT_ONCE - len(asked)):
                asked[pool.submit(self._answer, question)] = question
            if not asked:
                return
            done, _ = wait(asked, _POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                question, found = asked.pop(future), future.result()
                if found is None:
                    with session.store.write() as archive:
                        archive.judgements.give_back(question)
                else:
                    conclude(session, question, found)

    def _take(self, session: Session, most: int) -> Sequence[Question]:
        """Take free questions. Those whose attempt does not wait any more are withdrawn."""
        if most <= 0 or self._stopped.is_set():
            return ()
        owner, now, taken = this_process(), session.clock(), list[Question]()
        with session.store.read() as archive:
            questions = archive.judgements.open(self._workflow)
        free = [one for one in questions if _is_free(one, now)][:most]
        if free:
            with session.store.write() as archive:
                for one in free:
                    if not archive.judgements.take(one, owner, now):
                        continue
                    if archive.judgements.waits_for_judge(one.attempt):
                        taken.append(one)
                    else:
                        archive.judgements.conclude(one, "withdrawn", "the job was rerun or released", now)
        return taken

    def _answer(self, question: Question) -> Judgement | None:
        """Return what a judge answers; None: it was ended with this runner."""
        if question.starts >= MAX_STARTS:
            return Judgement("error", f"given up: {question.starts} processes died while it was asked")
        try:
            return ask(question, self._session.store.folder, self._stopped.is_set)
        except Stopped:
            return None


def _is_free(question: Question, now: float) -> bool:
    """Return whether no living process asks the question."""
    if question.owner is None or question.taken is None:
        return True
    alive = is_process_alive(question.owner)
    return not alive if alive is not None else now > question.taken + TAKEN_SECONDS


def ask(question: Question, store_folder: str, stopped: Callable[[], bool] = lambda: False) -> Judgement:
    """Run a judge with the attempt on stdin, and return what it answers. A failure is an answer too. Raise Stopped."""
    folder = Path(store_folder, "judges")
    document, answer, log = (folder / f"{question.token}.{kind}" for kind in ("json", "out", "log"))
    environment = own_environment() | {"REKINDLE_STORE": store_folder}
    show = (sys.executable, "-P", "-m", "rekindle", "attempts", "show", str(question.attempt), "--json")
    try:
        make_folder(folder)
        if _run(OutsideCommand(show, store_folder, environment, _DOCUMENT_SECONDS), b"", document, log, stopped) != 0:
            return Judgement("error", f"the attempt cannot be shown to it: {log}")
        judge = OutsideCommand(question.command, question.directory, environment, JUDGE_SECONDS)
        code = _run(judge, document.read_bytes(), answer, log, stopped)
        with answer.open("rb") as file:
            text = file.read(MOST_ANSWER).decode(errors="replace")
    except (OSError, ValueError) as error:
        return Judgement("error", f"it cannot start: {getattr(error, 'strerror', None) or error}")
    if code is None:
        return Judgement("error", f"killed after {JUDGE_SECONDS:g} s")
    if code:
        return Judgement("error", f"{end_text(code)}; what it printed: {log}")
    try:
        return parse_answer(text)
    except BadValue as error:
        return Judgement("error", error.message)


def _run(
    command: OutsideCommand, document: bytes, stdout: Path, stderr: Path, stopped: Callable[[], bool]
) -> int | None:
    """Run a command whose output goes to these files of the store."""
    out, errors = (open_file(path, os.O_WRONLY | os.O_TRUNC) for path in (stdout, stderr))
    with open(out, "wb") as output, open(errors, "wb") as messages:
        return command.run(document, output, messages, stopped)


def conclude(session: Session, question: Question, found: Judgement) -> None:
    """Write an answer, and what it leads to, in one transaction."""
    now = session.clock()

    def change(archive: Transaction, paths: KnownPaths) -> list[Runner]:
        _conclude(archive, question, found, now, paths)
        return archive.runners.alive()

    registered = write_with_paths(session.store.write, change)
    notify(session.store, live_runners(registered, now))
    if found.answer == "error" and session.note is not None:
        session.note(f"the judge of {question.name} has not answered, so its failure stands: {found.reason}")


def _conclude(archive: Transaction, question: Question, found: Judgement, now: float, paths: KnownPaths) -> None:
    waits = archive.judgements.waits_for_judge(question.attempt)
    rerun, plan = None, None
    if waits and found.answer == "retry":
        plan = _plan_retry(archive, question, found, paths)
        if not plan.jobs:
            found = Judgement("error", f"it cannot run again: {plan.refused[0].why}")
    paths.check()
    if (
        not archive.judgements.conclude(question, found.answer if waits else "withdrawn", found.reason, now)
        or not waits
    ):
        return
    request = {"jobs": [question.job], "attempt": question.attempt, "answer": found.answer}
    note = f"{found.answer}: {found.reason}" if found.reason else found.answer
    if found.answer == "retry" and plan is not None:
        rerun = archive.reruns.apply(plan, "judge", request, note, now)
    elif found.answer == "hold":
        archive.judgements.leave_undecided({question.attempt: held_by_judge(found.reason)})
    else:
        archive.judgements.decide([question.attempt])
        archive.queue.gave_up([question.job])
    if found.answer in ("fail", "hold"):
        rerun = archive.reruns.record(_kept(archive, question, found), "judge", request, note, now)
    detail = {"job": question.job, "attempt": question.attempt, "answer": found.answer, "reason": found.reason}
    archive.events.add(now, "judged", question.workflow, detail | ({} if rerun is None else {"rerun": rerun}))


def _reason(question: Question, found: Judgement) -> Reason:
    return Reason(ReasonKind.JUDGE, {"attempt": question.attempt, "answer": found.answer, "reason": found.reason})


def _plan_retry(archive: Transaction, question: Question, found: Judgement, paths: KnownPaths) -> RerunPlan:
    requests = Requests({question.job: InternalHow(mode=RequestMode.REPEAT)})
    views, graph, earlier = planning_views(archive, requests)
    return plan_rerun(views, graph, requests, paths.exists, {question.job: (_reason(question, found),)}, earlier)


def _kept(archive: Transaction, question: Question, found: Judgement) -> RerunPlan:
    """Return the plan that leaves a failed job as it is."""
    [job] = archive.jobs.get([question.job])
    planned = PlannedJob(
        id=job.id,
        name=job.name,
        version=job.version,
        before=job.state,
        after=job.state,
        start=BEGINNING.label,
        reasons=(_reason(question, found),),
        unmet=job.unmet,
        stays=True,
    )
    return seal_plan(RerunPlan(planned_jobs([planned])))
