"""Jobs that a person records as completed: what runs after them, what is compared, and undo."""

from __future__ import annotations

import pytest

from rekindle.domain.errors import NotFound, PlanRefused, Refused, UndoRefused, UsageError
from rekindle.domain.rerun.request import How
from rekindle.domain.states import State
from rekindle.engine.queries import workflow_queries
from rekindle.engine.rerun import complete as completing
from rekindle.engine.rerun import control, rerun
from rekindle.engine.rerun.complete import CompleteOptions
from rekindle.engine.staleness.stale_jobs import explain

W, R, Q, X, C, F, K = State

CHAIN = """
    name: chain
    jobs:
      a: {run: "exit 3", inputs: {raw: raw}, outputs: {o: a.txt}}
      b: {run: "cat ${inputs.i} > ${outputs.o}", inputs: {i: a.txt}, outputs: {o: b.txt}}
      report: {needs: [b], run: "cat b.txt > report.txt"}
"""


@pytest.fixture
def chain(project):
    (project.folder / "raw").write_text("1\n")
    assert project.run(CHAIN).exit_code == 2
    return project


def complete(project, *names, **options):
    jobs = [project.job(name) for name in names]
    done = completing.complete(project.session, jobs, {"jobs": jobs, "by": "ann"}, CompleteOptions(**options))
    project.check()
    return done


def word(project, name):
    [found] = explain(project.session, [project.job(name)])
    return found.word


def test_a_failed_job_is_completed_with_its_files_and_the_jobs_below_go_on(chain):
    (chain.folder / "a.txt").write_text("by hand\n")
    done = complete(chain, "a", note="from the cluster")
    assert [job.name for job in done.plan.jobs] == ["a"]
    assert chain.states() == {"a": C, "b": R, "report": W}
    assert done.ready == 1
    earlier, attempt = chain.attempts("a")
    assert (earlier.archived_by, attempt.completed_by, attempt.number) == (done.rerun, done.rerun, 2)
    assert (attempt.state, attempt.cause, attempt.started) == (C, None, None)
    record = workflow_queries.rerun(chain.session, done.rerun)
    assert (record.kind, record.note, record.by) == ("complete", "from the cluster", "ann")
    assert chain.work().exit_code == 0
    assert (chain.folder / "report.txt").read_text() == "by hand\n"


def test_a_completed_job_becomes_stale_as_any_other_does(chain):
    (chain.folder / "a.txt").write_text("by hand\n")
    complete(chain, "a")
    assert word(chain, "a") == "current"
    assert chain.work().exit_code == 0
    assert word(chain, "b") == "current"
    (chain.folder / "raw").write_text("2\n")
    assert word(chain, "a") == "stale"
    (chain.folder / "raw").write_text("1\n")
    (chain.folder / "a.txt").write_text("edited\n")
    assert (word(chain, "a"), word(chain, "b")) == ("stale", "stale")
    chain.submit(CHAIN.replace("exit 3", "exit 4"))
    (chain.folder / "a.txt").write_text("by hand\n")
    [found] = explain(chain.session, [chain.job("a")])
    assert [reason.kind.value for reason in found.reasons] == ["definition"]


def test_code_and_files_that_commands_name_are_compared_too(project):
    (project.folder / "tool.py").write_text("def f():\n    return 1\n")
    (project.folder / "script.sh").write_text("true\n")
    project.submit("""
        name: code
        jobs:
          call: {call: "tool:f"}
          command: {run: "sh script.sh"}
    """)
    complete(project, "call", "command")
    assert (word(project, "call"), word(project, "command")) == ("current", "current")
    (project.folder / "tool.py").write_text("def f():\n    return 2\n")
    (project.folder / "script.sh").write_text("false\n")
    assert (word(project, "call"), word(project, "command")) == ("stale", "stale")


