"""What an attempt depends on outside the archive, recorded where it runs: files, variables around it, modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rekindle.domain.changes.outside import functions_called, outer_variables
from rekindle.domain.changes.prints import ABSENT, Content, FileSeen, Part, Prints
from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.substitution import render
from rekindle.files.digests import Tell, digest_of_mapping, glance, text_digest
from rekindle.files.environment import DEFAULT_PATH, Programs, is_relative, programs_of
from rekindle.files.reading import Reader
from rekindle.journal import records
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
        """An attempt's fingerprint, with nothing in it; None: it declares no files and names no variable around it."""
        variables = self._facts_of(recipe).variables
        if assignment.env:
            variables = outer_variables(recipe.steps, {**recipe.env, **assignment.env})
        if not (recipe.inputs or recipe.outputs or variables):
            return None
        if len(self.reader) > _MOST_REMEMBERED:
            self.reader = Reader()
        self.reader.know(assignment.seen)
        return Fingerprint(self.reader, recipe.by_mtime, frame, variables, assignment.began)

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
            named = (word for step in recipe.steps for word in programs_of(step))
            programs = tuple(dict.fromkeys(named))
            found = _Facts(recipe, functions_called(recipe.steps), outer_variables(recipe.steps, recipe.env), programs)
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
    ) -> None:
        """`began`: what the attempt that it goes on from depended on."""
        self._reader, self._by_mtime = reader, by_mtime
        self._began = began or Prints()
        self._input_paths = _absolute(frame, frame.inputs)
        self._output_paths = _absolute(frame, frame.outputs)
        self._glances: dict[str, str] = {}
        self._inputs: tuple[Content, ...] = ()
        self._outputs: tuple[Content, ...] = ()
        around = frame.surroundings
        self._env = {name: text_digest(around[name]) if name in around else ABSENT for name in variables}

    @property
    def many_inputs(self) -> bool:
        """To take the inputs takes long."""
        return self._large(self._input_paths)

    @property
    def many_outputs(self) -> bool:
        """To take the outputs takes long."""
        return self._large(self._output_paths)

    def take_inputs(self, tell: Tell | None = None) -> None:
        """Read the inputs. `tell` is called meanwhile; what it raises ends it."""
        self._glances = {name: glance(path)[1] for name, path in self._input_paths.items()}
        self._inputs = self._contents(self._input_paths, tell)

    def take_outputs(self, tell: Tell | None = None) -> None:
        """Read the outputs, in the same way."""
        self._outputs = self._contents(self._output_paths, tell)

    def complete(self, record: records.Ended) -> records.Ended:
        """The attempt's end with all that was taken, and the inputs that did not stay the same throughout."""
        prints = Prints(self._inputs, self._outputs, self._env, self._unstable())
        return msgspec.structs.replace(record, prints=prints, seen=_largest(self._reader.fresh()))

    def _unstable(self) -> tuple[str, ...]:
        """Inputs that look different by now, or that the steps which it keeps have seen otherwise. What it writes
        itself does not count."""
        written = set(self._output_paths.values())
        began = {one.name: one.digest for one in self._began.inputs}
        return tuple(
            one.name
            for one in self._inputs
            if one.path not in written
            and (
                one.name in self._began.unstable
                or began.get(one.name, one.digest) != one.digest
                or glance(one.path)[1] != self._glances[one.name]
            )
        )

    def _contents(self, paths: Mapping[str, str], tell: Tell | None) -> tuple[Content, ...]:
        by = self._by_mtime
        return tuple(self._reader.content(name, path, by.get(name), tell) for name, path in paths.items())

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


def absent_inputs(frame: Frame, absent: Mapping[str, str]) -> Prints:
    """What is recorded of an attempt that could not begin without these inputs."""
    return Prints(tuple(Content(name, path, ABSENT) for name, path in _absolute(frame, absent).items()))


def _absolute(frame: Frame, paths: Mapping[str, str]) -> dict[str, str]:
    return {name: os.path.normpath(os.path.join(frame.directory, path)) for name, path in paths.items()}


def _largest(seen: tuple[FileSeen, ...]) -> tuple[FileSeen, ...]:
    if len(seen) <= _MOST_TOLD:
        return seen
    return tuple(sorted(seen, key=lambda one: one.size, reverse=True)[:_MOST_TOLD])
