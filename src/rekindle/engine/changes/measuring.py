"""Measuring attempts against the present, in three parts: what the store knows (`gather`, in a transaction), what is on
disk (`reading.take`, in none), and the law's word on both (`Measured.judge`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rekindle.domain.changes.outside import functions_called
from rekindle.domain.changes.prints import ABSENT, Basis, Content, FileSeen, Prints, Subject
from rekindle.domain.changes.staleness import (
    Assessment,
    came_to,
    other_code,
    other_environment,
    other_file,
    used_by,
)
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.domain.texts.globs import base, is_pattern
from rekindle.engine.changes.defining import Compared, Definitions
from rekindle.engine.changes.matching import Items, items_of
from rekindle.engine.changes.needing import Needs, needing
from rekindle.engine.changes.reading import Contents, Functions, Glance, Requests, Wanted
from rekindle.files.digests import text_digest
from rekindle.store.port import Archive

NO_PRINTS = Prints()


@dataclass(slots=True)
class _Measure:
    """One attempt, with what it was measured by."""

    subject: Subject
    made: Compared
    binding: str  # JSON text: the matrix values now
    prints: Prints
    recorded: bool  # its worker told what it depended on
    paths: tuple[Mapping[str, str], Mapping[str, str]] | None  # inputs and outputs now; None: as recorded
    code: Mapping[str, str] | None = None  # then, by module
    functions: Functions | None = None  # now
    own: frozenset[str] = frozenset()  # its outputs' paths, where it has inputs too
    patterns: Mapping[str, str] = field(default_factory=dict)  # inputs that may be patterns, where `paths` are known
    fan_outs: tuple[Items, ...] = ()  # over patterns


@dataclass(frozen=True, slots=True)
class Measured:
    """Attempts, and all that the store knows of what they depended on and depend on now."""

    requests: Requests
    known: Mapping[str, FileSeen]  # what files held when they were last read
    accepted: Mapping[int, int]  # by attempt: the rerun that accepted what it is measured by
    _measures: tuple[_Measure, ...]
    _needs: Needs
    _environment: Mapping[str, str]

    def judge(self, contents: Contents) -> dict[int, Assessment]:
        """By job: whether its attempt is what would come out now. `contents` are the answer to `requests`."""
        outer = _Outer(self._environment)
        found = {}
        for one in self._measures:
            job, attempt = one.subject.job, one.subject.attempt
            reasons = one.made.reasons
            if one.prints is not NO_PRINTS or one.code is not None:
                reasons = (*reasons, *_outside(one, contents, outer))
            reasons = (*reasons, *(reason for items in one.fan_outs for reason in items.reasons(contents)))
            reasons = (*reasons, *self._needs.reasons.get(attempt, ()))
            comparable = bool(one.prints.inputs or one.fan_outs) or attempt in self._needs.tells
            found[job] = Assessment(job, attempt, reasons, comparable and one.recorded)
        return found

    def bases(self, contents: Contents, jobs: Collection[int]) -> dict[int, Basis]:
        """By job: what its attempt would be measured by if the present were accepted, for all of `jobs` at once. Only
        what was gathered `whole` has it."""
        outer = _Outer(self._environment)
        chosen = [one for one in self._measures if one.subject.job in jobs]
        prints = {one.subject.attempt: _prints_now(one, contents, outer) for one in chosen}
        moved = {
            one.subject.job: came_to(attempt, self._needs.results.get(attempt), prints[attempt].outputs)
            for one in chosen
            if (attempt := one.subject.attempt) == one.subject.live
        }
        bases = {}
        for one in chosen:
            attempt, now = one.subject.attempt, one.made.now
            needed = {job: moved.get(job, digest) for job, digest in self._needs.now.get(attempt, {}).items()}
            code = dict(contents.code[one.functions]) if one.functions else None
            items = {fan_out.step: fan_out.now(contents) for fan_out in one.fan_outs}
            bases[one.subject.job] = Basis(
                now.template, now.revision, one.binding, now.patched, needed, code, prints[attempt], items
            )
        return bases


def gather(
    archive: Archive, attempts: Mapping[int, int], environment: Mapping[str, str], *, whole: bool = False
) -> Measured:
    """What the store knows of these attempts (by job), live or archived, and of what their jobs are now.

    `environment` is where outer variables are looked up. With `whole` all that a Basis needs is gathered too. Only
    attempts that have ended can be measured."""
    subjects = archive.measures.subjects(attempts.values())
    ids = [one.attempt for one in subjects]
    accepted = archive.fingerprints.accepted(ids)
    definitions = Definitions(archive, subjects, accepted)
    needs = needing(archive, subjects, accepted, definitions.templates, whole)
    prints = archive.fingerprints.files(ids)
    sources = archive.fingerprints.sources({one.code for one in subjects if one.code is not None})
    measures = []
    for one in subjects:
        basis = accepted[one.attempt][1] if one.attempt in accepted else None
        code = basis.code if basis else sources.get(one.code or "")
        recorded = basis.prints if basis else prints.get(one.attempt)
        measure = _measure(one, definitions, recorded, code, whole)
        if recorded is not None:
            measure.fan_outs = items_of(archive, one, definitions, measure.made.now, recorded, basis)
        measures.append(measure)
    requests = _requested(measures)
    known = archive.fingerprints.known_files(requests.content)
    folders = [path for path in requests.content if path not in known]
    folders += {base(one.path, one.pattern) for one in requests.sets if one.pattern is not None}
    if folders:
        known |= archive.fingerprints.known_below(folders)
    by_rerun = {attempt: rerun for attempt, (rerun, _) in accepted.items()}
    return Measured(requests, known, by_rerun, tuple(measures), needs, environment)


def _measure(
    one: Subject, definitions: Definitions, recorded: Prints | None, code: Mapping[str, str] | None, whole: bool
) -> _Measure:
    made = definitions.of(one)
    template = definitions.templates[made.now.template]
    declares = bool(template.inputs or template.outputs)
    prints = recorded or NO_PRINTS
    paths = None
    patterns: Mapping[str, str] = {}
    if made.moves or any(is_pattern(content.path) for content in prints.inputs):
        patterns = definitions.patterns(one, made.now)
    if declares and (patterns or made.moves or (recorded is None and whole)):
        paths = definitions.paths(one, made.now, definitions.binding(one))
    named = functions_called(template.steps) if whole else made.functions if code is not None else ()
    functions = (named, definitions.directory(one.workflow)) if named else None
    if not made.functions:
        code = None
    own = frozenset(content.path for content in prints.outputs) if prints.inputs and prints.outputs else frozenset()
    told = recorded is not None or not declares
    binding = definitions.binding(one) if whole else one.binding_now
    return _Measure(one, made, binding, prints, told, paths, code, functions, own, patterns)


def _requested(measures: Iterable[_Measure]) -> Requests:
    """Everything that must be looked at, once."""
    content: dict[str, None] = {}
    glances: dict[Glance, None] = {}
    code: dict[Functions, None] = {}
    sets: dict[Wanted, None] = {}
    for one in measures:
        sets.update((fan_out.wanted, None) for fan_out in one.fan_outs)
        if one.functions is not None:
            code[one.functions] = None
        if one.prints is NO_PRINTS and one.paths is None:
            continue
        for path, least, pattern in _wanted(one):
            if pattern is not None:
                sets[_set(one, path, least, pattern)] = None
            elif least is None:
                content[path] = None
            else:
                glances[path, least] = None
    return Requests(tuple(content), tuple(glances), tuple(code), tuple(sets))


def _wanted(one: _Measure) -> Iterable[tuple[str, int | None, str | None]]:
    """(path, as `Glance` or None for content, the pattern of which that is the location) of all files."""
    if one.paths is None:
        files = (*one.prints.inputs, *one.prints.outputs)
        return [(content.path, None if content.by == "content" else 0, None) for content in files]
    inputs, outputs = _present(one)
    found = [(path, least, one.patterns.get(name)) for name, path, least, _ in inputs]
    return [*found, *((path, least, None) for _, path, least, _ in outputs)]


def _set(one: _Measure, path: str, least: int | None, pattern: str) -> Wanted:
    """An input that may be a pattern: what its job writes itself does not belong to it."""
    return Wanted(path, least, pattern, tuple(one.paths[1].values()) if one.paths else ())


_File = tuple[str, str, int | None, Content | None]
"""(name, path now, as `Glance` or None for content, what was recorded)."""


def _present(one: _Measure) -> tuple[list[_File], list[_File]]:
    """Inputs and outputs as they are declared now, where their paths may differ from those recorded."""
    found: list[list[_File]] = []
    for paths, recorded in zip(one.paths or ({}, {}), (one.prints.inputs, one.prints.outputs), strict=True):
        earlier = {content.name: content for content in recorded}
        files: list[_File] = []
        for name, path in paths.items():
            was = earlier.get(name)
            least = one.made.now.body.by_mtime.get(name) if was is None else None if was.by == "content" else 0
            files.append((name, path, least, was))
        found.append(files)
    return found[0], found[1]


def _digest(contents: Contents, path: str, least: int | None) -> str:
    return contents.content[path] if least is None else contents.glances[path, least][0]


def _outside(one: _Measure, contents: Contents, outer: _Outer) -> list[Reason]:
    """What lies outside the store and is not as it was."""
    reasons: list[Reason] = []
    if one.functions is not None and one.code is not None:
        now = contents.code[one.functions]
        if now != one.code:
            reasons += other_code(one.code, now)
    prints = one.prints
    if prints.env:
        reasons += other_environment(prints.env, {name: outer.digest(name) for name in prints.env})
    reasons += [
        Reason(ReasonKind.UNSTABLE, {"name": content.name, "path": content.path})
        for content in prints.inputs
        if content.name in prints.unstable
    ]
    completed = one.subject.state is State.COMPLETED
    kinds = (ReasonKind.INPUT, ReasonKind.OUTPUT) if completed else (ReasonKind.INPUT,)
    if one.paths is None:
        for kind, files in zip(kinds, (prints.inputs, prints.outputs), strict=False):
            for content in files:
                digest = _digest(contents, content.path, None if content.by == "content" else 0)
                if digest != content.digest and not (kind is ReasonKind.INPUT and content.path in one.own):
                    reasons += _some(other_file(kind, content, content.path, digest))
        return reasons
    for kind, present in zip(kinds, _present(one), strict=False):
        for name, path, least, was in present:
            if was is None or (kind is ReasonKind.INPUT and path in one.own):
                continue
            pattern = one.patterns.get(name) if kind is ReasonKind.INPUT else None
            if pattern is None:
                reasons += _some(other_file(kind, was, path, _digest(contents, path, least)))
            else:
                found = contents.sets[_set(one, path, least, pattern)]
                reasons += _some(other_file(kind, was, path, found.digest, found.matched))
    return reasons


def _some(reason: Reason | None) -> tuple[Reason, ...]:
    return () if reason is None else (reason,)


def _prints_now(one: _Measure, contents: Contents, outer: _Outer) -> Prints:
    """The present as a worker would have recorded it."""
    names = {*one.prints.env} if not one.made.reasons else used_by(one.made.now.body).outer
    env = {name: outer.digest(name) for name in sorted(names)}
    if one.paths is None:
        inputs, outputs = (
            tuple(
                Content(was.name, was.path, _digest(contents, was.path, None if was.by == "content" else 0), was.by)
                for was in files
            )
            for files in (one.prints.inputs, one.prints.outputs)
        )
        return Prints(inputs, outputs, env, made=one.prints.made)
    inputs, outputs = (
        tuple(
            replace(contents.sets[_set(one, path, least, patterns[name])], name=name)
            if name in patterns
            else Content(name, path, contents.content[path])
            if least is None
            else Content(name, path, *contents.glances[path, least])
            for name, path, least, _ in files
        )
        for files, patterns in zip(_present(one), (one.patterns, {}), strict=True)
    )
    return Prints(inputs, outputs, env, made=one.prints.made)


@dataclass(slots=True)
class _Outer:
    """Digests of outer variables, each taken once."""

    environment: Mapping[str, str]
    known: dict[str, str] = field(default_factory=dict)

    def digest(self, name: str) -> str:
        """ABSENT where it is not set."""
        found = self.known.get(name)
        if found is None:
            value: Any = self.environment.get(name)
            found = self.known[name] = ABSENT if value is None else text_digest(value)
        return found
