"""The module that stored fireworks name as their step; firework steps are run by rekindle.dialects.fireworks.perform.

Definitions that earlier versions stored call `rekindle.dialects.fireworks.bench:perform`."""

from rekindle.dialects.fireworks.perform import perform

__all__ = ["perform"]
