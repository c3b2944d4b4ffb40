"""Scripts for FireWorks with one changed import: `from rekindle.dialects.fireworks import LaunchPad`."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.rocket import launch_rocket, rapidfire
from rekindle.domain.errors import BadValue, Refused, RekindleError
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import open_session
from rekindle.engine.submit.submit import submit
from rekindle.spec import load


def script(command: str, name: str, number: int, **spec: Any) -> dict[str, Any]:
    tasks = [{"_fw_name": "ScriptTask", "script": command, "use_shell": True}]
    return {"fw_id": number, "name": name, "spec": {**spec, "_tasks": tasks}}


def chain(second: str = "test -e ../mended") -> dict[str, Any]:
    fws = [
        script("echo first", "first", 11, _priority=3, alloy={"element": "Fe", "sites": [1, 2]}),
        script(second, "second", 12),
        script("echo third", "third", 13),
    ]
    return {"fws": fws, "links": {"11": [12], "12": [13]}, "name": "a chain of three", "metadata": {"user": "ada"}}


@pytest.fixture
def pad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LaunchPad:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    return LaunchPad()


def run(pad: LaunchPad) -> None:
    with open_session(pad.store) as session:
        work(session, WorkOptions(slots=2))
        with session.store.read() as archive:
            assert archive.check() == []


def states(pad: LaunchPad) -> dict[int, str]:
    return {one: pad.get_fw_dict_by_id(one)["state"] for one in pad.get_fw_ids()}


@pytest.fixture(scope="module")
def failed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failed")
    with contextlib.chdir(folder):
        made = LaunchPad(store=folder / ".rekindle")
        made.add_wf(chain())
        run(made)
        assert states(made) == {1: "COMPLETED", 2: "FIZZLED", 3: "WAITING"}
    return folder


@pytest.fixture
def failed(pad: LaunchPad, failed_once: Path, tmp_path: Path) -> LaunchPad:
    """Three fireworks; the second one is FIZZLED."""
    shutil.copytree(failed_once / ".rekindle", tmp_path / ".rekindle")
    return pad


def test_bulk_add_reads_all_workflows_before_adding(pad: LaunchPad) -> None:
    with pytest.raises(RekindleError):
        pad.bulk_add_wfs([chain(), {**chain(), "links": {"11": [99]}}])
    assert pad.get_fw_ids() == []
    pad.bulk_add_wfs([chain(), chain()])
    assert len(pad.get_wf_ids()) == 2


def test_add_wf_takes_a_dict_and_returns_new_ids(pad: LaunchPad) -> None:
    assert pad.add_wf(chain()) == {11: 1, 12: 2, 13: 3}
    assert pad.add_wf(script("echo alone", "alone", -1)) == {-1: 4}
    assert pad.get_fw_ids({"name": "alone"}) == [4]
    assert pad.get_wf_ids() == [1, 4]


def test_queries_are_mongodb_queries(failed: LaunchPad) -> None:
    assert failed.get_fw_ids({"state": "FIZZLED"}) == [2]
    assert failed.get_fw_ids({"spec.alloy.sites": 2}) == [1]
    assert failed.get_fw_ids({}, sort=[("name", -1)], limit=2) == [3, 2]
    assert failed.get_fw_ids({"state": {"$ne": "WAITING"}}, count_only=True) == 2
    assert failed.get_fw_ids({"state": "COMPLETED"}, launches_mode=True) == [1]
    assert failed.get_wf_ids({"metadata.user": "ada"}) == [1]
    assert failed.get_wf_ids({"metadata.user": "eve"}, count_only=True) == 0
    assert failed.get_fw_ids_in_wfs({"name": "a chain of three"}, {"state": "FIZZLED"}) == [2]
    assert failed.get_fw_ids_in_wfs({"name": "another"}) == []


def test_a_firework_is_a_dict_with_its_launches(failed: LaunchPad) -> None:
    found = failed.get_fw_dict_by_id(2)
    assert (found["fw_id"], found["name"], found["state"]) == (2, "second", "FIZZLED")
    (launch,) = found["launches"]
    assert found["archived_launches"] == []
    assert launch["action"]["stored_data"]["_exception"]["_stacktrace"]
    assert launch["launch_dir"] == failed.get_launchdir(2)
    assert failed.get_launchdir(3) is None


def test_workflow_summary(failed: LaunchPad) -> None:
    found = failed.get_wf_summary_dict(3)
    assert (found["name"], found["state"]) == ("a chain of three", "FIZZLED")
    assert found["states"] == {"first--1": "COMPLETED", "second--2": "FIZZLED", "third--3": "WAITING"}
    assert failed.get_wf_summary_dict(1, "less")["states_list"] == "C-F-W"
    assert failed.get_wf_summary_dict(1, "all")["links"]["first--1"] == ["second--2"]


def test_rerun_archives_launches_and_resets_descendants(failed: LaunchPad) -> None:
    assert failed.rerun_fw(1) == [1]
    assert states(failed) == {1: "READY", 2: "WAITING", 3: "WAITING"}
    assert [one["launch_id"] for one in failed.get_fw_dict_by_id(1)["archived_launches"]] == [1]
    assert failed.rerun_fw(3) == []


def test_a_rerun_with_recovery_starts_at_the_task_that_failed(pad: LaunchPad, tmp_path: Path) -> None:
    tasks = [
        {"_fw_name": "ScriptTask", "script": "echo once >> seen", "use_shell": True},
        {"_fw_name": "ScriptTask", "script": f"test -e {tmp_path}/mended", "use_shell": True},
    ]
    pad.add_wf({"name": "two tasks", "spec": {"_tasks": tasks}})
    run(pad)
    before = pad.get_launchdir(1)
    (tmp_path / "mended").touch()
    assert pad.rerun_fw(1, recover_launch="last", recover_mode="cp") == [1]
    run(pad)
    assert states(pad) == {1: "COMPLETED"}
    after = pad.get_launchdir(1)
    assert after is not None
    assert after != before
    assert Path(after, "seen").read_text() == "once\n"
    with pytest.raises(ValueError, match="cannot be recovered"):
        pad.rerun_fw(1, recover_launch=99)
    with pytest.raises(Exception, match="recover_mode"):
        pad.rerun_fw(1, recover_launch="last", recover_mode="mv")  # type: ignore[arg-type]


def test_held_fireworks_run_after_release(pad: LaunchPad) -> None:
    pad.add_wf(chain("echo second"))
    assert pad.pause_fw(1) == {"fw_id": 1, "name": "first", "state": "PAUSED"}
    assert pad.defuse_fw(2) is not None
    assert pad.resume_fw(2) is None
    run(pad)
    assert states(pad) == {1: "PAUSED", 2: "DEFUSED", 3: "WAITING"}
    pad.resume_fw(1)
    pad.reignite_fw(2)
    run(pad)
    assert states(pad) == {1: "COMPLETED", 2: "COMPLETED", 3: "COMPLETED"}
    pad.defuse_wf(1, defuse_all_states=False)
    assert states(pad)[1] == "COMPLETED"
    pad.defuse_wf(1)
    assert set(states(pad).values()) == {"DEFUSED"}
    pad.reignite_wf(2)
    assert states(pad) == {1: "READY", 2: "WAITING", 3: "WAITING"}
    pad.pause_wf(2)
    assert set(states(pad).values()) == {"PAUSED"}


def test_specs_and_priorities_change(failed: LaunchPad) -> None:
    failed.set_priority(2, 7)
    failed.update_spec([2], {"_tasks.0.script": "echo mended", "alpha": 0.5})
    spec = failed.get_fw_dict_by_id(2)["spec"]
    assert (spec["_priority"], spec["alpha"], spec["_tasks"][0]["script"]) == (7, 0.5, "echo mended")
    failed.update_spec([2], {"$inc": {"spec.alpha": 1}}, mongo=True)
    failed.update_spec([1], {"alpha": 2})
    assert failed.get_fw_ids({"spec.alpha": {"$gt": 1}}) == [2]
    failed.rerun_fw(2)
    run(failed)
    assert states(failed) == {1: "COMPLETED", 2: "COMPLETED", 3: "COMPLETED"}


def test_workflows_are_archived_and_deleted(failed: LaunchPad) -> None:
    failed.add_wf(script("echo alone", "alone", -1))
    failed.archive_wf(2)
    assert states(failed) == {1: "ARCHIVED", 2: "ARCHIVED", 3: "ARCHIVED", 4: "READY"}
    folder = failed.get_launchdir(1)
    assert folder is not None
    failed.delete_wf(1, delete_launch_dirs=True)
    assert failed.get_fw_ids() == [4]
    assert not Path(folder).exists()


@pytest.mark.parametrize("call", ["get_fw_dict_by_id", "rerun_fw", "defuse_fw", "delete_wf", "get_wf_summary_dict"])
def test_unknown_ids_raise_value_error(failed: LaunchPad, call: str) -> None:
    with pytest.raises(ValueError, match=r"id: 17|fw_id=17"):
        getattr(failed, call)(17)
    assert len(failed.get_fw_ids()) == 3


def test_reset_removes_fireworks_workflows_only(failed: LaunchPad, tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text("name: ours\njobs: {a: {run: 'true'}}\n")
    with open_session() as session:
        submit(session, load(tmp_path / "ours.yaml"))
    with pytest.raises(ValueError, match="Invalid password"):
        failed.reset("")
    with pytest.raises(ValueError, match="greater than the max_reset_wo_password"):
        failed.reset("", require_password=False, max_reset_wo_password=0)
    with pytest.raises(ValueError, match="names a database"):
        LaunchPad(host="db.example", name="scratch").reset("", require_password=False)
    failed.reset(date.today().isoformat())
    assert failed.get_fw_ids() == []
    with open_session() as session, session.store.read() as archive:
        assert [one.name for one in archive.workflows.listing()] == ["ours"]


def test_a_launchpad_file_says_which_store(pad: LaunchPad, tmp_path: Path) -> None:
    path = tmp_path / "my_launchpad.yaml"
    path.write_text(f"host: localhost\nport: 27017\nname: fireworks\nuser_indices: []\nstore: {tmp_path}/other\n")
    other = LaunchPad.from_file(path)
    other.add_wf(script("echo alone", "alone", -1))
    assert (other.get_fw_ids(), pad.get_fw_ids()) == ([1], [])
    assert LaunchPad.from_dict(other.to_dict()).get_fw_ids() == [1]
    assert LaunchPad.auto_load().get_fw_ids() == []
    assert LaunchPad("localhost", 27017, "fireworks", "user", "secret", strm_lvl="ERROR").name == "fireworks"
    with pytest.raises(ValueError, match="No such file"):
        LaunchPad.from_file(tmp_path / "none.yaml")
    with pytest.raises(TypeError, match="hots"):
        LaunchPad(hots="db")


def test_whether_there_is_something_to_run(pad: LaunchPad) -> None:
    assert not pad.future_run_exists()
    pad.add_wf(chain("echo second"))
    assert pad.run_exists()
    pad.pause_fw(1)
    assert not pad.future_run_exists()


def test_a_workflow_is_appended_to_another(failed: LaunchPad) -> None:
    failed.append_wf(script("echo between", "between", -1), [1], detour=True)
    (new,) = failed.get_fw_ids({"name": "between"})
    links = failed.get_wf_summary_dict(1, "all")["links"]
    assert links["first--1"] == ["second--2", f"between--{new}"]
    assert links[f"between--{new}"] == ["second--2"]
    with pytest.raises(ValueError, match="Could not find a Workflow with fw_id=17"):
        failed.append_wf(chain(), [17])


def test_no_lost_runs_without_dead_runners(failed: LaunchPad) -> None:
    assert failed.detect_lostruns() == ([], [], [])


def test_impossible_launches_raise(pad: LaunchPad) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        rapidfire(pad, m_dir="nowhere")
    with pytest.raises(Refused, match="pdb_on_exception"):
        launch_rocket(pad, pdb_on_exception=True)
    with pytest.raises(ValueError, match="No Firework exists with id: 7"):
        launch_rocket(pad, fw_id=7)
    with pytest.raises(BadValue, match="LOUD"):
        rapidfire(pad, strm_lvl="LOUD")


def test_importing_it_imports_no_fireworks() -> None:
    code = "import sys, rekindle.dialects.fireworks as f; f.LaunchPad; print('fireworks' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


SCRIPT = """\
from fireworks import Firework, FWorker, PyTask, ScriptTask, Workflow
from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.rocket import launch_rocket, rapidfire

