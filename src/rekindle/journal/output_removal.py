"""Remove outputs in two steps that can be undone between them: rename an output beside its place, then remove that.

Links are not followed, and nothing outside of the folders in which the attempt may write is touched."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence

from blake3 import blake3

from rekindle.journal.trees import descriptor_path, mode_at, open_parent, relative_below, remove_tree


def move_aside(roots: Sequence[str], path: str, attempt: int) -> bool:
    """Rename the output `path` of an attempt to a name beside its place. Return False if it is not there. `roots`: the
    folders in which it may be; neither of them is an output. Raise OSError if that fails."""
    with _parent(roots, path) as found:
        if found is None or mode_at(*found) is None:
            return False
        at, name = found
        os.rename(name, _aside(name, attempt), src_dir_fd=at, dst_dir_fd=at)
    return True


def move_back(roots: Sequence[str], path: str, attempt: int) -> None:
    """Rename an output back to its place, unless something else is there now."""
    with _parent(roots, path) as found:
        if found is not None:
            at, name = found
            if mode_at(at, name) is None and mode_at(at, _aside(name, attempt)) is not None:
                os.rename(_aside(name, attempt), name, src_dir_fd=at, dst_dir_fd=at)


def remove_aside(roots: Sequence[str], path: str, attempt: int) -> None:
    """Remove an output that was renamed. Raise OSError if that fails."""
    with _parent(roots, path) as found:
        if found is not None:
            at, name = found
            aside = _aside(name, attempt)
            if stat.S_ISDIR(mode_at(at, aside) or 0):
                remove_tree(descriptor_path(at, aside))
            elif mode_at(at, aside) is not None:
                os.unlink(aside, dir_fd=at)


@contextlib.contextmanager
def _parent(roots: Sequence[str], path: str) -> Iterator[tuple[int, str] | None]:
    """Open the folder that holds an output; yield None if that is gone, or the output is not within a root."""
    root = next((one for one in roots if relative_below(one, path) not in (None, ".")), None)
    if root is None:
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(open_parent(root, path))
        except (FileNotFoundError, NotADirectoryError):
            found = None
        yield found


def _aside(name: str, attempt: int) -> str:
    """Return the name of a renamed output: short enough for the file system, however long `name` is."""
    return f".rekindle-removed-{attempt}-{blake3(os.fsencode(name)).hexdigest()[:16]}"
