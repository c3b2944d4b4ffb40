"""The example in README, typed line by line at 80 columns, prints the output that README shows.

A failure prints the block to paste into README.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from project_folder import COMMAND

README = Path(__file__).resolve().parents[2] / "README.md"

# Parts that differ between runs: durations, dates, sizes, digests, and the column widths that follow from them.
VARYING = (
    (re.compile(r"(\d{4}-\d\d-\d\d[ T])?\d\d:\d\d(:\d\d)?(\.\d+)?Z?"), "WHEN"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s)\b"), "LASTED"),
    (re.compile(r"\b\d+(\.\d+)? ?[KMG]i?B?\b"), "SIZE"),
    (re.compile(r"\b[0-9a-f]{10,12}\b"), "DIGEST"),  # it differs between Python versions
    (re.compile(r"of (one core's|[\d.]+ cores') work"), "of so many cores' work"),
    (re.compile(r"(\S+ )*\S*…\S*( \S+)*"), "CUT"),  # a cell whose width depends on the durations beside it
    (re.compile(r" +"), " "),
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)


def write_files(folder: Path) -> None:
    """Write each Python or YAML block to the file that its first comment names."""
    for text in [*blocks("python"), *blocks("yaml")]:
        if name := re.match(r"# (\S+\.\w+)\n", text):
            (folder / name[1]).write_text(text)


def typed_lines(block: str) -> list[str]:
    """Return the command lines of a console block."""
    return re.findall(r"^\$ (.*)$", block, flags=re.MULTILINE)


def steady(text: str) -> list[str]:
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def typed(block: str, folder: Path) -> str:
    """Type the command lines in a folder, and return the console block that results."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REKINDLE_")}
    env = {**kept, "PATH": f"{COMMAND.parent}{os.pathsep}{kept['PATH']}", "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
    printed = ""
    for line in typed_lines(block):
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        printed += f"$ {line}\n{done.stdout}"
    return printed


def test_the_example_prints_what_readme_says_at_80_columns(tmp_path: Path) -> None:
    write_files(tmp_path)
    console = blocks("console")
    assert len(typed_lines("".join(console))) > 5
    for block in console:
        printed = typed(block, tmp_path)
        assert max(map(len, printed.splitlines())) <= 80, printed
        if steady(printed) != steady(block):
            pytest.fail(f"README differs; typed at 80 columns it is:\n```console\n{printed}```", pytrace=False)
