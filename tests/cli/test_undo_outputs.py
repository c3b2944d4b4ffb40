"""`undo` after `--keep-outputs` restores missing outputs, replaces none, and writes nothing outside the project."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from cli_shell import Shell

SPEC = """\
name: s
jobs:
  make:
    run: "mkdir -p d/in t/deep; echo job > d/in/out; echo x > t/x; echo y > t/deep/y; ln -sfn x t/link; ln -sfn t/x l"
    outputs: {file: d/in/out, tree: t, link: l}
"""


@pytest.fixture
def project(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A project that is reached through a symbolic link, whose outputs a rerun has saved."""
    (tmp_path / "real").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/out").write_text("precious")
    (tmp_path / "project").symlink_to("real")
    shell.folder = tmp_path / "project"
    monkeypatch.chdir(shell.folder)
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 0
    assert shell("rerun", "make", "--keep-outputs", "--yes").code == 0
    return shell


def state_of(folder: Path) -> dict[str, object]:
    """Every file below a folder: its inode, the target of a link, the content of a file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if ".rekindle" in path.parts:
            continue
        content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path)] = (path.lstat().st_ino, content)
    return found


def replace(path: Path, how: str) -> None:
    subprocess.run(["rm", "-rf", path], check=True)
    outside = path.parent
    while not (outside / "outside").exists():
        outside = outside.parent
    outside /= "outside"
    match how:
        case "file":
            path.write_text("mine")
        case "equal size":
            path.write_text("new\n")
        case "hard link":
            os.link(outside / "out", path)
        case "link to a folder":
            path.symlink_to(outside)
        case "link to a file":
            path.symlink_to(outside / "out")
        case "dangling link":
            path.symlink_to(outside / "new")
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                here = Path.cwd()
                os.chdir(path.parent)
                bound.bind(path.name)
                os.chdir(here)


WAYS = (
    "file",
    "equal size",
    "hard link",
    "link to a folder",
    "link to a file",
    "dangling link",
    "folder",
    "fifo",
    "socket",
)


@pytest.mark.parametrize("name", ["d/in/out", "d/in", "d", "t", "t/deep", "l"])
def test_what_is_in_an_outputs_place_refuses_the_undo(project, tmp_path, name):
    (project.folder / "t/x").unlink()  # would be restored alone
    for how in WAYS:
        if how == "folder" and name in ("d", "d/in", "t", "t/deep"):
            continue  # an empty folder does not prevent it
        replace(project.folder / name, how)
        before = state_of(tmp_path)
        done = project("undo")
        assert done.code == 1, how
        assert f"{project.folder.resolve()}/{name}" in done.err
        assert "nothing was undone" in done.err
        assert "away, then undo again: mv " in done.err
        assert state_of(tmp_path) == before
    assert project("jobs", "list", "--json").json["jobs"][0]["state"] == "ready"
    replace(project.folder / name, "nothing")
    assert project("undo").code == 0
    assert (project.folder / "d/in/out").read_text() == "job\n"
    assert (tmp_path / "outside/out").read_text() == "precious"
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["out"]


def test_everything_that_is_gone_comes_back_as_it_was(project):
    subprocess.run(["rm", "-r", "d", "t", "l"], check=True)
    assert "5 files put back" in project("undo").out
    read = {name: (project.folder / name).read_text() for name in ("d/in/out", "t/x", "t/deep/y")}
    assert read == {"d/in/out": "job\n", "t/x": "x\n", "t/deep/y": "y\n"}
    assert [str((project.folder / name).readlink()) for name in ("l", "t/link")] == ["t/x", "x"]
    assert not [name for _, _, names in os.walk(project.folder) for name in names if "rekindle-" in name]


def test_an_undo_that_fails_in_the_middle_leaves_nothing(project, tmp_path, monkeypatch):
    subprocess.run(["rm", "-r", "d", "t/x"], check=True)
    before = state_of(tmp_path)
    link, calls = os.link, []

    def refused(source: str, name: str, **more: int | bool) -> None:
        calls.append(name)
        if name == "out":
            raise OSError(28, "No space left on device")
        link(source, name, **more)

    monkeypatch.setattr(os, "link", refused)
    done = project("undo")
    assert done.code == 1
    assert "a saved output cannot be put back: No space left on device" in done.err
    assert "nothing was undone" in done.err
    assert len(calls) == 2
    assert state_of(tmp_path) == before


@pytest.mark.parametrize("name", ["d", "d/in", "t"])
def test_outputs_are_not_saved_through_a_link(project, tmp_path, name):
    assert project("undo").code == 0
    (project.folder / name).rename(tmp_path / "elsewhere")
    (project.folder / name).symlink_to(tmp_path / "elsewhere")
    done = project("rerun", "make", "--keep-outputs", "--yes")
    if name == "t":  # an output that is a link is saved as the link it is
        assert done.code == 0
        (project.folder / name).unlink()
        assert project("undo").code == 0
        assert (project.folder / name).readlink() == tmp_path / "elsewhere"
    else:
        assert done.code == 1
        assert f"{project.folder.resolve()}/{name} is a symbolic link" in done.err
        assert "hint: leave out --keep-outputs" in done.err


@pytest.mark.parametrize("declared", ["../outside/made", "{tmp}/outside/made"])
def test_an_output_outside_the_project_is_not_put_back(shell, tmp_path, monkeypatch, declared):
    (tmp_path / "project").mkdir()
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    shell.folder = tmp_path / "project"
    path = declared.format(tmp=tmp_path)
    shell.write(f"name: s\njobs: {{a: {{run: 'echo made > {path}', outputs: {{o: {path}}}}}}}\n")
    assert shell("run", "spec.yaml").code == 0
    assert shell("rerun", "a", "--keep-outputs", "--yes").code == 0
    (tmp_path / "outside/made").unlink()
    done = shell("undo")
    assert done.code == 1
    assert "outside/made lies outside the project" in done.err
    assert list((tmp_path / "outside").iterdir()) == []
    command = done.err.partition("then undo again: ")[2].strip()
    assert command.startswith("cp -a ")
    subprocess.run(command, shell=True, check=True)
    assert shell("undo").code == 0
