"""Explaining staleness: unknown and upstream jobs, failures, results, aggregates and actions."""

from __future__ import annotations

import pytest
from engine_project import Project

from rekindle.domain.changes.fingerprints import Baseline
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.rerun import control, rerun
from rekindle.engine.staleness import stale_jobs
from rekindle.engine.staleness.contents import read_contents
from rekindle.engine.staleness.measure import measure_attempts
from rekindle.engine.staleness.stale_jobs import Explanation

CHAIN = """
name: chain
params: {alpha: 1}
jobs:
  a: {run: "cat raw.txt > a.txt; echo ${params.alpha}", inputs: {raw: raw.txt}, outputs: {out: a.txt}}
  b: {run: "cat ${inputs.a}", inputs: {a: a.txt}}
  c: {run: "true", needs: [b]}
  lone: {run: "true"}
"""


@pytest.fixture
def chain(project: Project) -> Project:
    (project.folder / "raw.txt").write_text("raw\n")
    assert project.run(CHAIN).exit_code == 0
    return project


def explain(project: Project) -> dict[str, Explanation]:
    ids = selections.select(project.session, Selection(everything=True))
    return {one.job.name: one for one in stale_jobs.explain(project.session, ids)}


def words(project: Project) -> dict[str, str]:
    return {name: one.word for name, one in explain(project).items()}


def kinds(project: Project, name: str) -> list[ReasonKind]:
    return [reason.kind for reason in explain(project)[name].reasons]


def edit_live(project: Project, name: str) -> int:
    return job_queries.attempts(project.session, [project.job(name)], live=True)[0].id


def test_jobs_without_anything_to_compare_are_unknown_and_not_stale(chain: Project) -> None:
    assert words(chain) == {"a": "current", "b": "current", "c": "unknown", "lone": "unknown"}
    found = explain(chain)
    assert (found["lone"].stale, found["a"].stale) == (None, False)
    ids = selections.select(chain.session, Selection(everything=True))
    assert stale_jobs.find_stale_jobs(chain.session, ids).unknown == (chain.job("c"), chain.job("lone"))


def test_a_job_below_one_that_is_stale_names_the_nearest(chain: Project) -> None:
    (chain.folder / "raw.txt").write_text("other\n")
    found = explain(chain)
    assert words(chain) == {"a": "stale", "b": "upstream", "c": "upstream", "lone": "unknown"}
    assert [reason.detail for reason in found["c"].reasons] == [{"job": chain.job("a"), "name": "a"}]
    [reason] = found["a"].reasons
    assert reason.detail["path"] == str(chain.folder / "raw.txt")
    assert reason.detail["before"] != reason.detail["after"]


def test_explaining_some_jobs_looks_at_all_above_them(chain: Project) -> None:
    (chain.folder / "raw.txt").write_text("other\n")
    [found] = stale_jobs.explain(chain.session, [chain.job("c")])
    assert (found.word, found.stale) == ("upstream", False)


def test_failed_jobs_are_stale_once_something_of_theirs_has_changed(project: Project) -> None:
    (project.folder / "raw.txt").write_text("raw\n")
    spec = "name: f\njobs:\n  f: {run: 'false', inputs: {raw: raw.txt}, outputs: {out: never.txt}}\n"
    project.run(spec + "  later: {needs: [f], run: 'true'}\n")
    assert words(project) == {"f": "failed", "later": "new"}
    (project.folder / "raw.txt").write_text("mended\n")
    assert kinds(project, "f") == [ReasonKind.INPUT]


def test_a_job_that_failed_for_a_missing_input_is_stale_once_it_is_there(project: Project) -> None:
    project.run("name: f\njobs:\n  f: {run: 'true', inputs: {raw: raw.txt}}\n")
    assert words(project) == {"f": "failed"}
    (project.folder / "raw.txt").write_text("here\n")
    [reason] = explain(project)["f"].reasons
    assert (reason.kind, reason.detail["before"]) == (ReasonKind.INPUT, None)


