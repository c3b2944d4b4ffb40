"""Calls share a process: changes of one call are restored before the next, or the next call gets a new process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_shell import Shell

pytestmark = pytest.mark.new_interpreters

PROBE = """\
import ctypes, decimal, gc, locale, os, resource, signal, subprocess, sys, threading, time

def probe():
    import pathlib
    pathlib.Path("made").touch()
    mode = oct(os.stat("made").st_mode)
    os.remove("made")
    return {
        "os.environ": {k: v for k, v in sorted(os.environ.items()) if not k.startswith("REKINDLE_")},
        "a child's environment": subprocess.run("env", capture_output=True, text=True).stdout.count("\\nLEAKED="),
        "C's environment": ctypes.CDLL(None).getenv(b"LEAKED_IN_C"),
        "mode of a file": mode,
        "working directory": os.getcwd(),
        "timers": [signal.getitimer(which) for which in (0, 1, 2)],
        "handlers": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "sys.path": sys.path,
        "sys.argv": sys.argv,
        "recursion limit": sys.getrecursionlimit(),
        "limits": [resource.getrlimit(kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS)],
        "nice": os.nice(0),
        "cpus": len(os.sched_getaffinity(0)),
        "locale": locale.setlocale(locale.LC_ALL),
        "time zone": time.tzname,
        "decimal places": decimal.getcontext().prec,
        "gc": gc.isenabled(),
        "trace": str([sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()]),
        "hooks": [str(hook) for hook in (
            sys.excepthook, sys.unraisablehook, sys.displayhook, sys.breakpointhook, threading.excepthook,
        )],
        "digits, switching, stack, gc": [
            sys.get_int_max_str_digits(), sys.getswitchinterval(), threading.stack_size(), gc.get_threshold(),
        ],
        "streams": [stream.name for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "stdin": os.readlink("/proc/self/fd/0"),
        "threads": threading.active_count(),
    }

def change(what):
    exec(what)
"""

CHANGES = [
    "os.environ['LEAKED'] = '1'; del os.environ['HOME']",
    "os.environ = {'LEAKED': '1'}",
    "del os.environ",
    "os.fork()",
    "os.environ.clear(); os.environ['LEAKED'] = '1'",
    "os.putenv('LEAKED', '1'); os.unsetenv('HOME')",
    "ctypes.CDLL(None).setenv(b'LEAKED_IN_C', b'1', 1)",
    "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()",
    "os.umask(0o777)",
    "os.chdir('/')",
    "signal.alarm(1)",
    "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001); signal.signal(signal.SIGALRM, lambda *_: None)",
    "signal.setitimer(signal.ITIMER_VIRTUAL, 0.01)",
    "signal.setitimer(signal.ITIMER_PROF, 0.01)",
    "import faulthandler; faulthandler.dump_traceback_later(0.2, exit=True)",
    "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); signal.raise_signal(signal.SIGALRM)",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_DFL)",
    "sys.path.insert(0, '/leaked')",
    "sys.path = ['/leaked']",
    "sys.path = None",
    "sys.argv = ['leaked', '--flag']",
    "sys.setrecursionlimit(10_000)",
    "sys.settrace(lambda *_: None)",
    "sys.setprofile(lambda *_: None)",
    "threading.settrace(lambda *_: None); threading.setprofile(lambda *_: None)",
    "sys.excepthook = sys.unraisablehook = threading.excepthook = print",
    "sys.displayhook = sys.breakpointhook = print",
    "del sys.excepthook",
    "sys.set_int_max_str_digits(0); sys.setswitchinterval(1.0)",
    "threading.stack_size(1 << 20); gc.set_threshold(1, 2, 3)",
    "resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))",
    "resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))",
    "os.nice(5)",
    "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})",
    "locale.setlocale(locale.LC_ALL, 'C')",
    "decimal.getcontext().prec = 3",
    "gc.disable()",
    "import io; sys.stdout = sys.stderr = io.StringIO()",
    "sys.stdout.close()",
    "os.close(0); os.open('/etc/passwd', os.O_RDONLY)",
    "os.dup2(os.open('elsewhere', os.O_WRONLY | os.O_CREAT), 1)",
    "os.environ['LEAKED'] = '1'; raise ValueError('a failure')",
    "os.umask(0o777); sys.exit(3)",
    "threading.Thread(target=time.sleep, args=[60], daemon=True).start(); os.environ['LEAKED'] = '1'",
]


def results(shell: Shell) -> list[Any]:
    """The results of all attempts, in order."""
    return [one["result"] for one in shell("attempts", "list", "--json").json["attempts"]]


def test_what_a_call_changes_of_its_process_is_put_back_before_the_next(shell: Shell) -> None:
    shell.write(PROBE, "lib.py")
    jobs: dict[str, Any] = {"probe": {"call": "lib:probe"}}
    for at, what in enumerate(CHANGES):
        before = [f"probe{at - 1}"] if at else ["probe"]
        jobs[f"change{at}"] = {"call": "lib:change", "args": {"what": what}, "needs": before}
        jobs[f"probe{at}"] = {"call": "lib:probe", "needs": [f"change{at}"], "when": "finished"}
    shell.write(json.dumps({"name": "s", "jobs": jobs}))
    assert shell("run", "spec.yaml", "-j", "1").code == 2, "two of the changes fail"
    first, *others = results(shell)
    assert first["mode of a file"] == "0o100644"
    assert len(others) == 2 * len(CHANGES)
    for what, probed in zip(CHANGES, others[1::2], strict=True):
        assert probed == first, what


def test_items_of_a_fan_out_do_not_see_what_others_changed(shell: Shell) -> None:
    shell.write(PROBE + "def item(item):\n    found = probe()\n    change(item)\n    return found\n", "lib.py")
    each = [*CHANGES[:2], *CHANGES[4:12], "1"]
    step = {"name": "p", "each": each, "call": "lib:item", "args": {"item": "${item}"}}
    shell.write(json.dumps({"name": "s", "jobs": {"f": {"steps": [step]}}}))
    assert shell("run", "spec.yaml").code == 0
    found = [one["result"] for one in shell("attempts", "show", "1", "--json").json["subtasks"]]
    assert len(found) == len(each)
    for one in found:
        assert one == found[0]


def test_what_a_module_changes_at_its_import_holds_for_its_calls_only(shell: Shell) -> None:
    shell.write("import os, sys\nos.environ['SET'] = '1'\nsys.path.append('/lib')\n" + PROBE, "sets.py")
    shell.write(PROBE, "lib.py")
    jobs: dict[str, Any] = {"j0": {"call": "sets:probe"}}
    for at, name in enumerate(["sets:probe", "lib:probe", "sets:probe"], 1):
        jobs[f"j{at}"] = {"call": name, "needs": [f"j{at - 1}"]}
    shell.write(json.dumps({"name": "s", "jobs": jobs}))
    assert shell("run", "spec.yaml", "-j", "1").code == 0
    seen = [("SET" in one["os.environ"], "/lib" in one["sys.path"]) for one in results(shell)]
    assert seen == [(True, True), (True, True), (False, False), (True, True)]


@pytest.mark.parametrize(
    "leave",
    ["threading.Thread(target=write, daemon=True).start()", "threading.Thread(target=write).start()"],
)
def test_a_thread_that_a_call_leaves_writes_nothing_into_the_next_ones_log(shell: Shell, leave: str) -> None:
    shell.write(
        "import threading, time\n"
        "def write():\n"
        "    while True:\n"
        "        print('the thread wrote this', flush=True)\n"
        "        time.sleep(0.001)\n"
        f"def first(): {leave}\n"
        "def second():\n"
        "    time.sleep(0.05)\n"
        "    print('second')\n",
        "lib.py",
    )
    shell.write("name: s\njobs: {a: {call: 'lib:first'}, b: {call: 'lib:second', needs: [a]}}")
    assert shell("run", "spec.yaml", "-j", "1").code == 0
    assert shell("logs", "b").out == "second\n"
