"""Comparison of two revisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rekindle.domain.changes.differences import Difference
from rekindle.domain.changes.revisions import (
    RedefinedJobs,
    RevisedJob,
    RevisionDiff,
    RevisionOutline,
    RewiredJobs,
    TemplateJobs,
    diff_outlines,
    revision_plan,
    revision_reason,
)
from rekindle.domain.definition import JobTemplate, Resources, Step
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.states import State


def template(name: str, run: str = "true", **more: Any) -> JobTemplate:
    return JobTemplate(name, (Step("run", run=run),), **more)


def outline(
    jobs: Mapping[str, JobTemplate],
    edges: Mapping[str, str] | None = None,
    bindings: Mapping[str, str] | None = None,
    **params: Any,
) -> RevisionOutline:
    """Return jobs by name with their templates; `edges` are child -> parent."""
    return RevisionOutline(
        params,
        {id(one): one for one in jobs.values()},
        {name: (id(one), (bindings or {}).get(name, "{}")) for name, one in jobs.items()},
        {(parent, child) for child, parent in (edges or {}).items()},
    )


TRAIN, TOP = template("train"), template("top")


def test_nothing_differs_between_equal_revisions():
    one = outline({"top": TOP, "t1": TRAIN}, {"t1": "top"}, {"t1": '{"k":1}'}, alpha=1)
    other = outline({"t1": template("train"), "top": template("top")}, {"t1": "top"}, {"t1": '{"k":1}'}, alpha=1)
    assert diff_outlines(one, other) == RevisionDiff()


def test_jobs_are_gathered_by_the_template_they_are_made_from():
    before = outline({"top": TOP, "t1": TRAIN, "t2": TRAIN})
    after = outline({"t2": TRAIN, "t3": TRAIN, "t4": TRAIN, "end": template("end")})
    diff = diff_outlines(before, after)
    assert diff.added == (TemplateJobs("train", ("t3", "t4")), TemplateJobs("end", ("end",)))
    assert diff.removed == (TemplateJobs("top", ("top",)), TemplateJobs("train", ("t1",)))
    assert diff.changed == ()


def test_changes_are_told_by_field_once_for_all_jobs_of_a_template():
    after = template("train", "echo", resources=Resources(memory=5))
    diff = diff_outlines(outline({"t1": TRAIN, "t2": TRAIN}), outline({"t1": after, "t2": after}))
    fields = (Difference("steps.run.run", "true", "echo"), Difference("resources.memory", 0, 5))
    assert diff.changed == (RedefinedJobs("train", ("t1", "t2"), fields),)


def test_matrix_values_count_as_fields_and_true_is_not_one():
    before = outline({"t1": TRAIN, "t2": TRAIN}, bindings={"t1": '{"k":1}', "t2": '{"k":2}'})
    after = outline({"t1": TRAIN, "t2": TRAIN}, bindings={"t1": '{"k":true}', "t2": '{"k":2}'})
    assert diff_outlines(before, after).changed == (
        RedefinedJobs("train", ("t1",), (Difference("matrix.k", 1, True),)),
    )


def test_parameters_that_come_go_and_change_are_told():
    diff = diff_outlines(outline({}, a=1, b=1, c=1), outline({}, b=2, c=1, d=3))
    assert diff.params == (
        Difference("a", 1, None, "after"),
        Difference("b", 1, 2),
        Difference("d", None, 3, "before"),
    )


def test_edges_are_told_between_jobs_that_stay_and_gathered_by_templates():
    jobs = {"top": TOP, "side": template("side"), "t1": TRAIN, "t2": TRAIN}
    before = outline({**jobs, "gone": TRAIN}, {"t1": "top", "t2": "top", "gone": "top"})
    after = outline({**jobs, "new": TRAIN}, {"t1": "side", "t2": "side", "new": "side"})
    assert diff_outlines(before, after).edges == (
        RewiredJobs("train", "side", (("side", "t1"), ("side", "t2")), ()),
        RewiredJobs("train", "top", (), (("top", "t1"), ("top", "t2"))),
    )


def test_a_revision_is_a_plan_with_the_states_that_came_of_it():
    added = RevisedJob(2, "b", 0, State.WAITING, (revision_reason(ReasonKind.ADDED, 3),))
    rewired = RevisedJob(1, "a", 7, State.READY, (revision_reason(ReasonKind.REWIRED, 3, gained=1, lost=0),))
    plan = revision_plan([added, rewired], {1: ("a", State.WAITING, 1), 2: ("b", State.READY, 0)})
    assert [(job.id, job.version, job.before, job.after, job.unmet) for job in plan.jobs] == [
        (1, 7, State.READY, State.WAITING, 1),
        (2, 0, State.WAITING, State.READY, 0),
    ]
    assert (len(plan.digest), plan.expected.attempts) == (32, 0)
