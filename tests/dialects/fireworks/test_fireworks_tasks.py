"""Built-in Firetasks where they differ from FireWorks' own, and their errors."""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from rekindle.dialects.fireworks.tasks import run_task
from rekindle.dialects.fireworks.tasks.task_parameters import BadTask


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a launch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FW_CONFIG_FILE", raising=False)
    return tmp_path


def script(script: str | list[str], **params: Any) -> dict[str, Any]:
    return run_task({"_fw_name": "ScriptTask", "script": script, **params}, {"word": "told"})


def function(func: str, *args: Any, **params: Any) -> dict[str, Any]:
    return run_task({"_fw_name": "PyTask", "func": func, "args": list(args), **params}, {})


def test_several_commands_write_one_output() -> None:
    found = script(["echo a", "echo b; echo c >&2"], store_stdout=True, store_stderr=True, stdout_file="out")
    stored = {"stdout": "a\nb\n", "stderr": "c\n", "returncode": 0, "all_returncodes": [0, 0]}
    assert found == {"stored_data": stored}
    assert Path("out").read_text() == "a\nb\n"


def test_output_that_is_stored_is_in_the_log_too(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    script("echo out; echo err >&2", store_stdout=True, store_stderr=True)
    assert capfd.readouterr() == ("before\nout\n", "err\n")


def test_output_that_is_stored_passes_through_a_pipe(folder: Path) -> None:
    code = (
        "from rekindle.dialects.fireworks.tasks import run_task\n"
        "task = {'_fw_name': 'ScriptTask', 'script': ['echo a', 'echo b'], 'store_stdout': True}\n"
        "assert run_task(task, {})['stored_data']['stdout'] == 'a\\nb\\n'\n"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "a\nb\n"


def test_without_a_shell_commands_are_split_like_a_shell() -> None:
    found = script(["echo 'a  b' $HOME", "printf %s c"], use_shell=False, store_stdout=True)
    assert found["stored_data"]["stdout"] == "a  b $HOME\nc"


def test_stdin_key_passes_spec_text_to_stdin() -> None:
    assert script("cat", stdin_key="word", store_stdout=True)["stored_data"]["stdout"] == "told"


def test_failure_shows_the_command_and_the_end_of_its_output() -> None:
    with pytest.raises(RuntimeError, match=r"ScriptTask fizzled! Return code: \[0, 4\]") as caught:
        script(["true", "seq 9999; echo no such lattice >&2; exit 4", "touch never"])
    told = "".join(traceback.format_exception(caught.value))
    assert "command: seq 9999; echo no such lattice >&2; exit 4" in told
    assert "stderr: no such lattice" in told
    assert told.endswith("9998\n9999\n")
    assert "\n1\n2\n" not in told
    assert not Path("never").exists()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"script": "x", "stdin_file": "a", "stdin_key": "b"}, "both `stdin_file` and `stdin_key`"),
        ({"script": "x", "fizzle_bad_rc": True, "defuse_bad_rc": True}, "both `defuse_bad_rc` and `fizzle_bad_rc`"),
        ({}, "ScriptTask needs the parameter 'script'"),
        ({"script": "x", "stdin_key": "nothing"}, "ScriptTask needs the key 'nothing' of the spec"),
    ],
)
def test_contradicting_parameters_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadTask, match=message):
        run_task({"_fw_name": "ScriptTask", **params}, {})


def test_a_method_is_found_in_its_class() -> None:
    found = function("datetime.datetime.fromisoformat", "2024-01-02T03:04:05", outputs=["at"])
    assert found == {"update_spec": {"at": "2024-01-02T03:04:05"}}


def test_what_json_does_not_have_is_passed_on_in_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = pytest.importorskip("numpy")
    made = {
        1: numpy.int64(3),
        "array": numpy.eye(2),
        "set": {7},
        "path": Path("a"),
        "at": datetime.datetime(2024, 1, 2),
    }
    monkeypatch.setattr("builtins.made", lambda: made, raising=False)
    told = {"1": 3, "array": [[1, 0], [0, 1]], "set": [7], "path": "a", "at": "2024-01-02T00:00:00"}
    assert function("made", stored_data_varname="all") == {"stored_data": {"all": told}}


def test_a_module_of_the_project_that_fails_to_import_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "lattices.py").write_text("import nothing_like_it\n")
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(ModuleNotFoundError, match="nothing_like_it"):
        function("lattices.make")


