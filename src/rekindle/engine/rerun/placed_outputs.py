"""Copy outputs that a person has elsewhere to where a job declares them, each atomically."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rekindle.domain.errors import Refused
from rekindle.journal.trees import copy_file, copy_tree, remove_tree


def copies_of(sources: Mapping[str, str], targets: Mapping[str, str]) -> dict[str, str]:
    """Return target by source of the outputs, named alike in both, that do not lie in place already. Raise Refused if
    an output is not at its source, or cannot be copied from there."""
    found = {}
    for name, source in sources.items():
        target, place = Path(targets[name]), Path(source)
        if not place.exists():
            raise Refused(f"nothing is changed: the output {name} is not at {source}")
        if not (place.is_file() or place.is_dir()):
            raise Refused(f"nothing is changed: {source} is neither a file nor a folder")
        if target.exists() and place.samefile(target):
            continue
        if place.is_dir() and target.resolve().is_relative_to(place.resolve()):
            raise Refused(f"nothing is changed: {target} lies in {source}, which would be copied into itself")
        found[source] = str(target)
    return found


def place_outputs(copies: Mapping[str, str]) -> None:
    """Copy files and folders (target by source). Each is complete at its target, or what was there stays. Raise Refused
    if one cannot be copied; earlier ones have been."""
    for source, target in copies.items():
        try:
            _place(Path(source).resolve(), Path(target))
        except OSError as error:
            raise Refused(
                f"nothing is recorded: {source} cannot be copied to {target}: {error.strerror or error}"
            ) from error


def _place(source: Path, target: Path) -> None:
    draft, aside = _beside(target, "part"), _beside(target, "old")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_tree(str(draft))
    try:
        if source.is_dir():
            copy_tree(str(source), str(draft), _ignore)
        else:
            copy_file(str(source), str(draft), _ignore)
        if target.is_dir() and not target.is_symlink():  # a rename replaces no folder with files in it
            remove_tree(str(aside))
            target.rename(aside)
        elif source.is_dir():
            target.unlink(missing_ok=True)
        draft.rename(target)
    finally:
        remove_tree(str(draft))
        if os.path.lexists(target):
            remove_tree(str(aside))
        else:
            with suppress(FileNotFoundError):
                aside.rename(target)


def _beside(target: Path, what: str) -> Path:
    """Return the path of a draft on the same file system: its name is short, however long the target's is."""
    from blake3 import blake3

    return target.with_name(f".rekindle-{what}-{blake3(os.fsencode(target.name)).hexdigest()[:16]}")


def _ignore(_: int) -> None:
    """Report no progress."""
