"""Run one Firetask, found by the name in its `_fw_name`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.tasks.command_tasks import command_line_task, script_task
from rekindle.dialects.fireworks.tasks.data_tasks import foreach_task, import_data, join_dict, join_list, py_task
from rekindle.dialects.fireworks.tasks.file_tasks import (
    add_files,
    archive_dir,
    compress_dir,
    decompress_dir,
    delete_files,
    delete_pad_files,
    get_files,
    get_files_by_query,
    transfer_files,
    write_files,
    write_template,
)
from rekindle.dialects.fireworks.tasks.fwaction import WrittenAction, action_dict, add_details_note
from rekindle.dialects.fireworks.tasks.launch_environment import configuration
from rekindle.dialects.fireworks.tasks.task_parameters import BadTask, Spec, TaskFunction, TaskParameters
from rekindle.dialects.fireworks.tasks.user_tasks import user_task

_BUILT_IN = re.compile(r"fireworks\.user_objects\.firetasks\.\w+[.:](?P<name>\w+)")


def task_name(found: object, renamed: Mapping[str, str]) -> str:
    """Return the name of a task from its `_fw_name`: of a built-in task without its module, of another with it.
    Raises BadTask if there is none."""
    if not isinstance(found, str) or not found.strip("{} "):
        raise BadTask("a task has no `_fw_name`", hint="it names the Firetask, as in `_fw_name: ScriptTask`")
    found = renamed.get(found, found)
    name = found.strip("{} ") if found.startswith("{{") else found
    built_in = _BUILT_IN.fullmatch(name)
    return built_in["name"] if built_in else name


BUILT_IN: dict[str, TaskFunction] = {
    "ScriptTask": script_task,
    "PyTask": py_task,
    "CommandLineTask": command_line_task,
    "TemplateWriterTask": write_template,
    "FileWriteTask": write_files,
    "FileDeleteTask": delete_files,
    "FileTransferTask": transfer_files,
    "CompressDirTask": compress_dir,
    "DecompressDirTask": decompress_dir,
    "ArchiveDirTask": archive_dir,
    "ForeachTask": foreach_task,
    "JoinDictTask": join_dict,
    "JoinListTask": join_list,
    "ImportDataTask": import_data,
    "AddFilesTask": add_files,
    "GetFilesTask": get_files,
    "GetFilesByQueryTask": get_files_by_query,
    "DeleteFilesTask": delete_pad_files,
}
"""The built-in Firetasks by name."""


def run_task(task: dict[str, Any], spec: Spec) -> dict[str, Any]:
    """Run a Firetask in the working directory, which is the launch folder.

    `task`: an entry of `_tasks`. `spec`: the spec that this task sees.

    Returns the FWAction as a dict of JSON values with FireWorks' keys, without empty ones. A file `FWAction.json` or
    `FWAction.yaml` that the task writes replaces its return value. Raises what the task raises, BadTask if it cannot
    be run, and RuntimeError if it exits."""
    name = task_name(task.get("_fw_name"), configuration().renamed)
    parameters = TaskParameters(name, task)
    written_action = WrittenAction(Path.cwd())
    try:
        returned = _run(parameters, spec)
    except SystemExit as error:
        raise RuntimeError(f"{name} called sys.exit({error.code!r})") from error
    except Exception as error:  # add the exception's own details, then raise it
        add_details_note(error)
        raise
    written = written_action.action()
    return action_dict(returned if written is None else written)


def _run(parameters: TaskParameters, spec: Spec) -> Any:
    module = _fireworks_module(parameters)
    if module is not None:
        return user_task(
            TaskParameters(f"fireworks.user_objects.firetasks.{module}.{parameters.name}", parameters), spec
        )
    return BUILT_IN.get(parameters.name, user_task)(parameters, spec)


def _fireworks_module(parameters: TaskParameters) -> str | None:
    """Return the module of FireWorks' class if the task needs another host or a MongoDB, else None."""
    if parameters.name in BUILT_IN and parameters.get("filepad_file"):
        return "filepad_tasks"
    return "fileio_tasks" if parameters.name == "FileTransferTask" and parameters.get("mode") == "rtransfer" else None
