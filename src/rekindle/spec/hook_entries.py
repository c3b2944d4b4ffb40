"""Read `on:`: the hooks of a workflow."""

from __future__ import annotations

import re

from rekindle.domain.definition import HOOK_EVENTS, Hook
from rekindle.spec.nodes import ListNode, Node, Problems, ScalarNode, describe
from rekindle.spec.references import KnownNames, check_text
from rekindle.spec.values import check_keys, plain_text, table, text

_HINT = "as in `on: {failed: ./notify.sh, finished: https://ci.example.org/hook}`"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_URL = re.compile(r"https?://[^\s/?#]+\S*", re.IGNORECASE)
_ONLY_VARIABLES = KnownNames({}, job=False, env=True)


def read_hooks(node: Node | None, problems: Problems) -> tuple[Hook, ...]:
    """Read the hooks of a workflow, in the order of HOOK_EVENTS. Each value is a command line, an argument vector, or a
    URL."""
    found = table(node, "`on`", problems)
    if found is None:
        return ()
    check_keys(found, HOOK_EVENTS, "`on`", problems)
    hooks = []
    for event in HOOK_EVENTS:
        value = found.get(event)
        what = f"`{event}` of `on`"
        if isinstance(value, ListNode):
            words = [plain_text(one, f"an argument of {what}", problems) for one in value.items]
            if not words:
                problems.add(value.place, f"{what} is empty", _HINT)
            hooks.append(Hook(event, run=tuple(word or "" for word in words)))
        elif isinstance(value, ScalarNode) and _SCHEME.match(value.text):
            url = _read_url(value, what, problems)
            hooks.append(Hook(event, url=url))
        elif isinstance(value, ScalarNode):
            hooks.append(Hook(event, run=plain_text(value, what, problems)))
        elif value is not None:
            problems.add(value.place, f"{what} must be a command or a URL, and is {describe(value)}", _HINT)
    return tuple(hooks)


def _read_url(node: ScalarNode, what: str, problems: Problems) -> str | None:
    """Read a URL. It may contain `${env.NAME}`, so that a secret need not be in the spec."""
    url = text(node, what, problems)
    if url is None:
        return None
    check_text(url, node.place, _ONLY_VARIABLES, problems)
    if not _URL.fullmatch(url):
        problems.add(node.place, f"{what} cannot be sent to {url!r:.60}", "a URL begins with http:// or https://")
    return url
