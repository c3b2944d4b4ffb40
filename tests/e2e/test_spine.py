"""A workflow runs, fails, is explained and runs again, on the real command line."""

from __future__ import annotations

import json
import re

import pytest

from project_folder import Project, until

DIAMOND = """
name: diamond
jobs:
  top: {run: echo top >> ran.txt}
  left: {needs: [top], run: "echo left >> ran.txt; echo 'no such alloy: Xy' >&2; test -e mended"}
  right: {needs: [top], run: echo right >> ran.txt}
  bottom: {needs: [left, right], run: echo bottom >> ran.txt}
"""


@pytest.fixture
def diamond(project: Project) -> Project:
    """A diamond whose left branch has failed."""
    return failed_diamond(project)


@pytest.fixture(scope="module")
def lasting_diamond(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same project, shared by tests that change nothing."""
    return failed_diamond(Project(tmp_path_factory.mktemp("diamond")))


def failed_diamond(project: Project) -> Project:
    project.spec(DIAMOND)
    project.rekindle("run", "spec.yaml", "-j", "2", expect=2)
    assert project.states() == {"top": "completed", "left": "failed", "right": "completed", "bottom": "waiting"}
    return project


def test_a_rerun_of_what_failed_runs_it_and_its_descendants_and_nothing_beside(diamond: Project) -> None:
    diamond.write("mended", "")
    diamond.rekindle("rerun", "-s", "failed", "--yes", "--work", "-j", "2")
    assert set(diamond.states().values()) == {"completed"}
    assert sorted(diamond.ran()) == ["bottom", "left", "left", "right", "top"]


def test_archived_attempts_are_listed_with_their_logs(diamond: Project) -> None:
    diamond.write("mended", "")
    diamond.rekindle("rerun", "left", "--yes", "--work")
    first, second = diamond.attempts("left")
    assert (first["state"], first["cause"], first["archived"]) == ("failed", "exit", True)
    assert (second["state"], second["cause"], second["archived"]) == ("completed", None, False)
    assert diamond.rekindle("logs", "left", "--attempt", "1", "--stderr").stdout == "no such alloy: Xy\n"
    assert [attempt["number"] for attempt in diamond.attempts("left", "--live")] == [2]


def test_undoing_a_rerun_that_has_not_started_restores_every_state(diamond: Project) -> None:
    before = diamond.states()
    live = {attempt["id"] for attempt in diamond.attempts("--live")}
    diamond.rekindle("rerun", "top", "--yes")
    assert diamond.states() == {"top": "ready", "left": "waiting", "right": "waiting", "bottom": "waiting"}
    diamond.rekindle("undo")
    assert diamond.states() == before
    assert {attempt["id"] for attempt in diamond.attempts("--live")} == live


def test_undo_is_refused_once_something_has_started(diamond: Project) -> None:
    diamond.rekindle("rerun", "left", "--yes", "--work", expect=2)
    refused = diamond.rekindle("undo", expect=1)
    assert "left" in refused.stderr


def test_a_dry_run_changes_nothing_and_is_what_is_applied(diamond: Project) -> None:
    planned = diamond.ask("rerun", "top", "--dry-run")
    assert diamond.attempts() == diamond.attempts("--live")
    assert {job["name"]: (job["before"], job["after"]) for job in planned["jobs"]} == {
        "top": ("completed", "ready"),
        "left": ("failed", "waiting"),
        "right": ("completed", "waiting"),
        "bottom": ("waiting", "waiting"),
    }
    applied = diamond.ask("rerun", "top", "--yes")
    assert applied["digest"] == planned["digest"]
    assert diamond.ask("reruns", "show", str(applied["rerun"]))["jobs"] == planned["jobs"]


def test_failures_explain_themselves(lasting_diamond: Project) -> None:
    (group,) = lasting_diamond.ask("failures")["failures"]
    assert (group["cause"], group["message"], group["count"]) == ("exit", "no such alloy: Xy", 1)
    named = lasting_diamond.jobs("--signature", group["signature"])
    assert list(named) == ["left"]
    assert "no such alloy: Xy" in lasting_diamond.rekindle("failures").stdout


# Selections

TEN = """
name: ten
jobs:
  job: {matrix: {i: {range: [0, 10]}}, run: "true"}
"""


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Ten jobs that never run, shared by tests that change nothing."""
    project = Project(tmp_path_factory.mktemp("ten"))
    project.spec(TEN)
    project.rekindle("submit", "spec.yaml")
    return project


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["1", "2", "3"], [1, 2, 3]),
        (["1,2,3"], [1, 2, 3]),
        (["4-9"], [4, 5, 6, 7, 8, 9]),
        (["-i", "1,2 4-6"], [1, 2, 4, 5, 6]),
        (["-i", "2", "-i", "7-8"], [2, 7, 8]),
        (["job[i=3]"], [4]),
        (["-n", "job[i=3]"], [4]),
        (["-n", "*=[!0-8]]"], []),
        (["-n", "job[i=?]", "-i", "9-10"], [9, 10]),
    ],
)
def test_jobs_are_selected_by_ids_and_names(ten: Project, words: list[str], wanted: list[int]) -> None:
    assert [job["id"] for job in ten.ask("jobs", "list", *words)["jobs"]] == wanted


