"""Files that jobs leave where rekindle reads fail only these jobs, and the next job runs."""

from __future__ import annotations

import json
import os

import pytest
from cli_shell import Shell

pytestmark = pytest.mark.new_interpreters

BIND = "import os, socket, sys; os.chdir(os.path.dirname(sys.argv[1])); socket.socket(socket.AF_UNIX).bind(sys.argv[2])"
DEEP = "import sys; open(sys.argv[1], 'w').write('[' * int(sys.argv[2]) + ']' * int(sys.argv[2]))"

KINDS = {
    "fifo": ("mkfifo {at}", "is a FIFO"),
    "socket": (f'python3 -c "{BIND}" {{at}} s; mv "$(dirname {{at}})/s" {{at}}', "is a socket"),
    "device": ("mknod {at} c 1 5", "is a device"),
    "directory": ("mkdir -p {at}/full", "is a directory"),
    "link": ("ln -s /dev/zero {at}", "is a symbolic link"),
    "dangling": ("ln -s /nowhere {at}", "is a symbolic link"),
    "huge": ("truncate -s 20M {at}", "is larger than 16 MiB"),
    "binary": (r"printf '\377\000' > {at}", "is not UTF-8"),
}
NO_JSON = {
    "deep": (f'python3 -c "{DEEP}" {{at}} 2000', "is nested more than 200 levels deep"),
    "deeper": (f'python3 -c "{DEEP}" {{at}} 100000', "is nested more than 200 levels deep"),
    "deep-enough": (f'python3 -c "{DEEP}" {{at}} 300', "is nested more than 200 levels deep"),
    "nan": ("echo NaN > {at}", "is not JSON"),
    "long-number": (r"head -c 5000 /dev/zero | tr '\0' 1 > {at}", "is not JSON"),
    "half-a-pair": (r"""printf '"\\ud800"' > {at}""", "is not JSON"),
}
LEAVES = {"RESULT": "BadResult", "VERDICT": "BadVerdict", "ACTION": "BadAction"}
SPECIAL = ("fifo", "socket", "device", "link", "dangling")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")

Expected = dict[str, tuple[str, str]]


def command(text: str, **more: object) -> dict:
    return {"run": text, "resources": {"time": "60s"}, **more}


def run(shell: Shell, jobs: dict[str, dict]) -> dict[str, dict]:
    """Run jobs one after the other, and one more. Return the end of each attempt by the name of its job."""
    shell.write(json.dumps({"name": "w", "jobs": {**jobs, "last": {"run": "true"}}}), "spec.json")
    assert shell("run", "spec.json", "-j", "1").code == 2
    names = {one["id"]: one["name"] for one in shell("jobs", "list", "--json").json["jobs"]}
    found = {names[one["job"]]: one for one in shell("attempts", "list", "--json").json["attempts"]}
    assert found.pop("last")["state"] == "completed"
    assert found.keys() == jobs.keys()
    return found


def unexpected(attempts: dict[str, dict], expected: Expected) -> dict[str, tuple]:
    """Attempts that did not fail with an exception of that type and a message with these words."""
    ends = {name: (one["cause"], one["error"]) for name, one in attempts.items()}
    return {
        name: (cause, error)
        for name, (cause, error) in ends.items()
        if cause != "exception" or error["type"] != expected[name][0] or expected[name][1] not in error["message"]
    }


@as_root
def test_whatever_is_at_the_place_of_a_leaf_is_a_failure_that_names_it(shell: Shell) -> None:
    jobs, expected = {}, {}
    for leaf, kind in LEAVES.items():
        for name, (make, words) in {**KINDS, **({} if leaf == "VERDICT" else NO_JSON)}.items():
            jobs[f"{leaf}-{name}"] = command(make.format(at=f"$REKINDLE_{leaf}"))
            expected[f"{leaf}-{name}"] = kind, f"$REKINDLE_{leaf} {words}"
    assert unexpected(run(shell, jobs), expected) == {}


