"""Where a store may live: on a local disk of the host that it belongs to."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from rekindle.domain.errors import StoreUnavailable
from rekindle.files.modes import write_file

NETWORKED = re.compile(
    r"nfs4?|cifs|smb3|smbfs|ncpfs|afs|ceph|coda|lustre|gpfs|beegfs|panfs|pvfs2|orangefs|gfs2?|ocfs2"
    r"|fuse\.(sshfs|glusterfs|ceph|beegfs|s3fs|gcsfuse|rclone)"
)
"""File systems that several hosts share: SQLite's locks and shared memory do not hold between hosts."""

HOST_FILE = "host"

_OCTAL = re.compile(r"\\([0-7]{3})")


def file_system(folder: Path, mounts: str) -> str | None:
    """The type of the file system that an absolute folder is on, by the text of /proc/self/mountinfo; None when
    that does not tell."""
    best, kind = "", None
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if not dash or len(fields) < 5:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
        inside = point == "/" or folder == Path(point) or Path(point) in folder.parents
        if inside and len(point) >= len(best):  # of two mounts on one point the later hides the earlier
            best, kind = point, after.split()[0]
    return kind


def refuse_network(folder: Path, mounts: str | None = None) -> None:
    """StoreUnavailable when the folder, or the nearest one above it that exists, is on a network file system."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return
    kind = file_system(folder.resolve(), mounts)
    if kind is not None and NETWORKED.fullmatch(kind):
        raise StoreUnavailable(
            f"{folder} is on a network file system ({kind}), where a store would not survive two hosts",
            hint="name a folder on a local disk: --store FOLDER, or $REKINDLE_STORE",
        )


def this_host() -> str:
    """What the host is known by: the machine's id where it has one, else its name."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        machine = ""
    return machine or socket.gethostname()


def claim_host(folder: Path, host: str) -> None:
    """Write whose store it is, where nothing says so yet; StoreUnavailable when it is another host's."""
    path = folder / HOST_FILE
    try:
        owner = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        owner = ""
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be read: {error.strerror}", hint="check who owns it") from error
    if owner == host:
        return
    if owner:
        raise StoreUnavailable(
            f"the store {folder} belongs to another host ({owner}; this one is {host})",
            hint=f"work there; if the folder has moved here for good, remove {path}",
        )
    draft = folder / f"{HOST_FILE}.{os.getpid()}.part"
    try:
        write_file(draft, host + "\n")
        draft.replace(path)
    except OSError as error:
        raise StoreUnavailable(
            f"the store {folder} cannot be written: {error.strerror}", hint="check who owns it, and the disk"
        ) from error
