"""Record what an attempt depends on outside the store: files, outer variables, modules and programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rekindle.domain.changes.fingerprints import (
    ABSENT,
    EnvironmentPart,
    FileContent,
    FileFingerprints,
    FileRecord,
    MatchedFiles,
    is_within,
)
from rekindle.domain.changes.template_uses import (
    commands_are_fixed,
    functions_called,
    outer_variables,
)
from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.patterns import glob_location
from rekindle.domain.texts.substitution import format_word, render_text, render_value
from rekindle.files.dependencies import (
    DEFAULT_PATH,
    ProgramDigests,
    is_relative,
    programs_of,
)
from rekindle.files.digests import (
    FileReader,
    OnRead,
    TreeStat,
    digest_of_mapping,
    text_digest,
    tree_stat,
)
from rekindle.files.file_patterns import matching_files
from rekindle.journal import records
from rekindle.worker.attempt_environment import AttemptEnvironment, absolute_paths
from rekindle.worker.command_files import NO_FILES, CommandFiles, LocatedFiles, locate_command_files, without_many
from rekindle.worker.output_keeping import keep_outputs

if TYPE_CHECKING:
    from rekindle.files.sources import CodeDigester
    from rekindle.journal.orders import Assignment, TaskTemplate

LARGE_READ = 64 * 1024 * 1024
"""Bytes that take so long to read that the worker must handle orders meanwhile."""

_MAX_REMEMBERED = 20_000  # files to remember before forgetting all
_MAX_REPORTED = 1_000  # files reported with an attempt: its largest


class _TemplateFacts(NamedTuple):
    """Facts that all attempts of a template share."""

    template: TaskTemplate
    functions: tuple[str, ...]
    variables: tuple[str, ...]
    programs: tuple[str, ...]  # words of its commands
    names_files: bool  # its commands' files count
    fixed: bool  # its commands are the same for each attempt, whatever its values and variables
    no_files: set[str]  # the values of PATH with which fixed commands name no files
    fan_outs: bool  # over patterns


class Fingerprinter:
    """A process's knowledge of files and modules, from one attempt to the next."""

    def __init__(self) -> None:
        self._facts: dict[int, _TemplateFacts] = {}
        self._sources: CodeDigester | None = None
        self._recorded: set[str] = set()
        self._programs = ProgramDigests(FileReader())
        self._last: tuple[Mapping[str, str], str] | None = None  # a mapping, and its digest
        self.reader = FileReader()

    def begin(self, template: TaskTemplate, assignment: Assignment, env: AttemptEnvironment) -> Fingerprint | None:
        """Return an attempt's empty fingerprint; None if it declares and names no files and no outer variable."""
        variables = self._facts_of(template).variables
        if assignment.env:
            variables = outer_variables(template.steps, {**template.env, **assignment.env})
        facts = self._facts_of(template)
        named = self._named_files(facts, assignment, env) if facts.names_files else NO_FILES
        fan_outs = _fan_outs(template, env) if facts.fan_outs else {}
        if not (template.inputs or template.outputs or variables or named.files or fan_outs):
            return None
        if len(self.reader) > _MAX_REMEMBERED:
            self.reader = FileReader()
        self.reader.know(assignment.seen)
        return Fingerprint(self.reader, template, env, variables, assignment.began, named, fan_outs)

    def _named_files(self, facts: _TemplateFacts, assignment: Assignment, env: AttemptEnvironment) -> LocatedFiles:
        """Return the files that an attempt's commands name. That fixed commands name none is found out once."""
        path = env.variables.get("PATH", "")
        if facts.fixed and path in facts.no_files:
            return NO_FILES
        named = locate_command_files(facts.template, assignment.start_step, env, _input_paths(env))
        if named is NO_FILES:
            facts.no_files.add(path)
        return named

    def code(
        self,
        template: TaskTemplate,
        on_read: Callable[[records.RecordedCode], None],
        env: AttemptEnvironment | None = None,
    ) -> str | None:
        """Return the digest of the current code of a template's functions and, with the attempt's `env`, of the
        programs of its commands; None if it has neither. A mapping that this process has not journaled before is
        passed to the callback."""
        facts = self._facts_of(template)
        recorded: Mapping[str, str] = {}
        if facts.functions:
            from rekindle.files import sources  # lazy: workers for commands do not need its imports

            if self._sources is None:
                self._sources = sources.CodeDigester(sources.search_path())
            recorded = self._sources.code(facts.functions, template.directory)
        if env is not None and facts.programs:
            programs = self._programs_of(facts.programs, template, env)
            recorded = {**recorded, **programs} if recorded else programs
        if not recorded:
            return None
        digest = self._digest(recorded)
        if digest not in self._recorded:
            self._recorded.add(digest)
            on_read(records.RecordedCode(digest, dict(recorded)))
        return digest

    def _digest(self, recorded: Mapping[str, str]) -> str:
        if self._last is None or self._last[0] != recorded:
            self._last = recorded, digest_of_mapping(recorded)
        return self._last[1]

    def _programs_of(self, words: tuple[str, ...], template: TaskTemplate, env: AttemptEnvironment) -> dict[str, str]:
        path = env.variables.get("PATH") or env.base_variables.get("PATH", DEFAULT_PATH)
        found = {}
        for each in words:
            name = _rendered(each, env)
            if not name or (template.workdir == "attempt" and is_relative(name)):
                continue
            if value := self._programs.value(name, path, template.directory):
                found[EnvironmentPart("program", name).key] = value
        return found

    def _facts_of(self, template: TaskTemplate) -> _TemplateFacts:
        found = self._facts.get(template.id)
        if found is None or found.template is not template:
            commands = any(step.run is not None or (step.each and step.each.run) for step in template.steps)
            named = (name for step in template.steps for name in programs_of(step))
            found = _TemplateFacts(
                template,
                functions_called(template.steps),
                outer_variables(template.steps, template.env),
                tuple(dict.fromkeys(named)),
                template.implicit_inputs and commands,
                commands_are_fixed(template.steps),
                set(),
                any(step.each is not None and step.each.glob is not None for step in template.steps),
            )
            self._facts[template.id] = found
        return found


