"""Temporary outputs: removed once nobody needs them, and made again when somebody does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from engine_project import Project

from rekindle.domain.errors import PlanRefused
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.rerun.request import How
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.rerun.accept import accept
from rekindle.engine.rerun.resubmit import apply_update, plan_update, run_outcome
from rekindle.engine.retention import temporary
from rekindle.engine.staleness.stale_jobs import find_stale_jobs
from rekindle.spec import load

CHAIN = """
    name: chain
    jobs:
      prepare: {run: "cat raw > big; echo prepare >> ran", inputs: {raw: raw}, outputs: {big: {path: big, temp: true}}}
      middle: {run: "cat big big > mid; echo middle >> ran", inputs: {b: big}, outputs: {mid: {path: mid, temp: true}}}
      use: {run: "wc -l < mid > n; echo use >> ran", inputs: {mid: mid}, outputs: {n: n}}
      other: {run: "wc -c < mid > m; echo other >> ran", inputs: {mid: mid}, outputs: {m: m}}
"""


@pytest.fixture
def chain(project: Project) -> Project:
    (project.folder / "raw").write_text("one\n")
    project.run(CHAIN)
    return project


def ran(project: Project) -> list[str]:
    """Return which jobs have run since the last call, in no order."""
    file = project.folder / "ran"
    found = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return sorted(found)


def there(project: Project, *names: str) -> list[str]:
    return [name for name in names if (project.folder / name).exists()]


def update(project: Project, text: str | None = None) -> int:
    """Do what `run` does, and return its exit code."""
    path = project.folder / "spec.yaml"
    if text is not None:
        import textwrap

        path.write_text(textwrap.dedent(text))
    planned = plan_update(project.session, load(path))
    submitted, _ = apply_update(project.session, planned)
    report = project.work()
    return run_outcome(project.session, submitted.workflow, report).exit_code


def stale(project: Project) -> dict[int, Any]:
    return dict(find_stale_jobs(project.session, [project.job(name) for name in project.states()]).stale)


def planned(project: Project, *names: str, how: How | None = None) -> dict[str, set[ReasonKind]]:
    jobs = [project.job(name) for name in names]
    plan = rerun.plan(project.session, [(jobs, how or How())], {}).plan
    return {job.name: {reason.kind for reason in job.reasons} for job in plan.jobs if not job.stays}


def test_they_are_removed_when_all_jobs_that_need_them_are_done(chain: Project) -> None:
    assert there(chain, "big", "mid", "n", "m") == ["n", "m"]
    assert not list(chain.folder.glob(".rekindle-removed*"))
    with chain.session.store.read() as archive:
        assert archive.temporary_outputs.pending() == []


def test_nothing_is_stale_without_them_and_a_second_run_does_nothing(chain: Project) -> None:
    ran(chain)
    assert stale(chain) == {}
    assert update(chain) == 0
    assert ran(chain) == []


def test_a_rerun_of_a_job_that_needs_one_names_the_jobs_that_make_it_again(chain: Project) -> None:
    assert planned(chain, "use") == {
        "prepare": {ReasonKind.TEMPORARY},
        "middle": {ReasonKind.TEMPORARY, ReasonKind.UPSTREAM},
        "use": {ReasonKind.SELECTED, ReasonKind.UPSTREAM},
        "other": {ReasonKind.UPSTREAM, ReasonKind.REUSE},
    }
    plan = rerun.plan(chain.session, [([chain.job("middle")], How())], {}).plan
    assert plan.warnings[0] == "`prepare` runs again: its temporary output is gone"


def test_it_runs_them_reuses_the_others_and_removes_the_outputs_again(chain: Project) -> None:
    ran(chain)
    chain.rerun("use")
    chain.work()
    assert ran(chain) == ["middle", "prepare", "use"]
    assert there(chain, "big", "mid") == []
    assert update(chain) == 0
    assert ran(chain) == []


def test_with_downstream_none_nothing_else_is_reset(chain: Project) -> None:
    assert planned(chain, "use", how=How(downstream="none")).keys() == {"prepare", "middle", "use"}
    ran(chain)
    chain.rerun("use", how=How(downstream="none"))
    chain.work()
    assert ran(chain) == ["middle", "prepare", "use"]
    assert stale(chain) == {}
    assert there(chain, "big", "mid") == []


def test_a_change_runs_everything_and_gives_what_a_clean_run_gives(chain: Project) -> None:
    (chain.folder / "raw").write_text("one\ntwo\n")
    ran(chain)
    assert update(chain) == 0
    assert ran(chain) == ["middle", "other", "prepare", "use"]
    assert (chain.folder / "n").read_text().strip() == "4"
    assert there(chain, "big", "mid") == []


def test_an_edited_consumer_runs_with_the_jobs_above_it(chain: Project) -> None:
    ran(chain)
    assert update(chain, CHAIN.replace("wc -l < mid", "head -1 < mid")) == 0
    assert ran(chain) == ["middle", "prepare", "use"]
    assert (chain.folder / "n").read_text() == "one\n"


def test_a_consumer_that_a_revision_adds_gets_its_input(chain: Project) -> None:
    ran(chain)
    more = CHAIN + '      late: {run: "cat mid > l; echo late >> ran", inputs: {mid: mid}, outputs: {l: l}}\n'
    assert update(chain, more) == 0
    assert ran(chain) == ["late", "middle", "prepare"]
    assert (chain.folder / "l").read_text() == "one\none\n"
    assert there(chain, "big", "mid") == []
    assert update(chain, more) == 0
    assert ran(chain) == []


def test_submit_says_which_jobs_run_again_for_a_new_consumer(chain: Project) -> None:
    done = chain.submit(CHAIN + '      late: {run: "cat mid > l", inputs: {mid: mid}, outputs: {l: l}}\n')
    assert done.warnings == ("`prepare`, `middle` run again: its temporary output is gone",)
    chain.work()
    assert set(chain.states().values()) == {State.COMPLETED}


def test_they_stay_while_a_consumer_has_not_completed(project: Project) -> None:
    (project.folder / "raw").write_text("one\n")
    text = CHAIN.replace('"wc -l < mid > n; echo use >> ran"', '"test -e go && wc -l < mid > n"')
    project.run(text)
    assert project.states()["use"] is State.FAILED
    assert there(project, "big", "mid") == ["mid"]
    (project.folder / "go").touch()
    assert planned(project, "use").keys() == {"use"}
    project.rerun("use")
    project.work()
    assert there(project, "big", "mid") == []


def test_an_undo_brings_back_jobs_whose_outputs_are_gone(chain: Project) -> None:
    before = chain.states()
    applied = chain.rerun("use")
    rerun.undo(chain.session, applied.rerun)
    assert chain.states() == before
    assert stale(chain) == {}
    ran(chain)
    chain.rerun("use")
    chain.work()
    assert ran(chain) == ["middle", "prepare", "use"]


def test_an_accepted_job_stays_current_without_them(chain: Project) -> None:
    (chain.folder / "raw").write_text("cosmetic\n")
    jobs = [chain.job(name) for name in chain.states()]
    accept(chain.session, find_and_version(chain, jobs), {}, None)
    assert stale(chain) == {}
    ran(chain)
    assert update(chain) == 0
    assert ran(chain) == []
    assert planned(chain, "use").keys() == {"prepare", "middle", "use", "other"}


def find_and_version(project: Project, jobs: list[int]) -> Any:
    from rekindle.domain.selection import Selection
    from rekindle.engine.queries.selections import select_stale

    return select_stale(project.session, Selection(jobs=tuple(project.states()), changed=True))


def test_one_without_consumers_stays(project: Project) -> None:
    project.run('{name: alone, jobs: {make: {run: "echo 1 > a", outputs: {a: {path: a, temp: true}}}}}')
    assert there(project, "a") == ["a"]


def test_one_inside_a_folder_that_a_job_reads_stays(project: Project) -> None:
    project.run("""
        name: around
        jobs:
          make: {run: "mkdir -p d && echo 1 > d/a", outputs: {a: {path: d/a, temp: true}}}
          use: {run: "cat d/* > n", inputs: {d: d}, outputs: {n: n}}
    """)
    assert there(project, "d/a", "n") == ["d/a", "n"]
    assert stale(project) == {}


def test_folders_and_fan_outs_over_them(project: Project) -> None:
    text = """
        name: slices
        jobs:
          cut: {run: "mkdir -p s && touch s/1.png s/2.png; echo cut >> ran", outputs: {s: {path: s, temp: true}}}
          each:
            inputs: {s: s}
            outputs: {done: done}
            steps:
              - {name: process, each: "s/*.png", run: "echo ${item} >> done; echo each >> ran"}
    """
    project.run(text)
    assert set(project.states().values()) == {State.COMPLETED}
    assert there(project, "s", "done") == ["done"]
    assert stale(project) == {}
    ran(project)
    assert update(project) == 0
    assert ran(project) == []
    project.rerun("each")
    project.work()
    assert ran(project) == ["cut", "each", "each"]
    assert there(project, "s") == []


def test_a_job_that_needs_one_of_a_job_that_must_not_run_twice_is_refused(project: Project) -> None:
    project.run("""
        name: once
        jobs:
          make:
            {run: "echo 1 > a", outputs: {a: {path: a, temp: true}}, manual: {rerun: forbidden, reason: it pays}}
          use: {run: "cat a > n", inputs: {a: a}, outputs: {n: n}}
    """)
    assert there(project, "a") == []
    with pytest.raises(PlanRefused, match=r"a temporary output of make is gone, and that cannot run again"):
        project.rerun("use")


def test_a_job_reset_meanwhile_keeps_its_output(chain: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.rerun("use", how=How(downstream="none"))
    original = temporary.move_aside

    def reset_first(roots: Any, path: str, attempt: int) -> bool:
        moved = original(roots, path, attempt)
        jobs = [one.job for one in job_queries.attempts(chain.session, None) if one.id == attempt]
        monkeypatch.setattr(temporary, "move_aside", original)
        rerun.apply(chain.session, rerun.plan(chain.session, [(jobs, How(cancel_running=True))], {}))
        return moved

    monkeypatch.setattr(temporary, "move_aside", reset_first)
    chain.work()
    assert set(chain.states().values()) == {State.COMPLETED}
    assert there(chain, "big", "mid", "n") == ["n"]
    assert not list(chain.folder.glob(".rekindle-removed*"))


@pytest.mark.parametrize("step", ["decide", "move_aside", "remove_aside"])
def test_what_a_killed_runner_has_left_is_removed_by_the_next(
    project: Project, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    (project.folder / "raw").write_text("one\n")

    class Killed(BaseException):
        """The runner dies here."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "decide":
            patch.setattr(temporary.TemporaryRemover, "_begin", die)
        else:
            patch.setattr(temporary, step, die)
        project.submit(CHAIN)
        with suppress(Killed):
            project.work()
    project.work()
    assert set(project.states().values()) == {State.COMPLETED}
    assert there(project, "big", "mid") == []
    assert not list(project.folder.glob(".rekindle-removed*"))
    with project.session.store.read() as archive:
        assert archive.temporary_outputs.pending() == []


