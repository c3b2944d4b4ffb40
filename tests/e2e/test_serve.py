"""A store in SQLite, served over HTTP to pilots: real servers and pilots, which are killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import psutil
import pytest

from project_folder import Project, until
from rekindle.engine.allocation import Allocation
from rekindle.engine.pilot_client import work_for_server
from rekindle.engine.results import WorkOptions
from slurm_cluster import Slurm

MANY = """
name: many
jobs:
  part: {matrix: {k: {range: [0, 200]}}, run: "echo ${matrix.k} >> ran.txt; sleep 0.05"}
  end: {needs: ["part*"], run: "echo end >> ran.txt"}
"""

GATED = '{name: gated, jobs: {long: {run: "echo $$ >> ran.txt; while ! [ -e go ]; do sleep 0.02; done"}}}'


class Served(Project):
    """A project whose store is served, with a token for pilots."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = self.token = ""

    def serve(self, *flags: str, port: int = 0) -> subprocess.Popen[bytes]:
        """Start a server, and wait until it accepts connections."""
        if not self.token:
            self.token = self.rekindle("token", "new", "--scope", "pilot").stdout.strip()
            self.env["REKINDLE_API_TOKEN"] = self.token
        words = ("serve", "--port", str(port), "--pilot-timeout", "3s", *flags)
        output = self.folder / "serve.txt"
        with open(output, "wb") as file:
            server = subprocess.Popen([*self.command, *words], cwd=self.folder, env=self.env, stdout=file, stderr=file)
        self.started.append(server)
        self.url = until(lambda: output.read_text().partition(" at ")[2].partition("\n")[0], "it serves")
        return server

    def pilot(self, *flags: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"pilot-{len(self.started)}.txt", "wb") as file:
            return self.start("work", "--server", self.url, *flags, stderr=file)

    def post(self, path: str, body: bytes, token: str) -> int:
        """Return the status of a request."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def project(tmp_path: Path):
    made = Served(tmp_path)
    yield made
    made.close()
    assert made.ask("store", "check", "--deep")["sound"]


def assert_each_ran_once(project: Project) -> None:
    assert set(project.states().values()) == {"completed"}
    assert [line for line, number in Counter(project.ran()).items() if number > 1] == []
    assert len(project.ran()) == 201


def test_pilots_run_the_jobs_of_a_served_store_and_end(project: Served) -> None:
    project.spec(MANY)
    project.rekindle("submit", "spec.yaml")
    server = project.serve()
    pilots = [project.pilot("-j", "2") for _ in range(2)]
    assert [pilot.wait(timeout=60) for pilot in pilots] == [0, 0]
    assert_each_ran_once(project)
    assert "completed" in (project.folder / "pilot-2.txt").read_text()
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=20) == 0
    assert "Traceback" not in (project.folder / "serve.txt").read_text()


def test_a_server_that_is_killed_and_started_again_loses_and_doubles_nothing(project: Served) -> None:
    project.spec(MANY)
    project.rekindle("submit", "spec.yaml")
    server = project.serve()
    port = int(project.url.rpartition(":")[2])
    pilots = [project.pilot("-j", "2") for _ in range(2)]
    for most in (30, 90):
        until(lambda most=most: len(project.ran()) > most, "some jobs have run")
        server.kill()
        server.wait(timeout=20)
        time.sleep(0.5)  # the pilots notice
        server = project.serve(port=port)
    assert [pilot.wait(timeout=90) for pilot in pilots] == [0, 0]
    assert_each_ran_once(project)


def test_jobs_of_a_pilot_that_is_killed_are_run_by_another(project: Served) -> None:
    project.spec(MANY)
    project.rekindle("submit", "spec.yaml")
    project.serve()
    first, second = project.pilot("-j", "2"), project.pilot("-j", "2")
    until(lambda: len(project.ran()) > 30, "some jobs have run")
    first.kill()
    assert second.wait(timeout=90) == 0
    until(lambda: project.states()["end"] == "completed" or second.poll() is not None, "it is done")
    if project.states()["end"] != "completed":  # what the dead pilot had was found after the other had ended
        assert project.pilot("-j", "2").wait(timeout=60) == 0
    assert_each_ran_once(project)


def test_a_silent_pilot_on_which_jobs_run_is_not_waited_for(project: Served) -> None:
    """All its processes are killed, as with a node. Its job is lost, and runs again elsewhere."""
    project.spec(GATED)
    project.rekindle("submit", "spec.yaml")
    project.serve()
    first = project.pilot()
    until(project.ran, "the job runs")
    processes = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    for process in processes:
        process.kill()
    project.write("go", "")
    second = project.pilot("--watch")
    until(lambda: project.states()["long"] == "completed", "it is run again")
    second.send_signal(signal.SIGTERM)
    second.wait(timeout=30)
    assert [one["cause"] for one in project.attempts()] == ["lost", None]


@pytest.mark.parametrize("way", ["signal", "time"])
def test_a_pilot_ends_what_runs_before_its_allocation_ends(project: Served, way: str) -> None:
    project.spec(GATED)
    project.rekindle("submit", "spec.yaml")
    project.serve()
    pilot = project.pilot(*(["--time-left", "8s", "--grace", "5s"] if way == "time" else ["--time-left", "1h"]))
    until(project.ran, "the job runs")
    if way == "signal":
        pilot.send_signal(signal.SIGTERM)
    assert pilot.wait(timeout=30) == 6
    assert project.states() == {"long": "ready"}
    assert [one["cause"] for one in project.attempts()] == ["canceled"]
    project.write("go", "")
    assert project.pilot().wait(timeout=30) == 0
    assert project.states() == {"long": "completed"}


def test_a_pilot_whose_server_does_not_come_back_ends_its_jobs(project: Served) -> None:
    project.spec(GATED)
    project.rekindle("submit", "spec.yaml")
    server = project.serve()

    def kill() -> None:
        until(project.ran, "the job runs")
        until(lambda: project.states()["long"] == "running", "it is known to run")
        server.kill()

    killer, notes = threading.Thread(target=kill), []
    killer.start()
    options = WorkOptions(slots=1, allocation=Allocation(name="the test"))
    done = work_for_server(project.url, project.token, options, notes.append, away=2.0)
    killer.join()
    server.wait(timeout=20)
    assert done.exit_code == 1
    assert "running jobs end" in notes[-1]
    assert not psutil.pid_exists(int(project.ran()[0]))
    project.write("go", "")
    project.rekindle("work")
    assert [one["cause"] for one in project.attempts()] == ["canceled", None]


def test_each_request_needs_a_token_of_its_scope(project: Served) -> None:
    server = project.serve()
    opening = json.dumps({"host": "h", "name": "n", "slots": 1, "cpus": 1, "memory": 1}).encode()
    reading = project.rekindle("token", "new", "--scope", "read").stdout.strip()
    assert [project.post("pilots", opening, token) for token in ("", "rkt_wrong", reading)] == [401, 403, 403]
    assert project.post("pilots/none/exchange", b"{}", project.token) == 404
    assert project.post("pilots", b"{", project.token) == 400
    assert project.post("pilots", b" " * (17 << 20), project.token) == 413
    assert project.post("pilots", opening, project.token) == 200
    rows = project.ask("token", "list")["tokens"]
    assert [row["scopes"] for row in rows] == [["pilot"], ["read"]]
    assert rows[0]["last_used"]
    assert project.token not in json.dumps(rows)
    assert not [
        path
        for path in (project.folder / ".rekindle").rglob("*")
        if path.is_file() and project.token.encode() in path.read_bytes()
    ]
    project.rekindle("token", "revoke", str(rows[0]["id"]))
    until(lambda: project.post("pilots", opening, project.token) == 403, "it is refused")
    project.rekindle("token", "revoke", str(rows[0]["id"]), expect=1)
    project.rekindle("token", "new", "--scope", "everything", expect=64)
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=20) == 0


def test_a_pilot_whose_token_is_revoked_ends_its_jobs(project: Served) -> None:
    project.spec(GATED)
    project.rekindle("submit", "spec.yaml")
    project.serve()
    pilot = project.pilot()
    until(project.ran, "the job runs")
    project.rekindle("token", "revoke", "1")
    assert pilot.wait(timeout=60) == 1
    assert not psutil.pid_exists(int(project.ran()[0]))
    project.write("go", "")
    project.rekindle("work")
    assert [one["cause"] for one in project.attempts()] == ["canceled", None]


def test_a_server_that_is_read_only_takes_no_pilots(project: Served) -> None:
    project.serve("--read-only")
    done = project.run("work", "--server", project.url)
    assert (done.returncode, "read-only" in done.stderr) == (1, True)


def test_a_token_that_others_may_read_is_refused(project: Served) -> None:
    project.serve()
    file = project.folder / "token"
    file.write_text(project.env.pop("REKINDLE_API_TOKEN"))
    done = project.rekindle("work", "--server", project.url, expect=1)
    assert "rekindle token new" in done.stderr
    file.chmod(0o644)
    done = project.rekindle("work", "--server", project.url, "--token-file", str(file), expect=1)
    assert "chmod 600" in done.stderr
    file.chmod(0o600)
    project.rekindle("work", "--server", project.url, "--token-file", str(file))
    project.rekindle("work", "--server", project.url, "--token-file", str(file), "-n", "x", expect=64)


def test_a_server_runs_jobs_itself_where_asked(project: Served) -> None:
    project.spec("{name: here, jobs: {a: {run: 'true'}}}")
    project.rekindle("submit", "spec.yaml")
    server = project.serve("--work", "-j", "1")
    until(lambda: project.states()["a"] == "completed", "it runs")
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=20) == 0


def test_pilots_in_slurm_work_for_a_server(project: Served, slurm: Slurm) -> None:
    project.env |= {name: slurm.environment[name] for name in ("SLURM_CONF", "PATH")}
    project.spec(MANY)
    project.rekindle("submit", "spec.yaml")
    project.serve()
    del project.env["REKINDLE_API_TOKEN"]
    project.env["REKINDLE_SERVER"] = project.url
    project.rekindle("slurm", "schedule-nodes", "-n", "8", "--", "-t", "5", "-c", "4")
    until(lambda: set(project.states().values()) == {"completed"}, "all jobs are completed")
    assert_each_ran_once(project)
    until(
        lambda: (
            {one["phase"] for row in project.ask("slurm", "list")["submissions"] for one in row["seen"]} == {"ended"}
        ),
        "no pilot is left",
    )
    [token] = (project.folder / ".rekindle" / "pilots").glob("*/token")
    assert token.stat().st_mode & 0o777 == 0o600
    assert os.access(token, os.R_OK)


@pytest.mark.parametrize(
    "url", ["host:8642", "http://h:1\nopen http://h:1", "http://h:x", "http://h/login?once=x", "ftp://h"]
)
def test_a_wrong_url_of_a_server_is_refused_at_once(project: Served, url: str) -> None:
    project.env["REKINDLE_API_TOKEN"] = project.rekindle("token", "new", "--scope", "pilot").stdout.strip()
    done = project.run("work", "--server", url)
    assert done.returncode == 64
    assert "is not the URL of a server" in done.stderr
