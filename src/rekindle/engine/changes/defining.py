"""What attempts ran, and what their jobs would run now: definitions with their values, compared once where many share
them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rekindle.domain.actions import Change, effective
from rekindle.domain.changes.outdated import Spec, outdated
from rekindle.domain.changes.outside import files_named, functions_called
from rekindle.domain.changes.prints import ABSENT, ATTEMPTS_OWN, Content, Matched, Subject
from rekindle.domain.changes.staleness import Defined, redefined
from rekindle.domain.definition import JobTemplate
from rekindle.domain.errors import RekindleError, UnknownWord
from rekindle.domain.overrides import NOTHING, Modified, modified_of
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.texts.globs import is_pattern, location
from rekindle.domain.texts.substitution import render
from rekindle.engine.changes.needing import Accepted
from rekindle.engine.params import changes_in_force
from rekindle.files.locating import locate
from rekindle.journal.encoding import from_json
from rekindle.journal.items import settled
from rekindle.store.port import Archive

_NOTHING: Mapping[str, Any] = {}
_PATHS = ("inputs.", "outputs.", "workdir")


@dataclass(frozen=True, slots=True)
class Made:
    """What attempts are, or would be, made from, beside their matrix values."""

    body: JobTemplate
    template: int
    revision: int
    patched: Mapping[str, Any] = field(default_factory=dict)  # parameters that actions have changed


@dataclass(frozen=True, slots=True)
class Compared:
    """An attempt's making then and now, and why they differ."""

    then: Made
    now: Made
    reasons: tuple[Reason, ...] = ()
    moves: bool = False  # its files may lie elsewhere now
    functions: tuple[str, ...] = ()  # that it called and would call; none where it would call others now


