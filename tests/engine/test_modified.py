"""Reruns with other parameters, environments and resources, and resume points that are kept."""

from __future__ import annotations

import json

from rekindle.domain.overrides import Overrides, decode_overrides
from rekindle.domain.rerun.request import How
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries
from rekindle.engine.rerun import rerun

TUNED = """
    name: tuned
    params: {alpha: 1, beta: 2}
    jobs:
      fit:
        run: "echo ${params.alpha} $WHERE >> log; test ${params.alpha} = 5"
        env: {WHERE: here}
        outputs: {log: log}
        resources: {memory: 1M, time: 1h, cpus: 1}
      report: {needs: [fit], run: "echo report >> log"}
"""


def lines(project):
    return (project.folder / "log").read_text().splitlines()


def fit(project):
    return job_queries.jobs(project.session, [project.job("fit")])[0]


def test_a_parameter_set_on_a_rerun_reaches_the_attempt_and_is_recorded(project):
    assert project.run(TUNED).exit_code == 2
    how = How(overrides=Overrides({"alpha": 5}, {"WHERE": "there-${params.alpha}"}, memory="x2", time="30m", cpus=0.5))
    project.rerun("fit", how=how)
    assert (fit(project).resources.memory, fit(project).resources.time, fit(project).resources.cpus) == (
        2 << 20,
        1800.0,
        0.5,
    )
    assert project.work().exit_code == 0
    assert lines(project) == ["1 here", "5 there-5", "report"]
    first, second = project.attempts("fit")
    assert first.overrides is None
    assert decode_overrides(second.overrides).params == {"alpha": 5}
    assert project.attempts("report")[0].overrides is None


def test_modifications_end_with_the_next_rerun_of_the_job(project):
    project.run(TUNED)
    project.rerun("fit", how=How(overrides=Overrides({"alpha": 5}, memory="x2")))
    project.work()
    project.rerun("fit")
    assert (fit(project).resources.memory, fit(project).job.next.overrides) == (1 << 20, None)
    project.work()
    assert project.states()["fit"] is State.FAILED


def test_modifications_can_be_kept_and_last_through_a_reset_from_above(project):
    project.run(TUNED.replace("report: {needs: [fit]", "top: {run: 'true'}\n      report: {needs: [top]"))
    project.rerun("report", how=How(overrides=Overrides({"beta": 7}, memory="2M")))
    project.work()
    project.rerun("report", how=How(overrides=Overrides(cpus=0.5), keep_modified=True))
    project.rerun("top")
    project.work()
    last = project.attempts("report")[-1]
    assert decode_overrides(last.overrides) == decode_overrides(
        '{"params": {"beta": 7}, "memory": 2097152, "cpus": 0.5}'
    )


def test_undo_takes_modifications_and_classes_back(project):
    project.run(TUNED)
    before = fit(project)
    project.rerun("fit", how=How(overrides=Overrides(memory="x2")))
    rerun.undo(project.session)
    project.check()
    assert fit(project).resources == before.resources
    project.rerun("fit", how=How(overrides=Overrides({"alpha": 5}, memory="x2")))
    project.work()
    project.rerun("fit")
    rerun.undo(project.session)
    project.check()
    assert (fit(project).resources.memory, fit(project).job.next.overrides) == (
        2 << 20,
        '{"memory": 2097152, "params": {"alpha": 5}}',
    )


def test_a_revision_keeps_what_was_modified(project):
    project.run(TUNED)
    project.rerun("fit", how=How(overrides=Overrides(memory="4M")))
    project.submit(TUNED.replace("time: 1h, cpus: 1", "cpus: 0.25"))
    project.check()
    assert (fit(project).resources.memory, fit(project).resources.cpus) == (4 << 20, 0.25)


def test_a_revision_drops_what_was_modified_where_it_changes_that(project):
    project.run(TUNED)
    project.rerun("fit", how=How(overrides=Overrides(memory="4M", time="2h")))
    done = project.submit(TUNED.replace("memory: 1M", "memory: 8M"))
    project.check()
    assert (fit(project).resources.memory, fit(project).resources.time) == (8 << 20, 7200)
    said = "fit: the override memory=4.0 MiB is dropped: the spec now says memory = 8.0 MiB (was 1.0 MiB)"
    assert done.warnings == (said,)


def test_a_time_that_is_shortened_on_a_rerun_ends_the_attempt(project):
    project.run('{name: slow, jobs: {nap: {run: "test -e fast || sleep 60", resources: {time: 200ms}}}}', 1)
    assert project.attempts("nap")[0].cause == "timeout"
    project.rerun("nap", how=How(overrides=Overrides(time="x2")))
    project.work()
    last = project.attempts("nap")[-1]
    assert last.cause == "timeout"
    assert "0.4 s" in last.failure.message


def test_a_parameter_reaches_a_call_and_what_follows_sees_where_its_output_is(project):
    (project.folder / "made.py").write_text(
        "from pathlib import Path\ndef write(n, ctx):\n    Path(f'out{n}').touch()\n    return [n, ctx.params['n']]\n"
    )
    project.run(
        """
        name: called
        params: {n: 1}
        jobs:
          make: {call: "made:write", args: {n: "${params.n}"}, outputs: {o: "out${params.n}"}}
          use: {needs: [make], run: "echo $REKINDLE_INPUTS > inputs"}
        """
    )
    project.rerun("make", how=How(overrides=Overrides({"n": 3})))
    assert project.work().exit_code == 0
    assert json.loads(project.attempts("make")[-1].result) == [3, 3]
    told = json.loads((project.folder / "inputs").read_text())
    assert told["make"]["outputs"]["o"] == str(project.folder / "out3")


STEPS = """
    name: steps
    jobs:
      five:
        steps:
          - {name: one, run: 'echo one >> log; echo "\\"r1\\"" > $REKINDLE_RESULT'}
          - {name: two, run: "echo two >> log"}
          - {name: three, run: "echo three ${steps.one.result} >> log; test -e fixed"}
"""


def test_a_resume_point_that_is_kept_serves_later_plain_reruns_until_it_is_cleared(project):
    project.run(STEPS)
    applied = project.rerun("five", how=How("failed-step", recovery="keep"))
    project.work()
    assert lines(project) == ["one", "two", "three r1", "three r1"]
    (project.folder / "fixed").touch()
    plain = project.rerun("five")
    assert plain.plan.jobs[0].reasons[-1].detail == {"rerun": applied.rerun}
    project.work()
    assert lines(project)[4:] == ["three r1"]
    last = project.attempts("five")[-1]
    assert [step.kept_from for step in last.steps] == [1, 1, None]
    project.rerun("five", how=How(recovery="clear"))
    project.work()
    assert lines(project)[5:] == ["one", "two", "three r1"]
    project.rerun("five")
    project.work()
    assert lines(project)[8:] == ["one", "two", "three r1"]


def test_undo_brings_back_the_resume_point_that_was_kept(project):
    project.run(STEPS)
    first = project.rerun("five", how=How("failed-step", recovery="keep"))
    project.work()
    project.rerun("five", how=How(recovery="clear"))
    rerun.undo(project.session)
    assert fit_of(project, "five").next.keep_recovery == first.rerun
    project.rerun("five")
    project.work()
    assert lines(project)[3:] == ["three r1", "three r1"]


def fit_of(project, name):
    return job_queries.jobs(project.session, [project.job(name)])[0].job
