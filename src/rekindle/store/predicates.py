"""Selections to SQL: named fragments, composed; every value of the user is a bound parameter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rekindle.domain.documents.shapes import Shape
from rekindle.domain.errors import BadSelection
from rekindle.domain.fields import FIELDS, PREFIXES
from rekindle.domain.selection import AnyOf, Chosen, Compare, ErrorMatches, Every, Matches, Not, Op, Predicate
from rekindle.domain.states import State
from rekindle.domain.texts.patterns import pattern_of
from rekindle.journal.encoding import to_json
from rekindle.store.paths import StoredPaths, stored_text
from rekindle.store.queries import as_set, load
from rekindle.store.shapes import Around, asked, json_path
from rekindle.store.shapes import document as made

SQL = load("predicates")
DOCUMENTS = load("documents")

MATRIX = "matrix"

_COMPARING = {
    Op.EQ: "equal",
    Op.NE: "not_equal",
    Op.LT: "less",
    Op.LE: "at_most",
    Op.GT: "greater",
    Op.GE: "at_least",
    Op.IN: "one_of",
    Op.REGEX: "search",
    Op.GLOB: "matches",
}

_LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Compiled:
    """A query for jobs, and its parameters."""

    text: str
    values: Mapping[str, Any]


def compile_selection(where: Predicate, workflow: int | None, paths: StoredPaths, retired: bool) -> Compiled:
    """The query for the jobs for which `where` holds. Retired jobs are left out unless `retired`, or unless `where`
    speaks of retirement itself; so are archived workflows where none is named. BadSelection names a
    field, pattern or value that cannot be compared."""
    compiler = _Compiler(paths)
    text = SQL["select_jobs"].text.replace("{where}", compiler.whole(where, workflow, retired))
    return Compiled(text, compiler.values)


def compile_chosen(
    chosen: Chosen, query: Literal["select_jobs", "list_jobs", "count_jobs"], paths: StoredPaths
) -> Compiled:
    """One of these queries for chosen jobs. BadSelection as above."""
    compiler = _Compiler(paths)
    if chosen.ids is None:
        where = compiler.whole(chosen.where, chosen.workflow, retired=False)
    else:
        where, compiler.values["jobs"] = SQL["among"].text, as_set(chosen.ids)
    return Compiled(SQL[query].text.replace("{where}", where), compiler.values)


def compile_documents(document: Shape, where: Predicate, jobs: Collection[int] | None, paths: StoredPaths) -> Compiled:
    """The query for the jobs for which `where` holds, each with a document; with `jobs` for those among these."""
    compiler = _Compiler(paths)
    parts = [compiler.whole(where, None, False)]
    if jobs is not None:
        parts.append(DOCUMENTS["among"].text)
        compiler.values["jobs"] = as_set(jobs)
    text = DOCUMENTS["documents_of_jobs"].text.replace("{where}", " AND ".join(parts))
    return Compiled(text.replace("{document}", made(document, compiler.around)), compiler.values)


def compile_condition(where: Predicate, paths: StoredPaths) -> Compiled:
    """The condition alone, for a query that has at hand what `select_jobs` has. BadSelection as above."""
    compiler = _Compiler(paths)
    return Compiled(compiler.predicate(where), compiler.values)


@dataclass(slots=True)
class _Compiler:
    paths: StoredPaths
    values: dict[str, Any] = field(default_factory=dict)
    of_retired: bool = False
    of_archived: bool = False

    @property
    def around(self) -> Around:
        """What documents are made with."""
        return Around(self._bound, self.predicate, lambda name: self._field(name, None))

    def whole(self, where: Predicate, workflow: int | None, retired: bool) -> str:
        """The condition itself, and what is left out unless it speaks of it."""
        parts = [self.predicate(where)]
        if workflow is not None:
            parts.append(SQL["in_workflow"].text)
            self.values["workflow"] = workflow
        elif not self.of_archived:
            parts.append(SQL["in_any_workflow"].text)
        if not (retired or self.of_retired):
            parts.append(SQL["not_retired"].text)
        return " AND ".join(parts)

    def predicate(self, where: Predicate) -> str:
        """The text of a condition, in brackets where it needs them."""
        match where:
            case Every(parts):
                return self._joined(parts, " AND ", "true")
            case AnyOf(parts):
                return self._joined(parts, " OR ", "false")
            case Not(part):
                return SQL["not"].text.replace("{part}", self.predicate(part))
            case ErrorMatches(pattern, archived):
                pattern_of(pattern)
                fragment = SQL["error_any" if archived else "error_live"].text
                return fragment.replace("{value}", self._bound(pattern))
            case Matches(document, query):
                return asked(document, query, self.around)
        return self._compare(where)

    def _joined(self, parts: Sequence[Predicate], word: str, empty: str) -> str:
        if not parts:
            return SQL[empty].text
        return _balanced([self.predicate(part) for part in parts], word)

    def _compare(self, where: Compare) -> str:
        self.of_retired |= where.field == "retired"
        self.of_archived |= where.field == "workflow.archived"
        if where.field == "state" and where.op in (Op.EQ, Op.IN):
            wanted = [where.value] if where.op is Op.EQ else where.value
            return _balanced([_state(value) for value in wanted] or [SQL["false"].text], " OR ")
        if where.op is Op.EXISTS:
            fragment = SQL["present" if where.value else "absent"].text
            return fragment.replace("{field}", self._field(where.field, None))
        value = self._value(where)
        fragment = SQL[_COMPARING[where.op]].text
        text = fragment.replace("{field}", self._field(where.field, where.value))
        return text.replace("{value}", self._bound(value))

    def _field(self, name: str, value: Any) -> str:
        """The fragment of a field; of an open family, one of the kind of what it is compared with."""
        if name in FIELDS:
            if name == "workdir":
                self.values |= {
                    "store_folder": stored_text(self.paths.folder),
                    "store_parent": stored_text(self.paths.parent),
                }
            return SQL["field_" + name.replace(".", "_")].text
        family, _, key = name.partition(".")
        if f"{family}." not in PREFIXES or not key:
            raise BadSelection(f"unknown field {name!r}", hint="fields are " + ", ".join([*FIELDS, *PREFIXES]))
        if value is None or isinstance(value, list | tuple | set | frozenset):
            kind = "any"
        else:
            kind = "text" if isinstance(value, str) else "number"
        if family != MATRIX:
            return self._deep(family, key, kind)
        own = SQL[f"matrix_{kind}"].text.replace("{key}", self._bound(key))
        if "." not in key or '"' in key:
            return own
        return SQL["either"].text.replace("{own}", own).replace("{deep}", self._deep(family, key, kind))

    def _deep(self, family: str, key: str, kind: str) -> str:
        path = self._bound(json_path(tuple(key.split("."))))
        return SQL[f"deep_{kind}"].text.replace("{whole}", DOCUMENTS[family].text).replace("{path}", path)

    def _value(self, where: Compare) -> Any:
        value = where.value
        if where.op is Op.IN:
            return to_json([_plain(where, one) for one in value]).decode()
        if where.op in (Op.REGEX, Op.GLOB) and not isinstance(value, str):
            raise BadSelection(f"{where.field} {where.op.value} takes a text, not {value!r}")
        if where.op is Op.REGEX:
            return pattern_of(value).text
        if where.op is Op.GLOB:
            return value.replace("[", "[[]")  # SQLite knows sets of characters; here brackets are themselves
        return _plain(where, value)

    def _bound(self, value: Any) -> str:
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f":{name}"


def _balanced(parts: Sequence[str], word: str) -> str:
    """Joined in halves: a database bounds how deep a condition may be, not how long."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_balanced(parts[:middle], word)}{word}{_balanced(parts[middle:], word)})"


def _state(value: Any) -> str:
    return SQL[f"state_{State(value).label}"].text


def _plain(where: Compare, value: Any) -> Any:
    """A value as a database takes it."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if not -_LARGEST <= value < _LARGEST:
        raise BadSelection(f"{where.field} {where.op.value} {value}: the number is too large")
    return int(value)
