"""`on:`: commands and requests at the end of a run of a workflow, each once, whatever dies."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_shell import Shell

from rekindle.engine.hooks import hooks_watched
from rekindle.engine.notify import Notifier
from rekindle.engine.results import WorkOptions
from rekindle.engine.session import open_session
from rekindle.journal.processes import wait_readable
from stores import new_store_url

REKINDLE = str(Path(sys.executable).parent / "rekindle")
SECRET = "correct horse"


class Receiver:
    """An HTTP server that keeps what it gets, and answers with `codes`, then with 204."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.codes: list[int] = []
        self.answers = threading.Event()
        self.answers.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                receiver.answers.wait(20)
                code = receiver.codes.pop(0) if receiver.codes else 204
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", receiver.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/very-secret?key=1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def documents(self) -> list[Any]:
        return [json.loads(body) for _, body in self.got]

    def close(self) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def spec(jobs: str = 'a: {run: "test -e ok"}, b: {run: "true"}', **hooks: str) -> str:
    return json.dumps({"name": "s", "on": hooks}).removesuffix("}") + f', "jobs": {{{jobs}}}}}'


def tells(event: str) -> str:
    return f"echo {event} $REKINDLE_EVENT $REKINDLE_WORKFLOW $REKINDLE_STATE >> hooks"


EVERY = {event: tells(event) for event in ("failed", "stopped", "finished")}


def written(shell: Shell) -> list[str]:
    found = shell.folder / "hooks"
    return found.read_text().splitlines() if found.exists() else []


def hook_events(shell: Shell) -> list[dict[str, Any]]:
    return [one["detail"] for one in shell("events", "list", "--json").json["events"] if one["kind"] == "hook"]


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.05)


def test_each_event_runs_its_command_once_for_each_run(shell: Shell) -> None:
    shell.write(spec(**EVERY))
    assert shell("run", "spec.yaml").code == 2
    assert written(shell) == ["failed failed s failed", "finished finished s failed"]
    assert shell("run", "spec.yaml").code == 2
    assert shell("work").code == 0
    assert len(written(shell)) == 2  # nothing has run
    (shell.folder / "ok").touch()
    assert shell("rerun", "a", "--yes", "--work").code == 0
    assert written(shell)[2:] == ["finished finished s completed"]


def test_a_failure_in_quarantine_is_no_failure_of_the_run(shell: Shell) -> None:
    quarantined = 'a: {run: "test -e ok", quarantine: {until: "2999-01-01", why: slow}}, b: {run: "true"}'
    shell.write(spec(quarantined, **EVERY))
    assert shell("run", "spec.yaml").code == 0
    assert written(shell) == ["finished finished s completed"]


def test_a_command_gets_the_document_and_its_output_is_kept(shell: Shell) -> None:
    shell.write(spec(failed="cat > got.json; echo said; exit 3"))
    done = shell("run", "spec.yaml")
    assert done.code == 2
    assert "warning: the hook `failed` failed: exit 3" in done.err
    document = json.loads((shell.folder / "got.json").read_text())
    assert (document["event"], document["state"], document["why"]) == ("failed", "failed", None)
    assert document["workflow"] == {"id": 1, "name": "s", "project": None}
    assert document["counts"] == {"completed": 1, "failed": 1}
    assert [(one["message"], one["count"]) for one in document["failures"]] == [("exit code 1", 1)]
    [event] = hook_events(shell)
    assert (event["result"], event["failed"], event["delivery"]) == ("exit 3", True, document["delivery"])
    assert Path(event["log"]).read_text() == "said\n"


def test_a_file_that_is_not_executable_is_said_to_be_none(shell: Shell) -> None:
    shell.write("#!/bin/sh\n", "notify.sh")
    shell.write(spec(failed="./notify.sh"))
    assert "the hook `failed` failed: exit 126: not executable (`chmod +x FILE`" in shell("run", "spec.yaml").err


