"""cut.py GRID FOLDER PARTS: give each process its rows of a grid."""

import json
import sys
from pathlib import Path

grid, folder, parts = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), int(sys.argv[3])
folder.mkdir(parents=True, exist_ok=True)
for part in range(parts):
    rows = list(range(part * grid["rows"] // parts, (part + 1) * grid["rows"] // parts))
    Path(folder, f"{part}.json").write_text(json.dumps(rows))
