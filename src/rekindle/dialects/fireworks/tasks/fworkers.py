"""What a launch is told of the fworker that launches it."""

from __future__ import annotations

import json
import os
from typing import Any

FWORKER_VARIABLE = "REKINDLE_FWORKER"
"""The environment variable in which rlaunch tells launches of its fworker: JSON, `{"name", "category", "env", …}`."""


def fworker() -> dict[str, Any]:
    """The fworker of this launch; empty where there is none."""
    found = os.environ.get(FWORKER_VARIABLE)
    told: dict[str, Any] = json.loads(found) if found else {}
    return told
