"""A project folder with a store, and shortcuts to run workflows in it."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.rerun import rerun
from rekindle.engine.results import AppliedRerun, SubmitResult, WorkOptions, WorkReport
from rekindle.engine.running.work import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import submit
from rekindle.files.digests import file_stat, is_settled
from rekindle.spec import load


def settle(*paths: Path) -> None:
    """Wait until the times of files have settled: the digest of a file just written is not trusted later."""
    for path in paths:
        while (seen := file_stat(str(path))) and not is_settled(seen, time.time_ns()):
            time.sleep(0.001)


class Project:
    """A folder with specs and a store. The store is checked for consistency after every run and when it closes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session: Session = open_session(str(folder / ".rekindle"))

    def submit(self, text: str, name: str = "spec.yaml", **flags: object) -> SubmitResult:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return submit(self.session, load(path), **flags)  # type: ignore[arg-type]

    def work(self, slots: int = 2, **options: object) -> WorkReport:
        report = work(self.session, WorkOptions(slots=slots, **options))  # type: ignore[arg-type]
        self.check()
        return report

    def run(self, text: str, slots: int = 2) -> WorkReport:
        self.submit(text)
        return self.work(slots)

    def job(self, name: str) -> int:
        return selections.select(self.session, Selection(jobs=(name,)))[0]

    def states(self) -> dict[str, State]:
        rows = job_queries.jobs(self.session, selections.select(self.session, Selection(everything=True)))
        return {row.job.name: row.job.state for row in rows}

    def attempts(self, name: str, live: bool = False) -> list[object]:
        return list(job_queries.attempts(self.session, [self.job(name)], live=live))

    def rerun(self, *names: str, how: How | None = None) -> AppliedRerun:
        jobs = [self.job(name) for name in names]
        proposal = rerun.plan(self.session, [(jobs, how or How())], {"jobs": jobs})
        applied = rerun.apply(self.session, proposal)
        self.check()
        return applied

    def check(self) -> None:
        """Check that states, unmet counts and counts equal those derived from attempts and edges."""
        with self.session.store.read() as archive:
            assert archive.check() == []
