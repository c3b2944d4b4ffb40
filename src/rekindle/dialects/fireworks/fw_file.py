"""FW.json: the firework as its launch was given it, in the launch's folder, where FireWorks' users look for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rekindle.dialects.fireworks.flows import date_text
from rekindle.dialects.fireworks.tasks.configuration import configuration

if TYPE_CHECKING:
    from rekindle.worker.context import Context


def write_firework(spec: Mapping[str, Any], ctx: Context) -> None:
    """Write FW.json, and FW.yaml, where the configuration asks for them (PRINT_FW_JSON is on without it)."""
    wanted = configuration().prints
    if not wanted:
        return
    firework = {
        "spec": dict(spec),
        "fw_id": ctx.job,
        "created_on": ctx.matrix["created_on"],
        "updated_on": date_text(datetime.now(UTC).timestamp()),
        "state": "RUNNING",
        "name": ctx.matrix["name"],
    }
    if "json" in wanted:
        Path("FW.json").write_text(json.dumps(firework, indent=4, ensure_ascii=False), encoding="utf-8")
    if "yaml" in wanted:
        Path("FW.yaml").write_text(yaml.safe_dump(firework, sort_keys=False, allow_unicode=True), encoding="utf-8")
