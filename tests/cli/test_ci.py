"""`--ci`: what GitHub and GitLab show of a run. The output is read by their documented rules."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

SPEC = """\
name: nightly
jobs:
  good: {run: "true"}
  bad: {run: "echo '::error::forged' >&2; echo 'too | cold: <b> 50 %, *really*' >&2; exit 3"}
  flaky: {run: "test -e seen || { touch seen; echo early >&2; exit 4; }", retry: {max: 1}}
  known: {run: "echo slow >&2; exit 6", quarantine: {until: 2999-12-31, why: slow machines}}
  after: {needs: [bad], run: "true"}
"""
COMMAND = re.compile(r"::(?P<name>[a-z-]+)(?: (?P<properties>.*?))?::(?P<data>.*)")


def unescaped(text: str) -> str:
    for escape, meant in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(escape, meant)
    return text


def github_commands(log: str) -> list[tuple[str, dict[str, str], str]]:
    """Return the commands that a runner of GitHub finds in a log: (name, properties, data)."""
    found, stopped = [], None
    for line in log.splitlines():
        if stopped is not None:
            stopped = None if line.strip() == f"::{stopped}::" else stopped
        elif known := COMMAND.fullmatch(line.strip()):
            if known["name"] == "stop-commands":
                stopped = known["data"]
                continue
            parts = dict(part.split("=", 1) for part in (known["properties"] or "").split(",") if part)
            properties = {name: unescaped(value) for name, value in parts.items()}
            found.append((known["name"], properties, unescaped(known["data"])))
    assert stopped is None
    return found


@pytest.fixture
def ci(shell, monkeypatch):
    """A project in a job of GitHub, whose step has a summary."""
    for name in ("GITLAB_CI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(shell.folder))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(shell.folder / "summary.md"))
    (shell.folder / "summary.md").write_text("an earlier line\n")
    shell.write(SPEC)
    return shell


def summary(shell) -> str:
    return (shell.folder / "summary.md").read_text()


def test_failures_are_annotations_at_their_job_in_the_spec(ci):
    done = ci("run", "spec.yaml", "--ci", "github")
    found = [one for one in github_commands(done.err) if one[0] in ("error", "warning")]
    quarantine = "in quarantine: 1 failed job of known, until 2999-12-31: slow machines"
    flaky = "it completed after 1 failed attempt: early"
    assert found == [
        ("error", {"file": "spec.yaml", "line": "4", "title": "bad failed"}, "too | cold: <b> 50 %, *really*"),
        ("warning", {"file": "spec.yaml", "line": "6", "title": "known failed"}, quarantine),
        ("warning", {"file": "spec.yaml", "line": "5", "title": "flaky is flaky"}, flaky),
    ]


def test_a_title_with_separators_is_escaped(ci):
    ci.write("name: a\njobs:\n  b: {matrix: {k: [1], l: ['x:y']}, run: 'exit 1'}\n")
    done = ci("run", "spec.yaml", "--ci", "github")
    assert "title=b[k=1%2Cl=x%3Ay] failed::" in done.err
    ((_, properties, _),) = [one for one in github_commands(done.err) if one[0] == "error"]
    assert properties["title"] == "b[k=1,l=x:y] failed"


def test_groups_are_closed_and_what_jobs_print_is_no_command(ci):
    done = ci("run", "spec.yaml", "--ci", "github")
    assert "::error::forged" in done.err
    names = [name for name, _, _ in github_commands(done.err) if name.endswith("group")]
    assert names == ["group", "endgroup"] * (len(names) // 2)
    assert len(names) >= 4
    assert all(data != "forged" for _, _, data in github_commands(done.err))


def test_github_gets_ten_annotations_of_a_type_and_how_many_are_left_out(ci):
    jobs = "".join(f"  {word}: {{run: 'echo no {word} here >&2; exit 1'}}\n" for word in map(chr, range(97, 110)))
    ci.write(f"name: many\njobs:\n{jobs}")
    done = ci("run", "spec.yaml", "--ci", "github")
    errors = [one for one in github_commands(done.err) if one[0] == "error"]
    assert len(errors) == 10
    assert errors[-1][1]["title"] == "and 4 more kinds of failures"


def test_the_summary_is_appended_with_a_table_of_each_kind(ci):
    ci("run", "spec.yaml", "--ci", "github")
    text = summary(ci)
    assert text.startswith("an earlier line\n## rekindle: nightly\n\n1 waiting, 2 completed, 2 failed; exit code 2\n")
    rows = [[html.unescape(cell.strip()) for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["1", "exit", "too | cold: <b> 50 %, *really*", "bad"] in [row[:4] for row in rows]
    assert ["1", "known", "2999-12-31", "slow machines"] in rows
    assert ["flaky", "completed", "1 failed attempt: early"] in rows
    assert ["1", "after", "waiting", "bad"] in rows
    assert re.findall(r"### (.*)", text) == [
        "Failed: 1",
        "Quarantine: 1",
        "Rerun in this run: 1",
        "Not run to the end: 1",
    ]
    assert "<b>" not in text


def test_a_summary_without_room_is_cut_and_says_so(ci):
    (ci.folder / "summary.md").write_text("x" * (1024 * 1024 - 500))
    ci("run", "spec.yaml", "--ci", "github")
    assert len(summary(ci).encode()) <= 1024 * 1024
    assert summary(ci).endswith("More did not fit in this summary.\n")


def test_a_full_summary_stays_as_it_is(ci):
    (ci.folder / "summary.md").write_text("x" * (1024 * 1024 - 10))
    assert ci("run", "spec.yaml", "--ci", "github").code == 2
    assert set(summary(ci)) == {"x"}


@pytest.mark.parametrize("kind", ["github", "gitlab", "auto"])
@pytest.mark.parametrize(("spec", "code"), [("exit 1", 2), ("true", 0)])
def test_the_exit_code_stays_also_where_the_summary_cannot_be_written(ci, monkeypatch, kind, spec, code):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/nowhere/summary.md")
    ci.write(f"name: a\njobs: {{b: {{run: '{spec}'}}}}\n")
    done = ci("run", "spec.yaml", "--ci", kind)
    assert done.code == code
    assert ("warning: --ci github: " in done.err) == (kind == "github")


def test_sections_of_gitlab_are_folded_and_closed(ci):
    done = ci("run", "spec.yaml", "--ci", "gitlab", "--junit", "junit.xml")
    mark = re.compile(r"\x1b\[0Ksection_(start|end):[0-9]+:([A-Za-z0-9_.-]+)(\[collapsed=true\])?\r\x1b\[0K(.*)")
    found = [(one[1], one[2], bool(one[3]), one[4]) for one in mark.finditer(done.err)]
    assert [one[0] for one in found] == ["start", "end"] * (len(found) // 2)
    assert [one[1] for one in found[::2]] == [one[1] for one in found[1::2]]
    assert len({one[1] for one in found}) == len(found) // 2
    assert all(one[2] for one in found[::2])
    assert "bad: too | cold: <b> 50 %, *really*" in [one[3] for one in found]
    assert "artifacts: {when: always, reports: {junit: junit.xml}}" in done.err
    assert "::error" not in done.err.replace("::error::forged", "")
    assert summary(ci) == "an earlier line\n"


@pytest.mark.parametrize("target", ["spec.yaml", "1"])
def test_the_sections_of_a_supervisor_have_the_name_of_the_workflow_and_content(ci, target):
    ci("submit", "spec.yaml")
    err = ci("supervise", target, "--max-reruns", "1", "--ci", "github").err
    rounds = re.findall(r"::group::rekindle: jobs of nightly\n::stop-commands::(\S+)\n((?:.+\n)*?)::\1::\n", err)
    assert len(rounds) == 2
    assert all("ran: " in lines for _, lines in rounds)


@pytest.mark.parametrize(
    ("name", "found"), [("GITHUB_ACTIONS", "::group::"), ("GITLAB_CI", "section_start:"), ("OTHER", None)]
)
def test_auto_is_the_server_of_the_environment(ci, monkeypatch, name, found):
    monkeypatch.setenv(name, "true")
    err = ci("run", "spec.yaml", "--ci", "auto").err
    assert [mark for mark in ("::group::", "section_start:") if mark in err] == ([found] if found else [])


def test_without_the_option_nothing_is_printed_for_a_server(ci, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "::group::" not in ci("run", "spec.yaml").err
    assert summary(ci) == "an earlier line\n"


@pytest.mark.parametrize("command", [["run", "spec.yaml"], ["supervise", "nightly"]])
def test_json_stays_one_document_on_stdout(ci, command):
    ci("submit", "spec.yaml")
    done = ci(*command, "--ci", "github", "--json")
    assert done.json["exit_code"] == 2
    assert "::error" in done.err
    assert Path(ci.folder, "summary.md").read_text() != "an earlier line\n"
