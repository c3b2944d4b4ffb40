"""Functions typed in a notebook or a spec are held as source, run by workers, and make jobs stale when they change."""

from __future__ import annotations

import subprocess
import sys

import pytest

from project_folder import Project

START = """
from rekindle import Client, RekindleError, Workflow
import math
K = 3
client = Client()
def attempt(run):
    try:
        run()
    except RekindleError as error:
        print("refused:", error)

"""
AREA = '''
def area(r: float, ctx):
    """Return twice the area."""
    import math
    from helper import twice
    if r > 2:
        raise ValueError(f"too big: {r}")
    return twice(math.floor(math.pi * r * r)) + len(ctx.params)

'''
RUN = """
w = Workflow("typed")
w.job("a", call=area, args={"r": "${matrix.r}"}, matrix={"r": [1, 2]})
print("ran:", w.run(jobs=1).completed)
print("results:", [one.result for one in client.attempts(live=True)])
"""
HELPER = "def twice(x):\n    return 2 * x\n"


def typed(project: Project, *cells: str) -> list[str]:
    """Type cells into IPython, and return the lines that they print."""
    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor", "--quick"]
    text = "".join(f"{cell.strip()}\n\n" for part in cells for cell in part.split("\n\n"))
    done = subprocess.run(
        command,
        input=text,
        cwd=project.folder,
        env=project.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    words = ("ran:", "results:", "refused:", "stale:", "traceback:")
    lines = [line.rpartition("]: ")[2] for line in done.stdout.splitlines()]
    return [line for line in lines if line.startswith(words)] or [done.stdout, done.stderr]


def test_a_self_contained_function_runs_and_is_stale_by_its_source_and_imports(project: Project) -> None:
    project.write("helper.py", HELPER)
    why = 'print("stale:", [one.stale for one in client.why(client.selection(all=True))])\n'
    changed = "from pathlib import Path\nn = Path('helper.py').write_text('def twice(x):\\n    return 3 * x\\n')\n"
    other = AREA.replace("2 * ", "4 * ").replace("math.pi * r", "math.pi * 10 * r")
    lines = typed(project, START, AREA, RUN, RUN, changed, why, RUN, other, RUN)
    assert lines == [
        "ran: 2",
        "results: [6, 24]",
        "ran: 0",
        "results: [6, 24]",
        "stale: [True, True]",
        "ran: 2",
        "results: [9, 36]",
        "ran: 2",
        "results: [93, 375]",
    ]
    shown = project.rekindle("workflows", "show", "typed").stdout
    assert "call area (source)" in shown
    assert "function area (source)" in project.rekindle("why", "--all").stdout


def test_a_traceback_shows_the_source(project: Project) -> None:
    project.write("helper.py", HELPER)
    body = 'print("traceback:", client.attempts()[0].error.traceback.replace(chr(10), "|"))\n'
    lines = typed(project, START, AREA, RUN.replace("[1, 2]", "[3]"), body)
    assert 'File "<area>", line 6, in area|    raise ValueError(f"too big: {r}")|' in lines[-1]


REACHES = {
    "def f(x):\n    return x * K + math.pi": "f uses what is defined outside of it: K, math",
    "def f(x=K):\n    return x": "f uses what is defined outside of it: K",
    "def f():\n    return display(1)": "f uses what is defined outside of it: display",
    "def f():\n    return [g(i) for i in range(3)]": "f uses what is defined outside of it: g",
}


@pytest.mark.parametrize("text", REACHES)
def test_a_function_that_reaches_outside_is_refused_with_the_names(text: str, project: Project) -> None:
    lines = typed(project, START, f"{text}\n\n", 'attempt(lambda: Workflow("w").job("a", call=f))\n')
    assert lines[0].startswith(f"refused: f was typed, and cannot be taken by its source: {REACHES[text]} (import or ")


def test_a_function_without_a_known_source_is_refused(project: Project) -> None:
    code = "exec('def f():\\n    return 1')\nfrom rekindle import Workflow\nWorkflow('w').job('a', call=f)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project.folder, env=project.env, capture_output=True, text=True, check=False
    )
    assert "f was typed, is in no file, and its source is not known (type it in IPython, or define it" in done.stderr


def test_a_spec_takes_the_source_of_a_function(project: Project) -> None:
    project.spec(
        "name: s\n"
        "jobs:\n"
        "  a:\n"
        "    matrix: {seed: [1, 2]}\n"
        "    call: |\n"
        "      def score(seed: int) -> dict[str, int]:\n"
        "          return {'score': seed * 2}\n"
        "    args: {seed: '${matrix.seed}'}\n"
    )
    project.rekindle("run", "spec.yaml")
    assert [one["result"] for one in project.attempts()] == [{"score": 2}, {"score": 4}]
    project.spec("name: s\njobs:\n  a:\n    call: |\n      def score(x):\n          return K * x\n")
    refused = project.rekindle("run", "spec.yaml", expect=1)
    assert "spec.yaml:4:11: score uses what is defined outside of it: K" in refused.stderr
