"""Spec changes of an FWAction: `update_spec` and the modifiers of `mod_spec`; and merged FWActions.

As in FireWorks, `a->b` is the path of a nested key; list elements are named by number."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.fw_states import CHANGES_PARAM
from rekindle.domain.errors import BadValue
from rekindle.domain.texts.display import did_you_mean

if TYPE_CHECKING:
    from rekindle.domain.models import StepOutcome


class BadSpecChange(BadValue):
    """A spec change that cannot be made."""


def apply_changes(spec: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec after `update_spec` and then `mod_spec` of a change. The argument is not modified."""
    now = {**spec, **change.get("update_spec", {})}
    for modification in as_list(change.get("mod_spec")):
        now = apply_modification(now, modification)
    return now


def current_spec(matrix: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec with which an attempt starts: the spec in the job's binding, with the changes of other
    fireworks in order."""
    spec: dict[str, Any] = copy.deepcopy(dict(matrix["spec"]))
    for change in params.get(CHANGES_PARAM, ()):
        spec = apply_changes(spec, change)
    return spec


def shown_spec(
    binding: Mapping[str, Any], params: Mapping[str, Any], names: Collection[str] | None = None
) -> Mapping[str, Any]:
    """Return the spec as `current_spec`, for documents and queries: a change that does not fit, with which the launch
    will fail, is left out. With `names`, only these top-level keys are as they will be."""
    spec: Mapping[str, Any] = binding.get("spec", {})
    for change in params.get(CHANGES_PARAM, ()):
        if change["by"][0] != binding.get("added_by"):
            spec = {**spec, **change.get("update_spec", {})}
            for modification in as_list(change.get("mod_spec")):
                if names is None or _may_change(modification, names):
                    with contextlib.suppress(BadSpecChange):
                        spec = apply_modification(spec, modification)
    return spec


def _may_change(modification: Mapping[str, Any], names: Collection[str]) -> bool:
    if "_rename" in modification:
        return True
    return any(str(path).partition("->")[0] in names for settings in modification.values() for path in settings)


def apply_modification(spec: Mapping[str, Any], modification: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec after one entry of `mod_spec`: `{"_set": {"a->b": 1}, "_push": {"c": 2}}`. Raises BadSpecChange
    if the entry does not fit the spec."""
    check_modification(modification)
    now: Any = dict(spec)
    for word, settings in modification.items():
        if word == "_rename":
            now = _renamed(now, settings)
            continue
        pairs = settings.items() if isinstance(settings, Mapping) else ((name, True) for name in settings)
        for path, value in pairs:
            now = _modify_at(now, str(path).split("->"), str(path), value, MODIFIERS[word])
    found: dict[str, Any] = now
    return found


def check_modification(modification: object) -> None:
    """Raise BadSpecChange unless this is a valid entry of `mod_spec`."""
    if not isinstance(modification, Mapping):
        raise BadSpecChange(
            f"an entry of `mod_spec` is an object, not {modification!r:.60}", hint='as in {"_set": {"a": 1}}'
        )
    for word, settings in modification.items():
        if word not in MODIFIERS and word != "_rename":
            known = (*MODIFIERS, "_rename")
            raise BadSpecChange(f"`mod_spec` has no modifier {word!r:.60}", hint=did_you_mean(str(word), known))
        if not isinstance(settings, Mapping) and not (word == "_unset" and isinstance(settings, list | tuple)):
            raise BadSpecChange(f"`{word}` in `mod_spec` is an object of names, not {settings!r:.60}")


def as_list(found: Any) -> list[Any]:
    """Return a list as it is, None as an empty list, and a single value as a list of one, as FireWorks does."""
    if found is None:
        return []
    return list(found) if isinstance(found, list | tuple) else [found]


_ABSENT: Any = object()
_Modify = Callable[[str, Any, Any], Any]


def _set(_: str, __: Any, value: Any) -> Any:
    return value


def _unset(_: str, __: Any, ___: Any) -> Any:
    return _ABSENT


def _inc(path: str, present: Any, value: Any) -> Any:
    if present is _ABSENT:
        return value
    if not _is_number(present) or not _is_number(value):
        raise BadSpecChange(f"`_inc` adds numbers, and {path!r:.60} is {present!r:.60}, to add {value!r:.60}")
    return present + value


def _push(path: str, present: Any, value: Any) -> Any:
    return [*_list(path, present), value]


def _push_all(path: str, present: Any, value: Any) -> Any:
    return [*_list(path, present), *as_list(value)]


def _add_to_set(path: str, present: Any, value: Any) -> Any:
    found = _list(path, present)
    return found if value in found else [*found, value]


def _pull(path: str, present: Any, value: Any) -> Any:
    return _ABSENT if present is _ABSENT else [one for one in _list(path, present) if one != value]


def _pull_all(path: str, present: Any, value: Any) -> Any:
    removed = as_list(value)
    return _ABSENT if present is _ABSENT else [one for one in _list(path, present) if one not in removed]


def _pop(path: str, present: Any, value: Any) -> Any:
    found = _list(path, present)
    if present is _ABSENT:
        return _ABSENT
    if value not in (1, -1):
        raise BadSpecChange(f"`_pop` takes 1 (the last) or -1 (the first), not {value!r:.60}")
    return found[:-1] if value == 1 else found[1:]


MODIFIERS: dict[str, _Modify] = {
    "_set": _set,
    "_unset": _unset,
    "_inc": _inc,
    "_push": _push,
    "_push_all": _push_all,
    "_pushAll": _push_all,
    "_add_to_set": _add_to_set,
    "_addToSet": _add_to_set,
    "_pull": _pull,
    "_pull_all": _pull_all,
    "_pullAll": _pull_all,
    "_pop": _pop,
}
"""FireWorks' modifiers, and MongoDB's spellings of them."""


def _renamed(spec: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    now = dict(spec)
    for old, new in names.items():
        if old in now:
            now[new] = now.pop(old)
    return now


def _list(path: str, present: Any) -> list[Any]:
    if present is _ABSENT:
        return []
    if not isinstance(present, list | tuple):
        raise BadSpecChange(f"{path!r:.60} must be a list for this change, and is {present!r:.60}")
    return list(present)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _modify_at(found: Any, names: Sequence[str], path: str, value: Any, modify: _Modify) -> Any:
    """Return `found` with the value at the path `names` modified. Missing objects on the path are created where a
    value is set."""
    name, rest = names[0], names[1:]
    key: Any = name
    if isinstance(found, list | tuple) and name.isdecimal() and int(name) < len(found):
        key = int(name)
        present = found[key]
    elif isinstance(found, Mapping):
        present = found.get(name, _ABSENT)
    else:
        raise BadSpecChange(f"there is no {name!r:.60} in {path!r:.60} of the spec: it is within {found!r:.60}")
    if not rest:
        new = modify(path, present, value)
    elif present is _ABSENT and modify in (_unset, _pull, _pull_all, _pop):
        return found
    else:
        new = _modify_at({} if present is _ABSENT else present, rest, path, value, modify)
    if isinstance(found, Mapping):
        kept = {one: inner for one, inner in found.items() if one != name or new is not _ABSENT}
        return kept if new is _ABSENT else {**kept, name: new}
    return [one if at != key else None if new is _ABSENT else new for at, one in enumerate(found)]


EMPTY_ACTION: Mapping[str, Any] = {
    "stored_data": {},
    "exit": False,
    "update_spec": {},
    "mod_spec": [],
    "additions": [],
    "detours": [],
    "append_wfs": [],
    "defuse_children": False,
    "defuse_workflow": False,
    "propagate": False,
}
"""An FWAction that does nothing, with every key that FireWorks writes."""

STOPS_LATER_TASKS = ("exit", "additions", "detours", "append_wfs", "defuse_children", "defuse_workflow")
"""Keys of an FWAction that skip the later tasks of a firework, as in FireWorks."""


def merge_actions(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two FWActions, in their order."""
    found: dict[str, Any] = {**one, **other}
    for key in ("stored_data", "update_spec"):
        if key in one or key in other:
            found[key] = {**one.get(key, {}), **other.get(key, {})}
    for key in ("mod_spec", "additions", "detours", "append_wfs"):
        if key in one or key in other:
            found[key] = [*one.get(key, ()), *other.get(key, ())]
    return found


def combined_action(steps: Iterable[StepOutcome]) -> dict[str, Any]:
    """Return the FWActions of these steps as one."""
    found: dict[str, Any] = {}
    for step in steps:
        result = json.loads(step.result) if step.result else None
        if isinstance(result, Mapping):
            found = merge_actions(found, result)
    return found
