"""The folders of a pipeline: from Ziggy's properties file, or their defaults in the working directory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rekindle.domain.errors import BadValue, NotFound

PROPERTIES_FILE = "ziggy.properties"
FILE_VARIABLES = ("PIPELINE_CONFIG_PATH", "ZIGGY_CONFIG_FILE")
_DEFINITION_FOLDERS = ("etc/ziggy.d", "config")
_MAX_EXPANSIONS = 32


class PipelineFolders(msgspec.Struct, frozen=True):
    """The folders of a pipeline. Paths in `home` are relative to it, others absolute."""

    home: str  # where the jobs run
    definitions: Path
    programs: tuple[str, ...]  # ziggy.pipeline.binPath
    libraries: tuple[str, ...]
    results: str
    datastore: str
    receipt: str
    environment: Mapping[str, str]

    @property
    def task_data(self) -> str:
        """The folder of the tasks' folders."""
        return os.path.normpath(f"{self.results}/task-data")

    @property
    def manifests(self) -> str:
        """The folder of the manifests and acknowledgements of received deliveries."""
        return os.path.normpath(f"{self.results}/logs/manifests")

    def path(self, folder: str) -> Path:
        """Return the path of one of these folders."""
        return Path(self.home) / folder


def read_folders() -> PipelineFolders:
    """Return the folders that the properties file gives: the one that PIPELINE_CONFIG_PATH or ZIGGY_CONFIG_FILE names,
    or ziggy.properties here."""
    found = _Properties(_read_file())
    home = Path(found.get("ziggy.pipeline.home.dir", ".")).resolve()
    results = found.path("ziggy.pipeline.results.dir", home, ".")
    default = next((one for one in _DEFINITION_FOLDERS if (home / one).is_dir()), ".")
    definitions = Path(found.path("ziggy.pipeline.definition.dir", home, default, relative=False))
    here = Path.cwd()
    return PipelineFolders(
        str(home),
        definitions.relative_to(here) if definitions.is_relative_to(here) else definitions,
        programs=found.paths("ziggy.pipeline.binPath", home, "bin"),
        libraries=found.paths("ziggy.pipeline.libPath", home, ""),
        results=results,
        datastore=found.path("ziggy.pipeline.datastore.dir", home, f"{results}/datastore"),
        receipt=found.path("ziggy.pipeline.data.receipt.dir", home, f"{results}/data-receipt"),
        environment=found.environment(),
    )


def _read_file() -> dict[str, str]:
    name = next((os.environ[one] for one in FILE_VARIABLES if os.environ.get(one)), None)
    path = Path(name or PROPERTIES_FILE)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        if name is None:
            return {}
        raise NotFound(f"the properties file {name} cannot be read: {error.strerror}") from None
    pairs = (line.partition("=") for line in map(str.strip, lines) if line and line[0] not in "#!")
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


class _Properties:
    """Properties whose values may contain `${other.property}` and `${env:VARIABLE}`."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def get(self, key: str, default: str) -> str:
        """Return the value with everything filled in. Raise BadValue if something is missing."""
        text = self._values.get(key, default)
        for _ in range(_MAX_EXPANSIONS):
            text, count = re.subn(r"\$\{([^{}]*)\}", lambda found: self._named(key, found[1]), text)
            if not count:
                return text
        raise BadValue(f"the property {key} refers to itself")

    def _named(self, key: str, name: str) -> str:
        known = os.environ if name.startswith("env:") else self._values
        name = name.removeprefix("env:")
        if name not in known:
            kind = "variable" if known is os.environ else "property"
            raise BadValue(f"the property {key} names the {kind} {name}, which is not set")
        return known[name]

    def path(self, key: str, home: Path, default: str, *, relative: bool = True) -> str:
        """Return a folder: relative to the home folder if it is in it, and `relative`."""
        path = Path(os.path.normpath(home / self.get(key, default)))
        return str(path.relative_to(home)) if relative and path.is_relative_to(home) else str(path)

    def paths(self, key: str, home: Path, default: str) -> tuple[str, ...]:
        """Return the folders of a colon-separated list."""
        texts = self.get(key, default).split(":")
        found = (Path(os.path.normpath(home / text)) for text in texts if text)
        return tuple(str(one.relative_to(home) if one.is_relative_to(home) else one) for one in found)

    def environment(self) -> dict[str, str]:
        """Return the variables of `ziggy.pipeline.environment`."""
        pairs = (one.partition("=") for one in self.get("ziggy.pipeline.environment", "").split(","))
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}
