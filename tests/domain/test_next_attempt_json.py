"""The JSON and the digest of plans follow from the fields of planned jobs and of their next attempts."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from rerun_views import F, graph, job, plan

from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.rerun.plan import OverrideChange, PlannedJob, planned_jobs, seal_plan
from rekindle.domain.rerun.plan_json import plan_from_json, plan_to_json

NEXT = {
    "resume_attempt": 7,
    "resume_step": 1,
    "subtasks": (0, 2),
    "take": "same",
    "folder": "/f/caf\udce9",
    "overrides": '{"cpus": 2.0}',
    "pinned_to": 5,
    "not_before": 1764000000.123456,
    "avoids": "here",
    "repeats": 2,
    "keep_recovery": 0,
    "reuse_candidate": 4,
}
JOB = {
    "version": 99,
    "start": "two",
    "archives": (3,),
    "keeps": ("one",),
    "unmet": 4,
    "changes": (OverrideChange("cpus", 1.0, 2.0),),
    "saves": ("/p/out",),
    "stays": True,
    "holds": "later",
    "releases": True,
}


def varied(name, value):
    decided = plan([job(1, F)], graph(), 1)
    (one,) = decided.jobs
    changed = replace(one, next=replace(one.next, **{name: value})) if name in NEXT else replace(one, **{name: value})
    return decided, seal_plan(replace(decided, jobs=planned_jobs([changed])))


def test_every_field_of_a_next_attempt_is_in_these_tests():
    assert NEXT.keys() == set(NextAttempt.__struct_fields__)
    assert JOB.keys() == set(PlannedJob.__struct_fields__) - {"id", "name", "before", "after", "reasons", "next"}


@pytest.mark.parametrize(("name", "value"), (NEXT | JOB).items(), ids=(NEXT | JOB).keys())
def test_every_field_survives_json_and_is_part_of_the_digest(name, value):
    decided, other = varied(name, value)
    assert other.digest != decided.digest
    assert plan_from_json(json.loads(json.dumps(plan_to_json(other)))) == other


def test_a_field_that_is_altered_in_a_saved_plan_is_noticed():
    document = plan_to_json(varied("repeats", 2)[1])
    document["sets"][0]["change"]["repeats"] = 3
    with pytest.raises(ValueError, match="altered"):
        plan_from_json(document)
