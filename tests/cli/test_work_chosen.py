"""`rekindle work` for selected jobs, and with `--most`."""

from __future__ import annotations

import pytest
from cli_shell import Shell

SWEEP = """
name: sweep
jobs:
  train: {matrix: {k: {range: [0, 4]}}, run: "true"}
  report: {needs: ["train*"], run: "true"}
"""


def test_work_runs_only_the_jobs_that_are_named_or_as_many_as_asked(shell: Shell) -> None:
    shell("submit", shell.write(SWEEP))
    assert shell("work", "-n", "train*", "-q", '{"matrix.k": {"$gt": 1}}', "--json").json["completed"] == 2
    assert shell("work", "train[k=0]", "--most", "1", "--json").json["completed"] == 1
    assert shell("work", "train[k=0]", "--json").json["completed"] == 0
    assert shell("work", "-w", "sweep", "--most", "1", "--json").json["completed"] == 1
    assert shell("work", "-f", "name=report", "--json").json["counts"] == {"completed": 5}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nobody",), 1, "no such job: nobody"),
        (("-f", "colour=red"), 64, "colour"),
        (("-q", "{"), 64, "JSON"),
        (("--most", "0"), 64, "--most"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_runs(shell: Shell, words, code, said) -> None:
    shell("submit", shell.write(SWEEP))
    done = shell("work", *words)
    assert (done.code, said in done.err) == (code, True)
    assert shell("status", "--json").json["workflows"][0]["counts"] == {"ready": 4, "waiting": 1}
