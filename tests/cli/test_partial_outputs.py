"""Partial outputs of attempts that did not complete are named, or set aside and restored (`partial: aside`)."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell

from made_once import made_once

FAILING = """\
name: s
jobs:
  none: {run: "> data/none; exit 1", outputs: {o: data/none, never: data/never}}
  over: {run: "echo half > data/over; exit 1", outputs: {o: data/over, before: data/before}}
  tree: {run: "echo x > data/tree/deep/x; exit 1", outputs: {t: data/tree, u: data/untouched}}
  link: {run: "ln -s ../calls.py data/link; exit 1", outputs: {l: data/link}}
  exit0: {run: "echo 1 > data/one", outputs: {one: data/one, other: data/other}}
  out: {run: "echo 1 > ../beside; exit 1", outputs: {b: ../beside}}
  through: {run: "echo 1 > linked/x; exit 1", outputs: {x: linked/x}}
  late: {run: "echo 1 > data/late; sleep 60", outputs: {l: data/late}, resources: {time: 0.5s}}
  fine: {run: "echo 1 > data/fine", outputs: {f: data/fine}}
  raises: {call: "calls:raises", outputs: {r: data/raises}}
  dies: {call: "calls:dies", outputs: {d: data/dies}}
"""
CALLS = """
import os
def raises():
    open("data/raises", "w").write("half")
    raise ValueError("no")
def dies():
    open("data/dies", "w").write("half")
    os.abort()
"""
LEFT = {
    "none": {"data/none": 0},
    "over": {"data/over": 5},
    "tree": {"data/tree": 6},
    "link": {"data/link": len(CALLS)},
    "exit0": {"data/one": 2},
    "out": {"../beside": 2},
    "through": {"linked/x": 2},
    "late": {"data/late": 2},
    "raises": {"data/raises": 4},
    "dies": {"data/dies": 4},
}
STAY = {"out": "it lies outside the project", "through": "linked is a symbolic link"}


def write_project(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    folder = tmp_path / "project"
    (folder / "data/tree/deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    for name, content in (("over", "complete"), ("before", "old"), ("tree/old", "old\n"), ("untouched", "old")):
        (folder / "data" / name).write_text(content)
    (folder / "calls.py").write_text(CALLS)
    monkeypatch.chdir(folder)
    shell.folder = folder
    shell.write(text)
    assert shell("run", "spec.yaml", "-j", "4").code == 2
    return folder


def left(shell: Shell) -> dict[str, list[dict[str, Any]]]:
    """The partial outputs of live attempts by job."""
    names = {job["id"]: job["name"] for job in shell("jobs", "list", "--json").json["jobs"]}
    attempts = shell("attempts", "list", "--live", "--json").json["attempts"]
    return {names[one["job"]]: one["partial_outputs"] for one in attempts}


@pytest.mark.parametrize("partial", ["keep", "aside"])
def test_what_attempts_leave_without_completing_is_named(shell, tmp_path, monkeypatch, partial):
    folder = write_project(shell, tmp_path, monkeypatch, f"defaults: {{partial: {partial}}}\n{FAILING}")
    found = left(shell)
    sizes = {
        name: {os.path.relpath(one["path"], folder): one["bytes"] for one in several}
        for name, several in found.items()
        if several
    }
    assert sizes == LEFT
    for name, several in found.items():
        for one in several:
            in_place = os.path.lexists(one["path"])
            if partial == "keep":
                assert (in_place, one["aside"], one["stays"]) == (True, None, None)
            elif name in STAY:
                assert (in_place, one["aside"]) == (True, None)
                assert one["stays"].endswith(STAY[name])
            else:
                assert not in_place
                assert os.path.lexists(one["aside"])
                assert Path(one["aside"]).is_relative_to(folder / ".rekindle")
    assert (folder / "data/before").read_text() == "old"
    assert (folder / "data/untouched").read_text() == "old"
    assert (folder / "data/fine").exists()
    groups = shell("failures", "--json").json["failures"]
    assert sum(len(group["partial_outputs"]) for group in groups) == len(LEFT)
    text = shell("failures", "-v").out
    assert (
        "partial: data/none (0 bytes), set aside" if partial == "aside" else "partial: data/none (0 bytes)\n"
    ) in text
    number = next(one["id"] for one in shell("attempts", "list", "none", "--json").json["attempts"])
    shown = shell("attempts", "show", str(number)).out
    assert "partial: data/none (0 bytes)" in shown
    assert ("set aside: " in shown) is (partial == "aside")


def test_a_retry_from_the_beginning_starts_without_them(shell):
    shell.write("""\
        name: s
        jobs:
          again:
            run: "test ! -e o || touch seen; echo x > o; exit 1"
            outputs: {o: o}
            partial: aside
            retry: {max: 1, delay: 0s}
        """)
    assert shell("run", "spec.yaml").code == 2
    attempts = shell("attempts", "list", "--json").json["attempts"]
    assert [len(one["partial_outputs"]) for one in attempts] == [1, 1]
    assert not (shell.folder / "seen").exists()
    assert len({one["partial_outputs"][0]["aside"] for one in attempts}) == 2


STEPS = """\
name: s
defaults: {partial: aside}
jobs:
  steps:
    outputs: {a: a, b: b}
    steps:
      - {name: one, run: "echo one >> a"}
      - {name: two, run: "test -e a && echo two >> b && test -e ok"}
  items: {each: [1, 2], run: "mkdir -p t; echo ${item} >> t/${item}; test ${item} = 1 -o -e ok", outputs: {t: t}}
