"""The LaunchPad of FireWorks, over a store."""

from __future__ import annotations

from rekindle.dialects.fireworks.pad.changing import Changes
from rekindle.dialects.fireworks.pad.looking import Looks


class LaunchPad(Looks, Changes):
    """What scripts know of FireWorks' LaunchPad: they change one import.

    from rekindle.dialects.fireworks import LaunchPad
    """
