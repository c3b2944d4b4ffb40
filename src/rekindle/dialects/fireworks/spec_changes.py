"""What an FWAction does to a spec: `update_spec`, and the modifiers of `mod_spec`.

A name within a name is told by an arrow, `a->b`, as FireWorks does; a list is stepped into by number."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rekindle.dialects.fireworks.words import CHANGES
from rekindle.domain.errors import BadValue
from rekindle.domain.texts.nearest import did_you_mean


class BadChange(BadValue):
    """A change of a spec that cannot be made."""


def changed(spec: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with the `update_spec` and the `mod_spec` of a change made, in this order; what is given is left as it
    is."""
    now = {**spec, **change.get("update_spec", {})}
    for modification in listed(change.get("mod_spec")):
        now = modified(now, modification)
    return now


def spec_of(matrix: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with which an attempt of a firework begins, of a job with this binding and these parameters: that of
    its file, with what other fireworks have changed, in order; what the one that added it changes is not for it."""
    spec: dict[str, Any] = copy.deepcopy(dict(matrix["spec"]))
    for change in params.get(CHANGES, ()):
        if change["by"][0] != matrix.get("added_by"):
            spec = changed(spec, change)
    return spec


def modified(spec: Mapping[str, Any], modification: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with one entry of `mod_spec` made: `{"_set": {"a->b": 1}, "_push": {"c": 2}}`. BadChange where it does
    not fit."""
    check(modification)
    now: Any = dict(spec)
    for word, settings in modification.items():
        if word == "_rename":
            now = _renamed(now, settings)
            continue
        pairs = settings.items() if isinstance(settings, Mapping) else ((name, True) for name in settings)
        for path, value in pairs:
            now = _at(now, str(path).split("->"), str(path), value, MODIFIERS[word])
    found: dict[str, Any] = now
    return found


def check(modification: object) -> None:
    """BadChange for what is no entry of `mod_spec`."""
    if not isinstance(modification, Mapping):
        raise BadChange(
            f"an entry of `mod_spec` is an object, not {modification!r:.60}", hint='as in {"_set": {"a": 1}}'
        )
    for word, settings in modification.items():
        if word not in MODIFIERS and word != "_rename":
            known = (*MODIFIERS, "_rename")
            raise BadChange(f"`mod_spec` has no modifier {word!r:.60}", hint=did_you_mean(str(word), known))
        if not isinstance(settings, Mapping) and not (word == "_unset" and isinstance(settings, list | tuple)):
            raise BadChange(f"`{word}` in `mod_spec` is an object of names, not {settings!r:.60}")


def listed(found: Any) -> list[Any]:
    """What FireWorks takes as a list: one alone counts as one of one."""
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
        raise BadChange(f"`_inc` adds numbers, and {path!r:.60} is {present!r:.60}, to add {value!r:.60}")
    return present + value


def _push(path: str, present: Any, value: Any) -> Any:
    return [*_list(path, present), value]


def _push_all(path: str, present: Any, value: Any) -> Any:
    return [*_list(path, present), *listed(value)]


def _add_to_set(path: str, present: Any, value: Any) -> Any:
    found = _list(path, present)
    return found if value in found else [*found, value]


def _pull(path: str, present: Any, value: Any) -> Any:
    return _ABSENT if present is _ABSENT else [one for one in _list(path, present) if one != value]


def _pull_all(path: str, present: Any, value: Any) -> Any:
    gone = listed(value)
    return _ABSENT if present is _ABSENT else [one for one in _list(path, present) if one not in gone]


def _pop(path: str, present: Any, value: Any) -> Any:
    found = _list(path, present)
    if present is _ABSENT:
        return _ABSENT
    if value not in (1, -1):
        raise BadChange(f"`_pop` takes 1 (the last) or -1 (the first), not {value!r:.60}")
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
"""FireWorks' words, and MongoDB's for the same."""


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
        raise BadChange(f"{path!r:.60} is to be changed as a list, and is {present!r:.60}")
    return list(present)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _at(found: Any, names: Sequence[str], path: str, value: Any, modify: _Modify) -> Any:
    """`found` with what lies at `names` modified; objects on the way are made where something comes to stand."""
    name, rest = names[0], names[1:]
    key: Any = name
    if isinstance(found, list | tuple) and name.isdecimal() and int(name) < len(found):
        key = int(name)
        present = found[key]
    elif isinstance(found, Mapping):
        present = found.get(name, _ABSENT)
    else:
        raise BadChange(f"there is no {name!r:.60} in {path!r:.60} of the spec: it is within {found!r:.60}")
    if not rest:
        new = modify(path, present, value)
    elif present is _ABSENT and modify in (_unset, _pull, _pull_all, _pop):
        return found
    else:
        new = _at({} if present is _ABSENT else present, rest, path, value, modify)
    if isinstance(found, Mapping):
        kept = {one: inner for one, inner in found.items() if one != name or new is not _ABSENT}
        return kept if new is _ABSENT else {**kept, name: new}
    return [one if at != key else None if new is _ABSENT else new for at, one in enumerate(found)]
