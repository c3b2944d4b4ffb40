"""`--junit FILE`: valid JUnit XML at every end of a run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree.ElementTree import Element, parse

import pytest

from project_folder import until

TEXT = {"failure", "error", "skipped", "system-out", "system-err", "stackTrace"}
RERUN = ({"type"}, {"message"}, ("stackTrace", "system-out", "system-err"))
RESULT = (set(), {"type", "message"}, ())
SCHEMA = {
    # element: required attributes, others, elements within it
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, ("testsuite",)),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        ("testsuite", "properties", "testcase", "system-out", "system-err"),
    ),
    "properties": (set(), set(), ("property",)),
    "property": ({"name", "value"}, set(), ()),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        (
            *("skipped", "error", "failure", "rerunFailure", "rerunError", "flakyFailure", "flakyError"),
            *("system-out", "system-err"),
        ),
    ),
    **dict.fromkeys(("failure", "error", "skipped"), RESULT),
    **dict.fromkeys(("rerunFailure", "rerunError", "flakyFailure", "flakyError"), RERUN),
    **dict.fromkeys(("system-out", "system-err", "stackTrace"), (set(), set(), ())),
}
"""The schema junit-10 of Jenkins' xUnit plugin."""

TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")


def check(element: Element) -> None:
    """Assert that an element and those within it are as the schema says."""
    required, others, within = SCHEMA[element.tag]
    assert required <= set(element.attrib) <= required | others, element.attrib
    assert TIME.fullmatch(element.get("time", ""))
    if element.tag not in TEXT and element.tag not in ("rerunFailure", "rerunError", "flakyFailure", "flakyError"):
        assert not (element.text or "").strip()
    for child in element:
        assert child.tag in within, (element.tag, child.tag)
        check(child)
    if SCHEMA[element.tag] is RERUN:
        assert [child.tag for child in element] == sorted({c.tag for c in element}, key=within.index)


def read(shell, name: str = "junit.xml") -> Element:
    """Return the checked suite of a report."""
    root = parse(Path(shell.folder) / name).getroot()
    check(root)
    (suite,) = root
    cases = suite.findall("testcase")
    assert int(suite.get("tests", "")) == len(cases)
    for kind in ("failure", "error", "skipped"):
        counted = suite.get("skipped" if kind == "skipped" else f"{kind}s", "")
        assert int(counted) == len(suite.findall(f"testcase/{kind}"))
    return suite


def cases(suite: Element) -> dict[str, Element]:
    return {one.get("name", ""): one for one in suite.findall("testcase")}


def kinds(suite: Element) -> dict[str, list[str]]:
    return {name: [child.tag for child in one] for name, one in cases(suite).items()}


def properties(suite: Element) -> dict[str, str]:
    return {one.get("name", ""): one.get("value", "") for one in suite.findall("properties/property")}


SPEC = """
name: nightly
jobs:
  good: {matrix: {k: [1, 2]}, run: "true"}
  bad: {run: "echo 'no such alloy: Xy' >&2; exit 3"}
  slow: {run: sleep 60, resources: {time: 200ms}}
  after: {needs: [bad], run: "true"}
  flaky: {run: "test -e seen || { touch seen; echo early >&2; exit 4; }", retry: {max: 1}}
  twice: {run: "exit 5", retry: {max: 1}}
  known: {run: "echo known >&2; exit 6", quarantine: {until: 2999-12-31, why: slow machines}}
"""


def test_each_job_is_a_test_case_with_its_outcome(shell):
    shell.write(SPEC)
    assert shell("run", "spec.yaml", "-j", "2", "--junit", "junit.xml").code == 2
    suite = read(shell)
    assert kinds(suite) == {
        "good[k=1]": [],
        "good[k=2]": [],
        "bad": ["failure"],
        "slow": ["error"],
        "after": ["skipped"],
        "flaky": ["flakyFailure"],
        "twice": ["failure", "rerunFailure"],
        "known": ["skipped"],
    }
    found = cases(suite)
    assert {one.get("classname") for one in suite.findall("testcase")} >= {"nightly/good", "nightly/bad"}
    failure = found["bad"][0]
    assert (failure.get("message"), failure.get("type")) == ("exit 3: no such alloy: Xy", "exit")
    assert failure.text == "no such alloy: Xy"
    assert found["slow"][0].get("type") == "timeout"
    assert float(found["slow"].get("time", "")) >= 0.2
    assert found["after"][0].get("message") == "waiting: it needs bad (failed)"
    assert found["flaky"][0].findtext("stackTrace") == "early"
    message = found["known"][0].get("message", "")
    assert message == "in quarantine until 2999-12-31: slow machines; failed: exit 6: known"
    kept = properties(suite)
    assert (kept["exit_code"], kept["attempts[flaky]"], kept["attempts[twice]"]) == ("2", "2", "2")
    assert kept["quarantine[known]"] == "until 2999-12-31: slow machines"
    assert "attempts[bad]" not in kept


