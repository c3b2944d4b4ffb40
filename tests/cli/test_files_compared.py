"""Comparison of files: content, patterns as inputs, and the items of fan-outs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from cli_shell import Done, Shell

from made_once import made_once

ONE = "name: s\njobs:\n  j: {run: 'cat cfg > o', inputs: {i: cfg}, outputs: {o: o}}\n"
AGES_AGO = 1_700_000_000


def put(path: Path, text: str) -> None:
    """Write a file whose modification time is always the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (AGES_AGO, AGES_AGO))


def reasons(shell: Shell, *jobs: str) -> list[dict]:
    """The reasons why jobs are stale."""
    return [reason for job in shell("why", *jobs, "--json").json["jobs"] for reason in job["reasons"]]


def words(shell: Shell, *jobs: str) -> list[str]:
    return [job["verdict"] for job in shell("why", *jobs, "--json").json["jobs"]]


def by_copying(folder: Path) -> None:
    put(folder / "other", "alpha=2\n")
    shutil.copy2(folder / "other", folder / "cfg")


def by_unpacking_into_the_same_inode(folder: Path) -> None:
    before = (folder / "cfg").stat().st_ino
    put(folder / "new" / "cfg", "alpha=2\n")
    with tarfile.open(folder / "new.tar", "w") as archive:
        archive.add(folder / "new" / "cfg", "cfg")
    with tarfile.open(folder / "new.tar") as archive, (folder / "cfg").open("r+b") as file:
        member = archive.extractfile("cfg")
        assert member is not None
        file.write(member.read())
    os.utime(folder / "cfg", (AGES_AGO, AGES_AGO))
    assert (folder / "cfg").stat().st_ino == before


@pytest.mark.parametrize("change", [by_copying, by_unpacking_into_the_same_inode])
def test_other_content_of_equal_size_and_mtime_is_a_change(shell: Shell, change) -> None:
    put(shell.folder / "cfg", "alpha=1\n")
    shell.write(ONE)
    assert shell("run", "spec.yaml").code == 0
    assert words(shell, "j") == ["current"]  # the digest is cached now
    change(shell.folder)
    assert [(one["kind"], one["name"]) for one in reasons(shell, "j")] == [("input", "i")]
    assert shell("rerun", "--changed", "--yes", "--work").code == 0
    assert (shell.folder / "o").read_text() == "alpha=2\n"
    assert words(shell, "j") == ["current"]


def test_an_output_of_equal_size_and_mtime_is_altered_too(shell: Shell) -> None:
    put(shell.folder / "cfg", "alpha=1\n")
    shell.write(ONE)
    assert shell("run", "spec.yaml").code == 0
    found = (shell.folder / "o").stat()
    (shell.folder / "o").write_text("alpha=9\n")
    os.utime(shell.folder / "o", ns=(found.st_atime_ns, found.st_mtime_ns))
    assert [(one["kind"], one["name"]) for one in reasons(shell, "j")] == [("output", "o")]


def test_other_permissions_and_names_of_a_file_are_no_change(shell: Shell) -> None:
    put(shell.folder / "cfg", "alpha=1\n")
    shell.write(ONE)
    assert shell("run", "spec.yaml").code == 0
    (shell.folder / "cfg").chmod(0o600)
    os.link(shell.folder / "cfg", shell.folder / "second")
    assert words(shell, "j") == ["current"]


def test_an_input_that_a_copy_replaces_meanwhile_is_unstable(shell: Shell) -> None:
    put(shell.folder / "cfg", "alpha=1\n")
    put(shell.folder / "v2", "alpha=2\n")
    put(shell.folder / "linked", "alpha=1\n")
    put(shell.folder / "timed", "alpha=1\n")
    shell.write("""\
        name: s
        jobs:
          j: {run: "cp -p v2 cfg", inputs: {i: cfg}}
          kept: {run: "chmod 600 linked; ln linked second", inputs: {i: linked}}
          timed: {run: "cp -p v2 timed", inputs: {i: {path: timed, by: mtime}}}
        """)
    assert shell("run", "spec.yaml").code == 1  # j is stale
    assert "unstable" in [one["kind"] for one in reasons(shell, "j")]
    assert "input i changed while it ran" in shell("why", "j").out
    assert words(shell, "kept", "timed") == ["current", "current"]


