"""Every command line of ReSim's document, unchanged, and a script for continuous integration."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from resim_batch import CONFIG, CommandResult, Lab

DOCUMENTED = """\
resim batches supervise \\
    --project "my-project" \\
    --batch-name "my-batch-name" \\
    --max-rerun-attempts 3 \\
    --rerun-max-failure-percent 30.0 \\
    --rerun-on-states "Error,Warning" \\
    --poll-every "1m" \\
    --wait-timeout "2h"
"""


class Line(NamedTuple):
    """A line, its source, its exit code and its expected stdout."""

    line: str
    source: str
    ends: int
    prints: str = ""


# In this order, on one store. {…} stands where the document has {batch id} and {test id 1, test id 2, ...}.
LINES = (
    Line("resim batches supervise --help", "document: see --help", 0, "--rerun-max-failure-percent"),
    Line(
        'resim batches create --project "my-project" --build-id planner-7 --metrics-build-id scores-2 '
        '--experience-tags nightly --batch-name "my-batch-name"',
        "the help of create",
        0,
        "Batch ID: 1\nBatch name: my-batch-name\nStatus: SUBMITTED\n",
    ),
    Line(DOCUMENTED, "document: supervise, Example", 0),
    Line("resim batches rerun --batch-id=1 --test-ids=1,2", "document: rerun, tests", 0, "Batch rerun successfully!"),
    Line(DOCUMENTED, "again", 0),
    Line("resim batches rerun --batch-id=1", "document: rerun, batch metrics alone", 0, "Batch rerun successfully!"),
    Line('resim batches wait --project "my-project" --batch-name "my-batch-name"', "the help of wait", 0),
    Line("resim batches get --project my-project --batch-id 1 --exit-status", "the help of get", 0),
    Line("resim batches get --project my-project --batch-id 1", "the help of get", 0, '"status": "SUCCEEDED"'),
    Line("resim batches get --project my-project --batch-id 1 --markdown", "the help of get", 0, "- 2 **Passed**"),
    Line("resim batches get --project my-project --batch-id 1 --slack", "the help of get", 0, "2 total tests"),
    Line("resim batches tests --project my-project --batch-id 1", "the help of tests", 0, '"experienceName": "turn"'),
    Line("resim batch jobs --project my-project --batch-id 1", "the aliases", 0, '"runCounter": 2'),
    Line("resim batches logs --project my-project --batch-name my-batch-name", "the help of logs", 0, "[]"),
    Line("resim batches cancel --project my-project --batch-id 1", "the help of cancel", 0, "has ended already"),
    Line(
        "resim batches get --batch-id 1 --client-id me --client-secret=x --exit-status --url https://x", "the root", 0
    ),
    Line("resim batches rerun --batch-id=1 --test-ids=1,99", "do not use other IDs", 1),
    Line("resim batches rerun --batch-id=", "one of the two is necessary", 1),
    Line("resim batches frobnicate", "", 1),
    Line("resim frobnicate", "", 1),
    Line("resim batches supervise --batch-id 1 --rerun-on-states Error --poll-every never", "", 1),
)


@pytest.fixture
def installed(lab: Lab) -> dict[str, str]:
    """The environment in which `resim` is a command."""
    assert lab.rekindle("dialects", "install", "bin").code == 0
    return {**os.environ, "PATH": f"{lab.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def shell(line: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_documented_line_runs_unchanged_in_a_shell(lab: Lab, installed: dict[str, str]) -> None:
    for one in LINES:
        if one.source.startswith("document"):
            done = shell(one.line, lab.folder, installed)
            result = CommandResult(done.returncode, done.stdout, done.stderr)
        else:
            result = lab.rekindle(*shlex.split(one.line.replace("\\\n", "")))
        assert result.code == one.ends, (one.line, result)
        assert one.prints in result.out, (one.line, result)
        assert "Traceback" not in result.err
        assert not one.ends or "hint:" in result.err


CI = """\
set -u
resim batches supervise --project car --batch-id "$BATCH" --max-rerun-attempts 1 --rerun-max-failure-percent 50 \\
    --rerun-on-states "Error,Blocker" --poll-every 200ms --wait-timeout "$PATIENCE" -j 1 &