@pytest.mark.parametrize(
    ("func", "message"),
    [
        ("nowhere.at_all", "PyTask finds no module 'nowhere'"),
        ("math.sqroot", "PyTask finds no function 'math.sqroot'"),
        ("math.pi", "'math.pi' is no function"),
        (" ", "names a function"),
    ],
)
def test_unknown_function_is_refused(func: str, message: str) -> None:
    with pytest.raises(BadTask, match=message):
        function(func)


def test_what_an_exception_says_of_itself_is_in_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Diverged(Exception):
        def to_dict(self) -> dict[str, Any]:
            return {"steps": 7 / self.args[1], "at": Path("here")}

    def diverge(by: int) -> None:
        raise Diverged("no minimum", by)

    monkeypatch.setattr("builtins.diverge", diverge, raising=False)
    with pytest.raises(Diverged) as caught:
        function("diverge", 7)
    assert traceback.format_exception(caught.value)[-1] == '_details: {"steps": 1.0, "at": "here"}\n'
    with pytest.raises(Diverged):
        function("diverge", 0)


def test_number_of_outputs_has_to_match_their_names() -> None:
    with pytest.raises(BadTask, match="PyTask has 2 `outputs`, and sorted returned"):
        function("sorted", [3, 1, 2], outputs=["a", "b"])


def test_a_file_that_cannot_be_moved_is_named() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        run_task({"_fw_name": "FileTransferTask", "mode": "move", "files": ["gone"], "dest": "."}, {})
    assert "FileTransferTask, move:" in "".join(traceback.format_exception(caught.value))


def test_a_transfer_is_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: (folder / "late").write_text("here"))
    task = {"_fw_name": "FileTransferTask", "mode": "copy", "files": [{"src": "late", "dest": "copied"}]}
    run_task({**task, "max_retry": 1}, {})
    assert Path("copied").read_text() == "here"


def test_home_and_variables_are_meant_unless_told_otherwise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "home").mkdir()
    (folder / "home" / "a").write_text("a")
    monkeypatch.setenv("WHERE", "home")
    task = {"_fw_name": "FileTransferTask", "mode": "copy", "files": ["~/a"], "dest": "$WHERE/b"}
    run_task(task, {})
    assert (folder / "home" / "b").read_text() == "a"
    with pytest.raises(FileNotFoundError):
        run_task({**task, "shell_interpret": False}, {})


def test_other_hosts_are_left_to_fireworks() -> None:
    pytest.importorskip("fireworks")
    with pytest.raises(ModuleNotFoundError, match="paramiko"):
        run_task({"_fw_name": "FileTransferTask", "mode": "rtransfer", "files": ["a"], "dest": "/b"}, {})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mode": "copi", "files": ["a"], "dest": "b"}, "no mode 'copi' .*copy"),
        ({"mode": "copy", "files": ["a"]}, "no `dest` for 'a'"),
        ({"mode": "copy", "files": [{"dest": "b"}]}, "no `src`"),
    ],
)
def test_invalid_transfers_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadTask, match=message):
        run_task({"_fw_name": "FileTransferTask", **params}, {})


def test_undeletable_file_fails_without_ignore_errors() -> None:
    with pytest.raises(FileNotFoundError):
        run_task({"_fw_name": "FileDeleteTask", "files_to_delete": ["gone"], "ignore_errors": False}, {})


def test_undecompressable_file_is_unchanged() -> None:
    Path("broken.gz").write_text("not compressed")
    Path("broken").write_text("an older one")
    with pytest.raises(OSError, match="gzip"):
        run_task({"_fw_name": "DecompressDirTask"}, {})
    assert {path.name: path.read_text() for path in Path().iterdir()} == {
        "broken.gz": "not compressed",
        "broken": "an older one",
    }
    run_task({"_fw_name": "DecompressDirTask", "ignore_errors": True}, {})


def test_missing_folder_is_reported() -> None:
    with pytest.raises(NotADirectoryError, match="CompressDirTask finds no folder gone"):
        run_task({"_fw_name": "CompressDirTask", "dest": "gone"}, {})


def test_values_are_written_as_they_are_and_appended_when_asked() -> None:
    Path("t").write_text("x {{ x }};")
    task = {"_fw_name": "TemplateWriterTask", "template_file": "t", "template_dir": ".", "output_file": "o"}
    run_task({**task, "context": {"x": "<1 & 'a'>"}}, {})
    run_task({**task, "context": {"x": 2}, "append": True}, {})
    assert Path("o").read_text() == "x <1 & 'a'>;x 2;"


