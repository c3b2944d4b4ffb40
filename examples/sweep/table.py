"""table.py FOLDER: print the mean score of each model, and of how many seeds."""

import json
import sys
from collections import defaultdict
from pathlib import Path

scores = defaultdict(list)
for path in sorted(Path(sys.argv[1]).glob("*.json")):
    scores[path.stem.rpartition("-")[0]].append(json.loads(path.read_text())["score"])
for model, values in scores.items():
    print(f"{model:8} seeds {len(values)}  mean {sum(values) / len(values):.1f}")
