"""Draw, cut and join pictures in PGM, a format of plain text: width, height, 255, and the pixels."""

import math
import sys
from pathlib import Path

SIZE, TILE = 96, 32


def read(path):
    words = path.read_text().split()
    width, height, pixels = int(words[1]), int(words[2]), list(map(int, words[4:]))
    return [pixels[row * width : (row + 1) * width] for row in range(height)]


def write(path, rows):
    lines = [" ".join(map(str, row)) for row in rows]
    path.write_text(f"P2\n{len(rows[0])} {len(rows)}\n255\n" + "\n".join(lines) + "\n")


def draw(target):
    """A disc on a ground that grows lighter; its middle tile is black."""
    middle = SIZE / 2
    rows = [[255 if math.hypot(x - middle, y - middle) > 40 else 120 + x for x in range(SIZE)] for y in range(SIZE)]
    for y in range(TILE, 2 * TILE):
        rows[y][TILE : 2 * TILE] = [0] * TILE
    write(Path(target), rows)


def cut(source, folder):
    rows = read(Path(source))
    Path(folder).mkdir(exist_ok=True)
    for y in range(0, SIZE, TILE):
        for x in range(0, SIZE, TILE):
            write(Path(folder, f"{y:02}-{x:02}.pgm"), [row[x : x + TILE] for row in rows[y : y + TILE]])


def join(folder, target):
    rows = [[0] * SIZE for _ in range(SIZE)]
    for path in Path(folder).glob("*.pgm"):
        top, left = map(int, path.stem.split("-"))
        for y, row in enumerate(read(path)):
            rows[top + y][left : left + TILE] = row
    write(Path(target), rows)


if __name__ == "__main__":
    {"draw": draw, "cut": cut, "join": join}[sys.argv[1]](*sys.argv[2:])
