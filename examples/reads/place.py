"""place.py REFERENCE READS: print the name and position of each read that is found in the reference."""

import sys
from pathlib import Path

reference = "".join(line for line in Path(sys.argv[1]).read_text().splitlines() if not line.startswith(">"))
lines = Path(sys.argv[2]).read_text().splitlines()
for name, bases in zip(lines[0::4], lines[1::4], strict=True):
    position = reference.find(bases)
    if position >= 0:
        print(name[1:], position + 1, sep="\t")
