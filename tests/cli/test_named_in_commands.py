"""An edit of a file that a command names makes the job stale."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_shell import Shell

from made_once import made_once

NAMED = " (named in the command)"

PROGRAMS = {  # job: (its command, the file that is edited)
    "python": ("python3 mean.py ${inputs.i} > ${outputs.o}", "mean.py"),
    "options": ("python3 -u -W ignore plain", "plain"),
    "module": ("python3 -m pkg.mod", "pkg/mod.py"),
    "list": ('["python3", "vector", "x"]', "vector"),
    "direct": ("./run.sh", "run.sh"),
    "nested": ("bash -c 'cd deep && sh inner'", "deep/inner"),
    "sourced": (". ./lib && true", "lib"),
    "quoted": ("true; sh \"with space\"", "with space"),
    "piped": ("echo 1 | A=1 timeout 9s sh filter", "filter"),
    "looped": ("for i in 1 2; do sh body $i; done", "body"),
    "inside": ("x=$(sh called) && echo $x", "called"),
    "awk": ("awk -f prog.awk /dev/null", "prog.awk"),
    "sed": ("sed -n -f edits /dev/null", "edits"),
    "make": ("make -s -f build || true", "build"),
    "absent": ("Rscript fit || true", "fit"),
    "suffix": ("cat query.sql", "query.sql"),
    "param": ("sh ${params.script}", "parameter"),
    "absolute": ("sh {folder}/absolute", "absolute"),
    "linked": ("sh link", "target"),
    "conf": ("cat conf.ini", "conf.ini"),
    "sign": ("echo --config=sign.ini", "sign.ini"),
    "read": ("cat < stdin", "stdin"),
    "on_path": ("tool x", "bin/tool"),
    "path_set": ("PATH=.:$PATH helper", "helper"),
    "env_folder": ("env -C deep cat two.txt", "deep/two.txt"),
    "make_folder": ("make -sCdeep || true", "deep/Makefile"),
    "make_both": ("make -s -C deep -f goals2 || true", "deep/goals2"),
    "make_several": ("make -sfgoals || true", "goals"),
    "created": ("cat later.ini 2> /dev/null || true", "later.ini"),
}  # fmt: skip


def states(shell: Shell, *words: str) -> dict[str, Any]:
    return {one["name"]: one for one in shell("why", "-w", "w", *words, "--json").json["jobs"]}


def words_of(shell: Shell) -> dict[str, str]:
    return {name: one["verdict"] for name, one in states(shell).items()}


def test_a_program_or_file_that_a_command_names_makes_it_stale_when_it_changes(shell: Shell) -> None:
    for name in ("pkg", "deep", "bin"):
        (shell.folder / name).mkdir()
    for _, file in PROGRAMS.values():
        if file not in ("later.ini",):
            (shell.folder / file).write_text("#!/bin/sh\n" if file in ("run.sh", "bin/tool", "helper") else "")
    for name in ("run.sh", "bin/tool", "helper"):
        (shell.folder / name).chmod(0o755)
    (shell.folder / "link").symlink_to("target")
    shell.write("1", "in.txt")
    jobs = "".join(
        f"  {name}:\n    run: {command.replace('{folder}', str(shell.folder))}\n"
        if command.startswith("[")
        else f"  {name}:\n    run: |-\n      {command.replace('{folder}', str(shell.folder))}\n"
        for name, (command, _) in PROGRAMS.items()
    )
    jobs = jobs.replace("  options:", "    inputs: {i: in.txt}\n    outputs: {o: mean}\n  options:")
    shell.write(f"name: w\nparams: {{script: parameter}}\nenv: {{PATH: 'bin:${{env.PATH}}'}}\njobs:\n{jobs}")
    assert shell("run", "spec.yaml", "-j", "2").code == 0
    assert {name: word for name, word in words_of(shell).items() if word != "current"} == {"created": "unknown"}
    said = shell("why", "python").out
    assert "current: equal to what it ran with:" in said
    assert f"mean.py{NAMED}, output o" in said
    for _, file in PROGRAMS.values():
        (shell.folder / file).write_text("true #\n" if file != "prog.awk" else "BEGIN {}\n")
    found = states(shell)
    assert {name: one["verdict"] for name, one in found.items() if one["verdict"] != "stale"} == {}
    for name, (_, file) in PROGRAMS.items():
        [reason] = found[name]["reasons"]
        assert (reason["kind"], reason["implicit"]) == ("input", True), name
        assert reason["path"] == str(shell.folder / ("link" if name == "linked" else file)), name
    assert f"mean.py{NAMED}: changed" in shell("why", "python").out
    assert f"later.ini{NAMED}: new" in shell("why", "created").out
    (shell.folder / "mean.py").unlink()
    assert f"mean.py{NAMED}: missing" in shell("why", "python").out


SPEC = """\
name: w
jobs:
  a: {run: "python3 prog.py > ${outputs.o}", outputs: {o: a.txt}}
  b: {run: "cat ${inputs.a} > ${outputs.o}", inputs: {a: a.txt}, outputs: {o: b.txt}}