def test_templates_are_where_the_configuration_says(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "t").write_text("of {{ who }}")
    (folder / "FW_config.yaml").write_text(f"TEMPLATE_DIR: {folder / 'mine'}\n")
    task = {"_fw_name": "TemplateWriterTask", "use_global_spec": True}
    run_task(task, {"template_file": "t", "context": {"who": "mine"}, "output_file": "o"})
    assert Path("o").read_text() == "of mine"
    with pytest.raises(BadTask, match=r"finds no template .*/mine/other"):
        run_task(task, {"template_file": "other", "context": {}, "output_file": "o"})


def test_the_spec_that_is_given_stays_as_it_is(folder: Path) -> None:
    spec = {"a": {"b": {"c": 1}}, "list": [1], "n": 2}
    (folder / "data.yaml").write_text("d: 2\n")
    run_task({"_fw_name": "ImportDataTask", "filename": "data.yaml", "mapstring": "a/b"}, spec)
    run_task({"_fw_name": "JoinListTask", "inputs": ["n"], "output": "list"}, spec)
    run_task({"_fw_name": "JoinDictTask", "inputs": ["n"], "output": "a"}, spec)
    assert spec == {"a": {"b": {"c": 1}}, "list": [1], "n": 2}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"_fw_name": "ImportDataTask", "filename": "d.txt", "mapstring": "a"}, "end in .json or .yaml"),
        ({"_fw_name": "ImportDataTask", "filename": "d.json", "mapstring": "n/b/c"}, "no object at 'n/b'"),
        ({"_fw_name": "JoinListTask", "inputs": ["n"], "output": "n"}, "'n' of the spec is no list"),
        ({"_fw_name": "JoinDictTask", "inputs": ["n"], "output": "n"}, "'n' of the spec is no object"),
        ({"_fw_name": "JoinDictTask", "inputs": ["x"], "output": "all"}, "'x' of the spec, which does not exist"),
        ({"_fw_name": "ForeachTask", "split": "n", "task": {"inputs": ["n"]}}, "'n' of the spec is no list"),
        ({"_fw_name": "ForeachTask", "split": "n", "task": {"inputs": ["m"]}}, "'n', is not among the `inputs`"),
    ],
)
def test_invalid_joins_and_splits_are_refused(folder: Path, task: dict[str, Any], message: str) -> None:
    (folder / "d.json").write_text("{}")
    (folder / "d.txt").write_text("{}")
    with pytest.raises(BadTask, match=message):
        run_task(task, {"n": 1})


def test_failed_command_line_shows_its_output() -> None:
    task = {"_fw_name": "CommandLineTask", "command_spec": {"command": ["ls", "gone"]}}
    with pytest.raises(RuntimeError, match="CommandLineTask: ls ended with 2") as caught:
        run_task(task, {})
    assert "stderr: ls: " in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({}, "no list `command`"),
        ({"command": ["ls"]}, "does not describe 'a'"),
        ({"command": ["ls"], "a": {"source": {"type": "identifier", "value": "x"}}}, "the type 'identifier'"),
        ({"command": ["ls"], "a": {"source": {"type": "path"}}}, "has no `value`"),
        ({"command": ["ls"], "a": {"source": "gone"}}, "'gone' of the spec"),
    ],
)
def test_invalid_command_lines_are_refused(described: dict[str, Any], message: str) -> None:
    with pytest.raises(BadTask, match=message):
        run_task({"_fw_name": "CommandLineTask", "command_spec": described, "inputs": ["a"]}, {})


def test_files_are_kept_by_their_identifiers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    launch = folder / ".rekindle" / "attempts" / "1"
    launch.mkdir(parents=True)
    monkeypatch.chdir(launch)
    Path("a.txt").write_text("a")
    Path("b.txt").write_text("b")
    run_task({"_fw_name": "AddFilesTask", "paths": "*.txt", "identifiers": ["first", "second"]}, {})
    run_task({"_fw_name": "AddFilesTask", "paths": ["b.txt"], "identifiers": ["first"]}, {})
    monkeypatch.chdir(folder)
    run_task({"_fw_name": "GetFilesTask", "identifiers": ["first"]}, {})
    run_task({"_fw_name": "GetFilesTask", "identifiers": ["second"], "new_file_names": ["c.txt"]}, {})
    assert Path("a.txt").read_text() == "a", "what is there stays"
    assert Path("c.txt").read_text() == "b"
    run_task({"_fw_name": "DeleteFilesTask", "identifiers": ["first", "never"]}, {})
    with pytest.raises(BadTask, match="there is no file 'first'"):
        run_task({"_fw_name": "GetFilesTask", "identifiers": ["second", "first"], "dest_dir": "home"}, {})


