"""Values of `env:` with names of secrets are masked in all output, and real for jobs."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cli_shell import Shell

from rekindle.domain.texts.display import mask_document, mask_env, mask_field, mask_matrix

SPEC = """
name: sec
env: {API_TOKEN: hunter2-of-spec, MODE: plain}
jobs:
  a:
    run: "echo $API_TOKEN $db_password > got"
    env: {db_password: hunter2-own}
  b: {needs: [a], run: "true"}
"""
COMMANDS = (
    ["jobs", "show", "a"],
    ["jobs", "show", "a", "--json"],
    ["jobs", "list", "--json"],
    ["jobs", "list", "-q", "{}", "--json"],
    ["attempts", "list", "--json"],
    ["attempts", "show", "3"],
    ["attempts", "show", "3", "--json"],
    ["attempts", "diff", "1", "3"],
    ["attempts", "diff", "1", "3", "--json"],
    ["workflows", "show", "sec", "--json"],
    ["workflows", "diff", "sec"],
    ["workflows", "diff", "sec", "--json"],
    ["why", "--all"],
    ["why", "--all", "--json"],
    ["rerun", "a", "--env", "API_TOKEN=hunter2-more", "--dry-run"],
    ["rerun", "a", "--env", "API_TOKEN=hunter2-more", "--dry-run", "--json"],
    ["reruns", "list"],
    ["reruns", "list", "--json"],
    ["reruns", "show", "1"],
    ["reruns", "show", "1", "--json"],
    ["reruns", "show", "2", "--json"],
    ["events", "list", "--json"],
    ["flaky", "--json"],
    ["lpad", "get_fws", "-d", "all"],
    ["torc", "-F", "json", "jobs", "list"],
)


@pytest.fixture(scope="module")
def told_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a job that ran with a secret, another secret set by a rerun, and a revision; and the output."""
    folder = tmp_path_factory.mktemp("told")
    printed = ""

    def rekindle(*words: str) -> None:
        nonlocal printed
        command = [str(Path(sys.executable).parent / "rekindle"), "--store", ".rekindle", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed += done.stdout + done.stderr

    (folder / "spec.yaml").write_text(SPEC)
    rekindle("run", "spec.yaml")
    assert (folder / "got").read_text() == "hunter2-of-spec hunter2-own\n"
    rekindle("rerun", "a", "--env", "API_TOKEN=hunter2-set", "--yes", "--work")
    assert (folder / "got").read_text() == "hunter2-set hunter2-own\n"
    (folder / "spec.yaml").write_text(SPEC.replace("of-spec", "revised"))
    rekindle("submit", "spec.yaml")
    return folder, printed


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_shows_a_secret(
    shell: Shell, told_folder: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(told_folder[0])
    done = shell(*words)
    assert done.code == 0, done.err
    assert "hunter2" not in done.out + done.err


def test_what_ran_and_was_submitted_printed_no_secret_and_named_what_changed(told_folder: tuple[Path, str]) -> None:
    assert "hunter2" not in told_folder[1]
    assert "$API_TOKEN *** -> ***" in told_folder[1]
    assert "the override API_TOKEN=*** is dropped" in told_folder[1]


def test_differences_of_secrets_are_shown_without_their_values(
    shell: Shell, told_folder: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(told_folder[0])
    found = {
        one["field"]: (one["a"], one["b"]) for one in shell("attempts", "diff", "1", "3", "--json").json["differences"]
    }
    assert found["modified.env.API_TOKEN"] == (None, "***")
    assert "env.API_TOKEN: *** -> ***" in shell("workflows", "diff", "sec").out
    template = shell("workflows", "show", "sec", "--json").json["templates"][0]
    assert template["env"] == {"API_TOKEN": "***", "MODE": "plain", "db_password": "***"}


def test_a_saved_plan_holds_the_value_for_its_user_only_and_applies_it(shell: Shell) -> None:
    shell.write(SPEC)
    shell("run", "spec.yaml")
    saved = shell("rerun", "a", "--env", "API_TOKEN=hunter2-saved", "--save-plan", "plan.json")
    assert "hunter2" not in saved.out
    path = shell.folder / "plan.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert '"env":{"API_TOKEN":"hunter2-saved"}' in path.read_text().replace(" ", "")
    assert shell("apply", "plan.json").code == 0
    assert shell("work").code == 0
    assert (shell.folder / "got").read_text().split() == ["hunter2-saved", "hunter2-own"]


@pytest.mark.parametrize(
    "name", ["TOKEN", "my_token_2", "SECRET_ID", "DbPassword", "PASSWD", "AWS_ACCESS_KEY_ID", "Credentials"]
)
def test_names_of_secrets_in_any_case(name: str) -> None:
    assert mask_env({name: "x", "MODE": "x"}) == {name: "***", "MODE": "x"}
    assert mask_field(f"template.env.{name}", "x") == "***"
    assert mask_field(f"env.{name}", None) is None
    assert mask_field(f"params.{name}", "x") == "x"
    assert mask_matrix({f"env_{name}": "x", "env_MODE": "x", name: "x"}) == {
        f"env_{name}": "***",
        "env_MODE": "x",
        name: "x",
    }


ACTING = """
name: acting
jobs:
  a: {run: "cp action $REKINDLE_ACTION; cp result $REKINDLE_RESULT", inputs: {action: action}}
  b: {needs: [a], run: "true"}
  c: {call: "acting:act"}
  e: {steps: [{name: p, each: [1], run: "cp result $REKINDLE_RESULT"}]}
"""
RETURNED = """
from rekindle import Action

def act():
    added = {"name": "of-c", "run": "true", "env": {"MY_SECRET": "hunter2call"}}
    return Action(add=[added], set={"env": {"MY_TOKEN": "hunter2set"}}, result={"env": {"MY_KEY": "hunter2res"}})
"""


def action(secret: str) -> str:
    job = {"run": 'printf %s "$MY_SECRET" > $REKINDLE_JOB_NAME', "env": {"MY_SECRET": secret, "MODE": "plain"}}
    change = {"env": {"MY_TOKEN": secret}, "_set": {"env.MY_KEY": secret, "x.env.PASSWORD": secret}}
    added = {"add": [{"name": "added", **job}], "detour": [{"name": "between", **job}]}
    return json.dumps({**added, "set": change, "set_children": change, "set_descendants": change})


def test_no_command_shows_a_secret_of_an_action_or_a_result(shell: Shell) -> None:
    shell.write(ACTING)
    shell.write(RETURNED, "acting.py")
    shell.write(action("hunter2-a"), "action")
    shell.write('{"env": {"MY_TOKEN": "hunter2-b"}, "list": [{"env": {"MY_KEY": "hunter2-c"}}]}', "result")
    printed = [shell("run", "spec.yaml")]
    assert printed[0].code == 0, printed[0].err
    shell.write(action("hunter2-d"), "action")
    shell.write('{"env": {"MY_TOKEN": "hunter2-e"}, "list": []}', "result")
    printed += [shell("rerun", "a", "--yes", "--work", "-v"), shell("submit", "spec.yaml")]
    attempts = shell("attempts", "list", "--json").json["attempts"]
    assert any(one["steps"] and (one["steps"][0]["action"] or {}).get("add") for one in attempts)
    jobs = shell("jobs", "list", "--json").json["jobs"]
    last = {one["name"]: str(one["attempt"]) for one in jobs}
    for words in [
        *(["attempts", "show", str(one["id"])] for one in attempts),
        *(["jobs", "show", str(one["id"])] for one in jobs),
        ["attempts", "diff", "1", last["a"]],
        ["attempts", "diff", last["b"], last["c"]],
        ["attempts", "list"],
        ["events", "list"],
        ["why", "--all"],
        ["workflows", "show", "acting"],
        ["reruns", "show", "1"],
        ["rerun", "--all", "--dry-run"],
    ]:
        printed += [shell(*words), shell(*words, "--json")]
    printed += [shell("lpad", "get_fws", "-d", "all"), shell("attempts", "list", "--json")]
    for done in printed:
        assert "hunter2" not in done.out + done.err
    assert '"env":{"MY_SECRET":"***","MODE":"plain"}' in shell("attempts", "show", last["a"]).out.replace(": ", ":")
    assert (shell.folder / "added").read_text() == (shell.folder / "between").read_text() == "hunter2-d"


def test_documents_are_masked_at_any_depth() -> None:
    assert mask_document([{"env": {"TOKEN": {"x": 1}, "MODE": 2}, "TOKEN": 3}]) == [
        {"env": {"TOKEN": "***", "MODE": 2}, "TOKEN": 3}
    ]
    assert mask_document({"_set": {"a.env.TOKEN": 1, "env.MODE": 2}, "env": "TOKEN"}) == {
        "_set": {"a.env.TOKEN": "***", "env.MODE": 2},
        "env": "TOKEN",
    }
    assert mask_field("result.env.TOKEN", 1) == mask_field("result.list[0].env.TOKEN", 1) == "***"
    assert mask_field("params.env", {"TOKEN": 1}) == {"TOKEN": "***"}
