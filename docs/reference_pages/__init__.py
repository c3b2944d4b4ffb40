"""A Sphinx extension that writes parts of the reference from the code of rekindle.

A line `% generated: NAME` in a page becomes the MyST text that `GENERATORS[NAME]` returns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reference_pages import commands, drawings, environment, http_api, json_documents, python_api, spec_keys, words

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

GENERATORS: dict[str, Callable[[], str]] = {
    "commands": commands.own_commands,
    "dialect commands": commands.dialect_commands,
    "environment": environment.page,
    "http": http_api.page,
    "json commands": json_documents.commands,
    "json shapes": json_documents.shapes,
    "python api": python_api.page,
    "spec": spec_keys.page,
    "errors": words.errors,
    "exit codes": words.exit_codes,
    "states": words.states,
    "transitions": words.transitions,
    "causes": words.causes,
    "reasons": words.reasons,
    "events": words.events,
    "fields": words.fields,
    "drawing before": drawings.before,
    "drawing failed": drawings.failed,
    "drawing failed step": drawings.failed_step,
    "drawing all": drawings.everything_below,
    "drawing changed": drawings.changed_only,
    "drawing none": drawings.none_below,
}

_MARK = re.compile(r"^% generated: (.+)$", re.MULTILINE)


def filled(text: str) -> str:
    """Return a page with its generated parts."""
    return _MARK.sub(lambda mark: GENERATORS[mark[1]](), text)


def _fill(app: Sphinx, docname: str, content: list[str]) -> None:  # noqa: ARG001 (Sphinx's signature)
    content[0] = filled(content[0])


def _outdated(app: Sphinx, env: BuildEnvironment, *changes: set[str]) -> list[str]:  # noqa: ARG001 (Sphinx's signature)
    """Return the pages with generated parts: the code may have changed."""
    return [name for name in env.found_docs if _MARK.search(env.doc2path(name).read_text())]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", _fill)
    app.connect("env-get-outdated", _outdated)
    return {"parallel_read_safe": True}
