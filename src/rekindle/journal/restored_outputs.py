"""Put back what an attempt has left in its outputs, from the content store.

First everything is copied beside its place, and digested while it is copied; then it is renamed to its place. So an
output is never half restored, and a poisoned content changes nothing. If the process dies, the next one does it again:
drafts have the same names, and are replaced.

An output that was a symbolic link is a link again if that leads to what the attempt has left, once all outputs are in
their places; else a file takes its place. A link in the way is replaced by another link only: it may be a person's."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

import msgspec
from blake3 import blake3

from rekindle.files.digests import OnRead, digest_of, tree_stat
from rekindle.files.store_files import kind_name
from rekindle.journal.content_store import ContentStore, PoisonedContent
from rekindle.journal.kept_outputs import KeptOutput, KeptOutputs, digest_as_recorded, held_document, read_document
from rekindle.journal.trees import descriptor_path, mode_at, open_parent, relative_below, remove_path

_MOST_NAMED = 3  # unknown files that a problem names


class RestoreTarget(msgspec.Struct, frozen=True):
    """Where an output of an attempt is restored."""

    name: str  # as the attempt declared it
    path: str  # absolute: where the job declares it now
    digest: str  # as the attempt's fingerprint has it
    root: str  # absolute: the folder in which the job may write; below it, no link is followed
    earlier: tuple[int, ...] = ()  # attempts of the same job: files of a folder that these have left may be removed
    replaced: Collection[str] = ()  # digests of the output after these attempts: such a folder is replaced as a whole


class RestoreProblem(msgspec.Struct, frozen=True):
    """Why outputs were not restored. Nothing was changed then.

    - absent: they were not kept, or are not kept any more
    - poisoned: a content differs from its name, and was set aside (`digest`)
    - blocked: another file, a link or an unknown file is in the way
    - failed: the disk is full, or a file cannot be written
    """

    kind: Literal["absent", "poisoned", "blocked", "failed"]
    text: str
    digest: str | None = None


class _Blocked(Exception):
    """Something is in the way; the text says what."""


def restore(
    store: str, attempt: int, targets: Sequence[RestoreTarget], on_read: OnRead | None = None, *, durable: bool = False
) -> RestoreProblem | None:
    """Put the outputs of an attempt to their places, and return None; or change nothing, and return the problem.

    `store`: the store's folder. An output that has its content already is left untouched, with its times. Others are
    copied, digested and renamed to their places, with the modes and times that the attempt has left. A folder then
    holds what the attempt has left and nothing else; if it holds anything that neither the attempt nor an earlier one
    of the same job has left, nothing is restored. `on_read` is called while files are copied; an exception that it
    raises ends the work, and nothing is changed. `durable`: sync the files first.

    Several processes may restore the same attempt at once: the second one finds everything in place. Call it outside of
    any transaction. Then record what came of it: `engine/cache.py:record_restores`."""
    contents = ContentStore(store, durable=durable)
    try:
        with held_document(contents, attempt) as kept:
            if kept is None:
                return RestoreProblem("absent", f"the outputs of attempt {attempt} are not in the cache")
            return _restore(contents, kept, targets, on_read)
    except PoisonedContent as error:
        contents.set_aside(error.digest)
        text = f"the cached content {error.digest[:12]} of attempt {attempt} has changed on the disk, and was set aside"
        return RestoreProblem("poisoned", text, error.digest)
    except _Blocked as error:
        return RestoreProblem("blocked", str(error))
    except OSError as error:
        named = f" ({error.filename})" if error.filename else ""
        return RestoreProblem("failed", f"{error.strerror or error}{named}")


def _restore(
    contents: ContentStore, kept: KeptOutputs, targets: Sequence[RestoreTarget], on_read: OnRead | None
) -> RestoreProblem | None:
    by_name = {one.name: one for one in kept.outputs}
    missing = [one.name for one in targets if one.name not in by_name or by_name[one.name].digest != one.digest]
    if missing:
        text = f"the outputs of attempt {kept.attempt} are not in the cache as it has left them: {', '.join(missing)}"
        return RestoreProblem("absent", text)
    pairs = [(target, by_name[target.name]) for target in targets]
    placed = _Placement(contents, kept.attempt, _LinkTargets(pairs), on_read)
    try:
        for target, output in pairs:
            placed.prepare(target, output)
        placed.put()
    except FileNotFoundError as error:
        placed.take_away()
        if not str(error.filename).startswith(contents.folder):
            raise
        return RestoreProblem("absent", f"a content of attempt {kept.attempt} is gone from the cache")
    except BaseException:  # an interruption too
        placed.take_away()
        raise
    placed.finish()
    return None


class _Draft(msgspec.Struct):
    """An output that is copied beside its place. `earlier`: what was in its place is beside it."""

    target: RestoreTarget
    name: str
    put: bool = False
    earlier: bool = False


class _LinkTargets:
    """What symbolic links lead to once the outputs of an attempt are in their places."""

    def __init__(self, pairs: Sequence[tuple[RestoreTarget, KeptOutput]]) -> None:
        self._outputs = {os.path.normpath(target.path): output for target, output in pairs}
        self._files = {
            os.path.normpath(os.path.join(target.path, one.path)): one.text
            for target, output in pairs
            for one in output.files
            if one.kind != "link"
        }

    def digest(self, place: str, text: str, by: str) -> str | None:
        """Return the digest of what a link at a place leads to, taken in this way; None if it is not known."""
        path = _resolved(place, text)
        output = self._outputs.get(path)
        if output is not None and output.by == by:
            return output.digest
        if any(relative_below(top, path) for top in self._outputs):
            return self._files.get(path) or None if by == "content" else None
        return _present_digest(path, by)

    def restored_too(self, target: RestoreTarget, output: KeptOutput) -> bool:
        """Return whether an output has links in it, and all lead to what is put to its place too."""
        links = [(os.path.join(target.path, one.path), one.text) for one in output.files if one.kind == "link"]
        return bool(links) and all(_resolved(place, text) in self._files for place, text in links)


def _resolved(place: str, text: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(place), text))


class _Placement:
    """The outputs of one attempt on the way to their places."""

    def __init__(self, contents: ContentStore, attempt: int, links: _LinkTargets, on_read: OnRead | None) -> None:
        self._contents, self._attempt, self._links, self._on_read = contents, attempt, links, on_read
        self._drafts: list[_Draft] = []
        self._folders: list[tuple[str, str]] = []  # (root, path): created

    def prepare(self, target: RestoreTarget, output: KeptOutput) -> None:
        """Copy an output beside its place, unless it is there already."""
        if self._is_in_place(target, output):
            self._remove_beside(target)
            return
        link = self._right_link(target, output)
        made: list[str] = []
        try:
            with _parent(target, made) as (at, name):
                self._check_place(at, name, target, output, link)
                draft = _Draft(target, self._beside("restore", name))
                self._drafts.append(draft)
                place = descriptor_path(at, draft.name)
                remove_path(place)
                if link is not None:
                    os.symlink(link, place)
                else:
                    self._copy(output, place)
                    self._check_whole(target, output, place)
        finally:
            self._folders += [(target.root, path) for path in made]

    def put(self) -> None:
        """Rename every draft to its place."""
        for draft in self._drafts:
            with _parent(draft.target) as (at, name):
                mode, aside = mode_at(at, name), self._beside("earlier", name)
                if mode is not None and stat.S_ISDIR(mode):
                    remove_path(descriptor_path(at, aside))
                    os.rename(name, aside, src_dir_fd=at, dst_dir_fd=at)
                    draft.earlier = True
                os.rename(draft.name, name, src_dir_fd=at, dst_dir_fd=at)
                draft.put = True

    def take_away(self) -> None:
        """Remove the drafts, bring back the folders that were in their places, and remove created folders. A file that
        was replaced stays replaced: a run of the job replaces it too."""
        for draft in reversed(self._drafts):
            with contextlib.suppress(OSError), _parent(draft.target) as (at, name):
                if draft.earlier:
                    if draft.put:
                        os.rename(name, draft.name, src_dir_fd=at, dst_dir_fd=at)
                    os.rename(self._beside("earlier", name), name, src_dir_fd=at, dst_dir_fd=at)
                remove_path(descriptor_path(at, draft.name))
        for root, path in reversed(self._folders):
            with contextlib.suppress(OSError), open_parent(root, path) as (at, name):
                os.rmdir(name, dir_fd=at)

    def finish(self) -> None:
        """Remove the folders that were replaced."""
        for draft in self._drafts:
            self._remove_beside(draft.target)

    def _remove_beside(self, target: RestoreTarget) -> None:
        """Remove what this process, or one that has died, has left beside an output that is in place."""
        with contextlib.suppress(OSError, _Blocked), _parent(target) as (at, name):
            for why in ("restore", "earlier"):
                remove_path(descriptor_path(at, self._beside(why, name)))

    def _beside(self, why: str, name: str) -> str:
        """Return the name of a draft, or of what it replaces: short enough for the file system, however long `name`
        is, and the same for whoever restores this attempt."""
        return f".rekindle-{why}-{self._attempt}-{blake3(os.fsencode(name)).hexdigest()[:16]}"

    def _is_in_place(self, target: RestoreTarget, output: KeptOutput) -> bool:
        """Return whether the output has its content already, or a link there leads to it."""
        if os.path.islink(target.path):
            return self._links.digest(target.path, os.readlink(target.path), output.by) == target.digest
        return _present_digest(target.path, output.by) == target.digest

    def _right_link(self, target: RestoreTarget, output: KeptOutput) -> str | None:
        """Return the target of the link that the output was, if it leads to what the attempt has left."""
        link = output.link
        if link is None or (os.path.isabs(link) and target.path != output.path):  # it leads into another project
            return None
        return link if self._links.digest(target.path, link, output.by) == target.digest else None

    def _check_place(self, at: int, name: str, target: RestoreTarget, output: KeptOutput, link: str | None) -> None:
        """Raise _Blocked if there is something that a restore must not replace."""
        is_folder, mode = output.files[0].kind == "folder", mode_at(at, name)
        if link is None and output.link is not None and is_folder:  # commands that make links would make them within it
            raise _Blocked(f"{target.path} was a symbolic link to a directory that has changed, or is gone")
        if mode is None or (link is not None and stat.S_ISLNK(mode)):
            return
        if not (stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode)):
            raise _Blocked(
                f"{target.path} is {kind_name(mode)} now, and was {'a directory' if is_folder else 'a file'}"
            )
        if is_folder and digest_of(target.path) not in target.replaced:
            unknown = self._unknown_files(target, output)
            if unknown:
                more = f" and {len(unknown) - _MOST_NAMED:,} more" if len(unknown) > _MOST_NAMED else ""
                named = ", ".join(unknown[:_MOST_NAMED])
                raise _Blocked(f"{target.path} holds files that no attempt of the job has left: {named}{more}")

    def _unknown_files(self, target: RestoreTarget, output: KeptOutput) -> list[str]:
        """Return what a folder holds that neither the output has nor an earlier attempt of the job has left there."""
        known = {one.path for one in output.files}
        extra = {path: one for path, one in _entries(target.path) if path not in known}
        for attempt in target.earlier if extra else ():
            earlier = read_document(self._contents, attempt)
            for each in earlier.outputs if earlier is not None else ():
                if each.path == target.path:
                    for file in each.files:
                        if file.path in extra and _is_left(extra[file.path], file.kind, file.text):
                            del extra[file.path]
        return sorted(extra)

    def _copy(self, output: KeptOutput, place: str) -> None:
        for one in output.files:
            path = f"{place}/{one.path}" if one.path else place
            if one.kind == "folder":
                os.mkdir(path, 0o700)
            elif one.kind == "link":
                os.symlink(one.text, path)
            else:
                self._contents.copy_out(one.text, one.size, path, self._on_read)
        for one in reversed(output.files):  # a folder after what is in it: its mode may forbid writing
            path = f"{place}/{one.path}" if one.path else place
            if one.kind != "link":
                os.chmod(path, one.mode)
            os.utime(path, ns=(one.mtime_ns, one.mtime_ns), follow_symlinks=False)

    def _check_whole(self, target: RestoreTarget, output: KeptOutput, place: str) -> None:
        """Raise _Blocked unless the copy equals what the attempt has left: links may lead elsewhere now."""
        if not self._links.restored_too(target, output) and digest_as_recorded(place, output) != target.digest:
            raise _Blocked(f"links in {target.path} lead to other contents now")


@contextlib.contextmanager
def _parent(target: RestoreTarget, made: list[str] | None = None) -> Iterator[tuple[int, str]]:
    """Open the folder of an output. Raise _Blocked for a link or a file in its way, or a path outside of the root."""
    if relative_below(target.root, target.path) in (None, "."):
        raise _Blocked(f"{target.path} lies outside of {target.root}")
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(open_parent(target.root, target.path, made))
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            what = "a symbolic link" if error.errno == errno.ELOOP else "no directory"
            raise _Blocked(f"{error.filename} is {what} now") from error
        yield found


def _present_digest(path: str, by: str) -> str:
    return tree_stat(path).digest if by == "mtime" else digest_of(path)


def _entries(folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield (path relative to the folder, entry) of everything in a folder, stores included."""
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        with os.scandir(f"{folder}/{inner}" if inner else folder) as entries:
            for entry in entries:
                path = f"{inner}/{entry.name}".lstrip("/")
                yield path, entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)


def _is_left(entry: os.DirEntry[str], kind: str, text: str) -> bool:
    """Return whether an entry is as an attempt has left it."""
    if entry.is_symlink():
        return kind == "link" and os.readlink(entry.path) == text
    if entry.is_dir(follow_symlinks=False):
        return kind == "folder"
    return kind == "file" and digest_of(entry.path) == text
