"""The checks of `rekindle doctor`, in the order in which they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.engine.doctor import host, services, storage

if TYPE_CHECKING:
    from rekindle.engine.doctor.findings import Check

CHECKS: list[tuple[str, Check]] = [
    ("store", storage.check_store),
    ("permissions", storage.check_permissions),
    ("file system", storage.check_file_system),
    ("disk", storage.check_disk),
    ("runners", storage.check_runners),
    ("clock", storage.check_clock),
    ("python", host.check_python),
    ("packages", host.check_packages),
    *host.extra_checks(),
    ("open files", host.check_open_files),
    ("processes", host.check_proc),
    ("variables", host.check_variables),
    ("completion", host.check_completion),
    ("postgresql", services.check_postgresql),
    ("slurm", services.check_slurm),
    ("dask", services.check_dask),
    ("console", services.check_console),
]
"""Names and checks."""
