"""Running one Firetask where it stands: the entry of `_tasks` that says which, and the spec that it sees."""

from __future__ import annotations

from typing import Any

from rekindle.dialects.fireworks.tasks.actions import as_action, left_in_file, read_before
from rekindle.dialects.fireworks.tasks.archives import archive_dir, compress_dir, decompress_dir
from rekindle.dialects.fireworks.tasks.command_lines import command_line_task
from rekindle.dialects.fireworks.tasks.files import delete_files, transfer_files, write_files
from rekindle.dialects.fireworks.tasks.functions import py_task
from rekindle.dialects.fireworks.tasks.given import BadTask, Given, Perform, Spec
from rekindle.dialects.fireworks.tasks.names import plain_name
from rekindle.dialects.fireworks.tasks.scripts import script_task

BUILT_IN: dict[str, Perform] = {
    "ScriptTask": script_task,
    "PyTask": py_task,
    "CommandLineTask": command_line_task,
    "FileWriteTask": write_files,
    "FileDeleteTask": delete_files,
    "FileTransferTask": transfer_files,
    "CompressDirTask": compress_dir,
    "DecompressDirTask": decompress_dir,
    "ArchiveDirTask": archive_dir,
}
"""What `_fw_name` of a task of FireWorks' own means here."""


def run_task(task: dict[str, Any], spec: Spec) -> dict[str, Any]:
    """Run a Firetask in the working directory, which is the launch's.

    `task`: an entry of `_tasks` · `spec`: the spec as this task sees it; it is left as it is. Returns the FWAction as a
    dict of JSON values with FireWorks' keys, empty ones left out. A document `FWAction.json` or `FWAction.yaml` that
    the task writes there counts instead of what it returns. Raises what the task raises; BadTask for one that cannot
    be run; RuntimeError for one that exits.
    """
    name = plain_name(task.get("_fw_name"))
    before = read_before()
    try:
        returned = _perform(name)(Given(name, task), spec)
    except SystemExit as error:
        raise RuntimeError(f"{name} called sys.exit({error.code!r})") from error
    left = left_in_file(before)
    return as_action(returned if left is None else left)


def _perform(name: str) -> Perform:
    if name in BUILT_IN:
        return BUILT_IN[name]
    raise BadTask(f"there is no Firetask {name!r:.120}")
