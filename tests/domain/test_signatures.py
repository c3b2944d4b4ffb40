"""Equivalent failures have equal signatures, others have different ones."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rekindle.domain.signatures import normalize_message, signature

TRACEBACK = """\
Traceback (most recent call last):
  File "/home/user/run{seed}/train.py", line {line}, in <module>
    main({seed})
  File "/home/user/run{seed}/train.py", line {line}, in main
    fit(seed={seed})
    ~~~^^^^^^^^^^^^^
  File "/home/user/run{seed}/model.py", line {line}, in {function}
    raise {error}
{error}: {message}
"""


def traceback(
    seed: int = 1, line: int = 10, function: str = "fit", error: str = "ValueError", message: str = ""
) -> str:
    return TRACEBACK.format(seed=seed, line=line, function=function, error=error, message=message)


def of_command(stderr: str, code: int = 1) -> str:
    return signature("exit", "", f"exit code {code}", "", stderr).digest


def of_call(message: str, error: str = "ValueError", trace: str = "") -> str:
    return signature("exception", error, message, trace, "").digest


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("loss 3.5e-05 after 12 epochs", "loss # after # epochs"),
        ("x=-3 y=+1_000", "x=# y=#"),
        ("shapes (3, 4) and [1, 2, 3]", "shapes (#) and [#]"),
        ("<a.Model object at 0x7f3bcd11>", "<a.Model object at #>"),
        ("at 2024-01-02T03:04:05.678Z, 10:11:12", "at #"),
        ("run 0b0f6f5c-31e7-4a0f-8a69-1f1a5e2a7c11 of 3fa9c1d2e4b5", "run # of #"),
        ("cannot read /data/run_3/part-07.csv", "cannot read part-#.csv"),
        ("cannot read '../my runs/part 7.csv'", "cannot read '…'"),
        ("file=/a/b/c.txt: runs/alpha=0.1/x.npz", "file=c.txt: x.npz"),
        ("/tmp/tmpab12_x9z and /tmp/tmp.Xy12AbCdEf", "tmp# and tmp#"),
        ("read/write and input/output", "read/write and input/output"),
        ("GET https://host/a/b/17 gave HTTP 503", "GET https://host/a/b/# gave HTTP 503"),
        ("[Errno 28] No space left on device: '/x/y7.csv'", "[Errno 28] No space left on device: 'y#.csv'"),
        ("Command 'a.py' returned non-zero exit status 3.", "Command 'a.py' returned non-zero exit status 3."),
        ("no column 'alpha', don't know 'Unit Price'", "no column 'alpha', don't know '…'"),
        ("train[alpha=0.1,seed=3] broke", "train[alpha=#,seed=#] broke"),
        ("\n\n  Arrays are not equal\nx: 3", "Arrays are not equal"),
        ("\x1b[31merror:\x1b[0m bad", "error: bad"),
        ("", ""),
    ],
)
def test_what_varies_is_taken_out_of_a_message(message: str, shown: str) -> None:
    assert normalize_message(message) == shown


def test_a_long_message_is_cut() -> None:
    assert len(normalize_message("word " * 1000)) == 240


def test_a_signature_shows_type_and_message() -> None:
    found = signature("exception", "KeyError", "'alpha_3'", "", "")
    assert (found.type, found.message) == ("KeyError", "'alpha_#'")
    assert len(found.digest) == 12
    assert int(found.digest, 16) >= 0


numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))


@given(numbers, numbers)
def test_numbers_do_not_part_failures(one: float, other: float) -> None:
    for form in ("bad seed {}", "seed={}, alpha", "({}) is out of range", "part-{}.csv", "'{}'", "{}: not found"):
        assert of_call(form.format(one)) == of_call(form.format(other))
        assert of_command(form.format(one)) == of_command(form.format(other))


folders = st.lists(st.from_regex(r"[A-Za-z0-9_.-]{1,10}", fullmatch=True), min_size=1, max_size=4).map("/".join)


@given(folders, folders)
def test_folders_do_not_part_failures(one: str, other: str) -> None:
    for form in (
        "cannot open /{}/data.csv",
        "FileNotFoundError: '/{}/data.csv'",
        "in {}/sub/data.csv:",
        "\u2018/{}/data.csv\u2019",
    ):
        assert of_command(form.format(one)) == of_command(form.format(other))


@given(st.uuids(), st.uuids(), st.integers(0, 2**64), st.integers(0, 2**64))
def test_addresses_and_ids_do_not_part_failures(one: uuid.UUID, other: uuid.UUID, here: int, there: int) -> None:
    assert of_call(f"job {one} at {here:#x}") == of_call(f"job {other} at {there:#x}")


@given(st.from_regex(r"[a-z]{3,12}", fullmatch=True), st.from_regex(r"[a-z]{3,12}", fullmatch=True))
def test_other_words_and_other_types_part_failures(one: str, other: str) -> None:
    assume(one != other)
    assert of_call(f"no column {one}") != of_call(f"no column {other}")
    assert of_call(f"'{one}'", "KeyError") != of_call(f"'{other}'", "KeyError")
    assert of_call(one, "KeyError") != of_call(one, "ValueError")
    assert of_command(f"error: {one}") != of_command(f"error: {other}")


@given(st.text(), st.text(), st.text(), st.text())
def test_any_text_has_a_signature_and_always_the_same(kind: str, message: str, trace: str, stderr: str) -> None:
    for cause in ("exit", "signal", "exception", "timeout"):
        found = signature(cause, kind, message, trace, stderr)
        assert found == signature(cause, kind, message, trace, stderr)
        assert len(found.digest) == 12
        assert "\n" not in found.message


def test_bytes_that_are_no_text_have_a_signature() -> None:
    assert of_command("bad \udcff byte") != of_command("bad byte")


def test_a_seed_in_a_traceback_does_not_part_failures_and_neither_do_line_numbers() -> None:
    assert of_command(traceback(1, 10, message="bad 1")) == of_command(traceback(22, 99, message="bad 22"))
    assert of_call("bad 1", trace=traceback(1, 10)) == of_call("bad 22", trace=traceback(22, 99))


def test_another_function_or_exception_parts_failures() -> None:
    here = of_command(traceback(message="bad"))
    assert here != of_command(traceback(function="predict", message="bad"))
    assert here != of_command(traceback(error="TypeError", message="bad"))
    assert here != of_command(traceback(message="good"))


def test_a_commands_traceback_gives_type_and_message() -> None:
    found = signature("exit", "", "exit code 1", "", "log\n" + traceback(error="pkg.errors.Broken", message="part 7"))
    assert (found.type, found.message) == ("pkg.errors.Broken", "part #")


def test_of_chained_tracebacks_the_last_counts() -> None:
    chained = (
        traceback(error="KeyError", message="'x'")
        + "\nDuring handling of the above exception, another exception occurred:\n\n"
        + traceback(error="RuntimeError", message="no model")
    )
    assert of_command(chained) == of_command(traceback(error="RuntimeError", message="no model"))


def test_a_message_that_begins_with_a_line_break_is_found() -> None:
    found = signature(
        "exit", "", "exit code 1", "", traceback(error="AssertionError", message="\nNot equal, 3 of 7 differ")
    )
    assert (found.type, found.message) == ("AssertionError", "Not equal, # of # differ")


def test_what_a_wrapper_adds_below_a_traceback_does_not_hide_it() -> None:
    below = traceback(message="bad") + "make: *** [all] Error 1\nsrun: error: node12: task 0: Exited with exit code 1\n"
    assert of_command(below) == of_command(traceback(message="bad"))


def test_a_traceback_that_was_logged_long_before_the_end_is_not_the_reason() -> None:
    stderr = traceback(message="retried") + "step done\n" * 50 + "fatal: disk full\n"
    assert signature("exit", "", "exit code 1", "", stderr).message == "fatal: disk full"


def test_an_exception_group_is_read_like_any_other() -> None:
    stderr = """\
  + Exception Group Traceback (most recent call last):
  |   File "/x/g.py", line 1, in <module>
  |     raise ExceptionGroup("many", [ValueError(1), TypeError("x")])
  | ExceptionGroup: many (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: 1
    +---------------- 2 ----------------
    | TypeError: x
    +------------------------------------
"""
    found = signature("exit", "", "exit code 1", "", stderr)
    assert (found.type, found.message) == ("ExceptionGroup", "many (# sub-exceptions)")


@pytest.mark.parametrize(
    ("stderr", "kind", "message"),
    [
        ("epoch 1\nfatal: no space\n\n  \n", "", "fatal: no space"),
        ("10%\r50%\rfatal: no space\r\n", "", "fatal: no space"),
        ("oops\n---------\n", "", "oops"),
        ('  File "a.py", line 3\n    a b\n    ^^^\nSyntaxError: invalid syntax\n', "SyntaxError", "invalid syntax"),
        ("torch.OutOfMemoryError: tried 20 MiB", "torch.OutOfMemoryError", "tried #"),
        ("KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("Error: no such file", "Error", "no such file"),
    ],
)
def test_the_last_line_with_words_tells_of_a_command(stderr: str, kind: str, message: str) -> None:
    found = signature("exit", "", "exit code 1", "", stderr)
    assert (found.type, found.message) == (kind, message)


def test_silent_commands_are_told_apart_by_their_exit_code() -> None:
    assert of_command("", 1) == of_command(" \n", 1)
    assert of_command("", 1) != of_command("", 2)
    assert of_command("fatal: no", 1) == of_command("fatal: no", 2)


def test_signals_stay_apart_though_the_last_lines_agree() -> None:
    line = "epoch 3"
    killed = [
        signature("signal", "", f"killed by {name}", "", line).digest for name in ("SIGKILL", "SIGSEGV", "SIGKILL")
    ]
    assert killed[0] == killed[2] != killed[1]


def test_what_a_command_printed_before_a_time_out_does_not_part_time_outs() -> None:
    one, other = (signature("timeout", "", "ran longer than 60 s", "", line) for line in ("reading", "writing"))
    assert one == other
    assert one.digest != signature("lost", "", "ran longer than 60 s", "", "").digest


def test_long_and_hostile_texts_are_read_quickly() -> None:
    for unit in ("a/", "'", "[a", "1.", "tmp", "a.a", "./[", '   File "', "a=", "\x1b[", "\n  x", "\r"):
        signature("exit", "", unit * 200_000, "", unit * 200_000)
