"""Measure attempts against the present, in three parts.

`measure_attempts` reads the store (in a transaction), `contents.read_contents` reads the disk (outside of one), and
`AttemptMeasures.assess` applies the domain rules to both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.differences import code_reasons
from rekindle.domain.changes.fingerprints import (
    ABSENT,
    Baseline,
    FileContent,
    FileFingerprints,
    FileRecord,
    MeasuredAttempt,
    is_within,
    written_inside,
)
from rekindle.domain.changes.kept_steps import code_within
from rekindle.domain.changes.staleness import (
    Assessment,
    ComparedPart,
    file_reason,
    result_digest,
    values_used,
    variable_reasons,
)
from rekindle.domain.changes.template_uses import functions_called
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.domain.texts.function_source import shown_call
from rekindle.domain.texts.patterns import glob_base, is_glob
from rekindle.engine.staleness.contents import (
    ContentRequests,
    EnvironmentLookup,
    FileContents,
    FileRequest,
    FunctionSet,
    MtimePath,
    VariableDigests,
)
from rekindle.engine.staleness.declared_files import AttemptMeasure, declared_files
from rekindle.engine.staleness.definitions import AttemptDefinitions
from rekindle.engine.staleness.environments import EnvironmentLookups, SharedComparisons
from rekindle.engine.staleness.implicit_inputs import (
    JobOutputs,
    fan_out_items,
    job_outputs,
    named_file_reasons,
    pattern_request,
)
from rekindle.engine.staleness.kept_measures import KeptMeasurer, with_kept
from rekindle.engine.staleness.kept_steps import find_kept_steps
from rekindle.engine.staleness.needs import NeedComparison, compare_needs
from rekindle.engine.staleness.removed_outputs import NO_PATHS, removed_paths

if TYPE_CHECKING:
    from rekindle.engine.staleness.needs import AcceptedBases
    from rekindle.store.archive import Snapshot

NO_PRINTS = FileFingerprints()


class _WithoutNeeds(NamedTuple):
    """An assessment before the results of needed jobs are compared."""

    reasons: tuple[Reason, ...]
    comparable: bool
    warnings: tuple[Reason, ...]


class AttemptMeasures(msgspec.Struct, frozen=True):
    """Attempts, with everything that the store knows of their dependencies then and now."""

    requests: ContentRequests
    known: Mapping[str, FileRecord]  # digests from the last time that files were read
    accepted: Mapping[int, int]  # by attempt: the `accept` rerun whose basis it is measured by
    needed: Collection[int]  # the jobs whose results are compared
    named: bool  # whether what other jobs wrote decides which files count
    _measures: tuple[AttemptMeasure, ...]
    _needs: NeedComparison
    _environment: Mapping[str, str]
    _written: JobOutputs

    def assess(self, contents: FileContents) -> dict[int, Assessment]:
        """Return, by job, whether rerunning would produce the same result as the attempt. `contents` must be the answer
        to `requests`."""
        variables, comparisons = VariableDigests(self._environment), SharedComparisons()
        found = {}
        known: dict[int, _WithoutNeeds] = {}  # by `alike`
        needs = self._needs
        for one in self._measures:
            own = known.get(one.alike)
            if own is None:
                own = self._assess_without_needs(one, contents, variables, comparisons)
                if one.alike:
                    known[one.alike] = own
            job, attempt = one.subject.job, one.subject.attempt
            reasons = (*own.reasons, *needs.reasons[attempt]) if attempt in needs.reasons else own.reasons
            comparable = (own.comparable or attempt in needs.comparable) and one.is_recorded
            assessment = Assessment(job, attempt, reasons, comparable, own.warnings, one.is_recorded)
            found[job] = assessment.strict() if "environment" in one.made.now.body.stale_on else assessment
        return found

    def _assess_without_needs(
        self,
        one: AttemptMeasure,
        contents: FileContents,
        variables: VariableDigests,
        comparisons: SharedComparisons,
    ) -> _WithoutNeeds:
        """Assess an attempt by everything but the results of needed jobs."""
        reasons = one.made.reasons
        if one.prints is not NO_PRINTS or one.code is not None:
            reasons = (*reasons, *_external_reasons(one, contents, variables, comparisons))
        if one.implicit:
            redefined = bool(one.made.reasons)
            reasons = (
                *reasons,
                *named_file_reasons(
                    one.implicit, one.subject.workflow, self._written, contents, redefined, _written_by(one)
                ),
            )
        for items in one.fan_outs:
            reasons = (*reasons, *items.reasons(contents))
        if one.kept:
            workflow, outputs = one.subject.workflow, _written_by(one)
            reasons = with_kept(reasons, one.kept, workflow, self._written, contents, variables, outputs)
        comparable = bool(one.prints.inputs or one.prints.outputs or one.fan_outs or one.code is not None)
        comparable = comparable or any(map(self._counting(one), one.implicit))
        warnings = comparisons.environment(one.environment, contents.environment) if one.environment else ()
        return _WithoutNeeds(reasons, comparable, warnings)

    def parts(self, jobs: Collection[int]) -> dict[int, tuple[tuple[ComparedPart, ...], tuple[ComparedPart, ...]]]:
        """Return, by job, (parts that were compared, files that its commands name and that were not compared because a
        job writes them)."""
        found = {}
        defined: dict[tuple[int, bool], tuple[ComparedPart, ...]] = {}
        for one in self._measures:
            if one.subject.job not in jobs:
                continue
            key = one.made.now.template, one.code is not None
            if key not in defined:
                defined[key] = tuple(_compared_definition(one))
            compared = [
                *defined[key],
                *(ComparedPart(ReasonKind.ENVIRONMENT, name) for name in sorted(one.prints.env)),
                *map(_compared_input, one.prints.inputs),
                *(ComparedPart(ReasonKind.INPUT, each.wanted.pattern or "", each.wanted.path) for each in one.fan_outs),
                *map(_compared_input, filter(self._counting(one), one.implicit)),
                *(ComparedPart(ReasonKind.OUTPUT, content.name, content.path) for content in one.prints.outputs),
                *(ComparedPart(ReasonKind.RESULT, name) for name in self._needs.compared.get(one.subject.attempt, ())),
            ]
            left = (_compared_input(each) for each in one.implicit if not self._compared(one, each))
            found[one.subject.job] = tuple(compared), tuple(left)
        return found

    def _compared(self, one: AttemptMeasure, was: FileContent) -> bool:
        return self._written.leaves(one.subject.workflow, was)

    def _counting(self, one: AttemptMeasure) -> Callable[[FileContent], bool]:
        """Return a predicate: a named file existed and is compared."""
        return lambda was: was.digest != ABSENT and self._compared(one, was)

    @property
    def jobs(self) -> list[int]:
        """The jobs of the attempts."""
        return [one.subject.job for one in self._measures]

    def declared_outputs(self, job: int) -> Mapping[str, str]:
        """Return the absolute paths of the outputs that a job declares now, by name. Requires measures of
        `measure_jobs`."""
        paths = next(one.paths for one in self._measures if one.subject.job == job)
        return {} if paths is None else paths[1]

    def bases(self, contents: FileContents, jobs: Collection[int]) -> dict[int, Baseline]:
        """Return, by job, the basis that its attempt would be measured by if the present were accepted for all of
        `jobs` at once. Requires measures made with `whole`."""
        variables = VariableDigests(self._environment)
        chosen = [one for one in self._measures if one.subject.job in jobs]
        prints = {one.subject.attempt: _current_prints(one, contents, variables) for one in chosen}
        moved = {
            one.subject.job: result_digest(attempt, self._needs.results.get(attempt), prints[attempt].outputs)
            for one in chosen
            if (attempt := one.subject.attempt) == one.subject.live
        }
        bases = {}
        for one in chosen:
            attempt, now = one.subject.attempt, one.made.now
            needed = {job: moved.get(job, digest) for job, digest in self._needs.now.get(attempt, {}).items()}
            code = dict(contents.code[one.functions]) if one.functions else {}
            code |= {each.part.key: value for each in one.environment if (value := contents.environment[each])}
            bases[one.subject.job] = Baseline(
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


def measure_attempts(
    archive: Snapshot,
    attempts: Mapping[int, int],
    environment: Mapping[str, str],
    *,
    whole: bool = False,
    newest: Mapping[int, int] | None = None,
) -> AttemptMeasures:
    """Read from the store what these attempts (job id to attempt id; live or archived) depended on, and what their jobs
    depend on now.

    `environment` is used to look up outer variables. With `whole`, everything that a Basis needs is read too. Only
    attempts that have ended can be measured. `newest`: see `measure_subjects`.
    """
    subjects = archive.staleness.subjects(attempts.values())
    accepted = archive.fingerprints.accepted(one.attempt for one in subjects)
    return measure_subjects(archive, subjects, accepted, environment, whole=whole, newest=newest)


def measure_jobs(
    archive: Snapshot, jobs: Collection[int], folders: Mapping[int, str], environment: Mapping[str, str]
) -> AttemptMeasures:
    """Read from the store what attempts of these jobs would depend on now, with everything that a Basis needs.
    `folders`: by job, the folder that the attempt would run in, where it is not the project's."""
    subjects = [replace(one, folder=folders.get(one.job)) for one in archive.staleness.subjects_of_jobs(jobs)]
    accepted = archive.fingerprints.accepted(one.attempt for one in subjects)
    return measure_subjects(archive, subjects, accepted, environment, whole=True)


