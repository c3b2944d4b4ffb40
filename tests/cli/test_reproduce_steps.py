"""`rekindle reproduce --pdb` in a terminal, virtual environments, and a store in PostgreSQL."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_shell import Shell

from rekindle.journal.processes import wait_readable
from stores import new_store_url

SPEC = """\
name: debug
jobs:
  call: {call: "fits:fit", args: {alpha: 9}}
  script: {run: "python -u broken.py 7"}
  steps:
    steps:
      - {name: first, run: "echo 3 > three.txt; cat three.txt > $REKINDLE_RESULT"}
      - {name: second, call: "fits:root", args: {value: "${steps.first.result}"}}
"""

FITS = """\
def fit(alpha):
    low = alpha - 10
    return root(low)


def root(value):
    with open("three.txt") as file:
        known = int(file.read())
    if value < known + 1:
        raise ValueError(f"{value} is too low")
    return value
"""

_SECONDS = 60


class Terminal:
    """A program in a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process, self._fd = process, fd
        self.output = ""

    def shows(self, text: str) -> None:
        """Wait until the program has printed a text."""
        limit = time.monotonic() + _SECONDS
        while not re.search(text, self.output):
            assert time.monotonic() < limit, self.output
            if wait_readable((self._fd,), 0.2):
                try:
                    self.output += os.read(self._fd, 1 << 16).decode(errors="replace")
                except OSError:  # the program has ended
                    assert re.search(text, self.output), self.output

    def type(self, text: str) -> None:
        """Forget what was printed, and type a line."""
        self.output = ""
        os.write(self._fd, f"{text}\n".encode())


@contextmanager
def terminal(words: Sequence[str]) -> Iterator[Terminal]:
    own, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "rekindle", *words], stdin=other, stdout=other, stderr=other, start_new_session=True
    )
    os.close(other)
    try:
        yield Terminal(process, own)
    finally:
        process.kill()
        process.wait()
        os.close(own)


@pytest.fixture
def debugged(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("scratch")))
    monkeypatch.setattr("tempfile.tempdir", None)
    (shell.folder / "fits.py").write_text(FITS)
    (shell.folder / "three.txt").write_text("3\n")
    (shell.folder / "broken.py").write_text("import sys\nvalue = int(sys.argv[1])\nprint(1 / (value - 7))\n")
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 2
    return shell


def attempt_of(shell: Shell, job: str) -> str:
    return str(shell("attempts", "list", job, "--json").json["attempts"][0]["id"])


def test_pdb_stops_in_the_first_line_and_where_a_call_raises(debugged: Shell) -> None:
    with terminal(["reproduce", attempt_of(debugged, "call"), "--pdb"]) as shown:
        shown.shows(r"low = alpha - 10\r\n\(Pdb\) ")
        shown.type("p alpha + 100")
        shown.shows(r"109\r\n\(Pdb\) ")
        shown.type("next")
        shown.shows(r"return root\(low\)\r\n\(Pdb\) ")
        shown.type("continue")
        shown.shows(r"ValueError: -1 is too low[^$]*post-mortem[^$]*\(Pdb\) ")
        shown.type("p known")
        shown.shows(r"3\r\n\(Pdb\) ")
        shown.type("up")
        shown.shows(r"fit\(\)[^$]*\(Pdb\) ")
        shown.type("p low")
        shown.shows(r"-1\r\n\(Pdb\) ")
        shown.type("q")
        assert shown.process.wait(_SECONDS) == 0


def test_leaving_the_debugger_is_not_a_return_of_the_function(debugged: Shell) -> None:
    with terminal(["reproduce", attempt_of(debugged, "call"), "--pdb"]) as shown:
        shown.shows(r"low = alpha - 10\r\n\(Pdb\) ")
        shown.type("q")
        shown.shows("The debugger was left")
        assert shown.process.wait(_SECONDS) == 0


