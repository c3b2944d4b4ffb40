"""Selections: SQL and Python together find the same jobs as a second implementation over all jobs in Python."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_driving import (
    apply,
    claim,
    claim_in,
    completed_ending,
    definition,
    end_in,
    failure_ending,
    plan,
    template,
)

from rekindle.domain.actions import effective_params
from rekindle.domain.documents.conditions import compile_query
from rekindle.domain.errors import BadSelection
from rekindle.domain.models import Attempt, Failure, Job, StateChange
from rekindle.domain.selection import (
    FIELDS,
    AllOf,
    AnyOf,
    Compare,
    DocumentMatches,
    ErrorPattern,
    HasParameter,
    JobFilter,
    Not,
    Op,
    Predicate,
)
from rekindle.domain.states import State
from rekindle.domain.verdicts import Verdict, VerdictLevel
from rekindle.engine.dynamic_actions import parameter_changes
from rekindle.store.archive import Store
from rekindle.store.candidates import JobRecord
from rekindle.store.opening import open_store
from rekindle.store.queries import load

MATRIX = [1, 2.5, "1", "x", True, "ab[c]", None, [1], {"k": 1}]
ALPHA = 'al"pha.x'
RESULTS = [None, '{"loss": 2, "of": {"k": "x"}}', '{"loss": "x"}', '"loss"', '{"loss": true, "of": [1]}']
PARAMS = {"x": 1, "deep": {"k": "bad", "n": 2.5}, "off": False}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[tuple[Store, int]]:
    """A store with jobs in all states, all kinds of attempts, and matrix values of all types."""
    store = open_store(str(tmp_path_factory.mktemp("predicates") / "s"), create=True)
    names = [f"job[{n}]" for n in range(18)] + ["job0", "Job", "a*b", "line\nbreak"]
    bindings = {name: {"k": MATRIX[at % len(MATRIX)], ALPHA: at} for at, name in enumerate(names) if at % 4}
    given_ = definition(
        {name: [names[0]] if at in (5, 6) else [] for at, name in enumerate(names)},
        bindings=bindings,
        template={name: template("other", "one", priority=2) for name in names[::3]},
        params=PARAMS,
    )
    with store.write() as archive:
        workflow = archive.workflows.add(given_, 1.0)
        archive.workflows.add(definition({"alone": []}, name="second"), 1.0)
    attempts = claim(store, workflow, limit=12)
    endings = []
    for at, one in enumerate(attempts[:10]):
        if at % 3 == 0:
            endings.append(completed_ending(one.id, RESULTS[at // 3]))
        else:
            endings.append(failure_ending(one.id, ["no such file", "Out of MEMORY", "100%_sure"][at % 3]))
    kind = type(endings[0])
    endings[1] = kind(
        endings[1].attempt,
        State.FAILED,
        ended=9.25,
        started=2.0,
        cause=endings[1].cause,
        failure=Failure("ValueError", "bad", "Traceback: line 3", ""),
        cpu_seconds=1.5,
        max_rss_bytes=1000,
        host="node1",
        verdict=Verdict(VerdictLevel.WARNING, "too warm"),
    )
    with store.write() as archive:
        end_in(archive, endings)
        archive.jobs.hold([15, 16], "held")
    decided = plan(store, [2, 3])
    assert decided.jobs
    apply(store, decided)
    with store.write() as archive:
        kept = {job: None for job in names if job != "Job"}
        archive.workflows.revise(
            workflow,
            definition(
                {name: [names[0]] if at in (5, 6) else [] for at, name in enumerate(names) if name in kept},
                bindings=bindings,
                template={name: template("other", "one", priority=2) for name in names[::3]},
                params=PARAMS,
            ),
            2.0,
        )
    yield store, workflow
    store.close()


class Oracle:
    """Evaluates predicates in Python, from the definitions in domain.selection."""

    def __init__(self, store: Store, workflow: int, ids: Iterable[int] = range(1, 40)) -> None:
        self.workflow = workflow
        with store.read() as archive:
            self.jobs: list[Job] = archive.jobs.get(list(ids))
            self.live: dict[int, Attempt] = archive.jobs.live([job.id for job in self.jobs])
            self.past = {job.id: archive.attempts.listing([job.id], None) for job in self.jobs}
            taken = {attempt.runner for attempt in self.live.values() if attempt.runner is not None}
            self.runners = {one: archive.runners.find(one) for one in taken}
            owners = {one.id: one for one in archive.workflows.listing()}
            self.owners = {job.id: owners[job.workflow] for job in self.jobs}
            self.changes = parameter_changes(archive, [job.id for job in self.jobs])
            self.templates = {
                number: stored.name for one in owners for number, stored in archive.workflows.templates(one)
            }

    def select(self, where: Predicate, workflow: int | None) -> list[int]:
        retired = mentions(where, "retired")
        return [
            job.id
            for job in self.jobs
            if (workflow is None or job.workflow == workflow)
            and (retired or not job.retired)
            and self.holds(where, job)
        ]

    def holds(self, where: Predicate, job: Job) -> bool:
        match where:
            case AllOf(parts):
                return all(self.holds(part, job) for part in parts)
            case AnyOf(parts):
                return any(self.holds(part, job) for part in parts)
            case Not(part):
                return not self.holds(part, job)
            case ErrorPattern(pattern, archived):
                among = self.past[job.id] if archived else [self.live[job.id]] if job.id in self.live else []
                return any(
                    re.search(pattern, text)
                    for one in among
                    if one.failure
                    for text in (one.failure.type, one.failure.message, one.failure.traceback, one.failure.stderr)
                )
            case DocumentMatches(_, query):
                return compile_query(query)(self.document(job))
            case HasParameter(path):
                return deep(self.own_params(job), ".".join(path)) is not None
        return compared(where, self.value(where.field, job))

    def own_params(self, job: Job) -> dict[str, Any]:
        return PARAMS if self.owners[job.id].id == self.workflow else {}

    def params(self, job: Job) -> dict[str, Any]:
        return effective_params(self.own_params(job), self.changes.get(job.id, ()))

    def document(self, job: Job) -> dict[str, Any]:
        """Return the whole document of a job, built from models: what `document` builds from a record."""
        past = self.past[job.id]
        times = [at for one in past for at in (one.ended or one.started or one.queued,) if at]
        return {
            "id": job.id,
            "state": job.state.label,
            "held": job.held,
            "archived": self.owners[job.id].archived is not None,
            "matrix": json.loads(job.binding),
            "params": self.params(job),
            "attempts": [attempt_document(one) for one in past],
            "live": [one.id for one in past if one.archived_by is None],
            "last": max(times, default=None),
        }

    def value(self, field: str, job: Job) -> Any:
        attempt = self.live.get(job.id)
        if field.startswith("matrix."):
            found = json.loads(job.binding)
            key = field.removeprefix("matrix.")
            return found.get(key) if found.get(key) is not None else deep(found, key)
        if field.startswith("params."):
            return deep(self.params(job), field.removeprefix("params."))
        if field.startswith("result."):
            return deep(json.loads(attempt.result or "null") if attempt else None, field.removeprefix("result."))
        failure = attempt.failure if attempt else None
        match field:
            case "template":
                return self.templates.get(job.template)
            case "held":
                return job.held is not None
            case "held.reason":
                return job.held
            case "workflow.archived":
                return self.owners[job.id].archived is not None
            case "workflow.submitted":
                return self.owners[job.id].submitted
            case "attempt.id" | "attempt.state":
                return getattr(attempt, field.partition(".")[2]) if attempt else None
            case "last_active":
                times = [at for one in self.past[job.id] for at in (one.ended or one.started or one.queued,) if at]
                return max(times, default=None)
            case "workdir":
                return attempt.folder if attempt else None
            case "runner":
                known = self.runners.get(attempt.runner) if attempt and attempt.runner else None
                return (known.label or known.host) if known else None
            case "workflow":
                return self.owners[job.id].name
            case "workflow.id":
                return job.workflow
            case "project":
                return self.owners[job.id].project
            case "seconds":
                known = attempt and attempt.started is not None and attempt.ended is not None
                return attempt.ended - attempt.started if known else None
            case "error.type" | "error.message" | "error.traceback" | "error.stderr":
                return (getattr(failure, field.partition(".")[2]) or None) if failure else None
        if FIELDS[field].of == "job":
            return getattr(job, field)
        if field == "verdict":
            return attempt.verdict.word.value if attempt and attempt.verdict else None
        return getattr(attempt, field) if attempt else None


def document(job: JobRecord) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state.label,
        "held": job.held,
        "archived": job.archived,
        "matrix": job.binding,
        "params": job.params,
        "attempts": [attempt_document(one) for one in job.attempts],
        "live": [one.id for one in job.history if not one.archived],
        "last": max((one.last for one in job.history if one.last is not None), default=None),
    }


def attempt_document(one: Attempt) -> dict[str, Any]:
    return {"id": one.id, "state": one.state.label, "host": one.host, "steps": [step.name for step in one.steps]}


def deep(found: Any, path: str) -> Any:
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def mentions(where: Predicate, field: str) -> bool:
    match where:
        case AllOf(parts) | AnyOf(parts):
            return any(mentions(part, field) for part in parts)
        case Not(part):
            return mentions(part, field)
        case Compare():
            return where.field == field
    return False


def compared(where: Compare, value: Any) -> bool:
    op, wanted = where.op, where.value
    if op is Op.EXISTS:
        return (value is not None) is wanted
    if op is Op.NE:
        return value is None or not alike(value, wanted) or value != wanted
    if value is None or isinstance(value, list | dict):
        return False
    if op is Op.IN:
        return any(alike(value, one) and value == one for one in wanted)
    if op is Op.REGEX:
        return isinstance(value, str) and re.search(wanted, value) is not None
    if op is Op.GLOB:
        pattern = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in wanted)
        return isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None
    return (
        alike(value, wanted)
        and {
            Op.EQ: value == wanted,
            Op.LT: alike(value, wanted) and value < wanted,
            Op.LE: alike(value, wanted) and value <= wanted,
            Op.GT: alike(value, wanted) and value > wanted,
            Op.GE: alike(value, wanted) and value >= wanted,
        }[op]
    )


def alike(value: Any, wanted: Any) -> bool:
    """Return whether two values can be compared: text with text, numbers and booleans with numbers."""
    return isinstance(value, str) == isinstance(wanted, str) and not isinstance(value, list | dict)


ORDERED = [Op.EQ, Op.NE, Op.LT, Op.LE, Op.GT, Op.GE]
TEXTS = ["job[1]", "Job", "flow", "exit", "ValueError", "bad", "sig-Out of MEMORY", "node1", "warning", "other", "zz"]
PATTERNS = ["job", "^job.1", r"\[1", "(?i)memory", "_", "x$", ""]
GLOBS = ["job[*]", "job*", "?ob*", "*", "job[1?]", "a*b", "*\n*", "[[]", "JOB*"]
QUERIES: list[dict[str, Any]] = [
    {"matrix.k": 1},
    {"matrix.k": {"$in": ["x", True, 2.5]}},
    {"matrix": {"$ne": {}}},
    {"params.x": {"$gte": 1}, "state": {"$ne": "failed"}},
    {"params.deep.k": {"$regex": "^b"}},
    {"params.added": {"$exists": True}},
    {"held": "held"},
    {"attempts": {"$size": 0}},
    {"attempts.state": "failed", "attempts.steps": "two"},
    {"attempts": {"$elemMatch": {"host": {"$type": "string"}, "state": "completed"}}},
    {"$or": [{"live": {"$size": 1}}, {"last": {"$gt": 4}}]},
    {"$nor": [{"id": {"$mod": [2, 0]}}, {"archived": True}]},
]
NUMBERS = [-1, 0, 1, 2, 2.5, 5, 17, 1000]


def comparisons() -> st.SearchStrategy[Predicate]:
    by_kind: dict[str, list[str]] = {}
    for name, known in FIELDS.items():
        by_kind.setdefault(known.kind, []).append(name)
    texts = st.sampled_from(by_kind["text"])
    numbers = st.sampled_from([*by_kind["int"], *by_kind["number"], *by_kind["time"]])
    truths = st.sampled_from(by_kind["bool"])
    own = ["matrix.k", "matrix." + ALPHA, "matrix.none", "matrix.k.k", "matrix.k.none", "matrix.none.k"]
    handed = ["params.x", "params.deep.k", "params.deep.n", "params.off", "params.none", "result.loss", "result.of.k"]
    matrix = st.sampled_from([*own, *handed])
    anything = st.sampled_from([*TEXTS, *NUMBERS, "1", "x", True, False])
    return st.one_of(
        st.builds(Compare, texts, st.sampled_from(ORDERED), st.sampled_from(TEXTS)),
        st.builds(Compare, texts, st.just(Op.REGEX), st.sampled_from(PATTERNS)),
        st.builds(Compare, texts | matrix, st.just(Op.GLOB), st.sampled_from(GLOBS)),
        st.builds(Compare, numbers, st.sampled_from(ORDERED), st.sampled_from(NUMBERS)),
        st.builds(Compare, numbers, st.just(Op.IN), st.lists(st.sampled_from(NUMBERS), max_size=4).map(tuple)),
        st.builds(Compare, texts, st.just(Op.IN), st.lists(st.sampled_from(TEXTS), max_size=4).map(tuple)),
        st.builds(Compare, truths, st.sampled_from([Op.EQ, Op.NE]), st.booleans()),
        st.builds(Compare, st.just("state"), st.sampled_from([Op.EQ, Op.NE]), st.sampled_from(list(State))),
        st.builds(Compare, st.just("state"), st.just(Op.IN), st.lists(st.sampled_from(list(State))).map(tuple)),
        st.builds(Compare, st.sampled_from(list(FIELDS)) | matrix, st.just(Op.EXISTS), st.booleans()),
        st.builds(Compare, matrix, st.sampled_from(ORDERED), anything),
        st.builds(Compare, matrix, st.just(Op.IN), st.lists(anything, max_size=4).map(tuple)),
        st.builds(Compare, matrix, st.just(Op.REGEX), st.sampled_from(PATTERNS)),
        st.builds(ErrorPattern, st.sampled_from(PATTERNS), st.booleans()),
        st.builds(HasParameter, st.sampled_from([("x",), ("deep", "k"), ("deep", "none"), ("none",)])),
        st.builds(DocumentMatches, st.just(document), st.sampled_from(QUERIES).map(json.dumps)),
    )


def predicates() -> st.SearchStrategy[Predicate]:
    return st.recursive(
        comparisons(),
        lambda inner: st.one_of(
            st.builds(AllOf, st.lists(inner, max_size=3).map(tuple)),
            st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple)),
            st.builds(Not, inner),
        ),
        max_leaves=6,
    )


@given(where=predicates(), scoped=st.booleans())
@settings(max_examples=600, deadline=None)
def test_sql_selects_the_same_jobs_as_python(world, where, scoped):
    store, workflow = world
    wanted = Oracle(store, workflow).select(where, workflow if scoped else None)
    with store.read() as archive:
        assert archive.jobs.select(where, workflow if scoped else None) == wanted


ENDS = st.sampled_from(["ready", "running", "failed", "completed"])
JOBS = st.lists(st.tuples(st.sampled_from(MATRIX), ENDS, st.booleans(), st.booleans()), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Store]:
    with closing(open_store(str(tmp_path_factory.mktemp("shared") / "s"), create=True)) as store:
        yield store


@given(jobs=JOBS, where=predicates())
@settings(max_examples=150, deadline=None)
def test_narrowing_loses_no_job_of_any_store(shared, jobs, where):
    names = [f"job[{at}]" for at in range(len(jobs))]
    bindings = {name: {"k": value, ALPHA: at} for at, (name, (value, *_)) in enumerate(zip(names, jobs, strict=True))}
    with shared.write() as archive:
        made = definition({name: [] for name in names}, bindings=bindings, params=PARAMS)
        workflow = archive.workflows.add(made, 1.0)
        attempts = dict(enumerate(claim_in(archive, workflow)))
        archive.queue.release({one.id: one.job.id for at, one in attempts.items() if jobs[at][1] == "ready"})
        ready = [attempts[at].job for at in attempts if jobs[at][1] == "ready"]
        archive.queue.move(
            [StateChange(job.id, workflow, job.resource_class, State.QUEUED, State.READY) for job in ready]
        )
        failed = [failure_ending(attempts[at].id) for at in attempts if jobs[at][1] == "failed"]
        done = [completed_ending(attempts[at].id, RESULTS[1]) for at in attempts if jobs[at][1] == "completed"]
        end_in(archive, [*failed, *done])
        archive.jobs.hold([attempts[at].job.id for at in attempts if jobs[at][2]], "held")
        rows = [
            (one.id, one.job.id, json.dumps({"set": {"x": at, "added": True, "_set": {"deep.n": "changed"}}}))
            for at, one in attempts.items()
            if jobs[at][3] and jobs[at][1] != "ready"
        ]
        archive.dynamic_actions._db.change_each(load("dynamic_actions")["insert_patch"], rows)
        found = archive.jobs.select(where, workflow)
    oracle = Oracle(shared, workflow, [one.job.id for one in attempts.values()])
    assert found == oracle.select(where, workflow)


def test_the_connection_has_no_functions_of_python(shared, monkeypatch):
    with shared.read() as archive:
        own = {name for (name,) in archive.jobs._db.driver.connection.execute("SELECT name FROM pragma_function_list")}
    with closing(sqlite3.connect(":memory:")) as plain:
        assert own <= {name for (name,) in plain.execute("SELECT name FROM pragma_function_list")}


def test_a_list_is_not_read_by_a_condition_that_sql_only_narrows(world):
    store, workflow = world
    with store.read() as archive, pytest.raises(ValueError, match="SQL alone cannot decide"):
        archive.jobs.count(JobFilter(Compare("matrix.k", Op.EQ, 1), workflow))


@pytest.mark.parametrize(
    "where", [Compare("name", Op.REGEX, "(["), ErrorPattern("*"), ErrorPattern("*", archived=True)]
)
def test_a_bad_regular_expression_is_named(world, where):
    store, workflow = world
    pattern = where.value if isinstance(where, Compare) else where.pattern
    with store.read() as archive, pytest.raises(BadSelection, match=re.escape(repr(pattern))):
        archive.jobs.select(where, workflow)


@pytest.mark.parametrize(
    "where",
    [
        Compare("colour", Op.EQ, "red"),
        Compare("id", Op.EQ, 10**30),
        Compare("name", Op.GLOB, 5),
        Compare("id", Op.IN, (1, -(10**30))),
    ],
)
def test_what_cannot_be_compared_is_refused(world, where):
    store, workflow = world
    with store.read() as archive, pytest.raises(BadSelection):
        archive.jobs.select(where, workflow)


def test_a_selection_may_have_thousands_of_parts(world):
    store, workflow = world
    where = AnyOf(tuple(Compare("name", Op.GLOB, f"*{n}*") for n in range(3000)))
    with store.read() as archive:
        assert 1 in archive.jobs.select(where, workflow)


def test_archived_workflows_are_selected_only_by_name(world):
    store, _ = world
    with store.write() as archive:
        archive.workflows.archive(2, 1.0)
        everything = archive.jobs.select(AllOf(), None)
        alone = archive.jobs.select(AllOf(), 2)
        archive.workflows.archive(2, None)
    assert len(alone) == 1
    assert alone[0] not in everything


def test_retired_jobs_are_left_out_unless_they_are_meant(world):
    store, workflow = world
    with store.read() as archive:
        usual = archive.jobs.select(AllOf(), workflow)
        every = archive.jobs.select(AllOf(), workflow, retired=True)
        only = archive.jobs.select(Compare("retired", Op.EQ, True), workflow)
    assert set(every) - set(usual) == set(only)
    assert len(only) == 1
