"""Convert a job log of GNU parallel (`parallel --joblog FILE`) to a spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from rekindle.domain.errors import RekindleError
from rekindle.spec.conversion import Conversion, ConvertedJob, Omission, literal
from rekindle.spec.loading import read_bytes

_COLUMNS = ("Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command")
_LOCAL = ":"


class _Row(NamedTuple):
    line: int
    host: str
    exit_value: str
    signal: str
    command: str

    @property
    def failed(self) -> bool:
        return (self.exit_value, self.signal) != ("0", "0")


def convert(path: Path, *, only_failed: bool = False) -> Conversion:
    """Return a job for each line of a job log, the newest line of each sequence number. `only_failed`: for those that
    failed. Raise RekindleError for a file that is no job log."""
    text = read_bytes(path).decode(errors="replace")
    first, *lines = text.split("\n")
    if tuple(first.rstrip("\r").split("\t")) != _COLUMNS:
        raise RekindleError(
            f"{path} is not a job log of GNU parallel: its first line is {first!r:.60}",
            hint="`parallel --joblog FILE …` writes one; it begins with Seq, Host, Starttime",
        )
    found = Conversion("joblog", path.name, path.stem, top={"defaults": {"shell": "bash"}})
    for sequence, row in sorted(_rows(lines, found).items()):
        if row.host != _LOCAL:
            found.omissions.append(
                Omission(row.line, f"job {sequence} ran on {row.host}; here it runs where the runner is")
            )
        if only_failed and not row.failed:
            continue
        entry: dict[str, Any] = {"run": literal(row.command)}
        note = "completed"
        if row.failed:
            note = f"failed with exit code {row.exit_value}" if row.signal == "0" else f"killed by signal {row.signal}"
            entry["labels"] = {"joblog": "failed"}
        found.jobs.append(ConvertedJob(f"job-{sequence}", entry, row.line, note))
    return found


def _rows(lines: list[str], found: Conversion) -> dict[int, _Row]:
    """Return the rows by sequence number. A later row of the same number, of a resumed run, replaces an earlier one."""
    rows: dict[int, _Row] = {}
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        parts = line.split("\t", len(_COLUMNS) - 1)
        if len(parts) < len(_COLUMNS) or not parts[0].isdecimal():
            found.omissions.append(Omission(number, f"not a line of a job log: {line!r:.60}"))
            continue
        command = parts[8].replace("\0", "\n")  # GNU parallel writes a line break in a command as NUL
        if not command.strip():
            found.omissions.append(Omission(number, f"job {parts[0]} has no command"))
            continue
        rows[int(parts[0])] = _Row(number, parts[1], parts[6], parts[7], command)
    return rows
