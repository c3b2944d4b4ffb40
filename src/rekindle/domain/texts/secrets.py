"""Secrets in `env:`: values whose variable has a secret's name are shown as `***`, and used as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rekindle.domain.texts.surrogates import escape

MASK = "***"

_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIAL", re.IGNORECASE)
_DOTTED = re.compile(r"(?:.*\.)?env\.(.*)", re.DOTALL)
_FIELD = re.compile(r"(?:(?:(?:template|modified|(?:params|result)(?:[.\[].*)?)\.)?env\.|matrix\.env_)(.*)", re.DOTALL)


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
    `template.env.NAME`, `modified.env.NAME`, `params.….env.NAME`, `result.….env.NAME` or `matrix.env_NAME`. None, which
    stands for no value, stays."""
    match = _FIELD.fullmatch(field)
    if value is not None and match is not None and _SECRET.search(match[1]):
        return MASK
    name = field.rpartition(".")[2]
    return masked_document({name: value})[name]


def masked_document(value: Any) -> Any:
    """Return a JSON value as it is shown: an action, a result, or another document. Each object under the key `env` is
    masked at any depth, and so is a value under a dotted name of a variable, as in `{"_set": {"env.API_TOKEN": …}}`."""
    if isinstance(value, list | tuple):
        return [masked_document(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    shown: dict[str, Any] = {}
    for key, inner in value.items():
        dotted = _DOTTED.fullmatch(key) if isinstance(key, str) else None
        if dotted is not None and _SECRET.search(dotted[1]):
            shown[key] = MASK
        elif key == "env" and isinstance(inner, Mapping):
            shown[key] = masked_document(masked(inner))
        else:
            shown[key] = masked_document(inner)
    return shown


def masked_text(text: str) -> str:
    """Return the text of a JSON document as it is shown. A text without a variable of a secret's name stays as it
    was written."""
    document = json.loads(text)
    shown = masked_document(document)
    return text if shown == document else escape(json.dumps(shown, separators=(",", ":"), ensure_ascii=False))
