"""`attempts diff` of attempts that ran."""

from __future__ import annotations

import pytest
from cli_shell import Shell

from made_once import made_once

SPEC = """\
name: tuned
params: {alpha: 1}
jobs:
  fit:
    resources: {memory: 1M}
    steps:
      - {name: load, run: "true"}
      - {name: fit, run: "test ${params.alpha} = 5"}
"""


@pytest.fixture
@made_once
def rerun(shell: Shell) -> Shell:
    """A job that failed, and completed in a rerun with another parameter and more memory."""
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 2
    words = ("--from", "failed-step", "--set", "alpha=5", "--memory", "x2", "--yes", "--work")
    assert shell("rerun", "fit", *words).code == 0
    return shell


def test_a_failed_attempt_and_its_rerun(rerun: Shell) -> None:
    document = rerun("attempts", "diff", "1", "2", "--json").json
    assert (document["a"], document["b"]) == (1, 2)
    assert all(set(one) == {"field", "a", "b"} for one in document["differences"])
    found = {one["field"]: (one["a"], one["b"]) for one in document["differences"]}
    assert found["modified.params.alpha"] == (None, 5)
    assert found["modified.memory"] == (None, 2097152)
    assert found["start_step"] == (0, 1)
    assert found["builds_on"] == (None, 1)
    assert found["state"] == ("failed", "completed")
    assert found["cause"] == ("exit", None)
    assert found["exit_code"] == (1, 0)
    assert found["steps.fit.state"] == ("failed", "completed")
    assert found["steps.load.kept_from"] == (None, 1)
    assert not {"job", "revision", "host"} & set(found)
    assert not any(name.startswith("template.") for name in found)


def test_people_see_them_side_by_side(rerun: Shell) -> None:
    lines = rerun("attempts", "diff", "1", "2").out.splitlines()
    assert lines[:2] == ["attempt 1: number 1 of job 1 fit", "attempt 2: number 2 of job 1 fit"]
    rows = [line.split() for line in lines[2:]]
    assert rows[0] == ["FIELD", "ATTEMPT", "1", "ATTEMPT", "2"]
    assert ["modified.params.alpha", "-", "5"] in rows
    assert ["modified.memory", "-", "2.0", "MiB"] in rows
    assert ["start_step", "1", "2"] in rows
    assert ["state", "failed", "completed"] in rows


def test_nothing_differs_from_itself(rerun: Shell) -> None:
    assert rerun("attempts", "diff", "1", "1").out.splitlines()[-1] == "nothing differs"
    nothing = {"differences": [], "outputs": [], "logs": []}
    assert rerun("attempts", "diff", "1", "1", "--json").json == {"a": 1, "b": 1, **nothing}


def test_long_commands_are_shown_from_where_they_differ(rerun: Shell) -> None:
    for number in ("0", "00"):
        rerun.write(SPEC.replace("test $", f"true a very long command that goes on and on and on; test {number}$"))
        assert rerun("submit", "spec.yaml").code == 0
        assert rerun("rerun", "fit", "--yes", "--work").code == 2
    out = rerun("attempts", "diff", "3", "4").out
    assert max(len(line) for line in out.splitlines()) <= 80
    (command,) = [line for line in out.splitlines() if line.startswith("template.")]
    _, before, after = command.split("  ")
    assert before.startswith("…; test 0${params")
    assert after.startswith("…; test 00${params")
    assert any(line.split() == ["revision", "2", "3"] for line in out.splitlines())


def test_an_attempt_that_is_not_there_is_named(rerun: Shell) -> None:
    done = rerun("attempts", "diff", "1", "99")
    assert done.code == 1
    assert "no such attempt: 99" in done.err


LOOP = """\
name: looped
params: {alpha: 1}
jobs:
  prep: {run: "cp raw.csv prep.csv", inputs: {raw: raw.csv}, outputs: {p: prep.csv}}
  fit:
    inputs: {p: prep.csv}
    outputs: {model: model.txt, noise: noise.bin, plots: plots}
    steps:
      - {name: load, run: "echo loading; test -n '${env.FLAVOUR}'"}
      - name: fit
        run: |
          for i in 1 2 3; do echo epoch $i; done
          echo loss ${params.alpha}
          printf 'alpha\\n%s\\nend\\n' ${params.alpha} > model.txt
          head -c 64 /dev/urandom > noise.bin
          mkdir -p plots; echo ${params.alpha} > plots/a
          echo '{"loss": {"rows": [1, ${params.alpha}], "same": 1}}' > $REKINDLE_RESULT
  twin: {run: "echo epoch 1; echo epoch 2; echo else", needs: [fit]}
"""


