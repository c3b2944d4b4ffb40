"""Builds of rekindle, and clean environments in which the wheel is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from project_folder import Project

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
BUILD_TOOLS = ("build", "hatchling", "hatch-fancy-pypi-readme")
SECONDS = 300
EPOCH = "1700000000"  # SOURCE_DATE_EPOCH of the builds


class Installed(Project):
    """A project whose `rekindle` is that of a clean environment."""

    def __init__(self, folder: Path, environment: Path) -> None:
        super().__init__(folder)
        self.environment = environment
        self.command = [str(environment / "bin" / "rekindle")]
        self.env = {**clean_env(), "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def python(self, *words: str) -> str:
        """Run the environment's interpreter, and return what it prints."""
        return called(str(self.environment / "bin" / "python"), *words, cwd=self.folder, env=self.env)

    def write_readme_files(self) -> None:
        """Write each file of README's example: a block whose first comment is a file name."""
        for name, text in re.findall(r"^```\w+\n# (\S+\.\w+)\n(.*?)^```", readme(), flags=re.MULTILINE | re.DOTALL):
            self.write(name, text)


def readme() -> str:
    return (ROOT / "README.md").read_text()


def clean_env() -> dict[str, str]:
    """Return the environment without what would lead to this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("REKINDLE_", "PYTHON"))}


def called(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words,
        cwd=cwd,
        env=env or clean_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make_environment(folder: Path, python: str, *packages: str) -> Path:
    """Make a virtual environment, and install packages there at the versions of constraints.txt."""
    called(python, "-m", "venv", "--without-pip", str(folder))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    try:
        called(*pip, "--retries=1", "--no-compile", "--constraint", str(CONSTRAINTS), *packages)
    except AssertionError as error:
        if "CI" not in os.environ and re.search(r"connection", str(error), flags=re.IGNORECASE):
            pytest.skip("pip reaches no package index")
        raise
    return folder


def build_in(folder: Path, source: Path, tools: Path) -> Path:
    """Build the sdist of a source tree, and the wheel of the sdist. Return their folder."""
    env = {**clean_env(), "SOURCE_DATE_EPOCH": EPOCH}
    words = ("-m", "build", "--no-isolation", "--outdir", str(folder), str(source))
    called(str(tools / "bin" / "python"), *words, env=env)
    return folder
