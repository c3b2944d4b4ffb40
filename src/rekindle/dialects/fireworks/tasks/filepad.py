"""AddFilesTask, GetFilesTask and DeleteFilesTask: files kept by an identifier, in a folder of the store.

Those that name a MongoDB in `filepad_file` are run by FireWorks itself."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.tasks.given import BadTask, Given, Spec
from rekindle.dialects.fireworks.tasks.stores import store_folder
from rekindle.files.modes import file_mode, make_folder, set_mode


def add_files(given: Given, _: Spec) -> None:
    """`paths`: a list, or a pattern within `directory` · `identifiers`: one for each; the absolute paths if not given ·
    `metadata`. What is there under an identifier stays as it is."""
    pad = _Pad.of(given)
    paths = given.need("paths")
    if isinstance(paths, str):
        found = sorted(Path(given.get("directory") or ".").absolute().glob(paths))
    else:
        found = [Path(path).absolute() for path in paths]
    identifiers = given.get("identifiers") or [str(path) for path in found]
    if len(identifiers) != len(found):
        raise BadTask(f"AddFilesTask has {len(identifiers)} `identifiers` for {len(found)} files")
    for path, identifier in zip(found, identifiers, strict=True):
        if not pad.add(str(identifier), path, given.get("metadata")):
            print(f"{identifier} is there already and stays as it is")


def get_files(given: Given, _: Spec) -> None:
    """`identifiers` · `dest_dir` (the launch's folder) · `new_file_names`: their names there; those they had if not
    given."""
    pad = _Pad.of(given)
    identifiers, names = given.need("identifiers"), given.get("new_file_names")
    if names and len(names) != len(identifiers):
        raise BadTask(f"GetFilesTask has {len(names)} `new_file_names` for {len(identifiers)} files")
    found = [pad.find(str(identifier)) for identifier in identifiers]
    for at, (content, document) in enumerate(found):
        shutil.copyfile(content, Path(given.get("dest_dir") or ".", (names or {})[at] if names else document["name"]))


def delete_files_of_pad(given: Given, _: Spec) -> None:
    """`identifiers`; one that is not there is none to delete."""
    pad = _Pad.of(given)
    for identifier in given.need("identifiers"):
        pad.remove(str(identifier))


def ask_for_files(given: Given, _: Spec) -> None:
    """GetFilesByQueryTask: there is nothing here to ask."""
    raise BadTask(
        f"{given.name} asks what a MongoDB knows of files, and here they are kept by their identifiers",
        hint="use GetFilesTask, or name the MongoDB in `filepad_file`",
    )


class _Pad:
    """A folder with two files for each identifier: what is known of it, and its content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, given: Given) -> _Pad:
        """That of the store."""
        return cls(store_folder(given.name) / "filepad")

    def add(self, identifier: str, path: Path, metadata: Any) -> bool:
        """Keep a file; False: there is one already."""
        document, content = self._places(identifier)
        if document.exists():
            return False
        make_folder(self._folder)
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            shutil.copyfile(path, Path(folder, "content"))
            known = {"identifier": identifier, "name": path.name, "path": str(path), "metadata": metadata}
            Path(folder, "document").write_text(json.dumps(known), encoding="utf-8")
            for name in ("content", "document"):
                set_mode(f"{folder}/{name}", file_mode(self._folder))
            Path(folder, "content").replace(content)
            try:
                os.link(Path(folder, "document"), document)
            except FileExistsError:  # another one was quicker
                return False
        return True

    def find(self, identifier: str) -> tuple[Path, dict[str, Any]]:
        """(its content's file, what is known of it)."""
        document, content = self._places(identifier)
        try:
            return content, json.loads(document.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BadTask(f"there is no file {identifier!r:.120} in {self._folder}") from None

    def remove(self, identifier: str) -> None:
        """Forget a file, if it is there."""
        for file in self._places(identifier):
            file.unlink(missing_ok=True)

    def _places(self, identifier: str) -> tuple[Path, Path]:
        name = blake2b(identifier.encode(), digest_size=16).hexdigest()
        return self._folder / f"{name}.json", self._folder / f"{name}.data"
