"""Compile selections and documents to SQL from named fragments. Every user value is a bound parameter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from rekindle.domain.errors import BadSelection
from rekindle.domain.selection import (
    FIELD_PREFIXES,
    FIELDS,
    AllOf,
    AnyOf,
    AtStoppedStep,
    Compare,
    Const,
    DocumentExpression,
    DocumentMatches,
    EachAttempt,
    ErrorPattern,
    FieldValue,
    FirstMatch,
    JobFilter,
    JoinedText,
    ListOf,
    MergedObjects,
    Not,
    ObjectOf,
    Op,
    Predicate,
    StoredDocument,
    WithChanges,
)
from rekindle.domain.states import State
from rekindle.journal.encoding import to_json
from rekindle.store.queries import as_set, load
from rekindle.store.stored_paths import StoredPaths, stored_text

SQL = load("predicates")
DOCUMENTS = load("documents")

MATRIX = "matrix"

_COMPARISONS = {
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

_INTEGER_LIMIT = 2**63


class Compiled(msgspec.Struct, frozen=True):
    """A query, or a condition, and its parameters."""

    text: str
    values: Mapping[str, Any]


def compile_selection(where: Predicate, workflow: int | None, paths: StoredPaths, retired: bool) -> Compiled:
    """Return the query for the ids of the jobs that match `where`.

    Retired jobs are left out unless `retired`, or unless `where` compares the field. Without a `workflow`, the jobs of
    archived workflows are left out likewise. Raise BadSelection for an unknown field, a bad pattern or a value that
    cannot be compared.
    """
    compiler = _Compiler(paths)
    text = SQL["select_jobs"].text.replace("{where}", compiler.whole(where, workflow, retired))
    return Compiled(text, compiler.values)


def compile_chosen(
    chosen: JobFilter, query: Literal["select_jobs", "list_jobs", "count_jobs"], paths: StoredPaths
) -> Compiled:
    """Return one of these queries for chosen jobs. Raise BadSelection as `compile_selection` does."""
    compiler = _Compiler(paths)
    if chosen.ids is None:
        where = compiler.whole(chosen.where, chosen.workflow, retired=False)
    else:
        where, compiler.values["jobs"] = SQL["among"].text, as_set(chosen.ids)
    return Compiled(SQL[query].text.replace("{where}", where), compiler.values)


def compile_documents(
    document: DocumentExpression, where: Predicate, jobs: Collection[int] | None, paths: StoredPaths
) -> Compiled:
    """Return the query for the jobs that match `where`, each with a document; with `jobs`, only those among them."""
    compiler = _Compiler(paths)
    parts = [compiler.whole(where, None, False)]
    if jobs is not None:
        parts.append(DOCUMENTS["among"].text)
        compiler.values["jobs"] = as_set(jobs)
    text = DOCUMENTS["documents_of_jobs"].text.replace("{where}", " AND ".join(parts))
    return Compiled(text.replace("{document}", compiler.document("made", document)), compiler.values)


def compile_condition(where: Predicate, paths: StoredPaths) -> Compiled:
    """Return only the condition, for a query with the same joins as `select_jobs`. Raise BadSelection likewise."""
    compiler = _Compiler(paths)
    return Compiled(compiler.predicate(where), compiler.values)


def json_path(keys: tuple[str, ...]) -> str:
    """Return a path of keys in SQLite's syntax. Raise BadSelection for a quotation mark, which it cannot express."""
    if any('"' in key for key in keys):
        raise BadSelection(f"{'.'.join(keys)} has a quotation mark, and there is no way to ask for such a name")
    return "$" + "".join(f'."{key}"' for key in keys)