def test_undo_brings_the_failure_back(chain):
    (chain.folder / "a.txt").write_text("by hand\n")
    complete(chain, "a")
    undone = rerun.undo(chain.session)
    chain.check()
    assert [name for _, name, _ in undone.jobs] == ["a"]
    assert chain.states() == {"a": F, "b": W, "report": W}
    earlier, attempt = chain.attempts("a")
    assert (earlier.archived_by, attempt.archived_by) == (None, undone.rerun)
    again = complete(chain, "a")
    assert again.rerun == undone.rerun + 1
    assert len(chain.attempts("a")) == 3


def test_undo_is_refused_once_a_job_below_has_used_the_results(chain):
    (chain.folder / "a.txt").write_text("by hand\n")
    complete(chain, "a")
    assert chain.work().exit_code == 0
    with pytest.raises(UndoRefused, match="`b` has started"):
        rerun.undo(chain.session)


def test_jobs_of_a_chain_are_completed_in_one_operation_and_undone_in_one(chain):
    for name in ("a.txt", "b.txt"):
        (chain.folder / name).write_text("by hand\n")
    done = complete(chain, "a", "b")
    assert [job.name for job in done.plan.jobs] == ["a", "b"]
    assert (word(chain, "a"), word(chain, "b")) == ("current", "current")
    assert chain.states()["report"] is R
    rerun.undo(chain.session, done.rerun)
    chain.check()
    assert chain.states() == {"a": F, "b": W, "report": W}


def test_a_waiting_job_is_completed_and_is_stale_once_its_need_has_run(project):
    project.submit("""
        name: waiting
        jobs:
          a: {run: "echo 1 > a.txt", outputs: {o: a.txt}}
          b: {run: "false", needs: [a]}
          c: {run: "true", needs: [b]}
    """)
    done = complete(project, "b")
    assert done.plan.warnings == ("`b` becomes stale once `a`, which it needs, has run",)
    assert project.states() == {"a": R, "b": C, "c": R}
    assert project.work().exit_code == 0
    assert word(project, "b") == "stale"


def test_missing_outputs_refuse_a_job_by_name_and_the_others_are_completed(chain):
    with pytest.raises(PlanRefused, match=r"missing_output: its declared output is not there: o \(.*a\.txt\)"):
        complete(chain, "a")
    assert chain.states()["a"] is F
    (chain.folder / "a.txt").write_text("by hand\n")
    done = complete(chain, "a", "b")
    assert ([job.name for job in done.plan.jobs], [job.name for job in done.plan.refused]) == (["a"], ["b"])


def test_completed_and_retired_jobs_are_named(chain):
    (chain.folder / "a.txt").write_text("by hand\n")
    complete(chain, "a")
    done = complete(chain, "a")
    assert (done.rerun, done.completed) == (None, (chain.job("a"),))


def test_outputs_from_elsewhere_are_copied_into_place(chain, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "result").write_text("from elsewhere\n")
    (chain.folder / "a.txt").write_text("half\n")
    outputs = {"o": str(elsewhere / "result")}
    dry = complete(chain, "a", outputs=outputs, dry_run=True)
    target = str(chain.folder / "a.txt")
    assert (dry.rerun, dry.copied, dry.plan.overwrites) == (None, ((outputs["o"], target),), (target,))
    assert (chain.folder / "a.txt").read_text() == "half\n"
    done = complete(chain, "a", outputs=outputs)
    assert done.copied == dry.copied
    assert (chain.folder / "a.txt").read_text() == "from elsewhere\n"
    assert word(chain, "a") == "current"
    assert not [one for one in chain.folder.iterdir() if one.name.startswith(".rekindle-")]


def test_a_folder_replaces_a_folder(project, tmp_path):
    project.submit("""
        name: folders
        jobs:
          a: {run: "false", outputs: {o: out}}
    """)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "file").write_text("new")
    (project.folder / "out").mkdir()
    (project.folder / "out" / "old").write_text("old")
    complete(project, "a", outputs={"o": str(elsewhere)})
    assert (project.folder / "out" / "deep" / "file").read_text() == "new"
    assert not (project.folder / "out" / "old").exists()


