"""Declared directories make edges: jobs that read a directory wait for the jobs that write into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_shell import Shell

SPEC = """\
name: s
jobs:
  reader: {{run: 'cat d/* > r', inputs: {{i: {inside}}}, outputs: {{o: r}}}}
  writer: {{run: 'mkdir -p d; echo $V > d/a', outputs: {{{outputs}}}, env: {{V: one}}}}
"""


@pytest.mark.parametrize(
    ("inside", "outputs"),
    [
        ("d/a", "o: d"),
        ("./d//a", "o: d/"),
        ("d/../d/a", "o: ./d"),
        ("d", "o: d/a"),
        ("d/.", "o: ./d/../d/a"),
        (".//d/", "o: d, p: d/a"),
    ],
)
def test_the_reader_waits_for_the_writer_and_follows_it(shell: Shell, inside: str, outputs: str) -> None:
    shell.write(SPEC.format(inside=inside, outputs=outputs))
    assert shell("run", "spec.yaml").code == 0
    assert Path("r").read_text() == "one\n"
    assert [one["name"] for one in shell("jobs", "show", "reader", "--json").json["needs"]] == ["writer"]
    shell.write(SPEC.format(inside=inside, outputs=outputs).replace("one", "two"))
    shell("submit", "spec.yaml")
    assert shell("restart", "--yes", "--work").code == 0
    assert Path("r").read_text() == "two\n"
    assert "current" in shell("why", "reader").out
    assert shell("restart", "--dry-run", "--json").json["jobs"] == []


def test_a_directory_is_read_after_all_that_write_into_it(shell: Shell) -> None:
    shell.write(
        """\
        name: s
        jobs:
          all: {run: 'cat runs/*/x > all', inputs: {i: runs}, outputs: {o: all}}
          one: {matrix: {i: [1, 2]}, run: 'cat runs/${matrix.i}/x', inputs: {i: 'runs/${matrix.i}'}}
          sim: {matrix: {i: [1, 2, 3]}, run: 'echo ${matrix.i} > ${outputs.o}', outputs: {o: 'runs/${matrix.i}/x'}}
          near: {run: 'touch runs2 runs.txt', outputs: {o: runs2, p: 'runs.txt'}}
        """
    )
    for number in "123":
        (shell.folder / "runs" / number).mkdir(parents=True)
    assert shell("run", "spec.yaml").code == 0
    assert Path("all").read_text() == "1\n2\n3\n"

    def needs(job: str) -> list[str]:
        return [one["name"] for one in shell("jobs", "show", job, "--json").json["needs"]]

    assert needs("all") == ["sim[i=1]", "sim[i=2]", "sim[i=3]"]
    assert needs("one[i=2]") == ["sim[i=2]"]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("d", "d/b", "jobs a and b both write d: d contains d/b"),
        ("d/x/../", "./d//b/c", "jobs a and b both write d: d contains d/b/c"),
        ("d/e/f", "d", "jobs b and a both write d: d contains d/e/f"),
    ],
)
def test_two_writers_of_which_one_contains_the_other_are_refused(shell: Shell, one: str, other: str, said: str) -> None:
    shell.write(f"name: s\njobs:\n  a: {{run: x, outputs: {{o: {one}}}}}\n  b: {{run: x, outputs: {{o: {other}}}}}\n")
    refused = shell("submit", "spec.yaml")
    assert refused.code == 1
    assert said in refused.err
    assert "every output has one writer" in refused.err
    assert not (shell.folder / ".rekindle").exists()


def test_a_matrix_that_writes_inside_another_job_s_directory_is_reported_once(shell: Shell) -> None:
    shell.write(
        "{name: s, jobs: {a: {run: x, outputs: {o: d}}, m: {matrix: {i: [1, 2, 3]}, run: x,"
        " outputs: {o: 'd/${matrix.i}'}}}}"
    )
    assert "jobs a and m[i=1] both write d: d contains d/1 (and 2 more)" in shell("submit", "spec.yaml").err


def test_a_job_may_nest_its_own_files_and_does_not_wait_for_itself(shell: Shell) -> None:
    shell.write(
        """\
        name: s
        jobs:
          a: {run: 'mkdir -p d/x; cat d/in > d/x/y', inputs: {i: d/in}, outputs: {o: d, p: d/x, q: d/x/y}}
          b: {run: 'cat d/x/y > b', inputs: {i: d/x/y}, outputs: {o: b}}
          c: {run: 'mkdir -p d; echo c > d/c', workdir: attempt, outputs: {o: d/c}}
        """
    )
    (shell.folder / "d").mkdir()
    shell.write("in", "d/in")
    assert shell("run", "spec.yaml").code == 0
    assert [one["name"] for one in shell("jobs", "show", "a", "--json").json["needed_by"]] == ["b"]
    assert shell("jobs", "show", "c", "--json").json["needs"] == []


def test_jobs_in_a_circle_of_directories_are_refused(shell: Shell) -> None:
    shell.write(
        "{name: s, jobs: {a: {run: x, inputs: {i: e/f}, outputs: {o: d}},"
        " b: {run: x, inputs: {i: d/x}, outputs: {o: e}}}}"
    )
    assert "in a cycle" in shell("submit", "spec.yaml").err


def test_a_job_that_a_running_job_adds_waits_for_what_writes_its_directory(shell: Shell) -> None:
    action = '{"add": [{"name": "extra", "run": "cat d/a > extra", "inputs": {"i": "d/a"}}]}'
    clash = '{"add": [{"name": "extra", "run": "true", "outputs": {"o": "d/b"}}]}'
    spec = """\
    name: s
    jobs:
      writer: {{needs: [adder], run: 'mkdir -p d; echo a > d/a', outputs: {{o: d}}}}
      adder: {{run: "echo '{action}' > $REKINDLE_ACTION"}}
    """
    shell.write(spec.format(action=action.replace('"', '\\"')))
    assert shell("run", "spec.yaml").code == 0
    assert Path("extra").read_text() == "a\n"
    shell.write(spec.format(action=clash.replace('"', '\\"')).replace("name: s", "name: t"), "t.yaml")
    assert shell("run", "t.yaml").code == 2
    failed = shell("attempts", "list", "-w", "t", "-n", "adder", "--json").json["attempts"]
    assert "both write d/b" in failed[0]["error"]["message"]


def test_what_a_job_writes_into_a_directory_that_it_reads_does_not_make_it_stale(shell: Shell) -> None:
    shell.write(
        """\
        name: s
        jobs:
          sum:
            run: 'mkdir -p d/n; cat d/a > d/n/sum; date +%N > d/log'
            inputs: {d: ./d/}
            outputs: {o: d//n/sum, l: d/log}
          in_place: {run: 'cat e/a > t; cat t >> e/a', inputs: {a: e/a}, outputs: {o: e}}
          failed: {run: 'date +%N > f/log; false', inputs: {d: f}, outputs: {o: f/log}}
        """
    )
    for folder in "def":
        (shell.folder / folder).mkdir()
        shell.write("1\n", f"{folder}/a")
    shell("run", "spec.yaml")

    def words() -> list[str]:
        return [job["verdict"] for job in shell("why", "--all", "--json").json["jobs"]]

    assert words() == ["current", "current", "failed"]
    shell.write("2\n", "d/n/new")
    assert "input d changed" in shell("why", "sum").out
    shell("accept", "sum")
    assert words() == ["current", "current", "failed"]
    for folder in "def":
        shell.write("2\n", f"{folder}/a")
    assert words() == ["stale", "stale", "stale"]


@pytest.mark.parametrize(
    ("pattern", "output"), [("run*/*.txt", "run1"), ("*/a.txt", "run1"), ("**/a.txt", "run1"), ("r*/*", "run1/a.txt")]
)
@pytest.mark.parametrize(
    "reads",
    ["inputs: {{i: '{0}'}}, run: 'cat run1/*.txt > r'", "steps: [{{name: p, each: '{0}', run: 'cat ${{item}} > r'}}]"],
)
def test_a_pattern_waits_for_the_directory_in_which_it_may_match(
    shell: Shell, pattern: str, output: str, reads: str
) -> None:
    spec = """\
        name: s
        jobs:
          reader: {READS, outputs: {o: r}}
          writer: {run: 'mkdir -p run1; sleep 0.1; echo one > run1/a.txt', outputs: {o: OUTPUT}}
        """
    spec = spec.replace("READS", reads.format(pattern)).replace("OUTPUT", output)
    shell.write(spec)
    assert shell("run", "spec.yaml", "-j", "2").code == 0
    shell.write(spec.replace("one", "two"))
    assert shell("run", "spec.yaml", "-j", "2").code == 0
    assert Path("r").read_text() == "two\n"
    assert "nothing to run" in shell("run", "spec.yaml").err


def test_a_symbolic_link_to_a_folder_is_that_folder(shell: Shell) -> None:
    Path("real").mkdir()
    Path("link").symlink_to("real")
    shell.write(
        "name: s\njobs:\n  reader: {run: cat link/a > r, inputs: {i: link/a}, outputs: {o: r}}\n"
        "  writer: {run: sleep 0.1; echo one > real/a, outputs: {o: real/a}}\n"
    )
    assert shell("run", "spec.yaml", "-j", "2").code == 0
    shell.write(
        "name: s\njobs:\n  x: {run: echo 1 > link/a, outputs: {o: link/a}}\n"
        "  y: {run: echo 2 > real/a, outputs: {o: real/a}}\n",
        "two.yaml",
    )
    assert "both write" in shell("submit", "two.yaml", "--as", "two").err


def test_the_store_is_no_part_of_a_folder_that_contains_it(shell: Shell) -> None:
    shell.write("1\n", "x")
    shell.write("name: s\njobs: {c: {run: cat x > oc, inputs: {i: .}, outputs: {o: oc}}}\n")
    assert shell("run", "spec.yaml").code == 0
    assert "nothing to run" in shell("run", "spec.yaml").err
    shell.write("2\n", "x")
    assert shell("run", "spec.yaml").code == 0
    assert Path("oc").read_text() == "2\n"


def test_an_output_cannot_be_a_pattern(shell: Shell) -> None:
    shell.write("name: s\njobs: {x: {run: touch d/b, outputs: {o: 'd/*'}}}\n")
    done = shell("submit", "spec.yaml")
    assert (done.code, "the output 'o' is a pattern: 'd/*'" in done.err) == (1, True)
