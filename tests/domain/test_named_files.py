"""Files named in commands, and their roles."""

from __future__ import annotations

import pytest

from rekindle.domain.texts.namedfiles import named_files


def words(text: str, *roles: str, **environment: str) -> list[str]:
    found = named_files(["/bin/sh", "-c", text], environment)
    return [one.word for one in found if one.role in roles]


@pytest.mark.parametrize(
    ("command", "programs"),
    [
        ("python3 go", ["go"]),
        ("python3.11 -u -W ignore -X dev go go2", ["go"]),
        ("python3 -Wignore -- go", ["go"]),
        ("python3 -c 'print(1)' go", []),
        ("python3 -um pkg.mod x", ["pkg.mod"]),
        ("python3 - < go", []),
        ("bash -e go", ["go"]),
        ("bash -eu -o pipefail go", ["go"]),
        ("bash -lc 'python3 -u go'", ["go"]),
        ("sh -c 'cd deep && sh go' name", ["deep/go"]),
        ("Rscript --vanilla fit in", ["fit"]),
        ("R CMD BATCH --no-save fit", ["fit"]),
        ("R -f fit --args in", ["fit"]),
        ("julia --project=. -t 4 sim", ["sim"]),
        ("perl -w -I lib -MList::Util stat data", ["stat"]),
        ("perl -ne print data", []),
        ("node -r ./setup app", ["./setup", "app"]),
        ("ruby -I lib go", ["go"]),
        ("php -d a=b go", ["go"]),
        ("tclsh go", ["go"]),
        ("octave-cli --eval 1", []),
        ("java -cp lib -jar app.jar", ["app.jar"]),
        ("./run", ["./run"]),
        ("tools/run x", ["tools/run"]),
        (". go; source go2", ["go", "go2"]),
        ("env -i A=b python3 go", ["go"]),
        ("/usr/bin/env -S 'python3 -u go'", ["go"]),
        ("env -iS 'A=1 python3' go", ["go"]),
        ("mpirun -n 2 ./sim -S x", ["./sim"]),
        ("cd $(dirname x) && sh go", ["go"]),
        ("A=1 B=2 nice -n 5 timeout -k 1 5s nohup ./run", ["./run"]),
        ("time -f %e sh go", ["go"]),
        ("xargs -n 1 sh go < list", ["go"]),
        ("srun -n 4 --mem 4G --unknown 3 python3 go", ["go"]),
        ("mpirun -np 4 ./sim", ["./sim"]),
        ("mpiexec -n 4 python3 sim", ["sim"]),
        ("conda run -n base python3 go", ["go"]),
        ("uv run python3 go", ["go"]),
        ("awk -f prog data", ["prog"]),
        ("gawk --file=prog data", ["prog"]),
        ("sed -fprog data", ["prog"]),
        ("make -f build all", ["build"]),
        ("make -C sub all", ["sub/Makefile"]),
        ("sh one && sh two || sh three; sh four & sh five | sh six", ["one", "two", "three", "four", "five", "six"]),
        ("sh one\nsh two", ["one", "two"]),
        ("(cd sub && sh one); sh two", ["sub/one", "two"]),
        ("{ sh one; }", ["one"]),
        ("if sh one; then sh two; else sh three; fi", ["one", "two", "three"]),
        ("for i in 1 2; do sh one $i; done", ["one"]),
        ("while sh one; do sh two; done", ["one", "two"]),
        ("case $x in a) sh one ;; *) sh two;; esac", ["one", "two"]),
        ("x=$(sh one) y=`sh two` sh three", ["one", "two", "three"]),
        ('echo "$(sh one "$(sh two)")"', ["two", "one"]),
        ("diff <(sh one) <(sh two)", ["one", "two"]),
        ("S=lib; sh $S/one; sh ${S}/two", ["lib/one", "lib/two"]),
        ("export S=lib && sh \"$S/one\"", ["lib/one"]),
        ("sh $PWD/one", ["./one"]),
        ("sh ${X:-one}", ["one"]),
        ("sh 'with space' \"and \\\"quote\"", ["with space"]),
        ("eval 'sh one'", ["one"]),
        ("sh one # sh two", ["one"]),
        ("cat <<EOF\nsh not\nEOF\nsh one", ["one"]),
        ("sh $UNKNOWN; sh *", []),
        ("echo $((1 + (2)))) ; sh 'unclosed", ["unclosed"]),
    ],
)  # fmt: skip
def test_programs_are_found_in_any_position(command: str, programs: list[str]) -> None:
    found = words(command, "program")
    assert [one for one in found if "\x01" not in one] == programs


