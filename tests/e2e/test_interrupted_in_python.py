"""A signal that interrupts a run from Python cancels it, is recorded, and then has its usual effect."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from project_folder import Project, until

SCRIPT = """
import signal, threading, time
import rekindle

def build(name):
    w = rekindle.Workflow(name)
    w.job("long", run="echo >> ran.txt; while ! test -e go; do sleep 0.02; done")
    return w

def work():
    with rekindle.Client() as client:
        client.submit(build("s").definition())
        client.work()

def run_spec():
    with rekindle.Client() as client:
        client.run(build("s"))

def supervise():
    with rekindle.Client() as client:
        client.submit(build("s").definition())
        client.supervise("s")

if __name__ == "__main__":
"""
LOOP = """
    for number in range(3):
        try:
            print(build(f"s{number}").run().exit_code, flush=True)
        finally:
            print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
"""


def begun(project: Project, body: str) -> subprocess.Popen[str]:
    """Start a script that runs `body`, and wait until its first job runs."""
    project.write("script.py", SCRIPT + body)
    process = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=project.folder,
        env=project.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    project.started.append(process)  # type: ignore[arg-type]
    until(lambda: project.ran() or process.poll() is not None, "the job runs")
    return process


@pytest.mark.parametrize(
    "body", [LOOP, "    work()\n", "    run_spec()\n", "    supervise()\n"], ids=["run", "work", "spec", "supervise"]
)
def test_ctrl_c_raises_keyboard_interrupt_once_the_cancellation_is_recorded(project: Project, body: str) -> None:
    script = begun(project, body)
    script.send_signal(signal.SIGINT)
    out, err = script.communicate(timeout=60)
    assert script.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    if body == LOOP:
        assert out == "True\n"  # no second run, and Python's own handler is back
    (attempt,) = project.attempts()
    assert (attempt["state"], attempt["cause"]) == ("canceled", "canceled")
    worked = [one for one in project.ask("events", "list")["events"] if one["kind"] == "worked"]
    assert worked[-1]["detail"]["signal"] == "SIGINT"
    assert len(project.ran()) == 1


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP], ids=lambda sent: sent.name)
def test_a_program_ends_of_sigterm_and_sighup_once_its_run_is_recorded(project: Project, sent: signal.Signals) -> None:
    script = begun(project, LOOP)
    script.send_signal(sent)
    script.communicate(timeout=60)
    assert script.returncode == -sent
    assert [one["state"] for one in project.attempts()] == ["canceled"]


def test_a_handler_of_the_program_s_own_gets_the_signal_after_the_run(project: Project) -> None:
    body = """
    signal.signal(signal.SIGINT, lambda *_: print("mine", flush=True))
    report = build("s").run()
    print(report.exit_code, report.interrupted)
"""
    script = begun(project, body)
    script.send_signal(signal.SIGINT)
    assert script.communicate(timeout=60)[0] == "mine\n5 True\n"
    assert script.returncode == 0


def test_a_run_in_another_thread_leaves_signals_to_the_program(project: Project) -> None:
    body = """
    thread = threading.Thread(target=lambda: print(build("s").run().exit_code, flush=True))
    thread.start()
    try:
        while thread.is_alive():
            time.sleep(0.01)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        open("go", "w").close()
    while thread.is_alive():
        time.sleep(0.01)
"""
    script = begun(project, body)
    script.send_signal(signal.SIGINT)
    assert script.communicate(timeout=60)[0] == "interrupted\n0\n"
    assert script.returncode == 0