def test_undo_sees_another_output_of_equal_size_and_mtime(shell: Shell) -> None:
    shell.write("name: s\nparams: {v: 1}\njobs:\n  a: {run: 'echo v=${params.v} > o', outputs: {o: o}}\n")
    assert shell("run", "spec.yaml").code == 0
    before = (shell.folder / "o").stat()
    assert shell("rerun", "a", "--keep-outputs", "--yes").code == 0
    (shell.folder / "o").write_text("v=9\n")
    os.utime(shell.folder / "o", ns=(before.st_atime_ns, before.st_mtime_ns))
    done = shell("undo")
    assert done.code == 1
    assert f"{shell.folder}/o was written after the rerun" in done.err
    assert (shell.folder / "o").read_text() == "v=9\n"


def test_what_was_read_before_change_times_were_recorded_is_read_again(shell: Shell) -> None:
    put(shell.folder / "cfg", "alpha=1\n")
    shell.write(ONE)
    assert shell("run", "spec.yaml").code == 0
    assert words(shell, "j") == ["current"]
    with closing(sqlite3.connect(shell.folder / ".rekindle" / "store.db")) as store, store:
        store.execute("UPDATE file SET digest = 'of an earlier version', ctime_ns = 0")  # as the migration leaves them
    assert words(shell, "j") == ["current"]


GLOBS = """\
name: s
jobs:
  all: {run: "cat ${inputs.f} > ${outputs.o}", inputs: {f: "in/*.txt"}, outputs: {o: all}}
"""


@pytest.fixture
@made_once
def globs(shell: Shell) -> Shell:
    put(shell.folder / "in" / "a.txt", "a\n")
    put(shell.folder / "in" / "b c.txt", "b\n")
    shell.write(GLOBS)
    assert shell("run", "spec.yaml").code == 0
    return shell


def test_a_pattern_is_the_set_of_its_files(globs: Shell) -> None:
    assert (globs.folder / "all").read_text() == "a\nb\n"
    assert words(globs, "all") == ["current"]
    put(globs.folder / "in" / "c.txt", "c\n")
    (globs.folder / "in" / "b c.txt").unlink()
    put(globs.folder / "in" / "a.txt", "A\n")
    put(globs.folder / "in" / "d.csv", "d\n")
    [reason] = reasons(globs, "all")  # none of its files is listed separately
    assert (reason["kind"], reason["pattern"]) == ("input", "in/*.txt")
    assert (reason["new"], reason["gone"], reason["changed"]) == (["in/c.txt"], ["in/b c.txt"], ["in/a.txt"])
    assert "in/*.txt: 1 new (in/c.txt), 1 gone (in/b c.txt), 1 changed (in/a.txt)" in globs("why", "all").out
    assert globs("restart", "--yes", "--work").code == 0
    assert (globs.folder / "all").read_text() == "A\nc\n"
    assert words(globs, "all") == ["current"]


def test_what_a_job_writes_into_a_folder_of_its_pattern_does_not_count(shell: Shell) -> None:
    put(shell.folder / "in" / "s" / "a.txt", "a\n")
    shell.write("name: s\njobs:\n  a: {run: 'cp -r in/s/a.txt in/s/b', inputs: {f: 'in/*'}, outputs: {o: in/s/b}}\n")
    assert shell("run", "spec.yaml").code == 0
    assert words(shell, "a") == ["current"]
    put(shell.folder / "in" / "s" / "a.txt", "A\n")
    assert words(shell, "a") == ["stale"]


def test_a_renamed_file_of_a_pattern_is_a_change(globs: Shell) -> None:
    (globs.folder / "in" / "a.txt").rename(globs.folder / "in" / "z.txt")
    assert "in/*.txt: 1 new (in/z.txt), 1 gone (in/a.txt)" in globs("why", "all").out