def test_without_a_store_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    with pytest.raises(BadTask, match=r"GetFilesTask finds no \.rekindle at or above"):
        run_task({"_fw_name": "GetFilesTask", "identifiers": ["a"]}, {})


def test_file_queries_without_mongodb_are_refused() -> None:
    with pytest.raises(BadTask, match="GetFilesByQueryTask queries a MongoDB"):
        run_task({"_fw_name": "GetFilesByQueryTask", "query": {}}, {})


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_named_mongodb_is_used_through_fireworks(folder: Path) -> None:
    pytest.importorskip("fireworks")
    from pymongo.errors import ServerSelectionTimeoutError

    nobody = "{host: localhost, port: 1, mongoclient_kwargs: {serverSelectionTimeoutMS: 1}}"
    (folder / "pad.yaml").write_text(nobody)
    with pytest.raises(ServerSelectionTimeoutError):
        run_task({"_fw_name": "GetFilesTask", "identifiers": ["a"], "filepad_file": "pad.yaml"}, {})


def test_written_fwaction_file_is_the_action() -> None:
    action = """{"stored_data": {"a": 1}, "update_spec": {}, "exit": true, "mod_spec": {"_inc": {"n": 1}}}"""
    found = script(f"echo '{action}' > FWAction.json")
    assert found == {"stored_data": {"a": 1}, "exit": True, "mod_spec": [{"_inc": {"n": 1}}]}
    assert script("true") == {"stored_data": {"returncode": 0, "all_returncodes": [0]}}, "it was the other task's"
    assert script("echo 'defuse_children: true' > FWAction.yaml") == {"defuse_children": True}


@pytest.mark.parametrize(
    ("document", "message"),
    [("{", "FWAction.json cannot be read"), ("[]", "is an object"), ('{"store": {}}', "has no 'store'")],
)
def test_invalid_fwaction_file_is_refused(document: str, message: str) -> None:
    with pytest.raises(BadTask, match=message):
        script(f"echo '{document}' > FWAction.json")


def test_a_function_may_return_fireworks_own_action(monkeypatch: pytest.MonkeyPatch) -> None:
    firework = pytest.importorskip("fireworks.core.firework")
    action = firework.FWAction(update_spec={"a": 1}, defuse_children=True)
    monkeypatch.setattr("builtins.made", lambda: action, raising=False)
    assert function("made", outputs=["ignored"]) == {"update_spec": {"a": 1}, "defuse_children": True}


@pytest.mark.parametrize("task", [{}, {"_fw_name": ""}, {"_fw_name": 3}, {"_fw_name": "{{ }}"}])
def test_a_task_needs_a_name(task: dict[str, Any]) -> None:
    with pytest.raises(BadTask, match="a task has no `_fw_name`"):
        run_task(task, {})


@pytest.mark.parametrize("name", ["{{own_tasks.Mine}}", "Mine"])
def test_without_the_package_it_is_named(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own_tasks.py").write_text("from fireworks import FiretaskBase\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(sys.modules, "fireworks", None)
    with pytest.raises(BadTask, match=r"Mine needs the package fireworks.*pip install rekindle\[fireworks\]"):
        run_task({"_fw_name": name}, {})
    assert function("sorted", [2, 1], outputs=["s"]) == {"update_spec": {"s": [1, 2]}}


def test_without_jinja2_templates_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(BadTask, match="TemplateWriterTask needs the package Jinja2"):
        run_task({"_fw_name": "TemplateWriterTask"}, {})


OWN = """
class One:
    _fw_name = "Own"
    @classmethod
    def from_dict(cls, params): return cls()
    def run_task(self, spec): return None
"""


def test_a_name_that_is_two_firetasks_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own_package").mkdir()
    (folder / "own_package" / "__init__.py").write_text("")
    (folder / "own_package" / "a.py").write_text(OWN)
    (folder / "own_package" / "b.py").write_text(OWN)
    (folder / "elsewhere.yaml").write_text("USER_PACKAGES: [own_package]\n")
    monkeypatch.setenv("FW_CONFIG_FILE", str(folder / "elsewhere.yaml"))
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(BadTask, match=r"named 'Own': \{\{own_package.a.One\}\}, \{\{own_package.b.One\}\}"):
        run_task({"_fw_name": "Own"}, {})


def test_a_configuration_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "FW_config.yaml").write_text("[")
    with pytest.raises(BadTask, match=r"FW_config.yaml cannot be read"):
        script("true")
