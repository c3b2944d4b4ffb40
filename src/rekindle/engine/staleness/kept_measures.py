"""Compare the steps and subtasks that attempts keep with the attempts in which they ran."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.changes.differences import code_reasons
from rekindle.domain.changes.fingerprints import FileContent, is_within
from rekindle.domain.changes.kept_steps import code_within
from rekindle.domain.changes.staleness import variable_reasons
from rekindle.domain.changes.template_uses import functions_called, outer_variables
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.plan import Reason
from rekindle.engine.staleness.contents import FunctionSet
from rekindle.engine.staleness.implicit_inputs import named_file_reasons
from rekindle.engine.staleness.needs import compare_needs

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import MeasuredAttempt
    from rekindle.engine.staleness.contents import FileContents, VariableDigests
    from rekindle.engine.staleness.definitions import AttemptDefinitions
    from rekindle.engine.staleness.implicit_inputs import JobOutputs
    from rekindle.engine.staleness.kept_steps import KeptPart, KeptSteps
    from rekindle.engine.staleness.needs import AcceptedBases
    from rekindle.store.archive import Snapshot


class KeptMeasure(msgspec.Struct, frozen=True):
    """What the kept steps of one earlier attempt depended on."""

    attempt: int  # the earlier one
    reasons: tuple[Reason, ...]  # differences in definitions, parameters and results of needed jobs
    recorded: bool  # what these steps depended on was recorded
    redefined: bool
    functions: FunctionSet | None
    code: Mapping[str, str]  # then
    variables: Mapping[str, str]  # digests of outer variables, then
    implicit: tuple[FileContent, ...]  # files that their commands name

    def differences(
        self,
        workflow: int,
        written: JobOutputs,
        contents: FileContents,
        variables: VariableDigests,
        own: Collection[str],
    ) -> Iterator[Reason]:
        """Yield why these steps would come out differently now, each with the attempt in which they ran."""
        found = list(self.reasons)
        if self.functions is not None:
            now = contents.code[self.functions]
            found += code_reasons(code_within(self.code, now), now)
        found += variable_reasons(self.variables, {name: variables.digest(name) for name in self.variables})
        found += named_file_reasons(self.implicit, workflow, written, contents, self.redefined, own)
        return (Reason(one.kind, {**one.detail, "kept_from": self.attempt}) for one in found)


def with_kept(
    own: Sequence[Reason],
    kept: Sequence[KeptMeasure],
    workflow: int,
    written: JobOutputs,
    contents: FileContents,
    variables: VariableDigests,
    outputs: Collection[str],
) -> tuple[Reason, ...]:
    """Return an attempt's own differences and those of the steps that it keeps, each once: attempts record the files of
    steps that they keep as these steps found them. `outputs`: the files that the attempt has written."""
    found = [one for part in kept for one in part.differences(workflow, written, contents, variables, outputs)]
    same = [(one.kind, {**one.detail, "kept_from": None}) for one in found]
    return (*(one for one in own if (one.kind, {**one.detail, "kept_from": None}) not in same), *found)


class KeptMeasurer:
    """Measures the kept steps of attempts: `kept` by attempt."""

    def __init__(
        self,
        archive: Snapshot,
        definitions: AttemptDefinitions,
        kept: Mapping[int, KeptSteps],
        accepted: AcceptedBases,
        *,
        by_name: bool,
    ) -> None:
        """`accepted` are the bases of the attempts in which the steps ran."""
        self._definitions, self._kept = definitions, kept
        ran = [part.ran for one in kept.values() for part in one.parts]
        self._accepted = {attempt: basis for attempt, (_, basis) in accepted.items()}
        self._prints = archive.fingerprints.files({one.attempt for one in ran}) if ran else {}
        codes = {one.code for one in ran if one.code is not None}
        self._sources = archive.fingerprints.sources(codes) if codes else {}
        self._needs: dict[tuple[int, int], tuple[Reason, ...]] = {}  # by (job, the attempt in which they ran)
        self.needed: set[int] = set()  # the jobs whose results are compared
        left = {(one.job, one.attempt): one for one in ran}
        while left:  # an attempt is compared with one job at once
            now = {one.attempt: one for one in left.values()}
            compared = compare_needs(
                archive, list(now.values()), accepted, definitions.templates, whole=False, by_name=by_name
            )
            self.needed |= set(compared.jobs)
            for one in now.values():
                self._needs[one.job, one.attempt] = compared.reasons.get(one.attempt, ())
                del left[one.job, one.attempt]

    def of(self, one: MeasuredAttempt, gone: Collection[str]) -> tuple[KeptMeasure, ...]:
        """Measure the kept steps of an attempt. `gone`: the paths of removed outputs, which are not compared."""
        parts = self._kept[one.attempt].parts if one.attempt in self._kept else ()
        return tuple(self._measure(one, part, gone) for part in parts)

    def _measure(self, one: MeasuredAttempt, part: KeptPart, gone: Collection[str]) -> KeptMeasure:
        definitions, ran = self._definitions, part.ran
        now = definitions.of(one).now
        body, directory = part.of(now.body), definitions.directory(one.workflow)
        basis = self._accepted.get(ran.attempt)
        prints = basis.prints if basis else self._prints.get(ran.attempt)
        code = basis.code if basis else self._sources.get(ran.code or "")
        functions = functions_called(body.steps)
        variables = outer_variables(body.steps, {**body.env, **decode_overrides(ran.overrides).env})
        named = definitions.words_naming(one, now, part.steps) if body.implicit_inputs else frozenset()
        recorded = bool(prints) or not (variables or now.body.inputs or (named and code is None))
        if named and definitions.directory(ran.made_in) != directory:
            recorded = False  # the files of another project
        inputs = prints.inputs if prints else ()
        reasons = definitions.kept_reasons(one, part)
        return KeptMeasure(
            ran.attempt,
            (*reasons, *self._needs[one.job, ran.attempt]),
            recorded and (code is not None or not functions),
            bool(reasons),
            (functions, directory) if functions and code is not None else None,
            code or {},
            {name: prints.env[name] for name in variables if prints and name in prints.env},
            tuple(each for each in inputs if each.implicit and each.name in named and not is_within(each.path, gone)),
        )