def test_a_variable_of_the_environment_is_expanded() -> None:
    assert words("sh $S/go", "program", S="lib") == ["lib/go"]
    assert words("$RUN go", "program", RUN="sh -e") == ["go"]


@pytest.mark.parametrize(
    ("command", "others"),
    [
        (
            "tool conf.ini --config=b.ini -Iinc key=c.ini @args",
            ["conf.ini", "b.ini", "inc", "key=c.ini", "c.ini", "args"],
        ),
        ("tool < in.txt", ["in.txt"]),
        ("CONF=a.ini tool", ["a.ini"]),
        ("tool 0.5 1e-3 12 -3 -", []),
    ],
)
def test_other_words_are_candidates_also_behind_a_sign(command: str, others: list[str]) -> None:
    assert [one for one in words(command, "other") if one not in ("args", "@args")] == [
        one for one in others if one not in ("args", "@args")
    ]


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("a > o", ["o"]),
        ("a >> o 2> e", ["o", "e"]),
        ("a &> o", ["o"]),
        ("a 2>&1 >&2 | tee -a o p", ["o", "p"]),
        ("a >| o; b 1> p", ["o", "p"]),
        ("a2>o", ["o"]),
        ("cd d; a > o", ["d/o"]),
    ],
)
def test_written_files_are_distinguished(command: str, written: list[str]) -> None:
    assert words(command, "written", "appended") == written


@pytest.mark.parametrize(
    ("command", "appended"),
    [
        ("a >> o 2> e", ["o"]),
        ("a &>> o", ["o"]),
        ("a | tee -a o", ["o"]),
        ("a | tee -ia o", ["o"]),
        ("a | tee --append o", ["o"]),
        ("a | tee o", []),
        ("a > o", []),
    ],
)
def test_files_that_are_only_appended_to_are_distinguished(command: str, appended: list[str]) -> None:
    assert words(command, "appended") == appended


def test_a_program_is_looked_for_on_a_path_and_in_code() -> None:
    [found, _] = named_files(["tool", "x"], {}, "bin:/usr/bin")
    assert (found.word, found.paths, found.role, found.awaited) == (
        "tool",
        ("bin/tool", "/usr/bin/tool"),
        "program",
        False,
    )
    assert words("Rscript -e 'source(\"fit.R\")'", "source") == ["fit.R"]
    assert words("pytest tests/test_a.py::test_b", "source") == ["tests/test_a.py"]


def test_a_vector_is_read_without_a_shell() -> None:
    found = named_files(["python3", "a;b", "$X", "> o"], {"X": "y"})
    assert [(one.word, one.role) for one in found] == [("a;b", "program"), ("$X", "other"), ("> o", "other")]


