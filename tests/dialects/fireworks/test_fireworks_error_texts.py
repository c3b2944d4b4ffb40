"""Errors of the LaunchPad and of lpad have FireWorks' own words, because scripts search for them."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from lpad_folder import FINE, ODD, PREP, RELAX, Lpad

from rekindle.dialects.fireworks import LaunchPad

TODAY = date.today().isoformat()
FIREWORK = {"spec": {"_tasks": [{"_fw_name": "PyTask", "func": "os.getpid"}]}}


@pytest.fixture
def pad(chain: Lpad) -> LaunchPad:
    return LaunchPad(store=chain.folder / ".rekindle")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda pad: pad.get_fw_dict_by_id(99), "No Firework exists with id: 99"),
        (lambda pad: pad.get_launchdir(99), "No Firework exists with id: 99"),
        (lambda pad: pad.resume_fw(99), "No Firework exists with id: 99"),
        (lambda pad: pad.reignite_fw(99), "No Firework exists with id: 99"),
        (lambda pad: pad.set_priority(99, 1), "No Firework exists with id: 99"),
        (lambda pad: pad.update_spec([99], {"a": 1}), "No Firework exists with id: 99"),
        (lambda pad: pad.rerun_fw(99), "FW with id: 99 not found!"),
        (lambda pad: pad.defuse_fw(99), "FW with id: 99 not found!"),
        (lambda pad: pad.get_wf_summary_dict(99), "Could not find a Workflow with fw_id=99"),
        (lambda pad: pad.pause_wf(99), "Could not find a Workflow with fw_id=99"),
        (lambda pad: pad.defuse_wf(99), "Could not find a Workflow with fw_id=99"),
        (lambda pad: pad.reignite_wf(99), "Could not find a Workflow with fw_id=99"),
        (lambda pad: pad.archive_wf(99), "Could not find a Workflow with fw_id=99"),
        (lambda pad: pad.delete_wf(99), "Could not find a Workflow with fw_id=99"),
        (lambda pad: pad.append_wf(FIREWORK, [99]), "Could not find a Workflow with fw_id=99"),
        (lambda pad: pad.complete_launch(99), "No Launch exists with launch_id=99"),
        (lambda pad: pad.get_recovery(99), "launch_id: 99 does not exist"),
        (lambda pad: pad.rerun_fw(RELAX, recover_launch=99), f"launch_id: 99 is no launch of fw_id: {RELAX}"),
        (lambda pad: pad.rerun_fw(3, recover_launch="last"), "FW with id: 3 has no active launches"),
        (lambda pad: pad.rerun_fw(PREP, recover_launch="last"), "No recovery info found in launch"),
        (lambda pad: pad.reset("2012-01-01"), f"Invalid password! Password is today's date: {TODAY}"),
        (
            lambda pad: pad.reset("", require_password=False, max_reset_wo_password=0),
            (
                "Password check cannot be overridden since the size of DB (1 workflows) is greater than the "
                "max_reset_wo_password parameter (0)"
            ),
        ),
    ],
)
def test_launchpad_errors(pad: LaunchPad, call: Callable[[LaunchPad], Any], said: str) -> None:
    with pytest.raises(ValueError) as error:
        call(pad)
    assert said in str(error.value)


def test_a_missing_launchpad_file_is_a_missing_file(pad: LaunchPad) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: 'nowhere\.yaml'"):
        pad.from_file("nowhere.yaml")


def test_what_the_launchpad_logs(pad: LaunchPad, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rekindle.fireworks")
    pad.pause_fw(PREP)
    assert f"No pausable (WAITING,READY,RESERVED) Firework exists with fw_id={PREP}" in caplog.text
    pad.defuse_fw(ODD)
    pad.rerun_fw(ODD)
    assert f"Cannot rerun fw_id={ODD}: it is DEFUSED." in caplog.text
    pad.update_spec([FINE], {"a": 1})
    assert f"Cannot update spec of fw_id: {FINE} with state: COMPLETED. Try rerunning first." in caplog.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rerun_fws -i 99", "FW with id: 99 not found!"),
        ("defuse_fws -i 98,99", "FW with id: 98 not found! (nor 99)"),
        ("pause_fws -i 99", "No pausable (WAITING,READY,RESERVED) Firework exists with fw_id=99"),
        ("get_launchdir 99", "No Firework exists with id: 99"),
        ("track_fws -i 99", "No Firework exists with id: 99"),
        ("defuse_wflows -i 99", "Could not find a Workflow with fw_id=99"),
        ("archive_wflows -i 99", "Could not find a Workflow with fw_id=99"),
        ("delete_wflows -i 99", "Could not find a Workflow with fw_id=99"),
        ("dump_wflow -i 99 -f x.json", "Could not find a Workflow with fw_id=99"),
        ("append_wflow -i 99 -f one.yaml", "Could not find a Workflow with fw_id=99"),
        ("append_wflow -i 1 -f nowhere.yaml", "No such file or directory: 'nowhere.yaml'"),
        ("add nowhere.yaml", "No such file or directory: 'nowhere.yaml'"),
        ("admin unlock -i 99", "Could not find workflow in database: 99"),
        ("admin refresh -i 99", "Could not find a Workflow with fw_id=99"),
        (f"rerun_fws -i {PREP} --task-level", "No recovery info found in launch"),
        (f"rerun_fws -i {RELAX} --task-level -lid 99", f"launch_id: 99 is no launch of fw_id: {RELAX}"),
        (f"rerun_fws -i {RELAX},{ODD} --task-level -lid 1", "Specify the same number of tasks and launches"),
        ("rerun_fws -q {} --password 2012-01-01", "Modifying more than 10 entries requires setting the --password"),
        ("reset --password 2012-01-01", f"Invalid password! Password is today's date: {TODAY}"),
        ("reset", "Incorrect input to confirm database reset, operation aborted"),
    ],
)
def test_lpad_errors(chain: Lpad, monkeypatch: pytest.MonkeyPatch, words: str, said: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("N\n"))
    (chain.folder / "one.yaml").write_text("spec: {_tasks: [{_fw_name: ScriptTask, script: 'true'}]}\n")
    for _ in range(6):
        chain.ok("add", "one.yaml")
    done = chain(*words.split())
    assert (done.code, said in done.err) in ((1, True), (64, True)), done


def test_queue_ids_are_shown_and_canceled(chain: Lpad, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("fireworks")
    request.config.addinivalue_line("markers", "mongodb: FireWorks imports tests of its own, which have this marker")
    pad = LaunchPad(store=chain.folder / ".rekindle")
    (number,) = pad.add_wf(FIREWORK).values()
    _, launch = pad.reserve_fw(None, ".", fw_id=number)
    pad.set_reservation_id(launch, "77.head")
    assert chain.ok("get_qids", "-i", number).out == "77.head\n"
    assert chain.each("get_fws", "--qid", "77.head", "-d", "ids") == [number]
    assert chain.json("get_fws", "--qid", "8") == []
    assert "Can't find any reserved jobs with reservation id: 8" in chain.ok("cancel_qid", "--qid", "8").out
    chain.ok("cancel_qid", "--qid", "77.head")
    assert chain.of(number)["state"] == "READY"
    assert chain.ok("get_qids", "-i", number).out == "None\n"
