"""Measuring attempts against the present, in three parts: what the store knows (`gather`, in a transaction), what is on
disk (`reading.take`, in none), and the law's word on both (`Measured.judge`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from rekindle.domain.changes.code import environment_of, other_code, other_parts
from rekindle.domain.changes.outside import functions_called
from rekindle.domain.changes.prints import (
    ABSENT,
    Basis,
    Content,
    FileSeen,
    Part,
    Prints,
    Subject,
    is_within,
    written_inside,
)
from rekindle.domain.changes.staleness import (
    Assessment,
    ComparedPart,
    came_to,
    other_environment,
    other_file,
    used_by,
)
from rekindle.domain.errors import RekindleError
from rekindle.domain.overrides import modified_of
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.domain.texts.globs import base, is_pattern
from rekindle.domain.texts.substitution import render
from rekindle.engine.changes.defining import Compared, Definitions
from rekindle.engine.changes.matching import Items, items_of
from rekindle.engine.changes.needing import Needs, needing
from rekindle.engine.changes.reading import Contents, Functions, Glance, Requests, Surrounding, Wanted
from rekindle.engine.changes.writing import Written, matching_now, named_reasons, written_by
from rekindle.files.digests import text_digest
from rekindle.files.environment import DEFAULT_PATH, program_file
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
    code: Mapping[str, str] | None = None  # then: see domain.changes.prints
    functions: Functions | None = None  # now
    own: frozenset[str] = frozenset()  # its outputs' paths, where it has inputs too
    environment: Mapping[Surrounding, str] = field(default_factory=dict)  # then
    overrides: str | None = None  # JSON text: for the job's next attempt
    written: tuple[str, ...] = ()  # the paths of its outputs, where one of them lies inside a folder that it reads
    implicit: tuple[Content, ...] = ()  # files that its commands named (those declared are in `prints`)
    implicit_now: tuple[Content, ...] | None = None  # that they name now, undigested; None: the same
    patterns: Mapping[str, str] = field(default_factory=dict)  # inputs that may be patterns, where `paths` are known
    fan_outs: tuple[Items, ...] = ()  # over patterns

    def inside(self, path: str) -> tuple[str, ...]:
        """Its outputs inside a folder that it reads."""
        return written_inside(path, self.written) if self.written else ()


@dataclass(frozen=True, slots=True)
class Measured:
    """Attempts, and all that the store knows of what they depended on and depend on now."""

    requests: Requests
    known: Mapping[str, FileSeen]  # what files held when they were last read
    accepted: Mapping[int, int]  # by attempt: the rerun that accepted what it is measured by
    _measures: tuple[_Measure, ...]
    _needs: Needs
    _environment: Mapping[str, str]
    _written: Written

    def judge(self, contents: Contents) -> dict[int, Assessment]:
        """By job: whether its attempt is what would come out now. `contents` are the answer to `requests`."""
        outer, unlike = _Outer(self._environment), _Unlike()
        found = {}
        for one in self._measures:
            job, attempt = one.subject.job, one.subject.attempt
            reasons = one.made.reasons
            if one.prints is not NO_PRINTS or one.code is not None:
                reasons = (*reasons, *_outside(one, contents, outer, unlike))
            if one.implicit:
                redefined = bool(one.made.reasons)
                reasons = (
                    *reasons,
                    *named_reasons(one.implicit, one.subject.workflow, self._written, contents, redefined),
                )
            for items in one.fan_outs:
                reasons = (*reasons, *items.reasons(contents))
            reasons = (*reasons, *self._needs.reasons.get(attempt, ()))
            comparable = bool(one.prints.inputs or one.prints.outputs or one.fan_outs or one.code is not None)
            comparable = comparable or attempt in self._needs.tells or any(map(self._counting(one), one.implicit))
            warnings = unlike.environment(one.environment, contents.environment) if one.environment else ()
            assessment = Assessment(job, attempt, reasons, comparable and one.recorded, warnings, one.recorded)
            found[job] = assessment.strict() if "environment" in one.made.now.body.stale_on else assessment
        return found

    def parts(self, jobs: Collection[int]) -> dict[int, tuple[tuple[ComparedPart, ...], tuple[ComparedPart, ...]]]:
        """By job: what its attempt was compared by, and the files that its commands name and that were not compared,
        because a job writes them."""
        found = {}
        defined: dict[tuple[int, bool], tuple[ComparedPart, ...]] = {}
        for one in self._measures:
            if one.subject.job not in jobs:
                continue
            key = one.made.now.template, one.code is not None
            if key not in defined:
                defined[key] = tuple(_defined(one))
            compared = [
                *defined[key],
                *(ComparedPart(ReasonKind.ENVIRONMENT, name) for name in sorted(one.prints.env)),
                *map(_part, one.prints.inputs),
                *(ComparedPart(ReasonKind.INPUT, each.wanted.pattern or "", each.wanted.path) for each in one.fan_outs),
                *map(_part, filter(self._counting(one), one.implicit)),
                *(ComparedPart(ReasonKind.OUTPUT, content.name, content.path) for content in one.prints.outputs),
                *(ComparedPart(ReasonKind.RESULT, name) for name in self._needs.compared.get(one.subject.attempt, ())),
            ]
            left = (_part(each) for each in one.implicit if not self._compared(one, each))
            found[one.subject.job] = tuple(compared), tuple(left)
        return found

    def _compared(self, one: _Measure, was: Content) -> bool:
        return self._written.leaves(one.subject.workflow, was)

    def _counting(self, one: _Measure) -> Callable[[Content], bool]:
        """Whether a named file was there, and is compared."""
        return lambda was: was.digest != ABSENT and self._compared(one, was)

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
            code = dict(contents.code[one.functions]) if one.functions else {}
            code |= {each.part.key: value for each in one.environment if (value := contents.environment[each])}
            bases[one.subject.job] = Basis(
                now.template,
                now.revision,
                one.binding,
                now.patched,
                needed,
                code or None,
                prints[attempt],
                one.overrides,
                {fan_out.step: fan_out.now(contents) for fan_out in one.fan_outs},
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
    surroundings = _Surroundings(environment)
    for one in subjects:
        basis = accepted[one.attempt][1] if one.attempt in accepted else None
        code = basis.code if basis else sources.get(one.code or "")
        recorded = basis.prints if basis else prints.get(one.attempt)
        measure = _measure(one, definitions, recorded, code, whole)
        if code:
            measure.environment = surroundings.of(code, measure, definitions.directory(one.workflow))
        if recorded is not None:
            measure.fan_outs = items_of(archive, one, definitions, measure.made.now, recorded, basis)
        measures.append(measure)
    requests = _requested(measures)
    known = archive.fingerprints.known_files([*requests.content, *surroundings.files])
    folders = [path for path in requests.content if path not in known]
    folders += {one.path if one.pattern is None else base(one.path, one.pattern) for one in requests.sets}
    if folders:
        known |= archive.fingerprints.known_below(folders)
    by_rerun = {attempt: rerun for attempt, (rerun, _) in accepted.items()}
    naming = {one.subject.workflow for one in measures if any(each.named == "other" for each in one.implicit)}
    return Measured(requests, known, by_rerun, tuple(measures), needs, environment, written_by(archive, naming))


def _measure(
    one: Subject, definitions: Definitions, recorded: Prints | None, code: Mapping[str, str] | None, whole: bool
) -> _Measure:
    made = definitions.of(one)
    template = definitions.templates[made.now.template]
    declares = bool(template.inputs or template.outputs)
    prints = recorded or NO_PRINTS
    implicit = tuple(one for one in prints.inputs if one.implicit)
    if implicit:
        prints = replace(prints, inputs=tuple(one for one in prints.inputs if not one.implicit))
    implicit_now: tuple[Content, ...] | None = None
    if not made.now.body.implicit_inputs:
        implicit = ()
    elif whole and made.reasons:
        implicit_now = definitions.named(one, made.now, definitions.binding(one))
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
    overrides = definitions.modified(one).text()
    written: Collection[str] = own if paths is None else paths[1].values()
    if template.inputs and template.outputs and not written:
        written = definitions.paths(one, made.now, binding)[1].values()
    inputs = [content.path for content in prints.inputs] if paths is None else paths[0].values()
    written = tuple(written) if any(written_inside(path, written) for path in inputs) else ()
    return _Measure(
        one,
        made,
        binding,
        prints,
        told,
        paths,
        code,
        functions,
        own,
        overrides=overrides,
        written=written,
        implicit=implicit,
        implicit_now=implicit_now,
        patterns=patterns,
    )


class _File(NamedTuple):
    """A declared file of an attempt: INPUT or OUTPUT, its name, what is at its path now, what was recorded."""

    kind: ReasonKind
    name: str
    wanted: Wanted
    was: Content | None

    def seen(self, contents: Contents) -> Content:
        """What is there now."""
        wanted = self.wanted
        if wanted.pattern is not None or wanted.without:
            return replace(contents.sets[wanted], name=self.name)
        if wanted.least is None:
            return Content(self.name, wanted.path, contents.content[wanted.path])
        return Content(self.name, wanted.path, *contents.glances[wanted.path, wanted.least])


def _files(one: _Measure) -> Iterator[_File]:
    """The declared files of an attempt; as they are declared now, where their paths may differ from those recorded."""
    recorded = {ReasonKind.INPUT: one.prints.inputs, ReasonKind.OUTPUT: one.prints.outputs}
    for kind, paths in zip(recorded, one.paths or (None, None), strict=True):
        if paths is None:
            for was in recorded[kind]:
                yield _File(kind, was.name, _wanted(one, kind, was.name, was.path, _least(was)), was)
            continue
        earlier = {content.name: content for content in recorded[kind]}
        for name, path in paths.items():
            known = earlier.get(name)
            least = one.made.now.body.by_mtime.get(name) if known is None else _least(known)
            yield _File(kind, name, _wanted(one, kind, name, path, least), known)


def _least(was: Content) -> int | None:
    return None if was.by == "content" else 0


def _wanted(one: _Measure, kind: ReasonKind, name: str, path: str, least: int | None) -> Wanted:
    """What is to be read. What a job writes itself does not belong to a folder that it reads, or to a pattern."""
    if kind is ReasonKind.OUTPUT:
        return Wanted(path, least)
    if (pattern := one.patterns.get(name)) is not None:
        return Wanted(path, least, pattern, tuple(one.paths[1].values()) if one.paths else ())
    return Wanted(path, least, without=one.inside(path) if least is None else ())


def _requested(measures: Iterable[_Measure]) -> Requests:
    """Everything that must be looked at, once."""
    content: dict[str, None] = {}
    glances: dict[Glance, None] = {}
    code: dict[Functions, None] = {}
    environment: dict[Surrounding, None] = {}
    sets: dict[Wanted, None] = {}
    for one in measures:
        environment |= dict.fromkeys(one.environment)
        sets |= dict.fromkeys(fan_out.wanted for fan_out in one.fan_outs)
        if one.functions is not None:
            code[one.functions] = None
        for named in (*one.implicit, *(one.implicit_now or ())):
            if named.matched is not None:
                sets[matching_now(named)] = None
            elif named.compared:
                content[named.path] = None
        if one.prints is NO_PRINTS and one.paths is None:
            continue
        for _, _, wanted, _ in _files(one):
            if wanted.pattern is not None or wanted.without:
                sets[wanted] = None
            elif wanted.least is None:
                content[wanted.path] = None
            else:
                glances[wanted.path, wanted.least] = None
    return Requests(tuple(content), tuple(glances), tuple(code), tuple(sets), tuple(environment))


def _part(content: Content) -> ComparedPart:
    return ComparedPart(ReasonKind.INPUT, content.name, content.path, implicit=content.implicit)


def _defined(one: _Measure) -> Iterable[ComparedPart]:
    """What of its definition an attempt was compared by."""
    steps = one.made.now.body.steps
    if any(step.run is not None for step in steps):
        yield ComparedPart(ReasonKind.DEFINITION, "command")
    used = used_by(one.made.now.body)
    yield from (ComparedPart(ReasonKind.PARAMETER, ".".join(path)) for path in sorted(used.params))
    yield from (ComparedPart(ReasonKind.PARAMETER, ".".join(("matrix", *path))) for path in sorted(used.matrix))
    for name in functions_called(steps):
        yield ComparedPart(ReasonKind.DEFINITION if one.code is None else ReasonKind.CODE, name)


def _outside(one: _Measure, contents: Contents, outer: _Outer, unlike: _Unlike) -> list[Reason]:
    """What lies outside the store and is not as it was."""
    reasons: list[Reason] = []
    if one.functions is not None and one.code is not None:
        now = contents.code[one.functions]
        if now != one.code:
            reasons += unlike.code(one.code, now)
    prints = one.prints
    if prints.env:
        reasons += other_environment(prints.env, {name: outer.digest(name) for name in prints.env})
    reasons += [
        Reason(ReasonKind.UNSTABLE, {"name": content.name, "path": content.path})
        for content in prints.inputs
        if content.name in prints.unstable
    ]
    completed = one.subject.state is State.COMPLETED
    for file in _files(one):
        path, was = file.wanted.path, file.was
        if was is None or (file.kind is ReasonKind.OUTPUT and not completed):
            continue
        if file.kind is ReasonKind.INPUT and is_within(path, one.own):
            continue
        present = file.seen(contents)
        if present.digest != was.digest:
            reasons += _some(other_file(file.kind, was, path, present.digest, present.matched))
    return reasons


def _some(reason: Reason | None) -> tuple[Reason, ...]:
    return () if reason is None else (reason,)


def _prints_now(one: _Measure, contents: Contents, outer: _Outer) -> Prints:
    """The present as a worker would have recorded it."""
    names = {*one.prints.env} if not one.made.reasons else used_by(one.made.now.body).outer
    env = {name: outer.digest(name) for name in sorted(names)}
    implicit = tuple(
        replace(contents.sets[matching_now(each)], name=each.name, named=each.named)
        if each.matched is not None
        else replace(each, digest=contents.content[each.path])
        if each.compared
        else each
        for each in (one.implicit if one.implicit_now is None else one.implicit_now)
    )
    seen = [(file.kind, file.seen(contents)) for file in _files(one)]
    inputs, outputs = (
        tuple(each for kind, each in seen if kind is wanted) for wanted in (ReasonKind.INPUT, ReasonKind.OUTPUT)
    )
    return Prints((*inputs, *implicit), outputs, env, made=one.prints.made)


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


@dataclass(slots=True)
class _Unlike:
    """Comparisons of code and environment, each made once where attempts share it."""

    known: dict[tuple[int, int], tuple[Reason, ...]] = field(default_factory=dict)

    def code(self, then: Mapping[str, str], now: Mapping[str, str]) -> tuple[Reason, ...]:
        """CODE reasons."""
        key = id(then), id(now)
        if key not in self.known:
            self.known[key] = tuple(other_code(then, now))
        return self.known[key]

    def environment(self, then: Mapping[Surrounding, str], now: Mapping[Surrounding, str]) -> tuple[Reason, ...]:
        """ENVIRONMENT reasons."""
        key = id(then), id(now)
        if key not in self.known:
            self.known[key] = tuple(other_parts({each.part: (value, now[each]) for each, value in then.items()}))
        return self.known[key]


@dataclass(slots=True)
class _Surroundings:
    """What is recorded of environments, and where it is looked up now. `files`: those of the programs then."""

    environment: Mapping[str, str]
    files: set[str] = field(default_factory=set)
    known: dict[tuple[int, int, str | None, str], dict[Surrounding, str]] = field(default_factory=dict)

    def of(self, recorded: Mapping[str, str], one: _Measure, directory: str) -> Mapping[Surrounding, str]:
        """The environment in a recording of code."""
        body, overrides = one.made.now.body, one.subject.overrides
        key = (id(recorded), id(body), overrides, directory)
        if key not in self.known:
            text = {**body.env, **modified_of(overrides).env}.get("PATH", self.environment.get("PATH", DEFAULT_PATH))
            found = environment_of(recorded)
            self.known[key] = {self._surrounding(part, text, directory): value for part, value in found.items()}
            self.files |= {program_file(value) for part, value in found.items() if part.kind == "program"}
        return self.known[key]

    def _surrounding(self, part: Part, path: str, directory: str) -> Surrounding:
        if part.kind != "program":
            return Surrounding(part)
        try:
            return Surrounding(part, render(path, {"env": self.environment}), directory)
        except RekindleError:  # it names a value of one job alone
            return Surrounding(part, self.environment.get("PATH", DEFAULT_PATH), directory)
