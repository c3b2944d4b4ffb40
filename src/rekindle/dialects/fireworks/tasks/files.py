"""FileWriteTask, FileDeleteTask and FileTransferTask."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.tasks.given import BadTask, Given, Spec
from rekindle.domain.texts.nearest import did_you_mean

_MODES: dict[str, Callable[[str, str], object]] = {
    "move": shutil.move,
    "mv": shutil.move,
    "copy": shutil.copy,
    "cp": shutil.copy,
    "copy2": shutil.copy2,
    "copytree": shutil.copytree,
    "copyfile": shutil.copyfile,
}


def write_files(given: Given, _: Spec) -> None:
    """`files_to_write`: [{filename, contents}] · `dest`: the folder."""
    for file in given.need("files_to_write"):
        if not isinstance(file, Mapping) or not {"filename", "contents"} <= file.keys():
            raise BadTask(f"FileWriteTask writes a `filename` and its `contents`, not {file!r:.80}")
        Path(given.get("dest") or ".", file["filename"]).write_text(file["contents"], encoding="utf-8")


def delete_files(given: Given, _: Spec) -> None:
    """`files_to_delete`: names · `dest`: their folder · `ignore_errors` (true)."""
    for name in given.need("files_to_delete"):
        try:
            Path(given.get("dest") or ".", name).unlink()
        except OSError:
            if not given.get("ignore_errors", True):
                raise


def transfer_files(given: Given, _: Spec) -> None:
    """`mode`: move, copy, copy2, copytree, copyfile · `files`: names, or [{src, dest}] · `dest` · `ignore_errors` ·
    `max_retry` (for all of them together), `retry_delay` (10 seconds) · `shell_interpret` (true): `~` and variables.
    To other hosts (`rtransfer`) FireWorks itself transfers."""
    mode = given.need("mode")
    if mode not in _MODES:
        raise BadTask(f"FileTransferTask has no mode {mode!r:.60}", hint=did_you_mean(str(mode), tuple(_MODES)))
    retries = int(given.get("max_retry") or 0)
    for file in given.need("files"):
        source, target = _ends(given, file)
        retries = _transfer(given, source, target, retries)


def _transfer(given: Given, source: str, target: str, retries: int) -> int:
    """Move or copy one file; returns how many retries are left for the others."""
    while True:
        try:
            _MODES[given["mode"]](source, target)
        except (OSError, shutil.Error) as error:
            if retries > 0:
                retries -= 1
                time.sleep(float(given.get("retry_delay", 10)))
                continue
            if not given.get("ignore_errors"):
                error.add_note(f"FileTransferTask, {given['mode']}: {source} to {target}")
                raise
        return retries


def _ends(given: Given, file: Any) -> tuple[str, str]:
    if isinstance(file, Mapping):
        if "src" not in file:
            raise BadTask(f"a file of FileTransferTask has no `src`: {file!r:.80}")
        source, target = file["src"], file.get("dest", given.get("dest"))
    else:
        source, target = file, given.get("dest")
    if target is None:
        raise BadTask(f"FileTransferTask has no `dest` for {source!r:.80}")
    return _path(given, source), _path(given, target)


def _path(given: Given, name: object) -> str:
    text = str(name)
    return str(Path(os.path.expandvars(text)).expanduser().absolute()) if given.get("shell_interpret", True) else text
