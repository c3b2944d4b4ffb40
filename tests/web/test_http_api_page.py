"""The commands on docs/how-to/http-api.md work as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from http_calls import EVERYTHING
from served import ServedProject

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "http-api.md"


def commands() -> str:
    """The commands of the page as one script; each prints what it answers in one line."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    script = re.sub(r"^[$>] ", "", "".join(blocks), flags=re.MULTILINE)
    return script.replace("curl -sS", "curl -sS --fail-with-body -w '\\n'")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page_work(project: ServedProject) -> None:
    project.spec(EVERYTHING.replace("while ! [ -e go ]; do sleep 0.05; done", "true"))
    project.rekindle("run", "spec.yaml", expect=2)
    project.serve()
    (project.folder / "submit-header").write_text(f"Authorization: Bearer {project.token('submit')}\n")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands()],
        cwd=project.folder,
        env={**project.env, "URL": project.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    keys = [next(iter(answer)) for answer in answers]
    assert keys == ["workflows", "jobs", "failures", "rerun", "rerun", "held", "released", "workflow"]
    assert "<b>bad</b>" in done.stdout
    assert answers[3]["rerun"] == answers[4]["rerun"] == 1
    assert project.ask("reruns", "show", "1")["request"]["by"] == "laptop"


def test_the_page_names_each_option_of_a_rerun_and_each_status() -> None:
    from rekindle.domain.rerun.request import HowFlags
    from rekindle.web.api_reads import OPERATIONS as READS
    from rekindle.web.api_writes import OPERATIONS as WRITES
    from rekindle.web.openapi import document

    text = PAGE.read_text()
    names = {"from" if field == "start" else field for field in HowFlags.__struct_fields__}
    assert {name for name in names if f"`{name}`" not in text} == set()
    statuses = {
        status
        for methods in document([*READS, *WRITES])["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
    }
    assert {status for status in statuses - {"200"} if status not in text} == set()