class Fingerprint:
    """One attempt's fingerprint. Inputs are read before its first step, outputs after it has completed."""

    def __init__(
        self,
        reader: FileReader,
        template: TaskTemplate,
        env: AttemptEnvironment,
        variables: tuple[str, ...],
        earlier_prints: FileFingerprints | None,
        named: LocatedFiles,
        fan_outs: Mapping[str, str],
    ) -> None:
        """`earlier_prints`: the fingerprint of the continued attempt. `fan_outs`: by step, the pattern of its items."""
        self._reader, self._template, self._by_mtime = reader, template, template.by_mtime
        self._began = earlier_prints
        self._earlier_prints = earlier_prints or FileFingerprints()
        self._input_paths = _input_paths(env)
        self._patterns = env.patterns
        self._output_paths = absolute_paths(env.directory, env.outputs)
        self._written = frozenset(self._output_paths.values())
        self._named = CommandFiles(reader, named, self._written)
        self._stats_before: dict[str, Mapping[str, TreeStat]] = {}
        self._fan_outs = {step: _FanOutFiles(self._reader, env.directory, text) for step, text in fan_outs.items()}
        self._inputs: tuple[FileContent, ...] = ()
        self._folders: tuple[str, ...] = ()
        self._outputs: tuple[FileContent, ...] = ()
        around = env.base_variables
        self._outer_variables = {name: text_digest(around[name]) if name in around else ABSENT for name in variables}

    @property
    def many_inputs(self) -> bool:
        """Whether reading the inputs takes long."""
        paths = {path: path for path in self._named.present}
        return self._large({**self._input_paths, **paths}, self._by_mtime, self._fan_outs.values())

    @property
    def many_outputs(self) -> bool:
        """Whether reading the outputs, and what else the commands wrote, takes long, or keeping those that are compared
        by mtime."""
        paths = {**self._output_paths, **{path: path for path in self._named.written}}
        return self._large(paths, {} if self._template.cache else self._by_mtime)

    def take_inputs(self, on_read: OnRead | None = None) -> None:
        """Read the inputs, and which outputs are folders already. `on_read` is called meanwhile; an exception that it
        raises ends the reading."""
        folders = tuple(name for name, path in self._output_paths.items() if os.path.isdir(path))
        self._folders = folders if self._began is None else self._began.folders
        self._stats_before = {name: self._tree_stats(name) for name in self._input_paths}
        self._inputs = self._contents(self._input_paths, on_read, self._written)
        earlier = {one.path: one for one in self._earlier_prints.inputs if one.implicit and one.compared}
        self._named.take(earlier, on_read)
        for fan_out in self._fan_outs.values():
            fan_out.take(on_read)

    def items(self, step: str) -> Mapping[str, str]:
        """Return, by item of a fan-out step over a pattern that starts, the digests of files that have not changed
        since the attempt started."""
        return self._fan_outs[step].unchanged() if step in self._fan_outs else {}

    def take_outputs(self, on_read: OnRead | None = None) -> None:
        """Read the outputs, and what else the commands wrote, as `take_inputs` does."""
        self._outputs = self._contents(self._output_paths, on_read)
        self._named.take_written(on_read)

    def keep_outputs(self, attempt: int, on_read: OnRead | None = None) -> records.CachedOutputs | None:
        """Keep what `take_outputs` has read, if the job says so; see `worker.output_keeping`."""
        return keep_outputs(self._template, attempt, self._outputs, self._reader, on_read)

    def complete(self, record: records.Ended) -> records.Ended:
        """Return the attempt's end with the fingerprint, including the inputs that changed while it ran."""
        return msgspec.structs.replace(record, prints=self.so_far(), seen=_largest(self._reader.fresh()))

    def so_far(self) -> FileFingerprints:
        """Return the fingerprint of what the attempt has read and written until now."""
        made = {
            step: one.made(self._earlier_prints.made.get(step, {})) for step, one in self._fan_outs.items() if one.taken
        }
        inputs = (*map(without_many, self._inputs), *self._named.recorded())
        return FileFingerprints(inputs, self._outputs, self._outer_variables, self._unstable(), made, self._folders)

    def _unstable(self) -> tuple[str, ...]:
        """Return the inputs that changed meanwhile, or that differ from those of kept steps. Files that the attempt
        writes do not count."""
        earlier_prints = {one.name: one.digest for one in self._earlier_prints.inputs if not one.implicit}
        return tuple(
            one.name
            for one in self._inputs
            if not is_within(one.path, self._written)
            and (
                one.name in self._earlier_prints.unstable
                or earlier_prints.get(one.name, one.digest) != one.digest
                or self._changed(one)
            )
        )

    def _changed(self, one: FileContent) -> bool:
        """Return whether an input differs from what was read. An equal size and modification time prove nothing: if
        the change time or the inode differs (also after `chmod` and `ln`), the file is read again."""
        then, now = self._stats_before[one.name], self._tree_stats(one.name)
        if {name: seen.digest for name, seen in then.items()} != {name: seen.digest for name, seen in now.items()}:
            return True
        if then == now or one.by == "mtime":
            return False
        return self._contents({one.name: one.path}, None, self._written)[0].digest != one.digest

    def _tree_stats(self, name: str) -> Mapping[str, TreeStat]:
        """How an input looks: each file, where it is a pattern."""
        if name in self._patterns:
            found = matching_files(*self._patterns[name], self._written)
            return {one: tree_stat(path, self._written) for one, path in found.items()}
        return {name: tree_stat(self._input_paths[name], self._written)}

    def _contents(
        self, paths: Mapping[str, str], on_read: OnRead | None, without: Collection[str] = ()
    ) -> tuple[FileContent, ...]:
        by = self._by_mtime
        return tuple(
            self._reader.content(name, path, by.get(name), on_read, self._pattern(name, path), without)
            for name, path in paths.items()
        )

    def _pattern(self, name: str, path: str) -> str | None:
        """Return the text of the input at location `path` if it is a pattern."""
        glob_location, text = self._patterns.get(name, (None, None))
        return text if glob_location == path else None

    def _large(
        self, paths: Mapping[str, str], by_mtime: Mapping[str, int], fan_outs: Iterable[_FanOutFiles] = ()
    ) -> bool:
        effort = 0
        for name, path in paths.items():
            effort += self._reader.effort(path, by_mtime.get(name), self._pattern(name, path))
            if effort > LARGE_READ:
                return True
        return effort + sum(one.effort() for one in fan_outs) > LARGE_READ


