"""`mod_spec` changes a spec as FireWorks does."""

from __future__ import annotations

import copy

import pytest

from rekindle.dialects.fireworks.spec_changes import BadSpecChange, apply_changes, apply_modification, merge_actions

SPEC = {"a": 1, "l": [1, 2, 1], "d": {"e": {"f": 3}}, "t": "x"}


@pytest.mark.parametrize(
    "modification",
    [
        {"_set": {"a": 5, "new": {"x": 1}}},
        {"_set": {"d->e->f": 4, "d->g": 5, "fresh->x": 1}},
        {"_unset": {"a": 1}},
        {"_unset": {"d->e": ""}},
        {"_push": {"l": 9, "new": 1, "d->list": 2}},
        {"_push_all": {"l": [8, 9], "new": [1]}},
        {"_inc": {"a": 2, "new": 3, "d->e->f": -1}},
        {"_rename": {"a": "b"}},
        {"_add_to_set": {"l": 2}},
        {"_add_to_set": {"l": 7}},
        {"_pull": {"l": 1}},
        {"_pop": {"l": 1}},
        {"_pop": {"l": -1}},
        {"_set": {"a": 2}, "_push": {"l": 3}},
    ],
)
def test_each_modifier_does_what_fireworks_does(modification):
    apply_mod = pytest.importorskip("fireworks.utilities.dict_mods").apply_mod
    theirs, before = copy.deepcopy(SPEC), copy.deepcopy(SPEC)
    apply_mod(copy.deepcopy(modification), theirs)
    assert apply_modification(SPEC, modification) == theirs
    assert before == SPEC


def test_pull_all_works_unlike_in_fireworks():
    assert apply_modification(SPEC, {"_pull_all": {"l": [2, 3]}})["l"] == [1, 1]


def test_mongodb_spellings_work_and_missing_keys_are_no_error():
    assert apply_modification({}, {"_addToSet": {"l": 1}, "_pushAll": {"m": [1]}, "_pullAll": {"n": [1]}}) == {
        "l": [1],
        "m": [1],
    }
    assert apply_modification({"a": 1}, {"_unset": {"b": 1, "c->d": 1}, "_pop": {"x": 1}}) == {"a": 1}
    assert apply_modification({"l": [{"a": 1}]}, {"_set": {"l->0->a": 2}}) == {"l": [{"a": 2}]}


@pytest.mark.parametrize(
    ("modification", "told"),
    [
        ({"_sett": {"a": 1}}, "no modifier '_sett'"),
        ({"_set": 3}, "`_set` in `mod_spec` is an object"),
        (3, "an entry of `mod_spec` is an object"),
        ({"_push": {"a": 1}}, "'a' must be a list for this change"),
        ({"_inc": {"t": 1}}, "`_inc` adds numbers"),
        ({"_set": {"a->b": 1}}, "there is no 'b' in 'a->b'"),
        ({"_pop": {"l": 2}}, "`_pop` takes 1"),
    ],
)
def test_invalid_modifications_are_refused_with_a_reason(modification, told):
    with pytest.raises(BadSpecChange) as refusal:
        apply_modification(SPEC, modification)
    assert told in str(refusal.value)


def test_update_spec_is_applied_before_mod_spec():
    action = {"update_spec": {"l": [0]}, "mod_spec": [{"_push": {"l": 1}}, {"_push": {"l": 2}}]}
    assert apply_changes(SPEC, action)["l"] == [0, 1, 2]
    both = merge_actions(
        {"update_spec": {"a": 1}, "exit": True}, {"update_spec": {"b": 2}, "mod_spec": [{"_unset": {"a": 1}}]}
    )
    assert both == {"update_spec": {"a": 1, "b": 2}, "exit": True, "mod_spec": [{"_unset": {"a": 1}}]}
