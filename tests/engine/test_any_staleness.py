"""Property test: random graphs of jobs with files, randomly edited, have the stale jobs that a plain comparison
finds."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from assessments import check_assessments, small_blocks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekindle.domain.definition import Definition, JobNode, JobTemplate, Step
from rekindle.domain.errors import PlanRefused
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import ENDED, State
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.rerun import rerun
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.staleness import stale_jobs
from rekindle.engine.submit.submit import submit
from rekindle.journal.orders import Assignment
from rekindle.testing import FakeClock, ScriptedExecutor, ScriptedOutcome

OUTSIDE = ("one", "two", "three")
CONTENTS = ("a", "b", "aa", "x")
"""What an edited file may hold; a job one of whose inputs has an x in it fails."""

PARAMS = ("p", "q")


@dataclass(frozen=True)
class Shape:
    """A job: its external inputs, the earlier jobs it reads from or needs, and whether it writes a file."""

    outside: frozenset[str]
    reads: frozenset[int]
    needs: frozenset[int]
    writes: bool
    uses: frozenset[str]


@st.composite
def shapes(draw: st.DrawFn) -> list[Shape]:
    made: list[Shape] = []
    for number in range(draw(st.integers(1, 6))):
        writers = [one for one in range(number) if made[one].writes]
        made.append(
            Shape(
                draw(st.frozensets(st.sampled_from(OUTSIDE), max_size=2)),
                draw(st.frozensets(st.sampled_from(writers), max_size=2)) if writers else frozenset(),
                draw(st.frozensets(st.integers(0, number - 1), max_size=2)) if number else frozenset(),
                draw(st.booleans()),
                draw(st.frozensets(st.sampled_from(PARAMS), max_size=1)),
            )
        )
    return made


FILES = st.sampled_from([*OUTSIDE, *(f"out{number}" for number in range(6))])

STEPS = st.one_of(
    st.tuples(st.just("edit"), FILES, st.sampled_from(CONTENTS)),
    st.tuples(st.just("delete"), FILES, st.none()),
    st.tuples(st.just("touch"), FILES, st.none()),
    st.tuples(st.just("param"), st.sampled_from(PARAMS), st.integers(0, 1)),
    st.tuples(st.just("text"), st.integers(0, 5), st.integers(0, 1)),
    st.tuples(st.just("rerun"), st.integers(0, 5), st.sampled_from(["all", "changed", "none"])),
    st.tuples(st.just("plan"), st.integers(0, 5), st.sampled_from(["all", "changed", "none"])),
    st.tuples(st.just("work"), st.none(), st.none()),
    st.tuples(st.just("rerun stale"), st.none(), st.sampled_from(["all", "changed"])),
)


@dataclass
class Seen:
    """Everything that an attempt read and wrote."""

    completed: bool
    told: tuple[object, ...]  # the text of its command, and the parameters used
    inputs: dict[str, bytes | None]
    outputs: dict[str, bytes | None]
    needs: dict[int, int]  # the attempt of each needed job


@dataclass
class World:
    """Files, a workflow and its history, kept both in a store and as plain records of each attempt."""

    folder: Path
    shapes: list[Shape]
    params: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARAMS, 0))
    texts: dict[int, int] = field(default_factory=dict)
    history: dict[tuple[int, int], Seen] = field(default_factory=dict)
    latest: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        opened = open_session(str(self.folder / ".rekindle"))
        self.session = Session(opened.store, self.clock)
        for name in OUTSIDE:
            (self.folder / name).write_text("a")
        self.submit()

    def submit(self) -> None:
        templates = [self._template(number, shape) for number, shape in enumerate(self.shapes)]
        nodes = [JobNode(f"job{number}", number) for number in range(len(templates))]
        edges = sorted({(one, job) for job, shape in enumerate(self.shapes) for one in shape.reads | shape.needs})
        submit(self.session, Definition("any", str(self.folder), templates, nodes, edges, params=dict(self.params)))

    def _template(self, number: int, shape: Shape) -> JobTemplate:
        text = f"do {self.texts.get(number, 0)} " + " ".join(f"${{params.{name}}}" for name in sorted(shape.uses))
        return JobTemplate(
            f"job{number}",
            (Step("run", run=text),),
            inputs={name: name for name in self._inputs(number)},
            outputs={"out": f"out{number}"} if shape.writes else {},
        )

    def _inputs(self, number: int) -> list[str]:
        shape = self.shapes[number]
        return [*sorted(shape.outside), *(f"out{one}" for one in sorted(shape.reads))]

    def _read(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.exists() else None

    def _told(self, number: int) -> tuple[object, ...]:
        uses = sorted(self.shapes[number].uses)
        return (self.texts.get(number, 0), *(self.params[name] for name in uses))

    def perform(self, one: Assignment) -> ScriptedOutcome:
        """Write a truncated copy of the inputs, so that some changes have no effect."""
        number = int(one.name.removeprefix("job"))
        inputs = {name: self._read(name) for name in self._inputs(number)}
        fails = any(found is None or b"x" in found for found in inputs.values())
        if self.shapes[number].writes and not fails:
            told = "".join(str(part) for part in self._told(number))
            (self.folder / f"out{number}").write_bytes(
                b"".join(found[:1] for found in inputs.values() if found) + told[:1].encode()
            )
        needed = self.shapes[number].reads | self.shapes[number].needs
        outputs = {f"out{number}": self._read(f"out{number}")} if self.shapes[number].writes and not fails else {}
        self.history[number, one.number] = Seen(
            not fails, self._told(number), inputs, outputs, {job: self.latest[job] for job in needed}
        )
        self.latest[number] = one.number
        return ScriptedOutcome(fails_at="run") if fails else ScriptedOutcome()

    def work(self) -> None:
        executor = ScriptedExecutor(self.session.store.folder, self.perform, self.clock)
        work(self.session, WorkOptions(slots=2, executor="scripted"), executor=executor)

    def jobs(self) -> dict[int, job_queries.JobRow]:
        rows = job_queries.jobs(self.session, selections.select(self.session, Selection(everything=True)))
        return {int(row.job.name.removeprefix("job")): row for row in rows}

    def stale(self) -> set[int]:
        ids = {row.job.id: number for number, row in self.jobs().items()}
        check_assessments(self.session)
        return {ids[job] for job in stale_jobs.find_stale_jobs(self.session, list(ids)).stale}

    def obviously_stale(self) -> set[int]:
        rows = self.jobs()
        return {
            number
            for number, row in rows.items()
            if row.attempt is not None
            and row.attempt.state in ENDED
            and self._differs(self.history[number, row.attempt.number], number, rows)
        }

    def _differs(self, then: Seen, number: int, rows: dict[int, job_queries.JobRow]) -> bool:
        if then.told != self._told(number):
            return True
        if any(self._read(name) != held for name, held in {**then.inputs, **then.outputs}.items()):
            return True
        for job, attempt in then.needs.items():
            now = rows[job].attempt
            if rows[job].job.state is not State.COMPLETED or now is None:
                return True
            if now.number != attempt:
                before, after = self.history[job, attempt].outputs, self.history[job, now.number].outputs
                if not after or before != after:
                    return True
        return False

    def rerun(self, jobs: list[int], downstream: str = "all") -> None:
        rows = self.jobs()
        how = How(downstream=downstream)  # type: ignore[arg-type]
        try:
            plan = rerun.plan(self.session, [([rows[job].job.id for job in jobs], how)], {})
        except PlanRefused:  # it is waiting or ready
            return
        rerun.apply(self.session, plan)

    def rerun_stale(self, downstream: str) -> None:
        """Rerun stale jobs as the command line does: with reasons, and modified as before."""
        why = stale_jobs.find_stale_jobs(self.session, [row.job.id for row in self.jobs().values()]).stale
        if why:
            how = How(downstream=downstream, keep_modified=True)  # type: ignore[arg-type]
            rerun.apply(self.session, rerun.plan(self.session, [(list(why), how)], {}, why=why))

    def step(self, kind: str, what: object, how: object) -> None:
        path = self.folder / str(what)
        if kind == "edit":
            path.write_text(str(how))
        elif kind == "delete":
            path.unlink(missing_ok=True)
        elif kind == "touch" and path.exists():
            os.utime(path)
        elif kind == "param":
            self.params[str(what)] = int(str(how))
            self.submit()
        elif kind == "text" and isinstance(what, int):
            self.texts[what] = int(str(how))
            self.submit()
        elif kind in ("rerun", "plan") and isinstance(what, int):
            self.rerun([what % len(self.shapes)], str(how))
        elif kind == "rerun stale":
            self.rerun_stale(str(how))
        if kind in ("rerun", "rerun stale", "work"):
            self.work()
        if kind == "rerun stale":
            assert self.stale() == set()


@given(made=shapes(), steps=st.lists(STEPS, max_size=12))
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_stale_jobs_equal_those_of_a_plain_comparison(
    made: list[Shape], steps: list[tuple[str, object, object]]
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="rekindle-any-"))
    world = World(folder, made)
    with small_blocks():
        _follow(world, steps)


def _follow(world: World, steps: list[tuple[str, object, object]]) -> None:
    folder = world.folder
    try:
        world.work()
        assert world.stale() == world.obviously_stale() == set()
        for step in steps:
            world.step(*step)
            assert world.stale() == world.obviously_stale(), step
        with world.session.store.read() as archive:
            assert archive.check() == []
    finally:
        world.session.close()
        shutil.rmtree(folder)
