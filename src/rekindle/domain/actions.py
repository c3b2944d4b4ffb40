"""Dynamic actions: parse and merge the actions that steps request, apply their parameter changes, and decide their
effects on the graph.

A step requests an action with a JSON document (`$REKINDLE_ACTION`) or by returning `rekindle.Action`. The actions of an
attempt form one set. At most one set of a job is in force: that of its last completed attempt with actions. A new set
replaces it. Added jobs are matched by their names within the adding job, so that no job is added twice. Jobs that the
new set does not add any more are retired, with all jobs they had added themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rekindle.domain.errors import BadValue
from rekindle.domain.graph import Edge, find_cycle
from rekindle.domain.texts.display import did_you_mean

BAD_ACTION = "BadAction"
"""The failure type recorded for an invalid action."""


ParameterChange = Mapping[str, Any]
"""A change of parameters: `{"alpha": 0.2, "_inc": {"tries": 1}}`, plain keys and modifiers."""


class ChildChange(msgspec.Struct, frozen=True):
    """A change to the parameters of a job's children; `deep`: of all its descendants."""

    change: ParameterChange
    deep: bool = False


class BadAction(BadValue):
    """An invalid action."""


class Action(msgspec.Struct, frozen=True):
    """The actions that a step requests beside its result. They take effect when the attempt completes, except that
    later steps of the same attempt see the parameters of `set`.

    - `set`, `set_children`: parameters of this job's later steps, and of its children: plain keys, and `_set`,
      `_unset`, `_push`, `_inc` with dotted names.
    - `set_descendants`: the same for all descendants, applied before `set_children`.
    - `add`: jobs to run after this one, each as an entry of `jobs:` with a `name`, with `values` for matrix values
      that are not part of its name, and with `takes_changes: false` if `set_children` and `set_descendants` are not for
      it.
    - `detour`: the same, and this job's children need them too.
    - `hold_children`, `cancel_children`: hold or cancel this job's children.
    - `exit`: skip this job's remaining steps.
    - `stop_workflow`, `hold_workflow`: cancel or hold every job that has not started.
    - `result`: the step's result, if a function returns an action.
    - `result_for_children`: what the jobs that need this one get in its place, if the step is the last one."""

    set: ParameterChange = msgspec.field(default_factory=dict)
    set_children: ParameterChange = msgspec.field(default_factory=dict)
    set_descendants: ParameterChange = msgspec.field(default_factory=dict)
    add: Sequence[Mapping[str, Any]] = ()
    detour: Sequence[Mapping[str, Any]] = ()
    hold_children: bool = False
    cancel_children: bool = False
    exit: bool = False
    stop_workflow: bool = False
    hold_workflow: bool = False
    result: Any = None
    result_for_children: Any = None


_CHANGES = ("set", "set_children", "set_descendants")


_LISTS = ("add", "detour")


_FLAGS = ("hold_children", "cancel_children", "exit", "stop_workflow", "hold_workflow")


KEYS = (*_CHANGES, *_LISTS, *_FLAGS)


def read_action(document: object) -> Action:
    """Parse an action from a JSON value. Raise BadAction if it is invalid."""
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
    """Return the action as a JSON object, without empty values and without its result."""
    every = {key: getattr(action, key) for key in KEYS}
    return {key: list(value) if key in _LISTS else value for key, value in every.items() if value}


def merge_actions(actions: Iterable[Action]) -> tuple[Action, tuple[ChildChange, ...]]:
    """Merge the actions of an attempt's steps, in order. Return one action, and the changes to other jobs in order.

    Raise BadAction if two of them add a job of the same name."""
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
    changes = ((ChildChange(action.set_descendants, deep=True), ChildChange(action.set_children)) for action in every)
    return one, tuple(one for pair in changes for one in pair if one.change)


def apply_change(params: Mapping[str, Any], change: ParameterChange) -> dict[str, Any]:
    """Return the parameters with a change applied. Raise BadAction if a modifier does not fit."""
    changed: dict[str, Any] = {**params, **{key: value for key, value in change.items() if key not in _MODIFIERS}}
    for name, modify in _MODIFIERS.items():
        for path, value in change.get(name, {}).items():
            changed = _modify_at(changed, path.split("."), path, value, modify)
    return changed


