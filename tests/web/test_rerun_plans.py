"""Plans of the rerun dialog without a browser: what they cost others, and what a server remembers of them."""

from __future__ import annotations

from msgspec.structs import replace
from served import ServedProject

from project_folder import until
from rekindle.domain.rerun.plan import PlannedJob, RerunPlan, planned_jobs
from rekindle.domain.states import State
from rekindle.engine.results import PlannedRerun
from rekindle.engine.session import open_session
from rekindle.presentation.rerun_modes import PLAIN, refused_modes
from rekindle.web import rerun_plans
from rekindle.web.rerun_form import RerunForm
from rekindle.web.rerun_plans import PlanMemory, ShownPlan, apply_form, make_plan

GATE = '{name: one, jobs: {a: {run: "while ! [ -e go ]; do sleep 0.02; done"}, b: {run: "exit 1"}}}'


def shown(*jobs: int, digest: str = "", version: int = 1) -> ShownPlan:
    planned = planned_jobs(
        PlannedJob(job, f"j{job}", version, State.FAILED, State.READY, "beginning", reasons=()) for job in jobs
    )
    return ShownPlan(len(jobs), PlannedRerun(RerunPlan(planned), {}), (), None, digest)


def test_looking_at_a_running_job_waits_for_no_writer(project: ServedProject) -> None:
    project.spec(GATE)
    project.rekindle("submit", "spec.yaml")
    project.start("work")
    until(lambda: [one["state"] for one in project.ask("jobs", "list")["jobs"]] == ["running", "failed"], "they ran")
    place = str(project.folder / ".rekindle")
    with open_session(place) as session, open_session(place) as other, other.store.write():
        refused = refused_modes(session, PLAIN, [1, 2], PLAIN.offered(session, [1, 2]))
        plan = make_plan(session, RerunForm("plus=1,2", "reattach"), [])
    assert "is alive and attends it" in refused[1]["reattach"]
    assert refused[1]["beginning"].startswith("it is running; cancel it first")
    assert refused[2].keys() == {"reattach"}
    assert [one.id for one in plan.refused] == [1, 2]
    (project.folder / "go").touch()


def test_equal_plans_have_equal_digests_and_only_the_shown_one_is_applied(project: ServedProject) -> None:
    project.spec(GATE)
    (project.folder / "go").touch()
    project.rekindle("run", "spec.yaml", expect=2)
    with open_session(str(project.folder / ".rekindle")) as session:
        form = RerunForm("w=1&state=failed&all=1", note="why")
        first, second = make_plan(session, form, []), make_plan(session, form, [])
        assert first.digest == second.digest
        assert make_plan(session, replace(form, mode="beginning", words="plus=1,2"), []).digest != first.digest
        assert apply_form(session, replace(form, digest="other"), [], "me") == second
        done = apply_form(session, replace(form, digest=first.digest), [], "me")
        assert isinstance(done, rerun_plans.Applied)
        again = apply_form(session, replace(form, digest=first.digest), [], "me")
        assert isinstance(again, ShownPlan), "a plan is applied once"
        assert again.selected == 0


def test_what_moved_is_found_by_the_digest_that_was_shown() -> None:
    memory = PlanMemory()
    memory.keep(shown(1, 2, 3, digest="first"))
    moved = memory.moved("first", replace(shown(2, 3, 4), proposal=shown(2, 3, 4).proposal))
    assert moved is not None
    assert (moved.added, moved.removed, moved.changed) == ({4: "j4"}, {1: "j1"}, {})
    ran = memory.moved("first", shown(1, 2, 3, version=2))
    assert ran is not None
    assert list(ran.changed) == [1, 2, 3], "they have run meanwhile, though their rows look the same"
    assert memory.moved("never shown", shown(1)) is None


def test_a_server_remembers_a_bounded_number_of_jobs() -> None:
    memory = PlanMemory()
    for number in range(rerun_plans.MOST_REMEMBERED + 10):
        memory.keep(shown(number, digest=str(number)))
    assert memory.moved("9", shown(1)) is None
    assert memory.moved("10", shown(1)) is not None
    large = shown(*range(rerun_plans.MOST_ROWS // 2 + 1), digest="large")
    memory.keep(large)
    memory.keep(replace(large, digest="larger"))
    assert memory.moved("large", shown(1)) is None
    assert memory.moved("larger", shown(1)) is not None
