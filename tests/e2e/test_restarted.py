"""A restart while jobs run: these continue, and the others that must run again run beside them."""

from __future__ import annotations

from project_folder import Project, until

SPEC = """
name: busy
jobs:
  above: {run: "cat ${inputs.raw} > ${outputs.o}; echo above >> ran.txt", inputs: {raw: first}, outputs: {o: above.out}}
  slow:
    needs: [above]
    run: "echo slow >> ran.txt; touch began; while ! test -e go; do sleep 0.02; done; echo through >> ran.txt"
  after: {needs: [slow], run: "echo after >> ran.txt"}
  cut: {run: "cat ${inputs.raw} > ${outputs.o}; echo cut >> ran.txt", inputs: {raw: second}, outputs: {o: cut.out}}
  fit: {run: "cat ${inputs.i}; echo fit >> ran.txt", inputs: {i: cut.out}}
  killed: {run: "echo killed >> ran.txt; test -e mended || kill -9 $$"}
  wrong: {run: "echo wrong >> ran.txt; test -e mended"}
  other: {run: "echo other >> ran.txt"}
"""


def under_way(project: Project) -> set[str]:
    return {name for name, state in project.states().items() if state in ("ready", "queued", "running")}


def test_running_jobs_continue_while_the_others_are_restarted(project: Project) -> None:
    project.spec(SPEC)
    project.write("first", "1")
    project.write("second", "1")
    runner = project.start("run", "spec.yaml", "-j", "2")
    until(lambda: (project.folder / "began").exists(), "slow runs")
    ended = {"above", "cut", "fit", "killed", "wrong", "other"}
    until(
        lambda: {name for name, state in project.states().items() if state in ("completed", "failed")} == ended, "all"
    )
    (project.folder / "ran.txt").unlink()
    for name in ("first", "second", "mended"):
        project.write(name, "2")
    project.ask("reset", "other", "--yes")

    asked = project.ask("restart", "--yes", "--note", "while it runs")
    assert {job["name"] for job in asked["jobs"]} == {"cut", "fit", "killed", "other"}
    assert [job["name"] for job in asked["running"]] == ["slow"]
    assert [job["name"] for job in asked["stays"]] == ["wrong"]
    (refused,) = asked["refused"]
    assert refused["name"] == "above"
    assert "`slow` is running, and it needs `above`" in refused["why"]
    until(lambda: set(project.ran()) == {"cut", "fit", "killed", "other"}, "they run beside it")
    assert project.states()["slow"] == "running"
    assert "started since the rerun" in project.rekindle("undo", expect=1).stderr

    project.write("go", "")
    runner.wait(timeout=60)
    assert sorted(project.ran()) == sorted(["cut", "fit", "killed", "other", "through", "after"])
    assert {name for name, state in project.states().items() if state != "completed"} == {"wrong"}
    project.ask("reset", "-s", "failed", "--yes")
    asked = project.ask("restart", "--only-uninitialized", "--yes")
    assert {job["name"] for job in asked["jobs"]} == {"wrong"}
    project.rekindle("restart", "--yes", "--work")
    assert set(project.states().values()) == {"completed"}
    assert sorted(project.ran()[6:]) == sorted(["wrong", "above", "slow", "through", "after"])
    assert project.ask("restart")["jobs"] == []


def test_jobs_canceled_before_or_while_running_are_restarted(project: Project) -> None:
    project.spec(SPEC)
    for name in ("first", "second"):
        project.write(name, "1")
    runner = project.start("run", "spec.yaml", "-j", "2")
    until(lambda: (project.folder / "began").exists(), "slow runs")
    project.rekindle("cancel", "slow", "after")
    runner.wait(timeout=60)
    assert project.states()["slow"] == project.states()["after"] == "canceled"
    project.write("go", "")
    project.write("mended", "")
    asked = project.ask("restart", "--yes")
    assert {job["name"] for job in asked["jobs"]} == {"slow", "after", "killed"}
    project.rekindle("work")
    assert project.ask("restart")["jobs"] == []
    assert {name for name, state in project.states().items() if state != "completed"} == {"wrong"}


FAN = """
name: fan
jobs:
  slices:
    steps:
      - {name: cut, run: "echo cut >> ran.txt"}
      - name: each
        each: [x, y, z]
        run: "echo $REKINDLE_ITEM >> ran.txt; test $REKINDLE_ITEM = x || test -e go || sleep 60"
      - {name: join, run: "echo join >> ran.txt"}
  after: {needs: [slices], run: "echo after >> ran.txt"}
"""


def cut_off_amid_its_fan_out(project: Project) -> None:
    project.spec(FAN)
    runner = project.start("run", "spec.yaml", "-j", "1")
    until(lambda: project.ran() == ["cut", "x", "y"], "y runs")
    project.rekindle("cancel", "slices")
    runner.wait(timeout=60)
    (project.folder / "ran.txt").unlink()


def test_a_job_interrupted_in_a_fan_out_resumes_there(project: Project) -> None:
    cut_off_amid_its_fan_out(project)
    project.write("go", "")
    asked = project.ask("restart", "--yes")
    assert [(job["name"], job["start"]) for job in asked["jobs"]] == [("slices", "each"), ("after", "beginning")]
    project.rekindle("work")
    assert project.ran() == ["y", "z", "join", "after"]


def test_a_stale_job_starts_from_the_beginning(project: Project) -> None:
    cut_off_amid_its_fan_out(project)
    project.spec(FAN.replace('name: cut, run: "echo cut', 'name: cut, run: "echo other'))
    project.rekindle("submit", "spec.yaml")
    asked = project.ask("restart", "--yes")
    assert [(job["name"], job["start"]) for job in asked["jobs"]] == [("slices", "beginning"), ("after", "beginning")]
