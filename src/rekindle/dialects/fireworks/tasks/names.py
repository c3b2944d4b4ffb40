"""The name of a Firetask: what FireWorks renamed, and its built-in ones with their modules before them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rekindle.dialects.fireworks.tasks.given import BadTask

_BUILT_IN = re.compile(r"fireworks\.user_objects\.firetasks\.\w+[.:](?P<name>\w+)")


def plain_name(found: object, renamed: Mapping[str, str]) -> str:
    """The name that a task goes by, of what stands in its `_fw_name`: of a built-in one without its module, of another
    with it. BadTask when there is none."""
    if not isinstance(found, str) or not found.strip("{} "):
        raise BadTask("a task has no `_fw_name`", hint="it names the Firetask, as in `_fw_name: ScriptTask`")
    found = renamed.get(found, found)
    name = found.strip("{} ") if found.startswith("{{") else found
    built_in = _BUILT_IN.fullmatch(name)
    return built_in["name"] if built_in else name
