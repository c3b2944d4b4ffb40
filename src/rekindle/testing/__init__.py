"""Public fakes for tests: a clock that stands, an executor that follows a script, a store that crashes.

What is under test stays real: the fakes replace time, processes and luck, and nothing else.
"""

from rekindle.testing.clock import FakeClock
from rekindle.testing.crashing import Crash, CrashingStore
from rekindle.testing.inline import InlineExecutor
from rekindle.testing.scripted import Outcome, ScriptedExecutor

__all__ = ["Crash", "CrashingStore", "FakeClock", "InlineExecutor", "Outcome", "ScriptedExecutor"]
