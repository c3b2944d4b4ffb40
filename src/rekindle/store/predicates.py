"""Compile selections: to SQL from named fragments, which narrows, and to a function that decides on each row what SQL
cannot (see rekindle.domain.selection.decided_by_sql). Every user value is a bound parameter."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from rekindle.domain.errors import BadSelection, SlowPattern
from rekindle.domain.selection import (
    FIELD_PREFIXES,
    FIELDS,
    AllOf,
    AnyOf,
    Compare,
    DocumentMatches,
    ErrorPattern,
    HasParameter,
    JobFilter,
    JobPage,
    Not,
    Op,
    Predicate,
    decided_by_sql,
)
from rekindle.domain.states import State
from rekindle.journal.encoding import from_json
from rekindle.store.candidates import Candidates, Decide, JobRecord
from rekindle.store.database import NO_LIMIT
from rekindle.store.queries import INTEGER_LIMIT, as_set, load
from rekindle.store.stored_paths import StoredPaths, stored_text

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("predicates")

SLOW_SECONDS = 0.1
"""A decision on one job that takes longer counts as slow."""

SCAN_SECONDS = 10.0
"""Time limit for the slow decisions of one query, summed."""

_COMPARISONS = {
    Op.EQ: "equal",
    Op.NE: "not_equal",
    Op.LT: "less",
    Op.LE: "at_most",
    Op.GT: "greater",
    Op.GE: "at_least",
    Op.IN: "one_of",
    Op.GLOB: "matches",
}


def compile_selection(where: Predicate, workflow: int | None, database: Database, retired: bool) -> Candidates:
    """Return the query for the jobs that match `where`.

    Retired jobs are left out unless `retired`, or unless `where` compares the field. Without a `workflow`, the jobs of
    archived workflows are left out likewise. Raise BadSelection for an unknown field, a bad pattern or a value that
    cannot be compared.
    """
    compiler = _Compiler(database.paths, large=_is_large(database, workflow))
    return compiler.candidates(SQL["select_jobs"].text, where, compiler.scope(where, workflow, retired))


def compile_records(where: Predicate, jobs: Collection[int], paths: StoredPaths) -> Candidates:
    """Return the query for the records of these jobs that match `where`."""
    compiler = _Compiler(paths, {"jobs": as_set(jobs)})
    scope = [SQL["among"].text, *compiler.scope(where, None, retired=False)]
    return compiler.candidates(SQL["select_jobs"].text, where, scope, records=True)


def compile_chosen(chosen: JobFilter, query: Literal["select_jobs", "count_jobs"], database: Database) -> Candidates:
    """Return one of these queries for chosen jobs. Raise BadSelection as `compile_selection` does."""
    return _compile_chosen(chosen, AllOf(), SQL[query].text, database)


def compile_list(chosen: JobFilter, columns: str, limit: int | None, offset: int, database: Database) -> Candidates:
    """Return the query for a page of chosen jobs by id, with these columns. Raise BadSelection likewise."""
    if chosen.ids is not None:
        end = None if limit is None else offset + limit
        chosen, offset = msgspec.structs.replace(chosen, ids=sorted(chosen.ids)[offset:end]), 0
    found = _compile_chosen(chosen, AllOf(), SQL["list_jobs"].text.replace("{values}", columns), database)
    page = {"limit": NO_LIMIT if limit is None else limit, "offset": offset}
    return msgspec.structs.replace(found, values={**found.values, **page})


def compile_page(chosen: JobFilter, page: JobPage, database: Database) -> Candidates:
    """Return the query for a page of chosen jobs. Raise BadSelection likewise."""
    if page.field == "id":  # no job is without one: the primary key is in order
        name = "ids_downwards" if page.descending != page.backwards else "ids_upwards"
    else:
        name = _ORDERS[page.descending, page.backwards]
    order = SQL[name].text
    field = SQL["field_" + page.field].text
    text = SQL["page_jobs"].text.replace("{order}", order).replace("{field}", field)
    found = _compile_chosen(chosen, page.beyond, text, database)
    return msgspec.structs.replace(found, values={**found.values, "limit": page.limit})


_ORDERS = {
    (False, False): "upwards",
    (False, True): "upwards_backwards",
    (True, False): "downwards",
    (True, True): "downwards_backwards",
}
"""The block that orders a page, by (descending, backwards)."""


def _is_large(database: Database, workflow: int | None) -> bool:
    """Return whether a workflow is large: reading all jobs finds its jobs sooner than the index of names."""
    return workflow is not None and bool(database.value(SQL["is_large"], workflow=workflow))


def workflow_scope(database: Database, workflow: int) -> str:
    """Return the condition on the jobs of a workflow by which they are found soonest, for `:workflow`."""
    return SQL["in_large_workflow" if _is_large(database, workflow) else "in_workflow"].text


def _compile_chosen(chosen: JobFilter, more: Predicate, text: str, database: Database) -> Candidates:
    """Return a query for those of the chosen jobs for which `more` holds."""
    compiler = _Compiler(database.paths, large=_is_large(database, chosen.workflow))
    if not decided_by_sql(chosen.where):
        raise ValueError(f"SQL alone cannot decide {chosen.where}")
    if chosen.ids is None:
        scope = compiler.scope(chosen.where, chosen.workflow, retired=False)
        return compiler.candidates(text, AllOf((chosen.where, more)), scope)
    compiler.values = {"jobs": as_set(chosen.ids)}
    return compiler.candidates(text, more, [SQL["among"].text])


def compile_condition(text: str, where: Predicate, paths: StoredPaths) -> Candidates:
    """Return a query of the caller's for the jobs that match `where`: `text` has the joins of `select_jobs`, and places
    for columns and a condition. Raise BadSelection likewise."""
    return _Compiler(paths).candidates(text, where, [])


def json_path(keys: tuple[str, ...]) -> str:
    """Return a path of keys as json_extract takes it. Raise BadSelection for a quotation mark, which no path has."""
    if any('"' in key for key in keys):
        raise BadSelection(f"{'.'.join(keys)} has a quotation mark, and there is no way to ask for such a name")
    return "$" + "".join(f'."{key}"' for key in keys)


class _Compiler(msgspec.Struct):
    """Builds one query: collects its parameters, and the expressions whose values decisions need."""

    paths: StoredPaths
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    large: bool = False  # the workflow of the scope has many of the store's jobs
    columns: dict[str, int] = msgspec.field(default_factory=dict)  # to their positions in a row
    records: bool = False  # decisions need a whole JobRecord
    slow: float = 0.0

    def candidates(self, text: str, where: Predicate, scope: Sequence[str], *, records: bool = False) -> Candidates:
        """Return a query for the jobs in a scope that match, in the text with `{columns}` and `{where}`."""
        condition = " AND ".join([self.condition(where), *scope])
        decide = None if decided_by_sql(where) else self.decide(where)
        columns = "".join(f", {one}" for one in self.columns)
        if records or self.records:
            columns += SQL["record_columns"].text
        used = _used_joins(condition + columns) if "{joins}" in text else []
        joins = "".join(f" {SQL[name].text}" for name in used)
        text = text.replace("{columns}", columns).replace("{joins}", joins).replace("{where}", condition)
        return Candidates(text, self.values, decide)

    def scope(self, where: Predicate, workflow: int | None, retired: bool) -> list[str]:
        """Return the conditions for what is left out by default."""
        parts = []
        if workflow is not None:
            parts.append(SQL["in_large_workflow" if self.large else "in_workflow"].text)
            self.values["workflow"] = workflow
        elif not _compares("workflow.archived", where):
            parts.append(SQL["in_any_workflow"].text)
        if not (retired or _compares("retired", where)):
            parts.append(SQL["not_retired"].text)
        states = _only_states(where)
        parts += [SQL[name].text for name, rare in _RARE_STATES.items() if states and states <= rare]
        return parts

    def condition(self, where: Predicate, maybe: bool = True) -> str:
        """Return a condition, in brackets where needed, for all jobs that may match; without `maybe`, for those that
        match whatever Python decides."""
        match where:
            case AllOf(parts) | AnyOf(parts):
                both = isinstance(where, AllOf)
                texts = [self.condition(part, maybe) for part in parts]
                return _balanced(texts or [SQL["true" if both else "false"].text], " AND " if both else " OR ")
            case Not(part):
                return SQL["not"].text.replace("{part}", self.condition(part, not maybe))
            case HasParameter(path):
                return SQL["has_parameter"].text.replace("{path}", self.bound(json_path(path)))
            case ErrorPattern(_, archived) if maybe:
                return SQL["error_any" if archived else "error_live"].text
            case Compare() if decided_by_sql(where):
                return self._comparison(where)
            case Compare(field, _, _) if maybe and field in FIELDS:
                return SQL["present"].text.replace("{field}", self._field(field))
        return SQL["true" if maybe else "false"].text

    def decide(self, where: Predicate) -> Decide:
        """Return the function that decides on the jobs that `condition` finds."""
        if isinstance(where, AllOf):  # the other parts hold for every job that is found
            return _all([self.holds(part) for part in where.parts if not decided_by_sql(part)])
        return self.holds(where)

    def holds(self, where: Predicate) -> Decide:
        """Return the function that decides on any job. SQL decides on what it can, as a column."""
        if decided_by_sql(where):
            at = self._column(self.condition(where))
            return lambda job: job.row[at]
        match where:
            case AllOf(parts) | AnyOf(parts):
                known = tuple(filter(decided_by_sql, parts))
                checks = [self.holds(type(where)(known))] if known else []
                checks += [self.holds(part) for part in parts if not decided_by_sql(part)]
                return _all(checks) if isinstance(where, AllOf) else lambda job: any(check(job) for check in checks)
            case Not(part):
                check = self.holds(part)
                return lambda job: not check(job)
            case ErrorPattern(pattern, archived):
                return self._search_errors(pattern, archived)
            case DocumentMatches(document, query):
                from rekindle.domain.documents.conditions import compile_query

                self.records, condition = True, compile_query(query)
                return self._timed(query, lambda job: condition(document(job)))
        assert isinstance(where, Compare)
        return self._compared(where)

    def bound(self, value: Any) -> str:
        """Bind a value; return its parameter."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def _column(self, expression: str) -> int:
        return self.columns.setdefault(expression, 1 + len(self.columns))

    def _field(self, name: str) -> str:
        if name not in FIELDS:
            raise _unknown_field(name)
        if name == "workdir":
            self.values |= {
                "store_folder": stored_text(self.paths.folder),
                "store_parent": stored_text(self.paths.parent),
            }
        return SQL["field_" + name.replace(".", "_")].text

    def _comparison(self, where: Compare) -> str:
        if where.field == "state" and where.op in (Op.EQ, Op.IN):
            wanted = [where.value] if where.op is Op.EQ else where.value
            return _balanced([_state(value) for value in wanted] or [SQL["false"].text], " OR ")
        field, value = self._field(where.field), _checked_value(where)
        if where.op is Op.EXISTS:
            return SQL["present" if value else "absent"].text.replace("{field}", field)
        if where.op is Op.IN:
            bound = "@" + self.bound(as_set(value)).removeprefix(":")
        elif where.op is Op.GLOB:
            bound = self.bound(value.replace("[", "[[]"))  # glob() knows character sets; rekindle's patterns do not
        else:
            bound = self.bound(value)
        return SQL[_COMPARISONS[where.op]].text.replace("{field}", field).replace("{value}", bound)

    def _compared(self, where: Compare) -> Decide:
        """Return the function that compares a value within a JSON column, or searches any."""
        value, read = _checked_value(where), self._reader(where.field)
        if where.op is Op.REGEX:
            from rekindle.domain.texts.patterns import compile_pattern

            found_in = compile_pattern(value).found_in
            return self._timed(value, lambda job: isinstance(text := read(job), str) and found_in(text))
        test = _TESTS[where.op](value)
        return lambda job: test(read(job))

    def _reader(self, field: str) -> Decide:
        """Return the function that reads a field, or a value within a JSON column."""
        if field in FIELDS:
            at = self._column(self._field(field))
            return lambda job: job.row[at]
        family, _, key = field.partition(".")
        path = key.split(".")
        if not key or f"{family}." not in FIELD_PREFIXES:
            raise _unknown_field(field)
        if family == "params":
            workflow, revision = self._column("job.workflow"), self._column("workflow.revision")
            return lambda job: _within(job.effective_params(job.row[workflow], job.row[revision]), path)
        if family == "labels":
            return self._label_reader(key)
        at = self._column("job.binding" if family == "matrix" else "attempt.result")

        def read(job: JobRecord) -> Any:
            whole = from_json(job.row[at] or "null")
            own = whole.get(key) if family == "matrix" else None  # the name may have dots
            return _within(whole, path) if own is None else own

        return read

    def _label_reader(self, name: str) -> Decide:
        at, known = self._column("template.body"), dict[str, Any]()  # labels by the text of a template

        def read(job: JobRecord) -> Any:
            body = job.row[at]
            if body not in known:
                known[body] = from_json(body or "{}").get("labels", {})
            return known[body].get(name)

        return read

    def _search_errors(self, pattern: str, archived: bool) -> Decide:
        from rekindle.domain.texts.patterns import compile_pattern

        found_in = compile_pattern(pattern).found_in
        if archived:
            return self._timed(
                pattern, lambda job: any(text and found_in(text) for texts in job.errors for text in texts)
            )
        columns = [self._column(f"attempt.error_{name}") for name in ("message", "type", "traceback", "stderr")]
        return self._timed(pattern, lambda job: any(job.row[at] and found_in(job.row[at]) for at in columns))

    def _timed(self, pattern: str, decide: Decide) -> Decide:
        """Return the function with a time limit for all jobs together. Each search has a limit of its own."""

        def call(job: JobRecord) -> Any:
            began = time.monotonic()
            found = decide(job)
            took = time.monotonic() - began
            if took > SLOW_SECONDS:
                self.slow += took
                if self.slow > SCAN_SECONDS:
                    raise SlowPattern(pattern, SCAN_SECONDS, "searching all texts")
            return found

        return call


