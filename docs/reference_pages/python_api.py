"""The reference of the Python API: every public name of `rekindle`, documented by autodoc."""

from __future__ import annotations

import rekindle


def page() -> str:
    """Return a section for each public name of `rekindle.__all__`, the most used first."""
    names = [name for name in rekindle.__all__ if not name.startswith("__")]
    return "\n\n".join(_section(name) for name in sorted(names, key=_rank))


_FIRST = ("Workflow", "Client", "How", "Overrides", "Action")


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _section(name: str) -> str:
    value = getattr(rekindle, name)
    if not isinstance(value, type):
        directive = "autofunction" if callable(value) else "autodata"
    else:
        directive = "autoexception" if issubclass(value, BaseException) else "autoclass"
    options = "\n   :members:" if isinstance(value, type) else ""
    return f"## {name}\n\n```{{eval-rst}}\n.. {directive}:: rekindle.{name}{options}\n```"
