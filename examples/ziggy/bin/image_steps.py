"""The steps of the sample pipeline, on PNG images: `image_steps.py STEP` in the folder of a subtask."""

import json
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">IIBBBBB")
RGB_8 = (8, 2, 0, 0, 0)  # bits, color type, compression, filter, interlace

Rows = list[bytes]


def read_image(path: str) -> Rows:
    """Return the rows of an image that `write_image` has written."""
    content = Path(path).read_bytes()
    if not content.startswith(SIGNATURE):
        raise ValueError(f"{path} is no PNG image")
    at, packed = len(SIGNATURE), b""
    width = height = 0
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        data = content[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, *form = HEADER.unpack(data)
            if tuple(form) != RGB_8:
                raise ValueError(f"{path} is no image of 8 bits for each of 3 colors")
        elif kind == b"IDAT":
            packed += data
        at += size + 12
    pixels, size = zlib.decompress(packed), 3 * width + 1
    rows = [pixels[start : start + size] for start in range(0, size * height, size)]
    if any(row[0] for row in rows):
        raise ValueError(f"{path} has filtered rows, which are not read here")
    return [row[1:] for row in rows]


def write_image(path: str, rows: Rows) -> None:
    """Write an image of rows of red, green and blue bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = HEADER.pack(len(rows[0]) // 3, len(rows), *RGB_8)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    Path(path).write_bytes(SIGNATURE + b"".join(chunk(*one) for one in chunks))


def permuter(inputs: dict[str, Any]) -> None:
    """Let each color take the place of the next, times its gain in the model."""
    parameters = inputs["moduleParameters"]["Algorithm_Parameters"]
    (name,), (model,) = inputs["dataFilenames"], inputs["modelFilenames"]
    output = name.replace(".png", ".perm.png")
    rows, gains = read_image(name), [float(word) for word in Path(model).read_text().split()]
    if Path.cwd().name == "st-0" and parameters["throw_exception_subtask_0"]:
        Path(output).write_bytes(SIGNATURE)  # half an image: it must not be stored
        raise ValueError("exception in subtask 0, as ordered")
    time.sleep(parameters["execution_pause_seconds"])
    if Path.cwd().name == "st-1" and not parameters["produce_output_subtask_1"]:
        return
    write_image(output, [_permute(row, gains) for row in rows])


def _permute(row: bytes, gains: list[float]) -> bytes:
    return bytes(min(255, round(row[at - at % 3 + (at + 1) % 3] * gains[at % 3])) for at in range(len(row)))


def flip(inputs: dict[str, Any]) -> None:
    """Flip an image left-right, and up-down."""
    (name,) = inputs["dataFilenames"]
    rows = read_image(name)
    mirrored = [b"".join(row[at : at + 3] for at in range(len(row) - 3, -1, -3)) for row in rows]
    write_image(name.replace(".perm.png", ".lr.png"), mirrored)
    write_image(name.replace(".perm.png", ".ud.png"), rows[::-1])


def averaging(inputs: dict[str, Any]) -> None:
    """Average all images."""
    images = [read_image(name) for name in inputs["dataFilenames"]]
    rows = [
        bytes(sum(values) // len(images) for values in zip(*rows, strict=True)) for rows in zip(*images, strict=True)
    ]
    write_image("average.png", rows)


STEPS = {"permuter": permuter, "flip": flip, "averaging": averaging}

if __name__ == "__main__":
    step = sys.argv[1]
    STEPS[step](json.loads(Path(f"{step}-inputs.json").read_text()))