def test_what_a_pattern_comes_to_can_be_accepted(globs: Shell) -> None:
    put(globs.folder / "in" / "c.txt", "c\n")
    assert globs("accept", "all").code == 0
    assert words(globs, "all") == ["current"]
    put(globs.folder / "in" / "c.txt", "C\n")
    assert "in/*.txt: 1 changed (in/c.txt)" in globs("why", "all").out


def test_a_pattern_without_files_is_a_missing_input(shell: Shell) -> None:
    shell.write(GLOBS)
    assert shell("run", "spec.yaml").code == 2
    [attempt] = shell("attempts", "list", "all", "--json").json["attempts"]
    assert (attempt["cause"], attempt["error"]["message"]) == ("missing_input", "missing input: f (in/*.txt)")
    refused = shell("restart")
    assert refused.code == 1
    assert "all reads" in refused.err
    assert "in/*.txt" in refused.err
    put(shell.folder / "in" / "a.txt", "a\n")
    assert "in/*.txt: 1 new (in/a.txt)" in shell("why", "all").out
    assert shell("restart", "--yes", "--work").code == 0


def test_an_optional_input_need_not_be_there(shell: Shell) -> None:
    shell.write("""\
        name: s
        jobs:
          set: {run: "ls ${inputs.f} > o", inputs: {f: {path: "in/*.txt", optional: true}}, outputs: {o: o}}
          one: {run: "test -e ${inputs.f} || echo none > p", inputs: {f: {path: cfg, optional: true}}}
        """)
    assert shell("run", "spec.yaml").code == 0
    assert words(shell, "set", "one") == ["current", "current"]
    assert "nothing to restart" in shell("restart").out
    put(shell.folder / "in" / "a.txt", "a\n")
    put(shell.folder / "cfg", "x\n")
    assert "in/*.txt: 1 new (in/a.txt)" in shell("why", "set").out
    assert "input f is there now" in shell("why", "one").out


def test_names_that_are_not_utf8_are_compared_too(shell: Shell) -> None:
    put(shell.folder / "in" / os.fsdecode(b"caf\xe9.txt"), "a\n")
    shell.write("""\
        name: s
        jobs:
          set: {run: "cat ${inputs.f} > ${outputs.o}", inputs: {f: "in/*.txt"}, outputs: {o: all}}
          folder: {run: "cp -r in copy", inputs: {f: in}, outputs: {o: copy}}
        """)
    assert shell("run", "spec.yaml").code == 0
    assert words(shell, "set", "folder") == ["current", "current"]
    put(shell.folder / "in" / os.fsdecode(b"caf\xe9.txt"), "b\n")
    assert words(shell, "set", "folder") == ["stale", "stale"]
    assert r"in/*.txt: 1 changed (in/caf\xe9.txt)" in shell("why", "set").out


def test_only_inputs_can_be_optional(shell: Shell) -> None:
    shell.write("name: s\njobs:\n  a: {run: x, outputs: {o: {path: o, optional: true}}}\n")
    done = shell("submit", "spec.yaml")
    assert done.code != 0
    assert "the file 'o' has no key 'optional' (known: path, by, over, temp)" in done.err


def test_a_file_of_the_patterns_name_is_that_file(shell: Shell) -> None:
    put(shell.folder / "a*b", "literal\n")
    put(shell.folder / "acb", "matches\n")
    shell.write("name: s\njobs:\n  a: {run: 'cat ${inputs.f} > o', inputs: {f: 'a*b'}, outputs: {o: o}}\n")
    assert shell("run", "spec.yaml").code == 0
    assert (shell.folder / "o").read_text() == "literal\n"
    put(shell.folder / "acb", "other\n")
    assert words(shell, "a") == ["current"]
    put(shell.folder / "a*b", "edited\n")
    assert words(shell, "a") == ["stale"]


