"""Compare the definitions that attempts ran with what their jobs would run now. Shared definitions are compared
once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.actions import ParameterChange, effective_params
from rekindle.domain.changes.fingerprints import ABSENT, ATTEMPTS_OWN, FileContent, MatchedFiles, MeasuredAttempt
from rekindle.domain.changes.kept_steps import without_steps
from rekindle.domain.changes.revisions import SpecValues, outdated_overrides
from rekindle.domain.changes.staleness import FilledTemplate, definition_reasons
from rekindle.domain.changes.template_uses import files_in_commands, functions_called
from rekindle.domain.definition import JobTemplate
from rekindle.domain.errors import RekindleError, UnknownWord
from rekindle.domain.overrides import NO_OVERRIDES, AppliedOverrides, decode_overrides
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.texts.patterns import glob_location, is_glob
from rekindle.domain.texts.substitution import render_text
from rekindle.engine.dynamic_actions import parameter_changes
from rekindle.engine.staleness.kept_steps import NO_KEPT_STEPS, NOTHING_KEPT, KeptPart, KeptSteps
from rekindle.files.dependencies import locate_files
from rekindle.files.file_patterns import static_items
from rekindle.journal.encoding import from_json

if TYPE_CHECKING:
    from rekindle.engine.staleness.needs import AcceptedBases
    from rekindle.store.archive import Snapshot

_NOTHING: Mapping[str, Any] = {}

_PATHS = ("inputs.", "outputs.", "workdir")


class DefinitionVersion(msgspec.Struct, frozen=True):
    """The definition that an attempt ran or would run, without its matrix values."""

    body: JobTemplate
    template: int
    revision: int
    workflow: int  # whose revision it is
    patched: Mapping[str, Any] = msgspec.field(default_factory=dict)  # parameters that actions have changed


class DefinitionComparison(msgspec.Struct, frozen=True):
    """The definition of an attempt then and now, and the reasons why they differ."""

    then: DefinitionVersion
    now: DefinitionVersion
    reasons: tuple[Reason, ...] = ()
    paths_differ: bool = False  # the paths of its files may differ now
    functions: tuple[str, ...] = ()  # called then and now; empty if they differ


class AttemptDefinitions:
    """Reads each template and parameter set once, and compares each distinct pair of definitions once."""

    def __init__(
        self,
        archive: Snapshot,
        subjects: Sequence[MeasuredAttempt],
        accepted: AcceptedBases,
        kept: Mapping[int, KeptSteps] = NOTHING_KEPT,
    ) -> None:
        """`accepted`: also of the attempts in which `kept` steps ran; these are by the attempt that keeps them."""
        self._kept = kept
        subjects = [*subjects, *(part.ran for one in kept.values() for part in one.parts)]
        pins = {one.pinned_to for one in subjects if one.pinned_to is not None and one.attempt != one.live}
        self._pinned = archive.staleness.origins(pins) if pins else {}
        self._workflows = {
            number: found
            for number in {number for one in subjects for number in (one.workflow, one.made_in)}
            if (found := archive.workflows.find(number)) is not None
        }
        self._accepted = accepted
        self._patched = archive.fingerprints.patched(one.attempt for one in subjects)
        self._changes = parameter_changes(archive, [one.job for one in subjects])
        numbers = {number for one in subjects for number in (one.template, one.template_now)}
        numbers |= {basis.template for _, basis in accepted.values()} | {one[0] for one in self._pinned.values()}
        self.templates = archive.staleness.templates(numbers)
        self._archive = archive
        self._params: dict[tuple[int, int], Mapping[str, Any]] = {}
        self._known: dict[tuple[Any, ...], DefinitionComparison] = {}
        self._made: dict[tuple[int, int, int], DefinitionVersion] = {}

    def directory(self, workflow: int) -> str:
        """Return the absolute folder of a workflow."""
        return self._workflows[workflow].directory

    def of(self, one: MeasuredAttempt) -> DefinitionComparison:
        """Compare the definition of an attempt with that of its job's next attempt."""
        key = self.shared_by(one)
        if key is None:
            return self._compared(one)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._compared(one)
        return found

    def shared_by(self, one: MeasuredAttempt) -> tuple[Any, ...] | None:
        """Return what the attempts have in common that share a comparison; None if this attempt shares none."""
        plain = one.job not in self._changes and one.attempt not in self._patched and one.attempt not in self._accepted
        if not plain or one.attempt in self._kept:
            return None
        if one.pinned_to is not None or one.binding != one.binding_now:
            return None
        then, now = (one.made_in, one.template, one.revision, one.overrides), (one.template_now, one.overrides_now)
        return (one.workflow, *then, *now)

    def binding(self, one: MeasuredAttempt) -> str:
        """Return the matrix values of a job's next attempt, as JSON text."""
        return self._now(one)[1]

    def modified(self, one: MeasuredAttempt) -> AppliedOverrides:
        """Return what a rerun has modified for a job's next attempt. Modifications of a pinned job last through
        revisions. An attempt that ran pinned is compared with the latest definition, so modifications of values that
        have changed since are dropped."""
        modified = decode_overrides(one.overrides_now)
        if modified == NO_OVERRIDES or one.pinned_to is None or one.attempt != one.live:
            return modified
        (then, _), (now, _) = self._then(one), self._now(one)
        return modified.without(outdated_overrides(modified, self._spec(then), self._spec(now)))

    def _spec(self, made: DefinitionVersion) -> SpecValues:
        return SpecValues(made.body, self._params_of(made.workflow, made.revision))

    def paths(
        self, one: MeasuredAttempt, made: DefinitionVersion, binding: str
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the absolute paths of the inputs and outputs now, by name; empty if a path has no value now."""
        scope = self.scope(one, made, binding)
        project = self.directory(one.workflow)
        own = one.folder if made.body.workdir == "attempt" and one.folder else project
        try:
            return _render_paths(made.body.inputs, scope, project), _render_paths(made.body.outputs, scope, own)
        except UnknownWord:  # the removed parameter is a reason of its own
            return {}, {}

    def named(self, one: MeasuredAttempt, made: DefinitionVersion, binding: str) -> tuple[FileContent, ...]:
        """Return the files that the commands of a job's next attempt name, without digests."""
        body = made.body
        project = self.directory(one.workflow)
        directory = one.folder if body.workdir == "attempt" and one.folder else project
        scope, search = self._command_scope(one, made, binding)
        declared = [os.path.normpath(path) for path in (*scope["inputs"].values(), *scope["outputs"].values())]
        found = files_in_commands(
            body.steps, scope, scope["env"], lambda each: static_items(each, scope, directory), search
        )
        return tuple(
            FileContent(
                each.name,
                each.path,
                ABSENT,
                named=each.named,
                matched=None if each.pattern is None else MatchedFiles(each.pattern),
            )
            for each in locate_files(found, directory, project, declared)
        )

    def words_naming(self, one: MeasuredAttempt, made: DefinitionVersion, steps: Collection[str]) -> frozenset[str]:
        """Return the words by which the commands of these steps may name files. The disk is not read."""
        scope, search = self._command_scope(one, made, self.binding(one))
        chosen = [step for step in made.body.steps if step.name in steps]
        found = files_in_commands(
            chosen,
            scope,
            scope["env"],
            lambda each: None if each.glob is not None else static_items(each, scope, ""),
            search,
        )
        return frozenset(each.word for each in found)

    def _command_scope(self, one: MeasuredAttempt, made: DefinitionVersion, binding: str) -> tuple[dict[str, Any], str]:
        """Return the values that can be used in the commands of a job's next attempt, and its own PATH ("": none)."""
        scope: dict[str, Any] = {**self.scope(one, made, binding), "env": os.environ}
        variables: dict[str, str] = {}
        for name, text in {**made.body.env, **self.modified(one).env}.items():
            with contextlib.suppress(RekindleError):
                variables[name] = render_text(text, scope)
        scope["env"] = {**os.environ, **variables}
        scope["inputs"], scope["outputs"] = self.paths(one, made, binding)
        return scope, variables.get("PATH", "")

    def patterns(self, one: MeasuredAttempt, made: DefinitionVersion) -> dict[str, str]:
        """Return, by name, the inputs that are patterns, with their values filled in."""
        scope = self.scope(one, made, self.binding(one))
        try:
            found = {name: render_text(text, scope) for name, text in made.body.inputs.items()}
        except UnknownWord:
            return {}
        return {name: text for name, text in found.items() if is_glob(text)}

    def scope(self, one: MeasuredAttempt, made: DefinitionVersion, binding: str) -> Mapping[str, Any]:
        """Return the values that can be used in an attempt's texts now."""
        return {
            "params": {**self._values(made), **self.modified(one).params},
            "matrix": from_json(binding),
            "job": {"name": one.name, "id": one.job},
        }

    def kept_reasons(self, one: MeasuredAttempt, part: KeptPart) -> tuple[Reason, ...]:
        """Compare the definition that steps ran with, which an attempt keeps, with that of its job's next attempt."""
        return self._reasons(part.ran, one, part.of)

    def _compared(self, one: MeasuredAttempt) -> DefinitionComparison:
        then, now = self._then(one)[0], self._now(one)[0]
        whole = self._kept.get(one.attempt, NO_KEPT_STEPS).whole
        part = (lambda body: without_steps(body, whole)) if whole else None
        reasons = self._reasons(one, one, part)
        bodies = (now.body, then.body) if part is None else (part(now.body), part(then.body))
        functions, earlier = (functions_called(body.steps) for body in bodies)
        same_functions = functions == earlier  # otherwise the definition is already a reason
        paths_differ = any(_changes_paths(reason) for reason in reasons)
        return DefinitionComparison(then, now, reasons, paths_differ, functions if same_functions else ())

    def _reasons(
        self, ran: MeasuredAttempt, one: MeasuredAttempt, part: Callable[[JobTemplate], JobTemplate] | None
    ) -> tuple[Reason, ...]:
        """Compare the definition that an attempt `ran` with the next one of the job of `one`, or a part of both."""
        (then, before), (now, after) = self._then(ran), self._now(one)
        accepted = self._accepted[ran.attempt][1].overrides if ran.attempt in self._accepted else ATTEMPTS_OWN
        modified = decode_overrides(ran.overrides if accepted == ATTEMPTS_OWN else accepted)
        same = before == after
        bodies = (then.body, now.body) if part is None else (part(then.body), part(now.body))
        return definition_reasons(
            FilledTemplate(bodies[0], self._values(then), _NOTHING if same else from_json(before)),
            FilledTemplate(bodies[1], self._values(now), _NOTHING if same else from_json(after)),
            modified,
            self.modified(one),
        )

    def _then(self, one: MeasuredAttempt) -> tuple[DefinitionVersion, str]:
        """Return the definition that an attempt ran, and its matrix values (JSON text)."""
        if one.attempt in self._accepted:
            basis = self._accepted[one.attempt][1]
            return self._of(one.workflow, basis.template, basis.revision, basis.patched), basis.binding
        patched = self._patched.get(one.attempt, _NOTHING)
        return self._of(one.made_in, one.template, one.revision, patched), one.binding

    def _now(self, one: MeasuredAttempt) -> tuple[DefinitionVersion, str]:
        """Return the definition of the job's next attempt (pinned, or the latest), and its matrix values (JSON
        text). A rerun of a job with `definition: pinned` has the definition of its live attempt."""
        template, binding = one.template_now, one.binding_now
        revision = self._workflows[one.workflow].revision
        if one.attempt == one.live and self.templates[template].definition == "pinned":
            template, revision, binding = one.template, one.revision, one.binding
        elif one.pinned_to in self._pinned and one.attempt != one.live:
            template, revision, binding = self._pinned[one.pinned_to]
        changes = self._changes.get(one.job, ())
        return self._of(one.workflow, template, revision, self._changed(one.workflow, revision, changes)), binding

    def _changed(self, workflow: int, revision: int, changes: Sequence[ParameterChange]) -> Mapping[str, Any]:
        if not changes:
            return _NOTHING
        params = self._params_of(workflow, revision)
        return {
            name: value
            for name, value in effective_params(params, changes).items()
            if name not in params or params[name] != value
        }

    def _of(self, workflow: int, template: int, revision: int, patched: Mapping[str, Any]) -> DefinitionVersion:
        if patched:
            return DefinitionVersion(self.templates[template], template, revision, workflow, patched)
        key = (workflow, template, revision)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = DefinitionVersion(self.templates[template], template, revision, workflow)
        return found

    def _values(self, made: DefinitionVersion) -> Mapping[str, Any]:
        params = self._params_of(made.workflow, made.revision)
        return {**params, **made.patched} if made.patched else params

    def _params_of(self, workflow: int, revision: int) -> Mapping[str, Any]:
        found = self._params.get((workflow, revision))
        if found is None:
            found = self._params[workflow, revision] = self._archive.workflows.params(workflow, revision)
        return found


def _render_paths(texts: Mapping[str, str], scope: Mapping[str, Any], folder: str) -> dict[str, str]:
    found = {name: render_text(text, scope) for name, text in texts.items()}
    return {
        name: glob_location(folder, text) if is_glob(text) else str(Path(folder, text)) for name, text in found.items()
    }


def _changes_paths(reason: Reason) -> bool:
    """Return whether a difference can change the paths of files."""
    if reason.kind is ReasonKind.PARAMETER:
        return True
    return str(reason.detail.get("field", "")).startswith(_PATHS)
