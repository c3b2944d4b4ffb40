"""Public fakes for tests: a clock that a test sets, an executor that follows a script, a store that crashes.

They replace time, processes and failures; everything else in a test is real.
"""

from rekindle.testing.fakes import Crash, CrashingStore, FakeClock, InlineExecutor
from rekindle.testing.scripted import ScriptedExecutor, ScriptedOutcome

__all__ = ["Crash", "CrashingStore", "FakeClock", "InlineExecutor", "ScriptedExecutor", "ScriptedOutcome"]
