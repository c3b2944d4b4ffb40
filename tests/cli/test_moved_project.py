"""A project that is moved, renamed or copied with its store: commands use the folder in which they run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_shell import Shell

SPEC = """\
name: s
params: {v: 1}
jobs:
  a: {run: "cat ${inputs.i}; cat ${inputs.i} > out; echo v=${params.v} >> out", inputs: {i: in}, outputs: {o: out}}
  b: {run: "cp out out2", inputs: {i: out}, outputs: {o: out2}}
  c:
    workdir: attempt
    inputs: {open: gate}
    steps:
      - {name: one, run: "echo part >> part"}
      - {name: two, run: "test -s ${inputs.open} && wc -l < part > whole"}
"""

COMMAND = str(Path(sys.executable).parent / "rekindle")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has run: `a` and `b` completed, `c` failed in its second step."""
    folder = tmp_path_factory.mktemp("made") / "orig"
    folder.mkdir()
    for name, text in {"s.yaml": SPEC, "in": "first\n", "gate": ""}.items():
        (folder / name).write_text(text)
    words = [COMMAND, "--store", ".rekindle", "run", "s.yaml"]
    assert subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode == 2
    return folder


def move(orig: Path) -> Path:
    there = orig.parent / "elsewhere"
    there.mkdir()
    return orig.rename(there / "orig")


def rename(orig: Path) -> Path:
    return orig.rename(orig.parent / "renamed")


def copy(orig: Path) -> Path:
    return Path(shutil.copytree(orig, orig.parent / "copy"))


def copy_without_times(orig: Path) -> Path:
    return Path(shutil.copytree(orig, orig.parent / "copy", copy_function=shutil.copyfile))


def copy_and_delete(orig: Path) -> Path:
    there = copy(orig)
    shutil.rmtree(orig)
    return there


def link(orig: Path) -> Path:
    there = orig.parent / "link"
    there.symlink_to(copy(orig))
    return there


WAYS = [move, rename, copy, copy_without_times, copy_and_delete, link]
COPIES = [copy, copy_without_times, link]


class Moved:
    """The original (if it still exists) and the command line in the other folder."""

    def __init__(self, shell: Shell, folder: Path, orig: Path) -> None:
        self.shell, self.folder, self.orig = shell, folder, orig
        self.before = digests(orig)

    def __call__(self, *words: str, expect: int = 0) -> str:
        done = self.shell(*words)
        assert done.code == expect, f"{words}: {done.code}\n{done.out}\n{done.err}"
        assert "/orig/" not in (done.out + done.err).replace("elsewhere/orig", "")
        return done.out + done.err

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def assert_orig_untouched(self) -> None:
        assert digests(self.orig) == self.before


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, by content."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.blake2b(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def moved(request, made: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Moved:
    return go(request.param, made, shell, tmp_path, monkeypatch)