def test_a_name_with_brackets_and_commas_means_itself(project: Project) -> None:
    project.spec("name: m\njobs: {train: {matrix: {alpha: [0.1, 1.0], seed: [0, 1]}, run: 'true'}}\n")
    project.rekindle("run", "spec.yaml")
    for words in (["train[alpha=0.1,seed=0]"], ["-n", "train[alpha=0.1,seed=0]"]):
        assert list(project.jobs(*words)) == ["train[alpha=0.1,seed=0]"]
        assert [job["name"] for job in project.ask("rerun", *words, "--dry-run")["jobs"]] == ["train[alpha=0.1,seed=0]"]


def test_errors_are_found_by_traceback_and_by_stderr(project: Project) -> None:
    project.write("alloys.py", "def melt():\n    raise ValueError('too cold')\n")
    project.spec(
        "name: errors\n"
        "jobs:\n"
        "  call: {call: 'alloys:melt'}\n"
        "  command: {run: \"echo 'furnace 7 is off' >&2; exit 3\"}\n"
        "  good: {run: 'true'}\n"
    )
    project.rekindle("run", "spec.yaml", expect=2)
    assert list(project.jobs("--error", "in melt")) == ["call"]
    assert list(project.jobs("--error", "^ValueError$")) == ["call"]
    assert list(project.jobs("--error", r"furnace \d is off")) == ["command"]
    assert list(project.jobs("--error", "nothing of the kind")) == []
    (call,) = project.attempts("call")
    assert call["cause"] == "exception"
    assert call["error"]["type"] == "ValueError"
    assert call["error"]["message"] == "too cold"
    (command,) = project.attempts("command")
    assert (command["cause"], command["exit_code"]) == ("exit", 3)


# Exit codes

ACTING = (["rerun", "--yes"], ["cancel"], ["hold"], ["release"])


@pytest.mark.parametrize("command", ACTING, ids=lambda command: command[0])
def test_acting_on_a_job_that_does_not_exist_names_it_and_does_nothing(
    lasting_diamond: Project, command: list[str]
) -> None:
    before = lasting_diamond.jobs()
    done = lasting_diamond.rekindle(*command, "left", "middle", expect=1)
    assert "middle" in done.stderr
    assert lasting_diamond.jobs() == before


@pytest.mark.parametrize("command", ACTING, ids=lambda command: command[0])
def test_acting_where_a_filter_matches_nothing_says_so(lasting_diamond: Project, command: list[str]) -> None:
    done = lasting_diamond.rekindle(*command, "-s", "canceled")
    assert "nothing selected" in done.stdout + done.stderr


@pytest.mark.parametrize("command", ACTING, ids=lambda command: command[0])
def test_acting_without_a_selection_is_refused(lasting_diamond: Project, command: list[str]) -> None:
    lasting_diamond.rekindle(*command, expect=64)


