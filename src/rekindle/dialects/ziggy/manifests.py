"""Deliveries of files: a manifest lists them with their sizes and checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import msgspec

from rekindle.dialects.ziggy.xml_elements import Element, XmlProblems, parse_xml
from rekindle.domain.errors import Refused

SUFFIX = "-manifest.xml"
ACKNOWLEDGED = "-manifest-ack.xml"
_CHECKSUMS = {"MD5": "md5", "SHA1": "sha1", "SHA-1": "sha1", "SHA256": "sha256", "SHA-256": "sha256"}
_CHECKSUMS |= {"SHA512": "sha512", "SHA-512": "sha512"}


class DeliveredFile(msgspec.Struct, frozen=True):
    """A file of a manifest: its path in the delivery, and in the datastore."""

    name: str
    size: int
    checksum: str


class Delivery(msgspec.Struct, frozen=True):
    """A delivery: its folder, manifest and files."""

    folder: Path
    manifest: Path
    dataset: str
    checksum_type: str
    algorithm: str
    files: tuple[DeliveredFile, ...]

    def checksum(self, path: Path) -> str:
        """Return the checksum of a file."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest()


def delivery_folders(receipt: Path) -> list[str]:
    """Return the folders with a manifest: the data receipt folder itself (`.`), or folders in it."""
    if _manifests(receipt):
        return ["."]
    try:
        return sorted(one.name for one in receipt.iterdir() if one.is_dir() and _manifests(one))
    except FileNotFoundError:
        return []


def _manifests(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def read_delivery(folder: Path) -> Delivery:
    """Return the delivery of a folder. Raise Refused without one manifest, and SpecError for a bad one."""
    found = _manifests(folder)
    if len(found) != 1:
        raise Refused(
            f"{folder} has {len(found) or 'no'} files *{SUFFIX}", hint="a delivery has one manifest in its folder"
        )
    problems = XmlProblems(str(found[0]))
    root = parse_xml(found[0])
    if root.tag != "manifest":
        problems.add(root, "is no <manifest>")
    kind = root.get("checksumType")
    if kind.upper() not in _CHECKSUMS:
        problems.add(root, f"the checksum type {kind!r} is not known", "types are " + ", ".join(_CHECKSUMS))
    names: set[str] = set()
    files = []
    for child in root.children:
        file = _read_file(child, names, problems)
        if file is not None:
            files.append(file)
    count = root.get("fileCount")
    if count != str(len(root.children)):
        problems.add(root, f"fileCount is {count or 'missing'}, and it lists {len(root.children)} files")
    problems.raise_any()
    return Delivery(folder, found[0], root.get("datasetId"), kind, _CHECKSUMS[kind.upper()], tuple(files))


def _read_file(element: Element, names: set[str], problems: XmlProblems) -> DeliveredFile | None:
    name, size = element.get("name"), element.get("size")
    path = PurePosixPath(name)
    if element.tag != "file" or not size.isdecimal() or not element.get("checksum"):
        problems.add(element, "must be a <file> with name, size and checksum")
        return None
    if not path.parts or path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name:
        problems.add(element, "its name must be a path in the delivery's folder")
        return None
    if name in names:
        problems.add(element, "is there twice")
    names.add(name)
    return DeliveredFile(name, int(size), element.get("checksum").lower())
