"""What a launch finds in its environment: FW_config.yaml, the store and the fworker."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from rekindle.dialects.fireworks.tasks.task_parameters import BadTask
from rekindle.domain.errors import NotFound

CONFIG_FILE = "FW_config.yaml"
_OLD_TASK_NAMES = {
    "Transfer Task": "FileTransferTask",
    "Script Task": "ScriptTask",
    "Template Writer Task": "TemplateWriterTask",
    "TemplateWriter": "TemplateWriterTask",
    "CommandlineTask": "CommandLineTask",
}
_FIREWORKS_PACKAGES = ("fw_tutorials", "fireworks.features", "fireworks.user_objects")
"""Searched in this order. The last one imports much that has nothing to do with tasks."""

_PRINT_KEYS = {"json": "PRINT_FW_JSON", "yaml": "PRINT_FW_YAML"}


class Configuration(msgspec.Struct, frozen=True):
    """The settings of FW_config.yaml for launches.

    `packages`: where registered Firetasks are searched, users' first. `renamed`: new task names by old ones.
    `templates`: the folder of templates, or "". `prints`: the formats, of `json` and `yaml`, in which the firework is
    written into the launch folder."""

    file: Path | None = None
    packages: tuple[str, ...] = _FIREWORKS_PACKAGES
    renamed: Mapping[str, str] = msgspec.field(default_factory=lambda: _OLD_TASK_NAMES)
    templates: str = ""
    prints: frozenset[str] = frozenset({"json"})


def configuration() -> Configuration:
    """Read `$FW_CONFIG_FILE`, else the nearest FW_config.yaml at or above the working directory, else that in
    ~/.fireworks; else return FireWorks' defaults. Raises BadTask for an invalid file."""
    file = _config_file()
    if file is None:
        return Configuration()
    found = file.stat()
    return _read_config(file, (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino))


def _config_file() -> Path | None:
    named = os.environ.get("FW_CONFIG_FILE")
    if named:
        return Path(named).absolute()
    here = Path.cwd()
    folders = [here, *here.parents, Path("~/.fireworks").expanduser()]
    return next((folder / CONFIG_FILE for folder in folders if (folder / CONFIG_FILE).is_file()), None)


@lru_cache(maxsize=8)
def _read_config(file: Path, _: tuple[int, ...]) -> Configuration:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BadTask(f"{file} cannot be read: {error}") from error
    settings = found if isinstance(found, dict) else {}
    packages = settings.get("USER_PACKAGES", _FIREWORKS_PACKAGES)
    named = [str(one) for key in (packages, settings.get("ADD_USER_PACKAGES") or ()) for one in key]
    own = [one for one in named if one not in _FIREWORKS_PACKAGES]
    return Configuration(
        file,
        (*own, *(one for one in _FIREWORKS_PACKAGES if one in named)),
        {**_OLD_TASK_NAMES, **(settings.get("FW_NAME_UPDATES") or {})},
        str(settings.get("TEMPLATE_DIR") or ""),
        frozenset(form for form, given in (("json", True), ("yaml", False)) if settings.get(_PRINT_KEYS[form], given)),
    )


def launch_store(who: str) -> str:
    """Return the store of this launch; outside of a launch the one that commands here use. Raises BadTask if there is
    none."""
    from rekindle.engine.session import STORE_FOLDER, job_store, store_url

    try:
        return job_store() or store_url()
    except NotFound:
        raise BadTask(f"{who} finds no {STORE_FOLDER} at or above {Path.cwd()}") from None


def store_folder(who: str) -> Path:
    """Return the folder of the launch's store. Raises BadTask if there is none."""
    from rekindle.store.opening import folder_of

    folder = folder_of(launch_store(who))
    if not folder.is_dir():
        raise BadTask(f"{who} keeps files in the folder of a store, and {folder} is not one")
    return folder


FWORKER_VARIABLE = "REKINDLE_FWORKER"
"""The environment variable in which rlaunch passes its fworker to launches, as JSON: `{"name", "category", "env",
…}`."""


def current_fworker() -> dict[str, Any]:
    """Return the fworker of this launch, or {} without one."""
    found = os.environ.get(FWORKER_VARIABLE)
    settings: dict[str, Any] = json.loads(found) if found else {}
    return settings
