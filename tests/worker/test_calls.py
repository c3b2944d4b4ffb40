"""Python calls: what they get, what they give, what they do to their process, and that old code never runs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from harness import WorkerHarness, alive, pid_in

from rekindle.domain.definition import Step
from rekindle.domain.states import Cause, State
from rekindle.journal.records import Started


def test_a_result_is_json_and_arguments_are_rendered(harness: WorkerHarness) -> None:
    harness.module("m", "def add(a, b, deep): return {'sum': a + b, 'deep': deep}\n")
    recipe = harness.recipe(Step("main", call="m:add", args={"a": "${matrix.n}", "b": 2, "deep": ["${params.p}-x"]}))
    work = harness.make(recipe, binding={"n": 40}, params={"p": "q"})
    harness.give(work)
    end = harness.end_of(work)
    assert end.state == State.COMPLETED
    assert json.loads(end.result or "") == {"sum": 42, "deep": ["q-x"]}
    assert end.steps[0].result == end.result
    assert end.cpu_seconds is not None


def test_many_calls_are_each_told_once_and_in_order(harness: WorkerHarness) -> None:
    harness.module("m", "def f(n): return n\n")
    recipe = harness.recipe(Step("main", call="m:f", args={"n": "${job.id}"}))
    work = [harness.make(recipe) for _ in range(1000)]
    harness.give(*work)
    harness.until(lambda: len(harness.ends()) == len(work))
    assert [harness.ends()[one.token].result for one in work] == [str(one.job) for one in work]
    assert [record.token for record in harness.all(Started)] == [one.token for one in work]


def test_a_function_that_names_ctx_gets_it(harness: WorkerHarness) -> None:
    harness.module(
        "m",
        "def f(ctx, *, x):\n"
        "    (ctx.dir / 'made').write_text('x')\n"
        "    return [ctx.workflow, ctx.job_name, ctx.job, ctx.attempt, ctx.step, dict(ctx.params), dict(ctx.matrix),\n"
        "            ctx.inputs, dict(ctx.steps), str(ctx.dir), x]\n",
    )
    recipe = harness.recipe(Step("main", call="m:f", args={"x": 1}), params={"p": 1})
    work = harness.make(recipe, binding={"k": "v"}, number=2, inputs='{"up": {"result": 3, "outputs": {}}}')
    harness.give(work)
    inputs = {"up": {"result": 3, "outputs": {}}}
    expected = ["wf", work.name, work.job, 2, "main", {"p": 1}, {"k": "v"}, inputs, {}, work.folder, 1]
    assert json.loads(harness.end_of(work).result or "") == expected
    assert (Path(work.folder) / "made").exists()


def test_a_call_sees_the_environment_and_its_folder_and_its_directory(harness: WorkerHarness) -> None:
    harness.module(
        "m",
        "import os\n"
        "def f():\n"
        "    e = os.environ\n"
        "    there = os.path.isdir(e['REKINDLE_DIR'])\n"
        "    return [os.getcwd(), e['REKINDLE_JOB'], e['X'], there, 'REKINDLE_RESULT' in e]\n"
        "def g(): return 'X' in os.environ\n",
    )
    end = harness.call("m:f", env={"X": "${job.name}"})
    assert json.loads(end.result or "") == [str(harness.project), "101", "job1", True, False]
    assert harness.call("m:g").result == "false"


def test_after_an_attempt_with_variables_the_next_sees_the_outer_ones(harness: WorkerHarness) -> None:
    module = "import os\ndef f():\n    seen = os.environ.get('HOME'), os.environ.get('X')\n"
    harness.module("m", f"{module}    os.environ['HOME'], os.environ['Y'] = 'changed', 'made'\n    return seen\n")
    outer = os.environ.get("HOME")
    seen = [harness.call("m:f", env=env).result for env in ({}, {"HOME": "/h", "X": "1"}, {"X": "2"}, {})]
    assert [json.loads(one or "") for one in seen] == [[outer, None], ["/h", "1"], [outer, "2"], [outer, None]]


def test_python_c_and_children_see_the_same_variables_in_each_call(harness: WorkerHarness) -> None:
    harness.module(
        "m",
        "import ctypes, os, subprocess\n"
        "def seen():\n"
        "    names = 'REKINDLE_JOB', 'REKINDLE_JOB_NAME', 'REKINDLE_INPUTS'\n"
        "    libc = ctypes.CDLL(None)\n"
        "    libc.getenv.restype = ctypes.c_char_p\n"
        "    env = subprocess.run(['env', '-0'], capture_output=True, text=True).stdout.split('\\0')\n"
        "    of_child = dict(line.split('=', 1) for line in env if line)\n"
        "    return [[os.environ.get(n), (libc.getenv(n.encode()) or b'').decode(), of_child.get(n)] for n in names]\n"
        "def f(change):\n"
        "    found = seen()\n"
        "    exec(change)\n"
        "    return found\n",
    )
    recipe = harness.recipe(Step("main", call="m:f", args={"change": "${matrix.change}"}))
    changes = [
        "",
        "os.environ['REKINDLE_JOB'] = 'other'",
        "del os.environ['REKINDLE_JOB_NAME']",
        "os.environ.clear()",
        "",
    ]
    sizes = [1, 3000, 10, 60_000, 2]
    work = [
        harness.make(recipe, binding={"change": change}, name="n" * size, inputs=json.dumps({"up": "x" * size}))
        for change, size in zip(changes, sizes, strict=True)
    ]
    harness.give(*work)
    for one in work:
        expected = [str(one.job), one.name, one.inputs]
        assert json.loads(harness.end_of(one).result or "") == [[value] * 3 for value in expected]


def test_an_exception_tells_type_message_and_the_users_frames_only(harness: WorkerHarness) -> None:
    harness.module(
        "m",
        "class Odd(Exception): pass\n"
        "def inner(): raise Odd('strange thing')\n"
        "def f():\n"
        "    import sys; print('before', file=sys.stderr)\n"
        "    inner()\n",
    )
    end = harness.call("m:f")
    assert (end.state, end.cause) == (State.FAILED, Cause.EXCEPTION)
    failure = end.failure
    assert failure is not None
    assert (failure.type, failure.message, failure.stderr) == ("m.Odd", "strange thing", "before\n")
    assert "in inner" in failure.traceback
    assert "rekindle" not in failure.traceback


@pytest.mark.parametrize(
    ("body", "state", "code", "message"),
    [
        ("sys.exit(3)", State.FAILED, 3, "exit code 3"),
        ("sys.exit('gave up')", State.FAILED, 1, "gave up"),
        ("sys.exit()", State.COMPLETED, 0, None),
    ],
)
def test_sys_exit_is_an_exit(harness: WorkerHarness, body: str, state: State, code: int, message: str | None) -> None:
    harness.module("m", f"import sys\ndef f(): {body}\n")
    end = harness.call("m:f")
    assert (end.state, end.exit_code, end.cause) == (state, code, Cause.EXIT if code else None)
    assert (end.failure.message if end.failure else None) == message


def test_a_result_that_is_no_json_names_its_type(harness: WorkerHarness) -> None:
    harness.module("m", "class Model: pass\ndef f(): return {'model': Model()}\n")
    failure = harness.call("m:f").failure
    assert failure is not None
    assert failure.type == "BadResult"
    assert "m.Model" in failure.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nowhere:f", "nowhere"),
        ("m:absent", "absent"),
        ("m:NUMBER", "int"),
        ("broken:f", "SyntaxError"),
        ("raising:f", "at import"),
    ],
)
def test_what_cannot_be_imported_is_cause_start(harness: WorkerHarness, name: str, text: str) -> None:
    harness.module("m", "NUMBER = 1\n")
    harness.module("broken", "def f(:\n")
    harness.module("raising", "raise RuntimeError('at import')\n")
    end = harness.call(name)
    assert (end.state, end.cause) == (State.FAILED, Cause.START)
    assert end.failure is not None
    assert text in end.failure.message


@pytest.mark.parametrize(
    ("body", "cause", "code", "number"),
    [
        ("os._exit(3)", Cause.EXIT, 3, None),
        ("os._exit(0)", Cause.EXIT, 0, None),
        ("os.kill(os.getpid(), 9)", Cause.SIGNAL, None, 9),
        ("ctypes.string_at(0)", Cause.SIGNAL, None, signal.SIGSEGV),
    ],
)
def test_a_call_that_takes_its_process_down_takes_nothing_else(
    harness: WorkerHarness, body: str, cause: Cause, code: int | None, number: int | None
) -> None:
    harness.module(
        "m", f"import os, ctypes\ndef f(n):\n    print('in', n, flush=True)\n    if n == 103: {body}\n    return n\n"
    )
    recipe = harness.recipe(Step("main", call="m:f", args={"n": "${job.id}"}))
    work = [harness.make(recipe) for _ in range(6)]
    harness.give(*work)
    harness.until(lambda: len(harness.ends()) == len(work))
    ends = [harness.ends()[one.token] for one in work]
    assert [end.state for end in ends] == [State.COMPLETED] * 2 + [State.FAILED] + [State.COMPLETED] * 3
    assert (ends[2].cause, ends[2].exit_code, ends[2].signal) == (cause, code, number)
    assert [harness.log(one) for one in work] == [f"in {one.job}\n" for one in work]
    assert len({record.pid for record in harness.all(Started)}) == 2


def test_a_call_over_its_limit_is_killed_and_the_next_one_runs(harness: WorkerHarness) -> None:
    harness.module("m", "import time\ndef f(s): time.sleep(s); return s\n")
    recipe = harness.recipe(Step("main", call="m:f", args={"s": "${matrix.s}"}), time=0.6)
    work = [harness.make(recipe, binding={"s": s}) for s in (0.0, 600, 0.25)]
    harness.give(*work)
    ends = [harness.end_of(one) for one in work]
    assert [end.cause for end in ends] == [None, Cause.TIMEOUT, None]
    assert ends[1].failure is not None
    assert "0.6 s" in ends[1].failure.message


def test_code_that_changed_within_the_same_second_is_not_run_in_its_old_form(harness: WorkerHarness) -> None:
    path = harness.project / "m.py"
    harness.module("m", "def f(): return 1\n")
    stat = path.stat()
    assert harness.call("m:f").result == "1"
    harness.module("m", "def f(): return 2\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert harness.call("m:f").result == "2"


def test_compiled_code_of_the_same_second_is_not_trusted(harness: WorkerHarness) -> None:
    import py_compile

    path = harness.project / "m.py"
    harness.module("m", "def f(): return 1\n")
    py_compile.compile(str(path))
    stat = path.stat()
    harness.module("m", "def f(): return 2\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert harness.call("m:f").result == "2"


def test_a_module_that_a_module_imports_counts_too_and_one_that_is_new_is_found(harness: WorkerHarness) -> None:
    harness.module("m", "import part\ndef f(): return part.VALUE\n")
    assert harness.call("m:f").cause == Cause.START
    harness.module("part", "VALUE = 1\n")
    assert harness.call("m:f").result == "1"
    harness.module("part", "VALUE = 2\n")
    assert harness.call("m:f").result == "2"


def test_a_call_that_changes_its_own_module_is_the_last_of_the_old_code(harness: WorkerHarness) -> None:
    harness.module(
        "m",
        "VALUE = 1\n"
        "def f():\n"
        "    text = open('m.py').read()\n"
        "    open('m.py', 'w').write(text.replace('VALUE = 1', 'VALUE = 22'))\n"
        "    return VALUE\n",
    )
    recipe = harness.recipe(Step("main", call="m:f"))
    work = [harness.make(recipe) for _ in range(3)]
    harness.give(*work)
    assert [harness.end_of(one).result for one in work] == ["1", "22", "22"]


def test_output_of_calls_is_kept_apart_also_what_c_and_children_print(harness: WorkerHarness) -> None:
    harness.module(
        "m",
        "import ctypes, subprocess, sys\n"
        "def f(n):\n"
        "    if n % 3 == 0: return\n"
        "    print('py', n)\n"
        "    ctypes.CDLL(None).printf(b'c %d\\n', n)\n"
        "    sys.stdout.flush()\n"
        "    if n % 3 == 1: subprocess.run(['echo', 'child', str(n)])\n",
    )
    recipe = harness.recipe(Step("main", call="m:f", args={"n": "${job.id}"}))
    work = [harness.make(recipe) for _ in range(12)]
    harness.give(*work)
    harness.until(lambda: len(harness.ends()) == len(work))
    for one in work:
        lines = sorted((harness.log(one) or "").split("\n"))
        child = [f"child {one.job}"] if one.job % 3 == 1 else []
        assert lines == ([""] if one.job % 3 == 0 else ["", f"c {one.job}", *child, f"py {one.job}"])


def test_what_a_call_leaves_running_is_killed_and_a_fresh_process_takes_over(
    harness: WorkerHarness, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    harness.module(
        "m",
        "import os, subprocess\n"
        "def f(path):\n"
        "    child = subprocess.Popen(['setsid', 'sleep', '600'])\n"
        "    open(path, 'w').write(f'{child.pid}\\n')\n"
        "    child.returncode = 0\n"
        "    return os.getpid()\n"
        "def g(): import os; return os.getpid()\n",
    )
    first = harness.call("m:f", {"path": str(pid_file)})
    second = harness.call("m:g")
    assert first.state == State.COMPLETED
    assert first.result != second.result
    pid = pid_in(pid_file)
    assert pid is not None
    assert not alive(pid)


def test_a_warm_process_serves_many(harness: WorkerHarness) -> None:
    harness.module("m", "import os\ndef g(): return os.getpid()\n")
    assert harness.call("m:g").result == harness.call("m:g").result


def test_missing_inputs_and_outputs_count_for_calls_too(harness: WorkerHarness) -> None:
    harness.module("m", "def f(): open('ran', 'w')\n")
    assert harness.call("m:f", inputs={"raw": "nope.csv"}).cause == Cause.MISSING_INPUT
    assert not (harness.project / "ran").exists()
    end = harness.call("m:f", outputs={"o": "never"})
    assert (end.cause, end.state) == (Cause.MISSING_OUTPUT, State.FAILED)


def test_calls_and_commands_mix_as_steps(harness: WorkerHarness) -> None:
    harness.module("m", "def f(ctx, n):\n    print('step', ctx.step)\n    return {'n': n + 1}\n")
    end = harness.run(
        Step("a", call="m:f", args={"n": 1}),
        Step("b", run="echo ${steps.a.result.n} | tee $REKINDLE_RESULT"),
        Step("c", call="m:f", args={"n": "${steps.b.result}"}),
    )
    assert end.result == '{"n":3}'
    logs = [Path(f"{harness.store}/attempts/00/1.{n}.out").read_text() for n in range(3)]
    assert logs == ["step a\n", "2\n", "step c\n"]
    assert not (harness.store / "attempts" / "00" / "1").exists()


def test_a_call_step_that_dies_or_takes_too_long_is_told(harness: WorkerHarness) -> None:
    harness.module(
        "m", "import os, time\ndef die(): print('x', flush=True); os._exit(5)\ndef hang(): time.sleep(600)\n"
    )
    end = harness.run(Step("a", run="/bin/true"), Step("b", call="m:die"))
    assert (end.cause, end.exit_code, end.steps[0].position) == (Cause.EXIT, 5, 1)
    assert Path(f"{harness.store}/attempts/00/1.1.out").read_text() == "x\n"
    end = harness.run(Step("a", run="/bin/true"), Step("b", call="m:hang"), time=0.4)
    assert (end.cause, end.steps[0].position) == (Cause.TIMEOUT, 1)


def test_code_that_changes_between_two_steps_is_run_in_its_new_form(harness: WorkerHarness) -> None:
    harness.module("m", "def f(): return 1\n")
    end = harness.run(Step("a", call="m:f"), Step("edit", run="echo 'def f(): return 2' > m.py"), Step("b", call="m:f"))
    assert end.result == "2"


def test_a_decorated_function_gets_ctx_when_what_it_wraps_names_it(harness: WorkerHarness) -> None:
    harness.module(
        "m",
        "import functools\n"
        "def deco(g):\n"
        "    @functools.wraps(g)\n"
        "    def wrapper(*args, **kwargs): return g(*args, **kwargs)\n"
        "    return wrapper\n"
        "@deco\n"
        "def f(ctx): return ctx.job\n",
    )
    assert harness.call("m:f").result == "101"


def test_an_installed_package_that_changes_is_noticed_within_a_second_or_so(harness: WorkerHarness) -> None:
    packages = harness.project / "site-packages"
    packages.mkdir()
    (packages / "installed.py").write_text("VALUE = 1\n")
    harness.module(
        "m", "import sys\nsys.path.append('site-packages')\nimport installed\ndef f(): return installed.VALUE\n"
    )
    assert harness.call("m:f").result == "1"
    (packages / "installed.py").write_text("VALUE = 234\n")
    harness.until(lambda: harness.call("m:f").result == "234")
