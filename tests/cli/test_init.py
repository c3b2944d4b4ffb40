"""`rekindle init`: a store, a starter spec, and specs converted from other tools' files."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import jsonschema_rs
import pytest
from cli_shell import Shell, commands_of

from rekindle.cli.command_table import CONVERTERS
from rekindle.domain.texts.substitution import render_text
from rekindle.spec import load
from rekindle.spec.conversion import Conversion, ConvertedJob, literal, named_paths, unique_name, write_spec
from rekindle.spec.spec_schema import spec_schema
from rekindle.spec.starting import workflow_name


def test_the_starter_runs_at_once_and_its_comments_are_true(shell: Shell) -> None:
    done = shell("init")
    assert done.code == 0
    assert "wrote workflow.yaml, a workflow of 5 jobs" in done.out
    commands = [line.split("  ")[1].split() for line in done.out.splitlines() if line.startswith("  rekindle ")]
    assert [words[1] for words in commands] == ["run", "run", "failures", "rerun"]
    text = (shell.folder / "workflow.yaml").read_text()
    assert all(f"#   {' '.join(words)}" in text for words in commands)
    codes = [shell(*words[1:], *(["--yes"] if words[1] in ("run", "rerun") else [])).code for words in commands]
    assert codes == [0, 2, 0, 0]
    assert (shell.folder / "total.txt").read_text() == "25\n50\n"
    done = shell("status", "--json")
    assert done.json["workflows"][0]["counts"] == {"completed": 5}
    assert "2 x 25 is above 40" in text
    assert f"name: {shell.folder.name}\n" in text


def test_the_starter_names_the_schema_and_is_valid_in_it(shell: Shell) -> None:
    shell("init")
    first = (shell.folder / "workflow.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=.rekindle/spec.schema.json"
    assert json.loads((shell.folder / ".rekindle/spec.schema.json").read_text()) == spec_schema()
    done = shell("spec", "check", "workflow.yaml")
    assert (done.code, done.out) == (0, f"workflow.yaml: valid: {shell.folder.name}, 5 jobs of 3 entries, 6 edges\n")


def test_init_renews_an_old_schema(shell: Shell) -> None:
    shell("init")
    shell.write("{}", ".rekindle/spec.schema.json")
    assert shell("init").code == 0
    assert json.loads((shell.folder / ".rekindle/spec.schema.json").read_text()) == spec_schema()
    assert shell("store", "check", "--deep").code == 0


def test_init_lines_fit_in_80_columns(shell: Shell) -> None:
    assert max(len(line) for line in shell("init").out.splitlines()[1:]) <= 80
    assert max(map(len, (shell.folder / "workflow.yaml").read_text().splitlines())) <= 100


def test_a_folder_with_a_spec_gets_only_a_store(shell: Shell) -> None:
    shell.write("name: a\njobs: {a: {run: 'true'}}\n", "mine.yml")
    shell.write("jobs: [1]\n", "torc.yaml")
    done = shell("init")
    assert done.code == 0
    assert "no spec is written: the folder has mine.yml\n" in done.out
    assert "# yaml-language-server: $schema=.rekindle/spec.schema.json" in done.out
    assert not (shell.folder / "workflow.yaml").exists()
    assert (shell.folder / ".rekindle/store.db").exists()
    assert shell("init", "--json").json == {
        "store": str(shell.folder / ".rekindle"),
        "made": False,
        "shared": False,
        "spec": None,
        "specs": ["mine.yml"],
        "schema": ".rekindle/spec.schema.json",
    }


def test_no_file_is_overwritten(shell: Shell) -> None:
    shell.write("other: data\n", "workflow.yaml")
    done = shell("init")
    assert done.code == 1
    assert "workflow.yaml is there, and is not overwritten" in done.err
    assert (shell.folder / "workflow.yaml").read_text() == "other: data\n"
    assert not (shell.folder / ".rekindle").exists()
    assert shell("init", "-o", "new.yaml").code == 0
    assert "rekindle run new.yaml" in (shell.folder / "new.yaml").read_text()
    assert shell("run", "new.yaml").code == 0
    assert shell("init", "-o", "new.yaml").code == 1


def test_the_schema_is_named_from_the_folder_of_the_spec(shell: Shell) -> None:
    (shell.folder / "specs").mkdir()
    assert shell("init", "-o", "specs/a.yaml").code == 0
    first = (shell.folder / "specs/a.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../.rekindle/spec.schema.json"


def test_with_a_named_store_no_starter_is_written(shell: Shell) -> None:
    assert shell("--store", "there", "init").code == 0
    assert [path.name for path in shell.folder.iterdir()] == ["there"]
    assert (shell.folder / "there/spec.schema.json").exists()


@pytest.mark.parametrize(
    ("folder", "name"),
    [("digits", "digits"), ("2024", "workflow"), ("", "workflow"), ("true", '"true"'), ("a: b", '"a: b"')],
)
def test_a_workflow_is_named_after_its_folder(
    shell: Shell, folder: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = shell.folder / folder
    where.mkdir(exist_ok=True)
    monkeypatch.chdir(where)
    assert shell("init").code == 0
    if folder:
        assert f"name: {name}\n" in (where / "workflow.yaml").read_text()
        assert load(where / "workflow.yaml").name == workflow_name(where)


JOBLOG = (
    "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
    "1\t:\t1\t0.1\t0\t5\t0\t0\techo one > 1.txt\n"
    "3\t:\t1\t0.1\t0\t5\t1\t0\techo 'two  words: ${HOME}' | tee 3.txt; x=${y:-1}; echo $((x + 1)) # done\n"
    "2\t:\t1\t0.1\t0\t5\t0\t9\tprintf '%s\\n' ${params.x:-a}\t${1.5} 2>/dev/null; true\n"
    "4\tnode7\t1\t0.1\t0\t5\t0\t0\techo a\0echo b >> 4.txt\n"
    "what is this\n"
    "1\t:\t2\t0.1\t0\t5\t7\t0\techo again > 1.txt\n"
)


def test_a_job_log_becomes_a_list_of_jobs_with_the_same_commands(shell: Shell) -> None:
    (shell.folder / "runs.log").write_text(JOBLOG)
    done = shell("init", "--from", "joblog", "runs.log")
    assert done.code == 0
    assert "wrote workflow.yaml: 4 jobs from runs.log" in done.out
    assert "runs.log:5: job 4 ran on node7" in done.out
    assert "runs.log:6: not a line of a job log" in done.out
    rows = {int(line.split("\t")[0]): line.split("\t", 8)[8] for line in JOBLOG.splitlines()[1:] if "\t" in line}
    assert commands_of(shell.folder / "workflow.yaml") == {
        f"job-{number}": [command.replace("\0", "\n")] for number, command in rows.items()
    }
    text = (shell.folder / "workflow.yaml").read_text()
    assert "# runs.log:7: failed with exit code 7\n" in text
    assert "# runs.log:4: killed by signal 9\n" in text
    assert "#   runs.log:6: not a line of a job log: 'what is this'\n" in text


def test_jobs_that_completed_can_be_left_out(shell: Shell) -> None:
    (shell.folder / "runs.log").write_text(JOBLOG)
    assert shell("init", "--from", "joblog", "runs.log", "--only-failed").code == 0
    assert list(commands_of(shell.folder / "workflow.yaml")) == ["job-1", "job-2", "job-3"]
    assert shell("init", "--only-failed", "-o", "x.yaml").code == 64


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_a_converted_job_log_makes_the_files_that_parallel_made(shell: Shell) -> None:
    (shell.folder / "a").mkdir()
    line = "parallel --joblog ../runs.log 'seq {} > {}.txt; test {} != 3 && echo \"<{}>\" >> all-{}.txt' ::: 1 2 3 4"
    subprocess.run(["bash", "-c", line], cwd=shell.folder / "a", check=False, capture_output=True, timeout=60)
    made = {path.name: path.read_text() for path in (shell.folder / "a").iterdir()}
    assert len(made) == 7
    assert shell("init", "--from", "joblog", "runs.log").code == 0
    assert shell("run", "workflow.yaml").code == 2  # job 3 fails, as it did
    assert {path.name: path.read_text() for path in shell.folder.glob("*.txt")} == made
    assert shell("jobs", "list", "-s", "failed", "--json").json["jobs"][0]["name"] == "job-3"


@pytest.mark.parametrize(("kind", "text"), [("joblog", "a\tb\n"), ("torc", "jobs: 1\n"), ("fireworks", "a: 1\n")])
def test_what_cannot_be_converted_is_refused_and_makes_nothing(shell: Shell, kind: str, text: str) -> None:
    (shell.folder / "file").write_text(text)
    done = shell("init", "--from", kind, "file")
    assert done.code == 1
    assert done.err.startswith("rekindle: ")
    assert [path.name for path in shell.folder.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", CONVERTERS)
def test_a_file_that_is_not_there_is_named(shell: Shell, kind: str) -> None:
    done = shell("init", "--from", kind, "nowhere")
    assert done.code == 1
    assert "nowhere" in done.err
    assert "there is no such file" in done.err


def test_the_document_lists_what_was_not_converted(shell: Shell) -> None:
    (shell.folder / "runs.log").write_text(JOBLOG)
    document = shell("init", "--from", "joblog", "runs.log", "--json").json
    assert (document["spec"], document["jobs"]) == ("workflow.yaml", 4)
    assert document["omissions"][1] == {
        "line": 6,
        "reason": "not a line of a job log: 'what is this'",
        "file": "",
    }


TEXTS = [
    *("true", "1e3", "0o14", "on", "null", "", "a: b", "# no", "- x", "'", '"', "${params.x}", "${X}", "$${X}", "$$"),
    *(
        "${",
        "a\nb",
        "a\n\n  b\n",
        " lead",
        "trail ",
        "tab\tx",
        "é…",
        "x\\n",
        "{a}",
        "[b]",
        "*",
        "&a",
        "!b",
        "%",
        "@",
        "`",
        "|",
    ),
    *("a \nb", "\ta\nb", "a\r\nb", "\x07", "${env.X} and $${env.Y}", "${steps.a", "1:30", "0x1F", ".5", "2024-01-01"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_is_written_so_that_the_same_is_read(text: str, tmp_path: Path) -> None:
    command = f"echo {text} x"
    jobs = [
        ConvertedJob("a", {"run": ["printf", "%s", literal(command)], "env": {"A": literal(text)}}),
        ConvertedJob("b", {"run": "true", "matrix": {"m": [text if "${" not in text else "", "other"]}}),
    ]
    found = write_spec(Conversion("make", "Makefile", "x", jobs), tmp_path, None)
    assert found.omissions == []
    (tmp_path / "x.yaml").write_bytes(found.text.encode())
    definition = load(tmp_path / "x.yaml")
    step = definition.templates[0].steps[0]
    assert step.run is not None
    assert render_text(step.run[2], {}) == command
    assert render_text(definition.templates[0].env["A"], {}) == text
    assert definition.jobs[1].binding == {"m": text if "${" not in text else ""}


def test_a_job_that_a_spec_cannot_express_is_left_out_with_the_reason(tmp_path: Path) -> None:
    jobs = [
        ConvertedJob("a", {"run": "true", "outputs": {"o": "same"}}, 3),
        ConvertedJob("b", {"run": "true", "outputs": {"o": "same"}}, 5),
        ConvertedJob("c", {"run": "true", "needs": ["d"]}, 7),
        ConvertedJob("d", {"run": "true", "needs": ["nobody"]}, 9),
    ]
    found = write_spec(Conversion("make", "Makefile", "x", jobs), tmp_path, None)
    assert found.jobs == 1
    assert [(one.line, one.reason.partition(":")[0]) for one in found.omissions] == [(5, "b"), (7, "c"), (9, "d")]
    assert "#   Makefile:5: b: a and b both write same" in found.text


def test_names_are_valid_and_unique() -> None:
    assert [unique_name(text, {"a"}) for text in ("a", "b/c.o", "12", "…", "-x-")] == [
        "a-2",
        "b-c.o",
        "job-12",
        "job",
        "x",
    ]
    assert named_paths(["d/a.txt", "e/a.txt", "d/a.txt", "*"]) == {
        "a_txt": "d/a.txt",
        "a_txt_2": "e/a.txt",
        "file": "*",
    }


def test_a_converted_spec_is_valid_in_the_schema(shell: Shell) -> None:
    import yaml

    (shell.folder / "runs.log").write_text(JOBLOG)
    shell("init", "--from", "joblog", "runs.log")
    plain = yaml.safe_load((shell.folder / "workflow.yaml").read_text())
    jsonschema_rs.validate(spec_schema(), plain)
