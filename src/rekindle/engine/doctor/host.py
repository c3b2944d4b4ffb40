"""Checks of this host: Python, packages, limits, /proc, variables and shell completion."""

from __future__ import annotations

import os
import re
import resource
import sys
from importlib import metadata
from pathlib import Path

from rekindle.domain.texts.display import did_you_mean
from rekindle.engine.doctor.findings import Check, Finding, Installation, Status, not_used, ok
from rekindle.engine.machine import files_needed, processors
from rekindle.files.store_files import cache_limit, is_fully_durable, shared_requested
from rekindle.journal.processes import boot_id, start_of
from rekindle.store.health import SQLITE

EXTRAS = {
    "web": "the console and the HTTP API",
    "postgres": "stores in PostgreSQL",
    "dask": "runs on a Dask cluster",
    "tui": "`rekindle top`",
}
"""Extras that users install, and what each is for."""

VARIABLES = (
    *("REKINDLE_STORE", "REKINDLE_SPOOL", "REKINDLE_SHARED", "REKINDLE_DURABILITY", "REKINDLE_EXECUTOR"),
    *("REKINDLE_ADDRESS", "REKINDLE_API_TOKEN", "REKINDLE_SERVER", "REKINDLE_DEBUG", "REKINDLE_FWORKER"),
    *("REKINDLE_WEBHOOK_SECRET", "REKINDLE_COMPLETE", "REKINDLE_CACHE_SIZE"),
)
"""Variables that users set."""

OF_JOBS = (
    *("REKINDLE_WORKFLOW", "REKINDLE_WORKFLOW_ID", "REKINDLE_JOB", "REKINDLE_JOB_NAME", "REKINDLE_ATTEMPT"),
    *("REKINDLE_STEP", "REKINDLE_ITEM", "REKINDLE_SUBTASK", "REKINDLE_SUBTASK_DIR", "REKINDLE_DIR", "REKINDLE_INPUTS"),
    *("REKINDLE_RESULT", "REKINDLE_VERDICT", "REKINDLE_ACTION", "REKINDLE_TOKEN", "REKINDLE_JOB_STORE"),
    *("REKINDLE_JOB_PROJECT", "REKINDLE_EVENT", "REKINDLE_STATE", "REKINDLE_COUNTS", "REKINDLE_DELIVERY"),
)
"""Variables that rekindle sets for jobs and hooks."""

_OLDEST = (3, 11)
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:>=\s*([0-9.]+))?")

_SCRIPTS = {
    "bash": ".local/share/bash-completion/completions/rekindle",
    "zsh": ".zfunc/_rekindle",
    "fish": ".config/fish/completions/rekindle.fish",
}
_STARTUP_FILES = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}


def check_python(_: Installation) -> Finding:
    """Check the versions of Python and SQLite."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST:
        return Finding(Status.PROBLEM, f"Python {version} is too old", "install Python 3.11 or newer")
    return ok(f"Python {version}, SQLite {SQLITE}, rekindle {metadata.version('rekindle')}")


def check_packages(_: Installation) -> Finding:
    """Check the packages that rekindle always needs."""
    return _packages("", "rekindle", "pip install --upgrade rekindle")


def extra_checks() -> list[tuple[str, Check]]:
    """Return a check for each extra."""

    def check_of(extra: str) -> Check:
        return lambda _: _packages(extra, EXTRAS[extra], f"pip install 'rekindle[{extra}]'")

    return [(f"extra {extra}", check_of(extra)) for extra in EXTRAS]


def _packages(extra: str, what: str, install: str) -> Finding:
    """Check the packages of an extra, or those that are always needed."""
    found, missing, old = [], [], []
    for name, least in _requirements(extra):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        found.append(f"{name} {version}")
        if _numbers(version) < _numbers(least):
            old.append(f"{name} {version} is older than {least}")
    if old:
        return Finding(Status.PROBLEM, "; ".join(old), install)
    if missing and found:
        return Finding(Status.PROBLEM if not extra else Status.WARNING, f"{', '.join(missing)} missing", install)
    if missing:
        return not_used(f"not installed: {what}", install)
    return ok(", ".join(found))


def _requirements(extra: str) -> list[tuple[str, str]]:
    """Return (package, oldest version) of an extra, from rekindle's metadata."""
    found = []
    for text in metadata.requires("rekindle") or ():
        requirement, _, marker = text.partition(";")
        named = re.search(r"""extra\s*==\s*["']([^"']+)""", marker)
        match = _REQUIREMENT.match(requirement.strip())
        if match is not None and (named[1] if named else "") == extra:
            found.append((match[1], match[2] or "0"))
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def check_open_files(_: Installation) -> Finding:
    """Check how many files a runner may open."""
    slots, hard = processors(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < files_needed(slots):
        text = f"a process may open {hard:,} files; a runner on {slots} processors needs {files_needed(slots):,}"
        return Finding(Status.PROBLEM, text, f"ulimit -n {max(1024, files_needed(slots))}")
    limit = "any number of" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    return ok(f"a process may open {limit} files; a runner on {slots} processors needs {files_needed(slots):,}")


def check_proc(_: Installation) -> Finding:
    """Check that processes can be told apart: by /proc."""
    if start_of(os.getpid()) is None or not boot_id():
        text = "/proc does not show this process: runners cannot tell which processes are alive"
        return Finding(Status.PROBLEM, text, "mount -t proc proc /proc")
    return ok("/proc shows processes and the boot id")


def check_variables(place: Installation) -> Finding:
    """Check the names and values of the variables that begin with REKINDLE_."""
    shared_requested(place.environment)
    is_fully_durable(place.environment)
    cache_limit(place.environment)
    used = sorted(name for name in place.environment if name.startswith("REKINDLE_"))
    unknown = [name for name in used if name not in (*VARIABLES, *OF_JOBS)]
    if unknown:
        hint = did_you_mean(unknown[0], VARIABLES)
        return Finding(Status.WARNING, f"nothing reads {', '.join(unknown)}", f"unset {unknown[0]}; {hint}")
    return ok(f"set: {', '.join(used)}") if used else ok("no variable REKINDLE_… is set")


def check_completion(place: Installation) -> Finding:
    """Check whether the user's shell completes `rekindle`."""
    shell = Path(place.environment.get("SHELL", "")).name
    home = Path(place.environment.get("HOME") or "/")
    if shell not in _SCRIPTS:
        return not_used(f"no completion for the shell {shell or '(none)'}: bash, zsh and fish have one")
    script, startup = home / _SCRIPTS[shell], home / _STARTUP_FILES[shell]
    if script.exists():
        return ok(f"{shell}: {script}")
    if startup.is_file() and "rekindle completion" in startup.read_text(encoding="utf-8", errors="replace"):
        return ok(f"{shell}: {startup}")
    make = "" if script.parent.is_dir() else f"mkdir -p ~/{Path(_SCRIPTS[shell]).parent} && "
    return not_used(f"{shell} does not complete rekindle", f"{make}rekindle completion {shell} > ~/{_SCRIPTS[shell]}")
