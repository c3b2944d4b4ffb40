"""What an attempt depends on outside the archive, recorded where it runs: files, variables around it, modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rekindle.domain.changes.outside import files_named, functions_called, outer_variables
from rekindle.domain.changes.prints import ABSENT, Content, FileSeen, Matched, Part, Prints, is_within
from rekindle.domain.definition import Each
from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.globs import location
from rekindle.domain.texts.substitution import render, render_value, word
from rekindle.files.digests import Glance, Tell, digest_of_mapping, digest_of_set, glance, text_digest
from rekindle.files.environment import DEFAULT_PATH, Programs, is_relative, programs_of
from rekindle.files.locating import Located, locate
from rekindle.files.reading import Reader, matching
from rekindle.journal import records
from rekindle.journal.items import settled
from rekindle.journal.orders import Assignment, Recipe
from rekindle.worker.frame import Frame, absolute

if TYPE_CHECKING:
    from rekindle.files.sources import Sources

LARGE = 64 * 1024 * 1024
"""Bytes that take so long to read that the worker should not be deaf meanwhile."""

_MOST_REMEMBERED = 20_000  # files that a worker remembers before it begins anew
_MOST_TOLD = 1_000  # files that are told with an attempt: its largest
_MOST_NAMED = 1_000  # files of a pattern that are recorded by name


class _Facts(NamedTuple):
    """What all attempts of a recipe share."""

    recipe: Recipe
    functions: tuple[str, ...]
    variables: tuple[str, ...]
    programs: tuple[str, ...]  # words of its commands
    names_files: bool  # it has commands, and the files that they name count
    fan_outs: bool  # over patterns


class _NamedFiles(NamedTuple):
    """The files that an attempt's commands name, and the paths of those that the steps which it keeps have used."""

    files: tuple[Located, ...] = ()
    kept: frozenset[str] = frozenset()


_NONE = _NamedFiles()


class Fingerprints:
    """What a process knows of files and modules, from one attempt to the next."""

    def __init__(self) -> None:
        self._facts: dict[int, _Facts] = {}
        self._sources: Sources | None = None
        self._told: set[str] = set()
        self._programs = Programs(Reader())
        self._last: tuple[Mapping[str, str], str] | None = None  # a mapping, and its digest
        self.reader = Reader()

    def begin(self, recipe: Recipe, assignment: Assignment, frame: Frame) -> Fingerprint | None:
        """An attempt's fingerprint, with nothing in it; None: it declares and names no files, and names no variable
        around it."""
        variables = self._facts_of(recipe).variables
        if assignment.env:
            variables = outer_variables(recipe.steps, {**recipe.env, **assignment.env})
        facts = self._facts_of(recipe)
        named = _located(recipe, assignment.start_step, frame) if facts.names_files else _NONE
        fan_outs = _fan_outs(recipe, frame) if facts.fan_outs else {}
        if not (recipe.inputs or recipe.outputs or variables or named.files or fan_outs):
            return None
        if len(self.reader) > _MOST_REMEMBERED:
            self.reader = Reader()
        self.reader.know(assignment.seen)
        return Fingerprint(self.reader, recipe.by_mtime, frame, variables, assignment.began, named, fan_outs)

    def code(self, recipe: Recipe, tell: Callable[[records.Sources], None], frame: Frame | None = None) -> str | None:
        """Return the digest of what a recipe's functions are made of now and, with the attempt's `frame`, of the
        programs of its commands; None: it has neither. `tell` journals a mapping that this process has not
        journalled before."""
        facts = self._facts_of(recipe)
        recorded: Mapping[str, str] = {}
        if facts.functions:
            from rekindle.files import sources  # workers for commands do without what it imports

            if self._sources is None:
                self._sources = sources.Sources(sources.search_path())
            recorded = self._sources.code(facts.functions, recipe.directory)
        if frame is not None and facts.programs:
            programs = self._programs_of(facts.programs, recipe, frame)
            recorded = {**recorded, **programs} if recorded else programs
        if not recorded:
            return None
        digest = self._digest(recorded)
        if digest not in self._told:
            self._told.add(digest)
            tell(records.Sources(digest, dict(recorded)))
        return digest

    def _digest(self, recorded: Mapping[str, str]) -> str:
        if self._last is None or self._last[0] != recorded:
            self._last = recorded, digest_of_mapping(recorded)
        return self._last[1]

    def _programs_of(self, words: tuple[str, ...], recipe: Recipe, frame: Frame) -> dict[str, str]:
        path = frame.variables.get("PATH") or frame.surroundings.get("PATH", DEFAULT_PATH)
        found = {}
        for each in words:
            name = _rendered(each, frame)
            if not name or (recipe.workdir == "attempt" and is_relative(name)):
                continue
            if value := self._programs.value(name, path, recipe.directory):
                found[Part("program", name).key] = value
        return found

    def _facts_of(self, recipe: Recipe) -> _Facts:
        found = self._facts.get(recipe.id)
        if found is None or found.recipe is not recipe:
            commands = any(step.run is not None or (step.each and step.each.run) for step in recipe.steps)
            named = (name for step in recipe.steps for name in programs_of(step))
            found = _Facts(
                recipe,
                functions_called(recipe.steps),
                outer_variables(recipe.steps, recipe.env),
                tuple(dict.fromkeys(named)),
                recipe.implicit_inputs and commands,
                any(step.each is not None and step.each.glob is not None for step in recipe.steps),
            )
            self._facts[recipe.id] = found
        return found