def test_a_pattern_makes_edges_to_the_jobs_that_write_its_files(shell: Shell) -> None:
    shell.write("""\
        name: s
        jobs:
          all: {run: "cat ${inputs.f} > all", inputs: {f: "parts/*.t"}}
          deep: {run: "cat ${inputs.f} > deep", inputs: {f: "**/?.t"}}
          not: {run: "true", inputs: {f: {path: "*.t", optional: true}}}
          p:
            matrix: {i: [1, 2]}
            run: "mkdir -p parts/s; echo ${matrix.i} > ${outputs.o}; echo ${matrix.i} > ${outputs.d}"
            outputs: {o: "parts/${matrix.i}.t", d: "parts/s/${matrix.i}.t"}
        """)
    assert shell("run", "spec.yaml", "-j", "4").code == 0
    assert (shell.folder / "all").read_text() == "1\n2\n"
    assert (shell.folder / "deep").read_text() == "1\n2\n1\n2\n"
    needs = {one: shell("jobs", "show", one, "--json").json["needs"] for one in ("all", "deep", "not")}
    assert [len(found) for found in needs.values()] == [2, 2, 0]


def test_a_pattern_in_or_around_a_folder_that_a_job_writes_makes_an_edge(shell: Shell) -> None:
    shell.write("""\
        name: s
        jobs:
          within: {run: "cat ${inputs.f} > within", inputs: {f: "made/*.t"}}
          around: {run: "ls ${inputs.f} > around", inputs: {f: "mor*"}}
          maker: {run: "mkdir -p made more; echo 1 > made/a.t; echo 2 > more/a.t", outputs: {o: made, p: more/a.t}}
        """)
    assert shell("run", "spec.yaml", "-j", "4").code == 0
    assert (shell.folder / "within").read_text() == "1\n"
    assert (shell.folder / "around").read_text() == "a.t\n"


def test_what_a_job_writes_itself_is_no_part_of_its_pattern(shell: Shell) -> None:
    put(shell.folder / "d" / "1.q", "1\n")
    shell.write(
        "name: s\njobs:\n  a: {run: 'cat ${inputs.f} > d/all.q', inputs: {f: 'd/*.q'}, outputs: {o: d/all.q}}\n"
    )
    for _ in range(2):
        assert shell("run", "spec.yaml").code == 0
        assert words(shell, "a") == ["current"]
        assert shell("rerun", "a", "--yes", "--work").code == 0
        assert (shell.folder / "d" / "all.q").read_text() == "1\n"


@pytest.mark.parametrize(
    "run", ["cat x${inputs.f}", 'cat "${inputs.f}"', "cat < ${inputs.f}", "echo $(cat ${inputs.f})"]
)
def test_several_files_are_refused_where_they_are_not_words(globs: Shell, run: str) -> None:
    globs.write(GLOBS.replace('"cat ${inputs.f} > ${outputs.o}"', repr(f"{run} > ${{outputs.o}}")))
    assert globs("submit", "spec.yaml").code == 0
    assert globs("rerun", "all", "--yes", "--work").code == 2
    attempt = globs("attempts", "list", "all", "--json").json["attempts"][-1]
    assert "${inputs.f} stands for 2 files" in attempt["error"]["message"]


FAN_OUT = "name: s\njobs:\n  e: {steps: [{name: p, each: 'in/*.txt', run: 'cat ${item} >> seen'}]}\n"


@pytest.fixture
@made_once
def fan_out(shell: Shell) -> Shell:
    put(shell.folder / "in" / "a.txt", "a\n")
    put(shell.folder / "in" / "b.txt", "b\n")
    shell.write(FAN_OUT)
    assert shell("run", "spec.yaml").code == 0
    return shell


def test_a_fan_out_over_files_is_current_or_stale_never_unknown(fan_out: Shell) -> None:
    assert words(fan_out, "e") == ["current"]
    assert "current: equal to what it ran with: command, input in/*.txt" in fan_out("why", "e").out
    put(fan_out.folder / "in" / "c.txt", "c\n")
    put(fan_out.folder / "in" / "a.txt", "A\n")
    (fan_out.folder / "in" / "b.txt").unlink()
    [reason] = reasons(fan_out, "e")
    assert (reason["kind"], reason["name"], reason["items"]) == ("input", "p", True)
    assert reason["counts"] == {"new": 1, "gone": 1, "changed": 1}
    assert "items in/*.txt: 1 new (in/c.txt), 1 gone (in/b.txt), 1 changed (in/a.txt)" in fan_out("why", "e").out
    planned = [job["name"] for job in fan_out("restart", "--dry-run", "--json").json["jobs"]]
    assert planned == ["e"]
    assert fan_out("rerun", "--changed", "--yes", "--work").code == 0
    assert words(fan_out, "e") == ["current"]