_RARE_STATES = {
    "among_ended_badly": {State.FAILED, State.CANCELED},
    "among_active": {State.QUEUED, State.RUNNING},
}
"""States of few jobs, by the condition that finds these by an index."""


def _only_states(where: Predicate) -> set[State]:
    """Return the states that all jobs that match are in; an empty set if the predicate does not say."""
    match where:
        case AllOf(parts):
            return next((states for part in parts if (states := _only_states(part))), set())
        case Compare("state", Op.EQ, value):
            return {State(value)}
        case Compare("state", Op.IN, values):
            return {State(value) for value in values}
    return set()


def _used_joins(text: str) -> list[str]:
    """Return the joins that a condition or columns use. That of signatures includes that of attempts."""
    joins = ["join_template"] if "template." in text else []
    if "signature." in text:
        return [*joins, "join_signature"]
    return [*joins, "join_attempt"] if "attempt." in text else joins


def _compares(field: str, where: Predicate) -> bool:
    """Return whether a predicate compares a field."""
    match where:
        case AllOf(parts) | AnyOf(parts):
            return any(_compares(field, part) for part in parts)
        case Not(part):
            return _compares(field, part)
    return isinstance(where, Compare) and where.field == field


def _all(checks: Sequence[Decide]) -> Decide:
    return checks[0] if len(checks) == 1 else lambda job: all(check(job) for check in checks)


