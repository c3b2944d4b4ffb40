"""Pipelines of Ziggy's definition files: units of work, subtasks, marshaling and storing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from xml_sample import OVERRIDES, XmlPipeline
from ziggy_sample import until

from made_once import made_once
from rekindle.dialects.ziggy import task_data
from rekindle.dialects.ziggy.datastore import ModelType, newest_models

TILES = [f"tile-{number}.png" for number in range(4)]
PERMUTED = [f"tile-{number}.perm.png" for number in range(4)]


@pytest.fixture
@made_once
def received(sample: XmlPipeline) -> XmlPipeline:
    """The sample after data receipt: task 1 of instance 1."""
    sample.deliver()
    sample.console("start", "sample", "receipt", "data-receipt", "data-receipt", "--work")
    return sample


@pytest.fixture
@made_once
def failing(sample: XmlPipeline) -> XmlPipeline:
    """The sample after subtask 0 of both permuter tasks has failed: tasks 2 and 3 of instance 2."""
    sample.deliver()
    sample.console("start", "sample", "receipt", "data-receipt", "data-receipt", "--work")
    sample.console("start", "sample", "Test 2", "--definitions", OVERRIDES, "--work", expect=2)
    return sample


def shows(sample: XmlPipeline, subtask: Path, node: str) -> dict[str, Any]:
    """Return what the program of a subtask has read."""
    document: dict[str, Any] = json.loads((subtask / f"{node}-inputs.json").read_text())
    return document


# --- units of work and edges


def test_there_is_a_task_for_each_folder_of_the_varying_level(delivered: XmlPipeline) -> None:
    (delivered.folder / "datastore/other/L0").mkdir(parents=True)
    (delivered.folder / "datastore/set-9/L0").mkdir(parents=True)  # it holds no file of the type
    delivered.console("start", "sample")
    assert list(delivered.states()) == [
        "data-receipt",
        *(f"{node}[dataset=set-{unit}]" for node in ("permuter", "flip", "averaging") for unit in (1, 2)),
    ]
    shown = delivered.console("display", "-i", "1", "-d", "full").out
    assert " 2  permuter      [set-1]" in shown
    assert " 7  averaging     [set-2]" in shown


def test_a_task_waits_only_for_tasks_of_the_same_folder(failing: XmlPipeline) -> None:
    failing.console("restart", "-r", "resume-current-step", "-t", "2", "--work")
    states = failing.states()
    assert states["averaging[dataset=set-1]"] == "completed"
    assert states["averaging[dataset=set-2]"] == "waiting"


def test_a_node_without_files_is_refused_with_what_it_looks_for(sample: XmlPipeline) -> None:
    refused = sample.console("start", "sample", expect=1).err
    assert "the node permuter has no unit of work" in refused
    assert "'raw tiles' in dataset/L0" in refused
    assert "no delivery is in" in refused
    assert not (sample.folder / ".rekindle").exists()


def test_with_a_start_node_units_are_what_the_datastore_holds(received: XmlPipeline) -> None:
    target = received.folder / "datastore/set-2/L1"
    target.mkdir()
    shutil.copy(received.folder / "datastore/set-2/L0/tile-3.png", target / "tile-3.perm.png")
    received.console("start", "sample", "part", "flip", "flip", "--work")
    assert list(received.states()) == ["data-receipt", "flip[dataset=set-2]"]
    assert received.files("set-2/L2A") == ["tile-3.lr.png"]
    assert "no job 'flop'" in received.console("start", "sample", "part", "flop", expect=1).err


def test_levels_without_a_common_one_and_several_levels(received: XmlPipeline) -> None:
    for place in ("left/2019", "left/2020", "right/2020"):
        folder = received.folder / "datastore/set-1" / place
        folder.mkdir(parents=True)
        (folder / "a.txt").touch()
    (received.folder / "bin/copy").write_text("#!/bin/sh\ntouch out.dat\n")
    (received.folder / "bin/copy").chmod(0o755)
    received.replace("pt-tiles.xml", 'nodes="L0, ', 'nodes="side, sums, L0, ')
    received.define(
        "pd-more.xml",
        """\