@as_root
def test_whatever_replaces_a_folder_or_a_log_is_a_failure_that_names_it(shell: Shell) -> None:
    jobs, expected = {}, {}
    for name in (*SPECIAL, "binary"):
        make, words = KINDS[name] if name != "binary" else (KINDS[name][0], "is a file")
        jobs[f"own-{name}"] = command(f"rm -rf $REKINDLE_DIR; {make.format(at='$REKINDLE_DIR')}")
        expected[f"own-{name}"] = "BadFolder", f"{words}, not a directory"
        live = f"echo said; L=$(readlink /proc/$$/fd/1); rm $L; {make.format(at='$L')}"
        jobs[f"live-{name}"] = command(live)
        expected[f"live-{name}"] = "BadLog", f"{words.removeprefix('is ')} is in the place of the log"
    for name in (*SPECIAL, "directory"):
        make, words = KINDS[name]
        jobs[f"log-{name}"] = command(f"echo said; {make.format(at='$REKINDLE_DIR.0.out')}")
        expected[f"log-{name}"] = "BadLog", f"{words.removeprefix('is ')} is in the place of the log"
    attempts = run(shell, jobs)
    assert unexpected(attempts, expected) == {}
    assert {shell("logs", name).out for name in jobs if name.startswith(("live", "log"))} == {"said\n"}


@as_root
@pytest.mark.parametrize("above", ["$(dirname $REKINDLE_DIR)", "$(dirname $(dirname $(dirname $REKINDLE_DIR)))"])
def test_whatever_replaces_a_folder_above_is_a_failure_that_names_it(shell: Shell, above: str) -> None:
    replace = "D={above}; mv $D $D.{name}; {make}"
    jobs = {
        name: command(replace.format(above=above, name=name, make=KINDS[name][0].format(at="$D"))) for name in SPECIAL
    }
    expected = {name: ("BadFolder", f"a folder above its own, {KINDS[name][1]}") for name in SPECIAL}
    assert unexpected(run(shell, jobs), expected) == {}


@as_root
def test_an_output_that_is_no_file_is_a_failure_that_names_it(shell: Shell) -> None:
    words = {name: KINDS[name][1] for name in SPECIAL} | {"link": "is a device"}
    jobs = {name: command(KINDS[name][0].format(at=f"./{name}"), outputs={"o": name}) for name in SPECIAL}
    attempts = run(shell, jobs)
    assert attempts.pop("dangling")["cause"] == "missing_output"
    expected = {name: ("BadOutput", f"the output o ({name}) {words[name]}") for name in SPECIAL}
    assert unexpected(attempts, expected) == {}


def test_items_of_a_fan_out_fail_for_what_they_leave_and_run_again(shell: Shell) -> None:
    places = ["$REKINDLE_RESULT", "$REKINDLE_VERDICT", "$REKINDLE_ACTION", "$REKINDLE_SUBTASK_DIR", "$REKINDLE_DIR"]
    places.append("$REKINDLE_SUBTASK_DIR.0.err")
    lines = "\n".join(f"{n}) at={place};;" for n, place in enumerate(places))
    make = KINDS["fifo"][0].format(at="$at")
    step = {
        "name": "s",
        "each": list(range(len(places))),
        "run": f"case $REKINDLE_ITEM in\n{lines}\nesac\ntest -e mended || {{ rm -rf $at; {make}; }}",
    }
    attempts = run(shell, {"fan": {"steps": [step], "resources": {"time": "60s"}}})
    assert attempts["fan"]["cause"] == "subtasks"
    assert attempts["fan"]["steps"][0]["subtasks"] == {"failed": len(places)}
    shell.write("", "mended")
    assert shell("rerun", "fan", "--from", "failed-step", "--yes", "--work").code == 0


def test_a_command_that_failed_by_itself_keeps_its_cause(shell: Shell) -> None:
    jobs = {
        "linked": command("rm -rf $REKINDLE_DIR; ln -s /tmp $REKINDLE_DIR; false"),
        "piped": command("mkfifo $REKINDLE_RESULT; exit 3"),
    }
    assert {name: one["cause"] for name, one in run(shell, jobs).items()} == {"linked": "exit", "piped": "exit"}


def test_a_job_may_remove_its_own_folder_and_the_one_of_its_logs(shell: Shell) -> None:
    jobs = {
        "own": command("echo said; rm -rf $REKINDLE_DIR"),
        "logs": command("echo said; rm -rf $(dirname $(readlink /proc/$$/fd/1))"),
        "fails": command("false"),
    }
    attempts = run(shell, jobs)
    assert [attempts[name]["state"] for name in ("own", "logs")] == ["completed", "completed"]
    assert [shell("logs", name).out for name in ("own", "logs")] == ["said\n", "said\n"]


