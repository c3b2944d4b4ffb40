"""Commands and calls in processes of their own, measured by a small launcher: wall, processor and peak memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness import CommandFailed, Sample, used

ROOT = Path(__file__).parent.parent
LAUNCHER = Path(__file__).with_name("launcher.py")


def command(
    words: Sequence[str | Path],
    folder: Path,
    *,
    expect: int = 0,
    stdin: bytes = b"",
    variables: Mapping[str, str] | None = None,
) -> Sample:
    """Run a command without output. Raise CommandFailed for another exit code than `expect`, a signal being -n."""
    typed = [str(word) for word in words]
    read, write = os.pipe()
    with open(read, "rb") as report, tempfile.TemporaryFile() as standard_input:
        standard_input.write(stdin)
        standard_input.seek(0)
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(LAUNCHER), str(write), *typed],
                cwd=folder,
                stdin=standard_input,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
                pass_fds=[write],
                env={**os.environ, **(variables or {})},
            )
        finally:
            os.close(write)
        taken = report.read()
    if not taken:
        raise CommandFailed(f"{' '.join(typed)}: not started: {done.stderr.decode(errors='replace').strip()[-500:]}")
    sample = msgspec.json.decode(taken, type=Sample)
    if sample.answer != expect:
        error = done.stderr.decode(errors="replace").strip()[-500:]
        raise CommandFailed(f"{' '.join(typed)}: ended with {sample.answer}, not {expect}: {error}")
    return sample


def call(function: Callable[..., Any], *args: Any) -> Sample:
    """Call a function of a module in a new process. Arguments and answer are JSON; imports are not in its times."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        words = [function.__module__, function.__qualname__, report.name, json.dumps(args)]
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        command([sys.executable, "-m", __name__, *words], Path.cwd(), variables={"PYTHONPATH": paths})
        return msgspec.json.decode(Path(report.name).read_bytes(), type=Sample)


def _called(module: str, name: str, report: str, args: str) -> None:
    function = getattr(import_module(module), name)
    before, started = used(), time.perf_counter()
    answer = function(*json.loads(args))
    wall, spent = time.perf_counter() - started, used() - before
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    Path(report).write_bytes(msgspec.json.encode(Sample(wall, spent, peak * 1024, answer)))


if __name__ == "__main__":
    _called(*sys.argv[1:])