def go(way: Callable[[Path], Path], made: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Moved:
    orig = Path(shutil.copytree(made, tmp_path / "orig"))
    there = way(orig)
    monkeypatch.chdir(there)
    monkeypatch.setenv("PWD", str(there))
    return Moved(shell, there, orig)


def test_all_is_still_current_and_a_run_is_no_new_revision(moved):
    why = moved.shell("why", "--all", "--json").json["jobs"]
    assert [one["verdict"] for one in why] == ["current", "current", "failed"]
    assert "unchanged since revision 1" in moved("run", "s.yaml", expect=2)
    assert moved.shell("restart", "--dry-run", "--json").json["jobs"] == []
    moved.assert_orig_untouched()


def test_an_edited_input_is_seen_where_the_command_is_typed(moved):
    moved.write("in", "second\n")
    assert f"{moved.folder.resolve()}/in" in moved("why", "a")
    moved("restart", "--yes", "--work")
    assert moved.read("out2") == "second\nv=1\n"
    moved.assert_orig_untouched()


def test_a_rerun_writes_where_the_command_is_typed(moved):
    moved("rerun", "a", "--set", "v=2", "--yes", "--work")
    assert moved.read("out2") == "first\nv=2\n"
    (moved.folder / "out").unlink()
    assert "output o is missing" in moved("why", "a")
    moved("reset", "a", "--yes")
    moved("restart", "--only-uninitialized", "--yes", "--work")
    assert moved.read("out") == "first\nv=1\n"
    moved.assert_orig_untouched()


@pytest.mark.parametrize("workdir", ["same", "copy"])
@pytest.mark.parametrize("moved", [rename, copy], indirect=True, ids=lambda way: way.__name__)
def test_a_failed_step_goes_on_in_the_folder_of_the_earlier_attempt(moved, workdir):
    moved.write("gate", "open\n")
    moved("rerun", "c", "--from", "failed-step", "--workdir", workdir, "--yes", "--work")
    attempts = moved.shell("attempts", "list", "c", "--json").json["attempts"]
    last = Path(attempts[-1]["workdir"])
    assert last.is_relative_to(moved.folder.resolve())
    assert (last / "whole").read_text().split() == ["1"]
    assert (attempts[0]["workdir"] == attempts[-1]["workdir"]) is (workdir == "same")
    moved.assert_orig_untouched()


def test_what_is_planned_before_the_move_is_done_after_it(made, shell, tmp_path, monkeypatch):
    orig = Path(shutil.copytree(made, tmp_path / "orig"))
    monkeypatch.chdir(orig)
    (orig / "gate").write_text("open\n")
    assert shell("rerun", "c", "--from", "failed-step", "--workdir", "same", "--yes").code == 0
    moved = Moved(shell, copy(orig), orig)
    monkeypatch.chdir(moved.folder)
    assert str(moved.folder) in shell("reruns", "show", "1", "--json").json["jobs"][0]["folder"]
    moved("work")
    assert list(moved.folder.glob(".rekindle/attempts/*/*/*/whole"))
    assert "undone" in moved("reruns", "list", "--json")
    moved.assert_orig_untouched()


def test_a_saved_plan_is_for_the_folder_in_which_it_is_applied(made, shell, tmp_path, monkeypatch):
    orig = Path(shutil.copytree(made, tmp_path / "orig"))
    monkeypatch.chdir(orig)
    (orig / "gate").write_text("open\n")
    assert shell("rerun", "a", "--keep-outputs", "--save-plan", "a.json").code == 0
    words = ("rerun", "c", "--from", "failed-step", "--workdir", "same", "--save-plan", "c.json")
    assert shell(*words).code == 0
    moved = Moved(shell, copy(orig), orig)
    monkeypatch.chdir(moved.folder)
    moved("apply", "a.json")
    moved("apply", "c.json")
    moved("work")
    assert list(moved.folder.glob(".rekindle/attempts/*/*/*/whole"))
    moved.assert_orig_untouched()


def test_outputs_saved_before_the_move_are_put_back_after_it(made, shell, tmp_path, monkeypatch):
    orig = Path(shutil.copytree(made, tmp_path / "orig"))
    monkeypatch.chdir(orig)
    assert shell("rerun", "a", "--set", "v=2", "--keep-outputs", "--yes").code == 0
    for name in ("out", "out2"):
        (orig / name).unlink()
    moved = Moved(shell, copy(orig), orig)
    monkeypatch.chdir(moved.folder)
    moved("undo")
    assert (moved.read("out"), moved.read("out2")) == ("first\nv=1\n", "first\nv=1\n")
    moved.assert_orig_untouched()


@pytest.mark.parametrize("moved", [rename, link], indirect=True, ids=lambda way: way.__name__)
def test_outputs_are_saved_and_put_back_where_the_command_is_typed(moved):
    moved("rerun", "a", "--keep-outputs", "--yes")
    (moved.folder / "out").unlink()
    moved("undo")
    assert moved.read("out") == "first\nv=1\n"
    moved.assert_orig_untouched()


def test_an_acceptance_goes_along(made, shell, tmp_path, monkeypatch):
    orig = Path(shutil.copytree(made, tmp_path / "orig"))
    monkeypatch.chdir(orig)
    (orig / "in").write_text("other\n")
    assert shell("accept", "a").code == 0
    moved = Moved(shell, copy(orig), orig)
    monkeypatch.chdir(moved.folder)
    assert "stale" not in moved("why", "a")
    moved.write("in", "another\n")
    assert "stale" in moved("why", "a")
    moved("accept", "a")
    assert "stale" not in moved("why", "a")
    moved.assert_orig_untouched()


@pytest.mark.parametrize("moved", [rename, copy], indirect=True, ids=lambda way: way.__name__)
def test_what_is_looked_at_is_here(moved):
    assert moved("logs", "a") == "first\n"
    here = str(moved.folder.resolve())
    assert moved.shell("status", "--json").json["workflows"][0]["directory"] == here
    assert moved.shell("workflows", "show", "s", "--json").json["source"] == f"{here}/s.yaml"
    found = moved.shell("jobs", "list", "-f", f"workdir~^{here}/.rekindle/", "--json").json["jobs"]
    assert [job["name"] for job in found] == ["a", "b", "c"]
    (folder,) = {Path(one["folder"]).parent for one in moved.shell("attempts", "list", "--json").json["attempts"]}
    assert folder == moved.folder.resolve() / ".rekindle/attempts/0000/00"
    document = f'{{"workdir": "{folder}/1"}}'
    assert [one["name"] for one in moved.shell("jobs", "list", "-q", document, "--json").json["jobs"]] == ["a"]
    moved.assert_orig_untouched()


@pytest.mark.parametrize("way", COPIES, ids=lambda way: way.__name__)
def test_the_original_goes_on_beside_its_copy(way, made, shell, tmp_path, monkeypatch):
    moved = go(way, made, shell, tmp_path, monkeypatch)
    moved("rerun", "a", "--set", "v=2", "--yes", "--work")
    monkeypatch.chdir(moved.orig)
    assert "current" in shell("why", "a").out
    assert shell("rerun", "a", "--set", "v=3", "--yes", "--work").code == 0
    assert (moved.orig / "out2").read_text() == "first\nv=3\n"
    assert moved.read("out2") == "first\nv=2\n"


def test_a_project_below_the_stores_parent_goes_along(shell, tmp_path, monkeypatch):
    sub = tmp_path / "all" / "sub"
    sub.mkdir(parents=True)
    (sub / "s.yaml").write_text('name: s\njobs: {a: {run: "cp in out; pwd", inputs: {i: in}, outputs: {o: out}}}\n')
    (sub / "in").write_text("1\n")
    monkeypatch.chdir(tmp_path / "all")
    assert shell("--store", ".rekindle", "run", "sub/s.yaml").code == 0
    (tmp_path / "all").rename(tmp_path / "others")
    monkeypatch.chdir(tmp_path / "others" / "sub")
    assert "unchanged since revision 1" in shell("run", "s.yaml").err
    assert shell("rerun", "a", "--yes", "--work").code == 0
    assert shell("logs", "a").out == f"{tmp_path}/others/sub\n"


def test_an_input_outside_stays_where_it_is(shell, tmp_path, monkeypatch):
    (tmp_path / "p").mkdir()
    (tmp_path / "data").write_text("1\n")
    spec = f'name: s\njobs: {{a: {{run: "cp ../data out", inputs: {{i: ../data, j: {tmp_path}/data}}}}}}\n'
    (tmp_path / "p" / "s.yaml").write_text(spec)
    monkeypatch.chdir(tmp_path / "p")
    assert shell("run", "s.yaml").code == 0
    (tmp_path / "p").rename(tmp_path / "q")
    monkeypatch.chdir(tmp_path / "q")
    assert "stale" not in shell("why", "a").out
    (tmp_path / "data").write_text("2\n")
    assert shell("why", "a").out.count(f"{tmp_path}/data") == 2


def test_a_store_shared_by_a_project_and_its_copy_knows_the_first(made, shell, tmp_path, monkeypatch):
    for name in ("one", "two"):
        shutil.copytree(made, tmp_path / name, ignore=shutil.ignore_patterns(".rekindle"))
    monkeypatch.setenv("REKINDLE_STORE", str(tmp_path / "store" / "here"))
    monkeypatch.chdir(tmp_path / "one")
    assert shell("run", "s.yaml").code == 2
    monkeypatch.chdir(tmp_path / "two")
    refused = shell("run", "s.yaml")
    assert refused.code == 1
    assert f"from another folder, {tmp_path}/one" in refused.err
    assert "--as NAME" in refused.err
    for words in ("rerun a --dry-run", "why a", "reset a --dry-run", "accept a", "restart --dry-run"):
        assert f"note: s runs in {tmp_path}/one, not here" in shell(*words.split()).err
    monkeypatch.chdir(tmp_path / "one")
    assert "not here" not in shell("why", "a").err


@pytest.fixture
def outside(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A store with two workflows, one without its folder."""
    monkeypatch.setenv("REKINDLE_STORE", str(tmp_path / "stores" / "one"))
    for name in ("gone", "here"):
        (tmp_path / name).mkdir()
        spec = f'name: {name}\njobs: {{{name}: {{run: "echo {name} >> out", outputs: {{o: out}}}}}}\n'
        (tmp_path / name / "s.yaml").write_text(spec)
        assert shell("run", f"{name}/s.yaml").code == 0
        assert shell("rerun", name, "--keep-outputs", "--yes").code == 0
    (tmp_path / "gone").rename(tmp_path / "away")
    return shell


@pytest.mark.parametrize(
    "words",
    ["rerun gone --yes", "restart gone --yes", "reset gone --yes", "accept gone", "work -w gone", "undo 1"],
)
def test_what_needs_a_missing_folder_is_refused(outside, tmp_path, words):
    done = outside(*words.split())
    assert done.code == 1
    assert f"the folder of workflow 'gone' is missing: {tmp_path}/gone" in done.err
    assert "hint: put it back there" in done.err
    assert done.err.count("is missing:") == 1
    assert not (tmp_path / "gone").exists()


def test_work_runs_the_others_and_names_what_it_cannot_start(outside, tmp_path):
    done = outside("work")
    assert done.code == 1
    assert f"gone can never start here: its workflow's folder is missing: {tmp_path}/gone" in done.err
    assert "ran: 1 completed" in done.err
    states = {job["name"]: (job["state"], job["attempts"]) for job in outside("jobs", "list", "--json").json["jobs"]}
    assert states == {"gone": ("ready", 1), "here": ("completed", 2)}
    (tmp_path / "away").rename(tmp_path / "gone")
    assert outside("work").code == 0
    assert (tmp_path / "gone" / "out").read_text() == "gone\ngone\n"


def test_looking_shows_what_is_known_and_names_the_missing_folder(outside, tmp_path):
    assert f"its folder is missing: {tmp_path}/gone" in outside("status").out
    assert outside("status", "-w", "gone", "--json").json["workflows"][0]["spec"] == "no_folder"
    done = outside("why", "gone")
    assert done.code == 0
    assert f"gone: its folder is missing: {tmp_path}/gone" in done.err
    assert outside("logs", "here").code == outside("attempts", "list", "gone").code == 0
    run = outside("run", "away/s.yaml")
    assert run.code == 1
    assert f"from another folder, {tmp_path}/gone, which is missing" in run.err


def test_a_workflow_of_python_is_the_same_after_a_move(shell, tmp_path, monkeypatch):
    (tmp_path / "p").mkdir()
    script = 'from rekindle import Workflow\nw = Workflow("s")\nw.job("a", run="pwd")\nw.run()\n'
    (tmp_path / "p" / "w.py").write_text(script)
    for folder in ("p", "q"):
        done = subprocess.run(
            [sys.executable, "w.py"], cwd=tmp_path / folder, capture_output=True, text=True, check=False, env=os.environ
        )
        assert done.returncode == 0, done.stderr
        if folder == "p":
            (tmp_path / "p").rename(tmp_path / "q")
    monkeypatch.chdir(tmp_path / "q")
    assert shell("status", "--json").json["workflows"][0]["revision"] == 1