def _unknown_field(name: str) -> BadSelection:
    return BadSelection(f"unknown field {name!r}", hint="fields are " + ", ".join([*FIELDS, *FIELD_PREFIXES]))


def _within(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


Test: TypeAlias = Callable[[Any], bool]


def _comparing(holds: Callable[[Any, Any], bool]) -> Callable[[Any], Test]:
    """Return the comparison with a value: texts are compared with texts, numbers and booleans with each other."""

    def with_value(wanted: Any) -> Test:
        kind = str if isinstance(wanted, str) else (int, float)
        return lambda value: isinstance(value, kind) and holds(value, wanted)

    return with_value


_equal_to = _comparing(operator.eq)


def _other_than(wanted: Any) -> Test:
    same = _equal_to(wanted)
    return lambda value: not same(value)


def _one_of(wanted: Sequence[Any]) -> Test:
    tests = [_equal_to(one) for one in wanted]
    return lambda value: any(test(value) for test in tests)


def _matching(wanted: str) -> Test:
    from rekindle.domain.texts.patterns import compile_name_glob

    matches = compile_name_glob(wanted).fullmatch
    return lambda value: isinstance(value, str) and matches(value) is not None


_TESTS: Mapping[Op, Callable[[Any], Test]] = {
    Op.EQ: _equal_to,
    Op.NE: _other_than,
    Op.LT: _comparing(operator.lt),
    Op.LE: _comparing(operator.le),
    Op.GT: _comparing(operator.gt),
    Op.GE: _comparing(operator.ge),
    Op.IN: _one_of,
    Op.GLOB: _matching,
    Op.EXISTS: lambda wanted: lambda value: (value is not None) is wanted,
}


def _balanced(parts: Sequence[str], word: str) -> str:
    """Join in halves: a database limits the depth of a condition, not its length."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_balanced(parts[:middle], word)}{word}{_balanced(parts[middle:], word)})"


def _state(value: Any) -> str:
    return SQL[f"state_{State(value).label}"].text


def _checked_value(where: Compare) -> Any:
    """Return the value of a comparison as a database takes it. Raise BadSelection if none can."""
    value = where.value
    if where.op in (Op.REGEX, Op.GLOB) and not isinstance(value, str):
        raise BadSelection(f"{where.field} {where.op.value} takes a text, not {value!r}")
    return [_plain(where, one) for one in value] if where.op is Op.IN else _plain(where, value)


def _plain(where: Compare, value: Any) -> Any:
    """Return a value as a database takes it. Raise BadSelection for a number that is too large."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if not -INTEGER_LIMIT <= value < INTEGER_LIMIT:
        raise BadSelection(f"{where.field} {where.op.value} {value}: the number is too large")
    return int(value)
