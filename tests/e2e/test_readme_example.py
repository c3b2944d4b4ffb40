"""The example in README, typed line by line: what is printed is what README says is printed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from project_folder import COMMAND

README = Path(__file__).resolve().parents[2] / "README.md"

# What differs from run to run: durations, dates, sizes, a failure's digest; and how wide a column is for it.
VARYING = (
    (re.compile(r"(\d{4}-\d\d-\d\d[ T])?\d\d:\d\d(:\d\d)?(\.\d+)?Z?"), "WHEN"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s)\b"), "LASTED"),
    (re.compile(r"\b\d+(\.\d+)? ?[KMG]i?B?\b"), "SIZE"),
    (re.compile(r"\b[0-9a-f]{10,12}\b"), "DIGEST"),  # another Python has other frames
    (re.compile(r"of (one core's|[\d.]+ cores') work"), "of so many cores' work"),
    (re.compile(r" +"), " "),
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)


def write_files(folder: Path) -> None:
    """Each Python or YAML block begins with a comment that is its file's name."""
    for text in [*blocks("python"), *blocks("yaml")]:
        if name := re.match(r"# (\S+\.\w+)\n", text):
            (folder / name[1]).write_text(text)


def typed_lines() -> list[tuple[str, str]]:
    """What is typed after each prompt, and what is printed then."""
    lines: list[tuple[str, str]] = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, printed = part.partition("\n")
            lines.append((line, printed))
    return lines


def steady(text: str) -> list[str]:
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_the_example_prints_what_readme_says(tmp_path: Path) -> None:
    write_files(tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REKINDLE_")}
    env = {**kept, "PATH": f"{COMMAND.parent}{os.pathsep}{kept['PATH']}", "COLUMNS": "100", "LC_ALL": "C.UTF-8"}
    lines = typed_lines()
    assert len(lines) > 5
    for line, printed in lines:
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert steady(done.stdout) == steady(printed), line