def measure_subjects(
    archive: Snapshot,
    subjects: Sequence[MeasuredAttempt],
    accepted: AcceptedBases,
    environment: Mapping[str, str],
    *,
    whole: bool = False,
    prints: Mapping[int, FileFingerprints] | None = None,
    newest: Mapping[int, int] | None = None,
) -> AttemptMeasures:
    """Measure attempts beside jobs. With `prints`, the attempts may be of other jobs: these are what they recorded, at
    the paths of the jobs, jobs that they needed are those with the same names, and temporary outputs that they wrote
    and that were removed are compared: the content store may have them. With `newest`, the attempts are to complete
    jobs, whose newest attempts these are: files that commands name count, whatever writes them. So do files that an
    attempt has written without declaring them, unless it is the newest one of the job."""
    ids, foreign = [one.attempt for one in subjects], prints is not None
    definitions, kept_parts = _read_definitions(archive, subjects, accepted, by_name=foreign)
    needs = compare_needs(archive, subjects, accepted, definitions.templates, whole, by_name=foreign)
    if prints is None:
        prints = archive.fingerprints.files(ids)
    sources = archive.fingerprints.sources({one.code for one in subjects if one.code is not None})
    removed = removed_paths(archive, subjects, own=not foreign)
    measures: list[AttemptMeasure] = []
    different: list[AttemptMeasure] = []  # the first of each group of alike ones, and all others
    alike: dict[tuple[Any, ...], AttemptMeasure] = {}
    lookups = EnvironmentLookups(environment)
    for one in subjects:
        shared = None if whole or one.attempt in prints or one.attempt in removed else definitions.shared_by(one)
        first = None if shared is None else alike.get((*shared, one.code))
        if first is not None:
            measures.append(replace(first, subject=one, binding=one.binding_now))
            continue
        basis = accepted[one.attempt][1] if one.attempt in accepted else None
        code = basis.code if basis else sources.get(one.code or "")
        recorded = basis.prints if basis else prints.get(one.attempt)
        gone = removed.get(one.attempt, NO_PATHS)
        measure = _measure_attempt(one, definitions, recorded, code, whole, gone)
        if newest is not None and measure.implicit:
            measure.implicit = _counting_for_reuse(measure.implicit, newest.get(one.job) != one.attempt)
        measure.kept = kept_parts.of(one, gone)
        if code:
            measure.environment = lookups.of(
                code, measure.made.now.body, one.overrides, definitions.directory(one.workflow)
            )
        if recorded is not None:
            items = fan_out_items(archive, one, definitions, measure.made.now, recorded, basis)
            measure.fan_outs = tuple(each for each in items if not is_within(each.wanted.path, gone))
        elif shared is not None and not measure.declares and not measure.made.paths_differ:
            measure.alike = len(alike) + 1
            alike[*shared, one.code] = measure
        measures.append(measure)
        different.append(measure)
    requests = _content_requests(different)
    known = known_records(archive, requests, lookups.files)
    by_rerun = {attempt: rerun for attempt, (rerun, _) in accepted.items()}
    naming = {one.subject.workflow for one in different if any(each.named == "other" for each in one.implicit_files)}
    written = JobOutputs() if newest is not None else job_outputs(archive, naming)
    found = tuple(measures)
    jobs = {*needs.jobs, *kept_parts.needed}
    return AttemptMeasures(requests, known, by_rerun, jobs, bool(naming), found, needs, environment, written)


