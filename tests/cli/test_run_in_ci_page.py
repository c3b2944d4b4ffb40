"""The CI files of the page "Run a batch in CI" (tests/docs types its commands)."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from console_blocks import ROOT, blocks

SPEC, GITHUB, GITLAB, SUPERVISE = blocks(ROOT / "docs/how-to/run-in-ci.md", "yaml")


@pytest.mark.parametrize("text", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_the_ci_files_run_options_that_exist(shell, text):
    yaml.safe_load(text)
    (command,) = re.findall(r"rekindle (run .*)", text)
    words = shlex.split(command)
    shell.write(SPEC.replace("!= io", "!= none"), words[1])
    assert shell(*words).code == 0
    assert (shell.folder / "junit.xml").exists()


def test_the_supervise_example_runs(shell):
    (command,) = re.findall(r"rekindle (supervise nightly.yaml.*)", SUPERVISE, re.S)
    shell.write(SPEC, "nightly.yaml")
    assert shell(*shlex.split(command)).code == 2
