"""filter.py TILE FOLDER: write the edges of a tile, as bright as the strongest edge allows."""

import sys
from pathlib import Path

from tools import read, write

tile, folder = Path(sys.argv[1]), Path(sys.argv[2])
rows = read(tile)
edges = [
    [abs(row[x] - row[max(x - 1, 0)]) + abs(row[x] - rows[max(y - 1, 0)][x]) for x in range(len(row))]
    for y, row in enumerate(rows)
]
strongest = max(map(max, edges))
folder.mkdir(exist_ok=True)
write(folder / tile.name, [[255 * edge // strongest for edge in row] for row in edges])
