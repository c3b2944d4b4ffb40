"""What `mod_spec` does to a spec, beside FireWorks' own."""

from __future__ import annotations

import copy

import pytest

from rekindle.dialects.fireworks.fwactions import merged
from rekindle.dialects.fireworks.spec_changes import BadChange, changed, modified

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
    assert modified(SPEC, modification) == theirs
    assert before == SPEC


def test_pull_all_works_which_fireworks_own_does_not():
    assert modified(SPEC, {"_pull_all": {"l": [2, 3]}})["l"] == [1, 1]


def test_mongos_words_mean_the_same_and_what_is_not_there_is_no_error():
    assert modified({}, {"_addToSet": {"l": 1}, "_pushAll": {"m": [1]}, "_pullAll": {"n": [1]}}) == {"l": [1], "m": [1]}
    assert modified({"a": 1}, {"_unset": {"b": 1, "c->d": 1}, "_pop": {"x": 1}}) == {"a": 1}
    assert modified({"l": [{"a": 1}]}, {"_set": {"l->0->a": 2}}) == {"l": [{"a": 2}]}


@pytest.mark.parametrize(
    ("modification", "told"),
    [
        ({"_sett": {"a": 1}}, "no modifier '_sett'"),
        ({"_set": 3}, "`_set` in `mod_spec` is an object"),
        (3, "an entry of `mod_spec` is an object"),
        ({"_push": {"a": 1}}, "'a' is to be changed as a list"),
        ({"_inc": {"t": 1}}, "`_inc` adds numbers"),
        ({"_set": {"a->b": 1}}, "there is no 'b' in 'a->b'"),
        ({"_pop": {"l": 2}}, "`_pop` takes 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(modification, told):
    with pytest.raises(BadChange) as refusal:
        modified(SPEC, modification)
    assert told in str(refusal.value)


def test_an_action_changes_by_its_update_first_and_then_by_its_modifiers_in_order():
    action = {"update_spec": {"l": [0]}, "mod_spec": [{"_push": {"l": 1}}, {"_push": {"l": 2}}]}
    assert changed(SPEC, action)["l"] == [0, 1, 2]
    both = merged(
        {"update_spec": {"a": 1}, "exit": True}, {"update_spec": {"b": 2}, "mod_spec": [{"_unset": {"a": 1}}]}
    )
    assert both == {"update_spec": {"a": 1, "b": 2}, "exit": True, "mod_spec": [{"_unset": {"a": 1}}]}