class Fingerprint:
    """One attempt's. Inputs are taken before its first step, outputs once it has completed."""

    def __init__(
        self,
        reader: Reader,
        by_mtime: Mapping[str, int],
        frame: Frame,
        variables: tuple[str, ...],
        began: Prints | None,
        named: _NamedFiles,
        fan_outs: Mapping[str, str],
    ) -> None:
        """`began`: what the attempt that it goes on from depended on. `fan_outs`: by step, the pattern of its items."""
        self._named = named
        self._before: dict[str, tuple[Content, Glance | None]] = {}  # by path, what named files held at the start, and
        # looked like (None: kept steps have used them)
        self._looks: dict[str, Mapping[str, Glance]] = {}  # by location of a pattern in a command: how its files looked
        self._reader, self._by_mtime = reader, by_mtime
        self._began = began or Prints()
        self._input_paths = _input_paths(frame)
        self._patterns = frame.patterns
        self._output_paths = absolute(frame.directory, frame.outputs)
        self._written = frozenset(self._output_paths.values())
        self._glances: dict[str, Mapping[str, Glance]] = {}
        self._fan_outs = {step: _Items(self._reader, frame.directory, text) for step, text in fan_outs.items()}
        self._inputs: tuple[Content, ...] = ()
        self._outputs: tuple[Content, ...] = ()
        around = frame.surroundings
        self._env = {name: text_digest(around[name]) if name in around else ABSENT for name in variables}

    @property
    def many_inputs(self) -> bool:
        """To take the inputs takes long."""
        paths = {one.path: one.path for one in self._named.files if one.there}
        return self._large({**self._input_paths, **paths}, self._fan_outs.values())

    @property
    def many_outputs(self) -> bool:
        """To take the outputs takes long."""
        return self._large(self._output_paths)

    def take_inputs(self, tell: Tell | None = None) -> None:
        """Read the inputs. `tell` is called meanwhile; what it raises ends it."""
        self._glances = {name: self._glance(name) for name in self._input_paths}
        self._inputs = self._contents(self._input_paths, tell, self._written)
        earlier = {one.path: one for one in self._began.inputs if one.implicit and one.compared}
        for one in self._named.files:
            if one.path in self._named.kept and one.path in earlier:
                self._before[one.path] = earlier[one.path], None
                continue
            if one.pattern is not None:
                self._looks[one.path] = _looks(one.path, one.pattern)
                matched = self._reader.matched(one.name, one.path, one.pattern, tell=tell, shallow=True)
                self._before[one.path] = replace(matched, named=one.named), None
                continue
            if one.there and one.named != "written":
                content = replace(self._reader.content(one.name, one.path, None, tell), named=one.named)
            else:
                content = Content(one.name, one.path, ABSENT, named=one.named)
            self._before[one.path] = content, glance(one.path)
        for fan_out in self._fan_outs.values():
            fan_out.take(tell)

    def items(self, step: str) -> Mapping[str, str]:
        """By item of a fan-out step over a pattern, as it begins: what its file holds, for those that are as they were
        when the attempt began."""
        return self._fan_outs[step].unchanged() if step in self._fan_outs else {}

    def take_outputs(self, tell: Tell | None = None) -> None:
        """Read the outputs, in the same way."""
        self._outputs = self._contents(self._output_paths, tell)

    def complete(self, record: records.Ended) -> records.Ended:
        """The attempt's end with all that was taken, and the inputs that did not stay the same throughout."""
        made = {step: one.made(self._began.made.get(step, {})) for step, one in self._fan_outs.items() if one.taken}
        inputs = (*map(_without_many, self._inputs), *self._implicit())
        prints = Prints(inputs, self._outputs, self._env, self._unstable(), made)
        return msgspec.structs.replace(record, prints=prints, seen=_largest(self._reader.fresh()))

    def _implicit(self) -> tuple[Content, ...]:
        """The named files. What the attempt has made, and what it has changed of files that are no programs, is
        written by it; a program that it may have changed counts as the attempt has left it."""
        found = []
        for one in self._named.files:
            if one.path not in self._before:
                continue
            content, looked = self._before[one.path]
            if one.path in self._looks and content.matched is not None:
                found.append(self._unwritten(content, content.matched))
                continue
            changed = looked is not None and content.compared and self._is_changed(content, looked)
            if changed and not (one.fixed and one.there):
                if one.named == "program" and content.digest != ABSENT and os.path.isfile(one.path):
                    content = replace(self._reader.content(one.name, one.path), named=one.named)
                else:
                    content = replace(content, digest=ABSENT, by="content", named="written")
            found.append(content)
        return tuple(found)

    def _unwritten(self, content: Content, matched: Matched) -> Content:
        """A pattern in a command without the files that changed or went while the attempt ran."""
        then, now = self._looks[content.path], _looks(content.path, matched.pattern)
        files = {name: digest for name, digest in (matched.files or {}).items() if now.get(name) == then.get(name)}
        return _without_many(replace(content, digest=digest_of_set(files), matched=Matched(matched.pattern, files)))

    def _is_changed(self, content: Content, then: Glance) -> bool:
        """Whether a named file differs from what was read; see `_changed`."""
        now = glance(content.path)
        if now == then or now.digest != then.digest:
            return now != then
        return self._reader.content(content.name, content.path).digest != content.digest

    def _unstable(self) -> tuple[str, ...]:
        """Inputs that look different by now, or that the steps which it keeps have seen otherwise. What it writes
        itself does not count."""
        began = {one.name: one.digest for one in self._began.inputs if not one.implicit}
        return tuple(
            one.name
            for one in self._inputs
            if not is_within(one.path, self._written)
            and (
                one.name in self._began.unstable or began.get(one.name, one.digest) != one.digest or self._changed(one)
            )
        )

    def _changed(self, one: Content) -> bool:
        """Whether an input differs from what was read. An equal size and modification time do not prove that it is
        equal: where the change time or the inode differ (also after `chmod` and `ln`), it is read again."""
        then, now = self._glances[one.name], self._glance(one.name)
        if {name: seen.digest for name, seen in then.items()} != {name: seen.digest for name, seen in now.items()}:
            return True
        if then == now or one.by == "mtime":
            return False
        return self._contents({one.name: one.path}, None, self._written)[0].digest != one.digest

    def _glance(self, name: str) -> Mapping[str, Glance]:
        """How an input looks: each file, where it is a pattern."""
        if name in self._patterns:
            found = matching(*self._patterns[name], self._written)
            return {one: glance(path, self._written) for one, path in found.items()}
        return {name: glance(self._input_paths[name], self._written)}

    def _contents(
        self, paths: Mapping[str, str], tell: Tell | None, without: Collection[str] = ()
    ) -> tuple[Content, ...]:
        by = self._by_mtime
        return tuple(
            self._reader.content(name, path, by.get(name), tell, self._pattern(name, path), without)
            for name, path in paths.items()
        )

    def _pattern(self, name: str, path: str) -> str | None:
        """The text of the input whose location is `path`, where it is a pattern."""
        location, text = self._patterns.get(name, (None, None))
        return text if location == path else None

    def _large(self, paths: Mapping[str, str], fan_outs: Iterable[_Items] = ()) -> bool:
        effort = 0
        for name, path in paths.items():
            effort += self._reader.effort(path, self._by_mtime.get(name), self._pattern(name, path))
            if effort > LARGE:
                return True
        return effort + sum(one.effort() for one in fan_outs) > LARGE


