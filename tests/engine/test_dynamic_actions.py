"""Dynamic actions of real processes: commands that write $REKINDLE_ACTION, functions that return Action."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import Cause, State
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.rerun import rerun
from rekindle.store.archive import Store
from stores import statements_of

DONE, READY, WAITING, FAILED, CANCELED = State.COMPLETED, State.READY, State.WAITING, State.FAILED, State.CANCELED


def spec(project, action: object, *, jobs: str = "", params: str = "{}", name: str = "dyn") -> str:
    """A workflow whose job `a` writes the action in action.json; `b` needs it."""
    write(project, action)
    lines = [
        f"name: {name}",
        f"params: {params}",
        "jobs:",
        "  a: {run: cp action.json $REKINDLE_ACTION && echo a >> ran}",
        "  b: {run: 'echo b ${params.x} >> ran', needs: [a]}",
        *(f"  {line}" for line in jobs.splitlines()),
    ]
    return "\n".join(lines)


def write(project, action: object) -> None:
    (project.folder / "action.json").write_text(action if isinstance(action, str) else json.dumps(action))


def ran(project) -> list[str]:
    path = project.folder / "ran"
    return path.read_text().splitlines() if path.exists() else []


def add(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "run": f"echo {name} >> ran", **more}


def failure(project, name: str = "a"):
    attempt = project.attempts(name)[-1]
    assert (attempt.state, attempt.cause, attempt.failure.type) == (FAILED, Cause.EXCEPTION, "BadAction")
    return attempt.failure.message


def test_added_jobs_run_after_the_job_that_adds_them(project):
    report = project.run(spec(project, {"add": [add("x"), add("y", needs=["x"])]}, params="{x: 1}"))
    assert (report.exit_code, report.completed) == (0, 4)
    lines = ran(project)
    assert sorted(lines) == ["a", "b 1", "x", "y"]
    assert lines[0] == "a"
    assert lines.index("x") < lines.index("y")
    assert project.job("y") == project.job("x") + 1 == project.job("b") + 2


def test_children_need_a_detour_too(project):
    action = {"detour": [add("x"), add("y", needs=["x"])]}
    assert project.run(spec(project, action, params="{x: 1}")).exit_code == 0
    assert ran(project) == ["a", "x", "y", "b 1"]


def test_parameters_of_the_children_change(project):
    action = {"set_children": {"x": [1], "_push": {"x": 2}, "_set": {"deep.er": 3}}}
    assert project.run(spec(project, action, params="{x: 1, deep: {er: 0}}")).exit_code == 0
    assert ran(project) == ["a", "b [1,2]"]


def test_an_added_job_may_take_no_changes_and_is_not_warned_about(project):
    added = {"name": "x", "run": "echo x ${params.x} >> ran"}
    action = {
        "set_children": {"x": 2},
        "detour": [{**added, "takes_changes": False}, {**added, "name": "y", "run": "echo y ${params.x} >> ran"}],
    }
    assert project.run(spec(project, action, params="{x: 1}")).exit_code == 0
    assert sorted(ran(project)) == ["a", "b 2", "x 1", "y 2"]
    (warning,) = rerun.plan(project.session, [([project.job("a")], How())], {}).plan.warnings
    assert "changed the parameters of `b`, `y`:" in warning
    write(project, {"add": [add("z", takes_changes="no")]})
    project.rerun("a")
    project.work()
    assert "`takes_changes` is true or false" in failure(project)


def test_parameters_of_all_that_comes_after_change(project):
    action = {"set_descendants": {"x": 2}, "set_children": {"_inc": {"x": 5}}}
    jobs = "c: {run: 'echo c ${params.x} >> ran', needs: [b]}\nd: {run: 'echo d ${params.x} >> ran'}"
    assert project.run(spec(project, action, params="{x: 1}", jobs=jobs)).exit_code == 0
    assert set(ran(project)) == {"a", "b 7", "c 2", "d 1"}
    project.rerun("a")
    write(project, {})
    assert project.work(1).exit_code == 0
    assert set(ran(project)[4:]) == {"a", "b 1", "c 1"}


def test_an_added_job_has_the_values_that_it_is_given_and_keeps_its_name(project):
    values = {"alpha": {"deep": [1, {"er": "${x}"}]}, "n": 3}
    action = {"add": [add("x", values=values, run="echo ${job.name} ${matrix.n} >> ran"), add("y", needs=["x"])]}
    assert project.run(spec(project, action, params="{x: 1}")).exit_code == 0
    assert "x 3" in ran(project)
    assert json.loads(job_queries.jobs(project.session, [project.job("x")])[0].job.binding) == values


def test_an_added_job_may_need_a_job_by_its_id(project):
    action = {"add": [add("x", needs=["2"])]}
    assert project.run(spec(project, action, params="{x: 1}")).exit_code == 0
    assert ran(project) == ["a", "b 1", "x"]


def test_a_whole_workflow_is_held_but_for_what_has_started(project):
    jobs = "c: {run: 'true', needs: [b]}\nelse: {run: 'true', needs: [a]}\ndone: {run: 'true', priority: 9}"
    project.submit(spec(project, {"hold_workflow": True}, params="{x: 1}", jobs=jobs))
    project.work(1)
    states = project.states()
    assert (states.pop("a"), states.pop("done")) == (DONE, DONE)
    assert states == {"b": READY, "else": READY, "c": WAITING}
    held = {
        row.job.name: row.job.held
        for row in job_queries.jobs(project.session, selections.select(project.session, Selection(everything=True)))
    }
    assert {name for name, why in held.items() if why and why.startswith("by an action of a")} == {"b", "c", "else"}
    write(project, {})
    project.rerun("a")
    assert project.work(1).exit_code == 0
    assert set(project.states().values()) == {DONE}


@pytest.mark.parametrize(
    ("flag", "state"), [("hold_children", READY), ("cancel_children", CANCELED), ("stop_workflow", CANCELED)]
)
def test_children_are_held_or_canceled(project, flag, state):
    jobs = "c: {run: 'true', needs: [b]}\nelse: {run: 'true', needs: [c]}"
    project.submit(spec(project, {flag: True}, params="{x: 1}", jobs=jobs))
    project.work(1)
    states = project.states()
    assert (states["a"], states["b"]) == (DONE, state)
    assert states["c"] == states["else"] == (CANCELED if flag == "stop_workflow" else WAITING)
    row = job_queries.jobs(project.session, [project.job("b")])[0]
    assert row.job.held == ("by an action of a, attempt 1" if flag == "hold_children" else None)


STEPS = """
    name: steps
    params: {x: 1, gone: 2, list: [0]}
    jobs:
      a:
        steps:
          - {name: one, run: "cp action.json $REKINDLE_ACTION; echo one >> ran"}
          - {name: two, run: "echo two ${params.x} >> ran; test -e fixed"}
          - {name: three, call: "calls:show"}
          - {name: four, run: "echo four ${params.x} >> ran"}
