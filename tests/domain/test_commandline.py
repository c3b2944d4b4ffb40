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
ALL_SHELLS = [shell for shell in ("/bin/sh", "dash", "bash", "zsh", "ksh", "mksh") if shutil.which(shell)]
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


def with_show(program: list[str]) -> list[str]:
    """Return an argument vector whose script can call `show`."""
    shell, option, script, *values = program
    return [shell, option, SHOW + script, *values]


def shown(program: list[str], cwd: Path) -> list[list[str]]:
    """Return the arguments of every call of `show` in a shell's script."""
    done = subprocess.run(
        with_show(program), cwd=cwd, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False
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
    assert shown(program, tmp_path) == [
        [value, f"x{value}y", f"{home}{value}"],
        [value],
        [value, value],
        [value],
        [value],
        ["ok", value],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


VALUES = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30),
    st.text("ab '\"$`\\\n\t*?[]{}()<>|&;#~!=-%é\x01", max_size=12),
    st.sampled_from(EVIL),
).filter(lambda value: value != "\1")  # which ends a call in the output of `show`
PLACES = (
    # (text, arguments of each call of `show` for a value)
    ("show ${V}", lambda value: [[value]]),
    ("show x${V}y ${V}${V}", lambda value: [[f"x{value}y", value + value]]),
    ('show "$#" "$@" ${V} "$*"', lambda value: [["0", value, ""]]),
    ('X=${V}; show "$X"', lambda value: [[value]]),
    ('X=${V} Y=a${V} sh -c \'printf "%s\\0\\1\\0" "$X$Y"\'', lambda value: [[f"{value}a{value}"]]),
    ('for i in ${V} b; do show "$i"; done', lambda value: [[value], ["b"]]),
    ("(show ${V}) && { show ${V}; } | cat", lambda value: [[value], [value]]),
    ("f() { set -- c; shift; show $# ${V}; }; f a b", lambda value: [["0", value]]),
    ("set -- a b; shift; show $1 ${V}; shift", lambda value: [["b", value]]),
    ("case x${V} in x${V}) show yes ${V};; *) show no;; esac", lambda value: [["yes", value]]),
    ("if [ ${V} = ${V} ]; then show $(echo ok) ${V}; fi # it's", lambda value: [["ok", value]]),
    ("show ${V} |\ncat 2>&1", lambda value: [[value]]),
)


@pytest.mark.parametrize("shell", ALL_SHELLS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=12))
def test_any_value_comes_out_of_a_shell_byte_for_byte(
    shell: str, tmp_path: Path, chosen: list[tuple[tuple[str, Any], str]]
) -> None:
    lines, expected, values = [], [], {}
    for at, ((text, arguments), value) in enumerate(chosen):
        lines.append(text.replace("${V}", f"${{params.v{at}}}"))
        expected += arguments(value)
        values[f"v{at}"] = value
    assert shown(argv("\n".join([":", *lines]), shell, params=values), tmp_path) == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("bash" not in SHELLS, reason="needs bash")
def test_a_value_is_one_word_in_an_array_and_in_braces(tmp_path: Path) -> None:
    for value in EVIL:
        program = argv('a=(x ${item} y); show "${a[@]}" {p,${item}}', "bash", item=value)
        assert shown(program, tmp_path) == [["x", value, "y", "p", value]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", ALL_SHELLS)
def test_a_value_may_be_as_long_as_an_argument(shell: str, tmp_path: Path) -> None:
    value = "é '\n" * 26_214 + "x"  # 131,071 bytes and the final NUL: MAX_ARG_STRLEN of Linux
    assert len(value.encode()) == 131_071
    program = argv("printf %s ${item} >out.txt; printf %s ${item} | cat >>out.txt", shell, item=value)
    subprocess.run(program, cwd=tmp_path, check=True)
    assert (tmp_path / "out.txt").read_text() == value + value


@pytest.mark.parametrize("shell", ALL_SHELLS)
def test_three_thousand_files_with_spaces_are_as_many_words(shell: str, tmp_path: Path) -> None:
    files = [f"data/run {number}.csv" for number in range(3000)]
    scope = {"inputs": {"f": Words(files)}}
    program = compile_command('printf "%s\\n" ${inputs.f} | cat', shell).argv(scope)
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == files


@pytest.mark.parametrize("shell", ALL_SHELLS)
def test_no_program_inherits_the_variables_of_values(shell: str, tmp_path: Path) -> None:
    program = argv("env; printf '%s\n' ${item}", shell, item="a b")
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if "a b" in line or "_rk" in line] == ["a b"]


def test_the_variables_of_values_have_names_that_the_text_does_not_use(tmp_path: Path) -> None:
    program = argv("_rk1=mine; show ${item} $_rk1", "/bin/sh", item="a b")
    assert shown(program, tmp_path) == [["a b", "mine"]]


@pytest.mark.parametrize("shell", ALL_SHELLS)
def test_values_move_no_line_and_no_name_in_a_shells_messages(shell: str, tmp_path: Path) -> None:
    def messages(value: str) -> str:
        program = argv("nosuch1 ${item}\n\nnosuch2 ${item}", shell, item=value)
        return subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False).stderr

    assert messages("a b") == messages("ab")
    assert "nosuch2" in messages("a b")


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
        "a=([${item}]=1)",
        "a+=(x (y) [ ${item} ]=1)",
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
    _, _, script, *values = argv("a 2>&1 >&- ${item} 1>&2; b <&3 ${item}", item="x y")
    assert script == '_rk1=$1; shift 1; a 2>&1 >&- "$_rk1" 1>&2; b <&3 "$_rk1"'
    assert values == ["/bin/sh", "x y"]


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
    _, _, script, *values = argv("a \\\\${item}", item="x y")
    assert script.endswith('; a \\\\"$_rk1"')
    assert values == ["/bin/sh", "x y"]
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
    script = "\n".join(run for run, _ in plain)
    assert shown([shell, "-c", script], tmp_path) == [words for _, words in plain]


SHELL_PARTS = st.sampled_from(
    [
        *["${item}"] * 8, "show ", "echo ", "cat ", ":", "x", "1", " ", " ", "\n", ";", "|", "&&", "&",
        "(", ")", "((", "))", "[", "]", "[[", "]]", "{", "}", "{a,b}", "@(", "(x)", "=", "a[", "a=(", "]=1", "!", "~",
        "*", "'", '"', "''", '""', "`", "\\", "\\\\", "\\\n", "\\'", "#", " # ", "$'", '$"',
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
@example(parts=["a=", "(", "[", "${item}", "]=1)"], attack="a[$(touch owned)]")
@example(parts=["a=(x (y)\n", "[", " ", "${item}", "]=1)"], attack="a[$(touch owned)]")
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
        with_show(program),
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
    _, _, script, *values = compile_command("ls ${inputs.f}|wc", None).argv(scope)
    assert script.endswith('; ls \'a\' "$_rk1" "$_rk2"|wc')
    assert values == ["/bin/sh", "b c", "it's"]
    assert (
        compile_command("ls ${inputs.none}; ls '${inputs.one}'x", "sh").argv(
            {"inputs": {"none": Words(), "one": Words(["x"])}}
        )[2]
        == "ls ; ls 'x'x"
    )
    for text in ("ls ${inputs.f}x|wc", "wc <${inputs.f}|wc", 'ls "${inputs.none}"|wc', "ls $(ls ${inputs.f})"):
        with pytest.raises(BadValue, match="is not a separate word"):
            compile_command(text, None).argv(scope)
