"""Built-in Firetasks return the same FWAction and write the same files as FireWorks' own."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rekindle.dialects.fireworks.tasks import run_task
from rekindle.dialects.fireworks.tasks.dispatch import task_name
from rekindle.dialects.fireworks.tasks.launch_environment import configuration

ARCHIVES = ("CompressDirTask", "DecompressDirTask", "ArchiveDirTask")
REAL = {
    "script_task": ("ScriptTask", "PyTask"),
    "templatewriter_task": ("TemplateWriterTask",),
    "fileio_tasks": ("FileWriteTask", "FileDeleteTask", "FileTransferTask", *ARCHIVES),
    "dataflow_tasks": ("CommandLineTask", "ForeachTask", "JoinDictTask", "JoinListTask", "ImportDataTask"),
}
"""The FireWorks module of each task."""

WORD = {"source": {"type": "data", "value": "three"}}
TO_FILE = {"target": {"type": "path", "value": "out.txt"}, "source": {"type": "stdout"}}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "script": ({"_fw_name": "ScriptTask", "script": ["echo a > a.txt", "echo b >> a.txt"]}, {}),
    "script, stored": (
        {"_fw_name": "ScriptTask", "script": "echo a; echo b >&2", "store_stdout": True, "store_stderr": True},
        {},
    ),
    "script, files": (
        {"_fw_name": "Script Task", "script": "cat; echo b >&2", "stdin_file": "in.txt", "stdout_file": "out.txt"}
        | {"stderr_file": "err.txt"},
        {},
    ),
    "script, stdin of the spec": (
        {"_fw_name": "ScriptTask", "script": "cat", "stdin_key": "told", "store_stdout": True},
        {"told": b"hello"},
    ),
    "script, a bad code is let pass": (
        {"_fw_name": "ScriptTask", "script": ["exit 3", "touch never"], "fizzle_bad_rc": False},
        {},
    ),
    "script, a bad code defuses": ({"_fw_name": "ScriptTask", "script": ["true", "exit 3"], "defuse_bad_rc": True}, {}),
    "script, another shell": (
        {"_fw_name": "ScriptTask", "script": "[[ a == a ]] && touch bash", "shell_exe": "/bin/bash"},
        {},
    ),
    "script, global": (
        {"_fw_name": "ScriptTask", "script": "touch task", "use_global_spec": True},
        {"script": "touch spec"},
    ),
    "with its module": (
        {"_fw_name": "{{fireworks.user_objects.firetasks.script_task.ScriptTask}}", "script": "touch here"},
        {},
    ),
    "python": ({"_fw_name": "PyTask", "func": "math.pow", "args": [2], "inputs": ["n"], "outputs": ["p"]}, {"n": 3}),
    "python, built in": ({"_fw_name": "PyTask", "func": "sorted", "args": [[2, 1]], "stored_data_varname": "s"}, {}),
    "python, keywords": (
        {"_fw_name": "PyTask", "func": "builtins.dict", "kwargs": {"a": 1}, "stored_data_varname": "made"},
        {},
    ),
    "python, keywords of its own": (
        {"_fw_name": "PyTask", "func": "builtins.dict", "auto_kwargs": True, "a": 1, "_b": 2, "outputs": ["made"]},
        {},
    ),
    "python, several outputs": (
        {"_fw_name": "PyTask", "func": "math.modf", "args": [2.5], "outputs": ["part", "whole"]},
        {},
    ),
    "python, a chunk": (
        {"_fw_name": "PyTask", "func": "builtins.list", "inputs": ["n"], "outputs": ["o"], "chunk_number": 0},
        {"n": [1, 2]},
    ),
    "python, nothing": ({"_fw_name": "PyTask", "func": "builtins.print", "args": ["hi"]}, {}),
    "command line": (
        {"_fw_name": "CommandLineTask", "inputs": ["word"], "outputs": ["out"]}
        | {"command_spec": {"command": ["echo", "-n"], "word": WORD, "out": TO_FILE}},
        {},
    ),
    "command line, bound": (
        {"_fw_name": "CommandLineTask", "inputs": ["word"], "outputs": ["said"]}
        | {
            "command_spec": {
                "command": ["echo"],
                "word": {"binding": {"prefix": "--word", "separator": "="}, "source": "given"},
                "said": {"source": {"type": "stdout"}, "target": {"type": "data", "value": ""}},
            }
        },
        {"given": {"type": "data", "value": 3}},
    ),
    "command line, stdin and parts of the spec": (
        {"_fw_name": "CommandLineTask", "inputs": ["text", "files"], "outputs": ["all"]}
        | {
            "command_spec": {
                "command": ["cat", "-"],
                "text": {"source": {"type": "data", "value": "told "}, "target": {"type": "stdin"}},
                "files": "listed",
                "all": {"source": {"type": "stdout"}, "target": {"type": "path", "value": "all.txt"}},
            }
        },
        {"listed": [{"type": "path", "value": "in.txt"}, {"source": {"type": "path", "value": "in.txt"}}]},
    ),
    "command line, copied": (
        {"_fw_name": "CommandLineTask", "inputs": [], "outputs": ["made"]}
        | {
            "command_spec": {
                "command": ["touch", "made"],
                "made": {"source": {"type": "path", "value": "made"}, "target": {"type": "path", "value": "kept"}},
            }
        },
        {},
    ),
    "write": ({"_fw_name": "FileWriteTask", "files_to_write": [{"filename": "f", "contents": "x"}], "dest": "sub"}, {}),
    "delete": ({"_fw_name": "FileDeleteTask", "files_to_delete": ["in.txt", "never"]}, {}),
    "move": ({"_fw_name": "FileTransferTask", "mode": "mv", "files": ["in.txt"], "dest": "sub"}, {}),
    "copy": (
        {"_fw_name": "Transfer Task", "mode": "copy", "files": [{"src": "in.txt", "dest": "sub/other"}]},
        {},
    ),
    "copy trees": (
        {"_fw_name": "FileTransferTask", "mode": "copytree", "files": [{"src": "sub", "dest": "copied"}]},
        {},
    ),
    "copy, errors let pass": (
        {"_fw_name": "FileTransferTask", "mode": "cp", "files": ["never", "in.txt"], "dest": "sub"}
        | {"ignore_errors": True},
        {},
    ),
    "archive": ({"_fw_name": "ArchiveDirTask", "base_name": "all", "format": "tar"}, {}),
    "template": (
        {"_fw_name": "TemplateWriterTask", "template_file": "t.txt", "template_dir": ".", "output_file": "o.txt"}
        | {"context": {"name": "N", "items": [1, 2]}},
        {},
    ),
    "template that comes with FireWorks": (
        {"_fw_name": "Template Writer Task", "template_file": "simple_template.txt", "output_file": "in.txt"}
        | {"context": {"opt1": 5.0, "opt2": "fast"}, "use_global_spec": False},
        {},
    ),
    "join into an object": (
        {"_fw_name": "JoinDictTask", "inputs": ["a", "b"], "output": "all", "rename": {"b": "c"}},
        {"a": 1, "b": [2], "all": {"z": 0}},
    ),
    "join into a list": (
        {"_fw_name": "JoinListTask", "inputs": ["a", "b"], "output": "all"},
        {"a": 1, "b": [2]},
    ),
    "import": (
        {"_fw_name": "ImportDataTask", "filename": "data.json", "mapstring": "inputs/lattice/cell"},
        {"inputs": {"lattice": {"cell": {"a": 1, "c": 1}}}},
    ),
    "import at the top": ({"_fw_name": "ImportDataTask", "filename": "data.yaml", "mapstring": "found"}, {}),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", CASES)
def test_a_built_in_task_does_what_the_real_one_does(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, spec = CASES[case]
    monkeypatch.chdir(_folder(tmp_path / "ours"))
    ours = run_task(_copy(task), _copy(spec))
    monkeypatch.chdir(_folder(tmp_path / "real"))
    returned = _real(task).run_task(_copy(spec))
    real = {} if returned is None else returned.to_dict()
    assert ours == {key: value for key, value in real.items() if value}
    assert _files(tmp_path / "ours") == _files(tmp_path / "real")


@pytest.mark.parametrize("kind", ["gz", "bz2"])
def test_compressed_files_are_interchangeable(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compress = {"_fw_name": "CompressDirTask", "compression": kind}
    monkeypatch.chdir(_folder(tmp_path / "ours"))
    before = _files(tmp_path / "ours")
    run_task(compress, {})
    assert {path.name for path in Path("sub").iterdir()} == {f"inner.{kind}"}
    _real({"_fw_name": "DecompressDirTask"}).run_task({})
    assert _files(tmp_path / "ours") == before
    _real(compress).run_task({})
    run_task({"_fw_name": "DecompressDirTask", "dest": str(tmp_path / "ours")}, {})
    assert _files(tmp_path / "ours") == before


def test_a_list_is_parted_as_the_real_task_parts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inner = {
        "_fw_name": "{{fireworks.user_objects.firetasks.script_task.PyTask}}",
        "func": "builtins.sum",
        "inputs": ["n"],
        "outputs": ["sums"],
    }
    task = {"_fw_name": "ForeachTask", "split": "n", "task": inner, "number of chunks": 3}
    spec = {"n": [1, 2, 3, 4, 5, 6, 7], "other": "kept"}
    ours = run_task(_copy(task), _copy(spec))["detours"]
    real = _real(task).run_task(_copy(spec)).to_dict()["detours"]
    assert [one["name"] for one in ours] == [one["name"] for one in real]
    for one in real:
        one["spec"]["_tasks"][0]["_fw_name"] = inner["_fw_name"]
    assert [one["spec"] for one in ours] == [one["spec"] for one in real]
    assert len({one["fw_id"] for one in ours}) == len(ours)


def _real(task: dict[str, Any]) -> Any:
    name = task_name(task["_fw_name"], configuration().renamed)
    module = next(module for module, names in REAL.items() if name in names)
    found = getattr(importlib.import_module(f"fireworks.user_objects.firetasks.{module}"), name)
    return found.from_dict(_copy(task))


def _folder(path: Path) -> Path:
    (path / "sub").mkdir(parents=True)
    (path / "in.txt").write_text("input\n")
    (path / "sub" / "inner").write_text("inner\n")
    (path / "data.json").write_text(json.dumps({"a": 2, "b": [3]}))
    (path / "data.yaml").write_text("a: 2\nb: [x, y]\n")
    (path / "t.txt").write_text("for {{ name }}\n{% for item in items %}{{ item }};{% endfor %}\n")
    return path


def _files(folder: Path) -> dict[str, bytes | None]:
    """Return the content of each file; None for archives and compressed files."""
    return {
        str(path.relative_to(folder)): None if re.search(r"\.(tar|gz|bz2)$", path.name) else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _copy(value: Any) -> Any:
    """Return a copy: FireWorks' tasks change their arguments."""
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value
