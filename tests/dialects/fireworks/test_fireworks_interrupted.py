"""A signal to a script that launches fireworks ends the launch, is recorded, and then has its usual effect."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lpad_folder import Lpad

from rekindle.dialects.fireworks import LaunchPad

SCRIPT = """
from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.rocket import launch_rocket, rapidfire

pad = LaunchPad()
wait = {"_fw_name": "ScriptTask", "script": "touch began; sleep 60"}
for number in range(2):
    pad.add_wf({"fw_id": 1, "spec": {"_tasks": [wait]}})
try:
    CALL
finally:
    print("finally", flush=True)
print("went on", flush=True)
"""
CALLS = {
    "rapidfire": "rapidfire(pad)",
    "loops": "rapidfire(pad, max_loops=3, sleep_time=0)",
    "endless": "rapidfire(pad, nlaunches=-1)",
    "launch_rocket": "launch_rocket(pad)",
}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_script_ends_of_a_signal_during_a_launch(lpad: Lpad, call: str, sent: signal.Signals) -> None:
    folder = lpad.folder / "work"
    folder.mkdir()
    (lpad.folder / "script.py").write_text(SCRIPT.replace("CALL", call))
    script = subprocess.Popen(
        [sys.executable, "../script.py"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for_launch(lpad.folder, script)
        script.send_signal(sent)
        out, err = script.communicate(timeout=60)
    finally:
        script.kill()
    assert script.returncode == -sent
    assert "went on" not in out
    assert ("finally" in out) == err.rstrip().endswith("KeyboardInterrupt") == (sent == signal.SIGINT)
    pad = LaunchPad(store=folder / ".rekindle")
    assert [pad.get_fw_dict_by_id(one)["state"] for one in (1, 2)] == ["FIZZLED", "READY"]
    (launch,) = pad.get_fw_dict_by_id(1)["launches"]
    assert "canceled" in launch["action"]["stored_data"]["_exception"]["_stacktrace"]


def wait_for_launch(folder: Path, script: subprocess.Popen[str]) -> None:
    """Wait until the first firework runs."""
    deadline = time.monotonic() + 60
    while not list(folder.rglob("began")):
        assert script.poll() is None, script.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