class _Items:
    """The files that the pattern of a fan-out step matches, from the beginning of an attempt to its end."""

    def __init__(self, reader: Reader, directory: str, pattern: str) -> None:
        self._reader, self._pattern = reader, pattern
        self._path = location(directory, pattern)
        self._paths: dict[str, str] = {}
        self._looks: dict[str, Glance] = {}
        self._digests: Mapping[str, str] = {}
        self._others: frozenset[str] = frozenset()  # items that are not compared anyway
        self.taken = False

    def effort(self) -> int:
        """How many bytes `take` would have to read."""
        return sum(map(self._reader.effort, matching(self._path, self._pattern).values()))

    def take(self, tell: Tell | None) -> None:
        """The attempt begins: read them."""
        self._looks = self._now()
        found = self._reader.matched("", self._path, self._pattern, tell=tell).matched
        self._digests = (found and found.files) or {}
        self.taken = True

    def unchanged(self) -> dict[str, str]:
        """By path, the digests of those that are as they were when the attempt began."""
        now = self._now()
        same = {name: digest for name, digest in self._digests.items() if self._is_same(name, now)}
        self._others = frozenset(now.keys() - same.keys())
        return same

    def made(self, before: Mapping[str, bool]) -> dict[str, bool]:
        """The attempt ends: the paths that appeared or changed (True) or went (False) meanwhile, or in the attempt
        (`before`) that it goes on from; without those items of which no digest was recorded."""
        now = self._now()
        changed = {name for name in {*now, *self._looks} if not self._is_same(name, now)} - self._others
        return {name: name in now for name in sorted({*changed, *before})}

    def _now(self) -> dict[str, Glance]:
        found = matching(self._path, self._pattern)
        self._paths.update(found)
        return {name: glance(path) for name, path in found.items()}

    def _is_same(self, name: str, now: Mapping[str, Glance]) -> bool:
        then, seen = self._looks.get(name), now.get(name)
        if then is None or seen is None or then.digest != seen.digest:
            return False
        if then == seen:
            return True
        return self._reader.content("", self._paths[name]).digest == self._digests.get(name)


