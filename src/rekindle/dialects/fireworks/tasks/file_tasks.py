"""Firetasks for files: FileWriteTask, FileDeleteTask, FileTransferTask, CompressDirTask, DecompressDirTask,
ArchiveDirTask, TemplateWriterTask, and the tasks of the file pad (AddFilesTask, GetFilesTask, DeleteFilesTask).

The file pad is a folder of the store. Tasks that name a MongoDB in `filepad_file` are run by FireWorks itself."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.tasks.launch_environment import configuration, store_folder
from rekindle.dialects.fireworks.tasks.task_parameters import BadTask, Spec, TaskParameters, needs_package
from rekindle.domain.texts.display import did_you_mean
from rekindle.files.store_files import file_mode, make_folder, set_mode

_TRANSFER_MODES: dict[str, Callable[[str, str], object]] = {
    "move": shutil.move,
    "mv": shutil.move,
    "copy": shutil.copy,
    "cp": shutil.copy,
    "copy2": shutil.copy2,
    "copytree": shutil.copytree,
    "copyfile": shutil.copyfile,
}


def write_files(parameters: TaskParameters, _: Spec) -> None:
    """Run FileWriteTask. `files_to_write`: [{filename, contents}]. `dest`: the folder."""
    for file in parameters.need("files_to_write"):
        if not isinstance(file, Mapping) or not {"filename", "contents"} <= file.keys():
            raise BadTask(f"FileWriteTask writes a `filename` and its `contents`, not {file!r:.80}")
        Path(parameters.get("dest") or ".", file["filename"]).write_text(file["contents"], encoding="utf-8")


def delete_files(parameters: TaskParameters, _: Spec) -> None:
    """Run FileDeleteTask. `files_to_delete`: names. `dest`: their folder. `ignore_errors`: default true."""
    for name in parameters.need("files_to_delete"):
        try:
            Path(parameters.get("dest") or ".", name).unlink()
        except OSError:
            if not parameters.get("ignore_errors", True):
                raise


def transfer_files(parameters: TaskParameters, _: Spec) -> None:
    """Run FileTransferTask.

    `mode`: move, copy, copy2, copytree or copyfile. `files`: names, or [{src, dest}]. `dest`. `ignore_errors`.
    `max_retry`: for all files together. `retry_delay`: seconds, default 10. `shell_interpret`: expand `~` and
    variables, default true. Transfers to other hosts (`rtransfer`) are run by FireWorks itself."""
    mode = parameters.need("mode")
    if mode not in _TRANSFER_MODES:
        raise BadTask(
            f"FileTransferTask has no mode {mode!r:.60}", hint=did_you_mean(str(mode), tuple(_TRANSFER_MODES))
        )
    retries = int(parameters.get("max_retry") or 0)
    for file in parameters.need("files"):
        source, target = _source_and_target(parameters, file)
        retries = _transfer(parameters, source, target, retries)


def _transfer(parameters: TaskParameters, source: str, target: str, retries: int) -> int:
    """Move or copy one file. Returns the number of retries that are left."""
    while True:
        try:
            _TRANSFER_MODES[parameters["mode"]](source, target)
        except (OSError, shutil.Error) as error:
            if retries > 0:
                retries -= 1
                time.sleep(float(parameters.get("retry_delay", 10)))
                continue
            if not parameters.get("ignore_errors"):
                error.add_note(f"FileTransferTask, {parameters['mode']}: {source} to {target}")
                raise
        return retries


def _source_and_target(parameters: TaskParameters, file: Any) -> tuple[str, str]:
    if isinstance(file, Mapping):
        if "src" not in file:
            raise BadTask(f"a file of FileTransferTask has no `src`: {file!r:.80}")
        source, target = file["src"], file.get("dest", parameters.get("dest"))
    else:
        source, target = file, parameters.get("dest")
    if target is None:
        raise BadTask(f"FileTransferTask has no `dest` for {source!r:.80}")
    return _transfer_path(parameters, source), _transfer_path(parameters, target)


def _transfer_path(parameters: TaskParameters, name: object) -> str:
    text = str(name)
    return (
        str(Path(os.path.expandvars(text)).expanduser().absolute()) if parameters.get("shell_interpret", True) else text
    )


_COMPRESSORS: dict[str, Callable[[Path, str], Any]] = {"gz": gzip.open, "bz2": bz2.open}
_DECOMPRESSORS: dict[str, Callable[[Path, str], Any]] = {".gz": gzip.open, ".z": gzip.open, ".bz2": bz2.open}


def compress_dir(parameters: TaskParameters, _: Spec) -> None:
    """Run CompressDirTask on each file below `dest` (default: the launch folder). `compression`: gz or bz2.
    `ignore_errors`."""
    kind = parameters.get("compression") or "gz"
    if kind not in _COMPRESSORS:
        raise BadTask(f"CompressDirTask has no compression {kind!r:.60}", hint="gz or bz2")

    def compress(file: Path) -> None:
        if file.suffix.lower() != f".{kind}" and not file.is_symlink():
            _rewrite(file, open, _COMPRESSORS[kind], file.with_name(f"{file.name}.{kind}"))

    _for_each_file(parameters, compress)


def decompress_dir(parameters: TaskParameters, _: Spec) -> None:
    """Run DecompressDirTask on each gz, bz2 or z file below `dest` (default: the launch folder). `ignore_errors`."""

    def decompress(file: Path) -> None:
        if file.suffix.lower() in _DECOMPRESSORS:
            _rewrite(file, _DECOMPRESSORS[file.suffix.lower()], open, file.with_suffix(""))

    _for_each_file(parameters, decompress)


def archive_dir(parameters: TaskParameters, _: Spec) -> None:
    """Run ArchiveDirTask: pack the working directory. `base_name`: without suffix. `format`: gztar (default), tar,
    zip, …"""
    shutil.make_archive(str(parameters.need("base_name")), format=parameters.get("format") or "gztar", root_dir=".")


def _for_each_file(parameters: TaskParameters, do: Callable[[Path], None]) -> None:
    folder = Path(parameters.get("dest") or ".")
    try:
        if not folder.is_dir():
            raise NotADirectoryError(f"{parameters.name} finds no folder {folder}")
        for file in [found for found in folder.rglob("*") if found.is_file()]:
            do(file)
    except (OSError, EOFError):
        if not parameters.get("ignore_errors"):
            raise


def _rewrite(file: Path, read: Any, write: Any, target: Path) -> None:
    """Write a file's converted content beside it, then remove it. An incomplete result is removed."""
    part = target.with_name(f"{target.name}.part")
    try:
        with read(file, "rb") as source, write(part, "wb") as out:
            shutil.copyfileobj(source, out)
    except (OSError, EOFError):
        part.unlink(missing_ok=True)
        raise
    shutil.copystat(file, part)
    part.replace(target)
    file.unlink()


