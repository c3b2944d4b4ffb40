"""What an attempt depends on outside the archive, recorded where it runs: files, variables around it, modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rekindle.domain.changes.outside import files_named, functions_called, outer_variables
from rekindle.domain.changes.prints import ABSENT, Content, FileSeen, Part, Prints, is_within, written_inside
from rekindle.domain.definition import Each
from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.substitution import render
from rekindle.files.digests import Tell, digest_of_mapping, glance, text_digest
from rekindle.files.environment import DEFAULT_PATH, Programs, is_relative, programs_of
from rekindle.files.locating import Located, locate
from rekindle.files.reading import Reader
from rekindle.journal import records
from rekindle.journal.items import settled
from rekindle.journal.orders import Assignment, Recipe
from rekindle.worker.frame import Frame

if TYPE_CHECKING:
    from rekindle.files.sources import Sources

LARGE = 64 * 1024 * 1024
"""Bytes that take so long to read that the worker should not be deaf meanwhile."""

_MOST_REMEMBERED = 20_000  # files that a worker remembers before it begins anew
_MOST_TOLD = 1_000  # files that are told with an attempt: its largest


class _Facts(NamedTuple):
    """What all attempts of a recipe share."""

    recipe: Recipe
    functions: tuple[str, ...]
    variables: tuple[str, ...]
    programs: tuple[str, ...]  # words of its commands
    names_files: bool  # it has commands, and the files that they name count


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
        named = _located(recipe, assignment.start_step, frame) if self._facts_of(recipe).names_files else _NONE
        if not (recipe.inputs or recipe.outputs or variables or named.files):
            return None
        if len(self.reader) > _MOST_REMEMBERED:
            self.reader = Reader()
        self.reader.know(assignment.seen)
        return Fingerprint(self.reader, recipe.by_mtime, frame, variables, assignment.began, named)

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
        for word in words:
            name = _rendered(word, frame)
            if not name or (recipe.workdir == "attempt" and is_relative(name)):
                continue
            if value := self._programs.value(name, path, recipe.directory):
                found[Part("program", name).key] = value
        return found

    def _facts_of(self, recipe: Recipe) -> _Facts:
        found = self._facts.get(recipe.id)
        if found is None or found.recipe is not recipe:
            commands = any(step.run is not None or (step.each and step.each.run) for step in recipe.steps)
            named = (word for step in recipe.steps for word in programs_of(step))
            found = _Facts(
                recipe,
                functions_called(recipe.steps),
                outer_variables(recipe.steps, recipe.env),
                tuple(dict.fromkeys(named)),
                recipe.implicit_inputs and commands,
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
        named: _NamedFiles = _NONE,
    ) -> None:
        """`began`: what the attempt that it goes on from depended on."""
        self._named = named
        self._before: dict[str, tuple[Content, str | None]] = {}  # by path, what named files held at the start, and
        # looked like (None: kept steps have used them)
        self._reader, self._by_mtime = reader, by_mtime
        self._began = began or Prints()
        self._input_paths = _absolute(frame, frame.inputs)
        self._output_paths = _absolute(frame, frame.outputs)
        self._inside = {
            name: written_inside(path, self._output_paths.values())
            for name, path in self._input_paths.items()
            if name not in by_mtime
        }
        self._glances: dict[str, str] = {}
        self._inputs: tuple[Content, ...] = ()
        self._outputs: tuple[Content, ...] = ()
        around = frame.surroundings
        self._env = {name: text_digest(around[name]) if name in around else ABSENT for name in variables}

    @property
    def many_inputs(self) -> bool:
        """To take the inputs takes long."""
        paths = {one.path: one.path for one in self._named.files if one.there}
        return self._large({**self._input_paths, **paths})

    @property
    def many_outputs(self) -> bool:
        """To take the outputs takes long."""
        return self._large(self._output_paths)

    def take_inputs(self, tell: Tell | None = None) -> None:
        """Read the inputs. `tell` is called meanwhile; what it raises ends it."""
        self._glances = {name: self._glance(name, path) for name, path in self._input_paths.items()}
        self._inputs = self._contents(self._input_paths, tell, self._inside)
        earlier = {one.path: one for one in self._began.inputs if one.implicit and one.compared}
        for one in self._named.files:
            if one.path in self._named.kept and one.path in earlier:
                self._before[one.path] = earlier[one.path], None
                continue
            if one.there and one.named != "written":
                content = replace(self._reader.content(one.name, one.path, None, tell), named=one.named)
            else:
                content = Content(one.name, one.path, ABSENT, named=one.named)
            self._before[one.path] = content, glance(one.path)[1]

    def take_outputs(self, tell: Tell | None = None) -> None:
        """Read the outputs, in the same way."""
        self._outputs = self._contents(self._output_paths, tell)

    def complete(self, record: records.Ended) -> records.Ended:
        """The attempt's end with all that was taken, and the inputs that did not stay the same throughout."""
        inputs = (*self._inputs, *self._implicit())
        prints = Prints(inputs, self._outputs, self._env, self._unstable())
        return msgspec.structs.replace(record, prints=prints, seen=_largest(self._reader.fresh()))

    def _implicit(self) -> tuple[Content, ...]:
        """The named files. What the attempt has made, and what it has changed of files that are no programs, is
        written by it; a program that it may have changed counts as the attempt has left it."""
        found = []
        for one in self._named.files:
            if one.path not in self._before:
                continue
            content, looked = self._before[one.path]
            changed = looked is not None and content.compared and glance(one.path)[1] != looked
            if changed and not (one.fixed and one.there):
                if one.named == "program" and content.digest != ABSENT and os.path.isfile(one.path):
                    content = replace(self._reader.content(one.name, one.path), named=one.named)
                else:
                    content = replace(content, digest=ABSENT, by="content", named="written")
            found.append(content)
        return tuple(found)

    def _unstable(self) -> tuple[str, ...]:
        """Inputs that look different by now, or that the steps which it keeps have seen otherwise. What it writes
        itself does not count."""
        written = set(self._output_paths.values())
        began = {one.name: one.digest for one in self._began.inputs}
        return tuple(
            one.name
            for one in self._inputs
            if not is_within(one.path, written)
            and (
                one.name in self._began.unstable
                or began.get(one.name, one.digest) != one.digest
                or self._glance(one.name, one.path) != self._glances[one.name]
            )
        )

    def _glance(self, name: str, path: str) -> str:
        return glance(path, self._inside.get(name, ()))[1]

    def _contents(
        self, paths: Mapping[str, str], tell: Tell | None, inside: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    ) -> tuple[Content, ...]:
        by = self._by_mtime
        return tuple(
            self._reader.content(name, path, by.get(name), tell, inside.get(name, ())) for name, path in paths.items()
        )

    def _large(self, paths: Mapping[str, str]) -> bool:
        effort = 0
        for name, path in paths.items():
            effort += self._reader.effort(path, self._by_mtime.get(name))
            if effort > LARGE:
                return True
        return False


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
    declared = {*_absolute(frame, frame.inputs).values(), *_absolute(frame, frame.outputs).values()}
    found = locate(named, frame.directory, recipe.directory, declared)
    if not (start and found):
        return _NamedFiles(found)
    kept = files_named(recipe.steps[:start], frame.scope, environment, items, search)
    return _NamedFiles(found, frozenset(one.path for one in locate(kept, frame.directory, recipe.directory)))


def absent_inputs(frame: Frame, absent: Mapping[str, str]) -> Prints:
    """What is recorded of an attempt that could not begin without these inputs."""
    return Prints(tuple(Content(name, path, ABSENT) for name, path in _absolute(frame, absent).items()))


def _absolute(frame: Frame, paths: Mapping[str, str]) -> dict[str, str]:
    return {name: os.path.normpath(os.path.join(frame.directory, path)) for name, path in paths.items()}


def _largest(seen: tuple[FileSeen, ...]) -> tuple[FileSeen, ...]:
    if len(seen) <= _MOST_TOLD:
        return seen
    return tuple(sorted(seen, key=lambda one: one.size, reverse=True)[:_MOST_TOLD])
