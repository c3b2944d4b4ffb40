"""A project folder, a store in it, and short ways to run workflows for real."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rekindle.domain.rerunning.rerun import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.looking import look
from rekindle.engine.rerunning import rerun
from rekindle.engine.results import Applied, Submitted, WorkOptions, WorkReport
from rekindle.engine.running.run import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.submitting.submit import submit
from rekindle.spec import load


class Project:
    """A folder with specs and a store. Every session's store is checked against the law when it closes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session: Session = open_session(str(folder / ".rekindle"))

    def submit(self, text: str, name: str = "spec.yaml", **flags: object) -> Submitted:
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
        return look.select(self.session, Selection(jobs=(name,)))[0]

    def states(self) -> dict[str, State]:
        rows = look.jobs(self.session, look.select(self.session, Selection(everything=True)))
        return {row.job.name: row.job.state for row in rows}

    def attempts(self, name: str, live: bool = False) -> list[object]:
        return list(look.attempts(self.session, [self.job(name)], live=live))

    def rerun(self, *names: str, how: How | None = None) -> Applied:
        jobs = [self.job(name) for name in names]
        proposal = rerun.plan(self.session, [(jobs, how or How())], {"jobs": jobs})
        applied = rerun.apply(self.session, proposal)
        self.check()
        return applied

    def check(self) -> None:
        """States, unmet counts and counts equal what is derived from attempts and edges."""
        with self.session.store.read() as archive:
            assert archive.check() == []


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    made.check()
    made.session.close()


@pytest.fixture
def lines() -> Callable[[Path], list[str]]:
    def read(path: Path) -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    return read
