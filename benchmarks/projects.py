"""Temporary projects for the measurements, and the `rekindle` command of this environment."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REKINDLE = Path(sys.executable).parent / "rekindle"
SLOTS = 2
JOBS_FAILED = 2
"""The exit code of a run in which jobs failed."""

MODULE = '''"""The functions of the measured calls."""

import time


def nothing():
    return None


def pause(seconds):
    time.sleep(seconds)


def fail_each(number, every):
    if number % every == 0:
        raise ValueError(f"number {number} fails")
'''


@contextmanager
def project(job: dict[str, Any], count: int) -> Iterator[Path]:
    """Yield a temporary folder with `count` jobs like `job` in spec.json, and MODULE in work.py."""
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        folder = Path(name)
        spec = {"name": "bench", "jobs": {"job": {"matrix": {"i": {"range": [0, count]}}, **job}}}
        (folder / "spec.json").write_text(json.dumps(spec))
        (folder / "work.py").write_text(MODULE)
        yield folder
