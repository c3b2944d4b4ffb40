"""The same work for each peer: no-op commands, no-op calls, what failed, and whether outputs are current."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.commands import command
from benchmarks.harness import CommandFailed, Sample, progress
from benchmarks.peers import scripts
from benchmarks.peers.tools import Peer, program
from benchmarks.projects import JOBS_FAILED, MODULE, REKINDLE

if TYPE_CHECKING:
    from contextlib import ExitStack

Run = Callable[[], Sample]

FAILS = 100
"""Each FAILS-th job fails."""


# --- rekindle


def _spec(folder: Path, count: int, job: dict[str, object]) -> None:
    spec = {"name": "bench", "jobs": {"job": {"matrix": {"i": {"range": [0, count]}}, **job}}}
    (folder / "spec.json").write_text(json.dumps(spec))
    (folder / "work.py").write_text(MODULE)


def _rekindle(job: dict[str, object]) -> Callable[[Path, int, ExitStack], Run]:
    def begin(folder: Path, count: int, _: ExitStack) -> Run:
        _spec(folder, count, job)
        return lambda: command([REKINDLE, "run", "spec.json", "-j", "2"], folder)

    return begin


def _rekindle_reruns(folder: Path, count: int, _: ExitStack) -> Run:
    _spec(folder, count, {"call": "work:fail_each", "args": {"number": "${matrix.i}", "every": FAILS}})
    command([REKINDLE, "run", "spec.json", "-j", "2"], folder, expect=JOBS_FAILED)
    return lambda: command([REKINDLE, "rerun", "-s", "failed", "--dry-run"], folder)


def _rekindle_checks(folder: Path, count: int, _: ExitStack) -> Run:
    _files(folder, count)
    own, out = "in/${matrix.i}", "out/${matrix.i}"
    _spec(folder, count, {"run": ["cp", own, out], "inputs": {"own": own}, "outputs": {"out": out}})
    words = [str(REKINDLE), "run", "spec.json", "-j", "2"]
    command(words, folder)
    return lambda: command(words, folder)


def _rekindle_reuse(folder: Path, count: int, _: ExitStack) -> Run:
    spec = {
        "name": "bench",
        "params": {"a": 1},
        "defaults": {"cache": True},
        "jobs": {
            "job": {
                "matrix": {"i": {"range": [0, count]}},
                "run": _reuse_line("${params.a}", "${matrix.i}"),
                "outputs": {"out": "out/${matrix.i}"},
            }
        },
    }
    (folder / "out").mkdir()
    (folder / "spec.json").write_text(json.dumps(spec))
    words = [str(REKINDLE), "run", "spec.json", "-j", "2", "--yes"]
    return _set_back(OURS, folder, count, lambda a: command([*words, "--param", f"a={a}"], folder))


def _reuse_line(a: str, i: str) -> str:
    """Return the command of a job: an output, and a line in a file that says that the job ran."""
    return f"echo {a} {i} > out/{i}; echo {i} >> ran"


def _set_back(name: str, folder: Path, count: int, run: Callable[[int], Sample]) -> Run:
    """Run the jobs with a=1 and a=2; return what runs them with a=1 again, and checks that none ran and that the
    outputs are those of a=1."""
    for value in (1, 2):
        progress.show(f"{name}: prepare {count:,} jobs, a={value}")
        run(value)

    def measured() -> Sample:
        progress.show(f"{name}: {count:,} jobs, a=1 again")
        sample = run(1)
        ran = len((folder / "ran").read_text().splitlines()) - 2 * count
        if ran:
            raise CommandFailed(f"{ran:,} of {count:,} jobs ran again")
        if wrong := [i for i in range(count) if (folder / "out" / str(i)).read_text() != f"1 {i}\n"]:
            raise CommandFailed(f"{len(wrong):,} of {count:,} outputs are not those of a=1")
        return sample

    return measured


def _files(folder: Path, count: int) -> None:
    """Write the inputs of the jobs with outputs."""
    for name in ("in", "out"):
        (folder / name).mkdir()
    for number in range(count):
        (folder / "in" / str(number)).write_text(f"{number}\n")


# --- xargs, GNU parallel, make, ninja


def _numbers(count: int) -> bytes:
    return "".join(f"{number}\n" for number in range(count)).encode()


def _xargs(folder: Path, count: int, _: ExitStack) -> Run:
    return lambda: command(["xargs", "-P2", "-n1", "/bin/true"], folder, stdin=_numbers(count))


def _parallel(folder: Path, count: int, _: ExitStack) -> Run:
    # https://www.gnu.org/software/parallel/man.html: --joblog keeps what --resume-failed needs; -N0 adds no argument
    words = [program("parallel"), "-j2", "--joblog", "log", "-N0", "/bin/true"]
    return lambda: command(words, folder, stdin=_numbers(count), variables={"PARALLEL_HOME": str(folder)})


def _parallel_reruns(folder: Path, count: int, _: ExitStack) -> Run:
    # … --resume-failed: "Retry all failed and continue from the last unfinished job"; --dry-run prints the commands
    home = {"PARALLEL_HOME": str(folder)}
    lines = ["Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand"]
    for number in range(count):  # the log that a run writes
        failed = int(number % FAILS == 0)
        lines.append(f"{number + 1}\t:\t1700000000.000\t0.001\t0\t0\t{failed}\t0\ttest $(({number} % {FAILS})) -ne 0")

    def run() -> Sample:
        (folder / "log").write_text("\n".join([*lines, ""]))  # --dry-run changes it
        words = [program("parallel"), "-j2", "--joblog", "log", "--resume-failed", "--dry-run"]
        job = f"test $(({{}} % {FAILS})) -ne 0"
        return command([*words, job], folder, stdin=_numbers(count), variables=home)

    return run


def _make(folder: Path, count: int, _: ExitStack) -> Run:
    # https://www.gnu.org/software/make/manual/make.html#Phony-Targets; make starts simple commands without a shell
    jobs = " ".join(f"t{number}" for number in range(count))
    (folder / "Makefile").write_text(f"T := {jobs}\nall: $(T)\n.PHONY: all $(T)\n$(T):\n\t@/bin/true\n")
    return lambda: command([program("make"), "-s", "-j2"], folder)


def _make_reruns(folder: Path, count: int, _: ExitStack) -> Run:
    outputs = " ".join(f"out/{number}" for number in range(count))
    # …#Static-Pattern: without a search for implicit rules
    rule = f"$(O): out/%:\n\t@test $$(($* % {FAILS})) -ne 0 && touch $@\n"
    (folder / "Makefile").write_text(f"O := {outputs}\nall: $(O)\n{rule}")
    (folder / "out").mkdir()
    command([program("make"), "-s", "-k", "-j2"], folder, expect=2)
    return lambda: command([program("make"), "-n"], folder)


def _make_checks(folder: Path, count: int, _: ExitStack) -> Run:
    _files(folder, count)
    outputs = " ".join(f"out/{number}" for number in range(count))
    (folder / "Makefile").write_text(f"O := {outputs}\nall: $(O)\n$(O): out/%: in/%\n\t@cp $< $@\n")
    command([program("make"), "-s", "-j2"], folder)
    return lambda: command([program("make"), "-j2"], folder)


def _ninja(folder: Path, count: int, _: ExitStack) -> Run:
    # https://ninja-build.org/manual.html; a command of ninja is a line for the shell
    _write_ninja(folder, "/bin/true", [f"t{number}: job" for number in range(count)])
    return lambda: command([program("ninja"), "-j2", "--quiet"], folder)


def _ninja_reruns(folder: Path, count: int, _: ExitStack) -> Run:
    rule = f"test $$(($number % {FAILS})) -ne 0 && touch $out"
    _write_ninja(folder, rule, [f"out/{number}: job\n  number = {number}" for number in range(count)])
    command([program("ninja"), "-j2", "--quiet", "-k0"], folder, expect=1)
    return lambda: command([program("ninja"), "-n"], folder)


def _ninja_checks(folder: Path, count: int, _: ExitStack) -> Run:
    _files(folder, count)
    _write_ninja(folder, "cp $in $out", [f"out/{number}: job in/{number}" for number in range(count)])
    command([program("ninja"), "-j2", "--quiet"], folder)
    return lambda: command([program("ninja"), "-j2"], folder)


def _write_ninja(folder: Path, line: str, builds: Sequence[str]) -> None:
    text = "".join(f"build {build}\n" for build in builds)
    (folder / "build.ninja").write_text(f"rule job\n  command = {line}\n{text}")


# --- doit: https://pydoit.org/cmd-run.html#parallel-execution, https://pydoit.org/tasks.html


def _doit(job: str, *options: str) -> Callable[[Path, int, ExitStack], Run]:
    def begin(folder: Path, count: int, _: ExitStack) -> Run:
        _dodo(folder, count, job)
        return lambda: command([program("doit"), "-n2", *options, "-r", "error-only"], folder)

    return begin


def _dodo(folder: Path, count: int, job: str) -> None:
    text = (
        'from doit.tools import run_once\n\nDOIT_CONFIG = {"verbosity": 0}\n\ndef nothing():\n    return None\n\n'
        f"def fail_each(number):\n    return number % {FAILS} != 0\n\n"
        f'def task_job():\n    for i in range({count}):\n        yield {{"name": str(i), {job}}}\n'
    )
    (folder / "dodo.py").write_text(text)


def _doit_reruns(folder: Path, count: int, _: ExitStack) -> Run:
    # doit has no dry run: `list --status` says of each task whether it would run (R) or is up to date (U)
    _dodo(folder, count, '"actions": [(fail_each, [i])], "uptodate": [run_once]')
    command([program("doit"), "--continue", "-r", "error-only"], folder, expect=2)
    return lambda: command([program("doit"), "list", "--all", "--status"], folder)


def _doit_checks(folder: Path, count: int, _: ExitStack) -> Run:
    _files(folder, count)
    paths = '"file_dep": [f"in/{i}"], "targets": [f"out/{i}"]'
    _dodo(folder, count, f'"actions": [["cp", f"in/{{i}}", f"out/{{i}}"]], {paths}')
    command([program("doit"), "-n2", "-P", "thread", "-r", "error-only"], folder)
    return lambda: command([program("doit"), "-r", "error-only"], folder)


# --- Snakemake: https://snakemake.readthedocs.io/en/stable/executing/cli.html


def _snakemake(folder: Path, count: int, _: ExitStack) -> Run:
    _snakefile(folder, count, 'output: touch("out/{i}")', "/bin/true")
    return lambda: command([program("snakemake"), "--cores", "2", "--quiet", "all"], folder)


def _snakemake_reruns(folder: Path, count: int, _: ExitStack) -> Run:
    _snakefile(folder, count, 'output: touch("out/{i}")', f"test $(({{wildcards.i}} % {FAILS})) -ne 0")
    words = [program("snakemake"), "--cores", "2", "--quiet", "all"]
    command([*words, "--keep-going"], folder, expect=1)
    return lambda: command([*words, "--dry-run"], folder)


def _snakemake_checks(folder: Path, count: int, _: ExitStack) -> Run:
    _files(folder, count)
    _snakefile(folder, count, 'input: "in/{i}"\n    output: "out/{i}"', "cp {input} {output}")
    words = [program("snakemake"), "--cores", "2", "--quiet", "all"]
    command(words, folder)
    return lambda: command(words, folder)


def _snakemake_reuse(folder: Path, count: int, _: ExitStack) -> Run:
    # …/caching.html: outputs are kept by a hash of parameters, inputs and code. Wildcards are not in it, so `i` is a
    # parameter too; and names of values in the configuration have two letters at least.
    rule = 'output: "out/{i}"\n    params: a=config["value"], i="{i}"\n    cache: True'
    _snakefile(folder, count, rule, _reuse_line("{params.a}", "{params.i}"))
    (folder / "cache").mkdir()
    words = [program("snakemake"), "--cores", "2", "--quiet", "all", "--cache", "--config"]
    variables = {"SNAKEMAKE_OUTPUT_CACHE": str(folder / "cache")}
    return _set_back("Snakemake", folder, count, lambda a: command([*words, f"value={a}"], folder, variables=variables))


def _snakefile(folder: Path, count: int, files: str, line: str) -> None:
    (folder / "Snakefile").write_text(
        f'rule all:\n    input: expand("out/{{i}}", i=range({count}))\n\nrule job:\n    {files}\n    shell: "{line}"\n'
    )


# --- libraries


def _script(tool: str, text: str, *words: str) -> Callable[[Path, int, ExitStack], Run]:
    def begin(folder: Path, count: int, _: ExitStack) -> Run:
        (folder / "script.py").write_text(text)
        python = program(tool, "python")
        path = f"{Path(python).parent}:{os.environ['PATH']}"  # as in an activated environment
        return lambda: command([python, "script.py", *words, str(count)], folder, variables={"PATH": path})

    return begin


def _pool(folder: Path, count: int, _: ExitStack) -> Run:
    (folder / "work.py").write_text(MODULE)
    (folder / "pool.py").write_text(scripts.POOL)
    return lambda: command([sys.executable, "pool.py", str(count)], folder)


def _parsl_reruns(folder: Path, count: int, stack: ExitStack) -> Run:
    run = _script("parsl", scripts.PARSL, "checkpoints", "threads")(folder, count, stack)
    run()
    return run


def _timed_inside(tool: str, text: str, *words: str) -> Callable[[Path, int, ExitStack], Run]:
    """Measure the part of a script that it writes to taken.json, where the state is in the memory of its process."""

    def begin(folder: Path, count: int, stack: ExitStack) -> Run:
        run = _script(tool, text, *words)(folder, count, stack)

        def measured() -> Sample:
            run()
            return msgspec.json.decode((folder / "taken.json").read_bytes(), type=Sample)

        return measured

    return begin


# --- DVC: https://dvc.org/doc/command-reference/repro


def _dvc_checks(folder: Path, count: int, _: ExitStack) -> Run:
    _files(folder, count)
    stage = {
        "foreach": list(range(count)),
        "do": {"cmd": "cp in/${item} out/${item}", "deps": ["in/${item}"], "outs": ["out/${item}"]},
    }
    (folder / "dvc.yaml").write_text(json.dumps({"stages": {"job": stage}}))
    command([program("dvc"), "init", "--no-scm", "--quiet"], folder, variables=_DVC)
    words = [program("dvc"), "repro", "--quiet"]
    command(words, folder, variables=_DVC)
    return lambda: command(words, folder, variables=_DVC)


def _dvc_reuse(folder: Path, count: int, _: ExitStack) -> Run:
    # https://dvc.org/doc/user-guide/pipelines/run-cache
    stage = {
        "foreach": list(range(count)),
        "do": {"cmd": _reuse_line("${a}", "${item}"), "params": ["a"], "outs": ["out/${item}"]},
    }
    (folder / "out").mkdir()
    (folder / "dvc.yaml").write_text(json.dumps({"stages": {"job": stage}}))
    command([program("dvc"), "init", "--no-scm", "--quiet"], folder, variables=_DVC)

    def run(a: int) -> Sample:
        (folder / "params.yaml").write_text(f"a: {a}\n")
        return command([program("dvc"), "repro", "--quiet"], folder, variables=_DVC)

    return _set_back("DVC", folder, count, run)


_DVC = {"DVC_NO_ANALYTICS": "1"}

OURS = "rekindle run"

COMMANDS = (
    Peer(OURS, "", _rekindle({"run": ["/bin/true"]})),
    Peer("xargs -P2 -n1", "xargs", _xargs, note="keeps no record"),
    Peer("make -j2", "make", _make, note="keeps no record"),
    Peer("ninja -j2", "ninja", _ninja),
    Peer("doit -n2 -P thread", "doit", _doit('"actions": [["/bin/true"]]', "-P", "thread")),
    Peer("GNU parallel -j2 --joblog", "parallel", _parallel, most=2_000),
    Peer("HyperQueue, 2 processors", "hyperqueue", _script("hyperqueue", scripts.HYPERQUEUE, "commands")),
    Peer("Dask, LocalCluster(2)", "distributed", _script("distributed", scripts.DASK, "commands"), most=5_000),
    Peer("Parsl, 2 workers", "parsl", _script("parsl", scripts.PARSL, "commands", "workers"), most=2_000),
    Peer("Snakemake --cores 2", "snakemake", _snakemake, most=300),
    Peer(
        "FireWorks on mongomock",
        "fireworks",
        _script("fireworks", scripts.FIREWORKS, "commands"),
        most=200,
        note="1 at a time",
    ),
)

CALLS = (
    Peer(OURS, "", _rekindle({"call": "work:nothing"})),
    Peer("ProcessPoolExecutor(2)", "", _pool, note="keeps no record"),
    Peer("doit -n2", "doit", _doit('"actions": [nothing]')),
    Peer("Dask, LocalCluster(2)", "distributed", _script("distributed", scripts.DASK, "calls")),
    Peer("Parsl, 2 threads", "parsl", _script("parsl", scripts.PARSL, "calls", "threads")),
    Peer("Parsl, 2 workers", "parsl", _script("parsl", scripts.PARSL, "calls", "workers"), most=2_000),
    Peer(
        "FireWorks on mongomock",
        "fireworks",
        _script("fireworks", scripts.FIREWORKS, "calls"),
        most=200,
        note="1 at a time",
    ),
)

RERUNS = (
    Peer("rekindle rerun -s failed --dry-run", "", _rekindle_reruns),
    Peer("make -n", "make", _make_reruns, note="knows no failures: outputs are missing"),
    Peer("ninja -n", "ninja", _ninja_reruns),
    Peer("doit list --all --status", "doit", _doit_reruns),
    Peer("GNU parallel --resume-failed --dry-run", "parallel", _parallel_reruns),
    Peer(
        "HyperQueue get_failed_tasks",
        "hyperqueue",
        _timed_inside("hyperqueue", scripts.HYPERQUEUE, "reruns"),
        note="in a process with its server",
    ),
    Peer("Parsl with checkpoints, 2 threads", "parsl", _parsl_reruns, note="runs the failed too"),
    Peer("Snakemake --dry-run", "snakemake", _snakemake_reruns, most=1_000),
    Peer(
        "FireWorks rerun_fw of each",
        "fireworks",
        _timed_inside("fireworks", scripts.FIREWORKS, "reruns"),
        most=500,
        note="in process",
    ),
)

CHECKS = (
    Peer(OURS, "", _rekindle_checks),
    Peer("make -j2", "make", _make_checks, note="compares times"),
    Peer("ninja -j2", "ninja", _ninja_checks, note="compares times"),
    Peer("doit", "doit", _doit_checks),
    Peer("Snakemake --cores 2", "snakemake", _snakemake_checks, most=1_000),
    Peer("DVC repro", "dvc", _dvc_checks, most=100),
)

REUSE = (
    Peer(OURS, "", _rekindle_reuse),
    Peer("DVC repro, run cache", "dvc", _dvc_reuse, slow=True),
    Peer("Snakemake --cache", "snakemake", _snakemake_reuse, note="links to its cache", slow=True),
)
