"""probe.py LOW HIGH UNTIL: measure in the third of an interval, and add a job for the two thirds with the minimum."""

import json
import os
import sys
from pathlib import Path

low, high, until = map(float, sys.argv[1:])
furnace = json.loads(Path("furnace.json").read_text())


def gas(temperature):
    """A measurement; in earnest, an expensive simulation."""
    if high - low < furnace["step"]:
        raise ArithmeticError(f"diverged: a step of {furnace['step']} degrees is too large")
    return (temperature - furnace["best"]) ** 2


thirds = [low + (high - low) / 3, high - (high - low) / 3]
used = [gas(temperature) for temperature in thirds]
low, high = (low, thirds[1]) if used[0] < used[1] else (thirds[0], high)
print(f"between {low:.0f} and {high:.0f} degrees")
Path(os.environ["REKINDLE_RESULT"]).write_text(json.dumps({"low": low, "high": high}))
if high - low > until:
    words = ["python3", "probe.py", str(low), str(high), str(until)]
    job = {"name": f"search-{low:.0f}-{high:.0f}", "run": words}
    Path(os.environ["REKINDLE_ACTION"]).write_text(json.dumps({"add": [job]}))
