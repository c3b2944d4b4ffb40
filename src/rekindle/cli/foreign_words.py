"""Commands and flags that users of make, snakemake, nextflow, dvc, git and schedulers type, and what they are here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

COMMANDS = {
    **dict.fromkeys(("resume", "continue", "repro", "build", "make", "start", "execute", "exec"), "rekindle run SPEC"),
    **dict.fromkeys(("retry", "restart-failed", "rerun-failed", "redo", "repeat"), "rekindle rerun -s failed --work"),
    **dict.fromkeys(("list", "ls", "ps", "queue", "squeue"), "rekindle jobs list"),
    **dict.fromkeys(("help", "man", "commands", "?"), "rekindle --help"),
    **dict.fromkeys(("show", "info", "describe", "inspect"), "rekindle jobs show JOB"),
    **dict.fromkeys(("log", "tail", "output", "stdout", "stderr", "cat"), "rekindle logs JOB"),
    **dict.fromkeys(("stop", "kill", "abort", "terminate", "scancel"), "rekindle cancel JOB"),
    **dict.fromkeys(("pause", "suspend"), "rekindle hold JOB"),
    **dict.fromkeys(("unhold", "unpause"), "rekindle release JOB"),
    **dict.fromkeys(("delete", "remove", "rm", "clean", "purge"), "rekindle workflows delete WORKFLOW"),
    "gc": "rekindle prune",
    "vacuum": "rekindle store vacuum",
    **dict.fromkeys(("plot", "dag", "graph", "viz", "ui", "web", "console", "dashboard"), "rekindle serve"),
    **dict.fromkeys(("history", "undone"), "rekindle reruns list"),
    "diff": "rekindle workflows diff WORKFLOW",
    "compare": "rekindle workflows compare A B",
    **dict.fromkeys(("errors", "failed", "failure"), "rekindle failures"),
    **dict.fromkeys(("stale", "explain", "reason"), "rekindle why --all"),
    **dict.fromkeys(("plan", "dry-run", "dryrun", "preview"), "rekindle run SPEC --dry-run"),
    **dict.fromkeys(("add", "create", "new", "sbatch", "qsub", "launch"), "rekindle submit SPEC"),
    **dict.fromkeys(("worker", "agent", "runner"), "rekindle work"),
    **dict.fromkeys(("revert", "rollback"), "rekindle undo"),
    "fsck": "rekindle store check",
    **dict.fromkeys(("check", "lint", "validate"), "rekindle spec check SPEC"),
    **dict.fromkeys(("diagnose", "selftest"), "rekindle doctor"),
    "audit": "rekindle events list",
    "version": "rekindle --version",
    "watch": "rekindle top",
}
"""What to type instead of a word that is no command here."""

FLAGS = {
    **dict.fromkeys(("--failed", "--only-failed", "--last-failed", "--lf", "--retry"), "-s failed selects failed jobs"),
    **dict.fromkeys(("--dryrun", "--just-print", "--recon", "--check", "-n"), "--dry-run shows what would be done"),
    **dict.fromkeys(("--keep-going", "-k"), "leave it out: jobs that do not need a failed one run anyway"),
    **dict.fromkeys(
        ("--force", "-B", "--forceall", "--always-make"), "`rekindle rerun -w WORKFLOW` runs its jobs again"
    ),
    **dict.fromkeys(("--resume", "-resume"), "leave it out: `rekindle run SPEC` continues where it stopped"),
    **dict.fromkeys(("--cores", "--parallel", "--workers", "-c", "-p"), "-j N runs N jobs at once"),
    **dict.fromkeys(("--until", "--target"), "`rekindle work JOB` runs only some jobs"),
    **dict.fromkeys(("--file", "--snakefile", "--spec"), "name the file without a flag: `rekindle run SPEC`"),
    **dict.fromkeys(("--quiet", "-q"), "leave it out: progress is shown on a terminal only"),
    **dict.fromkeys(("--params", "--config", "-P", "-D"), "--param K=V sets a parameter; repeat for more"),
    **dict.fromkeys(("--db", "--database", "--dir", "--directory", "-d"), "--store URL names the store"),
    **dict.fromkeys(("--format", "--output-format", "--as-json"), "--json prints JSON"),
    **dict.fromkeys(("--version", "-V"), "`rekindle --version` prints the version"),
    **dict.fromkeys(("--time", "--walltime", "--time-limit"), "write `resources: {time: 5m}` into the spec"),
    **dict.fromkeys(("--status",), "-s STATE selects jobs in a state"),
}
"""What to type instead of a flag that a command does not have."""


def command_hint(word: str, following: Sequence[str] = ()) -> str:
    """Return a hint for a word of another tool, or an empty text. `following`: the words typed after it."""
    command = COMMANDS.get(word.lower())
    if command is None:
        return ""
    options = [at for at, one in enumerate(following) if one.startswith("-")]
    typed = shlex.join(following[: options[0] if options else None])
    if typed and command == "rekindle --help":
        command = f"rekindle {typed} --help"
    elif typed:
        command = re.sub(r"\b(?:JOB|SPEC|WORKFLOW)\b|-s failed", lambda _: typed, command, count=1)
    return f"did you mean `{command}`?"