def write_template(parameters: TaskParameters, spec: Spec) -> None:
    """Run TemplateWriterTask: fill a Jinja2 template.

    `template_file`: in `template_dir`, else in TEMPLATE_DIR of the configuration, else among FireWorks' templates.
    `context`: the variables. `output_file`. `append`. `use_global_spec`. Nothing is escaped as for HTML."""
    try:
        from jinja2 import Environment, FileSystemLoader
    except ModuleNotFoundError as error:
        raise needs_package("TemplateWriterTask", "Jinja2") from error
    params = parameters.or_global(spec)
    folder = _template_folder(params)
    template = folder / params.need("template_file")
    if not template.is_file():
        raise BadTask(f"TemplateWriterTask finds no template {template}")
    surroundings = Environment(loader=FileSystemLoader(folder))
    text = surroundings.from_string(template.read_text(encoding="utf-8")).render(params.need("context"))
    with Path(params.need("output_file")).open("a" if params.get("append") else "w", encoding="utf-8") as file:
        file.write(text)


def _template_folder(params: TaskParameters) -> Path:
    named = params.get("template_dir") or configuration().templates
    if named:
        return Path(named).expanduser()
    package = importlib.util.find_spec("fireworks")
    if package is None or package.origin is None:
        return Path.cwd()
    return Path(package.origin).parent / "user_objects" / "firetasks" / "templates"


