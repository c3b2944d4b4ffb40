"""Document queries: JSON with `$` operators."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.errors import UsageError
from rekindle.domain.selection import AllOf, AnyOf, Compare, Not, Op, Predicate
from rekindle.domain.states import State
from rekindle.query.document_queries import parse_document


@pytest.mark.parametrize(
    ("document", "predicate"),
    [
        ({}, AllOf()),
        ({"state": "failed"}, Compare("state", Op.EQ, State.FAILED)),
        ({"id": {"$in": [1, 2]}}, Compare("id", Op.IN, (1, 2))),
        ({"id": {"$nin": [1]}}, Not(Compare("id", Op.IN, (1,)))),
        ({"state": {"$in": ["failed", "cancelled"]}}, Compare("state", Op.IN, (State.FAILED, State.CANCELED))),
        ({"matrix.alpha": {"$gt": 0.1}}, Compare("matrix.alpha", Op.GT, 0.1)),
        ({"matrix": {"alpha": {"$gte": 0.1}}}, Compare("matrix.alpha", Op.GE, 0.1)),
        ({"matrix.seed": 0}, Compare("matrix.seed", Op.EQ, 0)),
        ({"matrix.seed": "0"}, Compare("matrix.seed", Op.EQ, "0")),
        ({"matrix": {"model": {"depth": 3}}}, Compare("matrix.model.depth", Op.EQ, 3)),
        ({"result.loss": {"$lt": 1}}, Compare("result.loss", Op.LT, 1)),
        ({"params": {"model": {"depth": 3}}}, Compare("params.model.depth", Op.EQ, 3)),
        (
            {"attempts": {"$gt": 1, "$lte": 3}},
            AllOf((Compare("attempts", Op.GT, 1), Compare("attempts", Op.LE, 3))),
        ),
        ({"exit_code": {"$ne": 0}}, Compare("exit_code", Op.NE, 0)),
        ({"exit_code": None}, Compare("exit_code", Op.EXISTS, False)),
        ({"exit_code": {"$ne": None}}, Compare("exit_code", Op.EXISTS, True)),
        ({"verdict": {"$exists": True}}, Compare("verdict", Op.EXISTS, True)),
        ({"error": {"type": "KeyError"}}, Compare("error.type", Op.EQ, "KeyError")),
        ({"error.message": {"$regex": "no .* space"}}, Compare("error.message", Op.REGEX, "no .* space")),
        ({"workflow": "sweep"}, Compare("workflow", Op.EQ, "sweep")),
        ({"workflow": {"id": 3}}, Compare("workflow.id", Op.EQ, 3)),
        ({"state": {"$not": {"$in": ["failed"]}}}, Not(Compare("state", Op.IN, (State.FAILED,)))),
        ({"$not": {"held": True}}, Not(Compare("held", Op.EQ, True))),
        (
            {"$or": [{"id": 1}, {"$and": [{"id": 2}, {"held": False}]}]},
            AnyOf(
                (Compare("id", Op.EQ, 1), AllOf((Compare("id", Op.EQ, 2), Compare("held", Op.EQ, False)))),
            ),
        ),
        (
            {"state": "failed", "template": "train"},
            AllOf((Compare("state", Op.EQ, State.FAILED), Compare("template", Op.EQ, "train"))),
        ),
        (
            {"cause": {"$in": ["oom", None]}},
            AnyOf((Compare("cause", Op.EQ, "oom"), Compare("cause", Op.EXISTS, False))),
        ),
    ],
)
def test_a_document_becomes_a_predicate(document: dict[str, Any], predicate: Predicate) -> None:
    assert parse_document(json.dumps(document)) == predicate


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "character 2"),
        ("[]", "the query must be an object"),
        ('{"id": 1, "id": 2}', "'id' twice"),
        ('{"seconds": NaN}', "NaN"),
        ('{"seconds": 1e999}', "seconds"),
        ('{"colour": 1}', "'colour'"),
        ('{"eror": {"type": "x"}}', "'eror'"),
        ('{"error": {"kind": "x"}}', "'error.kind'"),
        ('{"state": "fizzled"}', "query at state"),
        ('{"$or": [{"id": 1}, {"state": 3}]}', "query at $or[1].state"),
        ('{"$or": {"id": 1}}', "query at $or"),
        ('{"$and": []}', "query at $and"),
        ('{"$xor": []}', "'$xor'"),
        ('{"$gt": 3}', "query at $gt"),
        ('{"id": {"$gtt": 3}}', "'$gtt'"),
        ('{"id": {}}', "query at id"),
        ('{"id": {"$in": 3}}', "query at id.$in"),
        ('{"id": {"$in": [1, "x"]}}', "query at id.$in[1]"),
        ('{"id": {"$gt": 1, "x": 2}}', "query at id"),
        ('{"id": {"x": 2}}', "query at id"),
        ('{"id": [1, 2]}', "query at id"),
        ('{"id": "1"}', "query at id"),
        ('{"id": true}', "query at id"),
        ('{"held": "true"}', "query at held"),
        ('{"name": 3}', "query at name"),
        ('{"name": {"$regex": "("}}', "query at name.$regex"),
        ('{"name": {"$regex": 3}}', "query at name.$regex"),
        ('{"verdict": {"$exists": 1}}', "query at verdict.$exists"),
        ('{"matrix.x": {"$gt": [1]}}', "query at matrix.x.$gt"),
        ('{"started": 5}', "query at started"),
        ('{"started": {"$lt": null}}', "query at started.$lt"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_an_error_names_the_key(text: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_document(text)
    assert named in caught.value.message
    assert caught.value.exit_code == 64


_keys = st.sampled_from(
    ["id", "state", "error", "matrix", "type", "$in", "$or", "$not", "$gt", "$regex", "started", "x"]
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab$.01", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_keys, _values, max_size=3))
def test_every_document_is_read_or_refused(document: dict[str, Any]) -> None:
    try:
        parse_document(json.dumps(document))
    except UsageError as refusal:
        message = refusal.message
    else:
        message = "query"
    assert "query" in message
