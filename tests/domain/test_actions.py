"""Dynamic actions: parsing, merging, and parameter changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.actions import (
    Action,
    BadAction,
    action_document,
    apply_change,
    effective_params,
    merge_actions,
    read_action,
)

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    st.none() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
CHANGES = st.dictionaries(NAMES, VALUES, max_size=2).flatmap(
    lambda plain: st.fixed_dictionaries(
        {},
        optional={
            "_set": st.dictionaries(PATHS, VALUES, max_size=2),
            "_unset": st.dictionaries(PATHS, st.just(""), max_size=2),
            "_push": st.dictionaries(PATHS, VALUES, max_size=2),
            "_inc": st.dictionaries(PATHS, st.integers(-3, 3), max_size=2),
        },
    ).map(lambda modifiers: {**plain, **modifiers})
)


@pytest.mark.parametrize(
    ("params", "change", "after"),
    [
        ({"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ({"a": {"b": 1, "c": 2}}, {"_set": {"a.b": 5}}, {"a": {"b": 5, "c": 2}}),
        ({}, {"_set": {"a.b.c": 1}}, {"a": {"b": {"c": 1}}}),
        ({"a": {"b": 1}}, {"_unset": {"a.b": ""}}, {"a": {}}),
        ({"a": 1}, {"_unset": {"a": "", "b.c": ""}}, {}),
        ({"a": [1]}, {"_push": {"a": 2, "b": 3}}, {"a": [1, 2], "b": [3]}),
        ({"a": 1.5}, {"_inc": {"a": 1, "b": 2}}, {"a": 2.5, "b": 2}),
        ({"a": [{"n": 1}, {"n": 2}]}, {"_inc": {"a.1.n": 5}}, {"a": [{"n": 1}, {"n": 7}]}),
        ({"a": 1}, {"a": 5, "_inc": {"a": 1}}, {"a": 6}),
    ],
)
def test_a_change_is_made(params, change, after):
    before = json.dumps(params)
    assert apply_change(params, change) == after
    assert json.dumps(params) == before


@pytest.mark.parametrize(
    ("params", "change"),
    [
        ({"a": 1}, {"_push": {"a": 2}}),
        ({"a": "1"}, {"_inc": {"a": 2}}),
        ({"a": True}, {"_inc": {"a": 2}}),
        ({"a": 1}, {"_set": {"a.b": 2}}),
        ({"a": [1]}, {"_set": {"a.1": 2}}),
    ],
)
def test_a_modifier_that_does_not_fit_is_refused_and_later_changes_nothing(params, change):
    with pytest.raises(BadAction):
        apply_change(params, change)
    assert effective_params(params, [change]) == params


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (None, "a JSON object"),
        ({"detuor": []}, "did you mean"),
        ({"hold_children": "yes"}, "true or false"),
        ({"set": [1]}, "an object of parameters"),
        ({"set": {"a.b": 1}}, '{"_set": {"a.b": …}}'),
        ({"set": {"_set": 1}}, "an object of names"),
        ({"set": {"_inc": {"a": "1"}}}, "adds numbers"),
        ({"add": {}}, "a list of jobs"),
        ({"add": ["x"]}, "is an object"),
        ({"detour": [{"name": ""}]}, "has no name"),
    ],
)
def test_invalid_actions_are_refused(document, told):
    with pytest.raises(BadAction) as refusal:
        read_action(document)
    assert told in str(refusal.value)


@given(CHANGES, CHANGES, st.booleans(), st.lists(NAMES, unique=True))
def test_an_action_reads_back_from_its_document(set_, children, flag, names):
    action = Action(
        set=set_, set_children=children, add=[{"name": name} for name in names], exit=flag, stop_workflow=not flag
    )
    document = json.loads(json.dumps(action_document(action)))
    assert action_document(read_action(document)) == document
    assert merge_actions([action])[0].add == action.add


@given(VALUES.map(lambda value: {"a": value, "b": 1, "c": [1]}), st.lists(CHANGES, max_size=4))
def test_effective_params_never_fail(params, changes):
    before = json.dumps(params, sort_keys=True)
    now = effective_params(params, changes)
    assert json.dumps(params, sort_keys=True) == before
    step = params
    for change in changes:
        try:
            step = apply_change(step, change)
        except BadAction:
            return
    assert now == step


def test_two_steps_cannot_add_one_name():
    one = Action(add=[{"name": "x"}])
    with pytest.raises(BadAction, match="'x' is added twice"):
        merge_actions([one, Action(detour=[{"name": "x"}])])