def test_the_project_itself_is_never_removed(project: Project) -> None:
    project.run("""
        name: all
        jobs:
          make: {run: "echo 1 > a", outputs: {d: {path: ., temp: true}}}
          use: {run: "true", needs: [make]}
    """)
    assert Path(project.folder, "a").exists()


CACHED = CHAIN.replace("name: chain\n", "name: chain\n    defaults: {cache: true}\n")


@pytest.fixture
def cached(project: Project) -> Project:
    (project.folder / "raw").write_text("one\n")
    project.run(CACHED)
    ran(project)
    return project


def test_cached_ones_are_put_back_when_a_rerun_needs_them(cached: Project) -> None:
    assert there(cached, "big", "mid") == []
    before = (cached.folder / "n").read_text()
    cached.rerun("use")
    cached.work()
    assert ran(cached) == ["use"]
    assert set(cached.states().values()) == {State.COMPLETED}
    assert (cached.folder / "n").read_text() == before
    assert there(cached, "big", "mid") == []  # removed again, once `use` is done
    assert stale(cached) == {}
    cached.rerun("other")
    cached.work()
    assert ran(cached) == ["other"]


def test_cached_ones_are_made_again_when_their_contents_are_poisoned(cached: Project) -> None:
    for one in (Path(cached.session.store.folder) / "cache" / "contents").glob("*/*"):
        one.write_bytes(one.read_bytes() + b"!")
    cached.rerun("use")
    cached.work()
    assert ran(cached) == ["middle", "prepare", "use"]
    assert (cached.folder / "n").read_text().strip() == "2"
    assert set(cached.states().values()) == {State.COMPLETED}


def test_cached_ones_are_made_again_when_their_jobs_have_changed(cached: Project) -> None:
    (cached.folder / "raw").write_text("one\ntwo\n")
    cached.rerun("use")
    cached.work()
    assert ran(cached) == ["middle", "other", "prepare", "use"]
    assert (cached.folder / "n").read_text().strip() == "4"
