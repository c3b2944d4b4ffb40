"""`rekindle verify`: completed jobs again, aside; what was found is recorded and nothing else changes."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell

from rekindle import Client

SPEC = """\
name: mixed
jobs:
  same: {run: "sort data.txt > ${outputs.o}", inputs: {d: data.txt}, outputs: {o: sorted.txt}}
  noise: {run: "date +%N > ${outputs.o}", outputs: {o: noise.txt}}
  scores: {call: "score:score", outputs: {o: scores.json}}
  quiet: {run: "true"}
  drifts: {run: "wc -c < more.txt > ${outputs.o}", inputs: {m: more.txt}, outputs: {o: copy.txt}}
  once: {run: "echo paid > ${outputs.o}", outputs: {o: paid.txt}, manual: {rerun: forbidden, reason: it costs}}
  bad: {run: "false"}
"""

SCORE = """\
import json
import uuid


def score():
    with open("scores.json", "w") as file:
        json.dump({"runs": [{"score": 1}, {"score": uuid.uuid4().hex}]}, file)
    return {"score": 1}
"""


@pytest.fixture
def project(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("scratch")))
    monkeypatch.setattr("tempfile.tempdir", None)
    (shell.folder / "data.txt").write_text("b\na\n")
    (shell.folder / "more.txt").write_text("more\n")
    (shell.folder / "score.py").write_text(SCORE)
    shell.write(SPEC)
    assert shell("run", "spec.yaml", "-j", "2").code == 2
    (shell.folder / "more.txt").write_text("less\n")
    return shell


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".rekindle" not in path.parts
    }


def outcomes(found: Any) -> dict[str, tuple[str, str | None]]:
    return {one["name"]: (one["outcome"], one["why"]) for one in found["jobs"]}


def test_each_job_is_reproducible_differs_or_is_unknown(project: Shell) -> None:
    done = project("verify", "-w", "mixed", "-j", "2", "--json")
    assert done.code == 2
    assert outcomes(done.json) == {
        "same": ("reproducible", None),
        "noise": ("differs", None),
        "scores": ("differs", None),
        "quiet": ("unknown", "nothing"),
        "drifts": ("unknown", "drift"),
        "once": ("unknown", "refused"),
    }
    assert len(done.json["left_out"]) == 1, "the failed one"
    scores = next(one for one in done.json["jobs"] if one["name"] == "scores")
    assert scores["outputs"][0]["first"]["path"] == "$.runs[1].score"


def test_what_differs_is_kept_and_all_else_is_removed(project: Shell) -> None:
    found = project("verify", "-w", "mixed", "--json").json["jobs"]
    folders = {one["name"]: one["folder"] for one in found}
    kept = {name for name, folder in folders.items() if folder is not None}
    assert kept == {"noise", "scores"}
    scratch = Path(folders["noise"]).parent
    assert {str(path) for path in scratch.glob("rekindle-*")} == {folders["noise"], folders["scores"]}


def test_states_outputs_and_staleness_stay_as_they_are(project: Shell) -> None:
    def seen() -> Any:
        return [project(*words).json for words in (("jobs", "list", "--json"), ("why", "-w", "mixed", "--json"))]

    before, stored = files(project.folder), seen()
    attempts = project("attempts", "list", "--json").json
    project("verify", "--all")
    assert files(project.folder) == before
    assert seen() == stored
    assert project("attempts", "list", "--json").json == attempts


@pytest.mark.parametrize(
    ("selection", "code"), [("same", 0), ("quiet", 1), ("noise", 2), ("no*", 2), ("bad", 0)], ids=str
)
def test_the_exit_code_says_the_worst(project: Shell, selection: str, code: int) -> None:
    assert project("verify", selection).code == code


def test_lines_say_where_it_differs_and_why_it_is_unknown(project: Shell) -> None:
    done = project("verify", "-w", "mixed")
    assert "reproducible  same\n" in done.out
    assert "differs       noise: output o differs: line 1, byte " in done.out
    assert "unknown       drifts: input m changed\n" in done.out
    assert "unknown       quiet: it left no output and no result\n" in done.out
    assert "unknown       once: once must not run twice: it costs\n" in done.out
    assert "1 reproducible, 2 differs, 3 unknown; 1 job not completed, left out" in done.out


def test_flaky_shows_what_was_found_last(project: Shell) -> None:
    assert "VERIFIED" not in project("flaky", "--all-jobs").out
    project("verify", "--all")
    shown = project("flaky", "--all-jobs").out
    assert "VERIFIED" in shown
    found = {one["name"]: one["verified"] for one in project("flaky", "--all-jobs", "--json").json["flaky"]}
    assert (found["noise"]["outcome"], found["noise"]["outputs"]) == ("differs", ["o"])
    assert found["bad"] is None
    (project.folder / "data.txt").write_text("c\n")
    project("verify", "same")
    found = {one["name"]: one["verified"] for one in project("flaky", "--all-jobs", "--json").json["flaky"]}
    assert (found["same"]["outcome"], found["same"]["why"]) == ("unknown", "drift")


def test_nothing_selected_and_no_selection(project: Shell) -> None:
    assert (project("verify").code, project("verify", "-s", "running").out) == (64, "nothing selected\n")
    assert project("verify", "nobody").code == 1


def test_the_python_api_verifies(project: Shell) -> None:
    with Client() as client:
        found = {one.name: one.outcome for one in client.verify(client.selection(workflow="mixed"), slots=2)}
        assert (found["same"], found["noise"], found["quiet"]) == ("reproducible", "differs", "unknown")
        flaky = {one.name: one.verified for one in client.flaky(every=True)}
        assert flaky["same"] is not None
        assert flaky["same"]["outcome"] == "reproducible"


def test_a_verification_goes_with_its_workflow_and_is_copied_with_the_store(project: Shell) -> None:
    project("verify", "same")
    assert project("store", "copy", ".rekindle", "copy/.rekindle").code == 0
    copied = project("--store", "copy/.rekindle", "flaky", "same", "--all-jobs", "--json").json["flaky"]
    assert copied[0]["verified"]["outcome"] == "reproducible"
    assert project("workflows", "delete", "mixed", "--yes").code == 0
    assert project("store", "check").code == 0


def test_a_job_that_a_person_completed_is_named_and_not_run(project: Shell) -> None:
    project("verify", "same")
    (project.folder / "given.txt").write_text("given\n")
    project.write("name: hand\njobs:\n  given: {run: touch ran; false, outputs: {o: given.txt}}\n", "hand.yaml")
    assert project("run", "hand.yaml").code == 2
    (project.folder / "ran").unlink()
    assert project("complete", "given").code == 0
    done = project("verify", "same", "given", "--json")
    assert (done.code, outcomes(done.json)) == (0, {"same": ("reproducible", None), "given": ("unknown", "by_hand")})
    assert "unknown       given: completed by hand: nothing ran that could differ\n" in project("verify", "given").out
    assert (project("verify", "given").code, project("verify", "given", "noise").code) == (0, 2)
    assert not list(Path(tempfile.gettempdir()).glob("rekindle-*/project/ran")), "it is not run"
    found = {one["name"]: one for one in project("flaky", "--all-jobs", "--all", "--json").json["flaky"]}["given"]
    assert (found["verified"], found["passes"], found["failures"], found["passed"]) == (None, 0, 1, "failing")


def test_a_job_that_only_a_person_completed_has_no_rate(project: Shell) -> None:
    project.write("name: hand\njobs:\n  given: {run: 'true'}\n", "hand.yaml")
    assert project("submit", "hand.yaml").code == 0
    assert project("complete", "-w", "hand").code == 0
    found = project("flaky", "-w", "hand", "--all-jobs", "--json").json["flaky"]
    assert [(one["passes"], one["failures"]) for one in found] in ([], [(0, 0)])
    assert project("flaky", "-w", "hand", "--all-jobs").code == 0