CALLS = """\
import os, sys

class Silent(Exception):
    def __str__(self):
        raise RuntimeError("none")

class Odd:
    def __fspath__(self):
        raise KeyError("odd")

def deep(n):
    value = []
    for _ in range(n):
        value = [value]
    return value

def silent(): raise Silent
def surrogate(): raise ValueError("half \\ud800, byte \\udce9")
def odd(): return Odd()
def half(): return "\\ud800"
def nested(): return deep(300)
def very(): return deep(100_000)
def code(): sys.exit(10 ** 30)
def gone(): os._exit(0)
def closes():
    os.close(1)
    os.close(2)
    os.close(4)
def folder(ctx):
    ctx.dir.rmdir()
    os.mkfifo(os.environ["REKINDLE_DIR"])
"""


def test_calls_fail_for_what_they_raise_return_and_leave(shell: Shell) -> None:
    shell.write(CALLS, "calls.py")
    names = ("silent", "surrogate", "odd", "half", "nested", "very", "folder")
    jobs = {name: {"call": f"calls:{name}"} for name in (*names, "code", "gone", "closes")}
    attempts = run(shell, jobs)
    causes = {name: attempts.pop(name)["cause"] for name in ("code", "gone", "closes")}
    assert causes == {"code": "exit", "gone": "exit", "closes": None}
    bad = ("BadResult", "the result")
    expected = {
        "silent": ("calls.Silent", "str() raised RuntimeError"),
        "surrogate": ("ValueError", r"half \ud800, byte \xe9"),
        "folder": ("BadFolder", "is a FIFO"),
        **dict.fromkeys(("odd", "half", "nested", "very"), bad),
    }
    assert unexpected(attempts, expected) == {}


def test_a_large_number_in_a_result_reaches_the_steps_behind(shell: Shell) -> None:
    number = 10**30
    steps = [
        {"name": "a", "run": f"echo {number} > $REKINDLE_RESULT"},
        {"name": "b", "each": [1], "run": f"echo {number} > $REKINDLE_RESULT"},
        {"name": "c", "run": "echo ${steps.a.result}"},
    ]
    shell.write(json.dumps({"name": "w", "jobs": {"j": {"steps": steps}}}), "spec.json")
    assert shell("run", "spec.json").code == 0
    assert shell("logs", "j", "--step", "c").out == f"{number}\n"


def test_logs_and_the_next_run_do_not_wait_for_a_pipe_put_there_later(shell: Shell) -> None:
    shell.write("name: w\njobs: {j: {run: 'echo said; exit 3'}}\n")
    assert shell("run", "spec.yaml").code == 2
    log = next((shell.folder / ".rekindle" / "attempts").rglob("*.out"))
    log.unlink()
    os.mkfifo(log)
    assert shell("logs", "j").code == 0
    assert shell("logs", "j", "-f").code == 0
    assert shell("failures").code == 0


BREAK = """\
import sys

if "rekindle.worker" in sys.orig_argv or "rekindle.worker.call_host" in sys.orig_argv:
    import rekindle.worker.attempt_folders as staging

    def in_place(end, leaves):
        raise LookupError("nobody foresaw it")

    def take_leaves(leaves, take=staging.take_reports):
        left = take(leaves)
        return left if left.result is None else in_place(None, leaves)

    staging.take_reports, staging.check_in_place = take_leaves, in_place
"""


def test_an_unforeseen_error_ends_one_attempt_and_not_its_worker(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.write(BREAK, "sitecustomize.py")
    leave = "import os\n\ndef leave():\n    open(os.environ['REKINDLE_DIR'] + '/left', 'w').close()\n"
    shell.write(leave, "leaving.py")
    monkeypatch.setenv("PYTHONPATH", str(shell.folder))
    jobs = {
        "alone": command("echo 1 > $REKINDLE_RESULT; sleep 1000 &"),
        "item": {"steps": [{"name": "s", "each": [1, 2], "parallel": 2, "run": "echo 1 > $REKINDLE_RESULT"}]},
        "call": {"call": "leaving:leave"},
        "step": {"steps": [{"name": "s", "call": "leaving:leave"}, {"name": "t", "run": "true"}]},
    }
    assert unexpected(run(shell, jobs), dict.fromkeys(jobs, ("LookupError", "nobody foresaw it"))) == {}