def test_failures_of_an_earlier_run_are_not_flaky(shell):
    shell.write("name: a\njobs: {once: {run: 'test -e seen || { touch seen; exit 1; }'}}\n")
    assert shell("run", "spec.yaml").code == 2
    assert shell("run", "spec.yaml", "--retry-failed", "--junit", "junit.xml").code == 0
    assert kinds(read(shell)) == {"once": []}


def test_supervise_reports_what_its_reruns_fixed(shell):
    shell.write("name: a\njobs: {once: {run: 'test -e seen || { touch seen; exit 1; }'}, bad: {run: exit 1}}\n")
    shell("submit", "spec.yaml")
    assert shell("supervise", "a", "--max-failure-percent", "100", "--junit", "junit.xml").code == 2
    assert kinds(read(shell)) == {"once": ["flakyFailure"], "bad": ["failure", "rerunFailure"]}


def test_a_run_with_nothing_to_do_reports_every_job(shell):
    shell.write("name: a\njobs: {good: {run: 'true'}, bad: {run: exit 1}}\n")
    shell("run", "spec.yaml")
    assert shell("run", "spec.yaml", "--junit", "junit.xml").code == 2
    assert kinds(read(shell)) == {"good": [], "bad": ["failure"]}


def test_control_characters_and_bytes_that_are_no_text_are_escaped(shell):
    shell.write(
        "name: 'a<&>\"'\njobs:\n"
        r"""  bad: {run: "printf '\\033[31mred\\033[0m \\001\\x00\\377 <&> \\357\\277\\277 é\\n' >&2; exit 1"}"""
        "\n"
    )
    assert shell("run", "spec.yaml", "--junit", "junit.xml").code == 2
    suite = read(shell)
    assert suite.get("name") == 'a<&>"'
    text = cases(suite)["bad"][0].text or ""
    assert text.startswith("red \\x01")
    assert "<&>" in text
    assert "é" in text
    assert "\x1b" not in (Path(shell.folder) / "junit.xml").read_text()


def test_a_timed_out_run_reports_what_has_not_ended(shell):
    shell.write("name: a\njobs: {quick: {run: 'true'}, slow: {run: sleep 3, needs: [quick]}}\n")
    assert shell("run", "spec.yaml", "--wait-timeout", "1500ms", "--junit", "junit.xml").code == 6
    suite = read(shell)
    assert kinds(suite)["slow"] == ["skipped"]
    assert properties(suite)["exit_code"] == "6"


def test_an_interrupted_run_reports_what_was_canceled(shell):
    shell.write("name: a\njobs: {quick: {run: touch started, priority: 1}, slow: {run: sleep 60, needs: [quick]}}\n")
    words = [sys.executable, "-m", "rekindle", "run", "spec.yaml", "--junit", "junit.xml"]
    process = subprocess.Popen(words, cwd=shell.folder, env=os.environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        until(lambda: (Path(shell.folder) / "started").exists(), "a job has started")
        until(lambda: '"running"' in shell("jobs", "list", "-n", "slow", "--json").out, "slow runs")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 5
    suite = read(shell)
    assert kinds(suite) == {"quick": [], "slow": ["skipped"]}
    assert cases(suite)["slow"][0].get("type") == "canceled"


def test_an_interrupted_supervisor_without_a_runner_of_its_own_reports(shell):
    shell.write("name: a\njobs: {b: {run: 'true'}}\n")
    shell("submit", "spec.yaml")
    words = [sys.executable, "-m", "rekindle", "supervise", "a", "--no-work", "--junit", "junit.xml"]
    process = subprocess.Popen(words, cwd=shell.folder, env=os.environ, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert any("no runner is alive" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    suite = read(shell)
    assert kinds(suite) == {"b": ["skipped"]}
    assert properties(suite)["exit_code"] == str(process.returncode) == "130"


@pytest.mark.parametrize("path", ["nowhere/junit.xml", "."])
def test_a_path_that_cannot_be_written_is_refused_before_anything_runs(shell, path):
    shell.write("name: a\njobs: {b: {run: touch ran}}\n")
    done = shell("run", "spec.yaml", "--junit", path)
    assert done.code == 64
    assert "--junit" in done.err
    assert not (Path(shell.folder) / "ran").exists()


def test_the_file_is_replaced_as_a_whole(shell):
    target = Path(shell.folder) / "junit.xml"
    target.write_text("old")
    kept = target.open()
    shell.write("name: a\njobs: {b: {run: 'true'}}\n")
    shell("run", "spec.yaml", "--junit", "junit.xml")
    assert kept.read() == "old"
    kept.close()
    assert [one.name for one in Path(shell.folder).iterdir() if one.name.startswith(".junit")] == []
    read(shell)
