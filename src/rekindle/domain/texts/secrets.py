"""Secrets in `env:`: values whose variable has a secret's name are shown as `***`, and used as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIAL", re.IGNORECASE)
_FIELD = re.compile(r"(?:(?:template\.|modified\.)?env\.|matrix\.env_)(.*)", re.DOTALL)


def masked(env: Mapping[str, Any]) -> dict[str, Any]:
    """Return environment variables as they are shown."""
    return {name: MASK if _SECRET.search(name) else text for name, text in env.items()}


def masked_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a job's overrides as it is shown."""
    env = overrides.get("env")
    return {**overrides, "env": masked(env)} if isinstance(env, Mapping) else {**overrides}


def masked_matrix(binding: Mapping[str, Any]) -> dict[str, Any]:
    """Return matrix values as they are shown: a test of ReSim's has its variables there, as `env_NAME`."""
    return {name: masked_field(f"matrix.{name}", value) for name, value in binding.items()}


def masked_field(field: str, value: Any) -> Any:
    """Return the value of a field as it is shown. `field` is a dotted name: that of a variable is `env.NAME`,
    `template.env.NAME`, `modified.env.NAME` or `matrix.env_NAME`. None, which stands for no value, stays."""
    match = _FIELD.fullmatch(field)
    return MASK if value is not None and match is not None and _SECRET.search(match[1]) else value
