"""The commands, flags and files in README and CONTRIBUTING exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rekindle.cli.root import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md")


def typed(page: str, word: str) -> list[str]:
    """The rest of each line of code that begins with `word`, also after a prompt."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ").strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line.removeprefix(word).split("#")[0].strip() for line in lines if line.startswith(f"{word} ")]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_each_make_target_exists(page: str) -> None:
    named = {line.split()[0] for line in typed(page, "make")}
    assert named, f"{page} names no make target"
    assert named <= make_targets()


def test_readme_names_the_two_commands() -> None:
    assert {"demo", "test"} <= {line.split()[0] for line in typed("README.md", "make")}


@pytest.mark.parametrize("page", PAGES)
def test_each_command_and_flag_exists(page: str) -> None:
    wrong = [f"rekindle {line}" for line in typed(page, "rekindle") if not known(line.split())]
    assert wrong == []


def known(words: list[str]) -> bool:
    """Return whether the command of a line and each of its flags exist."""
    command = cli
    context = cli.make_context("rekindle", [], resilient_parsing=True)
    while words and hasattr(command, "get_command"):
        found = command.get_command(context, words[0])
        if found is None:
            break
        command, words = found, words[1:]
    if command is cli and not (words and words[0].startswith("-")):
        return False
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    return {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z].*", word)} <= flags | {"--help", "-h"}


@pytest.mark.parametrize("page", PAGES)
def test_each_file_that_a_page_links_to_exists(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
