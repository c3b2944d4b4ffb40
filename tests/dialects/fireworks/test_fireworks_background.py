"""`_background_tasks`: Firetasks that run beside the tasks of a launch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.rocket import launch_rocket
from rekindle.domain.models import LeftRunning
from rekindle.engine.queries import job_queries
from rekindle.engine.session import open_session


@pytest.fixture
def pad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LaunchPad:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    return LaunchPad(store=tmp_path / ".rekindle")


def script(line: str) -> dict[str, Any]:
    return {"_fw_name": "ScriptTask", "script": line, "use_shell": True, "store_stdout": True}


def background(line: str, **settings: Any) -> dict[str, Any]:
    return {"_fw_name": "BackgroundTask", "tasks": [script(line)], "sleep_time": 0.05, "num_launches": 0, **settings}


def launch(pad: LaunchPad, tasks: list[dict[str, Any]], *beside: dict[str, Any]) -> dict[str, Any]:
    """Launch a firework in the working directory, and return it."""
    (number,) = pad.add_wf({"spec": {"_tasks": tasks, "_background_tasks": list(beside)}}).values()
    assert launch_rocket(pad, fw_id=number, strm_lvl="CRITICAL")
    return pad.get_fw_dict_by_id(number)


def lines(name: str) -> list[str]:
    return Path(name).read_text().split()


def left_running(pad: LaunchPad, number: int) -> LeftRunning | None:
    with open_session(pad.store) as session:
        return job_queries.attempts(session, [number])[-1].left_running


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_for(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.02)


UNTIL_SEEN = "until test -s beside && test $(wc -l < beside) -ge {}; do sleep 0.02; done; echo own"


@pytest.mark.parametrize("count", [1, 3])
def test_background_tasks_run_beside_all_tasks(pad: LaunchPad, count: int) -> None:
    tasks = [script(UNTIL_SEEN.format(2 * at)) for at in range(1, count + 1)]
    found = launch(pad, tasks, background("echo seen >> beside; echo printed"))
    assert found["state"] == "COMPLETED"
    assert found["launches"][0]["action"]["stored_data"]["stdout"] == "own\n"
    assert "printed" in lines("FW_background.out")
    assert left_running(pad, found["fw_id"]) is None
    before = lines("beside")
    time.sleep(0.3)
    assert lines("beside") == before
    assert not Path(".FW_background.json").exists()


def test_they_run_as_often_as_they_say(pad: LaunchPad) -> None:
    tasks = [script(UNTIL_SEEN.format(2)), script("sleep 0.5"), script("true")]
    assert launch(pad, tasks, background("echo seen >> beside", num_launches=2))["state"] == "COMPLETED"
    assert lines("beside") == ["seen", "seen"]


def test_each_runs_at_least_once_and_on_request_at_the_end(pad: LaunchPad) -> None:
    never = {"num_launches": 1, "sleep_time": 3600}
    found = launch(
        pad,
        [script("true")],
        background("echo once >> beside", **never),
        background("echo twice >> last", **never, run_on_finish=True),
    )
    assert found["state"] == "COMPLETED"
    assert (lines("beside"), lines("last")) == (["once"], ["twice", "twice"])


def test_a_background_task_that_fails_ends_only_itself(pad: LaunchPad) -> None:
    fails = background("echo seen >> other; exit 3")
    found = launch(pad, [script(UNTIL_SEEN.format(3))], fails, background("echo seen >> beside"))
    assert found["state"] == "COMPLETED"
    assert lines("other") == ["seen"]
    assert "ScriptTask fizzled!" in Path("FW_background.out").read_text()


def test_a_failed_launch_ends_its_background_tasks(pad: LaunchPad) -> None:
    found = launch(pad, [script(UNTIL_SEEN.format(1)), script("false"), script("true")], background("echo x >> beside"))
    assert found["state"] == "FIZZLED"
    pid = json.loads(Path(".FW_background.json").read_text())["pid"]
    wait_for(lambda: gone(pid))
    Path("beside").unlink()
    time.sleep(0.2)
    assert not Path("beside").exists()


def test_they_run_again_beside_the_tasks_of_a_recovery(pad: LaunchPad) -> None:
    tasks = [
        script("echo first >> own"),
        script("test -e mended"),
        script("rm -f beside"),
        script(UNTIL_SEEN.format(2)),
    ]
    number = launch(pad, tasks, background("echo seen >> beside", run_on_finish=True))["fw_id"]
    Path("mended").touch()
    assert pad.rerun_fw(number, recover_launch="last", recover_mode="prev_dir") == [number]
    assert launch_rocket(pad, fw_id=number, strm_lvl="CRITICAL")
    assert pad.get_fw_dict_by_id(number)["state"] == "COMPLETED"
    assert lines("own") == ["first"]


def test_an_invalid_background_task_fizzles_the_launch(pad: LaunchPad) -> None:
    found = launch(pad, [script("true")], {"num_launches": 1})
    assert found["state"] == "FIZZLED"
    assert "_background_tasks" in found["launches"][0]["action"]["stored_data"]["_message"]


def test_fireworks_that_another_adds_have_their_own(pad: LaunchPad) -> None:
    added = {"name": "added", "spec": {"_tasks": [script("true"), script(UNTIL_SEEN.format(2))]}}
    added["spec"]["_background_tasks"] = [background("echo seen >> beside")]  # type: ignore[index]
    adds = {"_fw_name": "ScriptTask", "script": f"echo '{json.dumps({'additions': [added]})}' > FWAction.json"}
    pad.add_wf({"spec": {"_tasks": [adds | {"use_shell": True}]}})
    assert launch_rocket(pad, strm_lvl="CRITICAL")
    Path("FWAction.json").unlink()
    assert launch_rocket(pad, strm_lvl="CRITICAL")
    (number,) = pad.get_fw_ids({"name": "added"})
    assert pad.get_fw_dict_by_id(number)["state"] == "COMPLETED"


def test_objects_of_fireworks_are_taken(pad: LaunchPad) -> None:
    pytest.importorskip("fireworks")
    from fireworks import FileWriteTask, Firework, ScriptTask
    from fireworks.features.background_task import BackgroundTask

    writes = FileWriteTask(files_to_write=[{"filename": "hello.txt", "contents": "hello"}])
    beside = BackgroundTask(writes, num_launches=1, run_on_finish=True)
    pad.add_wf(Firework(ScriptTask.from_str("true"), spec={"_background_tasks": [beside]}))
    assert launch_rocket(pad, strm_lvl="CRITICAL")
    assert Path("hello.txt").read_text() == "hello"