def test_what_a_fan_out_comes_to_can_be_accepted(fan_out: Shell) -> None:
    put(fan_out.folder / "in" / "c.txt", "c\n")
    (fan_out.folder / "in" / "b.txt").unlink()
    assert fan_out("accept", "e").code == 0
    assert words(fan_out, "e") == ["current"]
    put(fan_out.folder / "in" / "c.txt", "C\n")
    assert "items in/*.txt: 1 changed (in/c.txt)" in fan_out("why", "e").out


def test_files_that_a_job_makes_itself_are_no_change(shell: Shell) -> None:
    put(shell.folder / "in" / "a.txt", "a\n")
    put(shell.folder / "todo" / "a.t", "a\n")
    shell.write("""\
        name: s
        jobs:
          cut:
            steps:
              - {name: cut, run: "mkdir -p cut; for i in 1 2; do echo $i > cut/$i.png; done"}
              - {name: p, each: "cut/*.png", run: "cp ${item} ${item}.out"}
              - {name: rest, run: "rm cut/1.png; echo 3 > cut/3.png"}
          beside:
            steps:
              - {name: p, each: "in/*.txt", run: "cat ${item}"}
              - {name: q, run: "cat in/*.txt > in/all.txt"}
          moves: {steps: [{name: p, each: "todo/*.t", run: "mv ${item} moved"}]}
        """)
    assert shell("run", "spec.yaml").code == 0
    assert words(shell, "cut", "beside", "moves") == ["current"] * 3
    assert "nothing to run" in shell("run", "spec.yaml").err
    put(shell.folder / "in" / "a.txt", "A\n")
    put(shell.folder / "cut" / "4.png", "4\n")
    put(shell.folder / "todo" / "a.t", "another\n")
    assert words(shell, "cut", "beside", "moves") == ["stale"] * 3
    assert "items cut/*.png: 1 new (cut/4.png)" in shell("why", "cut").out


def half_done(shell: Shell) -> Done:
    for name in "abc":
        put(shell.folder / "in" / f"{name}.txt", "ok\n")
    put(shell.folder / "in" / "d.txt", "bad\n")
    shell.write("name: s\njobs:\n  e: {steps: [{name: p, each: 'in/*.txt', run: 'grep ok ${item}'}]}\n")
    assert shell("run", "spec.yaml").code == 2
    put(shell.folder / "in" / "d.txt", "ok\n")
    put(shell.folder / "in" / "b.txt", "ok, edited\n")
    return shell("rerun", "e", "--from", "failed-step", "--dry-run")


def test_a_resume_names_the_items_it_keeps_whose_files_have_changed(shell: Shell) -> None:
    done = half_done(shell)
    assert done.code == 0
    assert "1 subtask, 3 kept" in done.out
    assert '1 item is kept in `p` of `e` although its file has changed ("in/b.txt")' in done.out + done.err
    assert "--subtasks all runs every item again" in done.out + done.err
    assert shell("rerun", "e", "--from", "failed-step", "--yes", "--work").code == 0
    assert "items in/*.txt: 1 changed (in/b.txt)" in shell("why", "e").out


def test_a_resume_of_all_items_warns_of_none(shell: Shell) -> None:
    half_done(shell)
    done = shell("rerun", "e", "--from", "failed-step", "--subtasks", "all", "--yes", "--work")
    assert done.code == 0
    assert "kept" not in done.out + done.err
    assert words(shell, "e") == ["current"]


def test_a_failed_fan_out_is_stale_when_a_complete_item_changed(shell: Shell) -> None:
    half_done(shell)
    [reason] = reasons(shell, "e")
    assert (reason["items"], reason["changed"], reason["new"]) == (True, ["in/b.txt"], [])