def test_reset_held_and_canceled_jobs_are_not_stale(chain: Project) -> None:
    chain.rerun("b")
    assert words(chain) == {"a": "current", "b": "reset", "c": "reset", "lone": "unknown"}
    control.cancel(chain.session, [chain.job("b")])
    assert words(chain)["b"] == "canceled"


def test_a_modified_attempt_is_not_stale_for_that(chain: Project) -> None:
    chain.rerun("a", how=How(overrides=Overrides({"alpha": 5}, {"X": "1"})))
    chain.work()
    assert words(chain)["a"] == "current"
    (chain.folder / "raw.txt").write_text("other\n")
    ids = selections.select(chain.session, Selection(everything=True, changed=True))
    rerun.apply(chain.session, rerun.plan(chain.session, [(ids, How(keep_modified=True))], {}))
    chain.work()
    assert job_queries.attempts(chain.session, [chain.job("a")], live=True)[0].overrides is not None
    assert words(chain)["a"] == "current"


def test_the_reasons_stand_in_the_plan_and_in_its_record(chain: Project) -> None:
    (chain.folder / "raw.txt").write_text("other\n")
    found = stale_jobs.find_stale_jobs(chain.session, [chain.job("a")]).stale
    plan = rerun.plan(chain.session, [(list(found), How())], {}, why=found)
    assert [reason.kind for reason in plan.plan.jobs[0].reasons] == [ReasonKind.SELECTED, ReasonKind.INPUT]
    applied = rerun.apply(chain.session, plan)
    assert workflow_queries.rerun(chain.session, applied.rerun).plan.jobs[0].reasons == plan.plan.jobs[0].reasons


def test_results_are_compared_by_value(project: Project) -> None:
    """A needed job's equal result is no difference, another result is, and a missing one cannot be compared."""
    spec = """
    name: results
    jobs:
      told: {run: 'cat value > $REKINDLE_RESULT'}
      mute: {run: "true"}
      one: {run: "true", needs: [told]}
      other: {run: "true", needs: [mute]}
    """
    (project.folder / "value").write_text("1")
    project.run(spec)
    assert words(project) == {"told": "current", "mute": "unknown", "one": "current", "other": "unknown"}

    def again(name: str) -> None:
        """Rerun only this job, with downstream left."""
        below = {"told": "one", "mute": "other"}[name]
        kept, job = edit_live(project, below), project.job(below)
        project.rerun(name)
        project.work()
        with project.session.store.write() as archive:
            earlier = archive.fingerprints.needed([kept])[kept]
            archive.fingerprints.put_needed({archive.jobs.live([job])[job].id: earlier})

    again("told")
    assert words(project)["one"] == "current"
    (project.folder / "value").write_text("2")
    again("told")
    assert kinds(project, "one") == [ReasonKind.RESULT]
    again("mute")
    assert kinds(project, "other") == [ReasonKind.OPAQUE]


def test_an_input_that_changed_while_the_attempt_ran_makes_it_stale(project: Project) -> None:
    (project.folder / "raw.txt").write_text("raw\n")
    project.run("name: u\njobs:\n  u: {run: 'echo more >> raw.txt', inputs: {raw: raw.txt}}\n")
    assert ReasonKind.UNSTABLE in kinds(project, "u")


def test_a_file_that_is_both_input_and_output_is_compared_as_an_output(project: Project) -> None:
    (project.folder / "raw.txt").write_text("raw\n")
    spec = "name: u\njobs:\n  u: {run: 'echo more >> raw.txt', inputs: {raw: raw.txt}, outputs: {out: raw.txt}}\n"
    project.run(spec)
    assert words(project) == {"u": "current"}
    (project.folder / "raw.txt").write_text("other\n")
    assert kinds(project, "u") == [ReasonKind.OUTPUT]


