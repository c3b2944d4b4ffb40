"""Fan-outs over patterns: the items that an attempt processed, compared with the files that match now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rekindle.domain.changes.prints import Basis, Prints, Subject
from rekindle.domain.changes.staleness import other_files
from rekindle.domain.errors import RekindleError
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.domain.subtasks import Subtask
from rekindle.domain.texts.globs import location
from rekindle.domain.texts.substitution import render_value, word
from rekindle.engine.changes.defining import Definitions, Made
from rekindle.engine.changes.reading import Contents, Wanted
from rekindle.files.digests import digest_of_set
from rekindle.store.port import Archive


@dataclass(frozen=True, slots=True)
class Items:
    """A fan-out step of an attempt. `then`: by item, what its file held; None: not compared."""

    step: str
    wanted: Wanted
    then: Mapping[str, str | None]
    whole: bool  # the attempt completed: new and missing items count too
    gone: frozenset[str]  # went while the attempt ran

    def now(self, contents: Contents) -> dict[str, str]:
        """By path, what the files hold that match now and count; an item that is not compared has no digest."""
        matched = contents.sets[self.wanted].matched
        files = (matched and matched.files) or {}
        return {name: digest for name, digest in files.items() if name in self.then or name not in self.wanted.skip}

    def reasons(self, contents: Contents) -> tuple[Reason, ...]:
        """The INPUT reason, where the items or their files are not those that the attempt processed."""
        now = self.now(contents)
        before = {}
        for name, digest in self.then.items():
            found = now.get(name)
            if digest is None or (found is None and name in self.gone):
                digest = found  # not compared: it counts as equal, whether or not it still exists
            if digest is not None:
                before[name] = digest
        if not self.whole:
            before = {name: digest for name, digest in before.items() if name in now}
            now = {name: digest for name, digest in now.items() if name in before}
        if before == now:
            return ()
        detail: dict[str, Any] = {"name": self.step, "path": self.wanted.path}
        detail |= {"before": digest_of_set(before) or None, "after": digest_of_set(now) or None}
        detail |= {"pattern": self.wanted.pattern, "items": True}
        return (Reason(ReasonKind.INPUT, detail | other_files(before, now)),)


def items_of(
    archive: Archive, one: Subject, definitions: Definitions, made: Made, recorded: Prints, basis: Basis | None
) -> tuple[Items, ...]:
    """The fan-outs over patterns of an attempt, as far as their items were recorded."""
    found = []
    for position, step in enumerate(made.body.steps):
        if step.each is None or step.each.glob is None or step.name not in recorded.made:
            continue
        owner = archive.subtasks.owner(one.attempt, position)
        pattern = _pattern(step.each.glob, definitions.scope(one, made, definitions.binding(one)))
        if owner is None or pattern is None:
            continue
        whole = one.state is State.COMPLETED
        subtasks = [each for each in archive.subtasks.of(owner, position) if whole or each.state is State.COMPLETED]
        made_then = recorded.made[step.name]
        own = frozenset(name for name, there in made_then.items() if there)
        then = _then(subtasks, own, basis.items.get(step.name) if basis else None)
        skip = own | {name for name, digest in then.items() if digest is None}
        project = definitions.directory(one.workflow)
        directory = one.folder if made.body.workdir == "attempt" and one.folder else project
        wanted = Wanted(location(directory, pattern), pattern=pattern, items=True, skip=skip)
        found.append(Items(step.name, wanted, then, whole, frozenset(made_then.keys() - own)))
    return tuple(found)


def _then(subtasks: list[Subtask], own: frozenset[str], accepted: Mapping[str, str] | None) -> dict[str, str | None]:
    """By item, what its file held, or was accepted as holding; None: not compared."""
    if accepted is not None:
        return {name: digest or None for name, digest in accepted.items()}
    names = {str(json.loads(one.item)): one.digest for one in subtasks}
    return {name: None if name in own else digest for name, digest in names.items()}


def _pattern(text: str, scope: Mapping[str, Any]) -> str | None:
    """The pattern with its values; None where it is a list, or names what only a running job knows."""
    try:
        value = render_value(text, scope)
    except RekindleError:
        return None
    return None if isinstance(value, list | tuple) else word(value)