@pytest.mark.parametrize(
    "text", ["", "((", "$(", "`", '"', "'", "a <", "a <<", "$((", "<(", "${", "$", "\\", "(" * 200, "$(" * 200]
)
def test_no_text_is_refused(text: str) -> None:
    named_files(["sh", "-c", text], {})


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("cat in/*.txt 'in/*.txt' \"in/?\" in/\\*.txt", ["in/*.txt"]),
        ("cat 'a*'*.txt", ["a[*]*.txt"]),
        ('cat "in"/[ab].txt \'[ab].txt\'', ["in/[ab].txt"]),
        ("find . -name '*.c'; find . -name \\*.c", []),
        ("grep -r --include='*.py' 'x.*y' .; grep --include=*.py x -I*.c", []),
        ("expr 2 '*' 3; echo \"*\" $'*'", []),
        ("sh -c 'cat in/*.txt'; bash -c \"cat '*'\"", ["in/*.txt"]),
        ("eval 'cat *.a' *.b; env -S 'cat' '*'", ["*.a", "*.b"]),
        ('X=*.txt; cat $X; cat "$X"', ["*.txt"]),
        ("X='*.txt' cat b", []),
        ("case $x in *.a) cat *.b;; d/*|*.c) true;; *) ;; esac", ["*.b"]),
        ("[[ $x == *.a ]] && [[ -f b ]]; [ -f *.c ]", ["*.c"]),
        ("for f in in/*.txt; do cat $f; done; cat < 'a*'", ["in/*.txt"]),
        ("cd 'a[b]' && cat *.txt", ["a[[]b]/*.txt", "*.txt"]),
        ("cat $(ls '*' *.d) `cat *.e`", ["*.d", "*.e"]),
        ("cat <<*\n*.txt\n*\n", []),
    ],
)  # fmt: skip
def test_a_pattern_is_one_that_the_shell_expands(text: str, patterns: list[str]) -> None:
    found = named_files(["/bin/sh", "-c", text], {})
    assert [glob for one in found for glob in one.globs] == patterns


def test_words_of_an_argument_vector_are_literal() -> None:
    found = named_files(["python3", "prog*.py", "*", "*.txt", "[ab].c"], {})
    assert [(one.word, one.paths[0], one.globs) for one in found] == [
        (word, word, ()) for word in ("prog*.py", "*", "*.txt", "[ab].c")
    ]


def test_the_value_of_a_variable_outside_quotes_is_a_pattern() -> None:
    found = named_files(["/bin/sh", "-c", 'cat $X "$X"'], {"X": "in/*.txt"})
    assert [(one.word, one.globs) for one in found if one.word != "cat"] == [
        ("in/*.txt", ("in/*.txt",)),
        ("in/*.txt", ()),
    ]


@pytest.mark.parametrize(
    "value",
    [
        '{"p":{"result":[1,2],"outputs":{"o":"/w/o.txt"}}}',
        '{"p": {"result": [1, 2]}}',
        "[1, 2]",
        '[\n  "a.txt",\n  "b*.py"\n]',
        " {} ",
    ],
)
@pytest.mark.parametrize(
    "text", ["cat $X", 'cat "$X"', "cat < $X", "cat <<< $X", "Y=$X; cat $Y", "for i in $X; do cat $i; done", "cat > $X"]
)
def test_the_words_of_a_document_in_a_variable_name_no_files(value: str, text: str) -> None:
    found = words(text, "source", "other", "written", X=value)
    assert [word for word in found if word not in ("\x01", "i", "in")] == []


def test_the_results_that_an_attempt_is_given_name_no_files() -> None:
    text = "cat $REKINDLE_INPUTS b.txt"
    assert words(text, "other", REKINDLE_INPUTS="cut a.txt") == ["\x01", "b.txt"]


@pytest.mark.parametrize("value", ["[1, 2", "a [b c] d", '{"a": [1, 2'])
def test_a_bracket_is_closed_in_the_same_word_of_a_value(value: str) -> None:
    found = named_files(["/bin/sh", "-c", "cat $X"], {"X": value})
    assert [one.globs for one in found if one.globs] == []


def test_the_name_of_a_job_is_no_pattern() -> None:
    found = named_files(["/bin/sh", "-c", "cat in/$REKINDLE_JOB_NAME"], {"REKINDLE_JOB_NAME": "t[k=1]"})
    assert [(one.word, one.globs) for one in found if "/" in one.word and one.role == "other"] == [("in/t[k=1]", ())]


@pytest.mark.parametrize(
    "word", ["a\nb.txt", "a" * 256 + ".txt", "deep/" * 820 + "a.txt"], ids=["line", "name", "path"]
)
def test_a_text_that_can_be_no_path_names_no_file(word: str) -> None:
    assert named_files(["cat", word, "c.txt"], {})[-1].word == "c.txt"
    assert [one.word for one in named_files(["cat", word], {}) if one.role == "other"] == []
