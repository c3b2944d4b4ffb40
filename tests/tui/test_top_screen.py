"""`rekindle top`: what it shows, and what its keys do."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from top_screen import Top, on_screen, run_workflow

from rekindle import Client
from rekindle.cli.main import main
from rekindle.engine.queries import workflow_queries
from rekindle.presentation import words
from rekindle.store.archive import Store
from rekindle.tui import reruns, store_reads
from rekindle.tui.job_table import JobTable
from rekindle.tui.plan_screen import LOOK_SECONDS

CONTROL = {chr(code) for code in (*range(32), *range(127, 160))} - {"\n"}


def test_jobs_counts_failures_and_the_missing_runner_are_shown(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.shows("1 alloys  failed", "5 of 5", "2 completed, 2 failed", "1 waiting", without="reading")
        await top.shows("no runner is alive", "no such alloy", "jobs 1-5 of 5", "train[alpha=0.5]", "exit 1")

    # the workflow ended with one job that waits
    on_screen(alloys, drive)


def test_what_other_processes_change_appears_by_itself(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.shows("2 failed")
        with Client(str(alloys)) as client:
            client.hold(client.select("report"))
            client.apply(client.plan_rerun(client.select(state="failed")))
        await top.shows("2 ready", "no runner is alive; 2 jobs ready: rekindle work", "held", without="2 failed")

    on_screen(alloys, drive)


def test_a_filter_takes_the_words_of_the_command_line(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.filter("-s failed -n 'train*'")
        await top.shows("jobs 1-2 of 2", "filter: -s failed -n 'train*'", without="prepare")
        await top.filter("")
        await top.shows("jobs 1-5 of 5", "prepare")

    on_screen(alloys, drive)


def test_a_filter_of_stale_jobs_reads_their_files(alloys: Path, folder: Path) -> None:
    (folder / "model-0.1.txt").write_text("altered")

    async def drive(top: Top) -> None:
        await top.filter("--changed")
        await top.shows("jobs 1-1 of 1", "train[alpha=0.1]", without="prepare")

    on_screen(alloys, drive)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("-s fizzled", "fizzled"),
        ("--nonsense", "No such option"),
        ("nothing", "no such job: nothing"),
        ("'open", "No closing quotation"),
        ("failed", "-s failed selects jobs by their state"),
    ],
)
def test_a_wrong_filter_is_an_error_and_changes_nothing(alloys: Path, words: str, error: str) -> None:
    async def drive(top: Top) -> None:
        await top.filter(words)
        await top.shows("error:", error, "jobs 1-5 of 5")
        await top.press("escape")
        await top.shows("jobs 1-5 of 5", without="error:")

    on_screen(alloys, drive)


def test_a_rerun_is_planned_applied_and_undone_by_keys(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.press("down", "down")
        await top.is_at("train[alpha=0.5]")
        await top.press("r")
        await top.shows("rerun 1 job", "[keep most]", "[changed]", "[saved first]", "y apply", "from check, on fit")
        with Client(str(alloys)) as client:
            assert [job.state for job in client.jobs([3])] == ["failed"]
        await top.press("y")
        await top.shows("rerun 1 is applied: 1 ready; no runner is alive: rekindle work", "u undoes it", "1 ready")
        await top.press("u")
        await top.shows("rerun 1 is undone: 2 jobs back", "2 failed", without="1 ready")

    on_screen(alloys, drive)


def test_the_applied_rerun_runs_from_the_failed_step(alloys: Path, folder: Path) -> None:
    async def drive(top: Top) -> None:
        await top.filter("-s failed")
        await top.shows("jobs 1-2 of 2")
        await top.press("a")
        await top.shows("2 picked")
        await top.press("r")
        await top.shows("3 jobs run again: 2 selected, 1 downstream", "y apply")
        await top.press("y")
        await top.shows("rerun 1 is applied")

    on_screen(alloys, drive)
    (folder / "mended").touch()
    assert main(["work"]) == 0
    assert sorted((folder / "fits.txt").read_text().split()) == ["0.1", "0.5", "0.9"]  # no fit ran twice


def test_modified_parameters_are_kept(folder: Path) -> None:
    spec = "name: mod\nparams: {code: 3}\njobs:\n  a: {run: 'exit ${params.code}'}\n"
    assert run_workflow(folder, spec) == 2
    assert main(["rerun", "a", "--set", "code=4", "--yes", "--work"]) == 2

    async def drive(top: Top) -> None:
        await top.press("r")
        await top.shows("y apply")
        await top.press("y")
        await top.shows("rerun 2 is applied")

    on_screen(folder / ".rekindle", drive)
    assert main(["work"]) == 2
    with Client() as client:
        assert [one.exit_code for one in client.attempts()] == [3, 4, 4]


def test_options_change_the_plan(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.press("down", "down", "r")
        await top.shows("y apply", "kept:")
        await top.press("s")
        await top.shows("[failed-step]", "y apply", "kept:")
        await top.press("s")
        await top.shows("[beginning]", "y apply", "overwrites, and saves before:", without="kept:")
        await top.press("o")
        await top.shows("[overwritten]", "y apply", "overwrites:")
        await top.press("d")
        await top.shows("[all]", "y apply", "1 selected, 1 downstream")
        await top.press("d")
        await top.shows("[none]", "y apply")
        await top.press("escape")
        await top.shows("jobs 1-5 of 5")

    on_screen(alloys, drive)
    with Client(str(alloys)) as client:
        assert workflow_queries.reruns(client._session) == []


def test_jobs_that_have_no_failed_step_start_at_the_beginning(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.press("r")
        await top.shows("[keep most]", "y apply", "completed  ready    beginning")
        await top.press("s")
        await top.shows("refused: 1 job", "there is no failed step to start at", "nothing can be applied")
        await top.press("y")
        await top.pilot.pause(0.5)
        await top.shows("nothing can be applied")

    on_screen(alloys, drive)


def test_an_outdated_plan_is_shown_anew_and_not_applied(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.filter("-s failed")
        await top.shows("jobs 1-2 of 2")
        await top.press("a", "r")
        await top.shows("2 selected", "y apply")
        with Client(str(alloys)) as client:
            client.apply(client.plan_rerun([3]))
        await top.press("y")
        await top.shows("Not applied: jobs have changed", "train[alpha=0.5] is not in it any more", "1 selected")
        with Client(str(alloys)) as client:
            assert len(workflow_queries.reruns(client._session)) == 1
        await top.press("y")  # as one who pressed it twice
        await top.pilot.pause(LOOK_SECONDS)
        await top.shows("Not applied")
        await top.press("y")
        await top.shows("rerun 2 is applied: 1 ready")

    on_screen(alloys, drive)


def test_all_that_match_are_picked_by_the_filter_and_not_by_their_ids(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.filter("-n 'train*'")
        await top.shows("jobs 1-3 of 3")
        await top.press("a", "space")
        await top.shows("2 picked")
        assert len(top.app.jobs.picked.ids) == 1
        await top.press("r")
        await top.shows("y apply", without="train[alpha=0.1]")
        await top.press("y")
        await top.shows("is applied: 2 ready")

    on_screen(alloys, drive)
    with Client(str(alloys)) as client:
        [(record, _)] = workflow_queries.reruns(client._session)
    assert record.request["selection"] == {"names": ["train*"], "without": [2]}


def test_single_jobs_are_picked_with_space_and_shift(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.press("space")
        await top.shows("1 picked")
        await top.press("down", "shift+down")
        await top.shows("3 picked")
        assert [line[1] for line in top.lines if "  " in line[:6] and line[2:6].strip().isdigit()] == [
            "*",
            " ",
            "*",
            "*",
            " ",
        ]
        await top.press("escape")
        await top.shows("jobs 1-5 of 5", without="picked")

    on_screen(alloys, drive)


def test_a_new_filter_drops_what_was_picked(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.press("a")
        await top.shows("5 picked")
        await top.filter("-s failed")
        await top.shows("jobs 1-2 of 2", without="picked")

    on_screen(alloys, drive)


def test_a_group_of_failures_is_shown_and_rerun(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.shows("no such alloy")
        await top.press("shift+tab", "r")
        await top.shows("rerun 2 jobs", "2 selected", "y apply")
        await top.press("escape", "enter")
        await top.shows("filter: --signature", "jobs 1-2 of 2")

    on_screen(alloys, drive)


def test_the_newest_rerun_is_undone_after_a_question(alloys: Path) -> None:
    with Client(str(alloys)) as client:
        client.apply(client.plan_rerun([3, 4], note="by hand"))

    async def drive(top: Top) -> None:
        await top.shows("2 ready")
        await top.press("u")
        await top.shows("Undo rerun 1", "by hand")
        await top.press("n", "u")
        await top.shows("Undo rerun 1")
        await top.press("y")
        await top.shows("rerun 1 is undone", "2 failed")
        await top.press("u")
        await top.shows("there is no rerun to undo")

    on_screen(alloys, drive)


def test_a_refused_undo_says_why(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.press("down", "down", "r")
        await top.shows("y apply")
        await top.press("y")
        await top.shows("rerun 1 is applied")
        assert main(["work"]) == 2
        await top.press("u")
        await top.shows("error:", "train[alpha=0.5]")

    on_screen(alloys, drive)


def test_a_job_shows_its_attempts_with_their_causes(alloys: Path) -> None:
    with Client(str(alloys)) as client:
        client.apply(client.plan_rerun([3]))
    assert main(["work"]) == 2

    async def drive(top: Top) -> None:
        await top.press("down", "down", "enter")
        await top.shows("attempt 2 failed", "attempt 1 failed", "archived by rerun 1", "cause: exit 1", "no such alloy")
        await top.shows("needs      1 prepare (completed)")
        await top.press("escape")
        await top.shows("jobs 1-5 of 5")

    on_screen(alloys, drive)


def test_a_log_grows_while_its_job_prints(folder: Path) -> None:
    (folder / "spec.yaml").write_text(
        "name: slow\njobs:\n  count: {run: 'for i in $(seq 200); do echo line $i; test -e go || sleep 0.1; done'}\n"
    )
    assert main(["submit", "spec.yaml"]) == 0
    worker = subprocess.Popen([sys.executable, "-m", "rekindle", "work"], stderr=subprocess.DEVNULL)

    async def drive(top: Top) -> None:
        await top.shows("1 running", "1 runner alive")
        await top.press("l")
        await top.shows("running: attempt 1 of 1 count", "line 3")
        (folder / "go").touch()
        await top.shows("completed: attempt 1 of 1 count", "line 200")  # the end stays on the screen

    try:
        on_screen(folder / ".rekindle", drive)
        assert worker.wait(20) == 0
    finally:
        worker.kill()
        worker.wait()


HOSTILE = r"""
name: "[red]wf[/red]"
jobs:
  odd:
    matrix: {x: ["[bold red]bold[/]", "[link=http://a]"]}
    run:
      - sh
      - -c
      - printf '[red]out[/red] \033[31mred\033[0m \033]0;title\007\n'; printf '[/] \033[2Jerr \302\233\n' >&2; exit 3