"""


@pytest.fixture
@made_once
def steps(shell: Shell) -> Shell:
    shell.write(STEPS)
    assert shell("run", "spec.yaml").code == 2
    assert not {"a", "b", "t"} & {path.name for path in shell.folder.iterdir()}
    return shell


def test_a_rerun_that_resumes_gets_the_outputs_back(steps):
    assert steps("rerun", "-s", "failed", "--from", "failed-step", "--yes", "--work").code == 2
    assert not {"a", "b", "t"} & {path.name for path in steps.folder.iterdir()}
    (steps.folder / "ok").touch()
    assert steps("rerun", "-s", "failed", "--from", "failed-step", "--yes", "--work").code == 0
    read = {name: (steps.folder / name).read_text() for name in ("a", "b", "t/1", "t/2")}
    assert read == {"a": "one\n", "b": "two\ntwo\ntwo\n", "t/1": "1\n", "t/2": "2\n2\n2\n"}
    assert "put back by a later attempt" in steps("attempts", "show", "3").out


def test_a_rerun_from_the_beginning_starts_without_them(steps):
    (steps.folder / "ok").touch()
    assert steps("rerun", "-s", "failed", "--from", "beginning", "--yes", "--work").code == 0
    assert (steps.folder / "a").read_text() == "one\n"
    assert (steps.folder / "t/2").read_text() == "2\n"
    assert "set aside: " in steps("attempts", "show", "1").out


def test_a_resume_never_replaces_a_file_and_goes_on_once_it_is_moved(steps):
    (steps.folder / "ok").touch()
    (steps.folder / "b").write_text("mine")
    done = steps("rerun", "steps", "--from", "failed-step", "--yes", "--work")
    assert done.code == 2
    assert (steps.folder / "b").read_text() == "mine"
    [failed] = steps("attempts", "list", "steps", "--live", "--json").json["attempts"]
    assert failed["cause"] == "start"
    assert f"there is another {steps.folder}/b" in failed["error"]["message"]
    (steps.folder / "b").unlink()
    assert steps("rerun", "steps", "--from", "failed-step", "--yes", "--work").code == 0
    assert (steps.folder / "b").read_text() == "two\ntwo\n"


def remove_copies(shell: Shell) -> None:
    for folder in (shell.folder / ".rekindle/attempts").glob("*/*/*.partial"):
        shutil.rmtree(folder)


def test_a_resume_without_its_copies_is_refused_and_named_by_the_check(steps):
    (steps.folder / "ok").touch()
    assert steps("store", "check", "--deep").code == 0
    remove_copies(steps)
    for job in ("steps", "items"):
        done = steps("rerun", job, "--from", "failed-step", "--yes", "--work")
        assert done.code == 1
        assert "its copy is gone: " in done.err
        assert "hint: bring it back, or run the job from the beginning: rekindle rerun -i " in done.err
    checked = steps("store", "check", "--deep")
    assert checked.code != 0
    for name in ("1.partial/0/a", "1.partial/1/b", "2.partial/0/t"):
        assert f"its copy is gone: {steps.folder}/.rekindle/attempts/0000/00/{name}" in checked.out
    assert len(steps("attempts", "list", "--json").json["attempts"]) == 2
    assert steps("rerun", "-s", "failed", "--from", "beginning", "--yes", "--work").code == 0
    assert (steps.folder / "a").read_text() == "one\n"
    assert steps("store", "check", "--deep").code == 0


def test_an_attempt_whose_copies_go_meanwhile_does_not_start(steps):
    (steps.folder / "ok").touch()
    assert steps("rerun", "-s", "failed", "--from", "failed-step", "--yes").code == 0
    remove_copies(steps)
    assert "its copy is gone" in steps("store", "check", "--deep").out
    assert steps("work").code == 2
    for one in steps("attempts", "list", "--live", "--json").json["attempts"]:
        assert one["cause"] == "start"
        assert "its copy is gone" in one["error"]["message"]
    assert not (steps.folder / "b").exists()
    done = steps("rerun", "steps", "--from", "failed-step", "--yes")  # builds on the attempt that did not start
    assert (done.code, "its copy is gone" in done.err) == (1, True)


def test_an_output_that_a_later_attempt_put_back_and_removed_is_not_missed(shell):
    shell.write("""\
        name: s
        jobs:
          s:
            partial: aside
            outputs: {o: o}
            steps:
              - {name: one, run: "echo one > o"}
              - {name: two, run: "test ! -e begun || rm o; touch begun; exit 1"}
        """)
    assert shell("run", "spec.yaml").code == 2
    assert shell("rerun", "s", "--from", "two", "--yes", "--work").code == 2
    assert shell("store", "check", "--deep").code == 0
    (shell.folder / "begun").unlink()
    assert shell("rerun", "s", "--from", "two", "--yes", "--work").code == 2
    [last] = shell("attempts", "list", "--live", "--json").json["attempts"]
    assert last["cause"] == "exit"


def test_a_copy_that_was_moved_to_its_place_by_hand_is_taken(steps):
    (steps.folder / "ok").touch()
    place = steps.folder / ".rekindle/attempts/0000/00/1.partial"
    (place / "0/a").rename(steps.folder / "a")
    (place / "1/b").rename(steps.folder / "b")
    assert steps("rerun", "steps", "--from", "failed-step", "--yes", "--work").code == 0
    assert (steps.folder / "a").read_text() == "one\n"


def test_undo_of_a_resume_leaves_them_aside(steps):
    assert steps("rerun", "steps", "--from", "failed-step", "--yes").code == 0
    assert steps("undo").code == 0
    assert not (steps.folder / "a").exists()
    (steps.folder / "ok").touch()
    assert steps("rerun", "steps", "--from", "failed-step", "--yes", "--work").code == 0
    assert (steps.folder / "a").read_text() == "one\n"


def test_accepting_a_part_of_a_fan_out_gets_the_outputs_back(steps):
    assert steps("rerun", "items", "--accept-partial", "--yes", "--work").code == 0
    assert (steps.folder / "t/1").read_text() == "1\n"


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second file system")
def test_outputs_are_set_aside_on_another_file_system(shell, monkeypatch):
    store = tempfile.mkdtemp(dir="/dev/shm")
    monkeypatch.setenv("REKINDLE_STORE", f"{store}/store")
    try:
        shell.write(STEPS)
        assert shell("run", "spec.yaml").code == 2
        assert [path.name for path in shell.folder.iterdir()] == ["spec.yaml"]
        for several in left(shell).values():
            assert all(one["aside"].startswith(store) for one in several)
        (shell.folder / "ok").touch()
        assert shell("rerun", "-s", "failed", "--from", "failed-step", "--yes", "--work").code == 0
        assert (shell.folder / "t/1").read_text() == "1\n"
        assert sorted(path.name for path in shell.folder.iterdir()) == ["a", "b", "ok", "spec.yaml", "t"]
    finally:
        shutil.rmtree(store)


def test_nothing_is_set_aside_through_a_link_that_the_job_left(shell, tmp_path):
    (tmp_path / "outside").mkdir()
    shell.write("""\
        name: s
        jobs:
          a: {run: 'ln -s "$PWD/outside" "$REKINDLE_DIR.partial"; echo x > o; exit 1', outputs: {o: o}, partial: aside}
        """)
    assert shell("run", "spec.yaml").code == 2
    assert list((tmp_path / "outside").iterdir()) == []
    [output] = left(shell)["a"]
    assert (output["aside"], (shell.folder / "o").read_text()) == (None, "x\n")
    assert output["stays"].endswith("1.partial is a symbolic link")
    assert "left there: " in shell("attempts", "show", "1").out


def test_where_partial_outputs_go_makes_nothing_stale(steps):
    (steps.folder / "ok").touch()
    assert steps("rerun", "-s", "failed", "--yes", "--work").code == 0
    steps.write(STEPS.replace("aside", "keep"))
    done = steps("run", "spec.yaml")
    assert done.code == 0
    assert len(steps("attempts", "list", "--json").json["attempts"]) == 4


@pytest.mark.parametrize("where", ["defaults: {partial: X}\njobs: {a: {run: x}}", "jobs: {a: {run: x, partial: X}}"])
def test_another_word_is_refused_with_both_names(shell, where):
    shell.write(f"name: s\n{where.replace('X', 'away')}\n")
    done = shell("run", "spec.yaml")
    assert done.code == 1
    assert "`partial` must be keep or aside, and is 'away'" in done.err