"""


@pytest.fixture
@made_once
def pair(shell: Shell) -> Shell:
    shell.write("print(1)\n", "prog.py")
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 0
    return shell


def test_what_is_stale_for_its_program_runs_again_and_is_current(pair: Shell) -> None:
    pair.write("print(2)\n", "prog.py")
    assert pair("run", "spec.yaml").code in (0, 1)  # with and without rerunning stale jobs
    assert pair("rerun", "-w", "w", "--changed", "--yes", "--work").code == 0
    assert (pair.folder / "b.txt").read_text() == "2\n"
    assert words_of(pair) == {"a": "current", "b": "current"}
    assert pair("restart", "w", "--yes").out.startswith("nothing to restart")


def test_the_change_of_a_program_can_be_accepted(pair: Shell) -> None:
    pair.write("print(1)  # as before\n", "prog.py")
    assert pair("accept", "a").code == 0
    assert words_of(pair) == {"a": "current", "b": "current"}
    pair.write("print(3)\n", "prog.py")
    assert words_of(pair) == {"a": "stale", "b": "upstream"}


def test_an_accepted_command_is_measured_by_the_files_that_it_names(pair: Shell) -> None:
    pair.write("print(1)\n", "other.py")
    pair.write(SPEC.replace("prog.py", "other.py"))
    (pair.folder / "prog.py").unlink()
    assert pair("submit", "spec.yaml").code == 0
    assert pair("accept", "a").code == 0
    assert words_of(pair) == {"a": "current", "b": "current"}
    pair.write("print(4)\n", "other.py")
    [reason] = states(pair)["a"]["reasons"]
    assert reason["name"] == "other.py"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: {", "a: {implicit_inputs: false, "),
        ("jobs:", "defaults: {implicit_inputs: false}\njobs:"),
        ("jobs:", "implicit_inputs: false\njobs:"),
    ],
)
def test_implicit_inputs_can_be_switched_off(pair: Shell, before: str, after: str) -> None:
    pair.write(SPEC.replace(before, after, 1))
    assert pair("submit", "spec.yaml").code == 0
    assert words_of(pair) == {"a": "current", "b": "current"}  # the key is no change of the definition
    pair.write("print(2)\n", "prog.py")
    assert words_of(pair) == {"a": "current", "b": "current"}
    assert pair("rerun", "a", "--yes", "--work").code == 0
    listed = pair("attempts", "show", "3", "--json").json["inputs"]
    assert listed == []


def test_a_job_can_have_implicit_inputs_where_all_others_have_none(shell: Shell) -> None:
    shell.write("1", "f.txt")
    shell.write(
        """\
        name: w
        implicit_inputs: false
        jobs:
          a: {run: "cat f.txt"}
          b: {run: "cat f.txt", implicit_inputs: true}
        """
    )
    assert shell("run", "spec.yaml").code == 0
    assert words_of(shell) == {"a": "unknown", "b": "current"}
    shell.write("name: v\njobs: {a: {run: x, implicit_inputs: perhaps}}", "bad.yaml")
    done = shell("submit", "bad.yaml")
    assert done.code != 0
    assert "`implicit_inputs` must be true or false" in done.err


def test_files_that_some_job_writes_are_only_mentioned(shell: Shell) -> None:
    shell.write("0\n", "state.txt")
    shell.write("0\n", "hidden.txt")
    shell.write("open('hidden.txt', 'a').write('more')\n", "hider.py")
    shell.write(
        """\
        name: w
        jobs:
          reader: {run: "cat state.txt declared.txt sub/in hidden.txt"}
          appender: {run: "echo 1 >> state.txt", needs: [reader]}
          declarer:
            {run: "date > sub/in; date > declared.txt", needs: [reader], outputs: {o: declared.txt, s: sub}}
          hider: {run: "python3 hider.py", needs: [reader]}
          own: {run: "echo x > log.txt; echo y | tee -a tee.txt; cp log.txt copy.txt"}
        """
    )
    for name in ("declared.txt", "sub"):
        (shell.folder / name).mkdir() if name == "sub" else shell.write("0", name)
    shell.write("0", "sub/in")
    assert shell("run", "spec.yaml").code == 0
    found = states(shell)
    assert found["reader"]["reasons"] == []
    mentioned = {one["name"] for one in found["reader"]["mentioned"]}
    assert mentioned == {"state.txt", "declared.txt", "sub/in"}
    assert {one["name"] for one in found["own"]["mentioned"]} == {"log.txt", "tee.txt", "copy.txt"}
    assert "not compared, because a job writes it: log.txt" in shell("why", "own").out
    assert found["own"]["verdict"] == "unknown"
    shell.write("other", "log.txt")
    assert words_of(shell)["own"] == "unknown"
    listed = shell("attempts", "show", "2", "--json").json["inputs"]
    assert all(one["implicit"] for one in listed)


def test_a_program_that_another_job_writes_is_compared(shell: Shell) -> None:
    shell.write("1", "n.txt")
    shell.write(
        """\
        name: w
        jobs:
          gen: {run: "echo 'echo '$(cat n.txt) > made.sh", outputs: {o: made.sh}}
          use: {run: "sh made.sh", needs: [gen]}
        """
    )
    assert shell("run", "spec.yaml").code == 0
    shell.write("echo 2", "made.sh")
    assert [one["name"] for one in states(shell)["use"]["reasons"]] == ["made.sh"]


@pytest.mark.parametrize(
    "command",
    [
        "cp prog.c prog; chmod +x prog; ./prog",
        "cat prog.c > built.sh && sh built.sh",
        "sh prog.c; cp prog.c copied.py; cat copied.py",
        "sed -i s/nothing/else/ prog.c; sh prog.c",
    ],
)
def test_what_a_command_makes_and_uses_itself_does_not_make_it_stale(shell: Shell, command: str) -> None:
    shell.write("#!/bin/sh\n", "prog.c")
    shell.write(f"name: w\njobs:\n  a: {{run: {command!r}}}\n")
    assert shell("run", "spec.yaml").code == 0
    assert words_of(shell) == {"a": "current"}
    shell.write("#!/bin/sh\n# edited\n", "prog.c")
    assert words_of(shell) == {"a": "stale"}
    assert shell("rerun", "a", "--yes", "--work").code == 0
    assert words_of(shell) == {"a": "current"}


def test_what_an_earlier_step_makes_does_not_make_it_stale(shell: Shell) -> None:
    shell.write("#!/bin/sh\n", "prog.c")
    build, use = '{name: build, run: "cp prog.c prog; chmod +x prog"}', "{name: use, run: ./prog}"
    shell.write(f"name: w\njobs: {{a: {{steps: [{build}, {use}]}}}}")
    assert shell("run", "spec.yaml").code == 0
    shell.write("#!/bin/sh\n# edited\n", "prog.c")
    assert shell("rerun", "a", "--yes", "--work").code == 0
    assert words_of(shell) == {"a": "current"}


def test_a_program_that_is_edited_while_it_runs_is_stale(shell: Shell) -> None:
    shell.write("import pathlib; p = pathlib.Path('prog.py'); p.write_text(p.read_text() + '#')\n", "prog.py")
    shell.write("name: w\njobs: {a: {run: python3 prog.py}}")
    assert shell("run", "spec.yaml").code == 1  # the job is stale at once
    assert words_of(shell) == {"a": "stale"}


def test_a_step_that_is_kept_counts_with_the_program_it_ran(shell: Shell) -> None:
    for name in ("one", "two"):
        shell.write("true\n", name)
    shell.write("name: w\njobs: {a: {steps: [{name: one, run: sh one}, {name: two, run: sh two && test -e mende?}]}}")
    assert shell("run", "spec.yaml").code == 2
    for name in ("mended", "one", "two"):
        shell.write("true # now\n", name)
    assert shell("rerun", "a", "--from", "failed-step", "--yes", "--work").code == 0
    assert [one["name"] for one in states(shell)["a"]["reasons"]] == ["one"]


def test_fan_outs_and_own_folders_name_programs_too(shell: Shell) -> None:
    for name in ("items", "each", "x.sh", "y.sh", "own.py"):
        shell.write("true\n" if name != "own.py" else "", name)
    shell.write(
        f"""\
        name: w
        jobs:
          finder: {{steps: [{{name: p, each: {{run: sh items}}, run: "echo ${{item}}"}}]}}
          runner: {{steps: [{{name: p, each: [1, 2], run: "sh each ${{item}}"}}]}}
          item: {{steps: [{{name: p, each: "*.sh", run: "sh ${{item}}"}}]}}
          own: {{workdir: attempt, run: "python3 {shell.folder}/own.py"}}
          far: {{workdir: attempt, run: "python3 own.py || true"}}
        """
    )
    assert shell("run", "spec.yaml").code == 0
    assert words_of(shell) == dict.fromkeys(("finder", "runner", "item", "own"), "current") | {"far": "unknown"}
    for name in ("items", "each", "y.sh", "own.py"):
        shell.write("true # 2\n" if name != "own.py" else "# 2\n", name)
    found = states(shell)
    edited = {name: [one["path"] for one in job["reasons"] if one["kind"] == "input"] for name, job in found.items()}
    expected = {"finder": ["items"], "runner": ["each"], "item": ["y.sh", "*.sh"], "own": ["own.py"], "far": []}
    assert edited == {name: [str(shell.folder / one) for one in files] for name, files in expected.items()}
    assert found["far"]["verdict"] == "unknown"


def test_two_attempts_are_compared_by_the_files_they_named(pair: Shell) -> None:
    pair.write("print(2)\n", "prog.py")
    assert pair("rerun", "a", "--yes", "--work").code == 0
    [found] = [one for one in pair("attempts", "diff", "1", "3", "--json").json["differences"] if "implicit" in one]
    assert (found["field"], found["implicit"]) == ("named.prog.py", True)
    assert f"prog.py{NAMED}" in pair("attempts", "diff", "1", "3").out
    assert f"prog.py{NAMED}: " in pair("attempts", "show", "1").out


def test_one_word_for_one_state(shell: Shell) -> None:
    shell.write("def f(): return None\n", "mod.py")
    shell.write(
        """\
        name: w
        jobs:
          outputs: {run: "echo 1 > ${outputs.o}", outputs: {o: o.txt}}
          call: {call: "mod:f"}
          bare: {run: "echo ${job.name}"}
          below: {run: "true", needs: [bare]}
        """
    )
    assert shell("run", "spec.yaml").code == 0
    found = states(shell)
    assert {name: (one["verdict"], one["stale"]) for name, one in found.items()} == {
        "outputs": ("current", False),
        "call": ("current", False),
        "bare": ("unknown", None),
        "below": ("unknown", None),
    }
    assert [(one["kind"], one["name"]) for one in found["outputs"]["compared"]] == [
        ("definition", "command"),
        ("output", "o"),
    ]
    assert found["bare"]["compared"] == []
    assert "current: equal to what it ran with: command, output o" in shell("why", "outputs").out
    assert "unknown: nothing to compare: the job declares no inputs or outputs" in shell("why", "bare").out
    assert "2 current, 2 unknown" in shell("why", "-w", "w").out
    assert "2 jobs are unknown" in shell("rerun", "-w", "w", "--changed", "--yes").err
    assert "2 jobs are unknown" in shell("restart", "w", "--yes").err
    assert len(shell("restart", "w", "--yes", "--json").json["unknown"]) == 2


@pytest.mark.parametrize(
    "command",
    [
        "cat in/*.txt > all",
        "for f in in/*.txt; do cat $f; done > all",
        "cat in/[ab].* > all",
        "cat in/? in/*.txt > all || true",
        "bash -c 'cat in/*' > all",
        "cd in && cat *.txt > ../all",
    ],
)
def test_files_that_a_pattern_in_a_command_matches_make_it_stale(shell: Shell, command: str) -> None:
    (shell.folder / "in").mkdir()
    shell.write("1\n", "in/a.txt")
    shell.write(f"name: w\njobs:\n  j:\n    run: |-\n      {command}\n    outputs: {{o: all}}\n")
    assert shell("run", "spec.yaml").code == 0
    assert words_of(shell) == {"j": "current"}
    shell.write("2\n", "in/b.txt")
    assert f"{NAMED}: 1 new (" in shell("why", "j").out
    assert shell("run", "spec.yaml").code == 0
    assert (shell.folder / "all").read_text() == "1\n2\n"
    shell.write("3\n", "in/a.txt")
    assert f"{NAMED}: 1 changed (" in shell("why", "j").out
    assert shell("run", "spec.yaml").code == 0
    (shell.folder / "in/b.txt").unlink()
    assert f"{NAMED}: 1 gone (" in shell("why", "j").out
    assert shell("run", "spec.yaml").code == 0
    assert (shell.folder / "all").read_text() == "3\n"
    assert shell("run", "spec.yaml").err.endswith("nothing to run: 1 completed job, current\n")


def test_files_that_jobs_write_do_not_count_where_a_pattern_matches_them(shell: Shell) -> None:
    spec = """\
        name: w
        jobs:
          sim: {matrix: {s: [1, 2]}, run: "mkdir -p o; echo ${matrix.s} > ${outputs.o}", outputs: {o: "o/${matrix.s}"}}
          loose: {run: "mkdir -p p; echo 1 > p/x"}
          sum: {needs: ["sim*", loose], run: "cat o/* p/* > sum", outputs: {o: sum}}
          log: {run: "mkdir -p l; rm -f l/*; date +%N > l/$(date +%N); cat l/* > last; ls * > /dev/null"}
        """
    shell.write(spec)
    assert shell("run", "spec.yaml").code == 0
    assert "stale" not in words_of(shell).values()
    shell.write(spec.replace("[1, 2]", "[1, 2, 3]"))
    assert shell("run", "spec.yaml").code == 0
    assert (shell.folder / "sum").read_text() == "1\n2\n3\n1\n"
    assert "stale" not in words_of(shell).values()
    assert shell("rerun", "loose", "log", "--downstream", "none", "--yes", "--work").code == 0
    assert "stale" not in {name: word for name, word in words_of(shell).items() if name != "sum"}.values()


def test_a_pattern_in_a_command_can_be_accepted(shell: Shell) -> None:
    (shell.folder / "in").mkdir()
    shell.write("1\n", "in/a.txt")
    shell.write("name: w\njobs: {k: {run: 'cat in/*'}}\n")
    assert shell("run", "spec.yaml").code == 0
    shell.write("2\n", "in/b.txt")
    assert shell("accept", "k").code == 0
    assert words_of(shell) == {"k": "current"}
    shell.write("3\n", "in/b.txt")
    assert words_of(shell) == {"k": "stale"}


LITERAL = {
    "echo": '["echo", "*"]',
    "expr": "\"expr 2 '*' 3\"",
    "shell": "'expr 2 \"*\" 3 && echo \\* | cat'",
    "value": '"echo ${matrix.k} | cat"',
    "words": '"echo ${matrix.k}"',
    "find": "\"find . -name '*.txt' | cat\"",
    "grep": "\"grep -r --include='*.txt' 'x.*' in || true\"",
    "case": "'case a in *.txt|*) true;; esac'",
}  # fmt: skip


def test_pattern_characters_that_the_shell_does_not_expand_are_literal(shell: Shell) -> None:
    (shell.folder / "in").mkdir()
    matrix = ', matrix: {k: ["*"]}'
    jobs = "".join(
        f"  {name}: {{run: {command}{matrix if 'matrix' in command else ''}}}\n" for name, command in LITERAL.items()
    )
    shell.write(f"name: w\njobs:\n{jobs}")
    assert shell("run", "spec.yaml", "-j", "2").code == 0
    shell.write("1\n", "x.txt")
    shell.write("1\n", "in/x.txt")
    assert {name: word for name, word in words_of(shell).items() if word == "stale"} == {}


def test_a_literal_word_with_pattern_characters_names_the_file_of_that_name(shell: Shell) -> None:
    shell.write("1\n", "a[1]*.txt")
    shell.write("name: w\njobs: {a: {run: \"cat 'a[1]*.txt'\"}, b: {run: [cat, 'a[1]*.txt']}}\n")
    assert shell("run", "spec.yaml").code == 0
    shell.write("1\n", "a[1]2.txt")
    assert words_of(shell) == {"a": "current", "b": "current"}
    shell.write("2\n", "a[1]*.txt")
    assert f"a[1]*.txt{NAMED}: changed" in shell("why", "a").out
    assert words_of(shell) == {"a": "stale", "b": "stale"}


@pytest.mark.parametrize(
    "command",
    ["echo $REKINDLE_INPUTS", "python3 -c 'import sys' $REKINDLE_INPUTS", "cat <<E\n$REKINDLE_INPUTS\nE\necho $DOC"],
)
def test_results_and_documents_in_variables_are_no_files_of_a_command(shell: Shell, command: str) -> None:
    run = json.dumps(command)
    shell.write(
        f"""\
name: w
env: {{DOC: '{{"a": [1, 2]}}'}}
jobs:
  p: {{run: 'echo "[1, 2]" > $REKINDLE_RESULT'}}
  c: {{needs: [p], run: {run}}}
"""
    )
    assert shell("run", "spec.yaml").code == 0
    assert "not compared" not in shell("why", "c").out
    attempt = shell("attempts", "list", "c", "--json").json["attempts"][0]["id"]
    assert shell("attempts", "show", str(attempt), "--json").json["inputs"] == []