def add_files(parameters: TaskParameters, _: Spec) -> None:
    """Run AddFilesTask.

    `paths`: a list, or a pattern within `directory`. `identifiers`: one for each file; default: the absolute paths.
    `metadata`. A file with a known identifier is not replaced."""
    pad = _FilePad.of(parameters)
    paths = parameters.need("paths")
    if isinstance(paths, str):
        found = sorted(Path(parameters.get("directory") or ".").absolute().glob(paths))
    else:
        found = [Path(path).absolute() for path in paths]
    identifiers = parameters.get("identifiers") or [str(path) for path in found]
    if len(identifiers) != len(found):
        raise BadTask(f"AddFilesTask has {len(identifiers)} `identifiers` for {len(found)} files")
    for path, identifier in zip(found, identifiers, strict=True):
        if not pad.add(str(identifier), path, parameters.get("metadata")):
            print(f"{identifier} exists already and is not replaced")


def get_files(parameters: TaskParameters, _: Spec) -> None:
    """Run GetFilesTask. `identifiers`. `dest_dir`: default the launch folder. `new_file_names`: default the original
    names."""
    pad = _FilePad.of(parameters)
    identifiers, names = parameters.need("identifiers"), parameters.get("new_file_names")
    if names and len(names) != len(identifiers):
        raise BadTask(f"GetFilesTask has {len(names)} `new_file_names` for {len(identifiers)} files")
    found = [pad.find(str(identifier)) for identifier in identifiers]
    for at, (content, document) in enumerate(found):
        shutil.copyfile(
            content, Path(parameters.get("dest_dir") or ".", (names or {})[at] if names else document["name"])
        )


def delete_pad_files(parameters: TaskParameters, _: Spec) -> None:
    """Run DeleteFilesTask. `identifiers`: unknown ones are ignored."""
    pad = _FilePad.of(parameters)
    for identifier in parameters.need("identifiers"):
        pad.remove(str(identifier))


def get_files_by_query(parameters: TaskParameters, _: Spec) -> None:
    """Run GetFilesByQueryTask: always raises BadTask, because the file pad has no queries."""
    raise BadTask(
        f"{parameters.name} queries a MongoDB, and files are kept by their identifiers here",
        hint="use GetFilesTask, or name the MongoDB in `filepad_file`",
    )


class _FilePad:
    """A folder with two files for each identifier: a document and the content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, parameters: TaskParameters) -> _FilePad:
        """Return the file pad of the store."""
        return cls(store_folder(parameters.name) / "filepad")

    def add(self, identifier: str, path: Path, metadata: Any) -> bool:
        """Store a file. Returns False if the identifier is known."""
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
            except FileExistsError:  # another task added it first
                return False
        return True

    def find(self, identifier: str) -> tuple[Path, dict[str, Any]]:
        """Return the path of the content, and the document. Raises BadTask for an unknown identifier."""
        document, content = self._places(identifier)
        try:
            return content, json.loads(document.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BadTask(f"there is no file {identifier!r:.120} in {self._folder}") from None

    def remove(self, identifier: str) -> None:
        """Remove a file if it exists."""
        for file in self._places(identifier):
            file.unlink(missing_ok=True)

    def _places(self, identifier: str) -> tuple[Path, Path]:
        name = blake2b(identifier.encode(), digest_size=16).hexdigest()
        return self._folder / f"{name}.json", self._folder / f"{name}.data"