"""


def test_markup_and_control_characters_of_jobs_are_shown_as_text(folder: Path) -> None:
    assert run_workflow(folder, HOSTILE) == 2

    async def drive(top: Top) -> None:
        await top.shows("1 [red]wf[/red]", "[bold red]bold[/]", "[link=http://a]", "[/]")
        assert not CONTROL.intersection(top.text)
        await top.press("l")
        await top.shows("[red]out[/red] \N{REPLACEMENT CHARACTER}[31mred", "[/] \N{REPLACEMENT CHARACTER}[2Jerr")
        assert not CONTROL.intersection(top.text)
        await top.press("escape", "enter")
        await top.shows("cause: exit 3", "[bold red]bold[/]")
        assert not CONTROL.intersection(top.text)
        await top.press("escape", "r")
        await top.shows("y apply", "[bold red]bold[/]")
        assert not CONTROL.intersection(top.text)

    on_screen(folder / ".rekindle", drive)


MANY = """\
name: many
jobs:
  one: {matrix: {i: {range: [0, 20000]}}, run: "true"}
"""


def test_a_long_list_is_read_in_parts(folder: Path) -> None:
    (folder / "spec.yaml").write_text(MANY)
    assert main(["submit", "spec.yaml"]) == 0
    most = []

    async def drive(top: Top) -> None:
        def held() -> None:
            most.append(len(top.app.jobs.rows))

        await top.shows("of 20,000")
        await top.press("end")
        await top.shows("one[i=19999]", "-20,000 of 20,000")
        held()
        await top.press(*["pageup"] * 20)
        held()
        await top.press("home", *["pagedown"] * 20)
        held()
        height = top.app.jobs.height
        await top.shows(
            f"jobs {20 * height + 1}-{21 * height} of 20,000", f">{20 * height + 1:>5} one[i={20 * height}]"
        )
        await top.press("a")
        await top.shows("20,000 picked")
        assert not top.app.jobs.picked.ids

    on_screen(folder / ".rekindle", drive)
    assert max(most) <= 500


def test_each_job_is_met_once_on_the_way_down_and_up(folder: Path) -> None:
    (folder / "spec.yaml").write_text(MANY.replace("20000", "1000"))
    assert main(["submit", "spec.yaml"]) == 0

    async def drive(top: Top) -> None:
        jobs, seen = top.app.jobs, []
        for key in ["down"] * 350 + ["up"] * 349:
            assert jobs.current is not None
            seen.append(jobs.current.job.id)
            await jobs.action_move(1 if key == "down" else -1)
        assert seen == [*range(1, 351), *range(351, 2, -1)]

    on_screen(folder / ".rekindle", drive)


def test_a_store_without_changes_is_hardly_read(alloys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, reads = [], []
    version, block = Store.data_version, Store._block

    async def drive(top: Top) -> None:
        await top.shows("jobs 1-5 of 5", "2 failed")
        await top.pilot.pause(1.5)
        monkeypatch.setattr(Store, "data_version", lambda store: (looks.append(time.monotonic()), version(store))[1])
        monkeypatch.setattr(Store, "_block", lambda *given: (reads.append(time.monotonic()), block(*given))[1])
        await top.pilot.pause(4)

    on_screen(alloys, drive)
    assert 2 <= len(looks) <= 5
    assert len({round(at) for at in reads}) <= 2  # one read of all in four seconds


@pytest.mark.parametrize("size", [(120, 40), (60, 12), (24, 6), (10, 3)], ids=str)
def test_any_size_of_the_terminal_is_drawn_within_it(alloys: Path, size: tuple[int, int]) -> None:
    async def drive(top: Top) -> None:
        for keys in (["down"], ["r"], ["escape"], ["enter"], ["escape"], ["l"], ["escape"], ["question_mark"]):
            await top.press(*keys)
            await top.pilot.pause(0.3)
            assert len(top.lines) == size[1]
            assert max(map(words.display_width, top.lines)) <= size[0]

    on_screen(alloys, drive, size=size)


def test_the_mouse_moves_the_cursor_and_picks(alloys: Path) -> None:
    async def drive(top: Top) -> None:
        await top.shows("report", "no such alloy")  # failures are above the table
        await top.pilot.click(JobTable, offset=(10, 3))
        await top.is_at("train[alpha=0.5]")
        await top.pilot.click(JobTable, offset=(10, 4), control=True)
        await top.shows("1 picked")
        await top.pilot.click(JobTable, offset=(10, 2), shift=True)
        await top.shows("3 picked")

    on_screen(alloys, drive)


def test_several_workflows_have_a_line_each_the_busiest_first(folder: Path) -> None:
    for number in range(6):
        (folder / f"{number}.yaml").write_text(f"name: flow-{number}\njobs: {{a: {{run: 'exit {number % 2}'}}}}\n")
        main(["run", f"{number}.yaml"] if number < 4 else ["submit", f"{number}.yaml"])

    async def drive(top: Top) -> None:
        await top.shows("jobs 1-6 of 6", "and 2 more: rekindle status; -w shows one")
        assert [line.split()[1:3] for line in top.lines[:4]] == [
            ["flow-5", "ready"],
            ["flow-4", "ready"],
            ["flow-3", "failed"],
            ["flow-1", "failed"],
        ]

    async def drive_one(top: Top) -> None:
        await top.shows("jobs 1-1 of 1", "3 flow-2  completed", without="flow-1")

    on_screen(folder / ".rekindle", drive)
    on_screen(folder / ".rekindle", drive_one, workflow="flow-2")


def test_a_killed_runner_is_missed(folder: Path) -> None:
    (folder / "spec.yaml").write_text("name: slow\njobs:\n  wait: {run: sleep 60}\n  more: {run: sleep 60}\n")
    assert main(["submit", "spec.yaml"]) == 0
    worker = subprocess.Popen([sys.executable, "-m", "rekindle", "work", "-j", "1"], stderr=subprocess.DEVNULL)

    async def drive(top: Top) -> None:
        await top.shows("1 running", "1 runner alive")
        worker.kill()
        worker.wait()
        await top.shows("no runner is alive", without="1 runner alive")

    try:
        on_screen(folder / ".rekindle", drive)
    finally:
        worker.kill()
        worker.wait()
    assert main(["cancel", "--all"]) in (0, 5)


def test_a_store_that_is_gone_is_an_error_on_the_screen(alloys: Path, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--store") == "postgres":
        pytest.skip("the rows are not in the folder")

    async def drive(top: Top) -> None:
        await top.shows("2 failed")
        alloys.rename(alloys.with_name("elsewhere"))
        await top.shows("error:", "another one put in its place")
        alloys.with_name("elsewhere").rename(alloys)
        await top.press("down")
        await top.shows("2 failed")

    on_screen(alloys, drive)


def test_a_screen_may_be_closed_while_it_is_read(alloys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    details = store_reads.job
    plan = reruns.plan
    monkeypatch.setattr(store_reads, "job", lambda *given: (time.sleep(0.5), details(*given))[1])
    monkeypatch.setattr(reruns, "plan", lambda *given: (time.sleep(0.5), plan(*given))[1])

    async def drive(top: Top) -> None:
        await top.shows("report")
        for key in ("enter", "r"):
            await top.press(key, "escape")
            await top.pilot.pause(1)
            await top.shows("jobs 1-5 of 5")

    on_screen(alloys, drive)
