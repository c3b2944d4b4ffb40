"""What workers record of what attempts depend on: files, variables around them, modules; however they go and end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from harness import WorkerHarness

from rekindle.domain.changes.fingerprints import ABSENT, FileContent, FileFingerprints, FileRecord
from rekindle.domain.definition import Each, Step
from rekindle.domain.states import Cause, State
from rekindle.files.dependencies import interpreter
from rekindle.files.digests import digest_of, digest_of_mapping, text_digest
from rekindle.files.sources import CodeDigester as Files
from rekindle.files.sources import search_path
from rekindle.journal.records import RecordedCode

LONG_AGO = 1_700_000_000_123_456_789
LATER = 2**62
"""A time of reading by which every file has settled."""

ENDLESS = 200 * 2**30
"""Bytes of a file with nothing in it: it takes far longer to read than a test may last."""


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return path


def contents(*files: Path) -> tuple[FileContent, ...]:
    return tuple(FileContent(path.stem, str(path), digest_of(str(path))) for path in files)


def endless(path: Path) -> str:
    with path.open("wb") as file:
        file.truncate(ENDLESS)
    return path.name


def test_what_declares_nothing_records_its_programs_alone(harness: WorkerHarness) -> None:
    work = [harness.make(harness.recipe(Step("main", run="echo $HOME | cat"))) for _ in range(3)]
    harness.give(*work)
    ends = [harness.end_of(one) for one in work]
    (told,) = harness.all(RecordedCode)
    for end in ends:
        assert (end.state, end.prints, end.seen, end.code) == (State.COMPLETED, None, (), told.digest)
    programs = {"/bin/sh": "/bin/sh", "cat": shutil.which("cat") or ""}
    assert told.modules == {
        f"environment program {name}": f"{os.path.realpath(path)} {digest_of(path)}" for name, path in programs.items()
    }


def test_a_program_of_the_project_is_no_part_of_the_environment(harness: WorkerHarness) -> None:
    tool = put(harness.project / "tool", "#!/bin/sh\n")
    tool.chmod(0o755)
    assert harness.command("./tool").code is None


def test_a_program_is_found_by_the_path_of_the_attempt(harness: WorkerHarness) -> None:
    folder = harness.project.parent / "bin"
    put(folder / "tool", "#!/bin/sh\n").chmod(0o755)
    work = harness.make(harness.recipe(Step("main", run=("tool", "x")), env={"PATH": f"{folder}:${{env.PATH}}"}))
    harness.give(work)
    harness.end_of(work)
    (told,) = harness.all(RecordedCode)
    assert told.modules["environment program tool"].startswith(f"{(folder / 'tool').resolve()} ")


def test_inputs_and_outputs_are_recorded_by_content(harness: WorkerHarness) -> None:
    raw, folder = put(harness.project / "raw", "x"), harness.project / "folder"
    put(folder / "inner", "y")
    end = harness.command(
        "cat ${inputs.raw} > ${outputs.out}", inputs={"raw": "raw", "folder": "folder"}, outputs={"out": "out"}
    )
    assert end.prints == FileFingerprints(contents(raw, folder), contents(harness.project / "out"))
    seen = {Path(one.path).name: one.digest for one in end.seen}
    seen.pop("out", None)  # it is told where its time had settled by when it was read
    assert seen == {"raw": digest_of(str(raw)), "inner": digest_of(str(folder / "inner"))}


def test_what_failed_records_what_it_had(harness: WorkerHarness) -> None:
    raw = put(harness.project / "raw", "x")
    failed = harness.command("touch out; exit 3", inputs={"raw": "raw"}, outputs={"out": "out"})
    assert (failed.cause, failed.prints) == (Cause.EXIT, FileFingerprints(contents(raw)))
    without = harness.command("true", inputs={"raw": "raw"}, outputs={"out": "nothing"})
    assert (without.cause, without.prints) == (Cause.MISSING_OUTPUT, FileFingerprints(contents(raw)))


@pytest.mark.parametrize("step", [Step("main", run="true"), Step("main", call="os:getpid")])
def test_an_input_that_is_missing_is_recorded_so(harness: WorkerHarness, step: Step) -> None:
    put(harness.project / "raw", "x")
    end = harness.run(step, inputs={"raw": "raw", "absent": "a/b"})
    absent = FileContent("absent", str(harness.project / "a/b"), ABSENT)
    assert (end.cause, end.prints) == (Cause.MISSING_INPUT, FileFingerprints((absent,)))


def test_an_input_that_changes_meanwhile_makes_it_unstable(harness: WorkerHarness) -> None:
    names = ("left", "edited", "touched", "gone", "own")
    files = [put(harness.project / name, name) for name in names]
    before = contents(*files)
    end = harness.command(
        "echo more >> edited; touch touched; rm gone; echo more >> own",
        inputs={name: name for name in names},
        outputs={"written": "./own"},
    )
    assert end.prints is not None
    assert end.prints.inputs == before
    assert end.prints.unstable == ("edited", "touched", "gone")
    assert end.prints.outputs == (FileContent("written", str(files[4]), digest_of(str(files[4]))),)


def test_what_is_told_by_mtime_is_not_read(harness: WorkerHarness) -> None:
    put(harness.project / "small", "x")
    put(harness.project / "large", "x" * 100)
    names = {"small": "small", "large": "large"}
    end = harness.command("true", inputs=names, by_mtime={"small": 10, "large": 10, "other": 0})
    assert end.prints is not None
    assert [(one.name, one.by) for one in end.prints.inputs] == [("small", "content"), ("large", "mtime")]
    assert end.prints.inputs[1].digest == f"mtime:100:{LONG_AGO}"
    assert [Path(one.path).name for one in end.seen] == ["small"]


def test_what_is_known_is_not_read_again(harness: WorkerHarness) -> None:
    path = put(harness.project / "raw", "x")
    found = path.stat()
    known = FileRecord(str(path), found.st_size, found.st_mtime_ns, found.st_ino, LATER, "told", found.st_ctime_ns)
    recipe = harness.recipe(Step("main", run="true"), inputs={"raw": "raw"})
    work = [harness.make(recipe, seen=(known,)), harness.make(recipe)]
    harness.give(*work)
    for one in work:
        prints = harness.end_of(one).prints
        assert prints is not None
        assert prints.inputs[0].digest == "told"


def test_variables_around_it_are_recorded_by_digest_where_texts_name_them(harness: WorkerHarness) -> None:
    end = harness.command("echo ${env.SET} ${env.HOME} $USER", env={"SET": "1", "PATH": "bin:${env.PATH}"})
    assert end.prints is not None
    assert end.prints.env == {name: text_digest(os.environ[name]) for name in ("HOME", "PATH")}
    assert os.environ["HOME"] not in str(end)


def test_a_variable_that_is_not_set_is_recorded_as_absent(harness: WorkerHarness) -> None:
    recipe = harness.recipe(Step("main", run="true"), Step("never", run="echo ${env.NOWHERE_TO_BE_FOUND}"))
    work = harness.make(recipe)
    harness.give(work)
    prints = harness.end_of(work).prints
    assert prints is not None
    assert prints.env == {"NOWHERE_TO_BE_FOUND": ABSENT}


def test_a_modified_variable_is_not_one_around_it(harness: WorkerHarness) -> None:
    recipe = harness.recipe(Step("main", run="echo ${env.HOME} ${env.USED}"))
    work = harness.make(recipe, env={"USED": "x", "OTHER": "${env.PATH}"})
    harness.give(work)
    prints = harness.end_of(work).prints
    assert prints is not None
    assert sorted(prints.env) == ["HOME", "PATH"]


def code_of(harness: WorkerHarness, *functions: str) -> str:
    return digest_of_mapping(Files(search_path()).code(functions, str(harness.project)))


def test_calls_record_their_modules_once_and_their_files_each(harness: WorkerHarness) -> None:
    harness.module("m", "import helper\ndef f(n): open(f'out{n}', 'w').write('x')\n")
    harness.module("helper", "")
    harness.module("unused", "")
    raw = put(harness.project / "raw", "x")
    recipe = harness.recipe(
        Step("main", call="m:f", args={"n": "${job.id}"}), inputs={"raw": "raw"}, outputs={"out": "out${job.id}"}
    )
    work = [harness.make(recipe) for _ in range(20)]
    harness.give(*work)
    for one in work:
        end = harness.end_of(one)
        out = FileContent("out", str(harness.project / f"out{one.job}"), text_digest("x"))
        assert (end.prints, end.code) == (FileFingerprints(contents(raw), (out,)), code_of(harness, "m:f"))
    (told,) = harness.all(RecordedCode)
    assert {name for name in told.modules if name.isidentifier()} == {"helper", "m"}
    assert told.modules["environment interpreter python"] == interpreter()
    harness.module("helper", "X = 1\n")
    work = [harness.make(recipe)]
    harness.give(*work)
    assert harness.end_of(work[0]).code == code_of(harness, "m:f") != told.digest
    assert len(harness.all(RecordedCode)) == 2


def test_steps_and_items_record_as_one_attempt(harness: WorkerHarness) -> None:
    harness.module("m", "def items(): return [1, 2]\ndef f(item): return item\n")
    harness.module("n", "def g(): return 1\n")
    raw = put(harness.project / "raw", "x")
    end = harness.run(
        Step("a", run="true"),
        Step("b", call="m:f", args={"item": "${item}"}, each=Each(call="m:items")),
        Step("c", call="n:g"),
        Step("d", run="cp raw out"),
        inputs={"raw": "raw"},
        outputs={"out": "out"},
    )
    assert end.state == State.COMPLETED
    (told,) = harness.all(RecordedCode)
    assert end.code == told.digest
    assert {"m:f", "m:items", "n:g", "environment program cp"} <= told.modules.keys()
    assert end.prints == FileFingerprints(contents(raw), contents(harness.project / "out"))


def test_a_call_that_takes_its_process_down_keeps_its_modules(harness: WorkerHarness) -> None:
    harness.module("m", "import os\ndef f(): os._exit(3)\n")
    end = harness.call("m:f")
    assert (end.cause, end.code) == (Cause.EXIT, code_of(harness, "m:f"))


def test_kept_steps_that_saw_other_inputs_make_it_unstable(harness: WorkerHarness) -> None:
    same, other, shaky = (put(harness.project / name, name) for name in ("same", "other", "shaky"))
    earlier = (*contents(same), FileContent("other", str(other), "as it was"), *contents(shaky))
    names = {name: name for name in ("same", "other", "shaky")}
    recipe = harness.recipe(Step("a", run="true"), Step("b", run="true"), inputs=names)
    work = harness.make(recipe, start_step=1, began=FileFingerprints(earlier, unstable=("shaky",)))
    harness.give(work)
    assert harness.end_of(work).prints == FileFingerprints(contents(same, other, shaky), unstable=("other", "shaky"))


def test_a_copied_folder_and_its_outputs(harness: WorkerHarness) -> None:
    raw, earlier = put(harness.project / "raw", "x"), harness.store / "earlier"
    put(earlier / "kept", "y")
    recipe = harness.recipe(
        Step("a", run="true"), Step("b", run="cat kept > out"), inputs={"raw": "raw"}, outputs={"out": "out"},
        workdir="attempt",
    )  # fmt: skip
    work = harness.make(recipe, start_step=1, copy_from=str(earlier))
    harness.give(work)
    assert harness.end_of(work).prints == FileFingerprints(contents(raw), contents(Path(work.folder, "out")))


STEPS = [Step("main", run="touch ran"), Step("main", call="m:f")]


@pytest.mark.parametrize("step", STEPS)
def test_a_large_input_can_be_canceled(harness: WorkerHarness, step: Step) -> None:
    harness.module("m", "def f(): open('ran', 'w')\n")
    recipe = harness.recipe(step, inputs={"large": endless(harness.project / "large")})
    work = harness.make(recipe)
    harness.give(work)
    harness.until(lambda: harness.started(work))
    harness.executor.cancel(harness.workers[0].name, [work.token])
    end = harness.end_of(work)
    assert (end.state, end.cause) == (State.CANCELED, Cause.CANCELED)
    assert not (harness.project / "ran").exists()
    assert harness.command("true").state == State.COMPLETED


@pytest.mark.parametrize("step", STEPS)
def test_a_large_input_counts_in_the_time_limit(harness: WorkerHarness, step: Step) -> None:
    harness.module("m", "def f(): open('ran', 'w')\n")
    end = harness.run(step, inputs={"large": endless(harness.project / "large")}, time=0.3)
    assert end.cause == Cause.TIMEOUT
    assert not (harness.project / "ran").exists()


def test_a_large_output_can_be_canceled(harness: WorkerHarness) -> None:
    recipe = harness.recipe(Step("main", run=f"truncate -s {ENDLESS} out; touch ran"), outputs={"out": "out"})
    work = harness.make(recipe)
    harness.give(work)
    harness.until(lambda: (harness.project / "ran").exists())
    harness.executor.cancel(harness.workers[0].name, [work.token])
    end = harness.end_of(work)
    assert (end.state, end.steps[0].state) == (State.CANCELED, State.CANCELED)


def test_large_files_are_read_beside_the_loop_to_their_end(harness: WorkerHarness) -> None:
    (harness.project / "large").write_bytes(os.urandom(1000) + bytes(70 * 2**20))
    end = harness.command("cp large copy", inputs={"large": "large"}, outputs={"copy": "copy"})
    assert end.prints == FileFingerprints(contents(harness.project / "large"), contents(harness.project / "copy"))
