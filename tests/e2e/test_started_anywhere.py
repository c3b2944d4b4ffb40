"""Commands in a deleted or inaccessible working directory, without a home, in any locale, and interrupted at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from project_folder import Project

SPEC = "name: s\njobs: {a: {run: echo a}}\n"


@pytest.mark.parametrize(
    "words", [["status"], ["run", "spec.yaml"], ["lpad", "get_wflows"], ["torc", "workflows", "list"]], ids=" ".join
)
def test_a_deleted_working_directory_is_named_in_one_line(project: Project, words: list[str]) -> None:
    gone = project.folder / "gone"
    gone.mkdir()
    command = ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *project.command, *words]
    done = subprocess.run(command, cwd=gone, env=project.env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    first, hint = done.stderr.splitlines()[-2:]  # the shell may have complained before
    assert first == f"rekindle: the working directory {gone} does not exist any more"
    assert hint.strip().startswith("hint: change to another folder: cd ")


def in_a_deleted_folder(project: Project, *command: str) -> subprocess.CompletedProcess[str]:
    gone = project.folder / "gone"
    gone.mkdir()
    words = ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *command]
    return subprocess.run(words, cwd=gone, env=project.env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("words", ["status", "jobs list", "store check", "logs a", "completion bash"])
def test_what_needs_no_working_directory_works_in_a_deleted_one(project: Project, words: str) -> None:
    project.spec(SPEC)
    project.rekindle("run", "spec.yaml")
    store = ("--store", str(project.folder / ".rekindle"))
    done = in_a_deleted_folder(project, *project.command, *store, *words.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("call", ["Client()", "Client('store')", "Workflow('x')"])
def test_a_deleted_working_directory_is_one_error_in_python(project: Project, call: str) -> None:
    text = f"import rekindle\ntry:\n    rekindle.{call}\nexcept rekindle.RekindleError as e:\n    print(e)"
    done = in_a_deleted_folder(project, sys.executable, "-c", text)
    assert "gone does not exist any more" in done.stdout, done.stderr


def test_a_working_directory_that_may_not_be_entered_is_named_in_one_line(project: Project) -> None:
    closed = project.folder / "closed"
    closed.mkdir()
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*powerless, "sh", "-c", 'chmod 0 .; exec "$@"', "sh", *project.command, "status"]
    done = subprocess.run(command, cwd=closed, env=project.env, capture_output=True, text=True, timeout=60, check=False)
    closed.chmod(0o700)
    assert done.returncode == 1
    assert done.stderr.startswith(f"rekindle: the working directory {closed} may not be entered")


@pytest.mark.parametrize(
    ("store", "why"),
    [("~nobody-of-that-name/x", "Could not determine home directory"), ("loop", "Symlink loop")],
)
def test_a_store_s_path_that_leads_nowhere_is_named(project: Project, store: str, why: str) -> None:
    (project.folder / "loop").symlink_to("loop")
    done = project.rekindle("--store", store, "status", expect=64)
    assert f"rekindle: the store's path '{store}' cannot be followed: {why}" in done.stderr


@pytest.mark.parametrize("locale", ["C", "no_SUCH.UTF-8"])
def test_names_beyond_ascii_are_shown_in_every_locale_and_without_a_home(project: Project, locale: str) -> None:
    project.spec("name: süß\njobs:\n  größe: {run: 'echo ß > ö.txt', outputs: {o: ö.txt}}\n")
    kept = {name: value for name, value in project.env.items() if not name.startswith(("LC_", "LANG", "HOME"))}
    project.env = {**kept, "LC_ALL": locale}
    project.rekindle("run", "spec.yaml")
    assert (project.folder / "ö.txt").read_text(encoding="utf-8") == "ß\n"
    assert "süß" in project.rekindle("status").stdout
    assert "größe" in project.rekindle("jobs", "list").stdout


SHOTS = 8
STARTED = "import sys, rekindle.__main__ as m; print(flush=True); sys.exit(m.main())"
"""Printed when rekindle's own code begins. Before that, Python itself shows a traceback on Ctrl-C."""


@pytest.mark.parametrize("words", [["status"], ["why", "--all"], ["--completing"]], ids=" ".join)
def test_ctrl_c_at_any_moment_shows_no_traceback(project: Project, words: list[str]) -> None:
    project.spec(SPEC)
    project.rekindle("run", "spec.yaml")
    if words == ["--completing"]:
        words = []
        project.env |= {"_REKINDLE_COMPLETE": "bash", "_REKINDLE_LINE": "rekindle why a", "_REKINDLE_BREAKS": "="}
    seconds = _whole(project.folder, project.env, words)
    moments = random.Random(13)
    codes = [_shot(project.folder, project.env, words, moments.uniform(0, seconds)) for _ in range(SHOTS)]
    assert set(codes) <= {0, 130, -signal.SIGINT}  # the last while the interpreter ends: 130 in a shell
    assert 130 in codes


def _started(folder: Path, env: dict[str, str], words: list[str]) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", STARTED, *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _whole(folder: Path, env: dict[str, str], words: list[str]) -> float:
    """Return how long the command takes, in seconds."""
    began = time.monotonic()
    _started(folder, env, words).communicate(timeout=60)
    return time.monotonic() - began


def _shot(folder: Path, env: dict[str, str], words: list[str], after: float) -> int:
    """Return the exit code of a command that is interrupted after `after` seconds."""
    process = _started(folder, env, words)
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert said.strip() in ("", "rekindle: interrupted"), said
    return process.returncode