class _Compiler(msgspec.Struct):
    """Builds one query and collects its parameters."""

    paths: StoredPaths
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    compares_retired: bool = False
    compares_archived: bool = False

    def whole(self, where: Predicate, workflow: int | None, retired: bool) -> str:
        """Return the condition with what is left out by default."""
        parts = [self.predicate(where)]
        if workflow is not None:
            parts.append(SQL["in_workflow"].text)
            self.values["workflow"] = workflow
        elif not self.compares_archived:
            parts.append(SQL["in_any_workflow"].text)
        if not (retired or self.compares_retired):
            parts.append(SQL["not_retired"].text)
        return " AND ".join(parts)

    def predicate(self, where: Predicate) -> str:
        """Return the text of a condition, in brackets where needed."""
        match where:
            case AllOf(parts):
                return self._joined(parts, " AND ", "true")
            case AnyOf(parts):
                return self._joined(parts, " OR ", "false")
            case Not(part):
                return SQL["not"].text.replace("{part}", self.predicate(part))
            case ErrorPattern(pattern, archived):
                from rekindle.domain.texts.patterns import compile_pattern

                compile_pattern(pattern)
                fragment = SQL["error_any" if archived else "error_live"].text
                return fragment.replace("{value}", self.bound(pattern))
            case DocumentMatches(document, query):
                from rekindle.domain.documents.conditions import compile_query

                compile_query(query)
                return self.document("asked", document).replace("{query}", self.bound(query))
        return self._compare(where)

    def document(self, fragment: str, shape: DocumentExpression) -> str:
        """Return the fragment that calls a document function on the values that a document is made of."""
        reading = _DocumentReads(self)
        layout = reading.layout(shape)
        text = DOCUMENTS[fragment].text.replace("{layout}", self.bound(to_json(layout).decode()))
        return text.replace("{values}", "".join(f", {expression}" for expression in reading.expressions))

    def field(self, name: str, value: Any = None) -> str:
        """Return the fragment of a field. `value` is what the field is compared with: fields of matrices and documents
        have a fragment for each kind of value."""
        if name in FIELDS:
            if name == "workdir":
                self.values |= {
                    "store_folder": stored_text(self.paths.folder),
                    "store_parent": stored_text(self.paths.parent),
                }
            return SQL["field_" + name.replace(".", "_")].text
        family, _, key = name.partition(".")
        if f"{family}." not in FIELD_PREFIXES or not key:
            raise BadSelection(f"unknown field {name!r}", hint="fields are " + ", ".join([*FIELDS, *FIELD_PREFIXES]))
        if value is None or isinstance(value, list | tuple | set | frozenset):
            kind = "any"
        else:
            kind = "text" if isinstance(value, str) else "number"
        if family != MATRIX:
            return self._deep(family, key, kind)
        own = SQL[f"matrix_{kind}"].text.replace("{key}", self.bound(key))
        if "." not in key or '"' in key:
            return own
        return SQL["either"].text.replace("{own}", own).replace("{deep}", self._deep(family, key, kind))

    def bound(self, value: Any) -> str:
        """Bind a value; return its parameter."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def _joined(self, parts: Sequence[Predicate], word: str, empty: str) -> str:
        if not parts:
            return SQL[empty].text
        return _balanced([self.predicate(part) for part in parts], word)

    def _compare(self, where: Compare) -> str:
        self.compares_retired |= where.field == "retired"
        self.compares_archived |= where.field == "workflow.archived"
        if where.field == "state" and where.op in (Op.EQ, Op.IN):
            wanted = [where.value] if where.op is Op.EQ else where.value
            return _balanced([_state(value) for value in wanted] or [SQL["false"].text], " OR ")
        if where.op is Op.EXISTS:
            fragment = SQL["present" if where.value else "absent"].text
            return fragment.replace("{field}", self.field(where.field))
        value = self._value(where)
        fragment = SQL[_COMPARISONS[where.op]].text
        text = fragment.replace("{field}", self.field(where.field, where.value))
        return text.replace("{value}", self.bound(value))

    def _deep(self, family: str, key: str, kind: str) -> str:
        path = self.bound(json_path(tuple(key.split("."))))
        return SQL[f"deep_{kind}"].text.replace("{whole}", DOCUMENTS[family].text).replace("{path}", path)

    def _value(self, where: Compare) -> Any:
        value = where.value
        if where.op is Op.IN:
            return to_json([_plain(where, one) for one in value]).decode()
        if where.op in (Op.REGEX, Op.GLOB) and not isinstance(value, str):
            raise BadSelection(f"{where.field} {where.op.value} takes a text, not {value!r}")
        if where.op is Op.REGEX:
            from rekindle.domain.texts.patterns import compile_pattern

            return compile_pattern(value).text
        if where.op is Op.GLOB:
            return value.replace("[", "[[]")  # SQLite's GLOB knows character sets; rekindle's patterns do not
        return _plain(where, value)


class _DocumentReads:
    """The expressions that a document reads, each once, and the layout that says how their values are put together
    (see rekindle.store.document_functions)."""

    def __init__(self, compiler: _Compiler) -> None:
        self._compiler = compiler
        self.expressions: dict[str, int] = {}  # to their positions among the values

    def layout(self, shape: DocumentExpression) -> list[Any]:
        """Return the layout of a document as JSON lists; collect what it reads."""
        field: Callable[[str], str] = self._compiler.field
        match shape:
            case Const(value):
                return ["const", value]
            case FieldValue(name):
                return ["value", self._read(field(name)), FIELDS[name].kind]
            case JoinedText(names):
                return ["lines", [self._read(field(name)) for name in names]]
            case StoredDocument(name, path):
                return ["steps" if name == "steps" else "stored", self._read(DOCUMENTS[name].text), path]
            case MergedObjects(parts):
                return ["joined", [self.layout(part) for part in parts]]
            case AtStoppedStep(of):
                return ["stopped", self._read(DOCUMENTS["stopped_at"].text), self.layout(of)]
            case WithChanges(base, by, key, apart):
                return ["put_over", self.layout(base), self.layout(by), key, self.layout(apart)]
            case ObjectOf(entries):
                return ["object", [(key, self.layout(part)) for key, part in entries]]
            case ListOf(items):
                return ["items", [self.layout(part) for part in items]]
            case EachAttempt(each, archived):
                inner = _DocumentReads(self._compiler)
                layout = inner.layout(each)
                text = DOCUMENTS["archived" if archived else "live"].text
                return ["attempts", self._read(text.replace("{values}", ", ".join(inner.expressions) or "0")), layout]
            case FirstMatch(cases):
                reads = [(self._read(self._compiler.predicate(where)), part) for where, part in cases]
                return ["choice", [(at, self.layout(part)) for at, part in reads]]

    def _read(self, expression: str) -> int:
        return self.expressions.setdefault(expression, len(self.expressions))


def _balanced(parts: Sequence[str], word: str) -> str:
    """Join in halves: a database limits the depth of a condition, not its length."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_balanced(parts[:middle], word)}{word}{_balanced(parts[middle:], word)})"


def _state(value: Any) -> str:
    return SQL[f"state_{State(value).label}"].text


def _plain(where: Compare, value: Any) -> Any:
    """Return a value as a database takes it. Raise BadSelection for a number that is too large."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise BadSelection(f"{where.field} {where.op.value} {value}: the number is too large")
    return int(value)
