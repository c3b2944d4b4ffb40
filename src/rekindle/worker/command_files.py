"""The project files that the commands of an attempt name: what they held before its first step, and what it left."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import ABSENT, FileContent, MatchedFiles, is_within
from rekindle.domain.changes.template_uses import files_in_commands
from rekindle.files.dependencies import LocatedFile, locate_files
from rekindle.files.digests import FileReader, OnRead, TreeStat, digest_of_set, tree_stat
from rekindle.files.file_patterns import matching_files, static_items
from rekindle.worker.attempt_environment import AttemptEnvironment, absolute_paths

if TYPE_CHECKING:
    from rekindle.domain.definition import Each
    from rekindle.journal.orders import TaskTemplate

_MAX_NAMED = 1_000  # files of a pattern that are recorded by name


class LocatedFiles(NamedTuple):
    """The files that an attempt's commands name, and the paths of those that only kept steps have used. `again` locates
    the files later: words that named nothing before may name files that the attempt has made."""

    files: tuple[LocatedFile, ...] = ()
    kept: frozenset[str] = frozenset()
    again: Callable[[], tuple[LocatedFile, ...]] = tuple


NO_FILES = LocatedFiles()


class CommandFiles:
    """The files that an attempt's commands name, from its start to its end. `outputs`: the absolute paths of declared
    outputs, which do not count here."""

    def __init__(self, reader: FileReader, located: LocatedFiles, outputs: Collection[str]) -> None:
        self._reader, self._located, self._outputs = reader, located, outputs
        self._before: dict[
            str, tuple[FileContent, TreeStat | None]
        ] = {}  # by path, the content at the start and the stat (None: used by kept steps only, or a pattern)
        self._matched: dict[str, Mapping[str, TreeStat]] = {}  # by location of a pattern: its files' stat
        self._left: dict[str, FileContent] = {}  # by path, the files that the attempt has written

    @property
    def present(self) -> Collection[str]:
        """Return the paths of the files that are read at the start."""
        return [one.path for one in self._located.files if one.there]

    def take(self, earlier: Mapping[str, FileContent], on_read: OnRead | None) -> None:
        """Read the files before the first step. `earlier`: by path, what the continued attempt has read."""
        for one in self._located.files:
            if one.path in self._located.kept and one.path in earlier:
                self._before[one.path] = earlier[one.path], None
                continue
            if one.pattern is not None:
                self._matched[one.path] = _file_stats(one.path, one.pattern)
                matched = self._reader.matched(one.name, one.path, one.pattern, on_read=on_read, shallow=True)
                self._before[one.path] = replace(matched, named=one.named), None
                continue
            if one.there and one.named not in ("written", "made"):
                content = replace(self._reader.content(one.name, one.path, None, on_read), named=one.named)
            else:
                content = FileContent(one.name, one.path, ABSENT, named=one.named)
            self._before[one.path] = content, tree_stat(one.path)

    @cached_property
    def written(self) -> Mapping[str, str]:
        """By path, the names of the files that the attempt has written. Asked for when its last step has ended."""
        found = {one.path: one.name for one in self._located.again() if one.path not in self._before and one.there}
        for content, before in self._before.values():
            if content.path in self._matched and content.matched is not None:
                changed = self._changed_matches(content.path, content.matched.pattern)
                if len(changed) <= _MAX_NAMED:
                    found |= {path: name for name, path in changed.items() if not is_within(path, self._outputs)}
            elif content.named == "made" or (before is not None and tree_stat(content.path) != before):
                found[content.path] = content.name
        return {path: name for path, name in found.items() if path and not os.path.isdir(path)}

    def take_written(self, on_read: OnRead | None) -> None:
        """Read what the attempt has written. Nothing is remembered: mostly nobody reads such a file again."""
        reader = FileReader()
        for path, name in self.written.items():
            self._left[path] = replace(reader.content(name, path, None, on_read), named="made")

    def recorded(self) -> tuple[FileContent, ...]:
        """Return the files as recorded. Files that the attempt has made or changed count as written by it, except
        programs: those count as the attempt has left them."""
        found: dict[str, FileContent] = {}
        for one in self._located.files:
            if one.path not in self._before:
                continue
            content, before = self._before[one.path]
            if one.path in self._matched and content.matched is not None:
                changed = self._changed_matches(one.path, content.matched.pattern)
                content = _without(content, content.matched, changed)
            elif one.named == "made":
                content = self._as_left(content)
            elif before is not None and content.compared and self._is_changed(content, before):
                content = self._changed(one, content)
            found[one.path] = content
        return (*found.values(), *(one for path, one in self._left.items() if path not in found))

    def _changed(self, one: LocatedFile, content: FileContent) -> FileContent:
        if one.fixed and one.there:
            return content
        if one.named == "program" and content.digest != ABSENT and os.path.isfile(one.path):
            return replace(self._reader.content(one.name, one.path), named=one.named)
        return self._as_left(content)

    def _as_left(self, content: FileContent) -> FileContent:
        """Return a file that the attempt has written."""
        if content.path in self._left:
            return self._left[content.path]
        return replace(content, digest=ABSENT, by="content", named="written")

    def _changed_matches(self, location: str, pattern: str) -> dict[str, str]:
        """Return the paths of the files of a pattern that appeared, changed or disappeared ("") since the start, by
        name."""
        then, paths = self._matched[location], matching_files(location, pattern)
        now = _file_stats(location, pattern)
        return {name: paths.get(name, "") for name in {*then, *now} if then.get(name) != now.get(name)}

    def _is_changed(self, content: FileContent, then: TreeStat) -> bool:
        """Return whether a file differs from what was read. An equal size and modification time prove nothing."""
        now = tree_stat(content.path)
        if now == then or now.digest != then.digest:
            return now != then
        return self._reader.content(content.name, content.path).digest != content.digest


def locate_command_files(
    template: TaskTemplate, start: int, env: AttemptEnvironment, inputs: Mapping[str, str]
) -> LocatedFiles:
    """Find the files that the commands of an attempt name. `start`: the first step that it runs; `inputs`: the absolute
    paths of its declared inputs, by name."""

    def items(each: Each) -> list[str] | None:
        return static_items(each, env.scope, env.directory)

    environment, search = env.environment, env.variables.get("PATH", "")
    named = files_in_commands(template.steps, env.scope, environment, items, search)
    if not named:
        return NO_FILES
    declared = {*inputs.values(), *absolute_paths(env.directory, env.outputs).values()}
    declared.update(path for pattern in env.patterns.values() for path in matching_files(*pattern).values())
    again = partial(locate_files, named, env.directory, template.directory, declared)
    found = again()
    if not (start and found):
        return LocatedFiles(found, again=again)
    kept, own = (
        {one.path for one in locate_files(those, env.directory, template.directory)}
        for those in (
            files_in_commands(steps, env.scope, environment, items, search)
            for steps in (template.steps[:start], template.steps[start:])
        )
    )
    return LocatedFiles(found, frozenset(kept - own), again)


def without_many(one: FileContent) -> FileContent:
    """Return the content as recorded: the files of a pattern by name, unless there are very many."""
    if one.matched is None or len(one.matched.files or ()) <= _MAX_NAMED:
        return one
    return replace(one, matched=MatchedFiles(one.matched.pattern))


def _without(content: FileContent, matched: MatchedFiles, changed: Collection[str]) -> FileContent:
    """Return a pattern in a command without the files that changed or disappeared while the attempt ran."""
    files = {name: digest for name, digest in (matched.files or {}).items() if name not in changed}
    return without_many(replace(content, digest=digest_of_set(files), matched=MatchedFiles(matched.pattern, files)))


def _file_stats(path: str, pattern: str) -> dict[str, TreeStat]:
    """Return the stat of the files that a pattern matches, by name."""
    return {name: tree_stat(inner) for name, inner in matching_files(path, pattern).items() if not os.path.isdir(inner)}
