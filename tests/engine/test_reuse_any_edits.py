"""Incremental equals clean where two workflows share work and overwrite each other's outputs, after any edits."""

from __future__ import annotations

import itertools
import tempfile
import textwrap
from pathlib import Path

from engine_project import Project
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.rerun.resubmit import apply_update, plan_update
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.spec import load

SPEC = """
    name: NAME
    params: {a: 1}
    jobs:
      prepare: {run: "echo prepare >> ran; (cat raw; echo p) > ready", inputs: {raw: raw}, outputs: {out: ready}}
      train:
        run: "echo train >> ran; (cat ready; echo ${params.a}) > model"
        inputs: {in: ready}
        outputs: {out: model}
      score: {run: "echo score >> ran; (cat model; cat raw) > FILE", outputs: {out: FILE}, needs: [train]}
"""
WORKFLOWS = {"left": "left.score", "right": "right.score"}

EDITS = st.one_of(
    st.tuples(st.just("raw"), st.sampled_from("xyz")),
    st.tuples(st.just("poison"), st.sampled_from(["ready", "model", "left.score", "right.score"])),
    st.tuples(st.just("remove"), st.sampled_from(["ready", "model", "left.score", "right.score"])),
    st.tuples(st.just("run"), st.sampled_from(list(WORKFLOWS)), st.integers(1, 2)),
)


def clean(raw: str, a: int) -> dict[str, str]:
    ready = f"{raw}\np\n"
    return {"ready": ready, "model": f"{ready}{a}\n", "score": f"{ready}{a}\n{raw}\n"}


class Played:
    """A folder in which edits and runs are played."""

    def __init__(self, folder: Path) -> None:
        self.project, self.raw, self.numbers = Project(folder), "x", itertools.count()
        self.write("raw", "x\n")

    def write(self, name: str, text: str) -> None:
        (self.project.folder / name).write_text(text)

    def play(self, edit: tuple[str | int, ...]) -> None:
        kind, name = str(edit[0]), str(edit[1])
        if kind == "raw":
            self.raw = name
            self.write("raw", f"{name}\n")
        elif kind == "poison":
            self.write(name, f"poison {next(self.numbers)}\n")
        elif kind == "remove":
            (self.project.folder / name).unlink(missing_ok=True)
        else:
            self.run(name, int(edit[2]))

    def run(self, name: str, a: int) -> list[str]:
        """Bring a workflow up to date, check its outputs, and return the jobs that ran."""
        path, session = self.project.folder / f"{name}.yaml", self.project.session
        path.write_text(textwrap.dedent(SPEC.replace("NAME", name).replace("FILE", WORKFLOWS[name])))
        update = plan_update(session, load(path, params={"a": str(a)}))
        done, _ = apply_update(session, update)
        report = work(session, WorkOptions(slots=1, workflow=str(done.workflow)))
        self.project.check()
        assert report.exit_code == 0
        for output, text in clean(self.raw, a).items():
            found = WORKFLOWS[name] if output == "score" else output
            assert (self.project.folder / found).read_text() == text, f"{found} of {name}"
        self.check_reused()
        ran = self.project.folder / "ran"
        names = ran.read_text().split() if ran.exists() else []
        ran.unlink(missing_ok=True)
        return names

    def check_reused(self) -> None:
        """Check that each attempt that stands for another one has what that one left."""
        session = self.project.session
        jobs = selections.select(session, Selection(everything=True))
        attempts = {one.id: one for one in job_queries.attempts(session, jobs)}
        with session.store.read() as archive:
            prints = archive.fingerprints.files(attempts)
        for one in attempts.values():
            if one.reused_from is not None:
                source = attempts[one.reused_from]
                assert (source.state, source.reused_from, one.started) == (State.COMPLETED, None, None)
                assert [each.digest for each in prints[one.id].outputs] == [
                    each.digest for each in prints[source.id].outputs
                ]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(EDITS, min_size=1, max_size=7))
def test_what_a_run_leaves_equals_a_run_in_an_empty_folder(edits: list[tuple[str | int, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        played = Played(Path(folder))
        try:
            for edit in [("run", "left", 1), *edits, ("run", "left", 1), ("run", "right", 1)]:
                played.play(edit)
            assert played.run("right", 1) == []
        finally:
            played.project.session.close()