class _FanOutFiles:
    """The files that the pattern of a fan-out step matches, from the start of an attempt to its end."""

    def __init__(self, reader: FileReader, directory: str, pattern: str) -> None:
        self._reader, self._pattern = reader, pattern
        self._path = glob_location(directory, pattern)
        self._paths: dict[str, str] = {}
        self._file_stats_before: dict[str, TreeStat] = {}
        self._digests: Mapping[str, str] = {}
        self._others: frozenset[str] = frozenset()  # items that are not compared anyway
        self.taken = False

    def effort(self) -> int:
        """Return how many bytes `take` would have to read."""
        return sum(map(self._reader.effort, matching_files(self._path, self._pattern).values()))

    def take(self, on_read: OnRead | None) -> None:
        """Read the files at the attempt's start."""
        self._file_stats_before = self._now()
        found = self._reader.matched("", self._path, self._pattern, on_read=on_read).matched
        self._digests = (found and found.files) or {}
        self.taken = True

    def unchanged(self) -> dict[str, str]:
        """Return, by path, the digests of files that have not changed since the attempt started."""
        now = self._now()
        same = {name: digest for name, digest in self._digests.items() if self._is_same(name, now)}
        self._others = frozenset(now.keys() - same.keys())
        return same

    def made(self, before: Mapping[str, bool]) -> dict[str, bool]:
        """Return, at the attempt's end, the paths that appeared or changed (True) or disappeared (False) in it, or
        in the continued attempt (`before`); without items that have no recorded digest."""
        now = self._now()
        changed = {name for name in {*now, *self._file_stats_before} if not self._is_same(name, now)} - self._others
        return {name: name in now for name in sorted({*changed, *before})}

    def _now(self) -> dict[str, TreeStat]:
        found = matching_files(self._path, self._pattern)
        self._paths.update(found)
        return {name: tree_stat(path) for name, path in found.items()}

    def _is_same(self, name: str, now: Mapping[str, TreeStat]) -> bool:
        then, seen = self._file_stats_before.get(name), now.get(name)
        if then is None or seen is None or then.digest != seen.digest:
            return False
        if then == seen:
            return True
        return self._reader.content("", self._paths[name]).digest == self._digests.get(name)


