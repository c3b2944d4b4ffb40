"""Document queries have the semantics of MongoDB's manual, also where other implementations differ."""

from __future__ import annotations

import json

import pytest

from rekindle.domain.documents.conditions import compile_query
from rekindle.domain.documents.ordering import compare_values, sort_key, values_at
from rekindle.domain.errors import BadSelection


def found(query: object, *documents: object) -> list[int]:
    """Return the positions of the matching documents."""
    condition = compile_query(json.dumps(query))
    return [at for at, document in enumerate(documents) if condition(document)]


MEANT = [
    # equality: types differ, all numbers are one type, a list stands for itself and its elements
    ({"a": 1}, [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": [1, 2]}, {"a": [[1]]}, {}], [0, 1, 4]),
    ({"a": True}, [{"a": True}, {"a": 1}, {"a": [True]}], [0, 2]),
    ({"a": [1]}, [{"a": [1]}, {"a": [[1], 2]}, {"a": 1}, {"a": [1, 2]}], [0, 1]),
    ({"a": {"x": 1, "y": 2}}, [{"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, {"a": {"x": 1}}], [0]),
    ({"a": {"b": {"$gt": 1}}}, [{"a": {"b": 2}}], []),
    ({"a": {}}, [{"a": {}}, {"a": {"x": 1}}, {}], [0]),
    ({"a": {"$eq": {"x": 1}}}, [{"a": {"x": 1}}, {"a": [{"x": 1}]}, {"a": {"x": 2}}], [0, 1]),
    # null matches null and missing values
    ({"a": None}, [{"a": None}, {}, {"a": 0}, {"a": [None]}, {"a": [1]}], [0, 1, 3]),
    ({"a.b": None}, [{"a": 5}, {"a": {"b": None}}, {"a": [1, 2]}, {"a": []}, {"a": [{"b": 1}, {}]}, {}], [0, 1, 4, 5]),
    ({"a": {"$ne": None}}, [{"a": 1}, {}, {"a": None}, {"a": [None, 1]}], [0]),
    ({"a": {"$gte": None}}, [{}, {"a": None}, {"a": 0}], [0, 1]),
    ({"a": {"$gt": None}}, [{}, {"a": None}, {"a": 0}], []),
    ({"a": {"$in": [None, 2]}}, [{}, {"a": 2}, {"a": 1}, {"a": None}], [0, 1, 3]),
    # order: only within a type
    ({"a": {"$gt": 1}}, [{"a": 2}, {"a": "2"}, {"a": True}, {"a": None}, {"a": [0, 5]}, {"a": 1}], [0, 4]),
    ({"a": {"$lt": "b"}}, [{"a": "a"}, {"a": 0}, {"a": "b"}, {"a": ""}], [0, 3]),
    ({"a": {"$gte": False}}, [{"a": True}, {"a": 1}, {"a": False}], [0, 2]),
    ({"a": {"$gt": [1, 2]}}, [{"a": [1, 3]}, {"a": [1, 2]}, {"a": 5}, {"a": [2]}], [0, 3]),
    ({"a": {"$lt": {"x": 2}}}, [{"a": {"x": 1}}, {"a": {"x": 3}}, {"a": {"w": 9}}, {"a": {"x": None}}], [0, 2, 3]),
    ({"a": {"$gt": 1, "$lt": 4}}, [{"a": [0, 5]}, {"a": 2}, {"a": 9}], [0, 1]),
    # negations apply to the whole condition
    ({"a": {"$ne": 1}}, [{"a": [1, 2]}, {"a": 2}, {}], [1, 2]),
    ({"a": {"$nin": [1, 2]}}, [{"a": [1]}, {"a": 3}, {}], [1, 2]),
    ({"a": {"$not": {"$gt": 1}}}, [{"a": 2}, {"a": 1}, {}, {"a": "x"}], [1, 2, 3]),
    ({"a": {"$not": {"$regex": "^x"}}}, [{"a": "xy"}, {"a": "y"}, {}], [1, 2]),
    ({"$nor": [{"a": 1}, {"b": 1}]}, [{"a": 1}, {"b": 1}, {"a": 2, "b": 2}], [2]),
    ({"$or": [{"a": 1}, {"b": 1}], "c": 1}, [{"a": 1, "c": 1}, {"b": 1}, {"c": 1, "b": 1}], [0, 2]),
    ({"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 3}}]}, [{"a": 2}, {"a": 4}], [0]),
    ({"$comment": "why", "a": 1}, [{"a": 1}, {"a": 2}], [0]),
    ({}, [{}, {"a": 1}], [0, 1]),
    # existence
    ({"a": {"$exists": True}}, [{"a": None}, {}, {"a": []}], [0, 2]),
    ({"a": {"$exists": 0}}, [{"a": None}, {}], [1]),
    ({"a.b": {"$exists": True}}, [{"a": [{"b": 1}, {}]}, {"a": [1]}, {"a": {}}], [0]),
    ({"a.b": {"$exists": False}}, [{"a": []}, {"a": {"b": 1}}, {}], [0, 2]),
    # paths look through lists; a number names an element too
    ({"a.b": 1}, [{"a": [{"b": 0}, {"b": 1}]}, {"a": {"b": [0, 1]}}, {"a": [[{"b": 1}]]}], [0, 1]),
    ({"a.0": 1}, [{"a": [1, 2]}, {"a": [2, 1]}, {"a": {"0": 1}}, {"a": [{"0": 1}]}, {"a": [[1]]}], [0, 2, 3]),
    ({"a.1.b": 4}, [{"a": [5, {"b": 4}]}, {"a": [{"b": 4}, 5]}, {"a": [{"1": {"b": 4}}]}], [0, 2]),
    ({"a.0.0": 3}, [{"a": [[3, 4]]}, {"a": [3]}], [0]),
    # texts
    ({"a": {"$regex": "b.d"}}, [{"a": "abcde"}, {"a": "B-D"}, {"a": 5}, {"a": ["x", "bad"]}], [0, 3]),
    ({"a": {"$regex": "b.d", "$options": "is"}}, [{"a": "B\nD"}, {"a": "x"}], [0]),
    ({"a": {"$options": "x", "$regex": "b c # said"}}, [{"a": "bc"}, {"a": "b c"}], [0]),
    ({"a": {"$regex": "^b$", "$options": "m"}}, [{"a": "a\nb\nc"}], [0]),
    # lists
    ({"a": {"$size": 2}}, [{"a": [1, 2]}, {"a": [1]}, {"a": "ab"}, {"a": [[1, 2]]}], [0]),
    ({"a": {"$all": [1, 2]}}, [{"a": [2, 1, 3]}, {"a": [1]}, {"a": 1}], [0]),
    ({"a": {"$all": [1]}}, [{"a": 1}], [0]),
    ({"a": {"$all": []}}, [{"a": []}, {}], []),
    ({"a": {"$all": [[1, 2]]}}, [{"a": [1, 2]}, {"a": [[1, 2]]}, {"a": [1]}], [0, 1]),
    ({"a": {"$elemMatch": {"b": 1, "c": 2}}}, [{"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}, {"c": 2}]}], [0]),
    ({"a": {"$elemMatch": {"$gt": 1, "$lt": 4}}}, [{"a": [0, 5]}, {"a": [2]}, {"a": 2}], [1]),
    ({"a": {"$elemMatch": {"$or": [{"b": 1}, {"b": 2}]}}}, [{"a": [{"b": 2}]}, {"a": [{"b": 3}]}], [0]),
    ({"a": {"$elemMatch": {"$elemMatch": {"$gt": 3}}}}, [{"a": [[4]]}, {"a": [4]}], [0]),
    ({"a": {"$elemMatch": {"0": 7}}}, [{"a": [[7, 8]]}, {"a": [{"0": 7}]}, {"a": [7]}], [0, 1]),
    (
        {"a": {"$all": [{"$elemMatch": {"b": 1}}, {"$elemMatch": {"b": 2}}]}},
        [{"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}]}],
        [0],
    ),
    # numbers and types
    ({"a": {"$mod": [4, 1]}}, [{"a": 5}, {"a": 5.9}, {"a": -3}, {"a": "5"}, {"a": True}], [0, 1]),
    ({"a": {"$mod": [4, -3]}}, [{"a": -3}, {"a": 1}], [0]),
    ({"a": {"$type": "number"}}, [{"a": 1}, {"a": 1.5}, {"a": True}, {"a": "1"}], [0, 1]),
    ({"a": {"$type": ["string", 10]}}, [{"a": ""}, {"a": None}, {}, {"a": 0}], [0, 1]),
    ({"a": {"$type": "array"}}, [{"a": []}, {"a": 1}], [0]),
    ({"a": {"$type": "int"}}, [{"a": 2**31}, {"a": 1}, {"a": [1.5, 2]}], [1, 2]),
    ({"a": {"$type": 18}}, [{"a": 2**31}, {"a": 1}], [0]),
]


@pytest.mark.parametrize(("query", "documents", "wanted"), MEANT, ids=[json.dumps(one[0]) for one in MEANT])
def test_a_query_means_what_mongodb_says(query, documents, wanted):
    assert found(query, *documents) == wanted


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ([], "the query must be an object"),
        ({"$foo": 1}, "query at $foo: unknown operator"),
        ({"a": {"$foo": 1}}, "query at a.$foo: unknown operator"),
        ({"a": {"$gt": 1, "b": 2}}, "query at a mixes operators and fields: $gt, b"),
        ({"$gt": 1}, "query at $gt stands beside no field"),
        ({"$or": []}, "query at $or must be a list of queries"),
        ({"$and": {"a": 1}}, "query at $and must be a list of queries"),
        ({"$or": [1]}, "query at $or[0] must be an object, not 1"),
        ({"a": {"$in": 1}}, "query at a.$in must be a list, not 1"),
        ({"a": {"$regex": "("}}, "query at a.$regex: '(' is not a regular expression"),
        ({"a": {"$regex": 1}}, "query at a.$regex: a regular expression is a text"),
        ({"a": {"$regex": "x", "$options": "q"}}, "$options are letters of imsxu"),
        ({"a": {"$options": "i"}}, "query at a.$options stands without a $regex"),
        ({"a": {"$size": -1}}, "query at a.$size is a number from 0"),
        ({"a": {"$size": "1"}}, "query at a.$size takes a whole number"),
        ({"a": {"$mod": [2]}}, "query at a.$mod is a list of a divisor and a remainder"),
        ({"a": {"$mod": [0, 1]}}, "the divisor is 0"),
        ({"a": {"$type": "txt"}}, "unknown type"),
        ({"a": {"$type": True}}, "unknown type"),
        ({"a": {"$not": 1}}, "query at a.$not must be an object of operators"),
        ({"a": {"$elemMatch": 1}}, "query at a.$elemMatch must be an object"),
        ({"a": {"$elemMatch": {"b": {"$foo": 1}}}}, "query at a.$elemMatch.b.$foo: unknown operator"),
        ({"a": {"$all": [{"$gt": 1}]}}, "query at a.$all[0] has operators"),
        ({"$where": "1"}, "unknown operator '$where'"),
    ],
)
def test_invalid_queries_name_the_position(query, said):
    with pytest.raises(BadSelection) as raised:
        compile_query(json.dumps(query))
    assert said in str(raised.value)


def test_values_are_totally_ordered():
    ordered = [
        None,
        -1,
        0.5,
        2,
        "",
        "a",
        "b",
        {},
        {"a": 1},
        {"a": 1, "b": 0},
        {"b": 0},
        [],
        [1],
        [1, 0],
        [2],
        False,
        True,
    ]
    for at, one in enumerate(ordered):
        assert [compare_values(one, other) < 0 for other in ordered] == [at < place for place in range(len(ordered))]


def test_a_list_is_sorted_by_its_first_element_in_the_order_asked_for():
    documents = [{"a": [5, 1]}, {"a": 3}, {}, {"a": [2]}]
    for descending, wanted in ((False, [2, 0, 3, 1]), (True, [0, 1, 3, 2])):
        keys = [sort_key(list(values_at(one, ["a"])), descending=descending) for one in documents]
        assert sorted(range(4), key=keys.__getitem__, reverse=descending) == wanted
