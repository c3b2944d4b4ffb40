"""Commands: `run:` behaves as in a shell. The real /bin/sh and bash are the oracles."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rekindle.domain.errors import BadValue, UnknownWord
from rekindle.domain.texts.commandline import CommandLine, compile_command
from rekindle.domain.texts.substitution import Words

SHELLS = [shell for shell in ("/bin/sh", "bash") if shutil.which(shell)]
SHOW = (
    "show() { [ $# -eq 0 ] || printf '%s\\0' \"$@\"; printf '\\1\\0'; }\n"  # each argument ends in NUL, each call in \1
)
EVIL = (
    "x; touch owned",
    "$(touch owned)",
    "`touch owned`",
    "a\ntouch owned\n",
    "' ; touch owned ; '",
    '" ; touch owned ; "',
    "'\"'\"'; touch owned #",
    "*",
    "~",
    "a b  c",
    "",
    "\\",
    "-n",
    "FOO=bar",
    "if",
    "2",
    "$HOME ${HOME} #x",
    "a[$(touch owned)]",
    "é ü\t\r",
    "!!",
    "{a,b}",
)


def argv(run: str | tuple[str, ...], shell: str | None = None, **scopes: Any) -> list[str]:
    return compile_command(run, shell).argv(scopes)


def shown(shell: str, script: str, cwd: Path) -> list[list[str]]:
    """Return the arguments of every call of `show` in the script."""
    done = subprocess.run(
        [shell, "-c", SHOW + script], cwd=cwd, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False
    )
    calls: list[list[str]] = []
    call: list[str] = []
    for argument in done.stdout.decode(errors="surrogateescape").split("\0")[:-1]:
        if argument == "\1":
            calls.append(call)
            call = []
        else:
            call.append(argument)
    return calls


@pytest.mark.parametrize(
    ("run", "vector"),
    [
        ("python train.py --alpha 0.1", ["python", "train.py", "--alpha", "0.1"]),
        ("  /bin/true \n", ["/bin/true"]),
        ("a 'b  c' \"d e\"f'' ''", ["a", "b  c", "d ef", ""]),
        ("a '$X `y` \\ *' \"it's # ~ & ;\"", ["a", "$X `y` \\ *", "it's # ~ & ;"]),
        ("a 'two\nlines'", ["a", "two\nlines"]),
        ("a --b=c x^y a@b c,d %e", ["a", "--b=c", "x^y", "a@b", "c,d", "%e"]),
        ("/bin/echo -n hi", ["/bin/echo", "-n", "hi"]),
        ("echo hi", ["echo", "hi"]),
        ("true", ["true"]),
        ("printf '%s\\n' a", ["printf", "%s\\n", "a"]),
        ("test -f out.txt", ["test", "-f", "out.txt"]),
    ],
)
def test_words_and_quotes_need_no_shell(run: str, vector: list[str]) -> None:
    line = compile_command(run, None)
    assert not line.needs_shell
    assert line.argv({}) == vector


@pytest.mark.parametrize(
    "run",
    [
        "a | b", "a & b", "a; b", "a > b", "a < b", "(a)", "a $X", "a `b`", "a \\b", "a\nb", "ls *", "ls a?", "ls [ab]",
        "a # b", "ls ~", "X=1 a", "{ a; }", "! a", 'a "$X"', 'a "`b`"', 'a "\\n"', "a b{1,2}",
        "cd x", "export X", "exit 3", ". ./x", "source x", "if a", "set -e", "[ -f x ]", "ulimit -n 5", "exec a",
        "time a", "echo -e x", "echo 'a\\nb'", "printf '%q' x", "printf '\\x41'", "test a == b", "pwd",
        "kill 1", "true --version",
    ],
)  # fmt: skip
def test_shell_builtins_are_passed_to_sh(run: str) -> None:
    line = compile_command(run, None)
    assert line.needs_shell
    assert line.argv({}) == ["/bin/sh", "-c", run]


def test_a_shell_that_is_named_is_always_used() -> None:
    assert argv("true", "bash") == ["bash", "-c", "true"]
    assert argv("true", "bash -eu") == ["bash", "-eu", "-c", "true"]


def test_a_list_is_the_argument_vector() -> None:
    line = compile_command(("python", "-c", "print('$X; ${X}')", "${item}", "a${item}b"), None)
    assert not line.needs_shell
    assert line.argv({"item": "'; x"}) == ["python", "-c", "print('$X; ${X}')", "'; x", "a'; xb"]
    assert argv(("a", "b c"), "bash") == ["a", "b c"]


@pytest.mark.parametrize("run", ["", "  \n", (), ("",)])
def test_an_empty_command_is_refused(run: str | tuple[str, ...]) -> None:
    with pytest.raises(BadValue, match="empty"):
        compile_command(run, None)


def test_an_empty_shell_is_refused() -> None:
    with pytest.raises(BadValue, match="shell is empty"):
        compile_command("true", " ")


@pytest.mark.parametrize(
    "run", ["a 'b", 'a "b', "a 'b\" c", "a | b 'c", "a # it's\nb 'c", 'a "$(b) c', "a $(b 'c') \"d"]
)
@pytest.mark.parametrize("shell", [None, "bash"])
def test_a_quote_that_is_never_closed_is_refused_at_once(run: str, shell: str | None) -> None:
    with pytest.raises(BadValue, match="never closed"):
        compile_command(run, shell)


@pytest.mark.parametrize(
    "run", ["a # it's", "a \\' b", "cat <<E\nit's\nE", 'a $(echo "it\'s")', "a ${X:-'}'}", "a `echo \\`it\\``", "a ''"]
)
def test_an_apostrophe_that_is_no_quote_is_not_refused(run: str) -> None:
    assert compile_command(run, None).argv({})[-1] in (run, "")


def test_a_nul_character_is_refused_in_text_and_value() -> None:
    with pytest.raises(BadValue, match="NUL"):
        compile_command("a \0", None)
    with pytest.raises(BadValue, match="NUL"):
        argv("a ${item}", item="\0")


def test_an_unknown_name_is_refused_when_read_and_a_missing_value_when_used() -> None:
    with pytest.raises(UnknownWord, match=r"params\.x"):
        compile_command("a ${parms.x}", None)
    with pytest.raises(UnknownWord, match=r"did you mean `alpha`"):
        argv("a ${params.alpa}", params={"alpha": 1})


def test_references_are_in_order() -> None:
    line = compile_command("a ${params.x} | b '${item}'", None)
    assert [reference.text for reference in line.references] == ["${params.x}", "${item}"]
    assert [reference.text for reference in compile_command(("a", "${item}"), None).references] == ["${item}"]


def test_a_fixed_argument_vector_is_copied() -> None:
    line: CommandLine = compile_command("a b", None)
    line.argv({}).append("c")
    assert line.argv({}) == ["a", "b"]


def test_a_text_that_begins_like_an_option_is_no_option_of_the_shell(tmp_path: Path) -> None:
    program = argv("-c; echo ran")
    assert b"ran" in subprocess.run(program, capture_output=True, cwd=tmp_path, check=False).stdout


@pytest.mark.parametrize("value", EVIL)
def test_a_value_is_one_word_without_a_shell(value: str) -> None:
    line = compile_command("prog ${item} --x=${item} ${item}", None)
    assert not line.needs_shell
    assert line.argv({"item": value}) == ["prog", value, f"--x={value}", value]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("value", EVIL)
def test_a_value_is_one_word_in_a_shell(shell: str, value: str, tmp_path: Path) -> None:
    script = (
        "show ${item} x${item}y $HOME${item} | cat; show ${item}>out.txt; cat out.txt; # comment's end\n"
        'X=${item}; for i in ${item}; do show "$i" "$X"; done; '
        "(show ${item}) && { show ${item}; }; show $(echo ok) ${item}"
    )
    program = argv(script, shell, item=value)
    home = str(Path.home())
    assert shown(shell, program[-1], tmp_path) == [
        [value, f"x{value}y", f"{home}{value}"],
        [value],
        [value, value],
        [value],
        [value],
        ["ok", value],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_value_in_the_first_place_is_a_program_and_nothing_else(shell: str, tmp_path: Path) -> None:
    for value in ("if", "X=1", "touch owned", "{", "!"):
        program = argv("${item} 2>/dev/null; echo ${item}", shell, item=value)
        done = subprocess.run(program, capture_output=True, cwd=tmp_path, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, value + "\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "run", ["a '${item}'", 'a "${item}"', 'a "x ${item} y"', 'a "${item}" | b', "a | b '-${item}-'"]
)
def test_only_harmless_values_are_accepted_inside_quotes(run: str) -> None:
    assert "data/x_1.csv" in argv(run, item="data/x_1.csv")[-1]
    assert argv(run, item="")
    for value in ("a b", "a;b", "$X", "`x`", "it's", 'say "x"', "a\\b", "a\nb", "*", "é"):
        with pytest.raises(BadValue) as refused:
            argv(run, item=value)
        assert "${item}" in refused.value.message
        assert "list" in refused.value.hint


@pytest.mark.parametrize(
    "run",
    [
        "a $(b ${item})",
        'a "$(b ${item})"',
        "a `b ${item}`",
        "a $((1 + ${item}))",
        "a ${X:-${item}}",
        "cat <<E\n${item}\nE",
        "cat <<'E'\n${item}\nE",
        "a # ${item}",
        'a $(b "$(c)" \'d) ${item}',
        "((x = ${item}))",
        "[[ ${item} -eq 1 ]]",
        "a[${item}]=1",
        "a $'x\\'' ${item}",
        "a $[${item}]",
        "a <\\\n<E\n${item}\nE",
        "a >&${item}",
        "a >&x${item}",
        "a >\\\n& ${item}",
    ],
)
def test_only_harmless_values_are_accepted_in_nested_code(run: str) -> None:
    assert argv(run, "bash", item="5")[-1] == run.replace("${item}", "5")
    for value in ("", *EVIL[:8]):
        with pytest.raises(BadValue, match=r"value of \$\{item\}"):
            argv(run, "bash", item=value)


def test_values_stay_whole_beside_redirections_to_numbers() -> None:
    assert argv("a 2>&1 >&- ${item} 1>&2; b <&3 ${item}", item="x y")[-1] == "a 2>&1 >&- 'x y' 1>&2; b <&3 'x y'"


def test_a_shell_with_other_quotes_takes_harmless_values_only() -> None:
    assert argv("echo ${item}", "fish", item="5") == ["fish", "-c", "echo 5"]
    with pytest.raises(BadValue):
        argv("echo ${item}", "/usr/bin/fish", item="a b")


@pytest.mark.parametrize("run", ["a \\${item} | b", 'a "\\${item}"', "a \\\\\\${item}", "a $(b \\${item})"])
def test_a_backslash_before_a_reference_is_refused(run: str) -> None:
    with pytest.raises(BadValue, match="backslash") as refused:
        compile_command(run, None)
    assert "$${item}" in refused.value.hint


def test_a_backslash_that_is_itself_escaped_is_fine() -> None:
    assert argv("a \\\\${item}", item="x y") == ["/bin/sh", "-c", "a \\\\'x y'"]
    assert argv("a '\\${item}'", item="x") == ["a", "\\x"]


def test_a_variable_and_a_reference_do_not_run_together() -> None:
    with pytest.raises(BadValue, match="read as one name") as refused:
        compile_command('a "$HOME${item}"', None)
    assert refused.value.hint == "write ${HOME}${item}"
    assert argv('a "${HOME}${item}"', item="x")[-1] == 'a "${HOME}x"'


def test_two_dollars_leave_the_brace_to_the_shell() -> None:
    assert argv("a '$${item}' $${X}", item=1) == ["/bin/sh", "-c", "a '${item}' ${X}"]


PLAIN_TEXTS = st.text("ab=-^:%@,+./] \t'\"é\n" * 4 + "$`\\*#~;!{}\r\v\u00a0&|()[?<>", min_size=1, max_size=12)


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(PLAIN_TEXTS, min_size=20, max_size=40))
def test_words_are_split_as_the_shell_would(shell: str, tmp_path: Path, texts: list[str]) -> None:
    plain: list[tuple[str, list[str]]] = []
    for text in texts:
        try:
            line = compile_command(f"show {text}", None)
        except BadValue:
            continue
        if not line.needs_shell:
            plain.append((f"show {text}".strip(" \t\n"), line.argv({})[1:]))
    assert shown(shell, "\n".join(run for run, _ in plain), tmp_path) == [words for _, words in plain]


SHELL_PARTS = st.sampled_from(
    [
        *["${item}"] * 8, "show ", "echo ", "cat ", ":", "x", "1", " ", " ", "\n", ";", "|", "&&", "&",
        "(", ")", "((", "))", "[", "]", "[[", "]]", "{", "}", "{a,b}", "@(", "(x)", "=", "a[", "!", "~", "*",
        "'", '"', "''", '""', "`", "\\", "\\\\", "\\\n", "\\'", "#", " # ", "$'", '$"',
        "$", "$(", "$((", "$[", "${X:-", "${X#", "${X}", "$HOME",
        "<<E\n", "<<'E'\n", "<<-E\n", "\nE\n", "<<<", "<(", "<", ">",
        "case x in ", " esac", ";;", "if ", "then ", "fi", "for i in ", "do ", "done", "f() ",
    ]
)  # fmt: skip
ATTACKS = st.sampled_from(
    [
        "; touch owned; ",
        "$(touch owned)",
        "`touch owned`",
        "\ntouch owned\n",
        "'; touch owned; '",
        '"; touch owned; "',
        "'\"; touch owned; '\"",
        "\nE\ntouch owned\n",
        ")\ntouch owned\n",
        "}; touch owned; ",
        "a[$(touch owned)]",
        "\\'; touch owned; ",
        "]]; touch owned",
        "touch owned",
    ]
)


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(SHELL_PARTS, min_size=1, max_size=14), attack=ATTACKS)
@example(parts=["cat ", "<<E\n", "${item}", "\nE\n"], attack="$(touch owned)")
@example(parts=["echo ", ">", "&", "${item}"], attack="$(touch owned)")
@example(parts=["$'", "\\'", "${item}", "'"], attack="; touch owned; ")
def test_no_value_is_ever_run_whatever_text_is_around_it(
    shell: str, tmp_path: Path, parts: list[str], attack: str
) -> None:
    try:
        program = compile_command("".join(parts), shell).argv({"item": attack})
    except (BadValue, UnknownWord):
        return
    scratch = tmp_path / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    subprocess.run(
        [*program[:2], SHOW + program[2]],
        cwd=scratch,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert not (scratch / "owned").exists()


def test_several_files_are_several_words_sorted_as_given():
    scope = {"inputs": {"f": Words(["a", "b c", "it's"]), "one": Words(["x y"]), "none": Words()}}
    assert compile_command(("ls", "${inputs.f}", "-${inputs.one}"), None).argv(scope) == [
        "ls", "a", "b c", "it's", "-x y",
    ]  # fmt: skip
    assert compile_command("ls ${inputs.none} ${inputs.one}", None).argv(scope) == ["ls", "x y"]
    assert compile_command("ls ${inputs.f}|wc", None).argv(scope)[2] == "ls 'a' 'b c' 'it'\"'\"'s'|wc"
    assert (
        compile_command("ls ${inputs.none}; ls '${inputs.one}'x", "sh").argv(
            {"inputs": {"none": Words(), "one": Words(["x"])}}
        )[2]
        == "ls ; ls 'x'x"
    )
    for text in ("ls ${inputs.f}x|wc", "wc <${inputs.f}|wc", 'ls "${inputs.none}"|wc', "ls $(ls ${inputs.f})"):
        with pytest.raises(BadValue, match="is not a separate word"):
            compile_command(text, None).argv(scope)
