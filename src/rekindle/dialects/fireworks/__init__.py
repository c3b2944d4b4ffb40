"""FireWorks' workflow files, Firetasks and commands over a store, and `LaunchPad` for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rekindle.dialects.fireworks.launchpad import LaunchPad

__all__ = ["LaunchPad"]


def __getattr__(name: str) -> Any:
    if name != "LaunchPad":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rekindle.dialects.fireworks.launchpad import LaunchPad

    return LaunchPad