@pytest.fixture
def looped(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Attempts 2 and 4 of `fit`, which differ in everything that is compared; attempt 3 is of `twin`."""
    shell.write(LOOP)
    shell.write("a\n", "raw.csv")
    monkeypatch.setenv("FLAVOUR", "plain")
    assert shell("run", "spec.yaml").code == 0
    shell.write("b\n", "prep.csv")
    shell.write(LOOP.replace("1 2 3;", "1 2 3 4;"))
    monkeypatch.setenv("FLAVOUR", "sweet")
    words = ("--set", "alpha=5", "--keep-outputs", "--downstream", "none", "--yes", "--work")
    assert shell("rerun", "fit", "--submit", "spec.yaml", *words).code == 0
    return shell


def test_what_lies_around_two_attempts_is_told(looped: Shell) -> None:
    document = looped("attempts", "diff", "2", "4", "--json").json
    found = {one["field"]: (one["a"], one["b"]) for one in document["differences"]}
    assert found["params.alpha"] == (1, 5)
    assert found["result.loss.rows[1]"] == (1, 5)
    assert {"inputs.p", "environment.FLAVOUR", "outputs.model", "outputs.noise", "outputs.plots"} <= set(found)
    assert not {"outputs.same", "result.loss.same", "needs.prep", "code"} & set(found)
    assert not any("plain" in str(pair) or "sweet" in str(pair) for pair in found.values())
    (log,) = document["logs"]
    assert log == {"step": "fit", "stream": "stdout", "line": 4, "a": "loss 1", "b": "epoch 4"}
    outputs = {one["name"]: one for one in document["outputs"]}
    assert outputs["model"]["lines"] == ["- 1", "+ 5"]
    assert outputs["model"]["a"]["at"] != outputs["model"]["b"]["at"], "the one was saved, the other is in its place"
    assert (outputs["noise"]["lines"], outputs["noise"]["why"]) == ([], "not a text")
    assert outputs["plots"]["a"]["lost"] == "a folder"


def test_people_see_commands_outputs_and_logs_line_by_line(looped: Shell) -> None:
    out = looped("attempts", "diff", "2", "4").out
    assert max(len(line) for line in out.splitlines()) <= 80
    lines = [line.strip() for line in out.splitlines()]
    assert "- for i in 1 2 3; do echo epoch $i; done" in lines
    assert "+ for i in 1 2 3 4; do echo epoch $i; done" in lines
    assert ["environment.FLAVOUR", "set", "differs"] in [line.split() for line in lines]
    at = lines.index("model")
    assert lines[at + 1 : at + 3] == ["- 1", "+ 5"]
    assert lines[-3:] == ["fit, stdout, line 4", "2: loss 1", "4: epoch 4"]


def test_an_output_that_is_not_there_any_more_is_told(looped: Shell) -> None:
    (looped.folder / "model.txt").write_text("written over")
    (looped.folder / "noise.bin").unlink()
    out = looped("attempts", "diff", "2", "4").out
    assert "model: that of attempt 4 is overwritten since" in out
    assert "noise: that of attempt 4 is gone since" in out


def test_attempts_of_two_jobs_are_compared(looped: Shell) -> None:
    document = looped("attempts", "diff", "2", "3", "--json").json
    found = {one["field"]: (one["a"], one["b"]) for one in document["differences"]}
    assert found["job"] == (2, 3)
    assert found["needs.fit"][0] is None
    assert looped("attempts", "diff", "2", "3").code == 0


def test_logs_of_a_step_that_was_kept_are_those_of_the_attempt_that_did_it(rerun: Shell) -> None:
    assert rerun("attempts", "diff", "1", "2", "--json").json["logs"] == []
