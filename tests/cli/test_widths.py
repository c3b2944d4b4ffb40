"""Tables at 80 columns: the names of jobs are the last cells that are cut."""

from __future__ import annotations

import click
import pytest
from cli_shell import Shell

from made_once import made_once
from rekindle.cli.output import terminal
from rekindle.cli.output.terminal import Column

NAMES = [f"train[model=transformer-base,seed={seed},a=0.1]" for seed in range(2)]
SPEC = """
    name: nightly-evaluation-of-the-models-on-the-newest-data
    jobs:
      train:
        matrix: {model: [transformer-base], seed: {range: [0, 2]}, a: [0.1]}
        run: |
          echo 'RuntimeError: the loss is not a number after the 21st epoch with gradient clipping' >&2
          exit 3
      count: {matrix: {model: [transformer-base], seed: {range: [0, 1]}, a: [0.1]}, outputs: {o: o}, run: echo > o}
    """


@pytest.fixture
@made_once
def failed(shell: Shell) -> Shell:
    """A sweep with long names and long errors, whose jobs have failed twice."""
    shell.write(SPEC)
    assert shell("run", "spec.yaml", "-j", "2").code == 2
    assert shell("rerun", "-s", "failed", "--yes", "--work").code == 2
    return shell


@pytest.mark.parametrize(
    "line",
    [
        "jobs list",
        "attempts list",
        "attempts list -s failed",
        "rerun -s failed --dry-run -v",
        "rerun --all --from failed-step --dry-run",
        "why -s failed -v",
        "flaky --all-jobs",
        "reruns show 1",
    ],
)
def test_names_of_jobs_are_not_cut_at_80_columns(failed: Shell, line: str) -> None:
    done = failed(*line.split())
    assert done.code == 0, done.err
    assert [name for name in NAMES if name not in done.out] == []
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize("line", ["status", "workflows list"])
def test_names_of_workflows_are_not_cut_at_80_columns(failed: Shell, line: str) -> None:
    assert "nightly-evaluation-of-the-models-on-the-newest-data" in failed(*line.split()).out


def drawn(columns: list[Column], row: tuple[str, ...]) -> str:
    return click.unstyle(terminal.table(columns, [row]).splitlines()[1])


@pytest.mark.parametrize("error", ["", "no", "e" * 12, "e" * 300])
@pytest.mark.parametrize("length", range(40, 100, 3))
def test_a_name_is_cut_once_nothing_else_can_give(monkeypatch: pytest.MonkeyPatch, length: int, error: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    columns = [
        Column("ID", right=True),
        Column("NAME", cut="middle", keep=True),
        Column("TIME", optional=True),
        Column("ERROR", cut="middle"),
    ]
    line, name = drawn(columns, ("7", "x" * length + "!", "12 ms", error)), "x" * length + "!"
    assert len(line) <= 80
    if name not in line:
        assert "12 ms" not in line
        assert line.endswith(error if len(error) <= 8 else f"  {error[:7]}…")


def test_a_column_is_left_out_if_whole_names_fit_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    columns = [Column("NAME", cut="middle", keep=True), Column("ERROR", cut="middle", optional=True)]
    assert drawn(columns, ("x" * 80, "e" * 20)) == "x" * 80
    assert drawn(columns, ("x" * 81, "e" * 20)) == f"{'x' * 35}…{'x' * 34}  eeeeeee…"


def test_an_error_stays_readable_while_an_optional_column_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    columns = [Column("NAME", cut="middle", keep=True), Column("TIME", optional=True), Column("ERROR", cut="middle")]
    assert drawn(columns, ("x" * 64, "12 ms", "ValueError: too cold: 21.5")) == "x" * 64 + "  ValueEr…: 21.5"


SWEEP = """
    name: sweep
    jobs:
      train:
        matrix: {model: [a, b, c], seed: {range: [0, 20]}, k: [1]}
        run: |
          case ${matrix.model}${matrix.seed} in b3|b8|b13) echo 'ValueError: too cold' >&2; exit 1;; esac
          test ${matrix.seed} != 7 || { echo 'KeyError: x' >&2; exit 1; }
    """


@pytest.fixture
@made_once
def sweep(shell: Shell) -> Shell:
    shell.write(SWEEP)
    shown = shell("run", "spec.yaml", "-j", "2")
    assert "train[model=b, seed=3,8,13]\n" in shown.err
    assert "train[seed=7]\n" in shown.err
    return shell


def test_failures_and_status_say_what_the_failed_jobs_have_in_common(sweep: Shell) -> None:
    for line in ("failures", "status"):
        out = sweep(*line.split()).out
        assert "  train[model=b, seed=3,8,13]\n" in out
        assert "  train[seed=7]\n" in out
    assert "  24,29,34\n" in sweep("failures", "-v").out
    assert {tuple(one["jobs"]) for one in sweep("failures", "--json").json["failures"]} == {(24, 29, 34), (8, 28, 48)}


def test_a_plan_says_what_its_jobs_have_in_common(sweep: Shell) -> None:
    assert "train[seed=7; model=b, seed=3,8,13] ×6  " in sweep("rerun", "-s", "failed", "--dry-run").out
    assert "train[…] ×54 " in sweep("rerun", "-s", "completed", "--dry-run").out
    assert "28  train[model=b,seed=7,k=1]" in sweep("rerun", "-s", "failed", "--dry-run", "-v").out
    assert "train[seed=7; model=b, seed=3,8,13] ×6  failed" in sweep("why", "-s", "failed").out


def test_jobs_without_much_in_common_are_shown_by_ids(sweep: Shell) -> None:
    out = sweep("rerun", "2", "5", "23", "26", "43", "49", "--dry-run").out
    assert "2,5,23,…  train[…] ×6" in out


def test_jobs_that_are_refused_for_the_same_reason_are_named_together(sweep: Shell) -> None:
    done = sweep("rerun", "-s", "completed", "--from", "failed-step", "--yes")
    assert done.code == 1
    names = "train[model=a,seed=0,k=1], train[model=a,seed=1,k=1], train[model=a,seed=2,k=1] and 51 more: "
    assert f"rekindle: nothing can be rerun: {names}every step of it completed" in done.err
    assert done.err.count("every step of it completed") == 1


def test_an_extra_column_gives_way_to_more_of_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [Column("NAME", cut="middle", keep=True), Column("CPU", extra=True), Column("ERROR", cut="middle")]
    row = ("x" * 40, "12 ms", "ValueError: too cold: " + "-" * 40)
    monkeypatch.setenv("COLUMNS", "100")
    assert "12 ms" in drawn(columns, row)
    monkeypatch.setenv("COLUMNS", "80")
    assert "12 ms" not in drawn(columns, row)
    assert "ValueError: too col…" in drawn(columns, row)
