"""No file in the repository names a path of a machine or a package host."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Each holds a one-letter class, so that this file does not find itself.
FOREIGN = re.compile(
    r"""(?<![\w.])/[w]ork/\w
      | (?<![\w.])/[r]oot/\w
      | (?<![\w.])/[h]ome/(?!user\b)\w
      | [p]ypi\.org
      | [p]ythonhosted
      | registry\.[n]pmjs
      | --(?:extra-)?[i]ndex-url
      | --[f]ind-links""",
    re.VERBOSE,
)


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_path_of_a_machine_or_a_package_host() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked_files()
        for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), 1)
        if FOREIGN.search(line)
    ]
    assert found == []


def test_scripts_can_be_run() -> None:
    wanted = [ROOT / ".ci" / "run", *sorted((ROOT / "scripts").iterdir())]
    assert [path.name for path in wanted if not path.stat().st_mode & 0o111] == []