def test_pdb_of_a_python_command_debugs_its_script(debugged: Shell) -> None:
    with terminal(["reproduce", attempt_of(debugged, "script"), "--pdb"]) as shown:
        shown.shows(r"broken.py\(1\)<module>\(\)[^$]*\(Pdb\) ")
        shown.type("continue")
        shown.shows(r"ZeroDivisionError[^$]*\(Pdb\) ")
        shown.type("p value")
        shown.shows(r"7\r\n\(Pdb\) ")
        shown.type("q")


def test_pdb_of_a_later_step_runs_the_steps_before_it(debugged: Shell) -> None:
    (debugged.folder / "three.txt").unlink()
    with terminal(["reproduce", attempt_of(debugged, "steps"), "--pdb", "--step", "second"]) as shown:
        shown.shows(r"with open\(.three.txt.\) as file[^$]*\(Pdb\) ")
        shown.type("p value")
        shown.shows(r"3\r\n\(Pdb\) ")
        shown.type("continue")
        shown.shows(r"ValueError: 3 is too low[^$]*\(Pdb\) ")
        shown.type("q")
        assert shown.process.wait(_SECONDS) == 0
    assert not (debugged.folder / "three.txt").exists()


def test_drift_asks_on_a_terminal(debugged: Shell) -> None:
    (debugged.folder / "broken.py").write_text("print('mended')\n")
    with terminal(["reproduce", attempt_of(debugged, "script")]) as shown:
        shown.shows(r"broken.py[^$]*Run it with these\?")
        shown.type("n")
        assert shown.process.wait(_SECONDS) == 1
    with terminal(["reproduce", attempt_of(debugged, "script")]) as shown:
        shown.shows(r"Run it with these\?")
        shown.type("y")
        shown.shows(r"state differs: failed -> completed")
        assert shown.process.wait(_SECONDS) == 0


def test_a_virtual_environment_of_the_project_is_brought(debugged: Shell) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "env"], check=True, cwd=debugged.folder)
    site = next((debugged.folder / "env" / "lib").glob("python*/site-packages"))
    (site / "inside.py").write_text("WORD = 'inside'\n")
    debugged.write(
        "name: venv\njobs:\n  one:\n    run: env/bin/python -c 'import inside; print(inside.WORD)' > ${outputs.o}\n"
        "    outputs: {o: o.txt}\n",
        "venv.yaml",
    )
    assert debugged("run", "venv.yaml").code == 0
    (site / "inside.py").write_text("WORD = 'inside'\n")
    done = debugged("reproduce", attempt_of(debugged, "one"), "--json")
    assert (done.code, done.json["same"]) == (0, True), done


def test_a_store_in_postgresql_is_a_source_like_any_other(
    debugged: Shell, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = new_store_url(postgres_server, tmp_path_factory.mktemp("spool"))
    debugged.write("name: pg\njobs:\n  one: {run: 'echo x > ${outputs.o}', outputs: {o: o.txt}}\n", "pg.yaml")
    assert debugged("--store", url, "run", "pg.yaml").code == 0
    (debugged.folder / "o.txt").write_text("mine\n")
    attempt = str(debugged("--store", url, "attempts", "list", "--json").json["attempts"][0]["id"])
    done = debugged("--store", url, "reproduce", attempt, "--json")
    assert (done.code, done.json["same"]) == (0, True), done
    assert (debugged.folder / "o.txt").read_text() == "mine\n"
    done = debugged("--store", url, "verify", "one", "--json")
    assert [one["outcome"] for one in done.json["jobs"]] == ["reproducible"], done
    flaky = debugged("--store", url, "flaky", "--all-jobs", "--json").json["flaky"]
    assert [one["verified"]["outcome"] for one in flaky] == ["reproducible"]
    assert Path(debugged.folder, "o.txt").read_text() == "mine\n"


STEPS = """\
name: printed
jobs:
  fails: {steps: [{name: one, run: "exit 3"}, {name: two, run: echo SECOND}]}
  result:
    steps:
      - {name: one, run: "echo 1 > $REKINDLE_RESULT; exit 4"}
      - {name: two, run: "echo ${steps.one.result.x}"}
  passes: {steps: [{name: one, run: echo FIRST}, {name: two, run: echo SECOND}]}
  last: {steps: [{name: one, run: echo FIRST}, {name: two, run: "exit 5"}]}
  items:
    steps:
      - {name: one, run: echo FIRST}
      - {name: each, each: [1, 2], run: "echo ${item}0 > $REKINDLE_RESULT"}
      - {name: two, run: 'echo "$REKINDLE_INPUTS" ${steps.each.result}'}
  only: {steps: [{name: each, each: [1, 2], run: "echo ${item}"}]}
  none: {steps: [{name: each, each: "none*", run: "echo ${item}"}, {name: two, run: echo SECOND}]}
  empty: {steps: [{name: each, each: "none*", run: "echo ${item}"}]}
"""


@pytest.fixture
def printed(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("scratch")))
    monkeypatch.setattr("tempfile.tempdir", None)
    shell.write(STEPS)
    assert shell("run", "spec.yaml").code == 2
    return shell


