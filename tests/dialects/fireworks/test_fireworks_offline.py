"""Offline launches: reserved with a store, run in a folder without it, and recovered later."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from lpad_folder import Done, Lpad

from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.rocket import launch_rocket, setup_offline_job
from rekindle.engine.session import open_session

TWO = """\
fws:
- fw_id: 1
  name: first
  spec:
    _tasks:
    - {_fw_name: ScriptTask, script: "echo seen; echo run >> $LPAD_PLACE/log", use_shell: true, store_stdout: true}
    - {_fw_name: PyTask, func: builtins.sum, args: [[1, 2, 3]], outputs: [total]}
- {fw_id: 2, name: second, spec: {_tasks: [{_fw_name: PyTask, func: builtins.print, inputs: [total]}]}}
links: {1: [2]}
"""
SLOW = """\
name: slow
spec:
  _tasks:
  - _fw_name: ScriptTask
    use_shell: true
    script: "echo run >> $LPAD_PLACE/log; until test -e $LPAD_PLACE/go; do sleep 0.05; done"
"""
FAILS = "{name: fails, spec: {_tasks: [{_fw_name: PyTask, func: builtins.int, args: [no number]}]}}"


@pytest.fixture
def away(lpad: Lpad) -> Callable[..., Done]:
    """Returns a function that runs rlaunch in a folder while the store cannot be found."""

    def run(directory: str, *words: str) -> Done:
        store, hidden = lpad.folder / ".rekindle", lpad.folder / "hidden"
        store.rename(hidden)
        try:
            with_folder = [sys.executable, "-m", "rekindle", "rlaunch", *(words or ("singleshot", "--offline"))]
            done = subprocess.run(
                with_folder, cwd=lpad.folder / directory, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            assert not store.exists()
            hidden.rename(store)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def start(lpad: Lpad, directory: str) -> subprocess.Popen[bytes]:
    """Start an offline launch, and wait until its task runs."""
    words = [sys.executable, "-m", "rekindle", "rlaunch", "-s", "singleshot", "--offline"]
    process = subprocess.Popen(words, cwd=lpad.folder / directory, stderr=subprocess.DEVNULL)
    wait_for(lambda: (lpad.folder / "log").exists())
    return process


def wait_for(holds: Callable[[], bool], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.05)


def sound(lpad: Lpad) -> bool:
    with open_session(str(lpad.folder / ".rekindle")) as session, session.store.read() as archive:
        return archive.check() == []


def test_a_launch_runs_without_the_store_and_is_recovered(lpad: Lpad, away: Callable[..., Done]) -> None:
    lpad.add(TWO)
    assert "RESERVED FW with id: 1, launch_id: 1" in lpad.ok("reserve", "--launch_dir", "there").out
    assert lpad.states() == {"first": "RESERVED", "second": "WAITING"}
    written = json.loads((lpad.folder / "there/FW.json").read_text())
    assert (written["fw_id"], written["spec"]["_tasks"][1]["func"]) == (1, "builtins.sum")
    assert json.loads((lpad.folder / "there/FW_offline.json").read_text())["launch_id"] == 1
    done = away("there")
    assert done.code == 0
    assert "seen" in done.out
    assert lpad.states() == {"first": "RESERVED", "second": "WAITING"}
    known = json.loads((lpad.folder / "there/FW_offline.json").read_text())
    assert (known["state"], known["fwaction"]["update_spec"]) == ("COMPLETED", {"total": 6})
    assert "1 job(s) recovered: [1]" in lpad.ok("recover_offline").out
    assert lpad.states() == {"first": "COMPLETED", "second": "READY"}
    (launch,) = lpad.of(1)["launches"]
    assert (launch["launch_dir"], launch["action"]["stored_data"]["stdout"]) == (str(lpad.folder / "there"), "seen\n")
    assert lpad.of(2)["spec"]["total"] == 6
    assert "seen" in lpad.rekindle("logs", "1").out
    assert lpad.log() == ["run"]
    assert sound(lpad)


def test_a_failed_launch_is_recovered_with_its_error(lpad: Lpad, away: Callable[..., Done]) -> None:
    lpad.add(FAILS)
    lpad.ok("reserve", "--launch_dir", "there")
    assert away("there").code == 0
    assert json.loads((lpad.folder / "there/FW_offline.json").read_text())["state"] == "FIZZLED"
    lpad.ok("recover_offline")
    assert lpad.states() == {"fails": "FIZZLED"}
    assert "no number" in lpad.of(1)["launches"][0]["action"]["stored_data"]["_exception"]["_stacktrace"]


def test_nothing_is_lost_or_doubled_however_often_it_is_recovered(lpad: Lpad) -> None:
    lpad.add(SLOW)
    lpad.ok("reserve", "--launch_dir", "there")
    assert "0 job(s) recovered" in lpad.ok("recover_offline").out
    assert lpad.states() == {"slow": "RESERVED"}
    process = start(lpad, "there")
    for _ in range(2):
        assert "Still running offline: [1]" in lpad.ok("recover_offline").out
        assert lpad.states() == {"slow": "RUNNING"}
    (lpad.folder / "go").touch()
    assert process.wait(30) == 0
    assert "1 job(s) recovered: [1]" in lpad.ok("recover_offline").out
    assert "0 job(s) recovered: []" in lpad.ok("recover_offline").out
    assert len(lpad.of(1)["launches"]) == 1
    assert lpad.states() == {"slow": "COMPLETED"}
    assert sound(lpad)


def test_a_launch_whose_rlaunch_is_killed_ends_and_is_recovered(lpad: Lpad) -> None:
    lpad.add(SLOW)
    lpad.ok("reserve", "--launch_dir", "there")
    process = start(lpad, "there")
    process.kill()
    process.wait(30)
    (lpad.folder / "go").touch()

    def recovered() -> bool:
        lpad.ok("recover_offline")
        return lpad.states() == {"slow": "COMPLETED"}

    wait_for(recovered)


def test_a_terminated_launch_is_recovered_as_fizzled(lpad: Lpad) -> None:
    lpad.add(SLOW)
    lpad.ok("reserve", "--launch_dir", "there")
    process = start(lpad, "there")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    lpad.ok("recover_offline")
    assert lpad.states() == {"slow": "FIZZLED"}


def test_of_two_processes_one_runs_a_launch(lpad: Lpad) -> None:
    lpad.add(SLOW)
    lpad.ok("reserve", "--launch_dir", "there")
    words = [sys.executable, "-m", "rekindle", "rlaunch", "-s", "singleshot", "--offline"]
    both = [subprocess.Popen(words, cwd=lpad.folder / "there", stderr=subprocess.DEVNULL) for _ in range(2)]
    wait_for(lambda: any(one.poll() is not None for one in both))
    (lpad.folder / "go").touch()
    assert sorted(one.wait(30) for one in both) == [0, 1]
    assert lpad.log() == ["run"]
    lpad.ok("recover_offline")
    assert lpad.states() == {"slow": "COMPLETED"}


def test_a_forgotten_launch_never_starts(lpad: Lpad, away: Callable[..., Done]) -> None:
    lpad.add(TWO)
    lpad.ok("reserve", "-i", 1, "--launch_dir", "there")
    assert "processed 1 FWs" in lpad.ok("forget_offline", "-i", 1).out
    assert lpad.states() == {"first": "READY", "second": "WAITING"}
    done = away("there")
    assert (done.code, "was given up" in done.err) == (1, True)
    assert lpad.log() == []
    lpad.ok("reserve", "--launch_dir", "again")
    assert away("again").code == 0
    lpad.ok("recover_offline")
    assert lpad.states()["first"] == "COMPLETED"


def test_the_result_of_a_forgotten_launch_is_ignored(lpad: Lpad) -> None:
    lpad.add(SLOW)
    lpad.ok("reserve", "--launch_dir", "there")
    process = start(lpad, "there")
    lpad.ok("forget_offline", "-i", 1)
    assert lpad.states() == {"slow": "FIZZLED"}
    (lpad.folder / "go").touch()
    assert process.wait(30) == 0
    assert "0 job(s) recovered: []" in lpad.ok("recover_offline").out
    assert lpad.states() == {"slow": "FIZZLED"}
    lpad.ok("rerun_fws", "-i", 1)
    assert lpad.rekindle("rlaunch", "-s", "rapidfire").code == 0
    assert lpad.states() == {"slow": "COMPLETED"}
    assert sound(lpad)


def test_a_rerun_takes_a_reservation_back(lpad: Lpad, away: Callable[..., Done]) -> None:
    lpad.add(TWO)
    lpad.ok("reserve", "--launch_dir", "there")
    lpad.ok("rerun_fws", "-i", 1)
    assert away("there").code == 1
    assert lpad.rekindle("rlaunch", "-s", "rapidfire").code == 0
    assert lpad.states() == {"first": "COMPLETED", "second": "COMPLETED"}
    assert lpad.log() == ["run"]


def test_a_rerun_waits_for_the_end_of_an_offline_launch(lpad: Lpad) -> None:
    lpad.add(SLOW)
    lpad.ok("reserve", "--launch_dir", "there")
    process = start(lpad, "there")
    lpad.ok("recover_offline")
    lpad.ok("rerun_fws", "-i", 1)
    assert lpad.rekindle("rlaunch", "-s", "singleshot").code == 0
    assert lpad.log() == ["run"]
    (lpad.folder / "go").touch()
    assert process.wait(30) == 0
    lpad.ok("recover_offline")
    assert lpad.states() == {"slow": "READY"}
    assert lpad.rekindle("rlaunch", "-s", "singleshot").code == 0
    assert lpad.states() == {"slow": "COMPLETED"}
    assert sound(lpad)


@pytest.mark.parametrize(("option", "after"), [("--fizzle", "FIZZLED"), ("--rerun", "READY")])
def test_a_launch_whose_node_died_is_lost_after_a_time(lpad: Lpad, option: str, after: str) -> None:
    lpad.add(SLOW)
    lpad.ok("reserve", "--launch_dir", "there")
    process = start(lpad, "there")
    lpad.ok("recover_offline")
    process.kill()
    process.wait(30)
    (journal,) = (lpad.folder / "there/FW_offline/journal").iterdir()
    worker = int(re.search(r'"pid":(\d+)', journal.read_text())[1])  # type: ignore[index]
    for one in (psutil.Process(worker), *psutil.Process(worker).children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended with another
            one.kill()
    time.sleep(1.1)
    assert "Lost FireWorks: 0" in lpad.ok("detect_lostruns", option).out
    assert lpad.states() == {"slow": "RUNNING"}
    assert "Lost FireWorks: 1" in lpad.ok("detect_lostruns", "--time", 1, option).out
    assert lpad.states() == {"slow": after}
    assert sound(lpad)


def test_an_old_reservation_is_given_back_and_launched(lpad: Lpad, away: Callable[..., Done]) -> None:
    lpad.add(TWO)
    lpad.ok("reserve", "--launch_dir", "there")
    assert lpad.ok("detect_unreserved", "--time", 0, "--rerun").out == "[1]\n"
    assert lpad.rekindle("rlaunch", "-s", "rapidfire").code == 0
    assert lpad.states() == {"first": "COMPLETED", "second": "COMPLETED"}
    assert away("there").code == 1
    assert lpad.log() == ["run"]


def test_a_copy_of_a_store_does_not_touch_the_launches_of_the_original(
    lpad: Lpad, tmp_path_factory: pytest.TempPathFactory, away: Callable[..., Done]
) -> None:
    lpad.add(TWO)
    lpad.ok("reserve", "--launch_dir", "there")
    copy = tmp_path_factory.mktemp("copies") / "copy"
    shutil.copytree(lpad.folder, copy)
    with contextlib.chdir(copy):
        assert lpad.rekindle("work").code == 0
        lpad.ok("recover_offline")
        lpad.ok("rerun_fws", "-i", 1)
        assert lpad.states() == {"first": "READY", "second": "WAITING"}
    assert away("there").code == 0
    lpad.ok("recover_offline")
    assert lpad.states() == {"first": "COMPLETED", "second": "READY"}


def test_a_recovery_in_a_copy_of_the_folder_runs_offline(lpad: Lpad, away: Callable[..., Done]) -> None:
    first = "echo first >> trace; echo first >> $LPAD_PLACE/log"
    then = "cat trace >> $LPAD_PLACE/log; test -e $LPAD_PLACE/mended"
    tasks = ", ".join(f'{{_fw_name: ScriptTask, script: "{line}", use_shell: true}}' for line in (first, then))
    lpad.add(f"{{name: two tasks, spec: {{_tasks: [{tasks}]}}}}")
    lpad.ok("reserve", "--launch_dir", "there")
    assert away("there").code == 0
    lpad.ok("recover_offline")
    (lpad.folder / "mended").touch()
    lpad.ok("rerun_fws", "-i", 1, "--task-level", "--copy-data")
    lpad.ok("reserve", "--launch_dir", "again")
    assert "0 job(s)" in lpad.ok("recover_offline").out
    assert lpad.states() == {"two tasks": "RESERVED"}
    assert away("again").code == 0
    lpad.ok("recover_offline")
    assert lpad.states() == {"two tasks": "COMPLETED"}
    assert lpad.log() == ["first"] * 3
    assert sound(lpad)


@pytest.mark.parametrize(("option", "after"), [("-i", "RESERVED"), ("-pe", "FIZZLED")])
def test_a_launch_whose_folder_is_gone_fizzles_unless_errors_are_ignored(lpad: Lpad, option: str, after: str) -> None:
    lpad.add(TWO)
    lpad.ok("reserve", "--launch_dir", "there")
    shutil.rmtree(lpad.folder / "there")
    done = lpad.ok("recover_offline", option)
    assert "FAILED to recover offline fw_ids: [1]" in done.out
    assert ("failed recovering launch_id=1" in done.err) == (option == "-pe")
    assert lpad.states()["first"] == after


def test_a_journal_that_cannot_be_read_keeps_no_other_from_being_recovered(
    lpad: Lpad, away: Callable[..., Done]
) -> None:
    for name in ("one", "two"):
        lpad.add(FAILS.replace("fails", name).replace("no number", "'3'"))
        lpad.ok("reserve", "--launch_dir", name)
        assert away(name).code == 0
    (journal,) = (lpad.folder / "one/FW_offline/journal").iterdir()
    journal.rename(lpad.folder / "kept")
    journal.mkdir()
    done = lpad.ok("recover_offline", "-pe")
    assert ("recovered: [2]" in done.out, "fw_ids: [1]" in done.out, "cannot read" in done.err) == (True, True, True)
    assert lpad.states() == {"one": "RESERVED", "two": "COMPLETED"}
    journal.rmdir()
    (lpad.folder / "kept").rename(journal)
    assert "recovered: [1]" in lpad.ok("recover_offline").out


def test_a_store_is_moved_together_with_its_offline_launches(lpad: Lpad, monkeypatch: pytest.MonkeyPatch) -> None:
    (lpad.folder / "project").mkdir()
    monkeypatch.chdir(lpad.folder / "project")
    Path("two.yaml").write_text(TWO)
    lpad.ok("add", "two.yaml")
    lpad.ok("reserve", "--launch_dir", "there")
    words = [sys.executable, "-m", "rekindle", "rlaunch", "singleshot", "--offline"]
    subprocess.run(words, cwd="there", check=True, capture_output=True)
    (lpad.folder / "project").rename(lpad.folder / "moved")
    monkeypatch.chdir(lpad.folder / "moved")
    assert "1 job(s) recovered: [1]" in lpad.ok("recover_offline").out


def test_rapidfire_runs_all_launches_that_are_set_up(lpad: Lpad, away: Callable[..., Done]) -> None:
    for name in ("one", "two", "three"):
        lpad.add(FAILS.replace("fails", name).replace("no number", "'3'"))
        lpad.ok("reserve", "--launch_dir", f"{name}.d")
    assert away(".", "-s", "rapidfire", "--offline", "--nlaunches", "2").code == 0
    lpad.ok("recover_offline")
    assert sorted(lpad.states().values()) == ["COMPLETED", "COMPLETED", "RESERVED"]
    assert away(".", "-s", "rapidfire", "--offline").code == 0
    lpad.ok("recover_offline")
    assert set(lpad.states().values()) == {"COMPLETED"}


def test_only_the_launches_of_an_fworker_are_recovered(lpad: Lpad, away: Callable[..., Done]) -> None:
    lpad.add(TWO)
    (lpad.folder / "far.yaml").write_text("name: far\n")
    (lpad.folder / "near.yaml").write_text("name: near\n")
    lpad.ok("reserve", "-w", "far.yaml", "--launch_dir", "there")
    away("there")
    assert "0 job(s) recovered" in lpad.ok("recover_offline", "-w", "near.yaml").out
    assert "1 job(s) recovered" in lpad.ok("recover_offline", "-w", "far.yaml").out
    assert lpad.of(1)["launches"][0]["fworker"]["name"] == "far"


def test_what_cannot_be_reserved_is_named(lpad: Lpad) -> None:
    lpad.add(TWO)
    assert "No FireWorks are ready to run and match query!" in lpad("reserve", "-i", 2, "--launch_dir", "a").err
    assert "FW with id: 99 not found!" in lpad("reserve", "-i", 99, "--launch_dir", "a").err
    lpad.ok("reserve", "--launch_dir", "a")
    assert "FW_offline.json" in lpad("reserve", "--launch_dir", "a").err


def test_scripts_set_up_run_and_recover_offline_launches(
    lpad: Lpad, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("fireworks")
    request.config.addinivalue_line("markers", "mongodb: FireWorks imports tests of its own, which have this marker")
    lpad.add(TWO)
    pad = LaunchPad(store=lpad.folder / ".rekindle")
    (lpad.folder / "there").mkdir()
    monkeypatch.chdir("there")
    fw, launch = pad.reserve_fw(None, os.curdir)
    setup_offline_job(pad, fw, launch)
    assert pad.recover_offline(launch) is None
    assert pad.get_fw_dict_by_id(1)["state"] == "RESERVED"
    assert launch_rocket(None, strm_lvl="CRITICAL")
    runs = pad.offline_runs.find({"completed": False, "deprecated": False}, {"launch_id": 1})
    assert list(runs) == [{"launch_id": launch}]
    assert pad.recover_offline(launch) is None
    assert pad.offline_runs.count_documents({}) == 0
    assert [pad.get_fw_dict_by_id(one)["state"] for one in (1, 2)] == ["COMPLETED", "READY"]
    fw, launch = pad.reserve_fw(None, os.curdir)
    pad.forget_offline(launch)
    assert pad.get_fw_dict_by_id(2)["state"] == "READY"
    with pytest.raises(ValueError, match="was not reserved by this LaunchPad"):
        LaunchPad(store=lpad.folder / ".rekindle").add_offline_run(1, 1, "first")