def test_a_command_does_not_see_the_variables_of_a_job(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_JOB", "7")
    shell.write(spec(finished="echo job $REKINDLE_JOB > hooks"))
    shell("run", "spec.yaml")
    assert written(shell) == ["job"]


def test_a_command_that_does_not_end_is_killed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rekindle.engine.hook_delivery.COMMAND_SECONDS", 0.5)
    shell.write(spec(finished="sleep 60 & echo $! > child; wait"))
    done = shell("run", "spec.yaml")
    assert done.code == 2
    assert "killed after 0.5 s" in done.err
    child = int((shell.folder / "child").read_text())
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_a_url_gets_a_signed_document(shell: Shell, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_WEBHOOK_SECRET", SECRET)
    shell.write(spec(finished=receiver.url))
    assert shell("run", "spec.yaml").code == 2
    [(headers, body)] = receiver.got
    stamp = headers["X-Rekindle-Timestamp"]
    expected = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Rekindle-Signature"] == f"sha256={expected}"
    assert abs(int(stamp) - time.time()) < 60
    assert headers["X-Rekindle-Event"] == "finished"
    assert headers["X-Rekindle-Delivery"] == json.loads(body)["delivery"]
    [event] = hook_events(shell)
    assert (event["result"], event["failed"], event["tries"]) == ("HTTP 204", False, 1)
    assert "very-secret" not in json.dumps(event)


def test_the_secret_is_stored_nowhere(shell: Shell, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_WEBHOOK_SECRET", SECRET)
    shell.write(spec(finished=receiver.url, failed="true"))
    shell("run", "spec.yaml")
    files = [path for path in shell.folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_without_a_secret_a_request_is_not_signed(
    shell: Shell, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REKINDLE_WEBHOOK_SECRET", raising=False)
    shell.write(spec(finished=receiver.url))
    shell("run", "spec.yaml")
    assert "X-Rekindle-Signature" not in receiver.got[0][0]


def test_a_url_may_name_a_variable(shell: Shell, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.write(spec(finished="${env.HOOK}", failed="true").replace("${env.HOOK}", "http://${env.HOOK}"))
    monkeypatch.setenv("HOOK", receiver.url.removeprefix("http://"))
    shell("run", "spec.yaml")
    assert len(receiver.got) == 1


def test_a_request_that_fails_for_now_is_sent_again(shell: Shell, receiver: Receiver) -> None:
    receiver.codes = [503]
    shell.write(spec(finished=receiver.url))
    done = shell("run", "spec.yaml")
    assert done.code == 2
    assert "the hook `finished` is sent again in 1 s: HTTP 503" in done.err
    assert [one["delivery"] for one in receiver.documents()] == [receiver.documents()[0]["delivery"]] * 2
    assert (hook_events(shell)[0]["result"], hook_events(shell)[0]["tries"]) == ("HTTP 204", 2)


@pytest.mark.parametrize("code", [302, 400, 404])
def test_a_request_that_is_refused_is_not_sent_again(shell: Shell, receiver: Receiver, code: int) -> None:
    receiver.codes = [code]
    shell.write(spec(finished=receiver.url))
    done = shell("run", "spec.yaml")
    assert done.code == 2
    assert f"warning: the hook `finished` failed: HTTP {code}" in done.err
    assert len(receiver.got) == 1


def test_a_receiver_that_is_not_there_costs_a_bounded_time(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rekindle.engine.hook_delivery.DELAYS", (0.1, 0.1))
    shell.write(spec('a: {run: "true"}', finished="http://127.0.0.1:1/"))
    done = shell("run", "spec.yaml")
    assert done.code == 0
    assert "Connection refused" in done.err
    assert hook_events(shell)[0]["tries"] == 3


def test_a_receiver_that_does_not_answer_costs_a_bounded_time(
    shell: Shell, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rekindle.engine.hook_delivery.DELAYS", ())
    monkeypatch.setattr("rekindle.engine.hook_delivery.REQUEST_SECONDS", 0.5)
    receiver.answers.clear()
    shell.write(spec('a: {run: "true"}', finished=receiver.url))
    done = shell("run", "spec.yaml")
    assert done.code == 0
    assert "no answer within 0.5 s" in done.err


def test_a_runner_that_is_killed_while_a_hook_runs_leaves_it_to_the_next(shell: Shell, receiver: Receiver) -> None:
    receiver.answers.clear()
    shell.write(spec(finished=receiver.url))
    runner = subprocess.Popen([REKINDLE, "run", "spec.yaml"], cwd=shell.folder, stderr=subprocess.DEVNULL)
    until(lambda: receiver.got)
    runner.kill()
    runner.wait()
    receiver.answers.set()
    assert shell("work").code == 0
    first, second = receiver.documents()
    assert first == second
    assert shell("work").code == 0
    assert len(receiver.got) == 2


def test_a_hook_that_kills_its_runner_is_given_up(shell: Shell) -> None:
    shell.write(spec('a: {run: "true"}', finished="echo began >> hooks; kill -9 $PPID"))
    for _ in range(5):
        subprocess.run([REKINDLE, "run", "spec.yaml"], cwd=shell.folder, capture_output=True, check=False)
    assert written(shell) == ["began"] * 3
    assert "given up: 3 processes died while it ran" in json.dumps(hook_events(shell))


def test_a_runner_that_is_killed_before_the_end_leaves_the_hooks_to_the_next(shell: Shell) -> None:
    shell.write(spec('a: {run: "touch began; while ! test -e go; do sleep 0.05; done"}', **EVERY))
    runner = subprocess.Popen([REKINDLE, "run", "spec.yaml"], cwd=shell.folder, stderr=subprocess.DEVNULL)
    until((shell.folder / "began").exists)
    runner.kill()
    runner.wait()
    assert written(shell) == []
    (shell.folder / "go").touch()
    assert shell("work").code == 0
    assert written(shell) == ["finished finished s completed"]


def test_of_several_runners_one_runs_the_hooks(shell: Shell) -> None:
    shell.write(spec(", ".join(f'j{n}: {{run: "sleep 0.2"}}' for n in range(12)), **EVERY))
    shell("submit", "spec.yaml")
    runners = [
        subprocess.Popen([REKINDLE, "work", "-j", "2"], cwd=shell.folder, stderr=subprocess.DEVNULL) for _ in range(3)
    ]
    assert [one.wait(60) for one in runners] == [0, 0, 0]
    assert written(shell) == ["finished finished s completed"]


def test_a_runner_that_watches_runs_them_at_once(shell: Shell) -> None:
    shell.write(spec(**EVERY))
    shell("submit", "spec.yaml")
    runner = subprocess.Popen([REKINDLE, "work", "--watch"], cwd=shell.folder, stderr=subprocess.DEVNULL)
    try:
        until(lambda: len(written(shell)) == 2)
        (shell.folder / "ok").touch()
        assert shell("rerun", "a", "--yes").code == 0
        until(lambda: len(written(shell)) == 3)
    finally:
        runner.terminate()
        runner.wait()
    assert written(shell) == ["failed failed s failed", "finished finished s failed", "finished finished s completed"]


def test_a_runner_of_several_workflows_does_not_wait_for_the_last(shell: Shell) -> None:
    shell.write(spec('a: {run: "true"}', **EVERY))
    shell.write('{name: long, jobs: {z: {run: "while ! test -e go; do sleep 0.05; done"}}}', "long.yaml")
    shell("submit", "spec.yaml")
    shell("submit", "long.yaml")
    runner = subprocess.Popen([REKINDLE, "work", "-j", "2"], cwd=shell.folder, stderr=subprocess.DEVNULL)
    until(lambda: written(shell) == ["finished finished s completed"])
    assert runner.poll() is None
    (shell.folder / "go").touch()
    assert runner.wait(30) == 0
    assert len(written(shell)) == 1


def test_a_run_that_is_interrupted_is_stopped(shell: Shell) -> None:
    shell.write(spec('a: {run: "touch began; sleep 60"}, b: {needs: [a], run: "true"}', **EVERY))
    runner = subprocess.Popen([REKINDLE, "run", "spec.yaml"], cwd=shell.folder, stderr=subprocess.DEVNULL)
    until((shell.folder / "began").exists)
    runner.terminate()
    assert runner.wait(30) == 5
    assert written(shell) == ["stopped stopped s canceled", "finished finished s canceled"]


def test_a_run_that_times_out_is_stopped_and_finishes_later(shell: Shell) -> None:
    shell.write(spec('a: {run: "while ! test -e go; do sleep 0.05; done"}', **EVERY))
    assert shell("run", "spec.yaml", "--wait-timeout", "1s").code == 6
    assert written(shell) == ["stopped stopped s waiting"]
    (shell.folder / "go").touch()
    assert shell("work").code == 0
    assert written(shell)[1:] == ["finished finished s completed"]


def test_rounds_of_supervise_are_one_run(shell: Shell) -> None:
    shell.write(
        spec(
            **EVERY,
        )
    )
    shell("submit", "spec.yaml")
    assert shell("supervise", "s", "--max-reruns", "2", "--max-failure-percent", "100").code == 2
    assert written(shell) == ["failed failed s failed", "stopped stopped s failed", "finished finished s failed"]


def test_a_job_that_is_retried_has_not_failed(shell: Shell) -> None:
    job = 'a: {run: "test -e ok || { touch ok; exit 1; }", retry: {max: 1}}'
    shell.write(spec(job, **EVERY))
    assert shell("run", "spec.yaml").code == 0
    assert written(shell) == ["finished finished s completed"]


def test_hooks_that_a_revision_adds_are_for_later_runs(shell: Shell) -> None:
    shell.write(spec())
    assert shell("run", "spec.yaml").code == 2
    shell.write(spec(**EVERY))
    assert shell("run", "spec.yaml").code == 2
    assert written(shell) == []
    assert shell("run", "spec.yaml", "--retry-failed").code == 2
    assert len(written(shell)) == 2


def test_a_deleted_workflow_takes_its_deliveries_along(shell: Shell) -> None:
    shell.write(spec(**EVERY))
    shell("run", "spec.yaml")
    assert shell("workflows", "delete", "1", "--yes").code == 0
    assert shell("store", "check", "--deep").code == 0


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ({"finish": "true"}, "`on` has no key 'finish'"),
        ({"finished": "ftp://example.org/x"}, "`finished` of `on` cannot be sent to 'ftp://example.org/x'"),
        ({"finished": "https:///x"}, "a URL begins with http:// or https://"),
        ({"finished": "echo ${params.x}"}, "${params.x} cannot be used in `finished` of `on`"),
        ({"finished": []}, "`finished` of `on` is empty"),
        ({"finished": {"url": "x"}}, "must be a command or a URL"),
    ],
)
def test_a_wrong_hook_is_a_problem_of_the_spec(shell: Shell, hooks: dict[str, Any], message: str) -> None:
    shell.write(spec(**hooks))
    done = shell("submit", "spec.yaml")
    assert done.code == 1
    assert message in done.err


def test_in_postgresql_one_of_two_runners_runs_them(shell: Shell, postgres_server: str) -> None:
    url = new_store_url(postgres_server, shell.folder / "spool")
    shell.write(spec(", ".join(f'j{n}: {{run: "sleep 0.1"}}' for n in range(8)), **EVERY))
    assert shell("--store", url, "submit", "spec.yaml").code == 0
    command = [REKINDLE, "--store", url, "work", "-j", "2"]
    runners = [subprocess.Popen(command, cwd=shell.folder, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait(60) for one in runners] == [0, 0]
    assert written(shell) == ["finished finished s completed"]
    shell.write('{name: other, jobs: {a: {run: "true"}}, on: {finished: "echo other >> hooks"}}')
    assert shell("--store", url, "run", "spec.yaml").code == 0
    assert written(shell)[1:] == ["other"]


def test_the_thread_for_hooks_ends_with_the_run_also_if_it_has_drained_the_notification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drains, drain = threading.Event(), Notifier.drain

    def drain_the_next(notifier: Notifier) -> None:
        drains.set()
        wait_readable((notifier.fd,), 60)
        drain(notifier)

    def run() -> None:
        with open_session(str(tmp_path / ".rekindle")) as session, hooks_watched(session, WorkOptions(watch=True)):
            assert drains.wait(60)

    monkeypatch.setattr("rekindle.engine.hooks.LOOK_SECONDS", 0.0)
    monkeypatch.setattr(Notifier, "drain", drain_the_next)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