"""

SHOW = """
import json
from rekindle import Action

def show(ctx):
    with open("ran", "a") as out:
        print("three", json.dumps(dict(ctx.params), sort_keys=True), file=out)
    return Action(result={"seen": ctx.params["x"]}, set={"_inc": {"x": 10}})
"""


def test_later_steps_see_what_a_step_sets_also_when_a_resumed_attempt_keeps_it(project):
    from rekindle.domain.rerun.request import How

    write(project, {"set": {"x": 5, "_unset": {"gone": ""}, "_push": {"list": 1}}})
    (project.folder / "calls.py").write_text(SHOW)
    assert project.run(STEPS).exit_code == 2
    assert ran(project) == ["one", "two 5"]
    (project.folder / "fixed").touch()
    project.rerun("a", how=How("failed-step"))
    assert project.work().exit_code == 0
    assert ran(project)[2:] == ["two 5", 'three {"list": [0, 1], "x": 5}', "four 15"]
    steps = project.attempts("a")[-1].steps
    assert json.loads(steps[2].result) == {"seen": 5}
    assert [step.action is not None for step in steps] == [True, False, True, False]
    assert steps[0].kept_from == project.attempts("a")[0].id


def test_exit_leaves_the_remaining_steps_out(project):
    write(project, {"exit": True})
    (project.folder / "calls.py").write_text(SHOW)
    assert project.run(STEPS).exit_code == 0
    (attempt,) = project.attempts("a")
    assert attempt.state is DONE
    assert [(step.name, step.state) for step in attempt.steps] == [
        ("one", DONE),
        ("two", WAITING),
        ("three", WAITING),
        ("four", WAITING),
    ]
    assert ran(project) == ["one"]


def test_a_function_returns_an_action(project):
    (project.folder / "calls.py").write_text(
        "from rekindle import Action\n"
        "def grow():\n"
        "    return Action(result=7, add=[{'name': 'x', 'run': 'echo x >> ran'}])\n"
    )
    assert project.run("{name: f, jobs: {a: {call: 'calls:grow'}}}").exit_code == 0
    assert ran(project) == ["x"]
    assert project.attempts("a")[0].result == "7"


def test_a_job_that_fails_after_it_acted_has_nothing_in_force(project):
    write(project, {"add": [add("x")], "set": {"x": 3}, "set_children": {"x": 2}, "hold_children": True})
    (project.folder / "calls.py").write_text(SHOW)
    assert project.run(STEPS).exit_code == 2
    assert set(project.states()) == {"a"}
    job = project.job("a")
    with project.session.store.read() as archive:
        assert archive.dynamic_actions.in_force([job]) == {}


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("{", "$REKINDLE_ACTION is not JSON"),
        ("[]", "an action is a JSON object"),
        ({"ad": []}, "an action has no key 'ad'"),
        ({"exit": 1}, "`exit` is true or false"),
        ({"set": {"_pull": {}}}, "no modifier '_pull'"),
        ({"set": {"_inc": {"x": 1}}}, "`_inc` needs a number"),
        ({"set_children": {"_push": {"x": 1}}}, "`_push` needs a list"),
        ({"add": [{"run": "true"}]}, "has no name"),
        ({"add": [{"name": "x"}]}, "has nothing to do"),
        ({"add": [{"name": "x", "run": "echo ${params.nope}"}]}, "there is no parameter 'nope'"),
        ({"add": [{"name": "x", "rum": "true"}]}, "a job has no key 'rum'"),
        ({"add": [{"name": "x", "run": "true", "needs": ["nobody"]}]}, "there is no job 'nobody'"),
        ({"add": [{"name": "x", "run": "true", "needs": ["x"]}]}, "needs itself"),
        ({"add": [add("x", needs=["y"]), add("y", needs=["x"])]}, "in a cycle"),
        ({"add": [add("x")], "detour": [add("x")]}, "'x' is added twice"),
        ({"add": [add("b")]}, "'b' is taken by a job of the spec"),
        ({"detour": [add("x", needs=["b"])]}, "in a cycle"),
        ({"add": [add("x", outputs={"o": "made"})]}, "both write made"),
    ],
)
def test_an_invalid_action_fails_the_attempt_and_has_no_effect(project, action, told):
    jobs = "w: {run: 'touch made', outputs: {o: made}, needs: [a]}"
    assert project.run(spec(project, action, params="{x: text}", jobs=jobs)).exit_code == 2
    assert told in failure(project)
    assert project.states() == {"a": FAILED, "b": WAITING, "w": WAITING}


def test_an_added_job_needs_jobs_of_the_workflow_by_name_glob_entry_and_file(project):
    jobs = (
        "m: {matrix: {i: [1, 2]}, run: \"echo 'm' >> ran\"}\nw: {run: 'echo w >> ran; touch made', outputs: {o: made}}"
    )
    action = {"add": [add("x", needs=["m", "b"], inputs={"i": "made"}), add("y", matrix={"k": [1, 2]}, needs=["m*"])]}
    assert project.run(spec(project, action, params="{x: 1}", jobs=jobs)).exit_code == 0
    x = project.job("x")
    needed = {job.name for job in job_queries.parents(project.session, [x])[x]}
    assert needed == {"a", "b", "w", "m[i=1]", "m[i=2]"}
    assert Counter(ran(project)) == {"a": 1, "b 1": 1, "x": 1, "m": 2, "w": 1, "y": 2}


def test_a_new_revision_keeps_what_was_added_while_the_job_that_added_it_stays(project):
    project.run(spec(project, {"add": [add("x")], "detour": [add("y", needs=["x"])]}, params="{x: 1}"))
    text = spec(project, {}, params="{x: 2}", jobs="more: {run: 'true', needs: [b]}")
    assert project.submit(text).retired == ()
    assert project.work().exit_code == 0
    assert project.states() == dict.fromkeys(["a", "b", "x", "y", "more"], DONE)
    project.submit("{name: dyn, params: {x: 2}, jobs: {b: {run: 'true'}}}")
    assert set(project.states()) == {"b"}
    project.check()
    project.submit(text)  # it is back and has not acted since: its added jobs return with its next success
    assert set(project.states()) == {"a", "b", "more"}
    write(project, {"add": [add("x")]})
    project.rerun("a")
    assert project.work().exit_code == 0
    assert set(project.states()) == {"a", "b", "x", "more"}
    assert [attempt.archived_by is None for attempt in project.attempts("x")] == [False, True]


def test_a_new_revision_cannot_take_an_added_jobs_name_or_close_a_circle(project):
    from rekindle.domain.errors import SubmitRefused

    free = "free: {run: 'true'}\n"
    project.run(spec(project, {"detour": [add("x", needs=["free"])]}, params="{x: 1}", jobs=free))
    with pytest.raises(SubmitRefused, match="'x' is the name of a job that `a` added"):
        project.submit(spec(project, {}, params="{x: 1}", jobs=free + "x: {run: 'true'}"))
    with pytest.raises(SubmitRefused, match="in a cycle"):
        project.submit(spec(project, {}, params="{x: 1}", jobs="free: {run: 'true', needs: [b]}"))
    assert project.states() == dict.fromkeys(["a", "b", "x", "free"], DONE)


def test_a_rerun_of_a_job_that_had_added_jobs_runs_one_generation_of_them(project):
    project.run(spec(project, {"add": [add("x"), add("y")]}, params="{x: 1}"))
    project.rerun("a")
    assert project.states() == {"a": READY, "b": WAITING, "x": WAITING, "y": WAITING}
    assert project.work().exit_code == 0
    assert Counter(ran(project)) == {"a": 2, "b 1": 2, "x": 2, "y": 2}
    write(project, {"add": [add("y", run="echo other >> ran")]})
    project.rerun("a")
    assert project.work().exit_code == 0
    assert Counter(ran(project)) == {"a": 3, "b 1": 3, "x": 2, "y": 2, "other": 1}
    assert set(project.states()) == {"a", "b", "y"}
    assert len(job_queries.attempts(project.session, [project.job("x")])) == 2


def how(**more: object):
    from rekindle.domain.rerun.request import How

    return How(**more)  # type: ignore[arg-type]


def pointers(project) -> dict[str, object]:
    rows = job_queries.jobs(project.session, selections.select(project.session, Selection(everything=True)))
    return {row.job.name: (row.job.state, row.job.attempt, row.job.held, row.job.canceled) for row in rows}


def test_undo_dynamic_rolls_back_effects_until_they_are_repeated(project):
    action = {"add": [add("x")], "detour": [add("y", needs=["x"])], "set_children": {"x": 5}}
    project.run(spec(project, action, params="{x: 1}"))
    before, a = pointers(project), project.job("a")
    plan = rerun.plan(project.session, [([a], how())], {}).plan
    assert "`a` (attempt 1) had added `x`, `y`; changed the parameters of" in "\n".join(plan.warnings)
    assert plan.dynamic == ()
    applied = project.rerun("a", how=how(undo_dynamic=True))
    assert [(one.attempt, one.name, len(one.retires)) for one in applied.plan.dynamic] == [(1, "a", 2)]
    assert (applied.ready, applied.plan.expected.attempts) == (1, 2)
    assert project.states() == {"a": READY, "b": WAITING}
    x = project.job("x")
    assert job_queries.jobs(project.session, [x])[0].job.retired
    assert [one.archived_by for one in job_queries.attempts(project.session, [x])] == [applied.rerun]
    assert workflow_queries.rerun(project.session, applied.rerun).plan.dynamic == applied.plan.dynamic
    rerun.undo(project.session)
    project.check()
    assert pointers(project) == before
    with project.session.store.read() as archive:
        assert archive.dynamic_actions.in_force([a])[a].names == ("x", "y")
        assert len(archive.dynamic_actions.patches([a + 1])[a + 1]) == 1

    project.rerun("a", how=how(undo_dynamic=True))
    assert project.work().exit_code == 0
    assert project.states() == dict.fromkeys("abxy", DONE)
    assert ran(project) == ["a", "x", "y", "b 5", "a", "x", "y", "b 5"]
    assert project.job("x") == x


@pytest.mark.parametrize("flag", ["hold_children", "cancel_children", "stop_workflow"])
def test_holds_and_cancellations_of_an_action_are_taken_back_with_it(project, flag):
    jobs = "c: {run: 'true', needs: [b]}\nelse: {run: 'true', needs: [c]}\n"
    jobs += "far: {run: 'false'}\nfarther: {run: 'true', needs: [far]}"
    project.submit(spec(project, {flag: True}, params="{x: 1}", jobs=jobs))
    project.work(1)
    before = pointers(project)
    applied = project.rerun("a", how=how(undo_dynamic=True))
    after = project.states()
    assert after["b"] is WAITING
    assert pointers(project)["b"][2] is None
    if flag == "stop_workflow":
        assert before["far"][0] is CANCELED
        assert (after["far"], after["farther"]) == (READY, WAITING)
        assert {job.name for job in applied.plan.jobs} == {"a", "b", "c", "else", "far", "farther"}
    rerun.undo(project.session)
    project.check()
    assert pointers(project) == before
    write(project, {})
    project.rerun("a")
    project.work()
    assert project.states()["b"] is DONE
    assert pointers(project)["b"][2:] == (None, False)


def test_jobs_added_by_a_removed_job_are_removed(project):
    inner = json.dumps({"add": [add("z")]})
    (project.folder / "inner.json").write_text(inner)
    grow = {"name": "x", "run": "cp inner.json $REKINDLE_ACTION; echo x >> ran"}
    project.run(spec(project, {"add": [grow]}, params="{x: 1}"))
    assert project.states() == dict.fromkeys("abxz", DONE)
    before = pointers(project)
    project.rerun("a", how=how(undo_dynamic=True))
    assert set(project.states()) == {"a", "b"}
    rerun.undo(project.session)
    project.check()
    assert pointers(project) == before
    write(project, {})
    project.rerun("a")
    assert project.work().exit_code == 0
    assert set(project.states()) == {"a", "b"}
    assert len(job_queries.attempts(project.session, None)) == 6


PUSHERS = """\
name: fan-in-of-%d
params: {values: []}
jobs:
  push: {matrix: {n: {range: [0, %d]}}, call: "pushers:push", args: {n: "${matrix.n}"}}
  last: {needs: [push], run: "echo ${params.values} > ran"}