def ran(shell: Shell, job: str, *words: str) -> tuple[int, str, str]:
    """How the printed script of an attempt ends: exit code, stdout and stderr."""
    script = shell("reproduce", attempt_of(shell, job), "--print", *words).out
    done = subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True, timeout=_SECONDS)
    return done.returncode, done.stdout, done.stderr


def test_a_printed_script_ends_as_the_attempt_did(printed: Shell) -> None:
    assert ran(printed, "fails") == (3, "", "")
    assert ran(printed, "result")[:2] == (4, ""), "the second step has no command without the result of the first"
    assert ran(printed, "passes") == (0, "FIRST\nSECOND\n", "")
    assert ran(printed, "last") == (5, "FIRST\n", "")


def test_a_printed_script_stops_at_a_fan_out_and_says_how_to_go_on(printed: Shell) -> None:
    for job, out in (("items", "FIRST\n"), ("only", "")):
        code, shown, error = ran(printed, job)
        assert (code, shown) == (1, out)
        assert "step each is a fan-out: --subtask K prints an item" in error
    assert ran(printed, "only", "--subtask", "1") == (0, "2\n", "")
    found = printed("reproduce", attempt_of(printed, "items"), "--print", "--json").json
    assert [one["step"] for one in found["steps"]] == ["one", "two"]
    assert "step each is a fan-out" in found["notes"][-1]


def test_a_printed_step_behind_a_fan_out_has_the_results_of_its_items(printed: Shell) -> None:
    items = '{"items":[{"item":1,"result":10},{"item":2,"result":20}]}'
    assert ran(printed, "items", "--step", "two") == (0, f'{{"each":{items}}} {items}\n', "")


def test_a_printed_script_passes_a_fan_out_without_items(printed: Shell) -> None:
    assert ran(printed, "none") == (0, "SECOND\n", "")
    assert ran(printed, "empty") == (0, "", "")


def test_a_printed_script_that_is_pasted_leaves_the_shell_open(printed: Shell) -> None:
    for job in ("fails", "items"):
        script = printed("reproduce", attempt_of(printed, job), "--print").out
        done = subprocess.run(
            ["sh"], input=f"{script}echo after\n", check=False, capture_output=True, text=True, timeout=_SECONDS
        )
        assert done.stdout.endswith("after\n")


def test_a_shell_behind_a_fan_out_has_the_results_of_its_items(printed: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    script = printed.folder / "shell"
    script.write_text(f'#!/bin/sh\necho "$REKINDLE_INPUTS" > "{printed.folder}/seen"\n')
    script.chmod(0o755)
    monkeypatch.setenv("SHELL", str(script))
    assert printed("reproduce", attempt_of(printed, "items"), "--shell", "--step", "two").code == 0
    items = '{"items":[{"item":1,"result":10},{"item":2,"result":20}]}'
    assert (printed.folder / "seen").read_text() == f'{{"each":{items}}}\n'