def _read_definitions(
    archive: Snapshot, subjects: Sequence[MeasuredAttempt], accepted: AcceptedBases, *, by_name: bool
) -> tuple[AttemptDefinitions, KeptMeasurer]:
    """Return the definitions of attempts, and what measures the steps that they keep."""
    kept = find_kept_steps(archive, subjects, accepted)
    behind = archive.fingerprints.accepted({part.ran.attempt for one in kept.values() for part in one.parts})
    definitions = AttemptDefinitions(archive, subjects, {**behind, **accepted}, kept)
    return definitions, KeptMeasurer(archive, definitions, kept, behind, by_name=by_name)


def known_records(archive: Snapshot, requests: ContentRequests, files: Collection[str] = ()) -> dict[str, FileRecord]:
    """Return the digests from the last time that what is requested was read, and `files`."""
    wanted = [*requests.content, *files]
    known = archive.fingerprints.known_files(wanted) if wanted else {}
    folders = [path for path in requests.content if path not in known]
    folders += {one.path if one.pattern is None else glob_base(one.path, one.pattern) for one in requests.sets}
    if folders:
        known |= archive.fingerprints.known_below(folders)
    return known


def _measure_attempt(
    one: MeasuredAttempt,
    definitions: AttemptDefinitions,
    recorded: FileFingerprints | None,
    code: Mapping[str, str] | None,
    whole: bool,
    removed: frozenset[str],
) -> AttemptMeasure:
    made = definitions.of(one)
    template = definitions.templates[made.now.template]
    declares = bool(template.inputs or template.outputs)
    prints = recorded or NO_PRINTS
    implicit = tuple(one for one in prints.inputs if one.implicit)
    if implicit:
        prints = replace(prints, inputs=tuple(one for one in prints.inputs if not one.implicit))
        implicit = tuple(one for one in implicit if not is_within(one.path, removed))
    implicit_now: tuple[FileContent, ...] | None = None
    if not made.now.body.implicit_inputs:
        implicit = ()
    elif whole and (made.reasons or recorded is None):
        implicit_now = definitions.named(one, made.now, definitions.binding(one))
    paths = None
    patterns: Mapping[str, str] = {}
    if made.paths_differ or any(is_glob(content.path) for content in prints.inputs):
        patterns = definitions.patterns(one, made.now)
    if declares and (patterns or made.paths_differ or (recorded is None and whole)):
        paths = definitions.paths(one, made.now, definitions.binding(one))
    named = functions_called(template.steps) if whole else made.functions if code is not None else ()
    functions = (named, definitions.directory(one.workflow)) if named else None
    if not made.functions:
        code = None
    own = frozenset(content.path for content in prints.outputs) if prints.inputs and prints.outputs else frozenset()
    complete = recorded is not None or not declares
    binding = definitions.binding(one) if whole else one.binding_now
    overrides = definitions.modified(one).text()
    written: Collection[str] = own if paths is None else paths[1].values()
    if template.inputs and template.outputs and not written:
        written = definitions.paths(one, made.now, binding)[1].values()
    inputs = [content.path for content in prints.inputs] if paths is None else paths[0].values()
    written = tuple(written) if any(written_inside(path, written) for path in inputs) else ()
    return AttemptMeasure(
        one,
        made,
        binding,
        prints,
        complete,
        paths,
        code,
        functions,
        own,
        overrides=overrides,
        written=written,
        implicit=implicit,
        implicit_now=implicit_now,
        patterns=patterns,
        removed=removed,
    )


