"""Make a delivery in data-receipt/: two sets of four random images, a model, and the manifest that lists them."""

import hashlib
import random
import sys
from pathlib import Path
from xml.sax.saxutils import quoteattr

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "bin"))

from image_steps import write_image  # noqa: E402

SIDE = 16


def deliver(folder: Path) -> None:
    """Write the files, and then the manifest."""
    chance = random.Random(11)
    for unit in ("set-1", "set-2"):
        (folder / unit / "L0").mkdir(parents=True, exist_ok=True)
        for number in range(4):
            rows = [chance.randbytes(3 * SIDE) for _ in range(SIDE)]
            write_image(str(folder / unit / "L0" / f"tile-{number}.png"), rows)
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "gains.txt").write_text("1.0 0.9 0.8\n")
    write_manifest(folder)


def write_manifest(folder: Path) -> None:
    """Write the manifest of all files of a folder."""
    lines = []
    for path in sorted(one for one in folder.rglob("*") if one.is_file() and one.suffix != ".xml"):
        name, content = str(path.relative_to(folder)), path.read_bytes()
        checksum = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        lines.append(f'  <file name={quoteattr(name)} size="{len(content)}" checksum="{checksum}"/>\n')
    manifest = f'<manifest datasetId="0" checksumType="SHA1" fileCount="{len(lines)}">\n{"".join(lines)}</manifest>\n'
    (folder / "tiles-manifest.xml").write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{manifest}')


if __name__ == "__main__":
    deliver(HERE / "data-receipt")