class Definitions:
    """Templates and parameters, each read once, and comparisons, each made once where jobs share it."""

    def __init__(self, archive: Archive, subjects: Sequence[Subject], accepted: Accepted) -> None:
        pins = {one.pinned_to for one in subjects if one.pinned_to is not None and one.attempt != one.live}
        self._pinned = archive.measures.origins(pins) if pins else {}
        self._workflows = {
            number: found
            for number in {one.workflow for one in subjects}
            if (found := archive.workflows.find(number)) is not None
        }
        self._accepted = accepted
        self._patched = archive.fingerprints.patched(one.attempt for one in subjects)
        self._changes = changes_in_force(archive, [one.job for one in subjects])
        numbers = {number for one in subjects for number in (one.template, one.template_now)}
        numbers |= {basis.template for _, basis in accepted.values()} | {one[0] for one in self._pinned.values()}
        self.templates = archive.measures.bodies(numbers)
        self._archive = archive
        self._params: dict[tuple[int, int], Mapping[str, Any]] = {}
        self._known: dict[tuple[Any, ...], Compared] = {}
        self._made: dict[tuple[int, int], Made] = {}

    def directory(self, workflow: int) -> str:
        """A workflow's folder, absolute."""
        return self._workflows[workflow].directory

    def of(self, one: Subject) -> Compared:
        """What an attempt was made from, beside what its job's next one would be."""
        plain = one.job not in self._changes and one.attempt not in self._patched and one.attempt not in self._accepted
        key = (one.workflow, one.template, one.revision, one.template_now, one.overrides, one.overrides_now)
        if not plain or one.pinned_to is not None or one.binding != one.binding_now:
            return self._compared(one)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._compared(one)
        return found

    def binding(self, one: Subject) -> str:
        """The matrix values, as JSON text, of a job's next attempt."""
        return self._now(one)[1]

    def modified(self, one: Subject) -> Modified:
        """What a rerun has modified for a job's next attempt. While a job is pinned, modifications last through
        revisions; the attempt that has run pinned is compared with the latest definition, over which those of
        values that have changed since do not stand."""
        modified = modified_of(one.overrides_now)
        if modified == NOTHING or one.pinned_to is None or one.attempt != one.live:
            return modified
        (then, _), (now, _) = self._then(one), self._now(one)
        return modified.without(outdated(modified, self._spec(one, then), self._spec(one, now)))

    def _spec(self, one: Subject, made: Made) -> Spec:
        return Spec(made.body, self._params_of(one.workflow, made.revision))

    def paths(self, one: Subject, made: Made, binding: str) -> tuple[dict[str, str], dict[str, str]]:
        """The absolute paths of inputs and outputs, by name, as they are now; none where one has no value now."""
        scope = self.scope(one, made, binding)
        project = self.directory(one.workflow)
        own = one.folder if made.body.workdir == "attempt" and one.folder else project
        try:
            return _rendered(made.body.inputs, scope, project), _rendered(made.body.outputs, scope, own)
        except UnknownWord:  # the parameter that is not there any more is told as such
            return {}, {}

    def named(self, one: Subject, made: Made, binding: str) -> tuple[Content, ...]:
        """Return the files that the commands of a job's next attempt name, with no digest."""
        body, modified = made.body, self.modified(one)
        project = self.directory(one.workflow)
        directory = one.folder if body.workdir == "attempt" and one.folder else project
        scope: dict[str, Any] = {**self.scope(one, made, binding), "env": os.environ}
        variables: dict[str, str] = {}
        for name, text in {**body.env, **modified.env}.items():
            with contextlib.suppress(RekindleError):
                variables[name] = render(text, scope)
        scope["env"] = {**os.environ, **variables}
        inputs, outputs = self.paths(one, made, binding)
        declared = [os.path.normpath(path) for path in (*inputs.values(), *outputs.values())]
        scope["inputs"], scope["outputs"] = inputs, outputs
        search = variables.get("PATH", "")
        found = files_named(body.steps, scope, scope["env"], lambda each: settled(each, scope, directory), search)
        return tuple(
            Content(
                each.name,
                each.path,
                ABSENT,
                named=each.named,
                matched=None if each.pattern is None else Matched(each.pattern),
            )
            for each in locate(found, directory, project, declared)
        )

    def patterns(self, one: Subject, made: Made) -> dict[str, str]:
        """The inputs that may be patterns, by name, with their values filled in."""
        scope = self.scope(one, made, self.binding(one))
        try:
            found = {name: render(text, scope) for name, text in made.body.inputs.items()}
        except UnknownWord:
            return {}
        return {name: text for name, text in found.items() if is_pattern(text)}

    def scope(self, one: Subject, made: Made, binding: str) -> Mapping[str, Any]:
        """The values of an attempt's texts, as they are now."""
        return {
            "params": {**self._values(one.workflow, made), **self.modified(one).params},
            "matrix": from_json(binding),
            "job": {"name": one.name, "id": one.job},
        }

    def _compared(self, one: Subject) -> Compared:
        (then, before), (now, after) = self._then(one), self._now(one)
        accepted = self._accepted[one.attempt][1].overrides if one.attempt in self._accepted else ATTEMPTS_OWN
        modified = modified_of(one.overrides if accepted == ATTEMPTS_OWN else accepted)
        same = before == after
        reasons = redefined(
            Defined(then.body, self._values(one.workflow, then), _NOTHING if same else from_json(before)),
            Defined(now.body, self._values(one.workflow, now), _NOTHING if same else from_json(after)),
            modified,
            self.modified(one),
        )
        functions = functions_called(now.body.steps)
        same_functions = functions == functions_called(then.body.steps)  # else the definition says what there is to say
        moves = any(_moves(reason) for reason in reasons)
        return Compared(then, now, reasons, moves, functions if same_functions else ())

    def _then(self, one: Subject) -> tuple[Made, str]:
        """What it was made from, and with which matrix values (JSON text)."""
        if one.attempt in self._accepted:
            basis = self._accepted[one.attempt][1]
            return self._of(basis.template, basis.revision, basis.patched), basis.binding
        return self._of(one.template, one.revision, self._patched.get(one.attempt, _NOTHING)), one.binding

    def _now(self, one: Subject) -> tuple[Made, str]:
        """The latest, or where the job's next attempt is pinned, what that takes."""
        template, binding = one.template_now, one.binding_now
        revision = self._workflows[one.workflow].revision
        if one.pinned_to in self._pinned and one.attempt != one.live:
            template, revision, binding = self._pinned[one.pinned_to]
        changes = self._changes.get(one.job, ())
        return self._of(template, revision, self._changed(one.workflow, revision, changes)), binding

    def _changed(self, workflow: int, revision: int, changes: Sequence[Change]) -> Mapping[str, Any]:
        if not changes:
            return _NOTHING
        params = self._params_of(workflow, revision)
        return {
            name: value
            for name, value in effective(params, changes).items()
            if name not in params or params[name] != value
        }

    def _of(self, template: int, revision: int, patched: Mapping[str, Any]) -> Made:
        if patched:
            return Made(self.templates[template], template, revision, patched)
        found = self._made.get((template, revision))
        if found is None:
            found = self._made[template, revision] = Made(self.templates[template], template, revision)
        return found

    def _values(self, workflow: int, made: Made) -> Mapping[str, Any]:
        params = self._params_of(workflow, made.revision)
        return {**params, **made.patched} if made.patched else params

    def _params_of(self, workflow: int, revision: int) -> Mapping[str, Any]:
        found = self._params.get((workflow, revision))
        if found is None:
            found = self._params[workflow, revision] = self._archive.workflows.params(workflow, revision)
        return found


def _rendered(texts: Mapping[str, str], scope: Mapping[str, Any], folder: str) -> dict[str, str]:
    found = {name: render(text, scope) for name, text in texts.items()}
    return {
        name: location(folder, text) if is_pattern(text) else str(Path(folder, text)) for name, text in found.items()
    }


def _moves(reason: Reason) -> bool:
    """Files may lie elsewhere for this reason."""
    if reason.kind is ReasonKind.PARAMETER:
        return True
    return str(reason.detail.get("field", "")).startswith(_PATHS)
