"""The package, the command and the changelog have the same version."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import rekindle

ROOT = Path(__file__).resolve().parents[2]


def test_the_installed_version_is_the_package_s() -> None:
    assert importlib.metadata.version("rekindle") == rekindle.__version__


def test_the_command_prints_it() -> None:
    command = Path(sys.executable).parent / "rekindle"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"rekindle {rekindle.__version__}\n"


def test_the_changelog_begins_with_it() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    released = rekindle.__version__.partition(".dev")[0]
    assert headings[0] == released
