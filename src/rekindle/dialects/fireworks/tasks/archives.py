"""CompressDirTask, DecompressDirTask and ArchiveDirTask."""

from __future__ import annotations

import bz2
import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.tasks.given import BadTask, Given, Spec

_WRITE: dict[str, Callable[[Path, str], Any]] = {"gz": gzip.open, "bz2": bz2.open}
_READ: dict[str, Callable[[Path, str], Any]] = {".gz": gzip.open, ".z": gzip.open, ".bz2": bz2.open}


def compress_dir(given: Given, _: Spec) -> None:
    """Each file of `dest` (the launch's folder) and of the folders in it: `compression` gz or bz2 · `ignore_errors`."""
    kind = given.get("compression") or "gz"
    if kind not in _WRITE:
        raise BadTask(f"CompressDirTask has no compression {kind!r:.60}", hint="gz or bz2")

    def compress(file: Path) -> None:
        if file.suffix.lower() != f".{kind}" and not file.is_symlink():
            _rewrite(file, open, _WRITE[kind], file.with_name(f"{file.name}.{kind}"))

    _each(given, compress)


def decompress_dir(given: Given, _: Spec) -> None:
    """Each file of `dest` (the launch's folder) and of folders in it that ends in gz, bz2 or z; `ignore_errors`."""

    def decompress(file: Path) -> None:
        if file.suffix.lower() in _READ:
            _rewrite(file, _READ[file.suffix.lower()], open, file.with_suffix(""))

    _each(given, decompress)


def archive_dir(given: Given, _: Spec) -> None:
    """The working directory as one file: `base_name` (without its ending) · `format`: gztar (default), tar, zip, …"""
    shutil.make_archive(str(given.need("base_name")), format=given.get("format") or "gztar", root_dir=".")


def _each(given: Given, do: Callable[[Path], None]) -> None:
    folder = Path(given.get("dest") or ".")
    try:
        if not folder.is_dir():
            raise NotADirectoryError(f"{given.name} finds no folder {folder}")
        for file in [found for found in folder.rglob("*") if found.is_file()]:
            do(file)
    except (OSError, EOFError):
        if not given.get("ignore_errors"):
            raise


def _rewrite(file: Path, read: Any, write: Any, target: Path) -> None:
    """Write a file's content anew beside it, and then remove it. What could not be written whole is not left there."""
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
