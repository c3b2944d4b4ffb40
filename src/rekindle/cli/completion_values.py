"""The values that complete an option or argument: words that are known, and names and ids of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rekindle.store.archive import Snapshot
    from rekindle.store.completions import Completions


class Named(NamedTuple):
    """A word that completes, and a remark about it. A word that ends with `=` is not the whole word."""

    word: str
    remark: str = ""


class TypedLine(NamedTuple):
    """The words before the one that is completed, by what they mean: the values of options by their longest spelling,
    and the arguments."""

    options: dict[str, list[str]]
    arguments: list[str]


Found = tuple[str, Sequence[Named]]
"""The part of the typed word that stays, and the words that may follow it."""

WAIT = 0.1
"""Seconds to wait for another process that has locked the store."""

WIDTH = 60
"""Columns of a remark."""


def _known(words: Callable[[], Iterable[str]]) -> Callable[[str, TypedLine], Found]:
    return lambda typed, _: ("", _beginning(typed, map(Named, words())))


def _listed(words: Callable[[], Iterable[str]]) -> Callable[[str, TypedLine], Found]:
    """Complete one of several words, which commas separate."""

    def find(typed: str, _: TypedLine) -> Found:
        before, comma, last = typed.rpartition(",")
        given = before.split(",")
        return before + comma, _beginning(last, (Named(word) for word in words() if word not in given))

    return find


def _states() -> Iterable[str]:
    from rekindle.domain.states import State

    return (state.label for state in State)


def _causes() -> Iterable[str]:
    from rekindle.domain.states import Cause

    return (cause.value for cause in Cause)


def _statuses() -> Iterable[str]:
    from rekindle.domain.batches.supervision import RERUNNABLE

    return RERUNNABLE


def _groups() -> Iterable[str]:
    from rekindle.domain.batches.supervision import GROUPS

    return (*GROUPS, "matrix.")


def _executors() -> Iterable[str]:
    from rekindle.engine.running.executor_choice import executor_names

    return executor_names()


def _verdicts() -> Iterable[str]:
    return ("warning", "blocker")


def _scopes() -> Iterable[str]:
    from rekindle.engine.api_tokens import SCOPES

    return SCOPES


def _filters(typed: str, line: TypedLine) -> Found:
    """Complete the field of a filter, or the value of a field that is known."""
    import re

    from rekindle.domain.selection import FIELD_PREFIXES, FIELDS

    match = re.match(r"([^=!<>~\s]+)(!=|<=|>=|[=<>])", typed)
    if match is None:
        fields = [Named(f"{name}=", field.about) for name, field in FIELDS.items()]
        return "", _beginning(typed, (*fields, *(Named(name, about) for name, about in FIELD_PREFIXES.items())))
    field, value = match[1], typed[match.end() :]
    kind = FIELDS[field].kind if field in FIELDS else None
    if kind in ("state", "bool"):
        found = _known(_states if kind == "state" else lambda: ("true", "false"))
    elif field in _OF_FIELDS:
        found = VALUES[_OF_FIELDS[field]]
    else:
        return "", ()
    before, words = found(value, line)
    return match[0] + before, words


_OF_FIELDS = {
    "cause": "causes",
    "verdict": "verdicts",
    "name": "names",
    "template": "templates",
    "workflow": "workflows",
    "signature": "signatures",
    "id": "ids",
    "attempt.id": "attempts",
}
"""The kinds of the values of fields."""


# Names and ids of the store.

Words = Iterable[tuple[str, str]]
Read = Callable[["Completions", str, int | None, "TypedLine"], Words]


def _stored(read: Read, *, listed: bool = False) -> Callable[[str, TypedLine], Found]:
    """Complete names and ids of the store, of the workflow that the line names if it names one. `listed`: one of
    several, which commas separate."""

    def find(typed: str, line: TypedLine) -> Found:
        from rekindle.engine.session import store_url
        from rekindle.store.completions import MOST, Completions
        from rekindle.store.opening import open_unchanged

        before, comma, last = typed.rpartition(",") if listed else ("", "", typed)
        with open_unchanged(store_url(line.options.get("--store", [None])[-1]), WAIT).read() as archive:
            rows = read(Completions(archive.database), last, _workflow(archive, line), line)
            found = _beginning(last, (Named(word, _shortened(text)) for word, text in rows))
        return before + comma, found[:MOST]

    return find


def _workflow(archive: Snapshot, line: TypedLine) -> int | None:
    key = next(iter(line.options.get("--workflow", [])), None)
    found = None if key is None else archive.workflows.find(int(key) if key.isdigit() else key)
    return None if found is None else found.id


def _jobs(names: Completions, typed: str, workflow: int | None, line: TypedLine) -> Words:
    """Return templates and jobs. If too many jobs begin with `typed`, leave out those of a matrix until a bracket is
    typed."""
    from rekindle.store.completions import MOST

    jobs = dict(names.jobs(typed, workflow))
    if len(jobs) > MOST and "[" not in typed:
        jobs = {name: state for name, state in jobs.items() if "[" not in name}
    return (dict(_templates(names, typed, workflow, line)) | jobs).items()


def _templates(names: Completions, typed: str, workflow: int | None, _: TypedLine) -> Words:
    """Return the templates of a matrix; another has the name of its job."""
    found = names.templates(typed.partition("[")[0], workflow)
    return [(name, "all jobs of this template") for name in dict.fromkeys(one for one, _ in found)]


def _steps(names: Completions, _: str, workflow: int | None, line: TypedLine) -> Words:
    found = names.templates("", workflow)
    chosen = {job.partition("[")[0] for job in line.arguments} & {name for name, _ in found}
    steps = {step: name for name, steps in reversed(found) for step in steps if name in chosen or not chosen}
    return [(step, f"a step of {name}") for step, name in steps.items()]


def _starts(names: Completions, typed: str, workflow: int | None, line: TypedLine) -> Words:
    words = [("beginning", "run each job from its first step"), ("failed-step", "keep the steps before the failed one")]
    return [*words, *_steps(names, typed, workflow, line)]


def _revisions(names: Completions, _: str, __: int | None, line: TypedLine) -> Words:
    return names.revisions(line.arguments[0])


VALUES: Mapping[str, Callable[[str, TypedLine], Found]] = {
    "states": _listed(_states),
    "causes": _listed(_causes),
    "statuses": _listed(_statuses),
    "verdicts": _listed(_verdicts),
    "scopes": _listed(_scopes),
    "groups": _known(_groups),
    "executors": _known(_executors),
    "filters": _filters,
    "workflows": _stored(lambda names, typed, _, __: names.workflows(typed)),
    "jobs": _stored(_jobs),
    "names": _stored(lambda names, typed, workflow, _: names.jobs(typed, workflow)),
    "templates": _stored(_templates),
    "steps": _stored(_steps),
    "starts": _stored(_starts),
    "parameters": _stored(lambda names, _, workflow, __: ((f"{one}=", "") for one in names.parameters(workflow))),
    "revisions": _stored(_revisions),
    "ids": _stored(lambda names, _, __, ___: names.job_ids(), listed=True),
    "signatures": _stored(lambda names, _, __, ___: names.signatures()),
    "reruns": _stored(lambda names, _, __, ___: names.reruns()),
    "attempts": _stored(lambda names, _, __, ___: names.attempts()),
    "tokens": _stored(lambda names, _, __, ___: names.tokens()),
}
"""Functions that complete the values of each kind. The kinds of options and arguments: scripts/completion_table.py."""


def _beginning(typed: str, words: Iterable[Named]) -> list[Named]:
    return [one for one in words if one.word.startswith(typed) and one.word.isprintable()]


def _shortened(text: str) -> str:
    """Return a remark in one short line."""
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
