"""Incremental equals clean where two workflows share work and overwrite each other's outputs, after any edits."""

from __future__ import annotations

import itertools
import os
import tempfile
import textwrap
from collections.abc import Collection
from pathlib import Path

from blake3 import blake3
from engine_project import Project
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.rerun.resubmit import apply_update, plan_update
from rekindle.engine.results import WorkOptions
from rekindle.engine.retention import cache
from rekindle.engine.running.work import work
from rekindle.journal.content_store import ContentStore
from rekindle.spec import load

SPEC = """
    name: NAME
    params: {a: 1}
    jobs:
      prepare:
        run: "echo prepare >> ran; (cat raw; echo p) > ready"
        inputs: {raw: raw}
        outputs: {out: ready}
        cache: KEEP_prepare
      train:
        run: "echo train >> ran; (cat ready; echo ${params.a}) > model"
        inputs: {in: ready}
        outputs: {out: model}
        cache: KEEP_train
      score:
        run: "echo score >> ran; (cat model; cat raw) > FILE"
        outputs: {out: FILE}
        needs: [train]
        cache: KEEP_score
"""
JOBS = ("prepare", "train", "score")
WORKFLOWS = {"left": "left.score", "right": "right.score"}
FILES = ("ready", "model", *WORKFLOWS.values())

Edit = tuple[str | int, ...]

EDITS = st.one_of(
    st.tuples(st.just("raw"), st.sampled_from("xyz")),
    st.tuples(st.just("poison"), st.sampled_from(FILES)),
    st.tuples(st.just("remove"), st.sampled_from(FILES)),
    st.tuples(st.just("cache"), st.sampled_from(JOBS)),
    st.tuples(st.just("flip"), st.integers(0, 7), st.integers(0, 15)),
    *[st.tuples(st.just("run"), st.sampled_from(list(WORKFLOWS)), st.integers(1, 2))] * 2,
)


def clean(raw: str, a: int) -> dict[str, str]:
    ready = f"{raw}\np\n"
    return {"ready": ready, "model": f"{ready}{a}\n", "score": f"{ready}{a}\n{raw}\n"}


class Played:
    """A folder in which edits and runs are played. `cached`: the jobs whose outputs are kept at first."""

    def __init__(self, folder: Path, cached: Collection[str] = ()) -> None:
        self.project, self.raw, self.numbers = Project(folder), "x", itertools.count()
        self.cached = set(cached)
        self.flipped: dict[str, bytes] = {}  # by digest: what is there instead of the content
        self.write("raw", "x\n")

    @property
    def contents(self) -> ContentStore:
        return ContentStore(str(self.project.session.store.folder))

    def write(self, name: str, text: str) -> None:
        (self.project.folder / name).write_text(text)

    def play(self, edit: Edit) -> None:
        kind, name = str(edit[0]), str(edit[1])
        if kind == "raw":
            self.raw = name
            self.write("raw", f"{name}\n")
        elif kind == "poison":
            self.write(name, f"poison {next(self.numbers)}\n")
        elif kind == "remove":
            (self.project.folder / name).unlink(missing_ok=True)
        elif kind == "cache":
            self.cached ^= {name}
        elif kind == "flip":
            self.flip(int(edit[1]), int(edit[2]))
        else:
            self.run(name, int(edit[2]))

    def flip(self, which: int, bit: int) -> None:
        """Flip a bit of a content of the content store, which keeps its size and times."""
        sound = [one for one in self.contents.contents() if self.contents.is_sound(one.digest)]
        if sound:
            digest = sound[which % len(sound)].digest
            path = Path(self.contents.path(digest))
            before, content = path.stat(), bytearray(path.read_bytes())
            content[bit // 8 % len(content)] ^= 1 << bit % 8
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            self.flipped[digest] = bytes(content)

    def run(self, name: str, a: int) -> list[str]:
        """Bring a workflow up to date, check its outputs, and return the jobs that ran."""
        path, session = self.project.folder / f"{name}.yaml", self.project.session
        text = SPEC.replace("NAME", name).replace("FILE", WORKFLOWS[name])
        for job in JOBS:
            text = text.replace(f"KEEP_{job}", str(job in self.cached).lower())
        path.write_text(textwrap.dedent(text))
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

    def check_flipped(self) -> None:
        """Check that each flipped bit is found where it is still in use, and then is not there any more."""
        there = {
            digest
            for digest, content in self.flipped.items()
            if (path := Path(self.contents.path(digest))).exists() and path.read_bytes() == content
        }
        found = cache.verify(self.project.session, lambda _: None)
        assert {one.digest for one in found.poisoned} == there
        assert cache.verify(self.project.session, lambda _: None).sound
        for one in self.contents.contents():
            assert blake3(Path(self.contents.path(one.digest)).read_bytes()).hexdigest() == one.digest


RUN_1, RUN_2 = ("run", "left", 1), ("run", "left", 2)
REMOVED: list[Edit] = [("remove", name) for name in FILES]
FLIPPED: list[Edit] = [("flip", 0, bit) for bit in range(8)]


def test_what_is_kept_is_restored_and_what_was_altered_is_made_again(tmp_path):
    played = Played(tmp_path, JOBS)
    try:
        for edit in [RUN_1, RUN_2, *REMOVED]:
            played.play(edit)
        assert played.run("left", 1) == []
        for edit in [*REMOVED, *FLIPPED]:
            played.play(edit)
        assert len(played.flipped) == 5  # ready; model and score for each of two values
        assert played.run("left", 2) == list(JOBS)
        assert played.run("left", 1) == ["train", "score"]
        played.check_flipped()
    finally:
        played.project.session.close()


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@example(edits=[RUN_2, ("flip", 1, 3), ("run", "right", 1), ("cache", "train"), RUN_2], cached={*JOBS})
@given(edits=st.lists(EDITS, min_size=1, max_size=7), cached=st.sets(st.sampled_from(JOBS)))
def test_what_a_run_leaves_equals_a_run_in_an_empty_folder(edits: list[Edit], cached: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        played = Played(Path(folder), cached)
        try:
            for edit in [RUN_1, *edits, RUN_1, ("run", "right", 1)]:
                played.play(edit)
            assert played.run("right", 1) == []
            played.check_flipped()
        finally:
            played.project.session.close()