def test_outputs_that_are_not_there_or_not_declared_change_nothing(chain, tmp_path):
    with pytest.raises(Refused, match="is not at"):
        complete(chain, "a", outputs={"o": str(tmp_path / "nothing")})
    with pytest.raises(NotFound, match="declares no output 'other'"):
        complete(chain, "a", outputs={"other": str(tmp_path)})
    with pytest.raises(UsageError, match="for one job"):
        complete(chain, "a", "b", outputs={"o": str(tmp_path)})
    assert chain.states()["a"] is F


def test_a_result_is_handed_to_the_jobs_below(project):
    project.submit("""
        name: results
        jobs:
          a: {run: "false"}
          b: {needs: [a], run: 'echo "$REKINDLE_INPUTS" > inputs.json'}
    """)
    complete(project, "a", result='{"score": 7}')
    assert project.work().exit_code == 0
    assert '"score": 7' in (project.folder / "inputs.json").read_text().replace('":7', '": 7')


def test_a_report_of_what_finished_waits_again_for_what_can_run_now(project):
    project.submit("""
        name: finished
        jobs:
          a: {run: "false"}
          b: {needs: [a], run: "true"}
          report: {needs: [b], when: finished, run: "true"}
    """)
    control.hold(project.session, [project.job("report")])
    project.work()
    assert project.states() == {"a": F, "b": W, "report": R}
    done = complete(project, "a")
    assert project.states() == {"a": C, "b": R, "report": W}
    rerun.undo(project.session, done.rerun)
    project.check()
    assert project.states() == {"a": F, "b": W, "report": R}


def test_a_held_or_canceled_job_is_completed_and_released(project):
    project.submit("""
        name: held
        jobs: {a: {run: "false"}, b: {run: "false"}, c: {run: "true", needs: [a, b]}}
    """)
    control.hold(project.session, [project.job("a")])
    control.cancel(project.session, [project.job("b")])
    done = complete(project, "a", "b")
    assert project.states() == {"a": C, "b": C, "c": R}
    rerun.undo(project.session, done.rerun)
    project.check()
    assert project.states() == {"a": R, "b": K, "c": W}


def test_a_job_in_a_folder_of_its_attempt_is_completed_in_that_folder(project):
    project.submit("""
        name: apart
        workdir: attempt
        jobs:
          a: {run: "false", outputs: {o: out.txt}}
          b: {run: "true", outputs: {o: out.txt}}
    """)
    with pytest.raises(PlanRefused, match="it has none"):
        complete(project, "b")
    project.work()
    [failed] = project.attempts("a")
    from pathlib import Path

    Path(failed.folder).mkdir(parents=True, exist_ok=True)
    (Path(failed.folder) / "out.txt").write_text("by hand")
    complete(project, "a")
    assert project.states()["a"] is C
    assert word(project, "a") == "current"


def test_a_fan_out_and_an_aggregate_are_completed_whole(project):
    project.submit("""
        name: whole
        jobs:
          fan: {steps: [{name: each, each: ["1", "2"], run: "false"}]}
          sum: {needs: [fan], aggregate: true, run: "true"}
    """)
    project.work()
    complete(project, "fan", "sum")
    assert project.states() == {"fan": C, "sum": C}
    assert (word(project, "fan"), word(project, "sum")) == ("unknown", "current")
    project.rerun("fan", how=How())
    assert project.states() == {"fan": R, "sum": W}


def test_a_job_that_must_not_run_twice_stays_completed(project):
    project.submit("""
        name: once
        jobs: {a: {run: "true", manual: {rerun: forbidden, reason: "it sends a letter"}}}
    """)
    complete(project, "a")
    with pytest.raises(PlanRefused, match="must not run twice"):
        project.rerun("a")
