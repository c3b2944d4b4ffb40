"""Differences between two attempts."""

from __future__ import annotations

from msgspec.structs import replace

from rekindle.domain.changes.differences import AttemptContext, Difference, attempt_differences
from rekindle.domain.changes.fingerprints import FileContent, FileFingerprints
from rekindle.domain.definition import Each, JobTemplate, Resources, Step
from rekindle.domain.models import Attempt, StepOutcome
from rekindle.domain.states import Cause, State

FIT = JobTemplate("fit", (Step("load", run=("cp", "a", "b")), Step("fit", run="fit --fast")), env={"N": "1"})
DONE = Attempt(1, 3, 1, 1, "t", State.COMPLETED, 1, 5, exit_code=0, host="here", started=10.0, ended=12.5)


def told(
    a: Attempt, b: Attempt, before: JobTemplate = FIT, after: JobTemplate = FIT
) -> dict[str, tuple[object, object]]:
    return {one.field: (one.a, one.b) for one in attempt_differences(a, b, before, after)}


def test_an_attempt_does_not_differ_from_itself() -> None:
    assert attempt_differences(DONE, DONE, FIT, FIT) == []


def test_identities_of_attempts_are_no_difference() -> None:
    again = replace(DONE, id=2, number=2, token="u", template=6, pid=7, started=20.0, ended=22.5, archived_by=1)
    assert told(DONE, again) == {}


def test_outcomes_and_usage_are_compared() -> None:
    failed = replace(DONE, state=State.FAILED, cause=Cause.EXIT, exit_code=3, ended=11.0, max_rss_bytes=2048)
    assert told(failed, DONE) == {
        "state": ("failed", "completed"),
        "cause": ("exit", None),
        "exit_code": (3, 0),
        "seconds": (1.0, 2.5),
        "max_rss_bytes": (2048, None),
    }


def test_commands_are_compared_by_the_name_of_their_step() -> None:
    new = replace(FIT, steps=(Step("fetch", run="true"), FIT.steps[0], Step("fit", run="fit --well")))
    assert told(DONE, replace(DONE, revision=2), FIT, new) == {
        "revision": (1, 2),
        "template.steps": (["load", "fit"], ["fetch", "load", "fit"]),
        "template.steps.fetch.run": (None, "true"),
        "template.steps.fit.run": ("fit --fast", "fit --well"),
    }


def test_each_template_field_has_its_own_name() -> None:
    each = replace(FIT, steps=(FIT.steps[0], replace(FIT.steps[1], each=Each(glob="*.x"), args={"k": {"deep": 1}})))
    after = replace(each, env={"N": "2"}, resources=Resources(memory=5, licences=(("solver", 2),)), workdir="attempt")
    found = told(DONE, DONE, FIT, after)
    assert found["template.steps.fit.each.glob"] == (None, "*.x")
    assert found["template.steps.fit.args.k.deep"] == (None, 1)
    assert found["template.env.N"] == ("1", "2")
    assert found["template.resources.memory"] == (0, 5)
    assert found["template.resources.licences.solver"] == (None, 2)
    assert found["template.workdir"] == ("project", "attempt")
    assert "template.resources.cpus" not in found


def test_overrides_are_compared() -> None:
    tuned = replace(DONE, overrides='{"env": {"N": "2"}, "memory": 7, "params": {"alpha": {"x": 5}}}', builds_on=1)
    assert told(DONE, replace(tuned, start_step=1)) == {
        "modified.env.N": (None, "2"),
        "modified.memory": (None, 7),
        "modified.params.alpha": (None, {"x": 5}),
        "start_step": (0, 1),
        "builds_on": (None, 1),
    }


def test_results_are_compared_path_by_path() -> None:
    a, b = replace(DONE, result='{"k": [1], "s": true, "gone": 1}'), replace(DONE, result='{"s": 1, "k": [1]}')
    assert told(a, b) == {"result.s": (True, 1), "result.gone": (1, None)}
    assert told(a, replace(DONE, result="[1]")) == {"result": ({"k": [1], "s": True, "gone": 1}, [1])}


def test_results_diverge_within_objects_and_equal_lists() -> None:
    a, b = replace(DONE, result='{"k": {"x": [1, {"y": 2}]}}'), replace(DONE, result='{"k": {"x": [1, {"y": 3}]}}')
    assert told(a, b) == {"result.k.x[1].y": (2, 3)}
    assert told(a, replace(DONE, result='{"k": {"x": [1]}}')) == {"result.k.x": ([1, {"y": 2}], [1])}


def test_unrecorded_parts_are_not_compared() -> None:
    model = FileContent("model", "/x", "aa")
    one = AttemptContext(
        {"p": 1},
        {"m": 1},
        Resources(),
        {"mod": "1"},
        FileFingerprints((FileContent("i", "/i", "11"),), (model,), {"E": "e"}),
    )
    other = AttemptContext({"p": 1}, {"m": 1})
    assert attempt_differences(DONE, DONE, FIT, FIT, one, other) == []
    unlike = replace(one, resources=Resources(memory=5), code={"mod": "2"}, needed={"up": "x"})
    found = attempt_differences(
        DONE, DONE, FIT, FIT, one, replace(unlike, prints=FileFingerprints((), (replace(model, digest="bb"),)))
    )
    assert {each.field: (each.a, each.b) for each in found} == {
        "resources.memory": (0, 5),
        "code.mod": ("1", "2"),
        "inputs.i": ("11", None),
        "environment.E": ("e", None),
        "needs.up": (None, "x"),
        "outputs.model": ("aa", "bb"),
    }


def test_steps_are_compared_by_name() -> None:
    load = StepOutcome(0, "load", State.COMPLETED, exit_code=0, started=1.0, ended=2.0)
    fit = StepOutcome(1, "fit", State.FAILED, Cause.SIGNAL, signal=9, started=2.0, ended=3.0)
    a = replace(DONE, steps=(load, fit))
    b = replace(DONE, steps=(replace(fit, position=0), replace(load, position=1, ended=4.0)))
    assert attempt_differences(a, b, FIT, FIT) == [Difference("steps.load.seconds", 1.0, 3.0)]
    assert told(a, replace(a, steps=(load,)))["steps.fit.signal"] == (9, None)