def _fan_outs(template: TaskTemplate, env: AttemptEnvironment) -> dict[str, str]:
    """Return, by fan-out step, the pattern of its items, if known before the first step."""
    found = {}
    for step in template.steps:
        if step.each is None or step.each.glob is None:
            continue
        try:
            value = render_value(step.each.glob, env.scope)
        except RekindleError:  # the pattern contains the result of an earlier step
            continue
        if not isinstance(value, list | tuple):
            found[step.name] = format_word(value)
    return found


def _rendered(format_word: str, env: AttemptEnvironment) -> str:
    """Return a rendered program name; "" if a value is not known before the attempt starts."""
    try:
        return render_text(format_word, env.scope) if "${" in format_word else format_word
    except RekindleError:
        return ""


def absent_inputs(env: AttemptEnvironment, absent: Mapping[str, str]) -> FileFingerprints:
    """Return the fingerprint of an attempt that could not start without these inputs."""
    patterns = {name: MatchedFiles(text, {}) for name, (_, text) in env.patterns.items()}
    paths = _input_paths(env)
    return FileFingerprints(
        tuple(FileContent(name, paths[name], ABSENT, matched=patterns.get(name)) for name in absent)
    )


def _input_paths(env: AttemptEnvironment) -> dict[str, str]:
    """Return the absolute path of each input by name; for a pattern, its location."""
    return absolute_paths(env.directory, env.inputs) | {name: path for name, (path, _) in env.patterns.items()}


def _largest(seen: tuple[FileRecord, ...]) -> tuple[FileRecord, ...]:
    if len(seen) <= _MAX_REPORTED:
        return seen
    return tuple(sorted(seen, key=lambda one: one.size, reverse=True)[:_MAX_REPORTED])