@pytest.mark.parametrize(
    "words",
    [
        ["rerun", "-s", "failed", "--frobnicate"],
        ["rerun", "-s", "broken", "--yes"],
        ["rerun", "left", "--from", "--yes"],
        ["rerun", "-f", "nonsense=1", "--yes"],
        ["rerun", "--error", "(", "--yes"],
        ["rerun", "-q", "{", "--yes"],
        ["work", "-j", "0"],
        ["frobnicate"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_exits_with_64(lasting_diamond: Project, words: list[str]) -> None:
    assert lasting_diamond.rekindle(*words, expect=64).stderr


def test_looking_at_nothing_is_an_empty_list(lasting_diamond: Project) -> None:
    assert lasting_diamond.ask("jobs", "list", "-s", "canceled") == {"jobs": []}


def test_a_spec_with_mistakes_names_each_with_its_place(project: Project) -> None:
    project.spec(
        "name: wrong\njobs:\n  a: {rum: 'true'}\n  b: {run: 'true', needs: [c]}\n  d: {run: 'true', retry: {max: x}}\n"
    )
    done = project.rekindle("run", "spec.yaml", expect=1)
    assert re.search(r"spec\.yaml:3:\d+: .*rum.*run", done.stderr)
    assert re.search(r"spec\.yaml:4:\d+: .*c\b", done.stderr)
    assert re.search(r"spec\.yaml:5:\d+: .*max.* must be a whole number", done.stderr)
    assert not (project.folder / "ran.txt").exists()


def test_a_workflow_that_is_run_again_when_all_is_done_says_so(project: Project) -> None:
    project.spec(TEN)
    project.rekindle("run", "spec.yaml")
    project.rekindle("run", "spec.yaml")
    assert len(project.attempts()) == 10


def test_running_again_where_failed_jobs_stand_points_to_rerun(diamond: Project) -> None:
    done = diamond.rekindle("run", "spec.yaml", expect=2)
    assert "rekindle rerun" in done.stdout + done.stderr
    assert diamond.ran().count("left") == 1


# Saved plans


def test_a_saved_plan_is_applied_once(diamond: Project) -> None:
    diamond.rekindle("rerun", "left", "--save-plan", "plan.json")
    assert diamond.states()["left"] == "failed"
    diamond.rekindle("apply", "plan.json")
    assert diamond.states()["left"] == "ready"
    diamond.rekindle("apply", "plan.json", expect=1)


def test_a_saved_plan_is_refused_after_a_job_has_moved(diamond: Project) -> None:
    diamond.rekindle("rerun", "left", "--save-plan", "plan.json")
    diamond.rekindle("cancel", "bottom")
    before = diamond.jobs()
    refused = diamond.rekindle("apply", "plan.json", expect=1)
    assert "bottom" in refused.stderr
    assert diamond.jobs() == before


# Values

EVIL = "x; touch owned"


def test_a_substituted_value_is_one_word(project: Project) -> None:
    spec = {
        "name": "words",
        "params": {"note": EVIL},
        "jobs": {
            "plain": {"matrix": {"item": [EVIL]}, "run": "echo ${matrix.item}", "env": {"WHY": "${matrix.item}"}},
            "shell": {"matrix": {"item": [EVIL]}, "run": "echo ${matrix.item} ${params.note} > said.txt && true"},
            "vector": {"matrix": {"item": [EVIL]}, "run": ["echo", "${matrix.item}"]},
        },
    }
    project.write("spec.json", json.dumps(spec))
    project.rekindle("run", "spec.json")
    assert not (project.folder / "owned").exists()
    assert (project.folder / "said.txt").read_text() == f"{EVIL} {EVIL}\n"
    for name in ("plain", "vector"):
        assert project.rekindle("logs", f"{name}[item={EVIL}]").stdout == f"{EVIL}\n"


# Undo while jobs run


def test_undo_derives_states_from_what_happened_meanwhile(project: Project) -> None:
    """Rerun b while x runs, let x complete, and undo: c, which needs both, is ready."""
    project.spec(
        "name: meanwhile\n"
        "jobs:\n"
        "  b: {priority: 9, resources: {licences: {room: 1}}, run: 'true'}\n"
        "  x: {resources: {licences: {room: 1}}, run: 'while ! test -e go; do sleep 0.01; done'}\n"
        "  c: {needs: [b, x], run: echo c >> ran.txt}\n"
    )
    runner = project.start("run", "spec.yaml", "-j", "1", "--licence", "room=1")
    until(lambda: project.has_store() and "x" in project.jobs(), "the workflow is stored")
    until(lambda: project.states() == {"b": "completed", "x": "running", "c": "waiting"}, "x runs")
    project.rekindle("rerun", "b", "--yes")  # it cannot start: x uses the capacity
    project.rekindle("hold", "b")  # nor when x has ended
    assert project.states() == {"b": "ready", "x": "running", "c": "waiting"}
    project.write("go", "")
    runner.wait(timeout=60)
    assert project.states() == {"b": "ready", "x": "completed", "c": "waiting"}

    project.rekindle("undo")
    assert project.states() == {"b": "completed", "x": "completed", "c": "ready"}
    project.rekindle("work")
    assert project.ran() == ["c"]
    assert len(project.attempts("b")) == 1
