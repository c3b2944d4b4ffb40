"""Filters over stored jobs and attempts, compared with another implementation of MongoDB's language.

Where that reader, mongoquery, differs from what MongoDB's manual says, nothing of it is asked here; these cases are
in tests/domain/test_document_conditions.py. It takes true for 1; null for no more than null; objects that differ in
the order of their keys for equal, and an object that is sought for a query; puts `$gt`, `$ne` and `$regex` to lists
as a whole, and `$exists` to a list by its last element; thinks a text a list; takes `$all` of nothing for
everything; knows no `$options`, and raises errors where `$mod` meets what is no number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fireworks_store import Fireworks
from hypothesis import given, settings
from hypothesis import strategies as st
from mongoquery import Query

from rekindle.dialects.fireworks.queries import select_fireworks

NUMBERS = st.sampled_from([-1, 0, 1, 2, 2.5, 3.0])
TEXTS = st.sampled_from(["", "a", "ab", "B", "b.c", "äö"])
SCALARS = NUMBERS | TEXTS
LISTS = st.lists(SCALARS, max_size=3)
ROWS = st.lists(st.fixed_dictionaries({}, optional={"k": NUMBERS, "v": TEXTS}), max_size=3)
INNER = st.fixed_dictionaries({}, optional={"x": NUMBERS, "s": TEXTS, "list": LISTS})
DOCUMENTS = st.fixed_dictionaries(
    {"n": st.integers(0, 5)},
    optional={"m": SCALARS, "s": TEXTS, "flag": st.booleans(), "o": INNER, "tags": LISTS, "rows": ROWS},
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fireworks]:
    made = Fireworks(tmp_path_factory.mktemp("oracle") / "s")
    yield made
    made.session.close()


def ordered(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda op, value: {op: value}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), values)


def between(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda low, high: {"$gte": low, "$lt": high}, values, values)


def of_scalars(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(values, max_size=3)
    return st.one_of(
        values,
        ordered(values),
        between(values),
        ordered(values).map(lambda one: {"$not": one}),
        st.builds(lambda op, value: {op: value}, st.sampled_from(["$eq", "$ne"]), values),
        st.builds(lambda op, among: {op: among}, st.sampled_from(["$in", "$nin"]), several),
        st.sampled_from(["double", "string", "object", "bool", "number", 2]).map(lambda kind: {"$type": kind}),
        st.sampled_from(["^a", "b", r"\.", "[A-Z]", "^$", "ö"]).map(lambda pattern: {"$regex": pattern}),
    )


def of_lists() -> st.SearchStrategy[Any]:
    some = st.lists(SCALARS, min_size=1, max_size=3)
    return st.one_of(
        SCALARS,
        some,
        st.integers(0, 3).map(lambda size: {"$size": size}),
        st.builds(lambda op, among: {op: among}, st.sampled_from(["$in", "$nin", "$all"]), some),
        ordered(NUMBERS).map(lambda one: {"$elemMatch": one}),
    )


def of_rows() -> st.SearchStrategy[Any]:
    each = st.fixed_dictionaries({}, optional={"k": NUMBERS | ordered(NUMBERS), "v": TEXTS}).filter(bool)
    return each.map(lambda one: {"$elemMatch": one}) | st.integers(0, 3).map(lambda size: {"$size": size})


def leaves(root: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return a condition on one path of the document at `root`."""

    def at(path: str, asked: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        return asked.map(lambda one: {f"{root}.{path}": one})

    extracted = st.one_of(SCALARS, st.lists(SCALARS, min_size=1, max_size=3).map(lambda among: {"$in": among}))
    exists = st.builds(
        lambda path, there: {f"{root}.{path}": {"$exists": there}},
        st.sampled_from(["m", "flag", "o", "o.x", "o.none", "none", "none.x", "tags", "rows"]),
        st.booleans(),
    )
    return st.one_of(
        at("n", of_scalars(NUMBERS)),
        *(at(path, of_scalars(SCALARS)) for path in ("m", "s", "o.x", "o.s", "none", "o.none", "s.deep")),
        at("flag", st.booleans() | st.booleans().map(lambda one: {"$ne": one})),
        *(at(path, of_lists()) for path in ("tags", "o.list", "none")),
        *(
            at(path, extracted)
            for path in ("tags.0", "tags.2", "o.list.1", "rows.k", "rows.v", "rows.0.k", "rows.none")
        ),
        at("rows", of_rows()),
        exists,
    )


def filters(leaf: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def joined(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        several = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            st.builds(lambda op, parts: {op: parts}, st.sampled_from(["$and", "$or", "$nor"]), several),
            st.builds(lambda one, other: {**one, **other}, inner, inner),
        )

    return st.recursive(leaf, joined, max_leaves=5)


MOD = st.builds(lambda by, rest: {"spec.n": {"$mod": [by, rest]}}, st.integers(1, 3), st.integers(0, 2))
WORDS = st.sampled_from(["READY", "WAITING", "FIZZLED", "COMPLETED", "RESERVED", "DEFUSED"])
STATES = st.one_of(
    WORDS,
    WORDS.map(lambda word: {"$ne": word}),
    st.lists(WORDS, max_size=3).map(lambda words: {"$in": words}),
    st.sampled_from([{"$regex": "^RE"}, {"$gt": "F", "$lt": "S"}, {"$exists": False}, "ready"]),
).map(lambda one: {"state": one})
NAMES = st.sampled_from([{"name": "fw 1"}, {"name": {"$regex": "[02]$"}}, {"name": {"$nin": ["fw 0"]}}])
LAUNCHED = st.sampled_from([{"launches": {"$size": 1}}, {"launches": []}, {"archived_launches": {"$size": 0}}])


@given(
    documents=st.lists(DOCUMENTS, min_size=1, max_size=6),
    query=filters(leaves("spec") | MOD | STATES | NAMES | LAUNCHED),
)
@settings(max_examples=80)
def test_fireworks_are_found_as_mongodb_finds_them(world, documents, query):
    ids = world.add(documents, [(0, len(documents) - 1)] if len(documents) > 1 else [])
    ends = {ids[at]: "Traceback" if at % 3 == 0 else [{}, {}] for at in range(len(ids)) if at % 4 != 3}
    launches = world.launch(ids[0], ends)
    states = [_state(one, launches, ends) for one in ids]
    expected = [
        {
            "fw_id": ids[at],
            "name": f"fw {at}",
            "state": states[at],
            "spec": spec,
            "launches": [launches[ids[at]]] if ids[at] in launches else [],
            "archived_launches": [],
        }
        for at, spec in enumerate(documents)
    ]
    wanted = [one["fw_id"] for one in expected if Query(query).match(one)]
    assert select_fireworks(world.session, {"$and": [{"fw_id": {"$in": ids}}, query]}) == wanted


STACKS = st.sampled_from([{"$regex": "My custom"}, {"$regex": "line [0-2]$"}, {"$ne": "x"}]).map(
    lambda one: {"action.stored_data._exception._stacktrace": one}
)


@given(
    documents=st.lists(DOCUMENTS, min_size=1, max_size=6), query=filters(leaves("action.stored_data") | STATES | STACKS)
)
@settings(max_examples=60)
def test_launches_are_found_as_mongodb_finds_them(world, documents, query):
    ids = world.add([{} for _ in documents])
    ends: dict[int, Any] = {}
    for at, one in enumerate(documents):
        first = {key: value for key, value in one.items() if key != "n"}
        whole = [{"stored_data": first | {"n": 9, "o": 1}}, {"stored_data": one}]
        ends[ids[at]] = f"Traceback\nMy custom error message, line {at}" if at % 3 == 2 else whole
    launches = world.launch(ids[0], ends)
    wanted = []
    for at, one in enumerate(documents):
        failed = isinstance(ends[ids[at]], str)
        stored = {"o": 1, **one} if not failed else {"_exception": {"_stacktrace": ends[ids[at]]}}
        launch = {
            "fw_id": ids[at],
            "launch_id": launches[ids[at]],
            "state": "FIZZLED" if failed else "COMPLETED",
            "action": {"stored_data": stored},
        }
        if Query(query).match(launch):
            wanted.append(ids[at])
    assert select_fireworks(world.session, {"$and": [{"fw_id": {"$in": ids}}, query]}, launches=True) == wanted


def _state(firework: int, launches: dict[int, int], ends: dict[int, object]) -> str:
    if firework not in launches:
        return "WAITING"
    if firework not in ends:
        return "RESERVED"
    return "FIZZLED" if isinstance(ends[firework], str) else "COMPLETED"
