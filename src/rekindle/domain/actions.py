"""Dynamic actions: what a step may ask for beside its result, read, merged, and what a change does to parameters.

A step asks for an action by a JSON document (`$REKINDLE_ACTION`) or by returning `rekindle.Action`. What the actions
of an attempt do to the graph is decided in domain.acting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rekindle.domain.errors import BadValue
from rekindle.domain.texts.nearest import did_you_mean

BAD_ACTION = "BadAction"
"""The type under which a failure for an action's sake is recorded."""

Change = Mapping[str, Any]
"""A change of parameters: `{"alpha": 0.2, "_inc": {"tries": 1}}`, plain keys and modifiers."""


@dataclass(frozen=True, slots=True)
class Told:
    """A change that a job makes to the parameters of its children; `deep`: of all that comes after it."""

    change: Change
    deep: bool = False


class BadAction(BadValue):
    """An action that cannot be taken."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a step asks for beside its result. Nothing of it happens before the attempt has completed, except that
    later steps of the same attempt see the parameters of `set`.

    `set`, `set_children`: parameters of this job's later steps, and of the jobs that need this one; plain keys, and
    `_set`, `_unset`, `_push`, `_inc` with dotted names · `set_descendants`: the same for all that comes after this
    job, however far, before `set_children` · `add`: jobs to run after this one, each as an entry of `jobs:` with a
    `name`, and with `values` where it has matrix values of its own that are no part of its name · `detour`: the same,
    and what needs this job now needs them too · `hold_children`, `cancel_children`: what needs this job now is held,
    or canceled · `exit`: this job's remaining steps are left out · `stop_workflow`, `hold_workflow`: every job that
    has not started is canceled, or held · `result`: the step's result, where a function returns an action."""

    set: Change = field(default_factory=dict)
    set_children: Change = field(default_factory=dict)
    set_descendants: Change = field(default_factory=dict)
    add: Sequence[Mapping[str, Any]] = ()
    detour: Sequence[Mapping[str, Any]] = ()
    hold_children: bool = False
    cancel_children: bool = False
    exit: bool = False
    stop_workflow: bool = False
    hold_workflow: bool = False
    result: Any = None


_CHANGES = ("set", "set_children", "set_descendants")
_LISTS = ("add", "detour")
_FLAGS = ("hold_children", "cancel_children", "exit", "stop_workflow", "hold_workflow")
KEYS = (*_CHANGES, *_LISTS, *_FLAGS)


def read_action(document: object) -> Action:
    """The action that a JSON value describes. BadAction for anything that is not one."""
    if not isinstance(document, Mapping):
        raise BadAction("an action is a JSON object", hint='as in {"set": {"alpha": 0.2}}')
    for key in document:
        if key not in KEYS:
            raise BadAction(f"an action has no key {key!r:.60}", hint=did_you_mean(str(key), KEYS))
    for key in _FLAGS:
        if not isinstance(document.get(key, False), bool):
            raise BadAction(f"`{key}` is true or false, not {document[key]!r:.60}")
    given: dict[str, Any] = {key: document[key] for key in _FLAGS if key in document}
    given |= {key: _read_change(key, document[key]) for key in _CHANGES if key in document}
    given |= {key: _read_jobs(key, document[key]) for key in _LISTS if key in document}
    return Action(**given)


def action_document(action: Action) -> dict[str, Any]:
    """The JSON object that says the same, without what says nothing; its result is left out."""
    every = {key: getattr(action, key) for key in KEYS}
    return {key: list(value) if key in _LISTS else value for key, value in every.items() if value}


def merge(actions: Iterable[Action]) -> tuple[Action, tuple[Told, ...]]:
    """The actions of an attempt's steps, in their order, as one, and their changes to other jobs in order.
    BadAction when two of them add a job of the same name."""
    every = list(actions)
    added: dict[str, None] = {}
    for action in every:
        for job in (*action.add, *action.detour):
            if job["name"] in added:
                raise BadAction(f"the job {job['name']!r:.60} is added twice", hint="give each its own name")
            added[job["name"]] = None
    one = Action(
        add=[job for action in every for job in action.add],
        detour=[job for action in every for job in action.detour],
        hold_children=any(action.hold_children for action in every),
        cancel_children=any(action.cancel_children for action in every),
        exit=any(action.exit for action in every),
        stop_workflow=any(action.stop_workflow for action in every),
        hold_workflow=any(action.hold_workflow for action in every),
    )
    told = ((Told(action.set_descendants, deep=True), Told(action.set_children)) for action in every)
    return one, tuple(one for pair in told for one in pair if one.change)