def test_an_aggregate_is_stale_when_anything_it_needs_has_run_again(project: Project) -> None:
    (project.folder / "value").write_text("1")
    spec = "name: g\njobs:\n  told: {run: 'cat value > $REKINDLE_RESULT'}\n"
    project.run(spec + "  all: {aggregate: true, run: 'true', needs: [told]}\n")
    kept, job = edit_live(project, "all"), project.job("all")
    project.rerun("told")
    project.work()
    with project.session.store.write() as archive:
        earlier = archive.fingerprints.needed([kept])[kept]
        archive.fingerprints.put_needed({archive.jobs.live([job])[job].id: earlier})
    assert kinds(project, "all") == [ReasonKind.AGGREGATE]


def test_changes_that_actions_made_count_like_parameters(project: Project) -> None:
    spec = """
    name: acts
    params: {alpha: 1}
    jobs:
      first: {run: "cat act > $REKINDLE_ACTION", inputs: {act: act}}
      then: {run: "echo ${params.alpha}", needs: [first]}
    """
    (project.folder / "act").write_text('{"set_children": {"alpha": 5}}')
    project.run(spec)
    assert words(project)["then"] == "unknown"
    project.submit(spec.replace("alpha: 1", "alpha: 2"))
    assert words(project)["then"] == "unknown"  # the action's value overrides both


def test_an_attempt_knows_the_matrix_values_that_it_ran_with(project: Project) -> None:
    spec = "name: m\njobs:\n  m: {matrix: {k: [VALUE]}, run: 'echo ${matrix.k}'}\n"
    project.run(spec.replace("VALUE", "1"))
    before = job_queries.attempts(project.session, None)[0]
    project.submit(spec.replace("VALUE", "'1'"))
    [found] = [one for one in explain(project).values() if not one.job.retired]
    [reason] = found.reasons
    assert reason.detail == {"name": "matrix.k", "before": 1, "after": "1"}
    [after] = [one for one in job_queries.attempts(project.session, None) if one.id == before.id]
    assert after.binding == '{"k":1}'


def test_an_accepted_basis_replaces_the_recorded_one(chain: Project) -> None:
    (chain.folder / "raw.txt").write_text("cosmetic\n")
    (chain.folder / "a.txt").write_text("cosmetic\n")
    chain.submit(CHAIN.replace("alpha: 1", "alpha: 2"))
    assert words(chain) == {"a": "stale", "b": "stale", "c": "upstream", "lone": "unknown"}
    accept(chain, "a", "b")
    assert words(chain) == {"a": "current", "b": "current", "c": "unknown", "lone": "unknown"}
    (chain.folder / "raw.txt").write_text("raw\n")
    assert words(chain)["a"] == "stale"


def test_jobs_that_need_one_whose_outputs_were_accepted_alone_are_stale(chain: Project) -> None:
    (chain.folder / "a.txt").write_text("by hand\n")
    accept(chain, "a")
    assert kinds(chain, "b") == [ReasonKind.INPUT, ReasonKind.RESULT]


def accept(project: Project, *names: str) -> dict[int, Baseline]:
    """Store the present as the basis of these jobs, as a recorded accept does."""
    jobs = [project.job(name) for name in names]
    with project.session.store.read() as archive:
        live = archive.staleness.live_ended(jobs)
        measured = measure_attempts(archive, live, {}, whole=True)
    bases = measured.bases(read_contents(measured.requests, measured.known), jobs)
    plan = rerun.plan(project.session, [([project.job("lone")], How())], {})
    applied = rerun.apply(project.session, plan)
    project.work()
    with project.session.store.write() as archive:
        archive.fingerprints.accept(applied.rerun, {live[job]: basis for job, basis in bases.items()})
    return bases


def test_explaining_writes_only_file_digests(chain: Project) -> None:
    (chain.folder / "raw.txt").write_text("other\n")
    before = states_and_versions(chain)
    explain(chain)
    assert states_and_versions(chain) == before
    assert set(chain.states().values()) == {State.COMPLETED}


def states_and_versions(project: Project) -> list[tuple[int, State, int]]:
    rows = job_queries.jobs(project.session, selections.select(project.session, Selection(everything=True)))
    return [(row.job.id, row.job.state, row.job.version) for row in rows]