def effective_params(params: Mapping[str, Any], changes: Iterable[ParameterChange]) -> dict[str, Any]:
    """Return the parameters with the changes in force applied, in order.

    A later revision may give a parameter another type: a modifier that no longer fits is ignored."""
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


def pushed_paths(changes: Iterable[ParameterChange]) -> set[str]:
    """Return the paths that changes push to; none if they also change parameters otherwise."""
    every = list(changes)
    return {path for one in every for path in one["_push"]} if all(set(one) == {"_push"} for one in every) else set()


def _read_change(key: str, found: object) -> ParameterChange:
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


def _modify_at(found: Any, names: list[str], path: str, value: Any, modify: _Modify) -> Any:
    """Return `found` with the value at `names` modified. Missing objects are created; list elements are named by
    number."""
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
        new = _modify_at({} if present is _ABSENT else present, rest, path, value, modify)
    else:
        new = modify(path, present, value)
    if isinstance(found, Mapping):
        kept = {key: inner for key, inner in found.items() if key != name or new is not _ABSENT}
        return kept if new is _ABSENT else {**kept, name: new}
    return [
        None if new is _ABSENT and at == int(name) else new if at == int(name) else one for at, one in enumerate(found)
    ]


SET, HOLD, CANCEL = "set", "hold", "cancel"
"""Kinds of patches: a change of parameters, a hold with its reason, a cancellation."""


class Patch(msgspec.Struct, frozen=True):
    """What a set does to one existing job: the kind and its content."""

    job: int
    kind: str
    content: Any  # SET: a ParameterChange; HOLD: the reason; CANCEL: True