def _fan_outs(recipe: Recipe, frame: Frame) -> dict[str, str]:
    """By fan-out step, the pattern of its items, where that is known before the first step."""
    found = {}
    for step in recipe.steps:
        if step.each is None or step.each.glob is None:
            continue
        try:
            value = render_value(step.each.glob, frame.scope)
        except RekindleError:  # it names the result of a step before it, which makes the files
            continue
        if not isinstance(value, list | tuple):
            found[step.name] = word(value)
    return found


def _looks(path: str, pattern: str) -> dict[str, Glance]:
    """How the files look that a pattern matches, by name."""
    return {name: glance(inner) for name, inner in matching(path, pattern).items() if not os.path.isdir(inner)}


def _without_many(one: Content) -> Content:
    """As it is recorded: the files of a pattern by name, unless there are very many."""
    if one.matched is None or len(one.matched.files or ()) <= _MOST_NAMED:
        return one
    return replace(one, matched=Matched(one.matched.pattern))


def _rendered(word: str, frame: Frame) -> str:
    """A program's name with its values; "": it has one that is not known before the attempt starts."""
    try:
        return render(word, frame.scope) if "${" in word else word
    except RekindleError:
        return ""


def _located(recipe: Recipe, start: int, frame: Frame) -> _NamedFiles:
    """Find what the commands of an attempt name."""

    def items(each: Each) -> list[str] | None:
        return settled(each, frame.scope, frame.directory)

    environment, search = frame.environment, frame.variables.get("PATH", "")
    named = files_named(recipe.steps, frame.scope, environment, items, search)
    if not named:
        return _NONE
    declared = {*_input_paths(frame).values(), *absolute(frame.directory, frame.outputs).values()}
    declared.update(path for pattern in frame.patterns.values() for path in matching(*pattern).values())
    found = locate(named, frame.directory, recipe.directory, declared)
    if not (start and found):
        return _NamedFiles(found)
    kept = files_named(recipe.steps[:start], frame.scope, environment, items, search)
    return _NamedFiles(found, frozenset(one.path for one in locate(kept, frame.directory, recipe.directory)))


def absent_inputs(frame: Frame, absent: Mapping[str, str]) -> Prints:
    """What is recorded of an attempt that could not begin without these inputs."""
    patterns = {name: Matched(text, {}) for name, (_, text) in frame.patterns.items()}
    paths = _input_paths(frame)
    return Prints(tuple(Content(name, paths[name], ABSENT, matched=patterns.get(name)) for name in absent))


def _input_paths(frame: Frame) -> dict[str, str]:
    """By name, the absolute path of an input; of a pattern, its location."""
    return absolute(frame.directory, frame.inputs) | {name: path for name, (path, _) in frame.patterns.items()}


def _largest(seen: tuple[FileSeen, ...]) -> tuple[FileSeen, ...]:
    if len(seen) <= _MOST_TOLD:
        return seen
    return tuple(sorted(seen, key=lambda one: one.size, reverse=True)[:_MOST_TOLD])