def _counting_for_reuse(implicit: Sequence[FileContent], made: bool) -> tuple[FileContent, ...]:
    """Return the files that commands name as they count where an attempt is to complete a job; `made`: those that the
    attempt has written, too."""
    return tuple(replace(one, named="other") if made and one.named == "made" else one for one in implicit)


def _content_requests(measures: Iterable[AttemptMeasure]) -> ContentRequests:
    """Collect everything to read, each item once."""
    content: dict[str, None] = {}
    mtime_paths: dict[MtimePath, None] = {}
    code: dict[FunctionSet, None] = {}
    environment: dict[EnvironmentLookup, None] = {}
    sets: dict[FileRequest, None] = {}
    for one in measures:
        environment |= dict.fromkeys(one.environment)
        sets |= dict.fromkeys(fan_out.wanted for fan_out in one.fan_outs)
        if one.functions is not None:
            code[one.functions] = None
        code |= dict.fromkeys(part.functions for part in one.kept if part.functions is not None)
        for named in (*one.implicit_files, *(one.implicit_now or ())):
            if named.matched is not None:
                sets[pattern_request(named)] = None
            elif named.compared:
                content[named.path] = None
        if one.prints is NO_PRINTS and one.paths is None:
            continue
        for _, _, wanted, *_ in declared_files(one):
            if wanted.pattern is not None or wanted.excluded:
                sets[wanted] = None
            elif wanted.mtime_size is None:
                content[wanted.path] = None
            else:
                mtime_paths[wanted.path, wanted.mtime_size] = None
    return ContentRequests(tuple(content), tuple(mtime_paths), tuple(code), tuple(sets), tuple(environment))


