"""Checks of what rekindle uses beside its store: PostgreSQL, Slurm, Dask and the console."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from rekindle.domain.errors import missing_extra
from rekindle.engine.doctor.findings import Finding, Installation, Status, not_used, ok
from rekindle.engine.doctor.storage import server_facts
from rekindle.journal.processes import host_name
from rekindle.store.opening import NETWORKED, file_system, folder_of, is_in_postgres

_GRANT = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rekindle TO USER_NAME"

_CONFIGURATIONS = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf")

CALL_SECONDS = 4.0
"""How long a command or a connection may take."""


def check_postgresql(place: Installation) -> Finding:
    """Check that the server of the store answers, and what this user may do there."""
    if place.location is None or not is_in_postgres(place.location):
        return not_used("the store is not in PostgreSQL", "rekindle store copy .rekindle postgresql://HOST/DATABASE")
    began = time.monotonic()
    found = server_facts(place)
    milliseconds = 1000 * (time.monotonic() - began)
    server = f"PostgreSQL {found.version} answers in {milliseconds:.0f} ms"
    if found.store is None:
        return Finding(Status.WARNING, f"{server}, and has no store yet", "rekindle --store URL run SPEC")
    if not found.may_write:
        return Finding(Status.WARNING, f"{server}; this user may only read the store", _GRANT)
    if found.store.version != found.store.newest:
        text = f"{server}; the store has version {found.store.version}, this rekindle needs {found.store.newest}"
        return Finding(Status.WARNING, text, "rekindle status")
    if not Path(found.store.spool).is_dir():
        text = f"{server}; the spool {found.store.spool} is not there"
        return Finding(Status.PROBLEM, text, "mount it, or name it in $REKINDLE_SPOOL")
    number = f"{found.store.workflows:,} workflow{'' if found.store.workflows == 1 else 's'}"
    return ok(f"{server}; {number}, spool {found.store.spool}")


def check_slurm(place: Installation) -> Finding:
    """Check that Slurm's commands answer, and that its nodes can reach the store's folder."""
    if shutil.which("sbatch") is None:
        return not_used("sbatch is not on PATH")
    version = _call("sbatch", "--version").stdout.strip() or "Slurm"
    began = time.monotonic()
    asked = _call("squeue", "--noheader", "--me")
    if asked.returncode:
        error = asked.stderr.strip().partition("\n")[0] or f"squeue exits with {asked.returncode}"
        names = (place.environment.get("REKINDLE_EXECUTOR") == "slurm", "SLURM_CONF" in place.environment)
        meant = any((*names, *(Path(one).exists() for one in _CONFIGURATIONS)))
        return Finding(Status.PROBLEM if meant else Status.WARNING, f"{version}: {error}", "scontrol ping")
    answers = f"{version} answers in {1000 * (time.monotonic() - began):.0f} ms"
    nodes = set(_call("sinfo", "--noheader", "--Node", "--format=%N").stdout.split())
    if nodes - {host_name(), host_name().partition(".")[0]} and place.location is not None:
        folder = folder_of(place.location) if "://" not in place.location else place.folder
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        kind = file_system(folder.resolve(), mounts) or "unknown"
        if kind not in NETWORKED:
            text = f"{answers}; its nodes may not see {folder}, which is on a local file system ({kind})"
            return Finding(Status.WARNING, text, f"srun ls -d {folder}")
    return ok(f"{answers}; {len(nodes)} node{'' if len(nodes) == 1 else 's'}")


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command for at most CALL_SECONDS. One that does not answer has failed."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=CALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} does not answer within {CALL_SECONDS:g} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]}: {error.strerror}")


def check_dask(place: Installation) -> Finding:
    """Check that the Dask scheduler answers, and runs no task twice."""
    address = place.address or place.environment.get("REKINDLE_ADDRESS")
    if not address or "://" not in address:
        return not_used("no scheduler is named", "rekindle doctor --address tcp://HOST:8786")
    try:
        from rekindle.executors.dask import DaskPlacement
    except ModuleNotFoundError as error:
        raise missing_extra(error, "a Dask cluster", "dask") from None
    began = time.monotonic()
    placement = DaskPlacement(address, seconds=CALL_SECONDS)
    milliseconds = 1000 * (time.monotonic() - began)
    placement.close()
    return ok(f"the scheduler at {address} answers in {milliseconds:.0f} ms; allowed-failures is 0")


def check_console(place: Installation) -> Finding:
    """Check whether the console could be served: its packages, its files and its port."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError:
        return not_used("the console is not installed", "pip install 'rekindle[web]'")
    spec = find_spec("rekindle.web")
    static = Path((spec.submodule_search_locations or [""])[0], "static") if spec else Path()
    if not (static / "console.js").is_file():
        return Finding(
            Status.PROBLEM, f"its files are not in {static}", "pip install --force-reinstall 'rekindle[web]'"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", place.port))
        except OSError as error:
            text = f"port {place.port} of 127.0.0.1 cannot be used: {error.strerror}"
            return Finding(Status.WARNING, text, f"rekindle serve --port {place.port + 1}")
    return ok(f"port {place.port} of 127.0.0.1 is free: rekindle serve")