supervisor=$!
if [ -n "$CANCEL" ]; then
    until [ -e ran.txt ]; do sleep 0.05; done
    resim batches cancel --project car --batch-id "$BATCH"
fi
wait $supervisor
case $? in
    0) echo passed ;;
    1) echo internal error ;;
    2) echo failed ;;
    5) echo cancelled ;;
    6) echo too late ;;
    *) echo unknown ;;
esac
"""


@pytest.mark.parametrize(
    ("says", "ordered", "with_"),
    [
        ("passed", ["flaky-merge"], {}),
        ("internal error", [], {"PATIENCE": "soon"}),
        ("failed", ["broken-turn"], {}),
        ("cancelled", ["stuck-merge"], {"CANCEL": "yes"}),
        ("too late", ["slow-merge", "slow-turn", "slow-stop"], {"PATIENCE": "500ms"}),
    ],
)
def test_a_ci_script_sees_each_exit_code(
    lab: Lab, installed: dict[str, str], says: str, ordered: list[str], with_: dict[str, str]
) -> None:
    """Real runs that exit with 0, 1, 2, 5 and 6."""
    lab.order(*ordered)
    done = shell(CI, lab.folder, {**installed, "BATCH": lab.create(), "PATIENCE": "1h", "CANCEL": "", **with_})
    assert done.stdout.splitlines()[-1] == says, done.stdout + done.stderr


# The file


def test_experiences_are_selected_by_name_id_tag_and_suite(lab: Lab) -> None:
    known = ("--project", "car", "--build-id", "planner-7", "--github")
    chosen = {
        ("--experiences", "merge,11-aa"): ["merge", "turn"],
        ("--experience-ids", "11-aa"): ["turn"],
        ("--experience-tags", "motorway"): ["merge"],
        ("--experience-tag-names", "nightly", "--experiences", "stop,merge"): ["merge", "turn", "stop"],
        ("--test-suite", "all of them"): ["merge", "turn", "stop"],
    }
    for number, (words, names) in enumerate(chosen.items(), 1):
        lab.batches("create", *known, *words)
        assert list(lab.tests(str(number))) == names
        assert lab.get(str(number))["projectID"] == "car"
    wrong = {
        (): "no experience is selected",
        ("--experiences", "merj"): "no such experience: merj",
        ("--experience-tags", "nightly,daily"): "no such experience tag: daily",
        ("--test-suite", "none"): "no such test suite: none",
        ("--experience-tag-ids", "nightly", "--experience-tag-names", "nightly"): "mutually exclusive",
        ("--experiences", "merge", "--build-id", "planner-6"): "--build-id: the file has no such build: planner-6",
        ("--experiences", "merge", "--metrics-build-id", "x"): "--metrics-build-id: the file has no such build: x",
        ("--experiences", "merge", "--parameter", "speed"): "--parameter takes NAME=VALUE",
        ("--experiences", "merge", "--allowable-failure-percent", "101"): "between 0 and 100",
        ("--experiences", "merge", "--pool-labels", "a,resim"): "reserved",
        ("--experiences", "merge", "--batch-name", "17"): "cannot be a name",
        ("--experiences", "merge", "--experiences-config", "nowhere.yaml"): "there is no such file",
    }
    for words, result in wrong.items():
        assert result in lab.batches("create", *known, *words, expect=1).err
    assert len(lab.rekindle("workflows", "list", "--json").json["workflows"]) == len(chosen)


def test_parameters_are_read_as_resim_reads_them(lab: Lab) -> None:
    words = ("--parameter", "a=1,b:2", "--parameter", "c=d=e", "--parameter", "x:y=z", "--account", "me")
    told = lab.get(lab.create(*words, "--pool-labels", "big,fast"))
    assert told["parameters"] == {"a": "1", "b": "2", "c": "d=e", "x:y": "z"}
    assert (told["associatedAccount"], told["poolLabels"]) == ("me", ["big", "fast"])


def test_an_unnamed_batch_gets_an_unused_name(lab: Lab) -> None:
    names = {lab.get(lab.create())["friendlyName"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.count("-") == 2 for name in names)


def test_all_problems_of_the_file_are_reported_with_their_lines(lab: Lab) -> None:
    (lab.folder / "resim.yaml").write_text(
        "builds:\n"
        "  - {id: a}\n"
        "  - {id: b, run: 'echo ${matrix.exprience}'}\n"
        "  - {run: 'true'}\n"
        "experiences:\n"
        "  - {name: one, location: [x]}\n"
        "  - {name: one, container_timeout_seconds: 0}\n"
        "  - {description: none}\n"
        "  - {name: three, environment_variables: [{name: 1x, value: y}, {name: Z}]}\n"
        "managed_test_suites:\n"
        "  - {name: s, experiences: [one, tow]}\n"
        "suites: []\n"
    )
    known = ("create", "--project", "car", "--experiences", "one", "--build-id")
    result = lab.batches(*known, "b", expect=1).err
    for line in (
        "resim.yaml:2:5: the build 'a' runs nothing",
        "resim.yaml:4:5: an entry of `builds` has neither `id` nor `name`",
        "resim.yaml:6:17: an entry of `experiences` has no key 'location' (did you mean `locations`?)",
        "resim.yaml:7:5: there is an experience 'one' already",
        "resim.yaml:8:5: an entry of `experiences` has no `name`",
        "resim.yaml:9:43: '1x' cannot be the name of a variable",
        "resim.yaml:9:65: the variable Z has no text as `value`",
        "resim.yaml:11:5: the suite 's' names an unknown experience: tow",
        "resim.yaml:12:1: the file has no key 'suites'",
    ):
        assert line in result, result
    (lab.folder / "resim.yaml").write_text(
        "builds: [{id: b, run: 'echo ${matrix.exprience}'}]\nexperiences: [{name: one}]"
    )
    result = lab.batches(*known, "b", expect=1).err
    assert "resim.yaml:1:23: ${matrix.exprience}: " in result
    assert "experience" in result
    assert not (lab.folder / ".rekindle").exists()


def test_the_file_can_be_in_another_folder_and_in_json(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab.folder / "resim.yaml").unlink()
    assert (
        "there is no resim.yaml"
        in lab.batches("create", "--project", "car", "--build-id", "b", "--experiences", "one", expect=1).err
    )
    (lab.folder / "elsewhere").mkdir()
    (lab.folder / "elsewhere" / "lab.json").write_text(
        '{"builds": [{"id": "b", "run": "pwd > \\"$RESIM_CONFIG_DIR/where\\""}], "experiences": [{"name": "one"}]}'
    )
    words = ("--project", "car", "--build-id", "b", "--experiences", "one")
    lab.batches("create", *words, "--experiences-config", "elsewhere/lab.json")
    lab.wait("1")
    where = (lab.folder / "elsewhere" / "where").read_text().strip()
    assert where == lab.tests("1")["one"]["outputLocation"]
    monkeypatch.setenv("RESIM_EXPERIENCES_CONFIG", "elsewhere/lab.json")
    lab.batches("create", *words)


def test_a_thousand_experiences_share_one_template(lab: Lab) -> None:
    many = "".join(f"  - {{name: e{i}, tags: [all], locations: [scene/{i}]}}\n" for i in range(1000))
    (lab.folder / "resim.yaml").write_text(CONFIG.replace("experiences:\n", f"experiences:\n{many}", 1))
    lab.batches("create", "--project", "car", "--build-id", "planner-7", "--experience-tags", "all")
    from rekindle.engine.queries import workflow_queries
    from rekindle.engine.session import open_session

    with open_session(str(lab.folder / ".rekindle")) as session:
        assert [one.name for one in workflow_queries.templates(session, 1)] == ["test"]
    assert len(lab.tests("1")) == 1000
