"""Running one Firetask where it stands: the entry of `_tasks` that says which, and the spec that it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.tasks.actions import Left, as_action
from rekindle.dialects.fireworks.tasks.archives import archive_dir, compress_dir, decompress_dir
from rekindle.dialects.fireworks.tasks.command_lines import command_line_task
from rekindle.dialects.fireworks.tasks.configuration import configuration
from rekindle.dialects.fireworks.tasks.dataflow import foreach_task, import_data, join_dict, join_list
from rekindle.dialects.fireworks.tasks.details import note_details
from rekindle.dialects.fireworks.tasks.filepad import add_files, ask_for_files, delete_files_of_pad, get_files
from rekindle.dialects.fireworks.tasks.files import delete_files, transfer_files, write_files
from rekindle.dialects.fireworks.tasks.foreign import foreign_task
from rekindle.dialects.fireworks.tasks.functions import py_task
from rekindle.dialects.fireworks.tasks.given import Given, Perform, Spec
from rekindle.dialects.fireworks.tasks.names import plain_name
from rekindle.dialects.fireworks.tasks.scripts import script_task
from rekindle.dialects.fireworks.tasks.templates import write_template

BUILT_IN: dict[str, Perform] = {
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
    "GetFilesByQueryTask": ask_for_files,
    "DeleteFilesTask": delete_files_of_pad,
}
"""What `_fw_name` of a task of FireWorks' own means here."""


def run_task(task: dict[str, Any], spec: Spec) -> dict[str, Any]:
    """Run a Firetask in the working directory, which is the launch's.

    `task`: an entry of `_tasks` · `spec`: the spec as this task sees it. Returns the FWAction as a dict of JSON values
    with FireWorks' keys, empty ones left out. A document `FWAction.json` or `FWAction.yaml` that the task writes there
    counts instead of what it returns. Raises what the task raises; BadTask for one that cannot be run; RuntimeError for
    one that exits.
    """
    name = plain_name(task.get("_fw_name"), configuration().renamed)
    given = Given(name, task)
    left = Left(Path.cwd())
    try:
        returned = _perform(given, spec)
    except SystemExit as error:
        raise RuntimeError(f"{name} called sys.exit({error.code!r})") from error
    except Exception as error:  # whatever a task raises goes on; what it says of itself goes with it
        note_details(error)
        raise
    written = left.action()
    return as_action(returned if written is None else written)


def _perform(given: Given, spec: Spec) -> Any:
    module = _left_to_fireworks(given)
    if module is not None:
        return foreign_task(Given(f"fireworks.user_objects.firetasks.{module}.{given.name}", given), spec)
    return BUILT_IN.get(given.name, foreign_task)(given, spec)


def _left_to_fireworks(given: Given) -> str | None:
    """The module of FireWorks' own class for what a built-in task asks of other hosts; None: nothing."""
    if given.name in BUILT_IN and given.get("filepad_file"):
        return "filepad_tasks"
    return "fileio_tasks" if given.name == "FileTransferTask" and given.get("mode") == "rtransfer" else None
