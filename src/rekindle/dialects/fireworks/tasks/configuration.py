"""What FW_config.yaml says about launches: where users' own Firetasks are, what was renamed, where templates lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import yaml

from rekindle.dialects.fireworks.tasks.given import BadTask

FILE = "FW_config.yaml"
_RENAMED = {
    "Transfer Task": "FileTransferTask",
    "Script Task": "ScriptTask",
    "Template Writer Task": "TemplateWriterTask",
    "TemplateWriter": "TemplateWriterTask",
    "CommandlineTask": "CommandLineTask",
}
_FIREWORKS_OWN = ("fw_tutorials", "fireworks.features", "fireworks.user_objects")
"""In the order in which they are looked through: the last one brings in much that has nothing to do with tasks."""

_PRINT = {"json": "PRINT_FW_JSON", "yaml": "PRINT_FW_YAML"}


@dataclass(frozen=True, slots=True)
class Configuration:
    """`packages`: where registered Firetasks are looked for, users' first · `renamed`: old names of tasks ·
    `templates`: the folder of templates, "" where none is set · `prints`: of `json` and `yaml`, what a launch's
    firework is written as into its folder."""

    file: Path | None = None
    packages: tuple[str, ...] = _FIREWORKS_OWN
    renamed: Mapping[str, str] = field(default_factory=lambda: _RENAMED)
    templates: str = ""
    prints: frozenset[str] = frozenset({"json"})


def configuration() -> Configuration:
    """That of `$FW_CONFIG_FILE`, else of the nearest FW_config.yaml at or above the working directory, else of that in
    ~/.fireworks; without any, FireWorks' own settings. BadTask for a file that cannot be read."""
    file = _file()
    if file is None:
        return Configuration()
    found = file.stat()
    return _read(file, (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino))


def _file() -> Path | None:
    named = os.environ.get("FW_CONFIG_FILE")
    if named:
        return Path(named).absolute()
    here = Path.cwd()
    folders = [here, *here.parents, Path("~/.fireworks").expanduser()]
    return next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)


@lru_cache(maxsize=8)
def _read(file: Path, _: tuple[int, ...]) -> Configuration:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BadTask(f"{file} cannot be read: {error}") from error
    settings = found if isinstance(found, dict) else {}
    packages = settings.get("USER_PACKAGES", _FIREWORKS_OWN)
    named = [str(one) for key in (packages, settings.get("ADD_USER_PACKAGES") or ()) for one in key]
    own = [one for one in named if one not in _FIREWORKS_OWN]
    return Configuration(
        file,
        (*own, *(one for one in _FIREWORKS_OWN if one in named)),
        {**_RENAMED, **(settings.get("FW_NAME_UPDATES") or {})},
        str(settings.get("TEMPLATE_DIR") or ""),
        frozenset(form for form, given in (("json", True), ("yaml", False)) if settings.get(_PRINT[form], given)),
    )