<datastoreRegexp name="side" value="left|right"/><datastoreRegexp name="year" value="[0-9]{4}"/>
<datastoreNode name="side" isRegexp="true" nodes="year, mean"/><datastoreNode name="mean"/>
<datastoreNode name="year" isRegexp="true"/><datastoreNode name="sums"/>
<dataFileType name="yearly" location="dataset/side/year" fileNameRegexp="(a)\\.txt"/>
<dataFileType name="mean" location="dataset/side/mean" fileNameRegexp="out\\.dat"/>
<step name="years" file="copy"/><step name="sides" file="copy"/>
<step name="all" file="copy" uowGenerator="gov.nasa.ziggy.uow.SingleUnitOfWorkGenerator"/>
<pipeline name="more" rootNodeNames="years">
<node name="years" childNodeNames="sides, all">
<inputDataFileType name="yearly"/><outputDataFileType name="mean"/></node>
<node name="sides"><inputDataFileType name="mean"/></node>
<node name="all"/>
</pipeline>""",
    )
    received.console("start", "more", "--work")
    jobs = [name for name in received.states() if name != "data-receipt"]
    assert jobs == [
        "years[dataset=set-1,side=left,year=2019]",
        "years[dataset=set-1,side=left,year=2020]",
        "years[dataset=set-1,side=right,year=2020]",
        "sides[dataset=set-1,side=left]",
        "sides[dataset=set-1,side=right]",
        "all",
    ]
    needs = [received.ask("jobs", "show", job)["needs"] for job in jobs[3:]]
    assert [[one["name"] for one in found] for found in needs] == [jobs[:2], [jobs[2]], jobs[:3]]
    assert "[set-1,left,2019]" in received.console("display", "-i", "2", "-d", "full").out


def test_nodes_behind_the_stop_node_need_no_files_and_no_program(received: XmlPipeline) -> None:
    received.replace("pd-tiles.xml", 'name="averaging" file="image_steps.py"', 'name="averaging" file="none"')
    received.replace("pt-tiles.xml", 'location="dataset/L2A"', 'location="elsewhere"')
    received.define("pt-more.xml", '<datastoreNode name="elsewhere"/>')
    received.replace("pd-tiles.xml", '<outputDataFileType name="left-right tiles"/>', "")
    assert "the node averaging has no unit of work" in received.console("start", "sample", expect=1).err
    received.console("start", "sample", "part", "permuter", "flip", "--work")
    assert (
        "no path leads from flip to permuter"
        in received.console("start", "sample", "part", "flip", "permuter", expect=1).err
    )


def test_a_pipeline_that_is_not_there_is_answered_with_the_nearest(delivered: XmlPipeline) -> None:
    assert "did you mean `sample`?" in delivered.console("start", "sampel", expect=1).err


# --- marshaling


def test_inputs_and_models_are_linked_and_named_in_a_file(received: XmlPipeline) -> None:
    received.console("start", "sample", "one", "permuter", "permuter", "--work")
    subtask = received.subtask("2-2-permuter", 3)
    raw = received.folder / "datastore/set-1/L0/tile-3.png"
    (model,) = (received.folder / "datastore/models/color gains").iterdir()
    assert (subtask / "tile-3.png").samefile(raw)
    assert (subtask / "gains.txt").samefile(model)
    assert shows(received, subtask, "permuter") == {
        "dataFilenames": ["tile-3.png"],
        "modelFilenames": ["gains.txt"],
        "moduleParameters": {
            "Algorithm_Parameters": {
                "throw_exception_subtask_0": False,
                "produce_output_subtask_1": True,
                "dummy_array_parameter": [1, 2, 3],
                "execution_pause_seconds": 0,
            }
        },
    }
    task = subtask.parent
    assert len(list(task.glob("QUEUED.*"))) == 1
    assert len(list(task.glob("st-*/SUBTASK_START.*"))) == 4
    assert len(list(task.glob("st-*/SUBTASK_FINISH.*"))) == 4
    assert len(list(task.glob("st-*/.COMPLETE"))) == 4


def test_where_no_link_can_be_made_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another file system")

    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "folder/inner/a").write_text("a")
    task_data.place_file(tmp_path / "folder", tmp_path / "linked")
    monkeypatch.setattr(os, "link", refuse)
    task_data.place_file(tmp_path / "folder", tmp_path / "copied")
    assert (tmp_path / "linked/inner/a").samefile(tmp_path / "folder/inner/a")
    assert (tmp_path / "copied/inner/a").read_text() == "a"
    assert not (tmp_path / "copied/inner/a").samefile(tmp_path / "folder/inner/a")


def test_subtasks_are_groups_of_files_and_incomplete_ones_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZIGGY_TASK_DIR", "task-data/1-1-x")
    for name in ("a-1.png", "a-2.png", "a-3.png", "b-1.png", "b-3.png", "c.txt", "d-7.png", "other"):
        (tmp_path / name).touch()
    types: list[task_data.TypedFiles] = [
        {"name": "a", "folder": ".", "pattern": r"a-(\d)\.png", "everywhere": False},
        {"name": "b", "folder": ".", "pattern": r"b-(\d)\.png", "everywhere": False},
        {"name": "c", "folder": ".", "pattern": r"c\.txt", "everywhere": False},
        {"name": "d", "folder": ".", "pattern": r"d-(\d)\.png", "everywhere": True},
    ]
    assert task_data.marshal(types, [], False) == {"subtasks": 2}
    assert task_data.begin([], []) == ["st-0", "st-1"]
    read = [json.loads(Path(f"task-data/1-1-x/.inputs/st-{number}.json").read_text()) for number in (0, 1)]
    assert [one["dataFilenames"] for one in read] == [
        ["a-1.png", "b-1.png", "c.txt", "d-7.png"],
        ["a-3.png", "b-3.png", "c.txt", "d-7.png"],
    ]
    assert "left out: 2: it has no file of each type" in capsys.readouterr().out
    assert task_data.marshal(types, [], True) == {"subtasks": 1}
    assert sorted(one.name for one in Path("task-data/1-1-x/st-0").iterdir()) == [
        "a-1.png",
        "a-2.png",
        "a-3.png",
        "b-1.png",
        "b-3.png",
        "c.txt",
        "d-7.png",
    ]
    assert (tmp_path / "task-data/1-1-x.1/st-1/a-3.png").exists()


def test_the_newest_version_of_a_model_is_used(tmp_path: Path) -> None:
    for name in (
        "2020-01-01.0009-m.txt",
        "2019-01-01.0010-m.txt",
        "n.txt",
        "c-2019-v2.xml",
        "c-2020-v10.xml",
        "s-1.9.0",
        "s-1.10.0",
        "x",
    ):
        (tmp_path / name).touch()
    assert newest_models(tmp_path, ModelType("m", r"[mn]\.txt")) == [
        ("2019-01-01.0010-m.txt", "m.txt"),
        ("n.txt", "n.txt"),
    ]
    assert newest_models(tmp_path, ModelType("c", r"c-(\d+)-v(\d+)\.xml", 2, 1)) == [("c-2020-v10.xml",) * 2]
    assert newest_models(tmp_path, ModelType("s", r"s-([\d.]+)", 1)) == [("s-1.10.0",) * 2]
    assert newest_models(tmp_path / "none", ModelType("m", "m")) == []


def test_a_restart_from_the_beginning_keeps_the_earlier_folder_of_the_task(failing: XmlPipeline) -> None:
    shutil.copy(failing.folder / "datastore/set-1/L0/tile-0.png", failing.folder / "datastore/set-1/L0/tile-9.png")
    failing.console("restart", "-r", "restart-from-beginning", "-t", "2", "--work", expect=2)
    folders = sorted(one.name for one in (failing.folder / "task-data").iterdir())
    assert folders == ["1-1-data-receipt", "2-2-permuter", "2-2-permuter.1", "2-3-permuter"]
    assert len(list((failing.folder / "task-data/2-2-permuter").glob("st-*"))) == 5
    assert len(list((failing.folder / "task-data/2-2-permuter.1").glob("st-*"))) == 4


# --- the algorithm and its parameters


def test_parameters_have_their_types_and_values_of_another_type_are_refused(received: XmlPipeline) -> None:
    for text in ("throw exception subtask 0=maybe", "execution_pause_seconds=1.5", "dummy_array_parameter=1,b"):
        assert "its type is " in received.console("start", "sample", "--param", text, expect=64).err
    assert "declares no parameter" in received.console("start", "sample", "--param", "thrown=true", expect=1).err
    given = ["--param", "dummy_array_parameter=4, 5", "--param", "throw exception subtask 0=TRUE"]
    received.console("start", "sample", "x", "permuter", "permuter", *given, "--work", expect=2)
    values = shows(received, received.subtask("2-2-permuter", 0), "permuter")["moduleParameters"]
    assert values["Algorithm_Parameters"]["dummy_array_parameter"] == [4, 5]
    assert values["Algorithm_Parameters"]["throw_exception_subtask_0"] is True


def test_a_resubmitted_subtask_reads_the_changed_parameter_and_a_complete_one_keeps_its_own(
    failing: XmlPipeline,
) -> None:
    restart = ["restart", "-r", "resubmit", "-t", "2", "--work", "--set"]
    failing.console(*restart, "throw exception subtask 0=perhaps", expect=2)
    alerts = failing.console("display", "-i", "2", "-d", "alerts").out
    assert "the parameter throw_exception_subtask_0: 'perhaps' is no boolean" in alerts
    failing.console(*restart, "throw exception subtask 0=false")
    shown = [shows(failing, failing.subtask("2-2-permuter", number), "permuter") for number in (0, 1)]
    thrown = [one["moduleParameters"]["Algorithm_Parameters"]["throw_exception_subtask_0"] for one in shown]
    assert thrown == [False, True]
    assert failing.files("set-1/L1") == PERMUTED


def test_subtasks_of_a_task_run_at_once_on_its_cpus(received: XmlPipeline) -> None:
    (received.folder / "bin/image_steps.py").write_text(
        "import pathlib, time\n"
        "pathlib.Path('../' + pathlib.Path.cwd().name + '.here').touch()\n"
        "end = time.monotonic() + 30\n"
        "while len(list(pathlib.Path('..').glob('*.here'))) < 4:\n"
        "    assert time.monotonic() < end\n"
        "    time.sleep(0.02)\n"
    )
    received.console("start", "sample", "x", "permuter", "permuter", "--cpus", "4", "--work", "-j", "4")
    assert received.ask("jobs", "show", "2")["resources"]["cpus"] == 4


def test_what_a_failed_run_has_left_is_not_stored_after_a_run_without_output(failing: XmlPipeline) -> None:
    half = failing.subtask("2-2-permuter", 0) / "tile-0.perm.png"
    assert half.exists()
    (failing.subtask("2-2-permuter", 1) / ".COMPLETE").unlink()  # state files decide nothing
    (failing.folder / "bin/image_steps.py").write_text("")  # it succeeds, and makes nothing
    failing.console("restart", "-r", "resubmit", "-t", "2", expect=0)
    failing.rekindle("work")
    assert failing.files("set-1/L1") == PERMUTED[1:], "complete subtasks keep what they have made"
    assert (half.parent / ".rekindle-earlier-tile-0.perm.png").exists()


def test_parameters_of_one_name_in_two_sets_are_told_apart(received: XmlPipeline) -> None:
    received.define(
        "pl-more.xml",
        '<parameterSet name="Flip Parameters"><parameter name="execution pause seconds" value="0" type="int"/>'
        '<parameter name="gain" value="1.5" type="float"/></parameterSet>',
    )
    received.replace("pd-tiles.xml", '<node name="flip" childNodeNames="averaging">', '<node name="flip">')
    received.replace("pd-tiles.xml", '<node name="flip">', '<node name="flip"><parameterSet name="Flip Parameters"/>')
    received.replace("pd-tiles.xml", 'rootNodeNames="data-receipt"', 'rootNodeNames="data-receipt, averaging"')
    shown = received.console("config", "-c", "pipeline", "-p", "sample").out
    assert "Algorithm_Parameters-execution_pause_seconds = 0" in shown
    assert "Flip_Parameters-execution_pause_seconds = 0" in shown
    received.console("start", "sample", "x", "permuter", "--param", "gain=2", "--work")
    values = shows(received, received.subtask("2-4-flip", 0), "flip")["moduleParameters"]
    assert values["Flip_Parameters"] == {"execution_pause_seconds": 0, "gain": 2.0}
    assert list(shows(received, received.subtask("2-2-permuter", 0), "permuter")["moduleParameters"]) == [
        "Algorithm_Parameters"
    ]


def test_how_a_program_ends_is_how_its_subtask_ends(received: XmlPipeline) -> None:
    program = received.folder / "bin/image_steps.py"
    program.write_text(
        "import os, sys\nprint('said')\n"
        "os.kill(os.getpid(), 11) if os.path.basename(os.getcwd()) == 'st-1' else sys.exit(7)"
    )
    received.console("start", "sample", "x", "permuter", "permuter", "--work", expect=2)
    attempt = received.ask("attempts", "show", str(received.live(2)["id"]))
    ends = {one["item"]: one["cause"] for one in attempt["subtasks"]}
    assert ends == {"st-0": "exit", "st-1": "signal", "st-2": "exit", "st-3": "exit"}
    assert "said" in received.console("log", "-t", "2").out


def test_a_program_that_is_not_there_is_named(received: XmlPipeline) -> None:
    received.replace("pd-tiles.xml", 'name="flip" file="image_steps.py"', 'name="flip" file="flipper"')
    refused = received.console("start", "sample", expect=1).err
    assert "the program flipper of the node flip is not in bin" in refused
    assert "ziggy.pipeline.binPath" in refused


# --- storing


def test_only_outputs_of_complete_subtasks_are_stored(failing: XmlPipeline) -> None:
    assert failing.files("set-1/L1") == []
    half = failing.subtask("2-2-permuter", 0) / "tile-0.perm.png"
    assert half.exists()
    failing.console("restart", "-r", "resume-current-step", "-t", "2", "--work")
    assert failing.files("set-1/L1") == PERMUTED[1:]
    assert failing.files("set-1/L2A") == [f"tile-{number}.lr.png" for number in (1, 2, 3)]
    assert half.exists()
    assert not (failing.subtask("2-2-permuter", 1) / "tile-1.perm.png").exists()  # moved
    assert failing.live(2)["partial"]


def test_a_subtask_without_output_is_complete(received: XmlPipeline) -> None:
    received.console("start", "sample", "x", "permuter", "--param", "produce output subtask 1=false", "--work")
    assert received.files("set-2/L1") == [PERMUTED[0], *PERMUTED[2:]]
    assert received.files("set-2/L3") == ["average.png"]


def test_a_store_that_was_interrupted_moves_the_rest(received: XmlPipeline) -> None:
    blocked = received.folder / "datastore/set-1/L2B"
    blocked.touch()  # a file in the place of the folder
    received.console("start", "sample", "x", "--work", expect=2)
    assert "ERROR - STORING" in received.console("display", "-i", "2", "-d", "full").out
    blocked.unlink()
    ran = sorted(received.subtask("2-4-flip", 0).glob("SUBTASK_START.*"))
    received.console("restart", "-r", "resume-current-step", "-t", "4", "--work")
    assert received.files("set-1/L2A") == [f"tile-{number}.lr.png" for number in range(4)]
    assert received.files("set-1/L2B") == [f"tile-{number}.ud.png" for number in range(4)]
    assert sorted(received.subtask("2-4-flip", 0).glob("SUBTASK_START.*")) == ran  # no subtask ran again


def test_two_subtasks_with_one_output_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZIGGY_TASK_DIR", "task")
    for name in ("a-0", "a-1"):
        (tmp_path / name).touch()
    inputs: list[task_data.TypedFiles] = [{"name": "a", "folder": ".", "pattern": r"a-(\d)", "everywhere": False}]
    assert task_data.marshal(inputs, [], False) == {"subtasks": 2}
    for name in ("st-0", "st-1"):
        (tmp_path / "task" / name / "sum.txt").touch()
    outputs: list[task_data.TypedFiles] = [
        {"name": "sum", "folder": "datastore/sums", "pattern": r"sum\.txt", "everywhere": False}
    ]
    with pytest.raises(Exception, match=r"st-0 and st-1 have both made sum\.txt"):
        task_data.store(outputs, [{"item": "st-0"}, {"item": "st-1"}])
    assert not (tmp_path / "datastore").exists()
    task_data.store(outputs, [{"item": "st-1"}])
    assert (tmp_path / "datastore/sums/sum.txt").exists()
    assert (tmp_path / "task/st-0/sum.txt").exists()


def test_a_move_replaces_files_and_folders_also_from_another_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    rename = Path.replace

    def refuse(one: Path, to: Path) -> Path:
        if "copy" not in one.name:
            raise OSError("another file system")
        return rename(one, to)

    for attempt in range(4):
        if attempt == 2:
            monkeypatch.setattr(Path, "replace", refuse)
        source = tmp_path / f"new-{attempt}"
        source.mkdir()
        (source / "a").write_text(str(attempt))
        task_data.move_file(source, target)
        assert (target / "a").read_text() == str(attempt)
        source.write_text(f"file {attempt}")
        task_data.move_file(source, tmp_path / "file")
        assert (tmp_path / "file").read_text() == f"file {attempt}"
        assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "target"]


# --- halting


def test_a_halted_instance_stores_nothing_and_resumes_with_its_incomplete_subtasks(received: XmlPipeline) -> None:
    program = received.folder / "bin/image_steps.py"
    code = program.read_text()
    wait = (
        "import pathlib, time\nwhile 'st-2' in str(pathlib.Path.cwd()) and not pathlib.Path('../../../go').exists():\n"
    )
    program.write_text(f"{wait}    time.sleep(0.02)\n{code}")
    received.console("start", "sample", "halted", "permuter")
    runner = received.in_the_background("work", "-j", "2")
    try:
        until(
            lambda: received.console("display", "-i", "2").out.count("4/8") == 2, "two subtasks of each task are done"
        )
        assert "Halting task(s) 2, 3, 4, 5, 6, 7 in instance 2" in received.console("halt", "-i", "2").out
        assert runner.wait(timeout=60) == 5
    finally:
        (received.folder / "go").touch()
        runner.kill()
        runner.wait()
    assert received.console("display", "-i", "2", "-d", "full").out.count("HALTED - EXECUTING") == 2
    assert received.files("set-1/L1") == []
    before = {one: one.stat().st_ctime_ns for one in received.folder.glob("task-data/*/st-[01]/.COMPLETE")}
    assert len(before) == 4
    received.console("restart", "-i", "2", "--work", "-j", "2")
    assert {one: one.stat().st_ctime_ns for one in before} == before, "complete subtasks do not run again"
    assert received.files("set-1/L1") == received.files("set-2/L1") == PERMUTED
    assert received.files("set-2/L3") == ["average.png"]


# --- files that change


def test_a_changed_image_makes_its_tasks_stale(received: XmlPipeline) -> None:
    received.console("start", "sample", "x", "--work")
    shutil.copy(received.folder / "datastore/set-1/L0/tile-0.png", received.folder / "datastore/set-1/L0/tile-1.png")
    why = received.ask("why", "-w", "2")["jobs"]
    stale = {one["name"]: one["stale"] for one in why}
    assert stale["permuter[dataset=set-1]"] is True
    assert stale["permuter[dataset=set-2]"] is False


# --- the properties file


def test_the_properties_file_names_the_folders(received: XmlPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    root = received.folder
    (root / "build").mkdir()
    (root / "etc/ziggy.d").rename(root / "definitions")
    (root / "bin").rename(root / "programs")
    (root / "programs/permuter").write_text(
        '#!/bin/sh\necho "$MODE $LEVEL" > mode\nexec python3 "$(dirname "$0")/image_steps.py" "$1"\n'
    )
    (root / "programs/permuter").chmod(0o755)
    (root / "datastore").rename(root / "store")
    (root / "etc/my.properties").write_text(
        "# a comment\n"
        "root = ${env:PIPELINE_ROOT}\n"
        "ziggy.pipeline.home.dir = ${root}\n"
        "ziggy.pipeline.results.dir = ${ziggy.pipeline.home.dir}/build/results\n"
        "ziggy.pipeline.definition.dir = ${root}/definitions\n"
        "ziggy.pipeline.datastore.dir=${root}/store\n"
        "ziggy.pipeline.binPath = /nowhere:${root}/programs\n"
        "ziggy.pipeline.environment = MODE=fast,LEVEL=2\n"
    )
    monkeypatch.setenv("PIPELINE_CONFIG_PATH", "etc/my.properties")
    assert "names the variable PIPELINE_ROOT" in received.console("start", "sample", expect=64).err
    monkeypatch.setenv("PIPELINE_ROOT", str(root))
    (root / "definitions/pd-tiles.xml").write_text(
        (root / "definitions/pd-tiles.xml")
        .read_text()
        .replace('name="permuter" file="image_steps.py"', 'name="permuter"')
    )
    received.console("start", "sample", "x", "permuter", "--work")
    assert (root / "store/set-1/L3/average.png").exists()
    assert (root / "build/results/task-data/2-2-permuter/st-0").is_dir()
    assert (root / "build/results/task-data/2-2-permuter/st-0/mode").read_text() == "fast 2\n"
    monkeypatch.setenv("PIPELINE_CONFIG_PATH", "etc/none.properties")
    assert "etc/none.properties cannot be read" in received.console("start", "sample", expect=1).err
