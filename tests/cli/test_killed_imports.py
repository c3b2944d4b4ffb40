"""`rekindle import` whose process is killed: at each file that it touches, and what then is left, found and removed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_shell import Shell

from rekindle.cli.main import main
from rekindle.files.digests import digest_of
from rekindle.journal.import_drafts import DraftFile, ImportDraft, recorded, unfinished

SPEC = """\
name: sweep
jobs:
  prepare: {run: "cp raw.csv ${outputs.data}; echo prepared", inputs: {raw: raw.csv}, outputs: {data: data.txt}}
  own: {workdir: attempt, run: "echo kept > ${outputs.o}", outputs: {o: o.txt}}
"""
SEAMS = {"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.chmod", "os.utime"}


@pytest.fixture
def bundle(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A folder with a store, and in it `b`: a workflow with its files."""
    (shell.folder / "raw.csv").write_text("1,2\n")
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 0
    (shell.folder / "there").mkdir()
    assert shell("export", "sweep", "-o", "there/b", "--inputs", "--outputs").code == 0
    monkeypatch.chdir(shell.folder / "there")
    monkeypatch.setenv("REKINDLE_STORE", str(shell.folder / "there" / ".rekindle"))
    shell.write("name: other\njobs: {one: {run: 'true'}}\n", "there/other.yaml")
    assert shell("run", "other.yaml").code == 0
    return shell


def import_and_die(after: int) -> int:
    """Import `b` in a process of its own that is killed before it touches a file in this folder once more than `after`
    times. Return how often it did so, if it has ended by itself, else -1."""
    here = str(Path.cwd())
    read, write = os.pipe()
    child = os.fork()
    if not child:
        count = 0

        def hook(event: str, args: tuple[object, ...]) -> None:
            nonlocal count
            if event not in SEAMS:
                return
            path = args[0]
            relative = isinstance(path, str | bytes | os.PathLike) and not os.fsdecode(path).startswith("/")
            if relative or str(path).startswith(here):
                count += 1
                if count > after:
                    os.kill(os.getpid(), signal.SIGKILL)

        code = 99
        signal.alarm(120)
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.addaudithook(hook)
            code = main(["import", "b"])
            os.write(write, str(count).encode())
        finally:
            os._exit(code)
    os.close(write)
    with open(read, "rb") as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return -1
    assert os.WEXITSTATUS(status) == 0
    return int(text)


def files() -> dict[str, bytes]:
    """The files here by path, without the database and what else is not of imports; of folders the empty content."""
    found = {}
    for path in sorted(Path.cwd().rglob("*")):
        name = str(path.relative_to(Path.cwd()))
        if not name.startswith(".rekindle/") or name.startswith((".rekindle/attempts/", ".rekindle/imports/")):
            found[name] = path.read_bytes() if path.is_file() else b""
    shards = [name for name in found if name.startswith(".rekindle/attempts/") and Path(name).is_dir()]
    return {name: content for name, content in found.items() if name not in shards or any(Path(name).iterdir())}


def test_wherever_an_import_is_killed_its_files_are_found_and_removed(bundle: Shell) -> None:
    before, after, left = files(), 0, 0
    while import_and_die(after) < 0:
        after += 1
        if bundle("workflows", "show", "sweep").code == 0:
            break
        checked = bundle("store", "check", "--json")
        kinds = {one["kind"] for one in checked.json["problems"]}
        changed = {name for name in files() if name not in before and not name.endswith(".new")}
        assert kinds == ({"import"} if changed - {".rekindle/imports"} else set()), changed
        left += bool(kinds)
        assert bundle("store", "vacuum").code == 0
        now = {name: content for name, content in files().items() if not name.startswith(".rekindle/imports")}
        assert now == before
    assert left > 5
    assert bundle("store", "vacuum").code == 0
    assert bundle("workflows", "show", "sweep").code == 0
    assert (Path("sweep") / "data.txt").read_text() == "1,2\n"
    assert bundle("store", "check", "--deep").code == 0


def killed_with(name: str) -> None:
    """Import until a process was killed after it has written this file of the project."""
    after = 0
    while not (Path("sweep") / name).exists():
        assert import_and_die(after) < 0
        if not (Path("sweep") / name).exists():
            assert main(["store", "vacuum"]) == 0
        after += 1


def test_the_next_import_removes_what_a_killed_one_has_left(bundle: Shell) -> None:
    killed_with("data.txt")
    assert list(Path(".rekindle/imports").glob("*.json"))
    done = bundle("import", "b")
    assert done.code == 0, done.err
    assert not list(Path(".rekindle/imports").glob("*.json"))
    assert sorted(path.name for path in Path("sweep").rglob("*")) == ["data.txt", "raw.csv", "spec.yaml"]
    logs = [path for path in Path(".rekindle/attempts").rglob("*.out") if path.read_text() == "prepared\n"]
    assert len(logs) == 1


def test_a_file_that_somebody_has_changed_since_stays(bundle: Shell) -> None:
    killed_with("raw.csv")
    (Path("sweep") / "raw.csv").write_text("3,4\n")
    (Path("sweep") / "mine.txt").write_text("mine\n")
    assert bundle("store", "vacuum").code == 0
    assert {path.name: path.read_text() for path in Path("sweep").iterdir()} == {
        "raw.csv": "3,4\n",
        "mine.txt": "mine\n",
    }
    assert bundle("store", "check").code == 0


def test_what_a_living_import_writes_is_left_alone(bundle: Shell) -> None:
    store = str(Path(".rekindle").absolute())
    path = Path("written").absolute()
    path.write_text("1,2\n")
    draft = ImportDraft("0" * 16, "digest", 10**6, 1, (DraftFile(str(path), 4, digest_of(str(path)), None),), ())
    with recorded(store, draft):
        assert bundle("store", "check").code == 0
        assert bundle("store", "vacuum").code == 0
        assert path.exists()
    assert list(unfinished(store)) == []
