"""Property test: random workflows with temporary outputs, edits, reruns and undos.

After each update the outputs that stay are those of a clean run, a second update does nothing, and what is temporary
and not needed is gone."""

from __future__ import annotations

import tempfile
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine_project import Project
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekindle.domain.errors import Refused
from rekindle.domain.rerun.request import How
from rekindle.engine.rerun import rerun
from rekindle.engine.rerun.resubmit import apply_update, plan_update, run_outcome
from rekindle.engine.staleness.stale_jobs import find_stale_jobs
from rekindle.spec import load

JOBS = 5


@dataclass
class Sums:
    """Jobs that each write what the files that they read hold, and a line of their own."""

    reads: dict[int, set[int]]
    temporary: set[int]
    lines: dict[int, int] = field(default_factory=dict)
    raw: int = 0
    extra: bool = False

    @property
    def jobs(self) -> list[int]:
        return list(range(JOBS + self.extra))

    def read_by(self, job: int) -> list[int]:
        return sorted(self.reads[job]) if job < JOBS else [0, JOBS - 1]

    def text(self) -> str:
        entries = []
        for job in self.jobs:
            files = ["raw", *(f"o{other}" for other in self.read_by(job))]
            inputs = ", ".join(f"i{at}: {name}" for at, name in enumerate(files))
            line = f"{job}-{self.lines.get(job, 0)}"
            command = f"cat {' '.join(files)} > o{job}; echo {line} >> o{job}; echo {job} >> ran"
            options = f"{{path: o{job}, temp: {str(job in self.temporary).lower()}}}"
            entries.append(f"  j{job}: {{run: '{command}', inputs: {{{inputs}}}, outputs: {{o: {options}}}}}")
        return "name: sums\njobs:\n" + "\n".join(entries) + "\n"

    def content(self, job: int) -> str:
        """Return what a clean run writes."""
        read = f"{self.raw}\n" + "".join(self.content(other) for other in self.read_by(job))
        return read + f"{job}-{self.lines.get(job, 0)}\n"

    def consumers(self, job: int) -> list[int]:
        return [other for other in self.jobs if job in self.read_by(other)]


ACTIONS = st.one_of(
    st.tuples(st.just("raw")),
    st.tuples(st.just("line"), st.integers(0, JOBS - 1)),
    st.tuples(st.just("toggle"), st.integers(0, JOBS - 1)),
    st.tuples(st.just("extra")),
    st.tuples(st.just("remove"), st.integers(0, JOBS - 1)),
    st.tuples(st.just("rerun"), st.integers(0, JOBS - 1), st.sampled_from(["all", "changed", "none"]), st.booleans()),
)


class Case:
    """A project with the workflow."""

    def __init__(self, folder: Path, sums: Sums) -> None:
        self.project, self.sums = Project(folder), sums

    def update(self) -> int:
        path = self.project.folder / "spec.yaml"
        path.write_text(textwrap.dedent(self.sums.text()))
        (self.project.folder / "raw").write_text(f"{self.sums.raw}\n")
        planned = plan_update(self.project.session, load(path))
        submitted, _ = apply_update(self.project.session, planned)
        report = self.project.work()
        return run_outcome(self.project.session, submitted.workflow, report).exit_code

    def act(self, name: str, *arguments: Any) -> None:
        match name, arguments:
            case "raw", ():
                self.sums.raw += 1
            case "line", (job,):
                self.sums.lines[job] = self.sums.lines.get(job, 0) + 1
            case "toggle", (job,):
                self.sums.temporary ^= {job}
            case "extra", ():
                self.sums.extra = True
            case "remove", (job,):
                (self.project.folder / f"o{job}").unlink(missing_ok=True)
            case "rerun", (job, downstream, undo):
                self.rerun(job, How(downstream=downstream), undo=undo)

    def rerun(self, job: int, how: How, *, undo: bool) -> None:
        try:
            applied = self.project.rerun(f"j{job}", how=how)
        except Refused:
            return
        if undo:
            rerun.undo(self.project.session, applied.rerun)
        else:
            self.project.work()

    def ran(self) -> list[str]:
        file = self.project.folder / "ran"
        found = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return found

    def check(self) -> None:
        assert self.update() == 0
        for job in self.sums.jobs:
            file = self.project.folder / f"o{job}"
            if job in self.sums.temporary and self.sums.consumers(job):
                assert not file.exists(), (job, self.sums)
            else:
                assert file.read_text() == self.sums.content(job), (job, self.sums)
        jobs = [self.project.job(f"j{job}") for job in self.sums.jobs]
        assert find_stale_jobs(self.project.session, jobs).stale == {}
        self.ran()
        assert self.update() == 0
        assert self.ran() == []
        assert not list(self.project.folder.glob(".rekindle-removed*"))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    edges=st.sets(st.sampled_from([(a, b) for b in range(JOBS) for a in range(b)]), min_size=2, max_size=7),
    temporary=st.sets(st.integers(0, JOBS - 1), min_size=1),
    actions=st.lists(st.lists(ACTIONS, min_size=1, max_size=2), min_size=2, max_size=4),
)
def test_incremental_equals_clean_with_temporary_outputs(
    edges: set[tuple[int, int]], temporary: set[int], actions: list[list[tuple[Any, ...]]]
) -> None:
    reads = {job: {parent for parent, child in edges if child == job} for job in range(JOBS)}
    with tempfile.TemporaryDirectory() as folder:
        case = Case(Path(folder), Sums(reads, temporary))
        try:
            case.check()
            for several in actions:
                for action in several:
                    case.act(*action)
                case.check()
        finally:
            case.project.session.close()
