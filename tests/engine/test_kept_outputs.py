"""Declared outputs are saved before a rerun overwrites them, and undo restores them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3

from rekindle.domain.errors import PlanOutdated, Refused, UndoRefused
from rekindle.domain.rerun.request import How
from rekindle.engine.rerun import output_copies, rerun
from rekindle.journal.paths import attempt_folder, saved_outputs_folder

MADE = """
    name: made
    jobs:
      make:
        run: "mkdir -p out/dir/deep; date +%N > out/a; date +%N > out/dir/deep/b; ln -sfn a out/link"
        outputs: {a: out/a, dir: out/dir, link: out/link}
      use: {needs: [make], run: "cp out/a used", outputs: {used: used}}
"""
KEEP = How(keep_outputs=True)


@pytest.fixture
def made(project):
    assert project.run(MADE).exit_code == 0
    return project


def content(project):
    names = ("out/a", "out/dir/deep/b", "used")
    return {name: (project.folder / name).read_text() for name in names}


def place(project, attempt=1):
    return Path(saved_outputs_folder(attempt_folder(project.session.store.folder, attempt)))


def planned(project, how=KEEP, job="make"):
    job = project.job(job)
    return rerun.plan(project.session, [([job], how)], {"jobs": [job]})


def saved(project, number):
    with project.session.store.read() as archive:
        return [one for _, _, files in archive.reruns.saved_outputs(number) for one in files]


def test_outputs_are_saved_with_the_attempt_that_made_them(made):
    before = content(made)
    applied = made.rerun("make", how=KEEP)
    assert [Path(path).name for path in applied.plan.jobs[0].saves] == ["a", "dir", "link"]
    made.work()
    assert content(made) != before
    assert (place(made) / "0" / "a").read_text() == before["out/a"]
    assert (place(made) / "1" / "dir" / "deep" / "b").read_text() == before["out/dir/deep/b"]
    assert (place(made) / "2" / "link").readlink() == Path("a")
    assert (place(made, 2) / "0" / "used").read_text() == before["used"]
    [first, *_] = saved(made, applied.rerun)
    assert first.digest == blake3(before["out/a"].encode()).hexdigest()


def test_undo_puts_back_what_is_gone(made):
    before = content(made)
    applied = made.rerun("make", how=KEEP)
    untouched = (made.folder / "used").stat()
    (made.folder / "out/a").unlink()
    (made.folder / "out/dir/deep/b").unlink()
    (made.folder / "out/dir/deep").rmdir()
    (made.folder / "out/link").unlink()
    undone = rerun.undo(made.session)
    assert undone.rerun == applied.rerun
    assert sorted(Path(path).name for path in undone.restored) == ["a", "b", "link"]
    assert content(made) == before
    assert (made.folder / "out/link").readlink() == Path("a")
    assert (made.folder / "used").stat() == untouched
    assert not [path for path in (made.folder / "out").rglob("*") if "rekindle" in path.name]


def test_undo_touches_nothing_when_all_is_as_it_was(made):
    made.rerun("make", how=KEEP)
    os.utime(made.folder / "out/a", (1, 1))  # the same content
    assert rerun.undo(made.session).restored == ()


def test_undo_that_is_refused_puts_nothing_back(made):
    made.rerun("make", how=KEEP)
    made.work()
    after = content(made)
    with pytest.raises(UndoRefused, match="started"):
        rerun.undo(made.session)
    assert content(made) == after


def test_undo_without_the_saved_copy_is_refused_and_changes_nothing(made):
    made.rerun("make", how=KEEP)
    (made.folder / "out/a").unlink()
    (place(made) / "0" / "a").unlink()
    states = made.states()
    with pytest.raises(UndoRefused, match=r"saved copy of .*out/a is gone"):
        rerun.undo(made.session)
    assert made.states() == states
    assert not (made.folder / "out/a").exists()


def test_without_it_the_plan_names_the_files_that_are_there_and_saves_none(made):
    (made.folder / "out/a").unlink()
    decided = planned(made, How()).plan
    assert decided.overwrites == ("out/dir", "used")  # the link is dangling now
    assert all(not job.saves for job in decided.jobs)
    made.rerun("make")
    assert not place(made).exists()


def test_what_cannot_be_saved_refuses_the_rerun_and_changes_nothing(made, monkeypatch):
    proposal, states = planned(made), made.states()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output_copies, "copy_file", full)
    with pytest.raises(Refused, match=r"nothing is changed: the output .*out/a of make cannot be saved: No space"):
        rerun.apply(made.session, proposal)
    assert made.states() == states
    assert list(place(made).parent.glob("*.outputs*")) == []
    made.check()


def test_a_plan_that_is_outdated_leaves_no_copies(made):
    proposal = planned(made)
    made.rerun("use")
    with pytest.raises(PlanOutdated):
        rerun.apply(made.session, proposal)
    assert list(place(made).parent.glob("*.outputs*")) == []


def test_saving_tells_how_far_it_is(made):
    told = []
    rerun.apply(made.session, planned(made), lambda done, whole: told.append((done, whole)))
    assert told[-1][0] == told[-1][1] > 0
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_outputs_can_be_saved_again_after_an_undo(made):
    made.rerun("make", how=KEEP)
    rerun.undo(made.session)
    (made.folder / "out/a").write_text("mended by hand")
    made.rerun("make", how=KEEP)
    assert (place(made) / "0" / "a").read_text() == "mended by hand"


def test_an_output_in_the_same_folder_is_saved_and_one_in_a_new_one_needs_not(project):
    project.run("{name: own, workdir: attempt, jobs: {make: {run: 'echo $REKINDLE_ATTEMPT > o', outputs: {o: o}}}}")
    assert planned(project, KEEP).plan.jobs[0].saves == ()
    project.rerun("make", how=How(workdir="same", keep_outputs=True))
    project.work()
    _, second = project.attempts("make")
    assert (Path(second.folder) / "o").read_text() == "2\n"
    assert (place(project) / "0" / "o").read_text() == "1\n"