def _written_by(one: AttemptMeasure) -> Collection[str]:
    """Return the paths of the files that an attempt has written, or that its commands name and are compared so."""
    return {each.path for each in (*one.prints.outputs, *one.implicit) if each.matched is None}


def _compared_input(content: FileContent) -> ComparedPart:
    return ComparedPart(ReasonKind.INPUT, content.name, content.path, implicit=content.implicit)


def _compared_definition(one: AttemptMeasure) -> Iterable[ComparedPart]:
    """Yield the parts of its definition that an attempt was compared by."""
    steps = one.made.now.body.steps
    if any(step.run is not None for step in steps):
        yield ComparedPart(ReasonKind.DEFINITION, "command")
    used = values_used(one.made.now.body)
    yield from (ComparedPart(ReasonKind.PARAMETER, ".".join(path)) for path in sorted(used.params))
    yield from (ComparedPart(ReasonKind.PARAMETER, ".".join(("matrix", *path))) for path in sorted(used.matrix))
    for name in functions_called(steps):
        yield ComparedPart(ReasonKind.DEFINITION if one.code is None else ReasonKind.CODE, shown_call(name))


def _external_reasons(
    one: AttemptMeasure, contents: FileContents, variables: VariableDigests, comparisons: SharedComparisons
) -> list[Reason]:
    """Return the differences in files, code and variables outside the store."""
    reasons: list[Reason] = []
    if one.functions is not None and one.code is not None:
        now = contents.code[one.functions]
        if one.kept:
            reasons += code_reasons(code_within(one.code, now), now)
        elif now != one.code:
            reasons += comparisons.code(one.code, now)
    prints = one.prints
    if prints.env:
        reasons += variable_reasons(prints.env, {name: variables.digest(name) for name in prints.env})
    reasons += [
        Reason(ReasonKind.UNSTABLE, {"name": content.name, "path": content.path})
        for content in prints.inputs
        if content.name in prints.unstable
    ]
    completed = one.subject.state is State.COMPLETED
    for file in declared_files(one):
        path, was = file.wanted.path, file.was
        if was is None or (file.kind is ReasonKind.OUTPUT and not completed):
            continue
        if file.kind is ReasonKind.INPUT and is_within(path, one.own):
            continue
        present = file.seen(contents)
        if present.digest != was.digest:
            reasons += _some(file_reason(file.kind, was, path, present.digest, present.matched))
    return reasons


def _some(reason: Reason | None) -> tuple[Reason, ...]:
    return () if reason is None else (reason,)


def _current_prints(one: AttemptMeasure, contents: FileContents, variables: VariableDigests) -> FileFingerprints:
    """Return the present as a worker would record it."""
    recorded = one.prints is not NO_PRINTS and not one.made.reasons
    names = {*one.prints.env} if recorded else values_used(one.made.now.body).outer
    env = {name: variables.digest(name) for name in sorted(names)}
    implicit = tuple(
        replace(contents.sets[pattern_request(each)], name=each.name, named=each.named)
        if each.matched is not None
        else replace(each, digest=contents.content[each.path])
        if each.compared
        else each
        for each in (one.implicit if one.implicit_now is None else one.implicit_now)
    )
    seen = [(file.kind, file.seen(contents)) for file in declared_files(one)]
    inputs, outputs = (
        tuple(each for kind, each in seen if kind is wanted) for wanted in (ReasonKind.INPUT, ReasonKind.OUTPUT)
    )
    return FileFingerprints((*inputs, *implicit), outputs, env, made=one.prints.made)