launchpad = LaunchPad.auto_load()
one = Firework([ScriptTask.from_str("echo one")], name="one", spec={"a": 1})
two = Firework([PyTask(func="builtins.sum", args=[[1, 2]], outputs=["total"])], name="two", parents=[one])
workflow = Workflow([one, two], name="of objects")
ids = launchpad.add_wf(workflow)
assert {one.fw_id, two.fw_id} == set(ids.values()) == {1, 2}, ids
assert workflow.links[one.fw_id] == [two.fw_id], workflow.links
alone = Firework([ScriptTask.from_str("echo alone")], name="alone", spec={"_category": "mine"})
launchpad.add_wf(alone)
assert alone.fw_id == 3, alone.fw_id
assert launch_rocket(launchpad, FWorker("the first", category="other")) is False
assert launch_rocket(launchpad, FWorker("the first"), fw_id=3, strm_lvl="ERROR") is True
rapidfire(launchpad, FWorker("a machine", query={"name": "one"}), nlaunches=1)
assert launchpad.get_fw_ids({"state": "COMPLETED"}) == [one.fw_id, 3]
rapidfire(launchpad, m_dir="below")
assert launchpad.get_fw_ids({"fworker.name": "the first"}, launches_mode=True) == [3]
found = launchpad.get_fw_by_id(two.fw_id)
assert isinstance(found, Firework)
assert (found.state, found.launches[0].action.update_spec) == ("COMPLETED", {"total": 3})
assert launchpad.get_launch_by_id(found.launches[0].launch_id).fw_id == two.fw_id
read = launchpad.get_wf_by_fw_id_lzyfw(one.fw_id)
assert (read.name, read.state, read.links[one.fw_id]) == ("of objects", "COMPLETED", [two.fw_id])
assert launchpad.get_fw_ids({"spec._tasks._fw_name": "PyTask"}) == [two.fw_id]
print("done")
"""


def test_script_with_fireworks_objects_runs(pad: LaunchPad) -> None:
    Path("below").mkdir()
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("done\n"), done.stderr
    assert len(list(Path.cwd().glob("launcher_*"))) == len(list(Path("below").glob("launcher_*"))) == 1
    assert pad.get_launchdir(3) == str(Path.cwd())
