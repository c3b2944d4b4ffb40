"""What workers record of what attempts depend on: files, variables around them, modules; however they go and end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from floor import Floor

from rekindle.domain.causes import Cause
from rekindle.domain.changes.prints import ABSENT, Content, FileSeen, Prints
from rekindle.domain.definition import Each, Step
from rekindle.domain.states import State
from rekindle.files.digests import digest_of, digest_of_mapping, text_digest
from rekindle.files.environment import interpreter
from rekindle.files.sources import Sources as Files
from rekindle.files.sources import search_path
from rekindle.journal.records import Sources

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


def contents(*files: Path) -> tuple[Content, ...]:
    return tuple(Content(path.stem, str(path), digest_of(str(path))) for path in files)


def endless(path: Path) -> str:
    with path.open("wb") as file:
        file.truncate(ENDLESS)
    return path.name


def test_what_declares_nothing_records_its_programs_alone(floor: Floor) -> None:
    work = [floor.make(floor.recipe(Step("main", run="echo $HOME | cat"))) for _ in range(3)]
    floor.give(*work)
    ends = [floor.end_of(one) for one in work]
    (told,) = floor.all(Sources)
    for end in ends:
        assert (end.state, end.prints, end.seen, end.code) == (State.COMPLETED, None, (), told.digest)
    programs = {"/bin/sh": "/bin/sh", "cat": shutil.which("cat") or ""}
    assert told.modules == {
        f"environment program {name}": f"{os.path.realpath(path)} {digest_of(path)}" for name, path in programs.items()
    }


def test_a_program_of_the_project_is_no_part_of_the_environment(floor: Floor) -> None:
    tool = put(floor.project / "tool", "#!/bin/sh\n")
    tool.chmod(0o755)
    assert floor.command("./tool").code is None


def test_a_program_is_found_by_the_path_of_the_attempt(floor: Floor) -> None:
    folder = floor.project.parent / "bin"
    put(folder / "tool", "#!/bin/sh\n").chmod(0o755)
    work = floor.make(floor.recipe(Step("main", run=("tool", "x")), env={"PATH": f"{folder}:${{env.PATH}}"}))
    floor.give(work)
    floor.end_of(work)
    (told,) = floor.all(Sources)
    assert told.modules["environment program tool"].startswith(f"{(folder / 'tool').resolve()} ")


def test_inputs_and_outputs_are_recorded_by_content(floor: Floor) -> None:
    raw, folder = put(floor.project / "raw", "x"), floor.project / "folder"
    put(folder / "inner", "y")
    end = floor.command(
        "cat ${inputs.raw} > ${outputs.out}", inputs={"raw": "raw", "folder": "folder"}, outputs={"out": "out"}
    )
    assert end.prints == Prints(contents(raw, folder), contents(floor.project / "out"))
    seen = {Path(one.path).name: one.digest for one in end.seen}
    seen.pop("out", None)  # it is told where its time had settled by when it was read
    assert seen == {"raw": digest_of(str(raw)), "inner": digest_of(str(folder / "inner"))}


def test_what_failed_records_what_it_had(floor: Floor) -> None:
    raw = put(floor.project / "raw", "x")
    failed = floor.command("touch out; exit 3", inputs={"raw": "raw"}, outputs={"out": "out"})
    assert (failed.cause, failed.prints) == (Cause.EXIT, Prints(contents(raw)))
    without = floor.command("true", inputs={"raw": "raw"}, outputs={"out": "nothing"})
    assert (without.cause, without.prints) == (Cause.MISSING_OUTPUT, Prints(contents(raw)))


@pytest.mark.parametrize("step", [Step("main", run="true"), Step("main", call="os:getpid")])
def test_an_input_that_is_missing_is_recorded_so(floor: Floor, step: Step) -> None:
    put(floor.project / "raw", "x")
    end = floor.run(step, inputs={"raw": "raw", "absent": "a/b"})
    absent = Content("absent", str(floor.project / "a/b"), ABSENT)
    assert (end.cause, end.prints) == (Cause.MISSING_INPUT, Prints((absent,)))


def test_an_input_that_changes_meanwhile_makes_it_unstable(floor: Floor) -> None:
    names = ("left", "edited", "touched", "gone", "own")
    files = [put(floor.project / name, name) for name in names]
    before = contents(*files)
    end = floor.command(
        "echo more >> edited; touch touched; rm gone; echo more >> own",
        inputs={name: name for name in names},
        outputs={"written": "./own"},
    )
    assert end.prints is not None
    assert end.prints.inputs == before
    assert end.prints.unstable == ("edited", "touched", "gone")
    assert end.prints.outputs == (Content("written", str(files[4]), digest_of(str(files[4]))),)


def test_what_is_told_by_mtime_is_not_read(floor: Floor) -> None:
    put(floor.project / "small", "x")
    put(floor.project / "large", "x" * 100)
    names = {"small": "small", "large": "large"}
    end = floor.command("true", inputs=names, by_mtime={"small": 10, "large": 10, "other": 0})
    assert end.prints is not None
    assert [(one.name, one.by) for one in end.prints.inputs] == [("small", "content"), ("large", "mtime")]
    assert end.prints.inputs[1].digest == f"mtime:100:{LONG_AGO}"
    assert [Path(one.path).name for one in end.seen] == ["small"]


def test_what_is_known_is_not_read_again(floor: Floor) -> None:
    path = put(floor.project / "raw", "x")
    found = path.stat()
    known = FileSeen(str(path), found.st_size, found.st_mtime_ns, found.st_ino, LATER, "told", found.st_ctime_ns)
    recipe = floor.recipe(Step("main", run="true"), inputs={"raw": "raw"})
    work = [floor.make(recipe, seen=(known,)), floor.make(recipe)]
    floor.give(*work)
    for one in work:
        prints = floor.end_of(one).prints
        assert prints is not None
        assert prints.inputs[0].digest == "told"


def test_variables_around_it_are_recorded_by_digest_where_texts_name_them(floor: Floor) -> None:
    end = floor.command("echo ${env.SET} ${env.HOME} $USER", env={"SET": "1", "PATH": "bin:${env.PATH}"})
    assert end.prints is not None
    assert end.prints.env == {name: text_digest(os.environ[name]) for name in ("HOME", "PATH")}
    assert os.environ["HOME"] not in str(end)


def test_a_variable_that_is_not_set_is_recorded_as_absent(floor: Floor) -> None:
    recipe = floor.recipe(Step("main", run="true"), Step("never", run="echo ${env.NOWHERE_TO_BE_FOUND}"))
    work = floor.make(recipe)
    floor.give(work)
    prints = floor.end_of(work).prints
    assert prints is not None
    assert prints.env == {"NOWHERE_TO_BE_FOUND": ABSENT}


def test_a_modified_variable_is_not_one_around_it(floor: Floor) -> None:
    recipe = floor.recipe(Step("main", run="echo ${env.HOME} ${env.USED}"))
    work = floor.make(recipe, env={"USED": "x", "OTHER": "${env.PATH}"})
    floor.give(work)
    prints = floor.end_of(work).prints
    assert prints is not None
    assert sorted(prints.env) == ["HOME", "PATH"]


def code_of(floor: Floor, *functions: str) -> str:
    return digest_of_mapping(Files(search_path()).code(functions, str(floor.project)))


def test_calls_record_their_modules_once_and_their_files_each(floor: Floor) -> None:
    floor.module("m", "import helper\ndef f(n): open(f'out{n}', 'w').write('x')\n")
    floor.module("helper", "")
    floor.module("unused", "")
    raw = put(floor.project / "raw", "x")
    recipe = floor.recipe(
        Step("main", call="m:f", args={"n": "${job.id}"}), inputs={"raw": "raw"}, outputs={"out": "out${job.id}"}
    )
    work = [floor.make(recipe) for _ in range(20)]
    floor.give(*work)
    for one in work:
        end = floor.end_of(one)
        out = Content("out", str(floor.project / f"out{one.job}"), text_digest("x"))
        assert (end.prints, end.code) == (Prints(contents(raw), (out,)), code_of(floor, "m:f"))
    (told,) = floor.all(Sources)
    assert {name for name in told.modules if name.isidentifier()} == {"helper", "m"}
    assert told.modules["environment interpreter python"] == interpreter()
    floor.module("helper", "X = 1\n")
    work = [floor.make(recipe)]
    floor.give(*work)
    assert floor.end_of(work[0]).code == code_of(floor, "m:f") != told.digest
    assert len(floor.all(Sources)) == 2


def test_steps_and_items_record_as_one_attempt(floor: Floor) -> None:
    floor.module("m", "def items(): return [1, 2]\ndef f(item): return item\n")
    floor.module("n", "def g(): return 1\n")
    raw = put(floor.project / "raw", "x")
    end = floor.run(
        Step("a", run="true"),
        Step("b", call="m:f", args={"item": "${item}"}, each=Each(call="m:items")),
        Step("c", call="n:g"),
        Step("d", run="cp raw out"),
        inputs={"raw": "raw"},
        outputs={"out": "out"},
    )
    assert end.state == State.COMPLETED
    (told,) = floor.all(Sources)
    assert end.code == told.digest
    assert {"m:f", "m:items", "n:g", "environment program cp"} <= told.modules.keys()
    assert end.prints == Prints(contents(raw), contents(floor.project / "out"))


def test_a_call_that_takes_its_process_down_keeps_its_modules(floor: Floor) -> None:
    floor.module("m", "import os\ndef f(): os._exit(3)\n")
    end = floor.call("m:f")
    assert (end.cause, end.code) == (Cause.EXIT, code_of(floor, "m:f"))


def test_kept_steps_that_saw_other_inputs_make_it_unstable(floor: Floor) -> None:
    same, other, shaky = (put(floor.project / name, name) for name in ("same", "other", "shaky"))
    earlier = (*contents(same), Content("other", str(other), "as it was"), *contents(shaky))
    names = {name: name for name in ("same", "other", "shaky")}
    recipe = floor.recipe(Step("a", run="true"), Step("b", run="true"), inputs=names)
    work = floor.make(recipe, start_step=1, began=Prints(earlier, unstable=("shaky",)))
    floor.give(work)
    assert floor.end_of(work).prints == Prints(contents(same, other, shaky), unstable=("other", "shaky"))


def test_a_copied_folder_and_its_outputs(floor: Floor) -> None:
    raw, earlier = put(floor.project / "raw", "x"), floor.store / "earlier"
    put(earlier / "kept", "y")
    recipe = floor.recipe(
        Step("a", run="true"), Step("b", run="cat kept > out"), inputs={"raw": "raw"}, outputs={"out": "out"},
        workdir="attempt",
    )  # fmt: skip
    work = floor.make(recipe, start_step=1, copy_from=str(earlier))
    floor.give(work)
    assert floor.end_of(work).prints == Prints(contents(raw), contents(Path(work.folder, "out")))


STEPS = [Step("main", run="touch ran"), Step("main", call="m:f")]


@pytest.mark.parametrize("step", STEPS)
def test_a_large_input_can_be_canceled(floor: Floor, step: Step) -> None:
    floor.module("m", "def f(): open('ran', 'w')\n")
    recipe = floor.recipe(step, inputs={"large": endless(floor.project / "large")})
    work = floor.make(recipe)
    floor.give(work)
    floor.until(lambda: floor.started(work))
    floor.executor.cancel(floor.workers[0].name, [work.token])
    end = floor.end_of(work)
    assert (end.state, end.cause) == (State.CANCELED, Cause.CANCELED)
    assert not (floor.project / "ran").exists()
    assert floor.command("true").state == State.COMPLETED


@pytest.mark.parametrize("step", STEPS)
def test_a_large_input_counts_in_the_time_limit(floor: Floor, step: Step) -> None:
    floor.module("m", "def f(): open('ran', 'w')\n")
    end = floor.run(step, inputs={"large": endless(floor.project / "large")}, time=0.3)
    assert end.cause == Cause.TIMEOUT
    assert not (floor.project / "ran").exists()


def test_a_large_output_can_be_canceled(floor: Floor) -> None:
    recipe = floor.recipe(Step("main", run=f"truncate -s {ENDLESS} out; touch ran"), outputs={"out": "out"})
    work = floor.make(recipe)
    floor.give(work)
    floor.until(lambda: (floor.project / "ran").exists())
    floor.executor.cancel(floor.workers[0].name, [work.token])
    end = floor.end_of(work)
    assert (end.state, end.steps[0].state) == (State.CANCELED, State.CANCELED)


def test_large_files_are_read_beside_the_loop_to_their_end(floor: Floor) -> None:
    (floor.project / "large").write_bytes(os.urandom(1000) + bytes(70 * 2**20))
    end = floor.command("cp large copy", inputs={"large": "large"}, outputs={"copy": "copy"})
    assert end.prints == Prints(contents(floor.project / "large"), contents(floor.project / "copy"))