class ActionSet(msgspec.Struct, frozen=True):
    """A set of actions in force, as stored."""

    attempt: int
    job: int
    added: Mapping[int, str] = msgspec.field(default_factory=dict)  # jobs that are not retired, with their names
    edges: tuple[Edge, ...] = ()
    patches: tuple[Patch, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the jobs that the set added, by id."""
        return tuple(self.added[job] for job in sorted(self.added))


class AddedJob(msgspec.Struct, frozen=True):
    """A job to add, with a checked definition: the existing jobs it needs, and the jobs of its own action it needs."""

    name: str
    detour: bool = False
    needs: tuple[int, ...] = ()  # existing jobs
    siblings: tuple[str, ...] = ()
    takes_changes: bool = True  # the parameter changes of its own action apply to it


class ActionContext(msgspec.Struct, frozen=True):
    """The jobs and sets that exist when an attempt completes."""

    job: int
    name: str
    attempt: int
    in_force: ActionSet | None = None  # the job's current set
    own: Mapping[str, int] = msgspec.field(default_factory=dict)  # every job that it has ever added
    taken: Mapping[str, str] = msgspec.field(default_factory=dict)  # names of other jobs, and their owners
    # in force, of the jobs it added, and of theirs, recursively
    sets: Mapping[int, ActionSet] = msgspec.field(default_factory=dict)
    children: tuple[int, ...] = ()  # jobs that need it: not retired, not added by itself
    descendants: tuple[int, ...] = ()  # further descendants, if a change is for all of them
    held: Collection[int] = ()  # those of the children that are held
    idle: Collection[int] = ()
    next_job: int = 1  # the first free job id
    edges: Sequence[Edge] = ()  # all of the workflow's, if an added job needs a possible descendant


class ActionEffects(msgspec.Struct, frozen=True):
    """The changes to write. Edges and patches belong to the new set; those of the old sets are removed."""

    ids: Mapping[str, int] = msgspec.field(default_factory=dict)  # of every job in the set
    new: tuple[int, ...] = ()
    redefined: tuple[int, ...] = ()
    retired: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()  # attempts whose sets are no longer in force
    edges: tuple[Edge, ...] = ()
    patches: tuple[Patch, ...] = ()


def decide_effects(
    context: ActionContext, action: Action, changes: Sequence[ChildChange], additions: Sequence[AddedJob]
) -> ActionEffects:
    """Decide the effects of an attempt's merged actions.

    Raise BadAction, without effects, if a name belongs to another job, or if jobs would need each other in a cycle."""
    for one in additions:
        if one.name in context.taken:
            raise BadAction(
                f"the name {one.name!r:.80} is taken by {context.taken[one.name]}", hint="give the added job another"
            )
    ids = _assign_ids(context, additions)
    known = set(context.own.values())
    gone, ended = retire_sets([context.in_force] if context.in_force else [], context.sets, keep=set(ids.values()))
    edges = tuple(dict.fromkeys(_new_edges(context, additions, ids)))
    if context.edges:
        _refuse_cycle(context, ids, gone, edges)
    near, added = context.children, sorted(ids[one.name] for one in additions if one.takes_changes)
    far = tuple(dict.fromkeys((*near, *context.descendants)))
    patches = [Patch(job, SET, one.change) for one in changes for job in (*(far if one.deep else near), *added)]
    return ActionEffects(
        ids=ids,
        new=tuple(job for job in ids.values() if job not in known),
        redefined=tuple(job for job in ids.values() if job in known),
        retired=gone,
        ended=ended,
        edges=edges,
        patches=(*patches, *_holds_and_cancels(context, action)),
    )


def retire_sets(
    ending: Iterable[ActionSet], sets: Mapping[int, ActionSet], keep: Collection[int] = ()
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (retired jobs, attempts whose sets end) when these sets end. The own sets of retired jobs, in `sets`, end
    too. `keep`: jobs that are added again."""
    retired: set[int] = set()
    ended: dict[int, None] = {}
    pending = list(ending)
    while pending:
        one = pending.pop()
        ended[one.attempt] = None
        for job in one.added:
            if job in keep or job in retired:
                continue
            retired.add(job)
            if job in sets:
                pending.append(sets[job])
    return tuple(sorted(retired)), tuple(sorted(ended))


def check_changes(params: Iterable[Mapping[str, Any]], changes: Sequence[ParameterChange]) -> None:
    """Raise BadAction if a change does not fit the parameters of one of the jobs it is for."""
    for one in params:
        now: Mapping[str, Any] = one
        for change in changes:
            now = apply_change(now, change)


def hold_reason(context: ActionContext) -> str:
    """Return the hold reason of a child, naming the acting job."""
    return f"by an action of {context.name}, attempt {context.attempt}"


def _assign_ids(context: ActionContext, additions: Sequence[AddedJob]) -> dict[str, int]:
    ids: dict[str, int] = {}
    following = context.next_job
    for one in additions:
        if one.name in context.own:
            ids[one.name] = context.own[one.name]
        else:
            ids[one.name], following = following, following + 1
    return ids


def _refuse_cycle(context: ActionContext, ids: Mapping[str, int], gone: Collection[int], edges: Sequence[Edge]) -> None:
    """Raise BadAction for a cycle in the new graph, from which the old set's edges are removed."""
    old = set(context.in_force.edges) if context.in_force else set()
    removed = set(gone)
    every = [edge for edge in context.edges if edge not in old and not removed.intersection(edge)]
    every += edges
    at = {job: position for position, job in enumerate(sorted({job for edge in every for job in edge}))}
    circle = find_cycle(len(at), [(at[parent], at[child]) for parent, child in every])
    if circle is None:
        return
    names = {number: name for name, number in ids.items()} | {context.job: context.name}
    jobs = sorted(at)
    labels = [f"`{names[jobs[one]]}`" if jobs[one] in names else f"job {jobs[one]}" for one in circle]
    raise BadAction(
        f"jobs would need each other in a cycle: {' before '.join([*labels, labels[0]])}",
        hint="what is under `add` lets nothing wait for it; what is under `detour` does",
    )


def _new_edges(context: ActionContext, additions: Sequence[AddedJob], ids: Mapping[str, int]) -> Iterable[Edge]:
    for one in additions:
        job = ids[one.name]
        yield context.job, job
        yield from ((parent, job) for parent in one.needs)
        yield from ((ids[sibling], job) for sibling in one.siblings)
        if one.detour:
            yield from ((job, child) for child in context.children)


def _holds_and_cancels(context: ActionContext, action: Action) -> Iterable[Patch]:
    """Yield the holds and cancellations of jobs that existed before the action."""
    if action.hold_children or action.hold_workflow:
        reason = hold_reason(context)
        near = context.children if action.hold_children else ()
        wanted = dict.fromkeys((*near, *(context.idle if action.hold_workflow else ())))
        yield from (Patch(job, HOLD, reason) for job in wanted if job not in context.held)
    if action.cancel_children or action.stop_workflow:
        ended = context.idle if action.stop_workflow else [job for job in context.children if job in context.idle]
        yield from (Patch(job, CANCEL, True) for job in sorted(ended))
