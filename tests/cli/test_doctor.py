"""`rekindle doctor`: what it finds, that it writes nothing, and that it always ends soon."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_shell import Shell

from rekindle.domain.errors import Refused
from rekindle.engine.doctor import host, services, storage
from rekindle.engine.doctor.all_checks import CHECKS
from rekindle.engine.doctor.findings import Finding, Installation, Status, ok, run_checks
from stores import new_store_url

REKINDLE = str(Path(sys.executable).parent / "rekindle")
SOURCE = Path(host.__file__).parents[2]

SPEC = '{name: s, jobs: {a: {run: "test -e ok"}, b: {run: "true"}}}'


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("REKINDLE_", "SLURM")):
            monkeypatch.delenv(name)


def findings(shell: Shell, *words: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in shell("doctor", "--json", *words).json["checks"]}


def files(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
        if not stat.S_ISFIFO(path.stat().st_mode)
    }


def test_without_a_store_nothing_is_wrong_and_nothing_is_made(shell: Shell) -> None:
    done = shell("doctor")
    assert done.code == 0
    assert re.search(r"^not used  store +there is no store yet", done.out, re.MULTILINE)
    assert "try: rekindle run SPEC" in done.out
    assert not list(shell.folder.iterdir())


def test_each_check_has_one_line_within_80_columns(shell: Shell) -> None:
    shell.write(SPEC)
    shell("run", "spec.yaml")
    done = shell("doctor")
    heads = [line for line in done.out.splitlines() if re.match(r"(ok|warning|problem|not used) ", line)]
    assert [line[10:26].strip() for line in heads] == [name for name, _ in CHECKS]
    assert all(len(line) <= 80 for line in heads if str(shell.folder) not in line)
    assert re.search(r"^\d+ ok, .*in \d+\.\d s$", done.out, re.MULTILINE)


def test_a_sound_store_is_ok_and_stays_as_it_is(shell: Shell) -> None:
    shell.write(SPEC)
    shell("run", "spec.yaml")
    before = files(shell.folder)
    found = findings(shell)
    assert found["store"]["status"] == "ok"
    assert found["store"]["text"].endswith("1 workflow")
    assert found["permissions"]["text"].endswith("private to this user")
    assert {found[name]["status"] for name in ("disk", "runners", "clock", "processes", "python")} == {"ok"}
    assert files(shell.folder) == before


def test_a_store_in_use_is_read_without_waiting(shell: Shell) -> None:
    shell.write('{name: s, jobs: {a: {run: "touch began; while ! test -e go; do sleep 0.05; done"}}}')
    runner = subprocess.Popen([REKINDLE, "run", "spec.yaml"], cwd=shell.folder, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 30
    while not (shell.folder / "began").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    found = findings(shell)
    (shell.folder / "go").touch()
    assert runner.wait(30) == 0
    assert (found["store"]["status"], found["runners"]["text"]) == ("ok", "1 alive")


def test_a_damaged_store_is_a_problem_and_the_other_checks_go_on(shell: Shell) -> None:
    shell.write(SPEC)
    shell("run", "spec.yaml")
    file = shell.folder / ".rekindle" / "store.db"
    content = bytearray(file.read_bytes())
    content[5000:9000] = b"\xff" * 4000
    file.write_bytes(content)
    before = files(shell.folder)
    done = shell("doctor")
    assert done.code == 1
    assert re.search(r"^problem   store", done.out, re.MULTILINE)
    assert re.search(r"^ok        python", done.out, re.MULTILINE)
    assert files(shell.folder) == before


def test_something_else_in_the_place_of_a_store_is_a_problem(shell: Shell) -> None:
    (shell.folder / ".rekindle").mkdir()
    (shell.folder / ".rekindle" / "store.db").write_text("no database")
    assert shell("doctor").code == 1
    assert findings(shell)["runners"]["text"] == "the store cannot be read"


def test_an_older_store_is_not_upgraded(shell: Shell) -> None:
    shell.write(SPEC)
    shell("submit", "spec.yaml")
    file = shell.folder / ".rekindle" / "store.db"
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 7")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = file.read_bytes()
    found = findings(shell)["store"]
    assert found["status"] == "warning"
    assert "has version 7; the next command upgrades it" in found["text"]
    assert file.read_bytes() == before


def test_a_log_that_nobody_has_taken_over_is_left_alone(shell: Shell) -> None:
    shell.write(SPEC)
    shell("submit", "spec.yaml")
    copied = shell.folder / "copied"
    writer = sqlite3.connect(shell.folder / ".rekindle" / "store.db")
    writer.execute("UPDATE job SET priority = 1")
    writer.commit()
    shutil.copytree(shell.folder / ".rekindle", copied, ignore=shutil.ignore_patterns("*-shm", "run"))
    writer.close()
    before = files(copied)
    done = shell("--store", str(copied), "doctor")
    assert "is still in store.db-wal" in " ".join(done.out.split())
    assert files(copied) == before


def test_a_dead_runner_with_attempts_is_named(shell: Shell) -> None:
    shell.write('{name: s, jobs: {a: {run: "touch began; sleep 60"}}}')
    runner = subprocess.Popen([REKINDLE, "run", "spec.yaml"], cwd=shell.folder, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 30
    while not (shell.folder / "began").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    every = psutil.Process(runner.pid).children(recursive=True)
    runner.kill()
    runner.wait()
    found = findings(shell)["runners"]
    for one in every:
        one.kill()
    assert found["status"] == "warning"
    assert found["text"].startswith(f"runner 1 (pid {runner.pid} on ")
    assert found["todo"] == "rekindle work"


def test_a_folder_that_others_may_read_is_named(shell: Shell) -> None:
    shell.write(SPEC)
    shell("submit", "spec.yaml")
    (shell.folder / ".rekindle").chmod(0o755)
    found = findings(shell)["permissions"]
    assert found["status"] == "warning"
    assert found["todo"] == f"chmod 700 {shell.folder / '.rekindle'}"


def test_a_misspelt_variable_gets_a_suggestion(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_STORES", "/x")
    found = findings(shell)["variables"]
    assert found["status"] == "warning"
    assert found["text"] == "nothing reads REKINDLE_STORES"
    assert "did you mean `REKINDLE_STORE`?" in found["todo"]


def test_a_wrong_value_of_a_variable_is_a_problem() -> None:
    found = dict(CHECKS)["variables"]
    [checked] = run_checks([("variables", found)], Installation(None, environment={"REKINDLE_DURABILITY": "most"}))
    assert checked.finding == Finding(Status.PROBLEM, "REKINDLE_DURABILITY is 'most'", "it is normal or full")


def test_every_variable_of_the_source_is_known() -> None:
    named = {name for path in SOURCE.rglob("*.py") for name in re.findall(r"\bREKINDLE_[A-Z_]*[A-Z]", path.read_text())}
    assert named <= {*host.VARIABLES, *host.OF_JOBS}


def test_completion_is_found_where_it_is_installed(tmp_path: Path) -> None:
    home = {"SHELL": "/usr/bin/fish", "HOME": str(tmp_path)}
    missing = host.check_completion(Installation(None, environment=home))
    assert missing.status is Status.NOT_USED
    typed = missing.todo  # in a home without the folder
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["sh", "-ec", typed], env={**os.environ, **home, "PATH": path}, check=True)
    script = tmp_path / ".config/fish/completions/rekindle.fish"
    assert script.stat().st_size > 0
    script.unlink()
    again = host.check_completion(Installation(None, environment=home))
    assert again.todo == "rekindle completion fish > ~/.config/fish/completions/rekindle.fish"
    script.touch()
    assert host.check_completion(Installation(None, environment=home)).status is Status.OK


def test_a_port_that_is_taken_is_named(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = findings(shell, "--port", str(port))["console"]
    assert found["status"] == "warning"
    assert found["todo"] == f"rekindle serve --port {port + 1}"


@pytest.mark.parametrize(
    ("free", "more", "status"),
    [
        (1 << 40, 10**6, "ok"),
        (1 << 40, None, "ok"),
        (1 << 29, None, "warning"),
        (1 << 20, 10**6, "problem"),
        (1 << 40, 500, "problem"),
        (1 << 40, 5_000, "warning"),
    ],
)
def test_a_disk_is_judged_by_bytes_and_inodes(free: int, more: int | None, status: str) -> None:
    assert storage.judge_disk(Path("/d"), free, more).status.value == status


def test_a_clock_that_was_set_back_is_named(shell: Shell) -> None:
    shell.write(SPEC)
    shell("submit", "spec.yaml")
    place = Installation(str(shell.folder / ".rekindle"), clock=lambda: time.time() - 7200)
    found = storage.check_clock(place)
    assert found.status is Status.WARNING
    assert "2h" in found.text.replace(" ", "")


def test_a_check_that_does_not_end_is_a_problem_of_its_own() -> None:
    checks = [("slow", lambda _: time.sleep(60) or ok("late")), ("quick", lambda _: ok("here"))]
    began = time.monotonic()
    slow, quick = run_checks(checks, Installation(None), seconds=2.0)
    assert time.monotonic() - began < 60  # the slow check is not waited for
    assert (slow.finding.status, slow.finding.text) == (Status.PROBLEM, "no answer within 2 s")
    assert quick.finding == ok("here")


def test_an_error_of_a_check_is_its_finding() -> None:
    def fails(_: Installation) -> Finding:
        raise Refused("no", hint="do so")

    [found] = run_checks([("one", fails)], Installation(None))
    assert found.finding == Finding(Status.PROBLEM, "no", "do so")


def test_a_store_in_postgresql(shell: Shell, postgres_server: str) -> None:
    url = new_store_url(postgres_server, shell.folder / "spool")
    shell.write(SPEC)
    assert shell("--store", url, "submit", "spec.yaml").code == 0
    done = {one["name"]: one for one in shell("--store", url, "doctor", "--json").json["checks"]}
    assert done["postgresql"]["status"] == "ok"
    assert re.fullmatch(r"PostgreSQL \S+.* answers in \d+ ms; 1 workflow, spool .*", done["postgresql"]["text"])
    assert done["clock"]["text"] == "equals that of the database server"
    assert done["runners"]["status"] == "ok"


def test_a_server_that_does_not_answer_is_a_problem(shell: Shell) -> None:
    done = shell("--store", "postgresql://u@127.0.0.1:1/db", "doctor", "--json")
    assert done.code == 1
    found = {one["name"]: one for one in done.json["checks"]}
    assert found["postgresql"]["status"] == "problem"
    assert found["runners"]["status"] == "not used"


def test_a_dask_scheduler_answers(shell: Shell, dask: str) -> None:
    found = findings(shell, "--address", dask)["dask"]
    assert found["status"] == "ok"
    assert re.search(r"answers in \d+ ms", found["text"])


def test_a_dask_scheduler_that_is_not_there_is_a_problem() -> None:
    [found] = run_checks([("dask", services.check_dask)], Installation(None, "tcp://127.0.0.1:1"))
    assert found.finding.status is Status.PROBLEM