"""


@contextmanager
def cost_counted(store: Store) -> Iterator[list[Any]]:
    """Yield a list that grows with SQLite's instructions, or with PostgreSQL's statements."""
    driver = store._driver
    if driver.dialect == "postgres":
        with statements_of(store) as counted:
            yield counted
        return
    counted = []
    driver.connection.set_progress_handler(lambda: counted.append(1), 100)
    yield counted
    driver.connection.set_progress_handler(None, 100)


def test_a_change_of_one_job_by_many_costs_the_same_for_each(project):
    (project.folder / "pushers.py").write_text(
        "from rekindle import Action\n\ndef push(n):\n    return Action(set_children={'_push': {'values': n}})\n"
    )
    costs = []
    with cost_counted(project.session.store) as counted:
        for number in (50, 250):
            counted.clear()
            assert project.run(PUSHERS % (number, number), slots=1).exit_code == 0
            assert sorted(json.loads(ran(project)[0])) == list(range(number))
            costs.append(len(counted) / number)
    assert costs[1] < 1.5 * costs[0]


def test_the_jobs_that_need_it_may_get_another_result(project):
    (project.folder / "acts.py").write_text(
        "from rekindle import Action\n\n"
        "def act(**what):\n    return Action(**what)\n\n"
        "def see(ctx):\n    return {name: one['result'] for name, one in ctx.inputs.items()}\n"
    )
    project.run(
        """
        name: passed
        jobs:
          two:
            steps:
              - {name: first, call: "acts:act", args: {result: [1, 2], result_for_children: 0}}
              - {name: last, call: "acts:act", args: {result: [3, 4], result_for_children: 2}}
          plain: {call: "acts:act", args: {result: 5}}
          see: {needs: [two, plain], call: "acts:see"}
        """
    )
    (two,) = project.attempts("two")
    assert [json.loads(step.result) for step in two.steps] == [[1, 2], [3, 4]]
    (see,) = project.attempts("see")
    assert json.loads(see.result) == {"two": 2, "plain": 5}


def test_a_result_for_children_must_be_json(project):
    (project.folder / "acts.py").write_text(
        "from rekindle import Action\n\ndef act():\n    return Action(result=1, result_for_children=act)\n"
    )
    project.run("{name: bad, jobs: {a: {call: 'acts:act'}}}")
    (attempt,) = project.attempts("a")
    assert (attempt.state, attempt.failure.type) == (FAILED, "BadResult")