def apply_change(params: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """The parameters with a change made; what is given is left as it is. BadAction where a modifier does not fit."""
    changed: dict[str, Any] = {**params, **{key: value for key, value in change.items() if key not in _MODIFIERS}}
    for name, modify in _MODIFIERS.items():
        for path, value in change.get(name, {}).items():
            changed = _at(changed, path.split("."), path, value, modify)
    return changed


def effective(params: Mapping[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """The parameters with the changes in force made, in order. A later revision may have given a parameter another
    type than a modifier was meant for: that modifier then changes nothing."""
    now = dict(params)
    for change in changes:
        plain = {key: value for key, value in change.items() if key not in _MODIFIERS}
        now.update(plain)
        for name in _MODIFIERS:
            for path, value in change.get(name, {}).items():
                try:
                    now = apply_change(now, {name: {path: value}})
                except BadAction:
                    continue
    return now


def _read_change(key: str, found: object) -> Change:
    if not isinstance(found, Mapping):
        raise BadAction(f"`{key}` is an object of parameters, not {found!r:.60}")
    for name, value in found.items():
        if not isinstance(name, str) or not name:
            raise BadAction(f"`{key}` names a parameter {name!r:.60}")
        if not name.startswith("_"):
            if "." in name:
                raise BadAction(f"`{key}` has a dotted name, {name!r:.60}", hint=f'write {{"_set": {{"{name}": …}}}}')
            continue
        if name not in _MODIFIERS:
            raise BadAction(f"`{key}` has no modifier {name!r:.60}", hint=did_you_mean(name, _MODIFIERS))
        if not isinstance(value, Mapping) or not all(isinstance(path, str) and path for path in value):
            raise BadAction(f"`{name}` in `{key}` is an object of names, not {value!r:.60}")
        if name == "_inc" and not all(_is_number(step) for step in value.values()):
            raise BadAction(f"`_inc` in `{key}` adds numbers, not {value!r:.60}")
    return found


def _read_jobs(key: str, found: object) -> list[Mapping[str, Any]]:
    if not isinstance(found, list | tuple):
        raise BadAction(f"`{key}` is a list of jobs, not {found!r:.60}", hint='as in [{"name": "extra", "run": "…"}]')
    for job in found:
        if not isinstance(job, Mapping):
            raise BadAction(f"a job in `{key}` is an object, not {job!r:.60}", hint='as in {"name": "…", "run": "…"}')
        if not isinstance(job.get("name"), str) or not job["name"]:
            raise BadAction(f"a job in `{key}` has no name", hint="it is a text, and the same whenever it is added")
    return list(found)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_ABSENT = object()
_Modify = Callable[[str, Any, Any], Any]


def _set(_: str, __: Any, value: Any) -> Any:
    return value


def _unset(_: str, __: Any, ___: Any) -> Any:
    return _ABSENT


def _push(path: str, present: Any, value: Any) -> Any:
    if present is _ABSENT:
        return [value]
    if not isinstance(present, list | tuple):
        raise BadAction(f"`_push` needs a list, and the parameter {path!r:.60} is {present!r:.60}")
    return [*present, value]


def _inc(path: str, present: Any, value: Any) -> Any:
    if present is _ABSENT:
        return value
    if not _is_number(present):
        raise BadAction(f"`_inc` needs a number, and the parameter {path!r:.60} is {present!r:.60}")
    return present + value


_MODIFIERS: dict[str, _Modify] = {"_set": _set, "_unset": _unset, "_push": _push, "_inc": _inc}


def _at(found: Any, names: list[str], path: str, value: Any, modify: _Modify) -> Any:
    """`found` with what lies at `names` modified: objects on the way are made, lists are stepped into by number."""
    name, *rest = names
    if isinstance(found, Mapping):
        present = found.get(name, _ABSENT)
    elif isinstance(found, list | tuple) and name.isdecimal() and int(name) < len(found):
        present = found[int(name)]
    else:
        raise BadAction(f"there is no {name!r:.60} in the parameter {path!r:.60}: it is within {found!r:.60}")
    if rest:
        if present is _ABSENT and modify is _unset:
            return found
        new = _at({} if present is _ABSENT else present, rest, path, value, modify)
    else:
        new = modify(path, present, value)
    if isinstance(found, Mapping):
        kept = {key: inner for key, inner in found.items() if key != name or new is not _ABSENT}
        return kept if new is _ABSENT else {**kept, name: new}
    return [
        None if new is _ABSENT and at == int(name) else new if at == int(name) else one for at, one in enumerate(found)
    ]
